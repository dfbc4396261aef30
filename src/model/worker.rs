//! Whether a history is of a target without a listener.

use super::event::EventKind;
use super::history::History;

impl History {
    /// Whether the target listens; one that is a worker does not.
    pub fn has_listener(&self) -> bool {
        let is_worker = |kind: &EventKind| matches!(kind, EventKind::Ready { address: None, .. });
        self.first(is_worker).is_none()
    }
}
