//! How far a run has come with a rate of loss that it is to exclude, and whether a violation stands.

use std::collections::BTreeMap;

use crate::invariants::find;
use crate::model::bound::{Bound, BoundReport, Bounded};
use crate::model::plan::Situation;
use crate::model::run::InvariantReport;
use crate::model::signal::Signal;
use crate::model::statistics::rate_bounds_95;
use crate::model::verdict::{Severity, VerdictName};

use super::controls::excused;
use super::repeated::{is_about, settled};
use super::{SeverityTable, TrialSummary, severity};

/// Whether a denied invariant is violated, after all that controls and single signals excuse.
pub fn is_violated(trials: &[TrialSummary], severities: &SeverityTable) -> bool {
    let settled = settled(&excused(trials, severities), severities);
    settled.iter().any(|it| it.is_judged() && it.report.verdict == VerdictName::Violated)
}

/// Whether a run excludes losses of the invariant by its many cases: it may fail the run, and a trial
/// exercises it more than once.
fn has_rate(id: &str, level: Severity) -> bool {
    level == Severity::Deny && find(id).is_some_and(|invariant| invariant.counts.has_rate)
}

/// How often trials have exercised what a bound is about, while the run goes on.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    of: BTreeMap<(&'static str, Option<Signal>), u64>,
    /// The same in each situation, and in how many trials of it.
    in_situation: BTreeMap<(&'static str, Situation), u64>,
    trials: BTreeMap<Situation, u64>,
}

impl Cases {
    /// Adds what a trial has exercised.
    pub fn add(&mut self, trial: &TrialSummary, severities: &SeverityTable) {
        let situation = trial.report.situation;
        *self.trials.entry(situation).or_default() += 1;
        if !trial.is_judged() {
            return;
        }
        let counts = |id| has_rate(id, severity(severities, id)) && is_about(trial, id);
        for shown in trial.shown.iter().filter(|shown| shown.exercised > 0) {
            if counts(shown.invariant) {
                let cases = u64::from(shown.exercised);
                *self.of.entry((shown.invariant, trial.signal)).or_default() += cases;
                *self.in_situation.entry((shown.invariant, situation)).or_default() += cases;
            }
        }
    }

    /// Those of trials of which something is excused by others.
    pub fn settled(trials: &[TrialSummary], severities: &SeverityTable) -> Self {
        let mut cases = Self::default();
        for trial in &settled(&excused(trials, severities), severities) {
            cases.add(trial, severities);
        }
        cases
    }

    /// Whether all that was exercised at all was so often enough. Where nothing was, more trials
    /// show no more.
    pub fn are_enough(&self, bound: Bound) -> bool {
        self.of.values().all(|cases| *cases >= bound.cases())
    }

    /// The situation whose trials exercise most often what was exercised least.
    pub fn wanted(&self, bound: Bound) -> Option<Situation> {
        let lacking = self.of.iter().filter(|(_, cases)| **cases < bound.cases());
        let ((least, _), _) = lacking.min_by_key(|(_, cases)| **cases)?;
        let of = self.in_situation.iter().filter(|((id, _), _)| id == least);
        let yields = of.map(|((_, situation), cases)| {
            (*situation, cases * 1000 / self.trials.get(situation).copied().unwrap_or(1).max(1))
        });
        yields.max_by_key(|(_, a_trial)| *a_trial).map(|(situation, _)| situation)
    }
}

/// What became of the bound.
pub(super) fn report(bound: Bound, invariants: &[InvariantReport]) -> BoundReport {
    let about = invariants.iter().filter(|it| has_rate(&it.id, it.level));
    let held: Vec<_> = about.filter(|it| it.verdict == VerdictName::Satisfied).collect();
    let trials = held.iter().map(|it| it.trials).min().unwrap_or_default();
    let bounded = held.into_iter().filter_map(|it| {
        let (id, signal) = (it.id.clone(), it.rate_signal);
        Some(Bounded { id, signal, rate_upper_bound_95: it.rate_upper_bound_95? })
    });
    let bounded: Vec<_> = bounded.collect();
    let is_low = |it: &Bounded| it.rate_upper_bound_95 <= bound.rate();
    BoundReport {
        rate: bound,
        cases: bound.cases(),
        reached: !bounded.is_empty() && bounded.iter().all(is_low),
        invariants: bounded,
        trials,
        trials_upper_bound_95: rate_bounds_95(0, trials.into()).map(|(_, upper)| upper),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, trial};
    use super::super::{RunFacts, Shown, assemble};
    use super::*;

    const RATE: &str = "in-flight-requests-complete";
    const ONCE: &str = "exit-status-is-clean";

    fn bound() -> Bound {
        "10%".parse().unwrap()
    }

    fn held(number: u32, exercised: u32, signal: Signal) -> TrialSummary {
        let mut summary = trial(number, 1, &[]);
        summary.signal = Some(signal);
        summary.shown = [(RATE, exercised), (ONCE, 1)]
            .map(|(invariant, exercised)| Shown {
                invariant,
                verdict: VerdictName::Satisfied,
                exercised,
                violations: 0,
                excused: false,
                reason: None,
            })
            .to_vec();
        summary
    }

    fn severities() -> Vec<(&'static str, Severity)> {
        vec![(RATE, Severity::Deny), (ONCE, Severity::Deny)]
    }

    #[test]
    fn each_signal_needs_its_cases_and_what_is_exercised_once_a_trial_is_not_waited_for() {
        let mut cases = Cases::default();
        assert!(cases.are_enough(bound()), "nothing is exercised often");
        cases.add(&held(1, 29, Signal::TERM), &severities());
        assert!(cases.are_enough(bound()));
        cases.add(&held(2, 28, Signal::INT), &severities());
        assert!(!cases.are_enough(bound()));
        assert_eq!(cases.wanted(bound()), Some(Situation::Load));
        cases.add(&held(3, 1, Signal::INT), &severities());
        assert!(cases.are_enough(bound()));
        assert_eq!(cases.wanted(bound()), None);
    }

    #[test]
    fn a_run_that_has_not_come_so_far_is_inconclusive() {
        for (exercised, verdict) in [(28, VerdictName::Inconclusive), (29, VerdictName::Satisfied)]
        {
            let facts =
                RunFacts { severities: severities(), until_bound: Some(bound()), ..facts() };
            let report = assemble(facts, &[held(1, exercised, Signal::TERM)]);
            assert_eq!(report.verdict, verdict);
            let bound = report.bound.unwrap();
            assert_eq!((bound.cases, bound.reached), (29, exercised == 29));
            assert_eq!(bound.invariants.len(), 1);
            assert_eq!(bound.trials_upper_bound_95, Some(0.95));
        }
    }
}
