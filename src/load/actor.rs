//! One connection of a situation, which plays its part from its beginning to its end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::model::event::{ConnectionEnd, ConnectionId, EventKind, RequestEnd, SocketSeen};
use crate::model::plan::ASKED_LATER;

use super::cast::{Part, Pose, Progress, place_in_crowd};
use super::clients::{Clients, Manner, Opened, Stage, end_of};
use super::exchange::OpenConnection;
use super::open::{OpenConnections, Outstanding};

/// What the server does not take within this time it does not take: it is blocked itself.
const BLOCKED: Duration = Duration::from_millis(200);
/// As much as a client sends ahead that does not read; more means that the server does not answer
/// one request after the other.
const SENT_AHEAD_MAX: usize = 8 * 1024 * 1024;

/// Whoever asks late has asked so long after the signal.
pub const ASKED_WITHIN: Duration = ASKED_LATER[2].saturating_add(Duration::from_millis(60));

/// One connection of a situation, as those see it who wait for the situation.
#[derive(Debug)]
pub struct Actor {
    part: Part,
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Cell<Option<ConnectionId>>,
    progress: Cell<Progress>,
}

impl State {
    fn note(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.get();
        change(&mut progress);
        self.progress.set(progress);
    }
}

impl Actor {
    /// Lets a part be played, in a task of its own.
    pub fn start(part: Part, clients: &Rc<Clients>, tasks: &mut JoinSet<()>) -> Self {
        let state = Rc::new(State::default());
        let play = Play { clients: clients.clone(), part, state: state.clone() };
        tasks.spawn_local(async move {
            play.play().await;
            play.state.note(|progress| progress.over = true);
        });
        Self { part, state }
    }

    /// What the connection is made to be.
    pub fn pose(&self) -> Pose {
        self.part.pose
    }

    /// Whether the target can be held still for it now; the sockets come in the order of their
    /// connections.
    pub fn is_prepared(&self, sockets: &[SocketSeen], open: &OpenConnections) -> bool {
        let (socket, outstanding, progress) = self.now(sockets, open);
        self.part.pose.is_prepared(socket, outstanding.as_ref(), progress)
    }

    /// Whether its part is over, so that nothing more comes of it.
    pub fn is_over(&self) -> bool {
        self.state.progress.get().over
    }

    /// Whether the connection is as it should be; the sockets come in the order of their connections.
    pub fn is_there(&self, sockets: &[SocketSeen], open: &OpenConnections) -> bool {
        let (socket, outstanding, progress) = self.now(sockets, open);
        self.part.pose.is_there(socket, outstanding.as_ref(), progress)
    }

    fn now<'s>(
        &self,
        sockets: &'s [SocketSeen],
        open: &OpenConnections,
    ) -> (Option<&'s SocketSeen>, Option<Outstanding>, Progress) {
        let connection = self.state.connection.get();
        let place = |id| sockets.binary_search_by_key(&id, |socket| socket.connection).ok();
        let socket = connection.and_then(place).map(|at| &sockets[at]);
        let outstanding = connection.and_then(|id| open.outstanding(id));
        (socket, outstanding, self.state.progress.get())
    }
}

struct Play {
    clients: Rc<Clients>,
    part: Part,
    state: Rc<State>,
}

impl Play {
    async fn play(&self) -> Option<()> {
        let clients = &self.clients;
        match self.part.pose {
            Pose::Silent => {
                let (connection, opened) = self.connect().await?;
                self.keep(connection, opened).await;
            }
            Pose::Idle => {
                let (connection, opened) = self.answered_once().await?;
                self.keep(connection, opened).await;
            }
            Pose::AskingLater => {
                let (connection, opened) = self.connect().await?;
                self.ask_later(connection, opened).await;
            }
            Pose::AskingAgain => {
                let (connection, opened) = self.answered_once().await?;
                self.ask_later(connection, opened).await;
            }
            Pose::Delivered => {
                let open = self.connect().await?;
                let open = self.until_held(open).await?;
                self.ask(open).await;
            }
            Pose::DeliveredAgain => {
                let open = self.answered_once().await?;
                let open = self.until_held(open).await?;
                self.ask(open).await;
            }
            Pose::Queued => {
                clients.until(Stage::Held).await;
                let open = self.connect().await?;
                self.ask(open).await;
            }
            Pose::QueuedSilent => {
                clients.until(Stage::Held).await;
                let (connection, opened) = self.connect().await?;
                self.ask_later(connection, opened).await;
            }
            Pose::NotReading => self.send_and_never_read().await?,
            Pose::InHandler => {
                sleep(place_in_crowd(self.part.nth)).await;
                let open = self.connect().await?;
                self.ask(open).await;
            }
            Pose::Sent
            | Pose::Answering
            | Pose::Uploading
            | Pose::HalfHead
            | Pose::HalfHeadForEver
            | Pose::HalfBodyForEver => {
                let open = self.connect().await?;
                self.ask(open).await;
            }
        }
        Some(())
    }

