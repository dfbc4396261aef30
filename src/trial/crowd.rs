//! Rehearses a crowd: how many requests may be in process together without waiting for each other.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::cast::{crowd, place_in_crowd};
use crate::load::clients::{Clients, Stage};
use crate::load::request::PreparedRequest;
use crate::model::address::ServerAddress;
use crate::model::event::{Connection, Event, EventKind, Request, RequestEnd};
use crate::observe::recorder::Recorder;

use super::subject::Subject;

/// Fewer are no crowd.
const LEAST: u16 = 16;
/// A connection that takes longer to be established has waited for a place in the accept queue.
const CONNECTED_WITHIN: Duration = Duration::from_millis(250);
/// Those that take so much longer than alone have waited for each other.
const LONGER: f64 = 1.25;
const LATER: Duration = Duration::from_millis(100);
/// Whoever has not answered after that has other things to do.
const PATIENCE: Duration = Duration::from_secs(3);

/// As many of the wanted as the target answers together, each in about the time that it takes alone;
/// fewer of them than half where not all were. None where each is answered at once, or the target
/// works on few at the same time.
pub(super) async fn rehearse(subject: &Subject, address: &ServerAddress) -> u16 {
    let prepared = subject.prepared(address);
    let Some((template, most)) = crowd(&prepared) else { return 0 };
    let wanted = subject.crowd.min(most);
    if wanted < LEAST || subject.parallelism.is_some() {
        return 0;
    }
    let request = prepared[template].clone();
    let status = subject.contract.requests.get(template).map(|expected| expected.status);
    let events = ask(prepared, (template, wanted), address).await;
    let served = served(&events, &request, status);
    match served {
        all if all >= wanted => wanted,
        // It was too many; what is safe is well below what came through.
        some if some / 2 >= LEAST => some / 2,
        _ => 0,
    }
}

async fn ask(
    prepared: Vec<PreparedRequest>,
    (template, wanted): (usize, u16),
    address: &ServerAddress,
) -> Vec<Event> {
    let limit = prepared[template].usual * 2 + PATIENCE;
    let recorder = Recorder::new();
    let clients = Clients::new(recorder.clone(), Some(address.clone()), prepared);
    let mut asked = JoinSet::new();
    for nth in 0..wanted {
        let clients = clients.clone();
        asked.spawn_local(async move {
            sleep(place_in_crowd(nth)).await;
            clients.once(template).await;
        });
    }
    let _ = timeout(limit, async { while asked.join_next().await.is_some() {} }).await;
    clients.enter(Stage::Over);
    while asked.join_next().await.is_some() {}
    recorder.into_events()
}

/// How many were answered as they are alone.
fn served(events: &[Event], request: &PreparedRequest, status: Option<u16>) -> u16 {
    let in_time = |it: &Request| {
        it.end == RequestEnd::Complete
            && it.status == status
            && it.ended.since(it.started) <= request.usual.mul_f64(LONGER) + LATER
    };
    let at_once =
        |it: &Connection| it.established.is_some_and(|at| at.since(it.started) <= CONNECTED_WITHIN);
    let (mut answered, mut connected) = (0, 0);
    for event in events {
        match &event.kind {
            EventKind::Request(it) if in_time(it) => answered += 1,
            EventKind::Connection(it) if at_once(it) => connected += 1,
            _ => {}
        }
    }
    answered.min(connected)
}
