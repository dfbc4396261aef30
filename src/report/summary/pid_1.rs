//! What would be otherwise if the target were PID 1, from trials that count for nothing else.

use std::cmp::Reverse;

use crate::model::run::{InvariantReport, PidOneChange, PidOneReport};
use crate::model::verdict::VerdictName;

use super::TrialSummary;

/// What the trials as PID 1 violate and the others don't, the gravest first; `None` where there was
/// no such trial, or all trials are of that kind.
pub(super) fn pid_1(
    trials: &[&TrialSummary],
    invariants: &[InvariantReport],
) -> Option<PidOneReport> {
    let aside: Vec<_> =
        trials.iter().copied().filter(|it| it.report.aside && it.report.missed.is_none()).collect();
    let mut changes: Vec<_> = invariants
        .iter()
        .filter(|invariant| invariant.verdict != VerdictName::Violated)
        .filter_map(|invariant| {
            let of_this = |it: &&&TrialSummary| it.report.violated.contains(&invariant.id);
            let violated = aside.iter().filter(of_this).count();
            let mut shown = aside.iter().flat_map(|trial| &trial.evidence);
            let first = shown.find(|ranked| ranked.invariant == invariant.id)?;
            Some(PidOneChange {
                invariant: invariant.id.clone(),
                level: invariant.level,
                otherwise: invariant.verdict,
                trials_violated: u32::try_from(violated).unwrap_or(u32::MAX),
                trial: first.evidence.trial,
                message: first.evidence.message.clone(),
            })
        })
        .collect();
    // That it does not end is what most others follow from.
    changes.sort_by_key(|it| Reverse((it.level, it.invariant == NEVER_EXITS)));
    let trials = u32::try_from(aside.len()).unwrap_or(u32::MAX);
    (trials > 0).then_some(PidOneReport { trials, changes })
}

/// The invariant that a target violates which is still there at its deadline.
pub(in crate::report) const NEVER_EXITS: &str = "exits-before-deadline";

#[cfg(test)]
mod tests {
    use super::super::assemble;
    use super::super::tests::Says::{Failed, Held};
    use super::super::tests::{Says, facts, trial};
    use super::*;

    fn as_pid_1(says: &[Says]) -> TrialSummary {
        let mut trial = trial(2, 1, says);
        trial.report.violated = trial.evidence.iter().map(|it| it.invariant.to_owned()).collect();
        (trial.report.aside, trial.report.as_pid_1) = (true, true);
        trial
    }

    #[test]
    fn what_only_pid_1_does_is_a_note_and_no_verdict() {
        let other = as_pid_1(&[Held(1), Failed(1, 1), Failed(1, 1)]);
        let report = assemble(facts(), &[trial(1, 1, &[Held(1), Held(1), Held(1)]), other]);
        assert_eq!(report.verdict, VerdictName::Satisfied);
        assert!(report.invariants.iter().all(|it| it.trials == 1 && it.evidence.is_empty()));
        let pid_1 = report.pid_1.unwrap();
        let ids: Vec<_> = pid_1.changes.iter().map(|it| it.invariant.as_str()).collect();
        assert_eq!((pid_1.trials, ids), (1, vec!["also-denied", "warned"]));
        let first = &pid_1.changes[0];
        assert_eq!((first.trial, first.trials_violated), (2, 1));
        assert_eq!(first.otherwise, VerdictName::Satisfied);
    }

    #[test]
    fn what_is_violated_anyway_is_no_difference() {
        let alone = trial(1, 1, &[Failed(1, 1)]);
        let report = assemble(facts(), &[alone.clone(), as_pid_1(&[Failed(1, 1)])]);
        assert_eq!(report.pid_1.unwrap().changes, []);
        assert_eq!(assemble(facts(), &[alone]).pid_1, None);
    }

    #[test]
    fn as_pid_1_alone_shows_nothing_of_the_invariants() {
        let report = assemble(facts(), &[as_pid_1(&[Held(1)])]);
        assert_eq!(report.verdict, VerdictName::Inconclusive);
    }
}
