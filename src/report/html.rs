//! The report as a page: one file that works without a network, with a mouse or a keyboard, in light
//! and in dark, and on paper.

use std::collections::BTreeSet;

use askama::Template;

use crate::model::history::History;
use crate::model::run::{Levels, RunReport, TrialReport};
use crate::model::verdict::{Severity, VerdictName};

use super::numbers::{grouped, time};
use super::phrases::{self, command, failed, mark, sentence, unreached};
use super::reproduced::best;
use super::text::clean;

mod advice;
mod commands;
mod failure;
mod figure;
mod settings;
mod strip;
mod tables;
mod timeline;

use advice::{First, first};
use commands::{Command, commands};
use failure::{Failure, failures};
use strip::Strip;
use tables::{Cell, Row, TrialRow, coverage, row, trial_rows};

/// Everything that the template shows, as text.
#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    title: String,
    verdict: String,
    notes: Vec<String>,
    mood: &'static str,
    tally: Vec<Tally>,
    command: String,
    facts: Vec<(&'static str, String)>,
    first: Option<First>,
    failures: Vec<Failure>,
    rows: Vec<Row>,
    coverage: Vec<Cell>,
    unreached: Vec<(String, String)>,
    strips: Vec<Strip>,
    trials: Vec<TrialRow>,
    commands: Vec<Command>,
    settings: String,
    environment: Vec<(&'static str, String)>,
}

/// How many invariants have one verdict.
struct Tally {
    mood: &'static str,
    mark: &'static str,
    number: String,
    about: &'static str,
}

/// The page. `histories` are those of trials that show violations; a failure whose trial is not among
/// them is shown without a timeline.
pub fn render(report: &RunReport, histories: &[History]) -> String {
    let command = command(report);
    let verdict = sentence(report);
    let page = Page {
        title: format!("{verdict} · {command}"),
        verdict,
        notes: report.notes.iter().map(|note| clean(note)).chain(phrases::pid_1(report)).collect(),
        mood: mood_of(report.verdict, Severity::Deny),
        tally: tally(report),
        command,
        facts: facts(report),
        first: first(report),
        failures: failures(report, histories),
        rows: report.invariants.iter().map(row).collect(),
        coverage: coverage(report),
        unreached: unreached(report).collect(),
        strips: strip::strips(report),
        trials: trial_rows(report),
        commands: commands(report),
        settings: settings::text(&report.configuration),
        environment: environment(report),
    };
    page.render().unwrap_or_else(|error| format!("<!doctype html><p>{error}</p>"))
}

/// The trials whose histories a page wants: the smallest of each violated invariant.
pub fn wanted(report: &RunReport) -> Vec<&TrialReport> {
    let all = failed(report).into_iter().filter_map(|invariant| best(report, invariant)?.trial);
    let mut trials: Vec<&TrialReport> = all.collect();
    trials.sort_unstable_by_key(|trial| trial.number);
    trials.dedup_by_key(|trial| trial.number);
    trials
}

/// The class that colours a verdict; the words beside it say the same.
fn mood_of(verdict: VerdictName, level: Severity) -> &'static str {
    match (verdict, level) {
        (VerdictName::Satisfied, _) => "good",
        (VerdictName::Violated, Severity::Deny) => "bad",
        (VerdictName::Violated, Severity::Warn) => "warning",
        (VerdictName::Inconclusive, Severity::Deny) => "warning",
        _ => "none",
    }
}

/// The verdicts, counted: the gravest first.
fn tally(report: &RunReport) -> Vec<Tally> {
    let marks = [
        ("FAIL", "bad", "violated, and fails the run"),
        ("warn", "warning", "violated, and warns"),
        ("seen", "none", "violated, and allowed"),
        ("ok", "good", "satisfied"),
        ("?", "none", "not shown either way"),
        ("–", "none", "not applicable"),
    ];
    let count = |word| report.invariants.iter().filter(|it| mark(it) == word).count() as u64;
    let all = marks.into_iter().map(|(word, mood, about)| (count(word), word, mood, about));
    let seen = all.filter(|(number, ..)| *number > 0);
    seen.map(|(number, mark, mood, about)| Tally { mood, mark, number: grouped(number), about })
        .collect()
}

fn facts(report: &RunReport) -> Vec<(&'static str, String)> {
    let target = &report.target;
    let requests: Vec<String> = target
        .requests
        .iter()
        .map(|r| format!("{} → {}, {}", clean(&r.name), r.status, time(r.usual_ms)))
        .collect();
    let setting = |name| {
        report.configuration.get(name).and_then(|it| it.as_str()).map(clean).unwrap_or_default()
    };
    let mut facts = vec![
        ("listens on", target.url.clone().unwrap_or_else(|| "none".into())),
        ("profile", report.profile.to_string()),
        (
            "trials",
            match report.duration_ms > 0.0 {
                true => format!(
                    "{} in {}",
                    grouped(report.trials.len() as u64),
                    time(report.duration_ms)
                ),
                false => grouped(report.trials.len() as u64),
            },
        ),
        ("requests", requests.join(" · ")),
        ("signals", signals(report)),
        ("deadline", setting("deadline")),
        ("phases of requests", levels(report)),
        ("seed", report.seed.to_string()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn signals(report: &RunReport) -> String {
    let signals: BTreeSet<_> = report.coverage.iter().filter_map(|cell| cell.signal).collect();
    signals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn levels(report: &RunReport) -> String {
    match report.levels {
        Levels::Kernel => "known from the kernel".into(),
        Levels::Inferred => "inferred from time".into(),
    }
}

fn environment(report: &RunReport) -> Vec<(&'static str, String)> {
    let environment = &report.environment;
    let kernel = environment.kernel.clone().unwrap_or_default();
    vec![
        ("system", format!("{} {kernel} ({})", environment.os, environment.architecture)),
        ("processors", environment.processors.map_or("?".into(), |n| n.to_string())),
        ("started", report.started_at.clone()),
        ("tool", format!("{} {}", report.tool.name, report.tool.version)),
    ]
}
