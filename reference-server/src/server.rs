//! Accepts connections and has hyper serve them; on shutdown, completes what is in process.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use axum::{Error, Router};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use crate::connection::{Connection, InProcess, Stream};
use crate::ledger::{Abandoned, Entry, Ledger};
use crate::{Context, listener, log};

/// How long a client may take for a request's head; also how long a connection may stay unused.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait when accept(2) fails for want of descriptors or memory, which others may free.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The bounds of a shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long new connections are still served after the cancellation: a load balancer learns from
    /// the readiness endpoint that it should look elsewhere, but not at once.
    pub lame_duck: Duration,
    /// How long requests in process may take after that.
    pub shutdown_timeout: Duration,
    /// How long, from then on, a client may neither send nor take what is waited for.
    pub stall_timeout: Duration,
}

/// Serves until the context is cancelled and the lame duck is over, then stops accepting and
/// completes what is in process.
///
/// Answers every request that had arrived by then, on accepted connections and in the accept queue.
/// Responses begun after the cancellation carry `Connection: close`, unless the next request of the
/// same connection has already come (after `close` it could not be answered, RFC 9112 §9.6); then
/// the last one does.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reference_server::{Context, Limits, bind, serve};
/// use std::time::Duration;
///
/// let context = Context::new();
/// let limits = Limits {
///     lame_duck: Duration::ZERO,
///     shutdown_timeout: Duration::from_secs(20),
///     stall_timeout: Duration::from_secs(5),
/// };
/// let listener = bind("127.0.0.1:0".parse()?)?;
/// let serving = tokio::spawn(serve(listener, axum::Router::new(), context.clone(), limits));
/// context.cancel(); // When a signal comes.
/// serving.await??;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the deadline passes with requests in process or responses not sent. They end when the
/// runtime does.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    context: Context,
    limits: Limits,
) -> Result<(), Abandoned> {
    let server = Server {
        router: TowerToHyperService::new(router),
        context,
        drain: Context::new(),
        limits,
        requests: Ledger::default(),
        connections: TaskTracker::new(),
        closing: TaskTracker::new(),
    };
    let server = Arc::new(server);
    server.accept(&listener).await;
    server.drain.cancel();
    for stream in listener::close(listener).await {
        server.spawn(stream);
    }
    server.complete().await
}

struct Server {
    router: TowerToHyperService<Router>,
    context: Context,
    /// Cancelled when the lame duck is over.
    drain: Context,
    limits: Limits,
    requests: Ledger,
    /// Connections that are served.
    connections: TaskTracker,
    /// Connections of which only the end is awaited: nothing is lost when they are cut.
    closing: TaskTracker,
}

impl Server {
    /// Accepts connections until the context is cancelled and the lame duck is over.
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let end =
            async { sleep_until(self.context.cancelled().await + self.limits.lame_duck).await };
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut end => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.spawn(stream),
                Err(error) if listener::concerns_one_connection(&error) => {}
                Err(error) => {
                    log(format_args!("error accepting a connection: {error}"));
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Waits until all connections have been served and closed, or the deadline has passed.
    async fn complete(&self) -> Result<(), Abandoned> {
        self.connections.close();
        self.closing.close();
        let timeout = self.limits.shutdown_timeout;
        let deadline = self.drain.cancelled().await + timeout;
        if timeout_at(deadline, self.connections.wait()).await.is_err() {
            let mut names = self.requests.names();
            for request in &names {
                log(format_args!("request abandoned: {request}"));
            }
            // The response has been produced, but the client has not taken it all.
            let unsent = self.connections.len().saturating_sub(names.len());
            names.extend((unsent > 0).then(|| format!("{unsent} connections still open")));
            return Err(Abandoned { timeout, names });
        }
        self.closing.wait().await;
        Ok(())
    }

    fn spawn(self: &Arc<Self>, stream: TcpStream) {
        let server = Arc::clone(self);
        let connection = Arc::new(Connection::new(stream, self.drain.clone()));
        self.connections.spawn(async move {
            tokio::select! {
                () = server.serve_connection(&connection) => {}
                () = connection.stalled(server.limits.stall_timeout) => {
                    let limit = humantime::format_duration(server.limits.stall_timeout);
                    let peer = connection.peer();
                    log(format_args!("connection from {peer} given up: stalled for {limit}"));
                }
            }
            server.closing.spawn(async move { connection.close().await });
        });
    }

    async fn serve_connection(self: &Arc<Self>, connection: &Arc<Connection>) {
        loop {
            let service = service_fn(|request| self.answer(connection, request));
            // Errors concern this client only, who either knows, as hyper has answered with 4xx,
            // or is gone.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_READ_TIMEOUT)
                // A client may shut its side down behind its request and still read the answer.
                .half_close(true)
                .serve_connection(TokioIo::new(Stream::new(Arc::clone(connection))), service)
                .await;
            // The last look before the end is announced: from here on the client can know.
            if !connection.must_reopen() {
                return;
            }
        }
    }

    /// Answers one request. What is not in the returned future happens when hyper has the head.
    fn answer(
        &self,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Tracked>, Infallible>> + Send + use<> {
        let connection = Arc::clone(connection);
        let context = self.context.clone();
        let in_process = connection.begin_request(request.body().size_hint().exact());
        let entry = self.requests.enter(format!("{} {}", request.method(), request.uri()));
        let version = request.version();
        let answer = self.router.call(request.map(Body::new));
        async move {
            let mut response = answer.await?;
            if context.is_cancelled() && !connection.has_next_request() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                // To an HTTP/1.0 client that asked for it, hyper else says `keep-alive` as well.
                *response.version_mut() = version;
            }
            Ok(response.map(|body| Tracked { body, _in_process: in_process, _entry: entry }))
        }
    }
}

/// A response body whose request is in process until it has been produced, and hyper drops it.
struct Tracked {
    body: Body,
    _in_process: InProcess,
    _entry: Entry,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
