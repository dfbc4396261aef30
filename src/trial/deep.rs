//! The rehearsal of system calls: which of them the target makes for one request, each time alike.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::load::actor::Actor;
use crate::load::cast::{Part, cast_at_syscall};
use crate::load::clients::{Clients, Stage};
use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, RequestEnd};
use crate::model::signal::Signal;
use crate::model::syscall::{Reach, SyscallPoint};
use crate::observe::recorder::Recorder;
use crate::target::trace::{News, Tracer, Watch, why_forbidden};

use super::error::TrialError;
use super::interrupt::Interrupt;
use super::started::{Started, start};
use super::subject::Subject;

/// So often a request is followed.
const ROUNDS: u32 = 5;
/// A point that comes in so many of the rounds is one of the target's.
const OFTEN: u32 = 4;
/// In the last round each thread stays at each point for so long. A request that is lost there is
/// not lost by a signal.
const STAY: Duration = Duration::from_millis(10);
/// Of many calls of a kind only the first few are tried: a large page takes hundreds.
const NTH_MAX: u16 = 4;
/// A request is answered within this time, also with all the stays.
const ROUND_LIMIT: Duration = Duration::from_secs(5);
/// After the answer, what the target does at the end of the connection is over when nothing has come
/// for so long.
const QUIET: Duration = Duration::from_millis(15);
/// Between two looks at whether a client is done.
const TICK: Duration = Duration::from_millis(1);

/// What can be tried at system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Points {
    /// These points, in the order of a request's life.
    Seen(Vec<SyscallPoint>),
    /// None, for this reason.
    None(String),
}

/// Starts the target once more, and follows its system calls while it answers single requests.
///
/// # Errors
/// When the target can't be started or is never ready, or the user asks for the end.
pub fn rehearse_points(
    subject: &Subject,
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Points, TrialError> {
    if subject.running.is_some() {
        return Ok(Points::None("a process that was not started here is not traced".into()));
    }
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| TrialError::Harness { what: "start a runtime", reason })?;
    LocalSet::new().block_on(&runtime, async {
        let seed = super::rehearsal::seed().wrapping_add(2);
        let mut started = start(subject, (seed, subject.as_pid_1), &recorder)?;
        let found = started.ready(subject, interrupt, &recorder).await?;
        let looked = match &found.address {
            Some(address @ ServerAddress::Tcp(_)) => tokio::select! {
                looked = look(subject, &mut started, address) => looked,
                () = interrupt.wait() => return Err(TrialError::Interrupted),
            },
            Some(ServerAddress::Unix(_)) => {
                Err("the kernel shows nothing of the connections of a unix socket".into())
            }
            None => Err("the target has no listener".into()),
        };
        started.end(signal).await;
        Ok(looked.unwrap_or_else(Points::None))
    })
}

async fn look(
    subject: &Subject,
    started: &mut Started,
    address: &ServerAddress,
) -> Result<Points, String> {
    let mut points = Vec::new();
    for reach in [Reach::Fresh, Reach::Kept] {
        let mut often: BTreeMap<SyscallPoint, (usize, u32)> = BTreeMap::new();
        for round in 1..=ROUNDS {
            let stay = if round == ROUNDS { STAY } else { Duration::ZERO };
            let Some(seen) = one_round(subject, started, address, (reach, stay)).await? else {
                break;
            };
            for (place, point) in seen.into_iter().enumerate() {
                let (first, times) = often.entry(point).or_insert((place, 0));
                *first = place.min(*first);
                *times += 1;
            }
        }
        let mut usual: Vec<_> =
            often.into_iter().filter(|(_, (_, times))| *times >= OFTEN).collect();
        usual.sort_by_key(|(_, (place, _))| *place);
        points.extend(usual.into_iter().map(|(point, _)| point));
    }
    match points.is_empty() {
        true => Err(
            "no system call for a connection was seen, though the request was answered: either \
                 the server makes none (io_uring(7), or its connections are another program's), or \
                 none that is known here for what it is, as some statically linked ones (musl)"
                .into(),
        ),
        false => Ok(Points::Seen(points)),
    }
}

