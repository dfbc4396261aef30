//! What was tried how often, and what was lost: a cell a situation, moment and signal.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::plan::Situation;
use crate::model::run::CoverageCell;

use super::TrialSummary;
use super::losses::ON_THEIR_WAY;

/// The cells of the trials, and one for each situation that the target gives no occasion for.
pub(super) fn coverage(
    trials: &[&TrialSummary],
    unreachable: &BTreeMap<Situation, String>,
) -> Vec<CoverageCell> {
    let (mut cells, mut seen) = (BTreeMap::new(), BTreeMap::new());
    for trial in trials {
        let report = &trial.report;
        let key = (report.situation, report.control, report.moment.clone(), trial.signal);
        if report.missed.is_none() {
            let outcomes: &mut BTreeSet<&str> = seen.entry(key.clone()).or_default();
            outcomes.insert(&report.shown.outcome);
        }
        let cell = cells.entry(key).or_insert_with(|| CoverageCell {
            signal: trial.signal,
            ..empty(report.situation, report.moment.clone())
        });
        match &report.missed {
            Some(what) => {
                cell.missed += 1;
                cell.reason.get_or_insert_with(|| what.clone());
            }
            None => add(cell, trial),
        }
    }
    for (key, cell) in &mut cells {
        cell.outcomes = seen.get(key).map_or(0, BTreeSet::len) as u32;
    }
    let lacking = unreachable.iter().map(|(situation, lacking)| CoverageCell {
        reason: Some(lacking.clone()),
        ..empty(*situation, "none".to_owned())
    });
    let mut cells: Vec<_> = cells.into_values().chain(lacking).collect();
    cells.sort_by_key(|cell| cell.situation);
    cells
}

fn empty(situation: Situation, moment: String) -> CoverageCell {
    CoverageCell {
        situation,
        moment,
        signal: None,
        trials: 0,
        missed: 0,
        reason: None,
        requests: 0,
        lost: 0,
        violations: BTreeMap::new(),
        outcomes: 0,
    }
}

fn add(cell: &mut CoverageCell, trial: &TrialSummary) {
    cell.trials += 1;
    for losses in ON_THEIR_WAY.iter().filter_map(|phase| trial.losses.get(phase)) {
        cell.requests += losses.requests;
        cell.lost += losses.lost;
    }
    for shown in trial.shown.iter().filter(|shown| shown.violations > 0) {
        let violations = cell.violations.entry(shown.invariant.to_owned()).or_default();
        *violations += u64::from(shown.violations);
    }
}
