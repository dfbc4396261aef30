//! Sets a situation up, and sees from outside that it is there.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::load::actor::Actor;
use crate::load::cast::{Part, Pose, place_in_crowd};
use crate::load::clients::{Clients, Stage};
use crate::load::open::OpenConnections;
use crate::model::event::{EventKind, SocketSeen};
use crate::model::plan::{Arrivals, LoadShape};
use crate::observe::sockets::SocketWatch;
use crate::target::hold::Hold;
use crate::target::launch::Launched;

/// What has not come about after this time does not come about.
const LIMIT: Duration = Duration::from_secs(3);
/// The same where nothing of the target has to run for it.
const HELD_LIMIT: Duration = Duration::from_secs(1);
/// Where some of a kind are there, the others get this long to follow.
const FOLLOW: Duration = Duration::from_millis(300);
/// Of a crowd, so great a part at least is in process, or it was none.
const CROWD_PART: usize = 4;
const CROWD_IS_GONE: &str = "most of the crowd were answered before the last had come: this \
                             machine is too busy for so many (--connections)";
/// How often the kernel is asked meanwhile.
const TICK: Duration = Duration::from_micros(500);
/// Clients of the load in which a request in process is looked for.
const HUNTERS: u16 = 6;
/// How long a target is left alone between two looks.
const HUNT_TICK: Duration = Duration::from_millis(1);

/// How a situation came out.
#[derive(Debug)]
pub(super) enum Scene {
    /// It is there; the target may be held still for it.
    There(Option<Hold>),
    /// It could not be reached, for this reason.
    Missed(String),
}

/// Who sets a situation up.
pub(super) struct Stagehand<'a> {
    pub(super) clients: &'a Rc<Clients>,
    pub(super) launched: &'a mut Launched,
    pub(super) tasks: &'a mut JoinSet<()>,
    /// The kernel's view of the server's side; where there is none, it is inferred from what the
    /// clients did longer ago than `margin`.
    pub(super) kernel: Option<(&'a mut SocketWatch, SocketAddr)>,
    pub(super) margin: Duration,
}

impl Stagehand<'_> {
    /// Sets up the connections of a situation, the target held still for those that need it.
    pub(super) async fn set_up(&mut self, parts: &[Part], hold: bool) -> Scene {
        let actors: Vec<Actor> =
            parts.iter().map(|part| Actor::start(*part, self.clients, self.tasks)).collect();
        if !hold {
            return match self.wait(&actors, Actor::is_there, LIMIT).await {
                Ok(()) => Scene::There(None),
                Err(what) => Scene::Missed(what),
            };
        }
        if let Err(what) = self.wait(&actors, Actor::is_prepared, LIMIT).await {
            return Scene::Missed(what);
        }
        let held = match self.hold().await {
            Ok(held) => held,
            Err(what) => return Scene::Missed(what),
        };
        self.note(&held);
        self.clients.enter(Stage::Held);
        match self.wait(&actors, Actor::is_there, HELD_LIMIT).await {
            Ok(()) => Scene::There(Some(held)),
            Err(what) => {
                held.release();
                self.clients.recorder.record(EventKind::Thawed);
                Scene::Missed(what)
            }
        }
    }

    /// Starts the clients of a situation, as far as the target need not stand still for it.
    pub(super) async fn prepare(&mut self, parts: &[Part]) -> Result<(), String> {
        let actors: Vec<Actor> =
            parts.iter().map(|part| Actor::start(*part, self.clients, self.tasks)).collect();
        self.wait(&actors, Actor::is_prepared, LIMIT).await
    }

    /// Catches a request in process where each is answered at once: lets clients ask without a
    /// pause, holds the target still again and again, and looks what it was doing.
    pub(super) async fn catch_in_process(&mut self, seed: u64) -> Scene {
        let shape = LoadShape {
            connections: HUNTERS,
            arrivals: Arrivals::Closed { pause: Duration::ZERO },
            keep_alive_percent: 100,
            pooled_clients: 0,
        };
        self.clients.start(self.tasks, seed, &shape, HUNT_TICK);
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            sleep(HUNT_TICK).await;
            let held = match self.hold().await {
                Ok(held) => held,
                Err(what) => return Scene::Missed(what),
            };
            if self.is_processing() {
                self.note(&held);
                return Scene::There(Some(held));
            }
            held.release();
        }
        Scene::Missed(
            "every request is answered at once, and none was caught in process: name a slower one \
             (--path)"
                .into(),
        )
    }

    /// Holds the target still from another thread: the clients of this one go on meanwhile.
    async fn hold(&mut self) -> Result<Hold, String> {
        let mut family = self.launched.family().clone();
        let held = spawn_blocking(move || Hold::begin(&mut family)).await;
        held.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn note(&self, held: &Hold) {
        let (processes, by, took) = (held.processes, held.by, held.took);
        self.clients.recorder.record(EventKind::Held { processes, by, took });
    }

    /// Whether the target has read a request and sent nothing of the response.
    fn is_processing(&mut self) -> bool {
        let sockets = self.look();
        let open = self.clients.open_connections();
        sockets.iter().any(|socket| {
            let outstanding = open.outstanding(socket.connection);
            Pose::InHandler.is_there(Some(socket), outstanding.as_ref(), Default::default())
        })
    }

    /// Waits until at least one connection of each kind is as it should be; says which is missing.
    async fn wait(
        &mut self,
        actors: &[Actor],
        is_right: fn(&Actor, &[SocketSeen], &OpenConnections) -> bool,
        limit: Duration,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let mut enough = None;
        loop {
            let looked = Instant::now();
            let sockets = self.look();
            let open = self.clients.open_connections();
            let (right, wrong): (Vec<&Actor>, Vec<&Actor>) =
                actors.iter().partition(|actor| is_right(actor, &sockets, &open));
            let mut kinds = wrong.iter().map(|actor| actor.pose());
            let missing = kinds.find(|pose| right.iter().all(|actor| actor.pose() != *pose));
            match missing {
                None if wrong.is_empty() => return Ok(()),
                None if is_answered(actors) && right.len() * CROWD_PART < actors.len() => {
                    return Err(CROWD_IS_GONE.into());
                }
                None if is_answered(actors) => return Ok(()),
                None => {
                    let since = *enough.get_or_insert_with(Instant::now);
                    if since.elapsed() > FOLLOW + place_in_crowd(actors.len() as u16) * 2 {
                        return Ok(());
                    }
                }
                Some(pose) if begun.elapsed() > limit => return Err(pose.about().into()),
                Some(pose) if actors.iter().all(|it| it.pose() != pose || it.is_over()) => {
                    return Err(pose.about().into());
                }
                Some(_) => enough = None,
            }
            // A look at many connections takes a while, and the clients have as long for theirs.
            sleep(TICK.max(looked.elapsed())).await;
        }
    }

    /// What the kernel shows, in the order of the connections.
    fn look(&mut self) -> Vec<SocketSeen> {
        let open = self.clients.open_connections();
        let mut sockets = match &mut self.kernel {
            Some((watch, server)) => watch.look(*server, &open.asked()).unwrap_or_default(),
            None => open.inferred(self.margin),
        };
        sockets.sort_unstable_by_key(|socket| socket.connection);
        sockets
    }
}

/// Whether the first of those in process was answered: soon the others are as well.
fn is_answered(actors: &[Actor]) -> bool {
    actors.iter().any(|actor| actor.pose() == Pose::InHandler && actor.is_over())
}