/// Follows one request; the points that were seen, each once. Nothing where the target does not
/// keep its connections.
async fn one_round(
    subject: &Subject,
    started: &mut Started,
    address: &ServerAddress,
    (reach, stay): (Reach, Duration),
) -> Result<Option<Vec<SyscallPoint>>, String> {
    let recorder = Recorder::new();
    let prepared = subject.prepared(address);
    let parts = cast_at_syscall(reach, &prepared)?;
    let clients = Clients::new(recorder.clone(), Some(address.clone()), prepared);
    let mut tasks = JoinSet::new();
    // The connections of the round before end.
    sleep(QUIET).await;
    let followed = follow(started, address, &clients, (reach, stay), (&parts, &mut tasks)).await;
    clients.enter(Stage::Over);
    while tasks.join_next().await.is_some() {}
    let Some(seen) = followed? else { return Ok(None) };
    let requests = usize::from(reach == Reach::Kept) + 1;
    let expected = subject.contract.requests.get(parts[0].template).map(|it| it.status);
    let answered = recorder.read(|events| {
        let requests = events.iter().filter_map(|event| match &event.kind {
            EventKind::Request(request) => Some(request),
            _ => None,
        });
        let is_right = |end, status| end == RequestEnd::Complete && status == expected;
        requests.filter(|request| is_right(request.end, request.status)).count()
    });
    match answered < requests {
        true => Err("a request was not answered while its system calls were followed, without \
                     any signal: what is lost there would be the harness's fault"
            .into()),
        false => Ok(Some(seen)),
    }
}

/// Follows one request to its end.
async fn follow(
    started: &mut Started,
    address: &ServerAddress,
    clients: &Rc<Clients>,
    (reach, stay): (Reach, Duration),
    (parts, tasks): (&[Part], &mut JoinSet<()>),
) -> Result<Option<Vec<SyscallPoint>>, String> {
    let actors: Vec<Actor> = parts.iter().map(|part| Actor::start(*part, clients, tasks)).collect();
    let over = || actors.iter().all(Actor::is_over);
    let open = clients.open_connections();
    if reach == Reach::Kept {
        let kept = async {
            while !over() && !actors.iter().all(|actor| actor.is_prepared(&[], &open)) {
                sleep(TICK).await;
            }
        };
        let _ = timeout(ROUND_LIMIT, kept).await;
        if over() {
            return Ok(None);
        }
        // It goes back to waiting for the next one.
        sleep(QUIET).await;
    }
    let kept = open.asked().first().map(|asked| asked.client).filter(|_| reach == Reach::Kept);
    let server = address.tcp().ok_or("only a TCP connection can be followed")?;
    let watch = Watch {
        server,
        reach,
        kept,
        asked: Box::new(move || open.wholly_asked().first().copied()),
        stop_at: None,
        stay,
        limit: ROUND_LIMIT * 2,
    };
    let family = started.launched.family().clone();
    let (tracer, mut told) = Tracer::start(family, watch).map_err(|error| error.to_string())?;
    match told.recv().await {
        Some(News::Armed) => {}
        Some(News::Refused(error)) => return Err(why_forbidden(&error)),
        _ => return Err("the target's threads could not be followed".into()),
    }
    clients.enter(Stage::Held);
    let answered = async {
        while !over() {
            sleep(TICK).await;
        }
    };
    let _ = timeout(ROUND_LIMIT, answered).await;
    let seen = seen_until_quiet(&mut told, stay + QUIET).await;
    drop(tracer);
    Ok(Some(seen))
}

/// The points, until nothing has come for so long.
async fn seen_until_quiet(
    told: &mut UnboundedReceiver<News>,
    quiet: Duration,
) -> Vec<SyscallPoint> {
    let mut seen: Vec<SyscallPoint> = Vec::new();
    let end = Instant::now() + ROUND_LIMIT;
    while let Ok(Some(news)) = timeout_at((Instant::now() + quiet).min(end), told.recv()).await {
        if let News::Seen(point) = news
            && point.nth <= NTH_MAX
            && !seen.contains(&point)
        {
            seen.push(point);
        }
    }
    seen
}
