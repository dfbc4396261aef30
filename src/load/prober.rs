//! Sees when connections are refused, by trying; what becomes of late ones, by following some of them
//! to their end; and what the readiness endpoint says meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, Probe, ProbeOutcome, Readiness, ReadinessProbe};
use crate::observe::recorder::Recorder;

use super::clients::{Clients, Stage};
use super::connect::{connect, is_refusal};
use super::response::ResponseReader;

/// A probe that is not answered within this time has met a full accept queue.
const LIMIT: Duration = Duration::from_secs(3);
/// Probes that may wait for an answer at the same time.
const PENDING_MAX: usize = 64;
/// Late requests that are followed to their end in a trial.
const LATE_REQUESTS_MAX: u32 = 60;

/// How often readiness is asked for; orchestrators ask less often, and see less.
const READINESS_EVERY: Duration = Duration::from_millis(100);
/// An answer that takes longer is none (Kubernetes' timeoutSeconds is 1 s by default).
const READINESS_LIMIT: Duration = Duration::from_secs(1);

/// Tries to connect, and closes again at once; the outcome is written down.
pub async fn probe(address: &ServerAddress, recorder: &Recorder) -> ProbeOutcome {
    let started = recorder.now();
    let connected = timeout(LIMIT, connect(address)).await;
    let ended = recorder.now();
    let outcome = match connected.map(|result| result.map_err(|error| error.kind())) {
        Ok(Ok(_)) => ProbeOutcome::Established,
        Ok(Err(error)) if is_refusal(error) => ProbeOutcome::Refused,
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
                let Some(address) = &clients.address else { return };
                let outcome = probe(address, &clients.recorder).await;
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

/// Asks the readiness endpoint, each time on a connection of its own as orchestrators do, until the
/// trial is over.
pub async fn ask_readiness(clients: Rc<Clients>, path: String) {
    let Some(address) = &clients.address else { return };
    while clients.stage() != Stage::Over {
        let started = clients.recorder.now();
        let answer = timeout(READINESS_LIMIT, readiness(address, &path)).await;
        let ended = clients.recorder.now();
        let outcome = answer.unwrap_or(Readiness::NoAnswer);
        let probe = ReadinessProbe { started, ended, outcome };
        clients.recorder.record(EventKind::ReadinessProbe(probe));
        tokio::select! {
            () = sleep(READINESS_EVERY) => {}
            () = clients.until(Stage::Over) => {}
        }
    }
}

async fn readiness(address: &ServerAddress, path: &str) -> Readiness {
    let stream = match connect(address).await {
        Ok(stream) => stream,
        Err(error) if is_refusal(error.kind()) => return Readiness::Refused,
        Err(_) => return Readiness::NoAnswer,
    };
    let host = address.host();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut response = ResponseReader::new("GET");
    let mut buffer = [0; 2048];
    if stream.write(request.as_bytes()).await.ok() != Some(request.len()) {
        return Readiness::NoAnswer;
    }
    while !response.has_head() {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 && response.push(&buffer[..length]).is_ok() => {}
            _ => return Readiness::NoAnswer,
        }
    }
    match response.status.unwrap_or_default() {
        ready @ 200..400 => Readiness::Ready(ready),
        status => Readiness::NotReady(status),
    }
}
