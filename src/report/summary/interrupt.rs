//! Whether SIGINT and SIGTERM do the same: the trials of a run with the one, against those with the
//! other.

use std::collections::BTreeMap;

use crate::invariants::is_about_trials;
use crate::model::run::{Evidence, InvariantReport};
use crate::model::signal::Signal;
use crate::model::statistics::fisher_exact;
use crate::model::verdict::VerdictName;

use super::TrialSummary;
use super::repeated::{CHANCE, is_ordinary};

/// Trials that violate an invariant, of those that say something of it.
type Violated = (u64, u64);

/// What the trials with the one and with the other signal say of an invariant.
struct Row {
    invariant: &'static str,
    interrupt: Violated,
    terminate: Violated,
}

/// Fills in the verdict on `interrupt-equals-terminate`, which no trial alone has.
pub(super) fn compare(report: &mut InvariantReport, trials: &[&TrialSummary]) {
    let of = |signal| {
        let all = trials.iter().filter(move |trial| trial.signal == Some(signal));
        all.copied().filter(|trial| is_ordinary(trial)).collect::<Vec<_>>()
    };
    let (interrupted, terminated) = (of(Signal::INT), of(Signal::TERM));
    if interrupted.is_empty() || terminated.is_empty() {
        return;
    }
    let rows = rows(&interrupted, &terminated);
    let (differ, alike): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.differs());
    report.trials = (interrupted.len() + terminated.len()) as u32;
    report.reason = None;
    if !differ.is_empty() {
        report.verdict = VerdictName::Violated;
        let differing: Vec<_> = differ.iter().map(|row| row.invariant).collect();
        let violates = |trial: &&&TrialSummary| {
            let mut violated = trial.report.violated.iter();
            violated.any(|id| differing.contains(&id.as_str()))
        };
        let all = interrupted.iter().chain(&terminated);
        report.trials_violated = all.filter(violates).count() as u32;
        (report.exercised, report.violations) = (rows.len() as u64, differ.len() as u64);
        // Counted are invariants, not chances: there is no rate.
        (report.rate_upper_bound_95, report.rate_lower_bound_95) = (None, None);
        report.evidence = evidence(&differ, &interrupted, &terminated);
        return;
    }
    let chance = alike.iter().find(|row| (row.interrupt.0 == 0) != (row.terminate.0 == 0));
    let comparable = rows.iter().filter(|row| row.could_differ()).count() as u64;
    let reason = match chance {
        Some(row) => Some(format!("{}: that could be chance (--budget 60s)", row.told())),
        None if comparable == 0 => Some(format!(
            "{} trials with SIGINT and {} with SIGTERM are too few (--budget 60s)",
            interrupted.len(),
            terminated.len()
        )),
        None => None,
    };
    report.verdict = match reason {
        Some(_) => VerdictName::Inconclusive,
        None => VerdictName::Satisfied,
    };
    (report.exercised, report.violations, report.reason) = (comparable, 0, reason);
}

impl Row {
    fn differs(&self) -> bool {
        fisher_exact(self.interrupt, self.terminate) <= CHANCE
    }

    /// Whether there are trials enough to tell the greatest difference from chance.
    fn could_differ(&self) -> bool {
        fisher_exact((0, self.interrupt.1), (self.terminate.1, self.terminate.1)) <= CHANCE
    }

    fn told(&self) -> String {
        let of = |(violated, all): Violated| format!("{violated} of {all} trials");
        let (interrupt, terminate) = (of(self.interrupt), of(self.terminate));
        format!("SIGINT violates {} in {interrupt}, SIGTERM in {terminate}", self.invariant)
    }
}

fn rows(interrupted: &[&TrialSummary], terminated: &[&TrialSummary]) -> Vec<Row> {
    let count = |trials: &[&TrialSummary]| {
        let mut counts: BTreeMap<&'static str, Violated> = BTreeMap::new();
        for shown in trials.iter().flat_map(|trial| &trial.shown) {
            let violated = match shown.verdict {
                VerdictName::Violated => 1,
                VerdictName::Satisfied => 0,
                VerdictName::Inconclusive | VerdictName::NotApplicable => continue,
            };
            let counted = counts.entry(shown.invariant).or_default();
            *counted = (counted.0 + violated, counted.1 + 1);
        }
        counts
    };
    let (interrupt, terminate) = (count(interrupted), count(terminated));
    let both = interrupt.iter().filter(|(invariant, _)| is_about_trials(invariant));
    both.filter_map(|(invariant, interrupt)| {
        let terminate = *terminate.get(invariant)?;
        Some(Row { invariant, interrupt: *interrupt, terminate })
    })
    .collect()
}

