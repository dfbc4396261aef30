//! How often an invariant fails, by the signal with which it does so most: among trials with
//! another, a defect of one would seem half as frequent. Where a search chose the trials, by the
//! situation and moment as well: it visits those that fail otherwise than the others.

use std::collections::BTreeMap;

use crate::model::plan::Situation;
use crate::model::run::RateCell;
use crate::model::signal::Signal;
use crate::model::statistics::rate_bounds_95;

use super::{Shown, TrialSummary};

/// Bounds of a rate, and the signal of which they are, where there are several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) lower: Option<f64>,
    pub(super) upper: Option<f64>,
    pub(super) signal: Option<Signal>,
    /// The trials of which they are, where not of all.
    pub(super) cell: Option<RateCell>,
    /// How often it failed there, and how often it could have.
    counts: (u64, u64),
}

/// What a trial with this signal has shown.
type Seen<'s> = (Option<Signal>, &'s Shown);

/// The rate with the worst signal: the one that fails most surely, or, where nothing failed, the one
/// of which least is known.
pub(super) fn worst<'s>(shown: impl Iterator<Item = (Option<Signal>, &'s Shown)>) -> Rate {
    let mut counts: BTreeMap<Option<Signal>, (u64, u64)> = BTreeMap::new();
    for (signal, shown) in shown.filter(|(_, shown)| shown.exercised > 0) {
        let (violations, exercised) = counts.entry(signal).or_default();
        *violations += u64::from(shown.violations);
        *exercised += u64::from(shown.exercised);
    }
    let several = counts.len() > 1;
    let rates = counts.into_iter().filter_map(|(signal, (violations, exercised))| {
        let (lower, upper) = rate_bounds_95(violations, exercised)?;
        let lower = Some(lower).filter(|_| violations > 0);
        let signal = signal.filter(|_| several);
        let counts = (violations, exercised);
        Some(Rate { lower, upper: Some(upper), signal, cell: None, counts })
    });
    rates.reduce(|one, other| if other.exceeds(&one) { other } else { one }).unwrap_or_default()
}

/// The rate among trials of one situation and moment: of those that fail most surely.
pub(super) fn worst_cell(by_trial: &[(&TrialSummary, &Shown)]) -> Rate {
    let mut cells: BTreeMap<(Situation, String), Vec<Seen<'_>>> = BTreeMap::new();
    for (trial, shown) in by_trial {
        let (situation, moment) = (trial.report.situation, trial.report.moment.clone());
        cells.entry((situation, moment)).or_default().push((trial.signal, shown));
    }
    let rates = cells.into_iter().map(|((situation, moment), shown)| {
        let rate = worst(shown.into_iter());
        let (failed, exercised) = rate.counts;
        let cell = RateCell { situation, moment, failed, exercised };
        Rate { cell: Some(cell), ..rate }
    });
    rates.reduce(|one, other| if other.exceeds(&one) { other } else { one }).unwrap_or_default()
}

impl Rate {
    fn exceeds(&self, other: &Self) -> bool {
        (self.lower, self.upper) > (other.lower, other.upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::VerdictName;

    fn shown(violations: u32, exercised: u32) -> Shown {
        let (invariant, verdict) = ("x", VerdictName::Violated);
        Shown { invariant, verdict, exercised, violations, excused: false, reason: None }
    }

    #[test]
    fn the_worst_signal_is_not_diluted_by_the_others() {
        let (bad, good) = (shown(10, 20), shown(0, 20));
        let rate = worst([(Some(Signal::INT), &bad), (Some(Signal::TERM), &good)].into_iter());
        assert_eq!(rate.signal, Some(Signal::INT));
        assert!(rate.lower.unwrap() > 0.25 && rate.upper.unwrap() > 0.7, "{rate:?}");
    }

    #[test]
    fn of_signals_that_fail_nothing_the_one_that_was_tried_least_counts() {
        let (few, many) = (shown(0, 10), shown(0, 1000));
        let rate = worst([(Some(Signal::INT), &few), (Some(Signal::TERM), &many)].into_iter());
        assert_eq!((rate.signal, rate.lower), (Some(Signal::INT), None));
        assert!(rate.upper.unwrap() > 0.2);
    }

    #[test]
    fn how_often_a_search_comes_to_what_fails_does_not_change_its_rate() {
        let of = |situation, shown: &[Shown]| {
            let mut trial = super::super::tests::trial(1, 1, &[]);
            (trial.report.situation, trial.shown) = (situation, shown.to_vec());
            trial
        };
        for visits in [3, 30] {
            let bad = of(Situation::Delivered, &vec![shown(1, 2); visits]);
            let good = of(Situation::Load, &vec![shown(0, 100); 10]);
            let all = [&bad, &good].into_iter();
            let all: Vec<_> = all.flat_map(|t| t.shown.iter().map(move |s| (t, s))).collect();
            let rate = worst_cell(&all);
            assert_eq!(rate.cell.unwrap().situation, Situation::Delivered);
            let (lower, upper) = (rate.lower.unwrap(), rate.upper.unwrap());
            assert!(lower < 0.5 && 0.5 < upper, "{lower} to {upper}");
        }
    }

    #[test]
    fn with_one_signal_there_is_no_worst() {
        let all = [shown(1, 10), shown(2, 10)];
        let rate = worst(all.iter().map(|shown| (Some(Signal::TERM), shown)));
        let pooled = rate_bounds_95(3, 20).unwrap();
        assert_eq!((rate.lower, rate.upper, rate.signal), (Some(pooled.0), Some(pooled.1), None));
        assert_eq!(worst(std::iter::empty()), Rate::default());
    }
}
