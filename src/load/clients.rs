//! The raw clients: one worker loop, whose shape is data.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::model::event::{Connection, ConnectionEnd, ConnectionId, EventKind};
use crate::model::plan::{Arrivals, LoadShape};
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::observe::sockets::Asked;

use super::exchange::{Exchange, OpenConnection};
use super::request::PreparedRequest;
use super::script::{Script, scripts};

/// A connect that takes longer has lost a SYN to a full accept queue, several times over.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Where handlers are so fast that a paced load would have nothing in flight: the time before
/// the signal in which clients ask without a pause.
const BURST: Duration = Duration::from_millis(20);

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
    idle: RefCell<Vec<(OpenConnection, Opened)>>,
}

/// How far the trial is, as the clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The signal is yet to come.
    Load,
    /// The signal was sent: finish, try once more, and go.
    Signalled,
    /// The target is gone: nobody can be connected to, but what was connected sees its end.
    Gone,
    /// Nothing more is to be learnt: give up what is open.
    Over,
}

/// The connections that are open, for the thread that asks the kernel about them.
pub type OpenConnections = Arc<Mutex<BTreeMap<ConnectionId, SocketAddr>>>;

/// The connections that are open now, as questions to the kernel.
pub fn asked(open: &OpenConnections) -> Vec<Asked> {
    let open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter()
        .map(|(connection, client)| Asked { connection: *connection, client: *client })
        .collect()
}

