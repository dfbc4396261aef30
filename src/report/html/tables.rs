//! The tables of the page: invariants, coverage, trials.

use std::collections::BTreeMap;

use crate::invariants;
use crate::model::plan::Trial;
use crate::model::run::{CoverageCell, InvariantReport, RunReport, TrialReport};
use crate::model::statistics::rate_bounds_95;
use crate::model::verdict::{Severity, VerdictName};

use super::super::numbers::{grouped, percent_down, percent_up, time};
use super::super::phrases::{figures, mark, sent};
use super::super::plan_text::pace;
use super::super::text::clean;
use super::mood_of;

/// An invariant.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) mark: &'static str,
    pub(super) mood: &'static str,
    pub(super) level: String,
    pub(super) figures: String,
    pub(super) about: &'static str,
    pub(super) has_failure: bool,
}

/// One kind of trial.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) situation: &'static str,
    /// In the first cell of a situation: how many there are of it, which its name stands beside.
    pub(super) span: usize,
    pub(super) moment: String,
    pub(super) signal: String,
    pub(super) trials: String,
    pub(super) requests: String,
    pub(super) lost: String,
    /// The rates of loss that are not excluded with 95 % confidence.
    pub(super) bounds: String,
    pub(super) bar: Option<Bar>,
    pub(super) mood: &'static str,
    pub(super) violations: String,
}

/// A rate of loss and its bounds, in percent of the bar's length.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) rate: String,
    pub(super) lower: String,
    pub(super) width: String,
}

/// A trial.
#[derive(Debug)]
pub(super) struct TrialRow {
    pub(super) number: u32,
    pub(super) situation: &'static str,
    pub(super) moment: String,
    pub(super) signals: String,
    pub(super) load: String,
    pub(super) mood: &'static str,
    pub(super) verdict: String,
    pub(super) exit: String,
    pub(super) refused: String,
    pub(super) drain: String,
    pub(super) violated: String,
}

/// An invariant's line.
pub(super) fn row(invariant: &InvariantReport) -> Row {
    Row {
        id: clean(&invariant.id),
        mark: mark(invariant),
        mood: mood_of(invariant.verdict, invariant.level),
        level: invariant.level.to_string(),
        figures: figures(invariant),
        about: invariants::find(&invariant.id).map_or("", |i| i.fails_when),
        has_failure: invariant.verdict == VerdictName::Violated
            && invariant.level != Severity::Allow,
    }
}

/// What was tried, situation by situation.
pub(super) fn coverage(report: &RunReport) -> Vec<Cell> {
    let mut cells: Vec<&CoverageCell> =
        report.coverage.iter().filter(|cell| cell.trials > 0).collect();
    // Stable: within a situation they stay in their order.
    cells.sort_by_key(|cell| cell.situation);
    let mut numbers = BTreeMap::new();
    for cell in &cells {
        *numbers.entry(cell.situation).or_insert(0) += 1;
    }
    let cells = cells.into_iter();
    cells.map(|it| cell(it, numbers.remove(&it.situation).unwrap_or_default())).collect()
}

fn cell(cell: &CoverageCell, span: usize) -> Cell {
    let bounds = rate_bounds_95(cell.lost, cell.requests).filter(|_| cell.requests > 0);
    Cell {
        situation: cell.situation.name(),
        span,
        moment: cell.moment.clone(),
        signal: cell.signal.map_or("none (control)".into(), |signal| signal.to_string()),
        trials: grouped(cell.trials.into()),
        requests: if cell.requests > 0 { grouped(cell.requests) } else { "–".into() },
        lost: if cell.requests > 0 { grouped(cell.lost) } else { "–".into() },
        bounds: bounds.map_or("–".into(), |(lower, upper)| match cell.lost {
            0 => format!("< {} %", percent_up(upper)),
            _ => format!("{}–{} %", percent_down(lower), percent_up(upper)),
        }),
        bar: bounds.map(|(lower, upper)| Bar {
            rate: format!("{:.1}", cell.lost as f64 / cell.requests as f64 * 100.0),
            lower: format!("{:.1}", lower * 100.0),
            width: format!("{:.1}", (upper - lower) * 100.0),
        }),
        mood: match (cell.lost, cell.signal) {
            (0, _) => "none",
            (_, None) => "warning",
            _ => "bad",
        },
        violations: cell
            .violations
            .iter()
            .map(|(id, times)| format!("{} × {}", grouped(*times), clean(id)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Every trial: what was planned, and what came of it.
pub(super) fn trial_rows(report: &RunReport) -> Vec<TrialRow> {
    let plan: BTreeMap<u32, &Trial> =
        report.plan.trials.iter().map(|trial| (trial.number, trial)).collect();
    report.trials.iter().map(|trial| trial_row(trial, plan.get(&trial.number).copied())).collect()
}

fn trial_row(trial: &TrialReport, planned: Option<&Trial>) -> TrialRow {
    let after = |ms: Option<f64>| ms.map_or_else(|| "–".into(), time);
    let exit = trial.exit.as_ref().map_or_else(
        || "–".to_owned(),
        |exit| {
            let how = match (exit.code, exit.signal) {
                (Some(code), _) => code.to_string(),
                (None, Some(signal)) => signal.to_string(),
                (None, None) => "?".into(),
            };
            exit.after_ms.map_or(how.clone(), |ms| format!("{how} after {}", time(ms)))
        },
    );
    TrialRow {
        number: trial.number,
        situation: trial.situation.name(),
        moment: trial.moment.clone(),
        signals: if trial.control { "none (control)".into() } else { sent(trial) },
        load: planned.map_or_else(|| "–".into(), pace),
        mood: match trial.verdict {
            _ if trial.missed.is_some() => "none",
            verdict => mood_of(verdict, Severity::Deny),
        },
        verdict: match &trial.missed {
            Some(why) => format!("not counted: {}", clean(why)),
            None => trial.verdict.to_string(),
        },
        exit,
        refused: after(trial.refused_after_ms),
        drain: after(trial.drain_ms),
        violated: trial.violated.join(", "),
    }
}
