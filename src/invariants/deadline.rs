//! Whether the target outlived its deadline.

use std::time::Duration;

use crate::model::event::EventIndex;
use crate::model::history::{Exit, History, SignalSent};
use crate::model::time::Nanos;
use crate::model::verdict::Verdict;

use super::wording::{ended, when};

/// The event that shows that the deadline was over before the target's end, and how it shows it.
pub(super) fn outlived(history: &History, signal: &SignalSent) -> Option<(EventIndex, String)> {
    let deadline = history.contract().deadline;
    // A recorded history can be judged under another deadline than it was recorded with, so
    // the harness's own event decides only where it came late enough.
    let alive = history
        .deadline_passed()
        .filter(|(_, at)| at.since(signal.felt) >= deadline)
        .map(|(event, at)| (event, format!("was alive {}", when(at, signal))));
    // The harness may have noticed the exit as late as it was late with everything else.
    let late = history
        .exit()
        .filter(|exit| exit.at.since(signal.felt) > deadline + history.lag())
        .map(|exit| (exit.event, format!("{} {}", ended(exit.status), when(exit.at, signal))));
    alive.or(late)
}

/// The verdict where the target did not outlive its deadline, as far as is known.
pub(super) fn not_outlived(history: &History) -> Verdict {
    let released = history.clients_released().map(|(_, at)| at);
    match history.exit() {
        None => Verdict::inconclusive(
            "the trial was over before the target's exit and before the deadline",
        ),
        // It is judged by a longer deadline than it was recorded with.
        Some(exit) if released.is_some_and(|at| exit.at >= at) => Verdict::inconclusive(
            "the clients let go at the deadline of the recording: how long the target would have \
             lived with them is not known",
        ),
        Some(_) => Verdict::of(1, Vec::new(), ""),
    }
}

/// Beyond what an exit with nothing open usually takes: within this time of what it waited for, a
/// target exits, also one that looks every half second (as Go's Shutdown does). Later, it may have
/// been about to exit anyway.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(550);
/// A usual exit that takes longer than this would make nearly any exit look like a consequence.
const USUAL_MAX: Duration = Duration::from_millis(400);

/// The exit of a target that had outlived its deadline, where it came so soon after the clients had
/// closed what only they kept open that it must have waited for that.
pub(super) fn exit_on_release(history: &History) -> Option<(EventIndex, Nanos, Exit)> {
    let (event, released) = history.clients_released()?;
    let exit = history.exit().filter(|exit| exit.at >= released)?;
    let usual = history.contract().usual_exit.unwrap_or_default().min(USUAL_MAX);
    let soon = exit.at.since(released) <= FOLLOWS_WITHIN + usual + history.lag();
    soon.then_some((event, released, exit))
}
