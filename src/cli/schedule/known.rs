//! Trials of known failures, which come before those of the plan, and what they are compared with.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::load::cast::Part;
use crate::model::number::{FIRST_KNOWN, KNOWN_NUMBERS, KNOWN_ROUNDS, known_place};
use crate::model::plan::Trial;
use crate::model::search::Shown;
use crate::plan::search::{ESTABLISHED, MISSES};

/// What is still to be run of them, and what was.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By their places in the file.
    cases: BTreeMap<usize, Case>,
    /// Rounds of single ones: where it is among them, and which round.
    waiting: VecDeque<(usize, u32)>,
    /// Those whose controls are wanted.
    wanted: Vec<usize>,
    pub(super) begun: Vec<Trial>,
    under_way: usize,
    longest: Duration,
}

#[derive(Debug)]
struct Case {
    trial: Trial,
    parts: Vec<Part>,
    /// Trials that lost requests while they were held still.
    lost: u32,
    /// Controls that were wanted, that showed what is lost without a signal, and that were missed.
    asked: u32,
    showed: u32,
    missed: u32,
}

/// The number of the first trial of one of them.
pub(in crate::cli) fn first_number(place: usize) -> u32 {
    FIRST_KNOWN + place as u32 * KNOWN_NUMBERS
}

/// Which one of them a trial is about.
pub(in crate::cli) fn place_of(number: u32) -> Option<usize> {
    (number >= FIRST_KNOWN).then(|| known_place(number).0 as usize)
}

impl Known {
    /// Those that are to be tried, under the numbers of their places, each so often, every one once
    /// before any comes again.
    pub(super) fn new(all: Vec<(Trial, Vec<Part>, u32)>) -> Self {
        let mut waiting: Vec<(usize, u32)> = Vec::new();
        let mut cases = BTreeMap::new();
        for (trial, parts, rounds) in all {
            let Some(place) = place_of(trial.number) else { continue };
            waiting.extend((0..rounds.min(KNOWN_ROUNDS)).map(|round| (place, round)));
            let case = Case { trial, parts, lost: 0, asked: 0, showed: 0, missed: 0 };
            cases.insert(place, case);
        }
        waiting.sort_by_key(|(place, round)| (*round, *place));
        Self { cases, waiting: waiting.into(), ..Self::default() }
    }

    /// The next trial, if there is one for which there is time. That says `has_time` of a round, and of
    /// how long they took at the longest.
    pub(super) fn next(
        &mut self,
        has_time: &dyn Fn(u32, Duration) -> bool,
    ) -> Option<(Trial, Vec<Part>)> {
        let next = self.wanted.pop().map(|place| self.control(place));
        let next = next.or_else(|| {
            while let Some((place, round)) = self.waiting.pop_front() {
                if self.begun.is_empty() || has_time(round, self.longest) {
                    let Case { trial, parts, .. } = &self.cases[&place];
                    let number = first_number(place) + round;
                    return Some((Trial { number, ..trial.clone() }, parts.clone()));
                }
            }
            None
        })?;
        self.begun.push(next.0.clone());
        self.under_way += 1;
        Some(next)
    }

    fn control(&self, place: usize) -> (Trial, Vec<Part>) {
        let Case { trial, parts, asked, .. } = &self.cases[&place];
        let waiting = self.wanted.iter().filter(|it| **it == place).count() as u32;
        let nth = asked - waiting - 1;
        let number = first_number(place) + KNOWN_ROUNDS + nth;
        let seed = trial.seed.wrapping_add(1 + u64::from(nth));
        (Trial { number, seed, ..trial.as_control() }, parts.clone())
    }

    /// Whether a trial is one of them.
    pub(super) fn has(&self, trial: &Trial) -> bool {
        self.begun.iter().any(|begun| begun.number == trial.number)
    }

    /// A trial is over; it has shown something, unless it was broken off.
    pub(super) fn end(&mut self, trial: &Trial, shown: Option<&Shown>, took: Duration) {
        self.under_way -= 1;
        self.longest = took.max(self.longest);
        let place = place_of(trial.number);
        let case = place.and_then(|place| self.cases.get_mut(&place));
        let (Some(place), Some(case), Some(shown)) = (place, case, shown) else { return };
        match (trial.is_control(), shown.missed) {
            (true, true) => case.missed += 1,
            (true, false) => case.showed += 1,
            (false, _) => case.lost += u32::from(shown.lost && trial.hold.is_some()),
        }
        // Without controls nobody knows whose fault the losses are.
        while case.asked < case.lost.min(ESTABLISHED) + case.missed.min(MISSES) {
            case.asked += 1;
            self.wanted.push(place);
        }
    }

    /// Whether one is under way, after which there may be another.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Whether all that was lost was compared with what is lost without a signal.
    pub(super) fn has_compared(&self) -> bool {
        self.cases.values().all(|case| case.showed >= case.lost.min(ESTABLISHED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanOptions, trial};

    fn known(cases: usize, rounds: u32) -> Known {
        let mut held = trial(&PlanOptions::new(1), 1);
        held.hold = Some(crate::model::plan::Hold { pause: Duration::ZERO });
        let numbered = |place| Trial { number: first_number(place), ..held.clone() };
        Known::new((0..cases).map(|place| (numbered(place), Vec::new(), rounds)).collect())
    }

    fn lost() -> Shown {
        Shown { lost: true, ..Shown::default() }
    }

    #[test]
    fn what_was_lost_is_compared_at_once_and_a_missed_control_asked_again() {
        let mut known = known(2, 2);
        let (first, _) = known.next(&|_, _| true).unwrap();
        assert!(known.has_compared() && known.has(&first) && known.is_under_way());
        known.end(&first, Some(&lost()), Duration::ZERO);
        assert!(!known.has_compared());
        for missed in [true, false] {
            let (control, _) = known.next(&|_, _| true).unwrap();
            assert!(control.is_control() && place_of(control.number) == Some(0));
            known.end(&control, Some(&Shown { missed, ..Shown::default() }), Duration::ZERO);
        }
        assert!(known.has_compared());
        let rest: Vec<_> = std::iter::from_fn(|| known.next(&|_, _| true)).collect();
        let places: Vec<_> = rest.iter().map(|(trial, _)| place_of(trial.number)).collect();
        assert_eq!(places, [Some(1), Some(0), Some(1)]);
        let numbers: std::collections::BTreeSet<_> =
            known.begun.iter().map(|it| it.number).collect();
        assert_eq!(numbers.len(), known.begun.len());
    }

    #[test]
    fn whatever_the_time_one_is_tried_and_no_more_than_there_is_time_for() {
        let mut known = known(3, 5);
        assert!(known.next(&|_, _| false).is_some());
        assert!(known.next(&|_, _| false).is_none());
    }
}
