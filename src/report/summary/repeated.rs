//! Whose fault it is what a trial with several signals, or one at the start, violates: the other
//! trials, with one signal to a target that was ready, tell.

use std::collections::BTreeSet;

use crate::invariants::{AT_STARTUP, REPEATED, told};
use crate::model::plan::{SignalTo, Situation};
use crate::model::run::{Evidence, TrialReport};
use crate::model::signal::Signal;
use crate::model::statistics::fisher_exact;
use crate::model::verdict::{Severity, VerdictName};

use super::{Ranked, Shown, TrialSummary, severity, shown_of, worst};

/// What is as probable as this by chance is not called a difference.
pub(super) const CHANCE: f64 = 0.01;

/// The trials, in which repeated signals and those at the start accuse nobody of what one signal to
/// a target that is ready does as well.
pub(super) fn settled(
    trials: &[TrialSummary],
    severities: &[(&'static str, Severity)],
) -> Vec<TrialSummary> {
    let mut settled = trials.to_vec();
    for (own, trial) in settled.iter_mut().zip(trials) {
        if !trial.is_judged() {
            continue;
        }
        if !trial.broken.is_empty() {
            accuse(own, trials);
        } else if has(trial, AT_STARTUP, VerdictName::Violated)
            && let Some(same) = also_when_ready(trial, trials)
        {
            let reason = format!("a target that is ready does the same: see {same}");
            acquit(own, AT_STARTUP, reason, false);
        } else {
            continue;
        }
        let denied =
            own.shown.iter().filter(|s| severity(severities, s.invariant) == Severity::Deny);
        own.report.verdict = worst(denied.map(|shown| shown.verdict));
    }
    settled
}

/// Whether it is one of those that the ordinary invariants are about.
pub(super) fn is_ordinary(trial: &TrialSummary) -> bool {
    trial.is_judged() && !trial.repeats && trial.report.situation != Situation::Startup
}

/// Whether an invariant is about a trial: what the others say of it is only that they are not.
pub(super) fn is_about(trial: &TrialSummary, invariant: &str) -> bool {
    match invariant {
        AT_STARTUP => trial.is_judged() && trial.report.situation == Situation::Startup,
        REPEATED => trial.is_judged() && trial.repeats,
        _ => is_ordinary(trial),
    }
}

fn has(trial: &TrialSummary, invariant: &str, verdict: VerdictName) -> bool {
    trial.shown.iter().any(|shown| (shown.invariant, shown.verdict) == (invariant, verdict))
}

/// What is found when an invariant that a trial with several signals breaks is looked for in the
/// others.
enum Compared {
    /// One signal holds it, and chance does not explain the difference.
    BrokenByRepetition,
    /// One signal breaks it as well.
    BrokenByOne,
    /// That is not known, for this reason.
    Unknown(String),
}

/// Leaves of a trial's accusations those that the repetition of the signal is to blame for.
fn accuse(own: &mut TrialSummary, trials: &[TrialSummary]) {
    let all = own.broken.clone();
    let (mut accused, mut unknown, mut by_one) = (Vec::new(), None, Vec::new());
    for (broken, evidence) in &all {
        match compared(own, broken.invariant, trials) {
            Compared::BrokenByRepetition => accused.push((broken, evidence)),
            Compared::BrokenByOne => by_one.push(broken.invariant),
            Compared::Unknown(reason) => _ = unknown.get_or_insert(reason),
        }
    }
    match (told(accused.iter().map(|(broken, _)| *broken)), unknown) {
        (Some(violation), _) => {
            own.evidence.retain(|ranked| ranked.invariant != REPEATED);
            let events = accused.first().map(|(_, events)| events.to_vec()).unwrap_or_default();
            let evidence =
                Evidence { trial: own.report.number, message: violation.message, events };
            own.evidence.push(Ranked { invariant: REPEATED, place: 0, evidence });
        }
        (None, Some(reason)) => acquit(own, REPEATED, reason, true),
        // What one signal breaks, a second one can't; but the drain itself it could.
        (None, None) if drains_after_one(own, trials) => {
            acquit(own, REPEATED, String::new(), false);
            let mine = own.shown.iter_mut().filter(|shown| shown.invariant == REPEATED);
            mine.for_each(|shown| {
                (shown.verdict, shown.exercised) = (VerdictName::Satisfied, 1);
                shown.reason = None;
            });
        }
        (None, None) => {
            let reason = format!("one signal alone breaks {} as well", by_one.join(", "));
            acquit(own, REPEATED, reason, false);
        }
    }
}

/// Whether trials with the first of its signals alone show that requests in process complete.
fn drains_after_one(own: &TrialSummary, trials: &[TrialSummary]) -> bool {
    let same = || trials.iter().filter(|trial| is_ordinary(trial) && trial.signal == own.signal);
    let say = |verdict| same().any(|trial| has(trial, "in-flight-requests-complete", verdict));
    say(VerdictName::Satisfied) && !say(VerdictName::Violated)
}

fn compared(own: &TrialSummary, invariant: &'static str, trials: &[TrialSummary]) -> Compared {
    let sent: BTreeSet<Signal> = own.report.signals.iter().map(|sent| sent.signal).collect();
    let with_one = || trials.iter().filter(|trial| is_ordinary(trial));
    let is_of = |trial: &&TrialSummary| trial.signal.is_some_and(|signal| sent.contains(&signal));
    if with_one().filter(is_of).any(|trial| has(trial, invariant, VerdictName::Violated)) {
        return Compared::BrokenByOne;
    }
    // What the first signal does depends on who gets it: only those to the same are compared.
    let same = with_one().filter(|trial| (trial.signal, trial.to) == (own.signal, own.to));
    let held = same.filter(|trial| has(trial, invariant, VerdictName::Satisfied)).count() as u64;
    if held == 0 {
        let to_whom = match own.to {
            SignalTo::Leader => "(--situation slow-handler)",
            SignalTo::Listener => "to the listener (--signal-to listener)",
            SignalTo::Group => "to the whole group (--signal-to group)",
        };
        return Compared::Unknown(format!(
            "no trial with one signal {to_whom} shows that it holds {invariant}"
        ));
    }
    // All that begin with the same signal, those among them that go on alike, and those that go on
    // as soon: a window below a millisecond is met by few of the others.
    let like = |is_alike: &dyn Fn(&TrialReport) -> bool| {
        let all = trials.iter().filter(|trial| {
            trial.is_judged()
                && trial.report.signals.len() > 1
                && (trial.signal, trial.to) == (own.signal, own.to)
                && is_alike(&trial.report)
        });
        all.fold((0, 0), |(broke, all), trial| {
            let breaks = trial.broken.iter().any(|(broken, _)| broken.invariant == invariant);
            (broke + u64::from(breaks), all + 1)
        })
    };
    let differs = |(broke, all)| fisher_exact((broke, all), (0, held)) <= CHANCE;
    let is_of_situation = |other: &TrialReport| other.situation == own.report.situation;
    let is_as_soon =
        |other: &TrialReport| is_of_situation(other) && other.moment == own.report.moment;
    // There are many such kinds, and one of them fails by chance sooner than all together.
    let kinds: BTreeSet<_> = trials
        .iter()
        .filter(|trial| trial.is_judged() && trial.report.signals.len() > 1)
        .map(|trial| (trial.report.situation, &*trial.report.moment))
        .collect();
    let (broke_as_soon, as_soon) = like(&is_as_soon);
    let differs_as_soon = broke_as_soon > 1
        && fisher_exact((broke_as_soon, as_soon), (0, held)) * kinds.len() as f64 <= CHANCE;
    let (broke, all) = like(&|_| true);
    match differs((broke, all)) || differs(like(&is_of_situation)) || differs_as_soon {
        true => Compared::BrokenByRepetition,
        false => Compared::Unknown(format!(
            "{broke} of {all} trials with several signals broke {invariant}, and none of {held} \
             with one: that could be chance (--budget 60s)"
        )),
    }
}

/// The invariant by which a target that was ready is accused of the same, in most of its trials.
fn also_when_ready(own: &TrialSummary, trials: &[TrialSummary]) -> Option<&'static str> {
    let suspects: &[&'static str] = match own.report.exit {
        Some(_) => &["nothing-is-left-behind", "signal-is-handled"],
        None => &["exits-before-deadline", "signal-is-handled"],
    };
    let with_one =
        || trials.iter().filter(|trial| is_ordinary(trial) && trial.signal == own.signal);
    let count = |id, verdict| with_one().filter(|trial| has(trial, id, verdict)).count();
    suspects.iter().copied().find(|id| {
        let violated = count(id, VerdictName::Violated);
        violated > 0 && violated >= count(id, VerdictName::Satisfied)
    })
}

fn acquit(own: &mut TrialSummary, invariant: &'static str, reason: String, excused: bool) {
    for shown in own.shown.iter_mut().filter(|shown| shown.invariant == invariant) {
        let verdict = VerdictName::Inconclusive;
        let reason = Some(reason.clone());
        *shown = Shown { invariant, verdict, exercised: 0, violations: 0, excused, reason };
    }
    own.evidence.retain(|ranked| ranked.invariant != invariant);
    own.report.violated.retain(|id| id != invariant);
}

/// The events that show what a trial with several signals broke, as a report needs them.
pub(super) fn broken(
    history: &crate::model::history::History,
    findings: &[crate::model::verdict::Finding],
) -> Vec<(crate::model::verdict::Broken, Vec<crate::model::event::Event>)> {
    let all = findings.iter().flat_map(|finding| &finding.broken);
    all.map(|broken| (broken.clone(), shown_of(history, &broken.violation).events)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Says, facts, trial};
    use super::super::{RunFacts, assemble};
    use super::*;
    use crate::model::run::{ExitReport, SignalReport};
    use crate::model::verdict::{Broken, Violation};

    const IN_FLIGHT: &str = "in-flight-requests-complete";

    fn sent(signal: Signal) -> SignalReport {
        SignalReport { signal, pid: 1, at_ms: 1.0, error_us: 0.0, bracket_us: 1.0 }
    }

    fn shown(invariant: &'static str, verdict: VerdictName) -> Shown {
        let violations = u32::from(verdict == VerdictName::Violated);
        Shown { invariant, verdict, exercised: 1, violations, excused: false, reason: None }
    }

    /// A trial with one signal that says this of requests in process.
    fn one(number: u32, signal: Signal, verdict: VerdictName) -> TrialSummary {
        let mut trial = trial(number, 1, &[] as &[Says]);
        (trial.signal, trial.report.signals) = (Some(signal), vec![sent(signal)]);
        trial.shown.push(shown(IN_FLIGHT, verdict));
        trial
    }

    /// A trial with two signals that breaks this, or nothing.
    fn two(number: u32, breaks: Option<&'static str>) -> TrialSummary {
        let mut trial = trial(number, 1, &[] as &[Says]);
        trial.report.situation = Situation::SecondSignal;
        (trial.repeats, trial.signal) = (true, Some(Signal::TERM));
        trial.report.signals = vec![sent(Signal::TERM), sent(Signal::TERM)];
        let verdict = if breaks.is_some() { VerdictName::Violated } else { VerdictName::Satisfied };
        trial.shown.push(shown(REPEATED, verdict));
        trial.broken = breaks
            .map(|invariant| {
                let violation = Violation { message: "lost".into(), evidence: Vec::new() };
                (Broken { invariant, violation }, Vec::new())
            })
            .into_iter()
            .collect();
        trial
    }

    fn ones(number: u32, verdict: VerdictName) -> Vec<TrialSummary> {
        (0..number).map(|n| one(100 + n, Signal::TERM, verdict)).collect()
    }

    fn verdict(trials: &[TrialSummary], id: &'static str) -> (VerdictName, String) {
        let facts = RunFacts { severities: vec![(id, Severity::Deny)], ..facts() };
        let report = assemble(facts, trials).invariants.remove(0);
        let message = report.evidence.first().map(|it| it.message.clone());
        (report.verdict, report.reason.or(message).unwrap_or_default())
    }

    #[test]
    fn what_only_repeated_signals_break_is_their_fault() {
        let broken = || (1..=3).map(|n| two(n, Some(IN_FLIGHT)));
        let trials: Vec<_> = broken().chain(ones(8, VerdictName::Satisfied)).collect();
        let (found, message) = verdict(&trials, REPEATED);
        assert_eq!(
            (found, &*message),
            (VerdictName::Violated, "lost (in-flight-requests-complete)")
        );
        assert_eq!(verdict(&trials, IN_FLIGHT).0, VerdictName::Satisfied, "accused once");
    }

    #[test]
    fn what_one_signal_breaks_too_is_not() {
        let mut trials = vec![two(1, Some(IN_FLIGHT)), two(2, Some(IN_FLIGHT))];
        trials.extend(ones(9, VerdictName::Satisfied));
        trials.push(one(50, Signal::TERM, VerdictName::Violated));
        let (found, reason) = verdict(&trials, REPEATED);
        assert_eq!(found, VerdictName::Inconclusive);
        assert!(reason.contains("one signal alone breaks in-flight"), "{reason}");
        trials.push(two(3, None));
        assert_eq!(verdict(&trials, REPEATED).0, VerdictName::Satisfied, "the third shows it");
    }

    #[test]
    fn a_drain_that_goes_on_counts_whatever_else_one_signal_breaks() {
        let mut trials = vec![two(1, Some("close-is-announced"))];
        trials.extend(ones(3, VerdictName::Satisfied));
        for trial in &mut trials[1..] {
            trial.shown.push(shown("close-is-announced", VerdictName::Violated));
        }
        assert_eq!(verdict(&trials, REPEATED).0, VerdictName::Satisfied);
    }

    #[test]
    fn what_may_be_chance_is_neither_a_violation_nor_a_pass() {
        let mut trials = vec![two(1, Some(IN_FLIGHT)), two(2, None), two(3, None)];
        trials.extend(ones(8, VerdictName::Satisfied));
        let (found, reason) = verdict(&trials, REPEATED);
        assert_eq!(found, VerdictName::Inconclusive);
        assert!(reason.starts_with("1 of 3 trials with several signals broke"), "{reason}");
    }

    #[test]
    fn one_of_its_kind_may_be_chance_however_many_hold_with_one_signal() {
        let other = |number: u32| {
            let mut trial = two(number, None);
            trial.report.moment = format!("again +{number} ms");
            trial
        };
        let mut trials: Vec<_> = (2..=15).map(other).collect();
        trials.push(two(1, Some(IN_FLIGHT)));
        trials.extend(ones(150, VerdictName::Satisfied));
        let (found, reason) = verdict(&trials, REPEATED);
        assert_eq!(found, VerdictName::Inconclusive, "{reason}");
        // What fails whenever it comes as soon is no chance, though the others hold.
        trials.extend((16..=19).map(|n| two(n, Some(IN_FLIGHT))));
        assert_eq!(verdict(&trials, REPEATED).0, VerdictName::Violated);
    }

    #[test]
    fn without_trials_with_one_signal_nothing_is_known() {
        let trials: Vec<_> = (1..=9).map(|n| two(n, Some(IN_FLIGHT))).collect();
        let (found, reason) = verdict(&trials, REPEATED);
        assert_eq!(found, VerdictName::Inconclusive);
        assert!(reason.contains("no trial with one signal"), "{reason}");
        let interrupted = (0..9).map(|n| one(100 + n, Signal::INT, VerdictName::Satisfied));
        let trials: Vec<_> = trials.into_iter().chain(interrupted).collect();
        assert_eq!(verdict(&trials, REPEATED).0, VerdictName::Inconclusive, "another signal");
    }

    #[test]
    fn what_a_whole_group_does_is_compared_with_what_a_whole_group_does() {
        let mut trials: Vec<_> = (1..=3).map(|n| two(n, Some(IN_FLIGHT))).collect();
        trials.iter_mut().for_each(|trial| trial.to = SignalTo::Group);
        trials.extend(ones(8, VerdictName::Satisfied));
        let (found, reason) = verdict(&trials, REPEATED);
        assert_eq!(found, VerdictName::Inconclusive);
        assert!(reason.contains("to the whole group"), "{reason}");
        trials.iter_mut().for_each(|trial| trial.to = SignalTo::Group);
        assert_eq!(verdict(&trials, REPEATED).0, VerdictName::Violated);
    }

    #[test]
    fn a_start_is_accused_of_what_a_ready_target_does_not_do() {
        let mut start = trial(1, 0, &[] as &[Says]);
        start.report.situation = Situation::Startup;
        start.report.signals = vec![sent(Signal::TERM)];
        start.shown.push(shown(AT_STARTUP, VerdictName::Violated));
        let ready = |verdict| {
            let mut ready = one(2, Signal::TERM, verdict);
            ready.shown.push(shown("exits-before-deadline", verdict));
            ready
        };
        let honoured = [start.clone(), ready(VerdictName::Satisfied)];
        assert_eq!(verdict(&honoured, AT_STARTUP).0, VerdictName::Violated);
        let hangs = [start.clone(), ready(VerdictName::Violated)];
        let (found, reason) = verdict(&hangs, AT_STARTUP);
        assert_eq!(found, VerdictName::Inconclusive);
        assert!(reason.contains("see exits-before-deadline"), "{reason}");
        let exit = ExitReport { code: Some(0), signal: None, after_ms: Some(1.0) };
        start.report.exit = Some(exit);
        let leaves = [start, ready(VerdictName::Violated)];
        assert_eq!(verdict(&leaves, AT_STARTUP).0, VerdictName::Violated, "it is about leftovers");
    }
}
