//! Rehearses the lives of single requests: when each passes its landmarks, where nothing disturbs
//! it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::load::cast::by_length;
use crate::load::clients::{Clients, Stage};
use crate::load::request::PreparedRequest;
use crate::load::timed::Timed;
use crate::model::address::ServerAddress;
use crate::model::event::{Event, EventKind, RequestEnd};
use crate::model::near::{NearMoment, Passed, RequestLife};
use crate::model::time::Nanos;
use crate::observe::exact::{sleep_until, wake_exactly};
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;

use super::life::{Life, OWN, Sights};
use super::subject::Subject;

/// From the order of a request to its beginning.
const LEAD: Duration = Duration::from_micros(1500);
/// Requests of a kind that are answered within the time are rehearsed so often; others once.
const TIMES: [(Duration, usize); 2] =
    [(Duration::from_millis(5), 8), (Duration::from_millis(50), 3)];
/// In a trial, so many of those that are answered within the time are measured once more.
const AGAIN: (Duration, usize) = (Duration::from_millis(50), 3);
/// The life of one that takes longer is put together from what is known of it.
const LONG: Duration = Duration::from_millis(50);
/// Whoever has not answered after twice its usual time, and this, has other things to do.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lives that signals can be aimed at.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    quick: Option<Rehearsed>,
    slow: Option<Rehearsed>,
    /// Others that were wanted.
    named: Vec<Rehearsed>,
}

/// The life of one request, on a connection of its own and on a kept one.
#[derive(Clone, Copy, Debug)]
struct Rehearsed {
    template: usize,
    fresh: RequestLife,
    /// Absent where the server keeps no connection.
    kept: Option<RequestLife>,
}

impl Lives {
    /// The request that a moment is about, and its life; where a trial asks for one alone, that.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(
        &self,
        near: NearMoment,
        asked: Option<usize>,
    ) -> Result<(usize, RequestLife), &'static str> {
        let usual = if near.slow { self.slow } else { self.quick };
        let all = usual.into_iter().chain(self.quick).chain(self.slow);
        let which = match asked {
            None => usual.ok_or("no request was rehearsed: name a plain one (--path)")?,
            Some(template) => all
                .chain(self.named.iter().copied())
                .find(|rehearsed| rehearsed.template == template)
                .ok_or("the request that it asks for was not rehearsed alone")?,
        };
        let life = if near.kept { which.kept } else { Some(which.fresh) };
        Ok((which.template, life.ok_or("no connection was kept after its response")?))
    }

    /// The same, with the life as this target has it now, where that takes no time: another process, on a
    /// machine that had less to do, has told the rehearsal only about what it would be.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn measured(
        &self,
        (near, asked): (NearMoment, Option<usize>),
        (prepared, address): (&[PreparedRequest], &ServerAddress),
    ) -> Result<(usize, RequestLife), &'static str> {
        let (template, rehearsed) = self.of(near, asked)?;
        let (limit, times) = AGAIN;
        let mut seen = Vec::new();
        if prepared[template].usual <= limit {
            for _ in 0..times {
                seen.extend(once(prepared, template, (address, near.kept)).await);
            }
        }
        Ok((template, if seen.is_empty() { rehearsed } else { RequestLife::of(&seen) }))
    }
}

/// Asks a quiet target for its quickest and its longest request, where that is wanted.
pub(super) async fn rehearse(subject: &Subject, address: &ServerAddress) -> Lives {
    let prepared = subject.prepared(address);
    let mut plain = by_length(&prepared);
    let quickest = plain.next().filter(|_| subject.wants_lives);
    let Some(quickest) = quickest else { return Lives::default() };
    let longest = plain.next_back().unwrap_or(quickest);
    let Some(quick) = of_one(&prepared, quickest, address).await else { return Lives::default() };
    let slow = of_another(&prepared, longest, (address, quick)).await;
    let mut named = Vec::new();
    for (template, request) in subject.contract.requests.iter().enumerate().take(prepared.len()) {
        if subject.lives_of.contains(&request.name) && ![quickest, longest].contains(&template) {
            named.extend(of_another(&prepared, template, (address, quick)).await);
        }
    }
    Lives { quick: Some(quick), slow, named }
}