    async fn connect(&self) -> Option<(OpenConnection, Opened)> {
        let (connection, opened) = self.clients.connect().await?;
        self.state.connection.set(Some(connection.id));
        Some((connection, opened))
    }

    /// A connection whose first request is answered; `None` where the server does not keep it.
    async fn answered_once(&self) -> Option<(OpenConnection, Opened)> {
        let (connection, opened) = self.connect().await?;
        let open = self.clients.exchange(connection, opened, self.part.template).await?;
        self.state.note(|progress| progress.kept = true);
        Some(open)
    }

    /// Waits until the target is held still; `None` where it closed the connection before that.
    async fn until_held(
        &self,
        (connection, opened): (OpenConnection, Opened),
    ) -> Option<(OpenConnection, Opened)> {
        let end = tokio::select! {
            () = self.clients.until(Stage::Held) => return Some((connection, opened)),
            end = end_of(&connection.stream) => end,
        };
        self.clients.close(connection, opened, end);
        None
    }

    /// Asks in the part's own way.
    async fn ask(&self, (connection, opened): (OpenConnection, Opened)) {
        let pose = self.part.pose;
        let manner = Manner {
            pace: pose.pace(&self.clients.requests[self.part.template]),
            stalls: matches!(pose, Pose::HalfHeadForEver | Pose::HalfBodyForEver),
        };
        let exchange = self.clients.prepare(&connection, self.part.template);
        let done = self.clients.carry_out(exchange, connection, opened, manner).await;
        self.state.note(|progress| progress.answered = done.answered);
        if let Some((connection, opened)) = done.kept {
            self.clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
    }

    /// Asks some time after the signal, each of a kind later than the one before, unless the server
    /// has closed by then.
    async fn ask_later(&self, connection: OpenConnection, opened: Opened) {
        let later = async {
            self.clients.until(Stage::Signalled).await;
            let nth = usize::from(self.part.nth) % ASKED_LATER.len();
            sleep(self.part.later.unwrap_or(ASKED_LATER[nth])).await;
        };
        let ended = tokio::select! {
            end = end_of(&connection.stream) => Some(end),
            () = later => None,
        };
        match ended {
            Some(end) => self.clients.close(connection, opened, end),
            None => self.ask((connection, opened)).await,
        }
    }

    /// Keeps the connection without a word, until the server closes it or the trial is over.
    async fn keep(&self, connection: OpenConnection, opened: Opened) {
        let end = tokio::select! {
            end = end_of(&connection.stream) => end,
            () = self.clients.until(Stage::Released) => self.last_look(&connection).await,
        };
        self.clients.close(connection, opened, end);
    }

    /// The target may be gone: what it leaves of its connections is seen a moment later.
    async fn last_look(&self, connection: &OpenConnection) -> ConnectionEnd {
        let stage = self.clients.stage();
        let patience = if stage == Stage::Gone { Duration::from_secs(1) } else { Duration::ZERO };
        let end = tokio::select! {
            end = timeout(patience, end_of(&connection.stream)) => end.ok(),
            () = self.clients.until(Stage::Over) => None,
        };
        end.unwrap_or(ConnectionEnd::ClosedByClient)
    }

    /// Sends requests until the server takes no more of them, because nobody takes its responses.
    async fn send_and_never_read(&self) -> Option<()> {
        let clients = &self.clients;
        let (connection, opened) = clients.connect_narrow().await?;
        self.state.connection.set(Some(connection.id));
        let exchange = clients.prepare(&connection, self.part.template);
        let bytes = clients.requests[self.part.template].bytes(|| "stalled".into()).all;
        let mut sent = 0;
        let mut is_open = true;
        while is_open && sent < SENT_AHEAD_MAX && clients.stage() < Stage::Signalled {
            match timeout(BLOCKED, connection.stream.writable()).await {
                Err(_) => {
                    self.state.note(|progress| progress.blocked = true);
                    break;
                }
                Ok(_) => match connection.stream.try_write(&bytes[sent % bytes.len()..]) {
                    Ok(written) => sent += written,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => is_open = false,
                },
            }
        }
        if is_open {
            clients.until(Stage::Released).await;
        }
        let mut request = exchange.finish(&clients.recorder);
        request.stalled = true;
        request.total_bytes = sent as u32;
        request.end = if is_open { RequestEnd::Abandoned } else { RequestEnd::Reset };
        clients.recorder.record(EventKind::Request(request));
        let end = match is_open {
            true => ConnectionEnd::ClosedByClient,
            false => ConnectionEnd::ResetByServer,
        };
        clients.close(connection, opened, end);
        Some(())
    }
}