/// The beginning of a connection's life.
#[derive(Clone, Copy, Debug)]
struct Opened {
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
        let reached = |now: &Stage| match stage {
            Stage::Load => true,
            Stage::Signalled => *now != Stage::Load,
            Stage::Gone => matches!(now, Stage::Gone | Stage::Over),
            Stage::Over => *now == Stage::Over,
        };
        let _ = self.stage.subscribe().wait_for(reached).await;
    }

    /// Begins the load of a trial whose signal is planned `signal_after` from now.
    pub fn start(
        self: &Rc<Self>,
        tasks: &mut JoinSet<()>,
        seed: u64,
        shape: &LoadShape,
        signal_after: Duration,
    ) {
        let begun = Instant::now();
        let weights: Vec<u32> = self.requests.iter().map(|request| request.weight).collect();
        for script in scripts(seed, shape, &weights, signal_after) {
            let worker = Worker { clients: self.clone(), script, begun, signal_after };
            match shape.arrivals {
                Arrivals::Closed { .. } => tasks.spawn_local(worker.closed_loop()),
                Arrivals::Open { per_second } => {
                    // One worker paces; the others only lend their scripts to a closed loop.
                    tasks.spawn_local(worker.open_loop(per_second));
                    break;
                }
            };
        }
    }

    /// Opens a connection; `None` when there was none to be had, which is then written down.
    async fn connect(&self) -> Option<(OpenConnection, Opened)> {
        let id = self.next_connection.replace(self.next_connection.get() + 1);
        let started = self.recorder.now();
        let connecting = timeout(CONNECT_LIMIT, TcpStream::connect(self.address));
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
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, local);
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
    fn close(&self, connection: OpenConnection, opened: Opened, end: ConnectionEnd) {
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
    async fn exchange(
        &self,
        mut connection: OpenConnection,
        opened: Opened,
        template: usize,
    ) -> Option<(OpenConnection, Opened)> {
        use crate::model::event::RequestEnd;
        let id = self.next_request.replace(self.next_request.get() + 1);
        let mut exchange = Exchange::new(id, &connection, &self.requests[template], &self.recorder);
        tokio::select! {
            () = exchange.run(&mut connection, &self.recorder) => {}
            () = self.until(Stage::Over) => {}
        }
        let reusable = exchange.reusable;
        let request = exchange.finish(&self.recorder);
        let end = match request.end {
            RequestEnd::Reset => ConnectionEnd::ResetByServer,
            RequestEnd::Closed => ConnectionEnd::ClosedByServer,
            _ => ConnectionEnd::ClosedByClient,
        };
        self.recorder.record(EventKind::Request(request));
        if reusable {
            return Some((connection, opened));
        }
        self.close(connection, opened, end);
        None
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

/// One client.
struct Worker {
    clients: Rc<Clients>,
    script: Script,
    begun: Instant,
    signal_after: Duration,
}

impl Worker {
    /// Asks, waits for the answer, pauses, and asks again; after the signal once more at most, and
    /// only on a connection that was kept.
    async fn closed_loop(mut self) {
        let clients = self.clients.clone();
        sleep_until(self.begun + self.script.start).await;
        let mut kept: Option<(OpenConnection, Opened)> = None;
        loop {
            let is_last = clients.stage() != Stage::Load;
            let open = match kept.take() {
                Some(open) if is_last && !self.reuses_late() => {
                    kept = Some(open);
                    break;
                }
                Some(open) => Some(open),
                // New connections after the signal are the prober's concern.
                None if is_last => break,
                None => clients.connect().await,
            };
            let Some((connection, opened)) = open else { break };
            let template = if is_last { clients.quickest() } else { self.script.next_template() };
            let after = clients.exchange(connection, opened, template).await;
            kept = match after {
                Some((connection, opened)) if is_last || !self.script.keeps_alive => {
                    clients.close(connection, opened, ConnectionEnd::ClosedByClient);
                    None
                }
                open => open,
            };
            if is_last || clients.stage() == Stage::Over {
                break;
            }
            if clients.stage() == Stage::Load {
                kept = self.pause(kept).await;
            }
        }
        if let Some((connection, opened)) = kept {
            clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
    }

    /// Whether this client uses its kept connection once more after the signal.
    ///
    /// Where even the quickest request is long, one client is enough: each of them would make the
    /// target drain for as long again.
    fn reuses_late(&self) -> bool {
        let quickest = self.clients.requests[self.clients.quickest()].usual;
        self.script.client == 0 || quickest < Duration::from_millis(100)
    }

    /// Waits until the next request is due, and closes the connection meanwhile if the server
    /// does.
    async fn pause(
        &self,
        kept: Option<(OpenConnection, Opened)>,
    ) -> Option<(OpenConnection, Opened)> {
        let pause = self.pause_length();
        let Some((connection, opened)) = kept else {
            // The signal ends it: without a connection there is nothing left to ask.
            tokio::select! {
                () = sleep(pause) => {}
                () = self.clients.until(Stage::Signalled) => {}
            }
            return None;
        };
        if pause.is_zero() {
            return Some((connection, opened));
        }
        let ended = tokio::select! {
            () = sleep(pause) => None,
            () = self.clients.until(Stage::Signalled) => None,
            end = end_of(&connection.stream) => Some(end),
        };
        let Some(end) = ended else { return Some((connection, opened)) };
        self.clients.close(connection, opened, end);
        None
    }

    /// Fast handlers leave nothing in flight at a random instant, so that the pause gives way
    /// just before the signal.
    fn pause_length(&self) -> Duration {
        let pause = self.script.pause.unwrap_or_default();
        if pause.is_zero() {
            return pause;
        }
        let elapsed = self.begun.elapsed();
        let is_burst = elapsed + BURST > self.signal_after && elapsed < self.signal_after;
        let slowest = self.clients.requests.iter().map(|request| request.usual).max();
        let is_fast = slowest.is_some_and(|usual| usual < Duration::from_millis(50));
        if is_burst && is_fast { Duration::ZERO } else { pause }
    }

    /// Asks by the clock, whether or not earlier requests are answered.
    async fn open_loop(mut self, per_second: f64) {
        let every = Duration::from_secs_f64(1.0 / per_second);
        let clients = self.clients.clone();
        let mut asked = JoinSet::new();
        let mut due = self.begun;
        while clients.stage() == Stage::Load {
            tokio::select! {
                () = sleep_until(due) => {}
                () = clients.until(Stage::Signalled) => break,
            }
            // A late wake-up is made up for: the rate holds on the average.
            due += every;
            let template = self.script.next_template();
            let keeps_alive = self.script.next_keeps_alive();
            asked.spawn_local(one_arrival(clients.clone(), template, keeps_alive));
            while asked.try_join_next().is_some() {}
        }
        // Closed now, not when the last answer has come: idle clients must not hold the exit.
        let idle = std::mem::take(&mut *clients.idle.borrow_mut());
        for (connection, opened) in idle {
            clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
        asked.join_all().await;
    }
}

/// One request of an open loop: on an idle connection, where there is one.
async fn one_arrival(clients: Rc<Clients>, template: usize, keeps_alive: bool) {
    let idle = clients.idle.borrow_mut().pop();
    let open = match idle {
        Some(open) => Some(open),
        None => clients.connect().await,
    };
    let Some((connection, opened)) = open else { return };
    let Some((connection, opened)) = clients.exchange(connection, opened, template).await else {
        return;
    };
    if keeps_alive && clients.stage() == Stage::Load {
        clients.idle.borrow_mut().push((connection, opened));
    } else {
        clients.close(connection, opened, ConnectionEnd::ClosedByClient);
    }
}

/// A port that nobody listens on can be connected to itself (simultaneous open, RFC 9293).
pub(super) fn is_self_connected(stream: &TcpStream) -> bool {
    stream.local_addr().ok() == stream.peer_addr().ok()
}

/// Comes back when the server ends an idle connection, or says something unasked.
async fn end_of(stream: &TcpStream) -> ConnectionEnd {
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
