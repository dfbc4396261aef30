//! What the raw clients of a trial share: connections, exchanges, and how far the trial is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{
    Connection, ConnectionEnd, ConnectionId, EventKind, Request, RequestEnd,
};
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;

use super::connect::{connect, connect_narrow, is_refusal};
use super::exchange::{Exchange, OpenConnection, Pace};
use super::open::{OpenConnections, Outstanding, Traffic};
use super::request::PreparedRequest;
use super::stream::Stream;

/// A connect that takes longer has lost a SYN to a full accept queue, several times over.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What a client sends after the signal, it sends so long after it: the server has had the time to
/// act on it, and the client, without a look, has not.
pub(super) const AFTER_SIGNAL: Duration = Duration::from_millis(20);

/// How a request is sent, where that is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// How fast, where that is not the request's own pace.
    pub(super) pace: Option<Pace>,
    /// Whether the client stops for ever where its pace is gated.
    pub(super) stalls: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Done {
    /// The connection, where it can carry another one.
    pub(super) kept: Option<(OpenConnection, Opened)>,
    /// Whether it was answered completely.
    pub(super) answered: bool,
}

/// What the clients of a trial share.
#[derive(Debug)]
pub struct Clients {
    /// The book.
    pub recorder: Recorder,
    /// The server; absent where the target has no listener, and nobody connects.
    pub address: Option<ServerAddress>,
    /// The contract's requests.
    pub requests: Vec<PreparedRequest>,
    stage: watch::Sender<Stage>,
    open: OpenConnections,
    signalling: Arc<AtomicBool>,
    next_connection: Cell<ConnectionId>,
    next_request: Cell<u32>,
    pub(super) idle: RefCell<Vec<(OpenConnection, Opened)>>,
    /// The longest time by which a request was later than its plan.
    latest: Cell<Duration>,
}

/// How far the trial is, as the clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The signal is yet to come.
    Load,
    /// The same, and the target is held still: what is sent now stays with the kernel.
    Held,
    /// The signal was sent: finish, try once more, and go.
    Signalled,
    /// The deadline is over: what only the clients keep open, they close.
    Released,
    /// The target is gone: nobody can be connected to, but what was connected sees its end.
    Gone,
    /// Nothing more is to be learnt: give up what is open.
    Over,
}

/// The beginning of a connection's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    started: Nanos,
    established: Nanos,
    local_port: Option<u16>,
}

impl Clients {
    /// Clients of a server, none of which has begun.
    pub fn new(
        recorder: Recorder,
        address: Option<ServerAddress>,
        requests: Vec<PreparedRequest>,
    ) -> Rc<Self> {
        Rc::new(Self {
            recorder,
            address,
            requests,
            stage: watch::Sender::new(Stage::Load),
            open: OpenConnections::default(),
            signalling: Arc::default(),
            next_connection: Cell::new(0),
            next_request: Cell::new(0),
            idle: RefCell::default(),
            latest: Cell::default(),
        })
    }

    /// Notes that a request is sent now which was due at that instant.
    pub(super) fn was_due(&self, at: Instant) {
        self.latest.set(self.latest.get().max(at.elapsed()));
    }

    /// How much later than planned a request was sent, at the worst.
    pub fn latest(&self) -> Duration {
        self.latest.get()
    }

    /// The connections that are open.
    pub fn open_connections(&self) -> OpenConnections {
        self.open.clone()
    }

    /// To be set just before the signal is sent, by whoever sends it: of requests from then on it is
    /// noted whether they met a connection that was still open.
    pub fn signalling(&self) -> Arc<AtomicBool> {
        self.signalling.clone()
    }

