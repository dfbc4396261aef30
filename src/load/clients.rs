//! What the raw clients of a trial share: connections, exchanges, and how far the trial is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::event::{
    Connection, ConnectionEnd, ConnectionId, EventKind, Request, RequestEnd,
};
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::observe::sockets::Asked;

use super::exchange::{Exchange, OpenConnection, Pace};
use super::request::PreparedRequest;

/// A connect that takes longer has lost a SYN to a full accept queue, several times over.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What a client sends after the signal, it sends so long after it: the server has had the time to
/// act on it, and the client, without a look, has not.
pub(super) const AFTER_SIGNAL: Duration = Duration::from_millis(20);

/// The receive buffer and the segments of a client that takes little at a time, in bytes.
const SMALL_BUFFER: u32 = 4096;
const SMALL_SEGMENT: u32 = 536;

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
    /// The server.
    pub address: SocketAddr,
    /// The contract's requests.
    pub requests: Vec<PreparedRequest>,
    stage: watch::Sender<Stage>,
    open: OpenConnections,
    next_connection: Cell<ConnectionId>,
    next_request: Cell<u32>,
    pub(super) idle: RefCell<Vec<(OpenConnection, Opened)>>,
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

/// The connections that are open, for those who ask the kernel about them.
pub type OpenConnections = Arc<Mutex<BTreeMap<ConnectionId, Open>>>;

/// A connection that is open.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// The client's address.
    pub client: SocketAddr,
    /// The request that is on its way on it.
    pub outstanding: Option<Outstanding>,
}

/// A request on its way, by its place in the two streams of bytes of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// Bytes that were sent before it.
    pub sent_before: u64,
    /// Its head's length.
    pub head: u64,
    /// Its whole length.
    pub total: u64,
    /// Bytes that were received before the response to it.
    pub received_before: u64,
}

/// The connections that are open now, as questions to the kernel.
pub fn asked(open: &OpenConnections) -> Vec<Asked> {
    let open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter()
        .map(|(connection, open)| Asked { connection: *connection, client: open.client })
        .collect()
}

/// The beginning of a connection's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    started: Nanos,
    established: Nanos,
    local_port: u16,
}

impl Clients {
    /// Clients of a server, none of which has begun.
    pub fn new(
        recorder: Recorder,
        address: SocketAddr,
        requests: Vec<PreparedRequest>,
    ) -> Rc<Self> {
        Rc::new(Self {
            recorder,
            address,
            requests,
            stage: watch::Sender::new(Stage::Load),
            open: OpenConnections::default(),
            next_connection: Cell::new(0),
            next_request: Cell::new(0),
            idle: RefCell::default(),
        })
    }

    /// The connections that are open.
    pub fn open_connections(&self) -> OpenConnections {
        self.open.clone()
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
        self.connect_by(TcpStream::connect(self.address)).await
    }

    /// The same, as a client that takes little at a time.
    pub(super) async fn connect_narrow(&self) -> Option<(OpenConnection, Opened)> {
        self.connect_by(connect_narrow(self.address)).await
    }

    async fn connect_by(
        &self,
        connecting: impl Future<Output = std::io::Result<TcpStream>>,
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
            // Nobody listens, and the kernel chose the port itself as the client's.
            Ok(Ok(stream)) if is_self_connected(&stream) => {
                let refused = std::io::ErrorKind::ConnectionRefused.into();
                self.write_down_failure(id, started, Ok(Some(refused)));
                return None;
            }
            Ok(Ok(stream)) => stream,
            failed => {
                self.write_down_failure(id, started, failed.map(|result| result.err()));
                return None;
            }
        };
        let established = self.recorder.now();
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok()?;
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Open { client: local, outstanding: None });
        let opened = Opened { started, established, local_port: local.port() };
        Some((
            OpenConnection { id, stream, sent: 0, received: 0, buffer: vec![0; 16 * 1024] },
            opened,
        ))
    }

    fn write_down_failure(
        &self,
        connection: ConnectionId,
        started: Nanos,
        failed: Result<Option<std::io::Error>, tokio::time::error::Elapsed>,
    ) {
        use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut};
        let end = match failed.map(|error| error.map(|error| error.kind())) {
            Err(_) | Ok(Some(TimedOut)) => ConnectionEnd::ConnectTimedOut,
            // A listener that closes during the handshake resets it: that is a refusal too.
            Ok(Some(ConnectionRefused | ConnectionReset)) => ConnectionEnd::Refused,
            Ok(_) => ConnectionEnd::ConnectFailed,
        };
        let ended = self.recorder.now();
        let (local_port, established) = (None, None);
        let life = Connection { connection, local_port, started, established, ended, end };
        self.recorder.record(EventKind::Connection(life));
    }

    /// Closes a connection and writes its life down.
    pub(super) fn close(&self, connection: OpenConnection, opened: Opened, end: ConnectionEnd) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection.id);
        let life = Connection {
            connection: connection.id,
            local_port: Some(opened.local_port),
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
        let exchange = Exchange::new(id, connection, &self.requests[template], &self.recorder);
        let Request { stream_offset, head_bytes, total_bytes, response_offset, .. } =
            exchange.request;
        self.outstanding(
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
        self.outstanding(connection.id, None);
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

    fn outstanding(&self, connection: ConnectionId, request: Option<Outstanding>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.get_mut(&connection) {
            open.outstanding = request;
        }
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

/// Connects with a small receive buffer and small segments (SO_RCVBUF, socket(7); TCP_MAXSEG,
/// tcp(7)): the server's send buffer grows with its segments, and is soon full as well.
async fn connect_narrow(server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(SMALL_BUFFER)?;
    setsockopt(&socket, sockopt::TcpMaxSeg, &SMALL_SEGMENT)?;
    socket.connect(server).await
}

/// A port that nobody listens on can be connected to itself (simultaneous open, RFC 9293).
pub(super) fn is_self_connected(stream: &TcpStream) -> bool {
    stream.local_addr().ok() == stream.peer_addr().ok()
}

/// Comes back when the server ends an idle connection, or says something unasked.
pub(super) async fn end_of(stream: &TcpStream) -> ConnectionEnd {
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
