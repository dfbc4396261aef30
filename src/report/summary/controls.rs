//! What is lost without a signal as well is not the shutdown's fault.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::invariants;
use crate::model::plan::Situation;
use crate::model::statistics::rate_bounds_95;
use crate::model::verdict::VerdictName;

use super::{SeverityTable, TrialSummary, severity, worst};

/// A situation with its moment; its control has the same.
type Cell<'t> = (Situation, &'t str);

/// Requests, and those of them that were lost.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    requests: u64,
    lost: u64,
}

/// The trials, without the losses that the controls show as well.
///
/// A situation whose control lost something accuses nobody of a loss, unless it lost more than the
/// control's rate (its upper bound, 95 %) can explain.
pub(super) fn excused<'t>(
    trials: &'t [TrialSummary],
    severities: &SeverityTable,
) -> Cow<'t, [TrialSummary]> {
    let controls = losses(trials.iter().filter(|trial| trial.report.control));
    if controls.values().all(|losses| losses.lost == 0) {
        return Cow::Borrowed(trials);
    }
    let signalled = losses(trials.iter().filter(|trial| trial.is_judged()));
    let mut excused = trials.to_vec();
    for trial in excused.iter_mut().filter(|trial| trial.is_judged()) {
        let cell = (trial.report.situation, trial.report.moment.as_str());
        let (Some(control), Some(all)) = (controls.get(&cell), signalled.get(&cell)) else {
            continue;
        };
        if explains(*control, *all) {
            excuse(trial, *control, severities);
        }
    }
    Cow::Owned(excused)
}

fn losses<'t>(trials: impl Iterator<Item = &'t TrialSummary>) -> BTreeMap<Cell<'t>, Losses> {
    let mut cells: BTreeMap<Cell<'t>, Losses> = BTreeMap::new();
    for trial in trials.filter(|trial| trial.report.missed.is_none()) {
        let cell = (trial.report.situation, trial.report.moment.as_str());
        let losses = cells.entry(cell).or_default();
        losses.requests += trial.on_their_way;
        losses.lost += trial.lost;
    }
    cells
}

fn explains(control: Losses, all: Losses) -> bool {
    let bounds = rate_bounds_95(control.lost, control.requests).filter(|_| control.lost > 0);
    bounds.is_some_and(|(_, upper)| all.lost as f64 <= (all.requests as f64 * upper).ceil())
}

fn excuse(trial: &mut TrialSummary, control: Losses, severities: &SeverityTable) {
    let mut acquitted = Vec::new();
    for shown in &mut trial.shown {
        let about_losses = invariants::find(shown.invariant).is_some_and(|i| i.counts.has_rate);
        if shown.verdict != VerdictName::Violated || !about_losses {
            continue;
        }
        acquitted.push(shown.invariant);
        (shown.verdict, shown.exercised, shown.violations) = (VerdictName::Inconclusive, 0, 0);
        shown.reason = Some(format!(
            "without a signal as many were lost: {} of {} in the controls",
            control.lost, control.requests
        ));
    }
    trial.evidence.retain(|ranked| !acquitted.contains(&ranked.invariant));
    trial.report.violated.retain(|id| !acquitted.contains(&id.as_str()));
    let denied = trial.shown.iter().filter(|shown| {
        severity(severities, shown.invariant) == crate::model::verdict::Severity::Deny
    });
    trial.report.verdict = worst(denied.map(|shown| shown.verdict));
}
