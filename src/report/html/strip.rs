//! How long targets took to exit and to drain: a row a situation, a dot a trial.

use std::collections::BTreeMap;

use crate::model::plan::Situation;
use crate::model::run::{RunReport, TrialReport};

use super::super::numbers::time;
use super::figure::{Scale, Tick, units};

/// The height of a row, in units of the drawing.
const ROW: f64 = 20.0;
/// Dots of one row are spread over so much of its height, so that equal ones are seen.
const SPREAD: f64 = 8.0;

/// One figure.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) title: &'static str,
    pub(super) rows: Vec<StripRow>,
    pub(super) ticks: Vec<Tick>,
    pub(super) height: String,
    pub(super) summary: String,
}

/// One row of it.
#[derive(Debug)]
pub(super) struct StripRow {
    pub(super) label: &'static str,
    pub(super) y: String,
    pub(super) dots: Vec<Dot>,
}

/// One trial.
#[derive(Debug)]
pub(super) struct Dot {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) about: String,
}

/// The figures that the report has trials for.
pub(super) fn strips(report: &RunReport) -> Vec<Strip> {
    let exit = strip(report, "From the signal to the exit", |trial| trial.exit.as_ref()?.after_ms);
    let drain =
        strip(report, "From the signal to the last response that was in process", |trial| {
            trial.drain_ms
        });
    [exit, drain].into_iter().flatten().collect()
}

fn strip(
    report: &RunReport,
    title: &'static str,
    value: fn(&TrialReport) -> Option<f64>,
) -> Option<Strip> {
    let mut by_situation: BTreeMap<Situation, Vec<(u32, f64)>> = BTreeMap::new();
    for trial in report.trials.iter().filter(|trial| trial.missed.is_none()) {
        if let Some(ms) = value(trial) {
            by_situation.entry(trial.situation).or_default().push((trial.number, ms));
        }
    }
    let all: Vec<f64> = by_situation.values().flatten().map(|(_, ms)| *ms).collect();
    let longest = all.iter().copied().reduce(f64::max)?;
    let scale = Scale::new(0.0, longest);
    let rows: Vec<StripRow> = by_situation
        .into_iter()
        .enumerate()
        .map(|(at, (situation, values))| row(scale, at, situation, &values))
        .collect();
    Some(Strip {
        title,
        ticks: scale.ticks(),
        height: units(rows.len() as f64 * ROW + 30.0),
        summary: format!("{} trials, the longest {}", all.len(), time(longest)),
        rows,
    })
}

fn row(scale: Scale, at: usize, situation: Situation, values: &[(u32, f64)]) -> StripRow {
    let middle = at as f64 * ROW + ROW / 2.0;
    let dots = values.iter().enumerate().map(|(n, (trial, ms))| {
        let shift = (n % 5) as f64 / 4.0 - 0.5;
        let about = format!("trial {trial}: {}", time(*ms));
        Dot { x: units(scale.x(*ms)), y: units(middle + shift * SPREAD), about }
    });
    StripRow { label: situation.name(), y: units(middle), dots: dots.collect() }
}
