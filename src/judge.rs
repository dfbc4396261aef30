//! Judges one history by the whole catalogue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::invariants::{AT_STARTUP, CATALOGUE, Invariant, NO_LISTENER, REPEATED, broken};
use crate::model::contract::SecondSignal;
use crate::model::history::History;
use crate::model::plan::Situation;
use crate::model::verdict::{Finding, Verdict, VerdictName};

/// What a history shows of each invariant, in the order of the catalogue.
///
/// A history in which the harness itself was too late, or did not bring about what the trial was
/// for, proves nothing, and a check that panics has shown nothing: all these are inconclusive,
/// never a pass.
pub fn judge(history: &History) -> Vec<Finding> {
    judge_by(CATALOGUE, history)
}

fn judge_by(catalogue: &[&Invariant], history: &History) -> Vec<Finding> {
    let worthless = starved(history).or_else(|| missed(history));
    catalogue
        .iter()
        .map(|invariant| {
            let found =
                not_about(history, invariant).unwrap_or_else(|| checked(invariant, history));
            let verdict = match (found, &worthless) {
                // What has no occasion has none, whatever became of the trial.
                (verdict @ Verdict::NotApplicable { .. }, _) => verdict,
                (_, Some(worthless)) => worthless.clone(),
                (verdict, None) => verdict,
            };
            let is_violated = verdict.outcome() == VerdictName::Violated;
            let is_force = history.contract().second_signal == SecondSignal::Force;
            let mut finding = Finding::of(invariant.id, verdict);
            if invariant.id == REPEATED && is_violated && !is_force {
                finding.broken = broken(history, |ordinary| checked(ordinary, history));
            }
            finding
        })
        .collect()
}

/// The verdict on an invariant that the trial is not about: a signal to a target that is not ready,
/// and one that comes again, each have an invariant of their own, and no other accuses a target of
/// what it does then.
fn not_about(history: &History, invariant: &Invariant) -> Option<Verdict> {
    let (own, what) = match () {
        () if history.header().trial.situation == Situation::Startup => {
            (AT_STARTUP, "the signal came before the target was ready")
        }
        // Also where the target had ended before the second one.
        () if history.is_of_repeated_signals() => {
            (REPEATED, "more than one signal was meant for it")
        }
        () => return None,
    };
    let reason = format!("{what}, which only {own} is about");
    (invariant.id != own).then_some(Verdict::NotApplicable { reason })
}

/// The verdict on everything, where the harness was so late that its instants prove nothing.
fn starved(history: &History) -> Option<Verdict> {
    history.too_late().map(Verdict::inconclusive)
}

/// The verdict on everything, where the trial was not what it was meant to be.
fn missed(history: &History) -> Option<Verdict> {
    let what = history.missed()?;
    Some(Verdict::inconclusive(format!("the situation could not be reached: {what}")))
}

