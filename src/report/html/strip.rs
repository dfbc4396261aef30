//! How long targets took to exit and to drain: a row a situation, a dot a trial.

use std::collections::BTreeMap;

use crate::model::plan::Situation;
use crate::model::run::{RunReport, TrialReport};
use crate::model::verdict::VerdictName;

use super::super::numbers::{counted, time};
use super::figure::{Scale, Tick, units};

/// The height of a row, in units of the drawing.
const ROW: f64 = 22.0;
/// Dots of one row are spread over so much of its height, so that equal ones are seen.
const SPREAD: f64 = 10.0;

/// One figure.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) title: &'static str,
    pub(super) to_ms: String,
    pub(super) rows: Vec<StripRow>,
    pub(super) ticks: Vec<Tick>,
    pub(super) height: String,
    pub(super) bottom: String,
    pub(super) summary: String,
}

/// One row of it.
#[derive(Debug)]
pub(super) struct StripRow {
    pub(super) label: &'static str,
    pub(super) y: String,
    /// The median, where more than two trials have one.
    pub(super) median: Option<Dot>,
    pub(super) dots: Vec<Dot>,
}

/// One trial.
#[derive(Debug)]
pub(super) struct Dot {
    pub(super) at_ms: String,
    /// Whether the trial violates what fails a run.
    pub(super) is_violated: bool,
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
    let mut by_situation: BTreeMap<Situation, Vec<(&TrialReport, f64)>> = BTreeMap::new();
    for trial in report.trials.iter().filter(|trial| trial.missed.is_none()) {
        if let Some(ms) = value(trial) {
            by_situation.entry(trial.situation).or_default().push((trial, ms));
        }
    }
    let mut all: Vec<f64> = by_situation.values().flatten().map(|(_, ms)| *ms).collect();
    all.sort_by(f64::total_cmp);
    let longest = *all.last()?;
    let scale = Scale::new(0.0, longest);
    let rows: Vec<StripRow> = by_situation
        .into_iter()
        .enumerate()
        .map(|(at, (situation, values))| row(scale, at, situation, &values))
        .collect();
    let bottom = rows.len() as f64 * ROW + 6.0;
    Some(Strip {
        title,
        to_ms: units(scale.to()),
        ticks: scale.ticks(),
        bottom: units(bottom),
        height: units(bottom + 22.0),
        summary: format!(
            "{}, median {}, 99th percentile {}, longest {}",
            counted(all.len() as u64, "trial", "trials"),
            time(quantile(&all, 0.5)),
            time(quantile(&all, 0.99)),
            time(longest)
        ),
        rows,
    })
}

/// The smallest of sorted values that at least this fraction of them do not exceed.
fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let rank = (sorted.len() as f64 * fraction).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn row(scale: Scale, at: usize, situation: Situation, values: &[(&TrialReport, f64)]) -> StripRow {
    let middle = at as f64 * ROW + ROW / 2.0 + 3.0;
    let dots = values.iter().enumerate().map(|(n, (trial, ms))| {
        let shift = if values.len() > 1 { (n % 5) as f64 / 4.0 - 0.5 } else { 0.0 };
        let is_violated = trial.verdict == VerdictName::Violated;
        let ill = if is_violated { ", violated" } else { "" };
        dot(
            scale,
            *ms,
            middle + shift * SPREAD,
            (is_violated, format!("trial {}: {}{ill}", trial.number, time(*ms))),
        )
    });
    let mut sorted: Vec<f64> = values.iter().map(|(_, ms)| *ms).collect();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5);
    let about = format!("{}: median {}", situation.name(), time(median));
    StripRow {
        label: situation.name(),
        y: units(middle),
        median: (sorted.len() > 2).then(|| dot(scale, median, middle, (false, about))),
        dots: dots.collect(),
    }
}

fn dot(scale: Scale, ms: f64, y: f64, (is_violated, about): (bool, String)) -> Dot {
    Dot { at_ms: format!("{ms:.4}"), is_violated, x: units(scale.x(ms)), y: units(y), about }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values = [1.0, 2.0, 3.0, 10.0];
        assert_eq!(quantile(&values, 0.5), 2.0);
        assert_eq!(quantile(&values, 0.99), 10.0);
        assert_eq!(quantile(&values[..1], 0.5), 1.0);
    }
}
