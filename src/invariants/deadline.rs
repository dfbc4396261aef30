//! Whether the target outlived its deadline.

use crate::model::event::EventIndex;
use crate::model::history::{History, SignalSent};

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