fn checked(invariant: &Invariant, history: &History) -> Verdict {
    if invariant.needs_listener() && !history.has_listener() {
        return Verdict::NotApplicable { reason: NO_LISTENER.into() };
    }
    // A check reads a history and writes nothing, so a panic leaves nothing half-written.
    catch_unwind(AssertUnwindSafe(|| (invariant.check)(history))).unwrap_or_else(|_| {
        Verdict::inconclusive("the check itself failed, which is a defect of shutdown-check")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::invariants::find;
    use crate::invariants::testing::{Story, inconclusive};
    use crate::model::event::{EventKind, RequestEnd};
    use crate::model::plan::{Moment, PlannedSignal, SignalTo};
    use crate::model::signal::Signal;

    #[test]
    fn each_invariant_has_a_finding_in_the_order_of_the_catalogue() {
        let story = Story::new().signal().request(-400, 500, RequestEnd::Complete, |request| {
            request.close_announced = true;
        });
        let history = story.exit_code(501, 0).history();
        let findings = judge(&history);
        let ids: Vec<_> = findings.iter().map(|finding| finding.invariant).collect();
        assert_eq!(ids, CATALOGUE.iter().map(|invariant| invariant.id).collect::<Vec<_>>());
        assert!(findings.iter().all(|f| f.verdict.outcome() != VerdictName::Violated));
    }

    /// Those that apply; what does not, does not apply to a trial that went wrong either.
    fn applicable(findings: Vec<Finding>) -> Vec<Finding> {
        let applies = |finding: &Finding| finding.verdict.outcome() != VerdictName::NotApplicable;
        let (applicable, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(applies);
        let mut names: Vec<_> = others.iter().map(|finding| finding.invariant).collect();
        names.sort_unstable();
        let without = [
            "jobs-finish",
            "last-words-are-written",
            "no-job-starts-after-signal",
            "acknowledged-writes-survive",
            "restarts-at-once",
        ];
        names.retain(|name| !without.contains(name));
        let others =
            ["interrupt-equals-terminate", "readiness-fails-first", "serves-through-lame-duck"];
        assert_eq!(names, others);
        applicable
    }

    #[test]
    fn a_starved_harness_accuses_nobody_and_acquits_nobody() {
        let lag = |ms| {
            let worst = Duration::from_millis(ms);
            let story = Story::new().signal().reset_request(-400, 4).exit_code(5, 0);
            story.event(9, EventKind::HarnessLag { worst }).history()
        };
        for finding in applicable(judge(&lag(51))) {
            assert!(inconclusive(finding.verdict).contains("51 ms late, more than 50 ms"));
        }
        let in_time = judge(&lag(50));
        assert!(in_time.iter().any(|f| f.verdict.outcome() == VerdictName::Violated));
    }

    #[test]
    fn a_situation_that_was_missed_accuses_nobody_and_says_what_was_missing() {
        let what = "2 of 4 connections were accepted".to_owned();
        let story = Story::new().event(-1, EventKind::SituationMissed { what });
        let history = story.signal().reset_request(-400, 4).exit_code(5, 0).history();
        for finding in applicable(judge(&history)) {
            let reason = inconclusive(finding.verdict);
            assert_eq!(
                reason,
                "the situation could not be reached: 2 of 4 connections were accepted"
            );
        }
    }

    /// The invariants on which a history has a say.
    fn said(story: Story) -> Vec<(&'static str, VerdictName)> {
        let findings = judge(&story.history()).into_iter();
        let all = findings.map(|finding| (finding.invariant, finding.verdict.outcome()));
        all.filter(|(_, verdict)| *verdict != VerdictName::NotApplicable).collect()
    }

    #[test]
    fn a_trial_at_startup_is_about_nothing_else() {
        let story = || Story::new().in_situation(Situation::Startup).signal();
        let died = story().reset_request(-400, 1).exit_signal(2, Signal::TERM);
        assert_eq!(said(died), [(AT_STARTUP, VerdictName::Satisfied)]);
        assert_eq!(said(story().killed_at_deadline()), [(AT_STARTUP, VerdictName::Violated)]);
    }

    #[test]
    fn a_trial_with_two_signals_is_about_nothing_else() {
        let story = Story::new().signal().later(10, Signal::TERM).reset_request(-400, 11);
        let findings = judge(&story.exit_code(12, 0).history());
        let said: Vec<_> = findings
            .iter()
            .filter(|finding| finding.verdict.outcome() == VerdictName::Violated)
            .map(|finding| (finding.invariant, finding.broken.len()))
            .collect();
        assert!(matches!(said[..], [(REPEATED, 1..)]), "{said:?}");
    }

    #[test]
    fn a_trial_that_was_over_before_its_second_signal_is_about_nothing_else() {
        let (mut header, events) =
            Story::new().signal().reset_request(-400, 3).exit_code(4, 0).history().into_parts();
        header.trial.situation = Situation::SecondSignal;
        let planned =
            PlannedSignal { signal: Signal::TERM, to: SignalTo::Group, moment: Moment::Reached };
        header.trial.signals = vec![planned.clone(), planned];
        let history = History::new(header, events).unwrap();
        for finding in judge(&history) {
            assert_ne!(finding.verdict.outcome(), VerdictName::Violated, "{}", finding.invariant);
        }
    }

    #[test]
    fn a_worker_has_no_occasion_for_what_is_about_connections() {
        let ready = EventKind::Ready { address: None, owner: None };
        let history = Story::new().event(-900, ready).signal().exit_code(5, 0).history();
        for finding in judge(&history) {
            let about_connections = find(finding.invariant).unwrap().needs_listener();
            let reason = match finding.verdict {
                Verdict::NotApplicable { reason } => reason,
                _ => String::new(),
            };
            assert_eq!(reason == NO_LISTENER, about_connections, "{}", finding.invariant);
        }
    }

    #[test]
    fn a_check_that_panics_has_shown_nothing() {
        let broken = Invariant { check: |_| panic!("planted"), ..*CATALOGUE[0] };
        let history = Story::new().signal().exit_code(5, 0).history();
        let findings = judge_by(&[&broken, CATALOGUE[0]], &history);
        assert!(inconclusive(findings[0].verdict.clone()).contains("the check itself failed"));
        assert_eq!(findings[1].verdict.outcome(), VerdictName::Satisfied);
    }
}
