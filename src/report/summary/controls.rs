//! What is lost without a signal as well is not the shutdown's fault.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::signal::Signal;
use crate::model::statistics::rate_bounds_95;
use crate::model::verdict::{Severity, VerdictName};

use super::losses::Losses;
use super::{SeverityTable, TrialSummary, severity, worst};

/// The invariants that are about losses, each with the phases of the requests that it is about.
const ABOUT: [(&str, &[Phase]); 5] = [
    ("in-flight-requests-complete", &[Phase::Processing, Phase::Uploading]),
    (
        "responses-are-whole",
        &[
            Phase::Processing,
            Phase::Uploading,
            Phase::PartialHead,
            Phase::Delivered,
            Phase::Queued,
            Phase::ReusedLate,
        ],
    ),
    ("delivered-requests-complete", &[Phase::Delivered, Phase::PartialHead]),
    ("queued-connections-are-served", &[Phase::Queued]),
    ("late-requests-are-not-swallowed", &[Phase::ReusedLate, Phase::ConnectedLate]),
];

/// Whether a control may excuse what violates an invariant.
pub fn is_about_losses(invariant: &str) -> bool {
    !phases_of(invariant).is_empty()
}

/// The phases of the requests whose loss violates an invariant; none where it is about something else.
pub fn phases_of(invariant: &str) -> &'static [Phase] {
    ABOUT.iter().find(|(id, _)| *id == invariant).map_or(&[], |(_, phases)| phases)
}

/// A situation with its moment, and a signal: its control has the same, and none. Where one of
/// several signals loses more than a control, the others must not hide it.
type Cell<'t> = (Situation, &'t str, Option<Signal>);

/// The trials, without the losses that the controls show as well.
///
/// A cell whose control lost requests of a phase accuses nobody of losing such, unless it lost more
/// than the control's rate (its upper bound, 95 %) explains.
pub(super) fn excused<'t>(
    trials: &'t [TrialSummary],
    severities: &SeverityTable,
) -> Cow<'t, [TrialSummary]> {
    let controls = cells(trials.iter().filter(|trial| trial.report.control));
    if controls.values().flat_map(BTreeMap::values).all(|losses| losses.lost == 0) {
        return Cow::Borrowed(trials);
    }
    let signalled = cells(trials.iter().filter(|trial| trial.is_judged()));
    let mut excused = trials.to_vec();
    for trial in excused.iter_mut().filter(|trial| trial.is_judged()) {
        let moment = trial.report.moment.clone();
        let cell = |signal| (trial.report.situation, moment.as_str(), signal);
        let (control, all) = (controls.get(&cell(None)), signalled.get(&cell(trial.signal)));
        let (Some(control), Some(all)) = (control, all) else { continue };
        for (invariant, phases) in ABOUT {
            let (control, all) = (sum(control, phases), sum(all, phases));
            if explains(control, all) {
                excuse(trial, invariant, control);
            }
        }
        let denied =
            trial.shown.iter().filter(|s| severity(severities, s.invariant) == Severity::Deny);
        trial.report.verdict = worst(denied.map(|shown| shown.verdict));
    }
    Cow::Owned(excused)
}

fn cells<'t>(
    trials: impl Iterator<Item = &'t TrialSummary>,
) -> BTreeMap<Cell<'t>, BTreeMap<Phase, Losses>> {
    let mut cells: BTreeMap<Cell<'t>, BTreeMap<Phase, Losses>> = BTreeMap::new();
    for trial in trials.filter(|trial| trial.report.missed.is_none()) {
        let key = (trial.report.situation, trial.report.moment.as_str(), trial.signal);
        let cell = cells.entry(key).or_default();
        for (phase, losses) in &trial.losses {
            *cell.entry(*phase).or_default() += *losses;
        }
    }
    cells
}

fn sum(cell: &BTreeMap<Phase, Losses>, phases: &[Phase]) -> Losses {
    let mut sum = Losses::default();
    phases.iter().filter_map(|phase| cell.get(phase)).for_each(|losses| sum += *losses);
    sum
}

fn explains(control: Losses, all: Losses) -> bool {
    let bounds = rate_bounds_95(control.lost, control.requests).filter(|_| control.lost > 0);
    bounds.is_some_and(|(_, upper)| all.lost as f64 <= (all.requests as f64 * upper).ceil())
}

