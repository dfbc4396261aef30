//! The book of a trial: it has the only clock, and stamps what it is told.

use std::sync::{Arc, Mutex, PoisonError};

use nix::time::{ClockId, clock_gettime};

use crate::model::event::{Event, EventKind};
use crate::model::time::Nanos;

/// Writes events down in the order of time. Clones write into the same book.
#[derive(Clone, Debug)]
pub struct Recorder {
    epoch_ns: u64,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    /// An empty book; its clock starts at zero now.
    pub fn new() -> Self {
        Self { epoch_ns: monotonic_ns(), events: Arc::default() }
    }

    /// The time since the book was opened.
    pub fn now(&self) -> Nanos {
        Nanos::from_ns(monotonic_ns().saturating_sub(self.epoch_ns))
    }

    /// The instant on the clock of clock_nanosleep(2), `CLOCK_MONOTONIC`, in nanoseconds.
    pub fn on_system_clock(&self, at: Nanos) -> u64 {
        self.epoch_ns.saturating_add(at.as_ns())
    }

    /// Writes an event down, now.
    pub fn record(&self, kind: EventKind) -> Nanos {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // Stamped inside the lock, so that the order of lines and of times can't disagree.
        let at = self.now();
        events.push(Event { at, kind });
        at
    }

    /// Writes down an event whose instant was read before, at the place that belongs to it.
    ///
    /// The signal's bracket is read without the lock, because waiting for it would widen the
    /// bracket.
    pub fn record_at(&self, at: Nanos, kind: EventKind) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let place = events.partition_point(|event| event.at <= at);
        events.insert(place, Event { at, kind });
    }

    /// Looks at what has been written so far.
    pub fn read<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes the book. What clones write afterwards is lost.
    pub fn into_events(self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// `CLOCK_MONOTONIC` exists on every system that this builds for, so that reading it can't fail;
/// were it to, an hour of zero would be refused as a malformed history rather than judged.
fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_where_its_instant_belongs() {
        let recorder = Recorder::new();
        let early = recorder.now();
        recorder.record(EventKind::LoadStarted);
        recorder.record_at(early, EventKind::DeadlinePassed);
        let events = recorder.into_events();
        assert_eq!(events[0].kind, EventKind::DeadlinePassed);
        assert!(events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn many_writers_leave_an_ordered_book() {
        let recorder = Recorder::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| _ = recorder.record(EventKind::LoadStarted)));
            }
        });
        let events = recorder.into_events();
        assert_eq!(events.len(), 2000);
        assert!(events.is_sorted_by_key(|event| event.at));
    }
}
