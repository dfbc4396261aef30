//! After the exit: does anything of the target go on?

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::load::prober::probe;
use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, ProbeOutcome};
use crate::model::plan::SignalTo;
use crate::observe::recorder::Recorder;
use crate::target::tree::command_line;

use super::started::Started;

/// Helper processes of runtimes outlive their parent by 50 to 100 ms, longer on a busy machine;
/// what lives longer than this after the exit is left behind.
const GRACE: Duration = Duration::from_secs(1);
/// Connections begun after the limit are tried for so long, where something is left to take them.
const LATER: Duration = Duration::from_millis(200);

/// Writes down which processes and files are left, and whether the address is still taken.
///
/// The port is the one of `address`, where that is known. `refused` is when late connections must be
/// refused, and `deadline` when the trial ends; `to` is who got the signal.
pub(super) async fn look_for_leftovers(
    started: &mut Started,
    address: Option<&ServerAddress>,
    workers: &mut JoinSet<()>,
    recorder: &Recorder,
    (refused, deadline, to): (Instant, Instant, SignalTo),
) {
    let exited = Instant::now();
    // A whole group that got the signal is over when the last of it is.
    let patience = match to {
        SignalTo::Group => GRACE.max(deadline - exited),
        SignalTo::Leader | SignalTo::Listener => GRACE,
    };
    let alive = loop {
        let alive = started.launched.family().alive();
        if alive.is_empty() || exited.elapsed() > patience {
            break alive;
        }
        sleep(Duration::from_millis(5)).await;
    };
    if alive.is_empty() {
        look_for_files(started, exited, recorder).await;
    }
    for process in &alive {
        let (pid, command) = (process.pid, command_line(process.pid));
        recorder.record(EventKind::ProcessLeft { pid, command });
    }
    if !alive.is_empty() {
        // What they were asked for they may still finish, and late connections must have had time
        // to show whether somebody takes them.
        let requests = async { while workers.join_next().await.is_some() {} };
        let _ = timeout_at(deadline, requests).await;
        sleep_until((refused + LATER).min(deadline)).await;
    }
    let Some(address) = address else { return };
    // Whoever listens where nothing of it is left is another, started by whoever watches over it.
    if alive.is_empty() && !started.launched.is_own() {
        return;
    }
    while probe(address, recorder).await == ProbeOutcome::Established {
        if exited.elapsed() > GRACE {
            recorder.record(EventKind::PortLeft { address: address.clone() });
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Writes down which files are left. Where processes are, their files are rightly there.
async fn look_for_files(started: &mut Started, exited: Instant, recorder: &Recorder) {
    loop {
        let there = started.files.there(started.launched.family());
        // Somebody who was not seen to belong to the target may be about to take them away.
        if there.is_empty() {
            return;
        }
        if exited.elapsed() > GRACE {
            for (path, kind) in there {
                recorder.record(EventKind::FileLeft { path, kind });
            }
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
