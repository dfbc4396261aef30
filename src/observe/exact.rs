//! Waiting for an instant to the microsecond, on a thread that may be kept busy for it.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use crate::model::time::Nanos;

use super::recorder::Recorder;

/// Before the instant the thread is awake and asks the clock, since a sleeping one wakes tens of
/// microseconds late.
pub const AWAKE: Duration = Duration::from_micros(300);

/// Comes back at the instant, or at once where it has passed; blocks the thread until then.
pub fn wait_until(recorder: &Recorder, at: Nanos) {
    sleep_until(recorder, at - AWAKE);
    spin_until(recorder, at);
}

/// Sleeps to an instant of the recorder's clock (clock_nanosleep(2), TIMER_ABSTIME).
pub fn sleep_until(recorder: &Recorder, at: Nanos) {
    let ns = recorder.on_system_clock(at);
    let request = TimeSpec::new((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &request)
        == Err(nix::errno::Errno::EINTR)
    {}
}

/// Asks the clock until the instant has come.
pub fn spin_until(recorder: &Recorder, at: Nanos) {
    while recorder.now() < at {
        std::hint::spin_loop();
    }
}

/// The kernel may round wake-ups of ordinary threads by 50 microseconds (prctl(2)).
pub fn wake_exactly() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_back_too_early() {
        let recorder = Recorder::new();
        let at = recorder.now() + Duration::from_millis(2);
        wait_until(&recorder, at);
        assert!(recorder.now() >= at);
        wait_until(&recorder, Nanos::ZERO);
    }
}
