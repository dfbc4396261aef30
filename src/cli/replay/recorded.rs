//! How often a failure came before, as far as a report tells. Its own trial says nothing of that: it was
//! chosen because it failed.

use crate::model::number::FIRST_KNOWN;
use crate::model::plan::Trial;
use crate::model::reproduction::Rate;
use crate::model::run::RunReport;
use crate::model::signal::Signal;

/// The rate at which a trial of the report violates an invariant: as it was measured when the trial was
/// run again, whatever came of it; else that of the others of its kind. Where none of them failed, no
/// rate is known.
pub(super) fn rate_of(report: &RunReport, invariant: &str, trial: &Trial) -> Rate {
    let (itself, measured) = measured(report, invariant, trial);
    if let Some(rate) = itself.into_iter().find(|rate| rate.runs > 0) {
        return rate;
    }
    let known = known(report, invariant, trial);
    let rates = measured.into_iter().chain(known).chain([others(report, invariant, trial)]);
    let rates: Vec<Rate> = rates.collect();
    let failed = rates.iter().find(|rate| rate.failed > 0);
    let longest = || rates.iter().max_by_key(|rate| rate.runs);
    failed.or_else(longest).copied().unwrap_or_default()
}

/// Trials of one situation, kind of moment, and signal.
fn kind(trial: &Trial) -> (&'static str, String, Option<Signal>) {
    let signal = trial.signals.first().map(|planned| planned.signal);
    (trial.situation.name(), trial.moment(), signal)
}

/// Of runs that were made to measure it: of this trial itself, and of others of its kind.
fn measured(report: &RunReport, invariant: &str, trial: &Trial) -> (Vec<Rate>, Vec<Rate>) {
    let planned = |number: u32| report.plan.trials.iter().find(|it| it.number == number);
    let same_kind = |it: &Trial| kind(it) == kind(trial);
    let found: Vec<_> =
        report.reproductions.iter().filter(|it| it.invariant == invariant).collect();
    let is_shrunk = |number: Option<u32>| number == Some(trial.number);
    let itself = found.iter().flat_map(|it| {
        let shrunk = is_shrunk(it.shown.as_ref().map(|shown| shown.number)).then_some(it.rate);
        let first = (it.found_in == trial.number).then_some(it.first);
        shrunk.into_iter().chain(first)
    });
    let alike = found.iter().flat_map(|it| {
        let shrunk = same_kind(&it.trial).then_some(it.rate);
        let first = planned(it.found_in).is_some_and(same_kind).then_some(it.first);
        shrunk.into_iter().chain(first)
    });
    (itself.collect(), alike.collect())
}

/// Of a failure of this kind that was known before the run.
fn known(report: &RunReport, invariant: &str, trial: &Trial) -> Option<Rate> {
    let is_it = |it: &&crate::model::reproduction::Replayed| {
        it.invariant == invariant && kind(&it.trial) == kind(trial)
    };
    report.replayed.iter().find(is_it).map(|it| it.recorded)
}

/// Of the run's other trials of this kind; not of known failures, which are tried because they fail.
fn others(report: &RunReport, invariant: &str, trial: &Trial) -> Rate {
    let planned = report.plan.trials.iter().filter(|it| kind(it) == kind(trial));
    let is_other = |it: &&Trial| it.number != trial.number && it.number < FIRST_KNOWN;
    let others = planned.filter(|it| is_other(it) && !it.aside && !it.is_control());
    others
        .filter_map(|it| report.trials.iter().find(|report| report.number == it.number))
        .filter(|report| report.missed.is_none())
        .fold(Rate::default(), |rate, report| {
            rate.and(report.violated.iter().any(|id| id == invariant))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::Story;
    use crate::judge::judge;
    use crate::model::plan::{Plan, Situation};
    use crate::model::run::{Environment, TargetReport, Tool, TrialReport};
    use crate::model::verdict::Profile;
    use crate::plan::{PlanOptions, plan};
    use crate::report::summary::{RunFacts, TrialSummary, assemble};

    const ID: &str = "in-flight-requests-complete";

    fn trial_report(trial: &Trial, violated: bool) -> TrialReport {
        let history = Story::new().signal().exit_code(5, 0).history();
        let report = TrialSummary::of(&history, &judge(&history), None, &[]).report().clone();
        let violated = if violated { vec![ID.to_owned()] } else { Vec::new() };
        TrialReport { number: trial.number, violated, ..report }
    }

    /// A report of trials of one kind, of which these failed.
    fn report(failed: &[bool]) -> (RunReport, Trial) {
        let options = PlanOptions { situations: vec![Situation::Idle], ..PlanOptions::new(3) };
        let plan: Plan = plan(&options, failed.len() as u32);
        let trials = plan.trials.iter().zip(failed);
        let trials = trials.map(|(trial, failed)| trial_report(trial, *failed)).collect();
        let facts = RunFacts {
            tool: Tool { name: "t".into(), version: "0".into() },
            profile: Profile::Graceful,
            severities: Vec::new(),
            seed: 3,
            target: TargetReport {
                command: Vec::new(),
                url: None,
                discovered: false,
                parallelism: None,
                stack: None,
                requests: Vec::new(),
            },
            search: None,
            until_bound: None,
            configuration: serde_json::Value::Null,
            environment: Environment {
                os: "linux".into(),
                kernel: None,
                architecture: "x86_64".into(),
                processors: None,
            },
            started_at: String::new(),
            duration_ms: 1.0,
            interrupted: None,
            retries: 0,
            deep: None,
            chosen: Default::default(),
            unreachable: Default::default(),
            partition: Default::default(),
            merged: None,
            histories: None,
            plan: plan.clone(),
        };
        (RunReport { trials, ..assemble(facts, &[]) }, plan.trials[0].clone())
    }

    #[test]
    fn a_trial_says_nothing_of_its_own_rate() {
        let (alone, trial) = report(&[true]);
        assert_eq!(rate_of(&alone, ID, &trial), Rate::default());
        let (first, trial) = report(&[true, false, false]);
        assert_eq!(rate_of(&first, ID, &trial), Rate { failed: 0, runs: 2 });
        assert_eq!(rate_of(&first, ID, &trial).runs_to_tell(), None);
        let (others, trial) = report(&[true, false, true, false]);
        assert_eq!(rate_of(&others, ID, &trial), Rate { failed: 1, runs: 3 });
        assert_eq!(rate_of(&others, "jobs-finish", &trial).failed, 0);
    }

    #[test]
    fn what_was_measured_counts_more_than_others_of_the_kind() {
        let (mut report, trial) = report(&[true, true, true]);
        let recorded = Rate { failed: 2, runs: 10 };
        let now = Rate { failed: 1, runs: 1 };
        let known = crate::model::reproduction::Replayed::of(
            (ID, &Trial { number: 90_001, ..trial.clone() }, recorded),
            now,
            false,
            || None,
        );
        report.replayed.push(known);
        assert_eq!(rate_of(&report, ID, &trial), recorded);
    }
}
