//! Whether a history's target was started for it.

use super::event::EventKind;
use super::history::History;

impl History {
    /// Whether the target was running before the trial: nobody here learns its exit status, and it
    /// is left alive at the deadline.
    pub fn was_running(&self) -> bool {
        self.first(|kind| matches!(kind, EventKind::FoundRunning { .. })).is_some()
    }
}
