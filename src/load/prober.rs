//! Sees when connections are refused, by trying; and what becomes of late ones, by following
//! some of them to their end.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::event::{EventKind, Probe, ProbeOutcome};
use crate::observe::recorder::Recorder;

use super::clients::{Clients, Stage, is_self_connected};

/// A probe that is not answered within this time has met a full accept queue.
const LIMIT: Duration = Duration::from_secs(3);
/// Probes that may wait for an answer at the same time.
const PENDING_MAX: usize = 64;
/// Late requests that are followed to their end in a trial.
const LATE_REQUESTS_MAX: u32 = 60;

/// Tries to connect, and closes again at once; the outcome is written down.
pub async fn probe(address: SocketAddr, recorder: &Recorder) -> ProbeOutcome {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
    let started = recorder.now();
    let connected = timeout(LIMIT, TcpStream::connect(address)).await;
    let ended = recorder.now();
    let outcome = match connected.map(|result| result.map_err(|error| error.kind())) {
        Ok(Ok(stream)) if is_self_connected(&stream) => ProbeOutcome::Refused,
        Ok(Ok(_)) => ProbeOutcome::Established,
        Ok(Err(ConnectionRefused | ConnectionReset)) => ProbeOutcome::Refused,
        Ok(Err(std::io::ErrorKind::TimedOut)) | Err(_) => ProbeOutcome::TimedOut,
        Ok(Err(_)) => ProbeOutcome::Failed,
    };
    recorder.record(EventKind::Probe(Probe { started, ended, outcome }));
    outcome
}

/// Probes from the signal on until the trial is over: every millisecond at first, when refusal
/// is expected, then less and less often.
pub async fn probe_until_over(clients: Rc<Clients>, refuse_within: Duration) {
    let begun = Instant::now();
    let refused = Rc::new(Cell::new(false));
    let mut pending = JoinSet::new();
    while clients.stage() != Stage::Over {
        while pending.try_join_next().is_some() {}
        if pending.len() < PENDING_MAX {
            let (clients, refused) = (clients.clone(), refused.clone());
            pending.spawn_local(async move {
                let outcome = probe(clients.address, &clients.recorder).await;
                refused.set(refused.get() || outcome == ProbeOutcome::Refused);
            });
        }
        tokio::select! {
            () = sleep(cadence(begun.elapsed(), refuse_within, refused.get())) => {}
            () = clients.until(Stage::Over) => {}
        }
    }
}

fn cadence(elapsed: Duration, refuse_within: Duration, refused: bool) -> Duration {
    let ms = Duration::from_millis;
    match elapsed {
        _ if refused => ms(10),
        early if early < ms(50) => ms(1),
        early if early < refuse_within + ms(100) => ms(5),
        late if late < ms(3000) => ms(50),
        _ => ms(250),
    }
}

/// Sends requests on new connections from the signal on, and follows each to its end.
pub async fn ask_late(clients: Rc<Clients>) {
    let quickest = clients.quickest();
    let mut asked = JoinSet::new();
    for number in 0..LATE_REQUESTS_MAX {
        if clients.stage() == Stage::Over {
            break;
        }
        let late = clients.clone();
        asked.spawn_local(async move { late.once(quickest).await });
        let pause = if number < 30 { 50 } else { 250 };
        tokio::select! {
            () = sleep(Duration::from_millis(pause)) => {}
            () = clients.until(Stage::Over) => {}
        }
    }
    asked.join_all().await;
}
