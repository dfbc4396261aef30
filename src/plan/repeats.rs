//! The signals of trials in which more than one is sent.

use std::time::Duration;

use crate::model::plan::{Moment, PlannedSignal, SignalTo, Situation};
use crate::model::signal::Signal;

/// How long after the first signal the second one comes, in the order of the visits, two of them
/// each: while requests drain, as soon as a handler has run, and so soon that it may be the same
/// to the kernel.
const GAPS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(10),
    Duration::from_millis(1),
    Duration::from_millis(300),
];
/// Each gap has come to everybody after so many visits.
pub(super) const PERIOD: usize = 2 * GAPS.len();
/// The signals of a burst.
const BURST: u32 = 20;
/// The time from its first to its last.
const BURST_SPAN: Duration = Duration::from_millis(10);

/// The signals of a trial of such a situation, of which the first and its moment are given.
pub(super) fn signals(
    situation: Situation,
    (first, moment): (Signal, Moment),
    to: Option<SignalTo>,
    visit: usize,
) -> Vec<PlannedSignal> {
    let to = to.unwrap_or(match visit % 2 {
        0 => SignalTo::Leader,
        _ => SignalTo::Group,
    });
    let (later, gap, times) = match situation {
        Situation::SignalBurst => (first, BURST_SPAN / (BURST - 1), BURST - 1),
        Situation::MixedSignals => (other(first), gap(visit), 1),
        _ => (first, gap(visit), 1),
    };
    let later = PlannedSignal { signal: later, to, moment: Moment::AfterPrevious { gap } };
    let first = PlannedSignal { signal: first, to, moment };
    std::iter::once(first).chain(std::iter::repeat_n(later, times as usize)).collect()
}

fn gap(visit: usize) -> Duration {
    GAPS[visit / 2 % GAPS.len()]
}

/// What supervisors and people send beside it.
fn other(signal: Signal) -> Signal {
    if signal == Signal::TERM { Signal::INT } else { Signal::TERM }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(situation: Situation, to: Option<SignalTo>, visit: usize) -> Vec<PlannedSignal> {
        signals(situation, (Signal::TERM, Moment::Reached), to, visit)
    }

    #[test]
    fn each_gap_comes_to_the_leader_and_to_the_group() {
        let mut seen: Vec<_> = (0..8)
            .map(|visit| drawn(Situation::SecondSignal, None, visit))
            .map(|both| (both[1].moment.gap().unwrap(), both[0].to == SignalTo::Group))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        let all_alike = |all: &[PlannedSignal]| all.iter().all(|it| it.to == all[0].to);
        assert!((0..8).all(|visit| all_alike(&drawn(Situation::SignalBurst, None, visit))));
    }

    #[test]
    fn who_is_named_gets_all_of_them() {
        for visit in 0..4 {
            let all = drawn(Situation::SignalBurst, Some(SignalTo::Listener), visit);
            assert!(all.iter().all(|planned| planned.to == SignalTo::Listener));
        }
    }

    #[test]
    fn a_burst_is_twenty_within_ten_milliseconds() {
        let burst = drawn(Situation::SignalBurst, None, 0);
        let span: Duration = burst.iter().filter_map(|planned| planned.moment.gap()).sum();
        assert_eq!((burst.len(), span.as_millis()), (20, 9));
    }

    #[test]
    fn the_other_signal_comes_second() {
        let names = |first| {
            let both = signals(Situation::MixedSignals, (first, Moment::Reached), None, 0);
            [both[0].signal, both[1].signal]
        };
        assert_eq!(names(Signal::TERM), [Signal::TERM, Signal::INT]);
        assert_eq!(names(Signal::INT), [Signal::INT, Signal::TERM]);
    }
}