    /// Tells the clients how far the trial is.
    pub fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// How far the trial is.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Comes back when the trial is at this stage, or beyond it.
    pub async fn until(&self, stage: Stage) {
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Opens a connection; `None` when there was none to be had, which is then written down.
    pub(super) async fn connect(&self) -> Option<(OpenConnection, Opened)> {
        self.connect_by(connect(self.address.as_ref()?)).await
    }

    /// The same, as a client that takes little at a time.
    pub(super) async fn connect_narrow(&self) -> Option<(OpenConnection, Opened)> {
        self.connect_by(connect_narrow(self.address.as_ref()?)).await
    }

    async fn connect_by(
        &self,
        connecting: impl Future<Output = std::io::Result<Stream>>,
    ) -> Option<(OpenConnection, Opened)> {
        let id = self.next_connection.replace(self.next_connection.get() + 1);
        let started = self.recorder.now();
        let connecting = timeout(CONNECT_LIMIT, connecting);
        let connected = tokio::select! {
            connected = connecting => connected,
            // A SYN that was dropped while the listener closed is sent again after a second; that
            // it is refused then says nothing new.
            () = self.until(Stage::Gone) => Ok(Err(std::io::ErrorKind::Interrupted.into())),
        };
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                let error = failed.map(|result| result.err().map(|error| error.kind()));
                self.write_down_failure(id, started, error);
                return None;
            }
        };
        let established = self.recorder.now();
        let (client, traffic) = (stream.client(), Traffic::new());
        self.open.add(id, client, &traffic);
        let opened = Opened { started, established, local_port: client.map(|it| it.port()) };
        let buffer = vec![0; 16 * 1024];
        Some((OpenConnection { id, stream, sent: 0, received: 0, traffic, buffer }, opened))
    }

    fn write_down_failure(
        &self,
        connection: ConnectionId,
        started: Nanos,
        failed: Result<Option<std::io::ErrorKind>, tokio::time::error::Elapsed>,
    ) {
        let end = match failed {
            Err(_) | Ok(Some(std::io::ErrorKind::TimedOut)) => ConnectionEnd::ConnectTimedOut,
            Ok(Some(error)) if is_refusal(error) => ConnectionEnd::Refused,
            Ok(_) => ConnectionEnd::ConnectFailed,
        };
        let ended = self.recorder.now();
        let (local_port, established) = (None, None);
        let life = Connection { connection, local_port, started, established, ended, end };
        self.recorder.record(EventKind::Connection(life));
    }

    /// Closes a connection and writes its life down.
    pub(super) fn close(&self, connection: OpenConnection, opened: Opened, end: ConnectionEnd) {
        self.open.remove(connection.id);
        let life = Connection {
            connection: connection.id,
            local_port: opened.local_port,
            started: opened.started,
            established: Some(opened.established),
            ended: self.recorder.now(),
            end,
        };
        drop(connection);
        self.recorder.record(EventKind::Connection(life));
    }

    /// Sends one request on a connection; the connection, where it can carry another one.
    pub(super) async fn exchange(
        &self,
        connection: OpenConnection,
        opened: Opened,
        template: usize,
    ) -> Option<(OpenConnection, Opened)> {
        let exchange = self.prepare(&connection, template);
        self.carry_out(exchange, connection, opened, Manner::default()).await.kept
    }

    /// A request on its way, which begins now.
    pub(super) fn prepare(&self, connection: &OpenConnection, template: usize) -> Exchange {
        let id = self.next_request.replace(self.next_request.get() + 1);
        let mut exchange = Exchange::new(id, connection, &self.requests[template], &self.recorder);
        // Read after the exchange's clock, so that none that begins after the signal is overlooked.
        exchange.is_late = self.signalling.load(Ordering::SeqCst);
        let Request { stream_offset, head_bytes, total_bytes, response_offset, .. } =
            exchange.request;
        self.open.note(
            connection.id,
            Some(Outstanding {
                sent_before: stream_offset,
                head: head_bytes.into(),
                total: total_bytes.into(),
                received_before: response_offset,
            }),
        );
        exchange
    }

    /// Follows a request to its end.
    pub(super) async fn carry_out(
        &self,
        exchange: Exchange,
        mut connection: OpenConnection,
        opened: Opened,
        manner: Manner,
    ) -> Done {
        let mut exchange = match manner.pace {
            Some(pace) => exchange.at_pace(pace),
            None => exchange,
        };
        let (gate, given_up) = match manner.stalls {
            true => (Stage::Over, Stage::Released),
            false => (Stage::Signalled, Stage::Over),
        };
        let gate = async {
            self.until(gate).await;
            tokio::time::sleep(AFTER_SIGNAL).await;
        };
        tokio::select! {
            () = exchange.run(&mut connection, &self.recorder, gate) => {}
            () = self.until(given_up) => {}
        }
        self.open.note(connection.id, None);
        let reusable = exchange.reusable && !manner.stalls;
        let mut request = exchange.finish(&self.recorder);
        request.stalled = manner.stalls;
        let answered = request.end == RequestEnd::Complete;
        let end = match request.end {
            RequestEnd::Reset => ConnectionEnd::ResetByServer,
            RequestEnd::Closed => ConnectionEnd::ClosedByServer,
            _ => ConnectionEnd::ClosedByClient,
        };
        self.recorder.record(EventKind::Request(request));
        if reusable {
            return Done { kept: Some((connection, opened)), answered };
        }
        self.close(connection, opened, end);
        Done { kept: None, answered }
    }

    /// Opens a connection, sends one request on it and follows it to its end.
    pub async fn once(&self, template: usize) {
        if let Some((connection, opened)) = self.connect().await
            && let Some((connection, opened)) = self.exchange(connection, opened, template).await
        {
            self.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
    }

    /// The quickest of the contract's requests.
    pub fn quickest(&self) -> usize {
        let quickest = self.requests.iter().enumerate().min_by_key(|(_, request)| request.usual);
        quickest.map_or(0, |(template, _)| template)
    }
}

/// Comes back when the server ends an idle connection, or says something unasked.
pub(super) async fn end_of(stream: &Stream) -> ConnectionEnd {
    loop {
        if stream.readable().await.is_err() {
            return ConnectionEnd::ResetByServer;
        }
        match stream.try_read(&mut [0; 1]) {
            Ok(0) => return ConnectionEnd::ClosedByServer,
            Ok(_) => return ConnectionEnd::ClosedByClient,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return ConnectionEnd::ResetByServer,
        }
    }
}
