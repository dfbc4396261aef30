//! How the harness's own thread fares: whether it gets a processor when it wants one, and how fine
//! its clock is.

use std::time::Duration;

use nix::time::{ClockId, clock_getres};

use crate::model::event::EventKind;

/// What the kernel says of this thread when something begins.
#[derive(Debug)]
pub struct OwnThread {
    waited: Option<Duration>,
}

impl OwnThread {
    /// Begins here; to be ended on the same thread.
    pub fn begin() -> Self {
        Self { waited: waited() }
    }

    /// How it was since then.
    pub fn share(&self) -> EventKind {
        let waited = self.waited.zip(waited()).map(|(begun, now)| now.saturating_sub(begun));
        EventKind::HarnessShare { waited, clock_step: clock_step() }
    }
}

/// How long this thread has waited in a run queue so far: the second number of schedstat (proc(5),
/// Documentation/scheduler/sched-stats.rst), where the kernel keeps it.
fn waited() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

/// In which steps the clock counts (clock_getres(2)).
fn clock_step() -> Duration {
    clock_getres(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_this_machine_is_fine_and_waiting_only_grows() {
        let begun = OwnThread::begin();
        std::thread::yield_now();
        match begun.share() {
            EventKind::HarnessShare { waited, clock_step } => {
                assert!(clock_step < Duration::from_millis(1), "{clock_step:?}");
                assert_eq!(waited.is_some(), begun.waited.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
}
