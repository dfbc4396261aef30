//! The kind of outcome that a trial has shown, coarse enough that trials which differ by chance
//! are alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::Event;
use crate::model::history::History;
use crate::model::phase::Phase;
use crate::model::run::TrialReport;
use crate::model::search::Shown;
use crate::model::verdict::{Broken, VerdictName};

use super::losses::Losses;

/// What took less than this, in milliseconds, took no time.
const AT_ONCE_MS: f64 = 32.0;

/// What the search takes a trial to have shown.
pub(super) fn shown(
    report: &TrialReport,
    outcomes: &BTreeMap<(Phase, &'static str), u64>,
    losses: &BTreeMap<Phase, Losses>,
    broken: &[(Broken, Vec<Event>)],
) -> Shown {
    Shown {
        outcome: match &report.missed {
            // Numbers in it, such as how late somebody was, make no other kind.
            Some(what) => format!("missed: {}", what.replace(|c: char| c.is_ascii_digit(), "")),
            None => kind(report, outcomes, broken),
        },
        missed: report.missed.is_some(),
        violated: !report.violated.is_empty(),
        denied: report.verdict == VerdictName::Violated,
        lost: losses.values().any(|losses| losses.lost > 0),
        took_ms: 0,
    }
}

fn kind(
    report: &TrialReport,
    outcomes: &BTreeMap<(Phase, &'static str), u64>,
    broken: &[(Broken, Vec<Event>)],
) -> String {
    let mut parts = Vec::new();
    let broken: BTreeSet<_> = broken.iter().map(|(broken, _)| broken.invariant).collect();
    let violated = report.violated.iter().map(String::as_str).chain(broken);
    parts.extend(violated.map(|id| format!("{id} violated")));
    if report.verdict == VerdictName::Violated {
        parts.push("denied".into());
    }
    // Whether a request could be ordered against the signal is the harness's matter.
    let told = outcomes.keys().filter(|(phase, _)| *phase != Phase::Ambiguous);
    parts.extend(told.map(|(phase, outcome)| format!("{} {outcome}", phase.name())));
    parts.push(match &report.exit {
        None => "no exit".into(),
        Some(exit) => match (exit.code, exit.signal) {
            (_, Some(signal)) => format!("ended by {signal}"),
            (Some(code), None) => format!("exit {code}"),
            (None, None) => "exit".into(),
        },
    });
    let exit = report.exit.as_ref().and_then(|exit| exit.after_ms);
    let times = [("exit", exit), ("drain", report.drain_ms), ("refusal", report.refused_after_ms)];
    parts.extend(times.into_iter().filter_map(|(what, ms)| Some(format!("{what} {}", band(ms?)))));
    parts.join(", ")
}

/// How the requests of a trial ended, by their phase, without those that stopped on purpose and
/// those that the harness cut.
pub(super) fn by_phase(history: &History) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut outcomes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (_, request, phase) in history.phased_requests() {
        if request.stalled || history.cut_by_harness(request) {
            continue;
        }
        let of_phase = outcomes.entry(phase.name().to_owned()).or_default();
        *of_phase.entry(history.outcome(request).name().to_owned()).or_default() += 1;
    }
    outcomes
}

/// The doubling that a time lies in.
fn band(ms: f64) -> String {
    let mut least = AT_ONCE_MS;
    if ms < least {
        return "at once".into();
    }
    while ms >= least * 2.0 {
        least *= 2.0;
    }
    format!("≥ {least:.0} ms")
}