/// What differs, each with a trial that shows what the worse of the two signals does.
fn evidence(
    differ: &[&Row],
    interrupted: &[&TrialSummary],
    terminated: &[&TrialSummary],
) -> Vec<Evidence> {
    let ends = format!("SIGINT: {}; SIGTERM: {}", ends(interrupted), ends(terminated));
    let tell = |row: &&Row| {
        let rate = |(violated, all): Violated| violated as f64 / all.max(1) as f64;
        let is_interrupt = rate(row.interrupt) > rate(row.terminate);
        let worse = if is_interrupt { interrupted } else { terminated };
        let shown = worse
            .iter()
            .flat_map(|trial| &trial.evidence)
            .find(|ranked| ranked.invariant == row.invariant)?;
        let message = format!("{}. {ends}", row.told());
        Some(Evidence { message, ..shown.evidence.clone() })
    };
    differ.iter().filter_map(tell).take(super::EVIDENCE_SHOWN).collect()
}

/// How trials ended, the most frequent end first.
fn ends(trials: &[&TrialSummary]) -> String {
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for trial in trials {
        let end = match &trial.report.exit {
            None => "alive at the deadline".to_owned(),
            Some(exit) => match (exit.signal, exit.code) {
                (Some(signal), _) => format!("ended by {signal}"),
                (None, Some(code)) => format!("exited with {code}"),
                (None, None) => "exited".to_owned(),
            },
        };
        *ends.entry(end).or_default() += 1;
    }
    let mut ends: Vec<_> = ends.into_iter().collect();
    ends.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let told: Vec<_> = ends
        .iter()
        .map(|(end, times)| format!("{end} in {times} of {} trials", trials.len()))
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Says, facts, trial};
    use super::super::{RunFacts, Shown, assemble};
    use super::*;
    use crate::invariants::BOTH_SIGNALS;
    use crate::model::run::{ExitReport, SignalReport};
    use crate::model::verdict::Severity;

    const IN_FLIGHT: &str = "in-flight-requests-complete";

    fn one(number: u32, signal: Signal, violated: bool) -> TrialSummary {
        let mut trial = trial(number, 1, &[] as &[Says]);
        trial.signal = Some(signal);
        trial.report.signals =
            vec![SignalReport { signal, pid: 1, at_ms: 1.0, error_us: 0.0, bracket_us: 1.0 }];
        let (verdict, code) = match violated {
            true => (VerdictName::Violated, None),
            false => (VerdictName::Satisfied, Some(0)),
        };
        let ended_by = violated.then_some(signal);
        trial.report.exit = Some(ExitReport { code, signal: ended_by, after_ms: Some(1.0) });
        let (exercised, violations) = (1, u32::from(violated));
        let (excused, reason) = (false, None);
        let invariant = IN_FLIGHT;
        trial.shown.push(Shown { invariant, verdict, exercised, violations, excused, reason });
        if violated {
            let evidence = Evidence { trial: number, message: "lost".into(), events: Vec::new() };
            trial.evidence.push(super::super::Ranked { invariant, place: 0, evidence });
        }
        trial
    }

    fn report(trials: &[TrialSummary]) -> InvariantReport {
        let severities = vec![(BOTH_SIGNALS, Severity::Warn), (IN_FLIGHT, Severity::Deny)];
        assemble(RunFacts { severities, ..facts() }, trials).invariants.remove(0)
    }

    /// So many trials with each signal, of which so many fail.
    fn run(interrupt: (u32, u32), terminate: (u32, u32)) -> InvariantReport {
        let some = |from, signal, (violated, all): (u32, u32)| {
            (0..all).map(move |n| one(from + n, signal, n < violated)).collect::<Vec<_>>()
        };
        report(&[some(1, Signal::INT, interrupt), some(100, Signal::TERM, terminate)].concat())
    }

    #[test]
    fn a_signal_that_is_not_handled_differs_from_one_that_is() {
        let report = run((12, 12), (0, 12));
        assert_eq!(report.verdict, VerdictName::Violated);
        assert_eq!(
            report.evidence[0].message,
            "SIGINT violates in-flight-requests-complete in 12 of 12 trials, SIGTERM in 0 of 12 \
             trials. SIGINT: ended by SIGINT in 12 of 12 trials; SIGTERM: exited with 0 in 12 of \
             12 trials"
        );
        assert_eq!(run((0, 12), (12, 12)).verdict, VerdictName::Violated);
    }

    #[test]
    fn what_is_the_same_satisfies_it() {
        assert_eq!(run((0, 12), (0, 12)).verdict, VerdictName::Satisfied);
        assert_eq!(run((6, 12), (7, 12)).verdict, VerdictName::Satisfied);
    }

    #[test]
    fn chance_is_not_called_a_difference() {
        let report = run((1, 12), (0, 12));
        assert_eq!(report.verdict, VerdictName::Inconclusive);
        assert!(report.reason.unwrap().contains("could be chance"));
    }

    #[test]
    fn few_trials_show_nothing() {
        let report = run((0, 3), (0, 3));
        assert_eq!(report.verdict, VerdictName::Inconclusive);
        assert!(report.reason.unwrap().contains("too few"));
    }
}
