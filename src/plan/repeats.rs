//! The signals of trials in which more than one is sent.

use std::time::Duration;

use crate::model::plan::{Moment, PlannedSignal, SignalTo, Situation};
use crate::model::signal::Signal;

use super::draw::{Purpose, draw, log_uniform};

/// How long after the first signal the second one comes, in the order in which they are tried:
/// while requests drain, as soon as a handler has run, and so soon that it may be the same to the
/// kernel.
const GAPS: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(10),
    Duration::from_millis(1),
    Duration::from_millis(300),
];
/// Of so many visits, the first and the last have one of these gaps, to the leader and to the group,
/// and those between them one that is drawn.
const VISITS_OF_A_GAP: usize = 4;
/// Each gap has come to everybody after so many visits.
pub(super) const PERIOD: usize = VISITS_OF_A_GAP * GAPS.len();
/// Gaps that are drawn are at least so long, and even over so many doublings of it; those below a
/// millisecond are meant, in which a handler is being run, and perhaps put back.
const LEAST_GAP_US: u64 = 20;
const GAP_DOUBLINGS: u64 = 6;
const DRAWN_GAP_MAX_US: u64 = 999;
/// The signals of a burst.
const BURST: u32 = 20;
/// The time from its first to its last.
const BURST_SPAN: Duration = Duration::from_millis(10);
/// The same where it is drawn: at least so long, and even over so many doublings of it.
const LEAST_SPAN_US: u64 = 400;
const SPAN_DOUBLINGS: u64 = 4;

/// Which trial it is: the seed, its cell and the visit.
pub(super) type Visit = (u64, u64, usize);

/// The signals of a trial of such a situation, of which the first and its moment are given.
pub(super) fn signals(
    situation: Situation,
    (first, moment): (Signal, Moment),
    to: Option<SignalTo>,
    visit: Visit,
) -> Vec<PlannedSignal> {
    let to = to.unwrap_or(match visit.2 % 2 {
        0 => SignalTo::Leader,
        _ => SignalTo::Group,
    });
    let (later, gap, times) = match situation {
        Situation::SignalBurst => (first, span(visit) / (BURST - 1), BURST - 1),
        Situation::MixedSignals => (other(first), gap(visit), 1),
        _ => (first, gap(visit), 1),
    };
    let later = PlannedSignal { signal: later, to, moment: Moment::AfterPrevious { gap } };
    let first = PlannedSignal { signal: first, to, moment };
    std::iter::once(first).chain(std::iter::repeat_n(later, times as usize)).collect()
}

fn gap((seed, cell, visit): Visit) -> Duration {
    if is_drawn(visit) {
        let drawn = draw(seed, Purpose::Gap, cell, visit as u64);
        let gap_us = log_uniform(drawn, LEAST_GAP_US, GAP_DOUBLINGS);
        return Duration::from_micros(gap_us.min(DRAWN_GAP_MAX_US));
    }
    GAPS[visit / VISITS_OF_A_GAP % GAPS.len()]
}

fn span((seed, cell, visit): Visit) -> Duration {
    if is_drawn(visit) {
        let drawn = draw(seed, Purpose::Gap, cell, visit as u64);
        return Duration::from_micros(log_uniform(drawn, LEAST_SPAN_US, SPAN_DOUBLINGS));
    }
    BURST_SPAN
}

fn is_drawn(visit: usize) -> bool {
    (1..VISITS_OF_A_GAP - 1).contains(&(visit % VISITS_OF_A_GAP))
}

/// What supervisors and people send beside it.
fn other(signal: Signal) -> Signal {
    if signal == Signal::TERM { Signal::INT } else { Signal::TERM }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(situation: Situation, to: Option<SignalTo>, visit: usize) -> Vec<PlannedSignal> {
        signals(situation, (Signal::TERM, Moment::Reached), to, (7, 3, visit))
    }

    fn span_of(burst: &[PlannedSignal]) -> Duration {
        burst.iter().filter_map(|planned| planned.moment.gap()).sum()
    }

    #[test]
    fn each_gap_comes_to_the_leader_and_to_the_group() {
        let mut seen: Vec<_> = (0..PERIOD)
            .map(|visit| drawn(Situation::SecondSignal, None, visit))
            .map(|both| (both[1].moment.gap().unwrap(), both[0].to == SignalTo::Group))
            .filter(|(gap, _)| GAPS.contains(gap))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        let all_alike = |all: &[PlannedSignal]| all.iter().all(|it| it.to == all[0].to);
        assert!((0..8).all(|visit| all_alike(&drawn(Situation::SignalBurst, None, visit))));
    }

    #[test]
    fn the_second_visit_and_half_of_all_have_a_gap_below_a_millisecond() {
        for situation in [Situation::SecondSignal, Situation::MixedSignals] {
            let gaps: Vec<_> = (0..64)
                .map(|visit| drawn(situation, None, visit)[1].moment.gap().unwrap())
                .collect();
            let is_short = |gap: &&Duration| (20..1000).contains(&gap.as_micros());
            assert!(is_short(&&gaps[1]), "{gaps:?}");
            let short: std::collections::BTreeSet<_> = gaps.iter().filter(is_short).collect();
            assert!(short.len() > 20, "{short:?}");
            assert_eq!(gaps.iter().filter(is_short).count(), 32);
        }
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
        assert_eq!((burst.len(), span_of(&burst).as_millis()), (20, 9));
        for visit in 0..64 {
            let span = span_of(&drawn(Situation::SignalBurst, None, visit));
            assert!((300..10_000).contains(&span.as_micros()), "{span:?}");
        }
    }

    #[test]
    fn the_other_signal_comes_second() {
        let names = |first| {
            let signals =
                signals(Situation::MixedSignals, (first, Moment::Reached), None, (7, 3, 0));
            [signals[0].signal, signals[1].signal]
        };
        assert_eq!(names(Signal::TERM), [Signal::TERM, Signal::INT]);
        assert_eq!(names(Signal::INT), [Signal::INT, Signal::TERM]);
    }
}