fn excuse(trial: &mut TrialSummary, invariant: &str, control: Losses) {
    let mut violated = trial
        .shown
        .iter_mut()
        .filter(|s| (s.invariant, s.verdict) == (invariant, VerdictName::Violated));
    let Some(shown) = violated.next() else { return };
    (shown.verdict, shown.exercised, shown.violations) = (VerdictName::Inconclusive, 0, 0);
    shown.excused = true;
    shown.reason = Some(format!(
        "without a signal requests are lost as well: {} of {} in the controls of this situation",
        control.lost, control.requests
    ));
    trial.evidence.retain(|ranked| ranked.invariant != invariant);
    trial.report.violated.retain(|id| id != invariant);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, trial};
    use super::super::{Ranked, Shown, assemble};
    use super::*;
    use crate::model::run::Evidence;

    const DELIVERED: &str = "delivered-requests-complete";

    /// A held trial of ten requests of a phase, of which some were lost.
    fn held(number: u32, phase: Phase, lost: u64) -> TrialSummary {
        let mut trial = trial(number, 10, &[]);
        trial.report.situation = Situation::Delivered;
        trial.report.moment = "held 150 ms".into();
        trial.losses = BTreeMap::from([(phase, Losses { requests: 10, lost })]);
        trial
    }

    fn control(number: u32, phase: Phase, lost: u64) -> TrialSummary {
        let mut control = held(number, phase, lost);
        (control.report.control, control.signal) = (true, None);
        control
    }

    fn late_control() -> TrialSummary {
        let mut control = control(2, Phase::Delivered, 10);
        control.report.missed = Some("the harness itself was late".into());
        control
    }

    /// A trial that is accused of all that it lost.
    fn accused(number: u32, lost: u32) -> TrialSummary {
        let mut trial = held(number, Phase::Delivered, lost.into());
        let evidence = Evidence { trial: number, message: "lost".into(), events: Vec::new() };
        trial.evidence.push(Ranked { invariant: DELIVERED, place: 0, evidence });
        trial.shown.push(Shown {
            invariant: DELIVERED,
            verdict: VerdictName::Violated,
            exercised: 10,
            violations: lost,
            excused: false,
            reason: None,
        });
        trial
    }

    /// The verdict on the invariant, its violations, and how many of them are shown.
    fn verdict(trials: &[TrialSummary]) -> (VerdictName, u64, usize) {
        let facts =
            super::super::RunFacts { severities: vec![(DELIVERED, Severity::Warn)], ..facts() };
        let report = assemble(facts, trials).invariants.remove(0);
        (report.verdict, report.violations, report.evidence.len())
    }

    #[test]
    fn what_a_control_loses_as_well_is_neither_a_failure_nor_a_pass() {
        let trials = [accused(1, 3), control(2, Phase::Delivered, 3)];
        assert_eq!(verdict(&trials), (VerdictName::Inconclusive, 0, 0));
    }

    #[test]
    fn a_signal_that_loses_nothing_does_not_hide_one_that_does() {
        let mut trials = vec![accused(1, 9), control(2, Phase::Delivered, 1)];
        trials.extend((10..13).map(|n| control(n, Phase::Delivered, 0)));
        assert_eq!(verdict(&trials), (VerdictName::Violated, 9, 1));
        let mut other = (30..90).map(|n| held(n, Phase::Delivered, 0)).collect::<Vec<_>>();
        other.iter_mut().for_each(|trial| trial.signal = Some(Signal::INT));
        trials.extend(other);
        assert_eq!(verdict(&trials), (VerdictName::Violated, 9, 1));
    }

    #[test]
    fn a_control_that_loses_nothing_or_something_else_excuses_nothing() {
        for control in
            [control(2, Phase::Delivered, 0), control(2, Phase::Queued, 10), late_control()]
        {
            assert_eq!(verdict(&[accused(1, 3), control]), (VerdictName::Violated, 3, 1));
        }
        let mut other_pause = control(2, Phase::Delivered, 10);
        other_pause.report.moment = "held 1000 ms".into();
        assert_eq!(verdict(&[accused(1, 3), other_pause]), (VerdictName::Violated, 3, 1));
    }

    #[test]
    fn more_losses_than_a_controls_rate_explains_are_the_shutdowns_fault() {
        let quiet: Vec<_> = (10..40).map(|n| control(n, Phase::Delivered, 0)).collect();
        let trials = [vec![accused(1, 9), control(2, Phase::Delivered, 1)], quiet].concat();
        assert_eq!(verdict(&trials), (VerdictName::Violated, 9, 1));
    }

    #[test]
    fn thinning_keeps_the_evidence_of_cells_that_no_control_excuses() {
        let mut trials: Vec<_> = (1..8).map(|number| accused(number, 3)).collect();
        let mut load = accused(9, 3);
        (load.report.situation, load.report.requests) = (Situation::Load, 500);
        trials.push(load);
        super::super::thin(&mut trials);
        trials.push(control(20, Phase::Delivered, 10));
        assert_eq!(verdict(&trials), (VerdictName::Violated, 3, 1));
    }

    #[test]
    fn the_invariants_that_are_about_losses_are_in_the_catalogue() {
        assert!(ABOUT.iter().all(|(id, _)| crate::invariants::find(id).is_some()));
    }
}