/// The life of a request that may take long, like that of the quickest where it does.
async fn of_another(
    prepared: &[PreparedRequest],
    template: usize,
    (address, quick): (&ServerAddress, Rehearsed),
) -> Option<Rehearsed> {
    match prepared[template].usual {
        _ if template == quick.template => Some(quick),
        usual if usual >= LONG => {
            let first_byte = prepared[template].first_byte;
            let like = |life: RequestLife| life.with_response(first_byte, usual);
            let (fresh, kept) = (like(quick.fresh), quick.kept.map(like));
            Some(Rehearsed { template, fresh, kept })
        }
        _ => of_one(prepared, template, address).await,
    }
}

async fn of_one(
    prepared: &[PreparedRequest],
    template: usize,
    address: &ServerAddress,
) -> Option<Rehearsed> {
    let usual = prepared[template].usual;
    let times = TIMES.iter().find(|(limit, _)| usual <= *limit).map_or(1, |(_, times)| *times);
    let mut lives = [Vec::new(), Vec::new()];
    for _ in 0..times {
        for (seen, kept) in lives.iter_mut().zip([false, true]) {
            seen.extend(once(prepared, template, (address, kept)).await);
        }
    }
    let [fresh, kept] = lives;
    let kept = (!kept.is_empty()).then(|| RequestLife::of(&kept));
    (!fresh.is_empty()).then(|| Rehearsed { template, fresh: RequestLife::of(&fresh), kept })
}

/// One request, watched; none where it was not answered.
async fn once(
    prepared: &[PreparedRequest],
    template: usize,
    (address, kept): (&ServerAddress, bool),
) -> Option<Passed> {
    let recorder = Recorder::new();
    let clients = Clients::new(recorder.clone(), Some(address.clone()), prepared.to_vec());
    let limit = prepared[template].usual * 2 + PATIENCE;
    let course = async {
        let timed = Timed::prepare(clients.clone(), template, kept).await?;
        sleep(Duration::from_millis(1)).await;
        let life = Life::new(recorder.now() + LEAD);
        let watching = Watching::begin(&life, &clients, address.tcp());
        timed.ask_at(life.begin).await;
        drop(watching);
        Some(life)
    };
    let life = timeout(limit, course).await.ok().flatten();
    clients.enter(Stage::Over);
    let life = life?;
    recorder.read(|events| passed(events, life.begin, life.sights()))
}

/// When the request that began then passed its landmarks.
pub(super) fn passed(events: &[Event], begin: Nanos, sights: Sights) -> Option<Passed> {
    let request = events.iter().find_map(|event| match &event.kind {
        EventKind::Request(it) if it.connection == OWN && it.started >= begin => Some(it),
        _ => None,
    })?;
    let closed = events.iter().find_map(|event| match &event.kind {
        EventKind::Connection(it) if it.connection == OWN => Some(it.ended),
        _ => None,
    });
    let is_complete = request.end == RequestEnd::Complete;
    let all = [
        Some(begin),
        sights.accepted,
        sights.first_read,
        sights.read,
        request.first_byte,
        is_complete.then_some(request.ended),
        closed,
    ];
    Some(all.map(|at| at.map(|at| at.since(begin))))
}

/// A thread that looks at a request from its beginning, until it is dropped.
struct Watching(Arc<AtomicBool>);

impl Watching {
    fn begin(
        life: &Life,
        clients: &Rc<Clients>,
        server: Option<std::net::SocketAddr>,
    ) -> Option<Self> {
        let (life, recorder, open) =
            (life.clone(), clients.recorder.clone(), clients.open_connections());
        let (mut watch, server) = (SocketWatch::new().ok()?, server?);
        let over: Arc<AtomicBool> = Arc::default();
        let own = over.clone();
        let look = move || {
            wake_exactly();
            sleep_until(&recorder, life.begin);
            while !own.load(Ordering::SeqCst) && !life.sights().are_complete() {
                let _ = life.look(&recorder, (&mut watch, server), &open);
            }
        };
        // Without a thread nothing is known but what the client sees.
        std::thread::Builder::new().name("life".into()).spawn(look).ok()?;
        Some(Self(over))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
