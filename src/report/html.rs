//! The report as a page: one file that works without a network, with a mouse or a keyboard, in light
//! and in dark, and on paper.

use askama::Template;

use crate::invariants;
use crate::model::history::History;
use crate::model::number::trial_name;
use crate::model::run::{Evidence, InvariantReport, RunReport, TrialReport};
use crate::model::statistics::rate_bounds_95;
use crate::model::verdict::{Severity, VerdictName};

use super::again;
use super::numbers::{counted, grouped, percent_up, time};
use super::phrases::{self, command, failed, figures, mark, others, sent, sentence, unreached};
use super::reproduced::{self, Best, best, history, smallest};
use super::text::clean;

mod figure;
mod strip;
mod timeline;

use strip::Strip;
use timeline::Timeline;

/// Violations that are told of an invariant; the others are in the JSON report.
const TOLD: usize = 6;

/// Everything that the template shows, as text.
#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    verdict: String,
    notes: Vec<String>,
    mood: &'static str,
    command: String,
    facts: Vec<(&'static str, String)>,
    first: Option<First>,
    again: String,
    failures: Vec<Failure>,
    rows: Vec<Row>,
    coverage: Vec<Cell>,
    unreached: Vec<(String, String)>,
    strips: Vec<Strip>,
    trials: Vec<TrialRow>,
    configuration: String,
    environment: Vec<(&'static str, String)>,
}

/// What to do first.
struct First {
    id: String,
    fix: String,
}

struct Failure {
    id: String,
    mood: &'static str,
    word: &'static str,
    figures: String,
    messages: Vec<String>,
    more: Option<String>,
    texts: Option<Texts>,
    shown: String,
    /// How it was found, and how often it was seen again.
    found: Option<String>,
    again: Option<String>,
    /// What the regressions file says of it.
    entry: Option<String>,
    timeline: Option<Timeline>,
    history: Option<String>,
}

struct Texts {
    fails_when: &'static str,
    why: &'static str,
    cause: &'static str,
    fix: &'static str,
    source: &'static str,
}

struct Row {
    id: String,
    mark: &'static str,
    mood: &'static str,
    level: String,
    figures: String,
    about: &'static str,
    has_failure: bool,
}

struct Cell {
    situation: &'static str,
    moment: String,
    signal: String,
    trials: String,
    requests: String,
    lost: String,
    mood: &'static str,
    violations: String,
}

struct TrialRow {
    number: u32,
    situation: &'static str,
    moment: String,
    signals: String,
    mood: &'static str,
    verdict: String,
    exit: String,
    refused: String,
    drain: String,
    violated: String,
}

/// The page. `histories` are those of trials that show violations; a failure whose trial is not among
/// them is shown without a timeline.
pub fn render(report: &RunReport, histories: &[History]) -> String {
    let page = Page {
        verdict: sentence(report),
        notes: report.notes.iter().map(|note| clean(note)).chain(phrases::pid_1(report)).collect(),
        mood: mood_of(report.verdict, Severity::Deny),
        command: command(report),
        facts: facts(report),
        first: first(report),
        again: again::run(report),
        failures: failures(report, histories),
        rows: report.invariants.iter().map(row).collect(),
        coverage: coverage(report),
        unreached: unreached(report).collect(),
        strips: strip::strips(report),
        trials: report.trials.iter().map(trial_row).collect(),
        configuration: serde_json::to_string_pretty(&report.configuration).unwrap_or_default(),
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

fn facts(report: &RunReport) -> Vec<(&'static str, String)> {
    let target = &report.target;
    let requests: Vec<String> = target
        .requests
        .iter()
        .map(|r| format!("{} → {}, {}", clean(&r.name), r.status, time(r.usual_ms)))
        .collect();
    let mut facts = vec![
        ("address", target.url.clone().unwrap_or_else(|| "none".into())),
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
        ("seed", report.seed.to_string()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn first(report: &RunReport) -> Option<First> {
    let violated = failed(report).into_iter().next()?;
    let fix = invariants::find(&violated.id)?.fix.to_owned();
    Some(First { id: violated.id.clone(), fix })
}

fn failures(report: &RunReport, histories: &[History]) -> Vec<Failure> {
    failed(report).into_iter().map(|invariant| failure(report, invariant, histories)).collect()
}

fn failure(report: &RunReport, invariant: &InvariantReport, histories: &[History]) -> Failure {
    let best = best(report, invariant);
    let trial = best.and_then(|best| best.trial);
    let found = best.and_then(|best| best.found);
    let shrunk = found.and_then(|it| it.evidence.as_ref()).map(|it| clean(&it.message));
    let message = |evidence: &Evidence| {
        format!("{}: {}", trial_name(evidence.trial), clean(&evidence.message))
    };
    let told = invariant.evidence.iter().take(TOLD);
    Failure {
        id: clean(&invariant.id),
        mood: mood_of(invariant.verdict, invariant.level),
        word: mark(invariant),
        figures: figures(invariant),
        messages: shrunk.into_iter().chain(told.map(message)).collect(),
        more: others(invariant, TOLD),
        texts: invariants::find(&invariant.id).map(|i| Texts {
            fails_when: i.fails_when,
            why: i.why,
            cause: i.usual_cause,
            fix: i.fix,
            source: i.source,
        }),
        shown: match found {
            Some(found) => smallest(found),
            None => trial.map_or_else(String::new, shown_in),
        },
        found: reproduced::of(report, invariant).map(history),
        again: reproduced::again(report, invariant).map(clean),
        entry: found.map(|found| found.entry.clone()),
        timeline: best.and_then(|Best { evidence, .. }| {
            let of_trial = |history: &&History| history.header().trial.number == evidence.trial;
            timeline::timeline(histories.iter().find(of_trial)?, &evidence.events)
        }),
        history: trial.and_then(|trial| trial.history.clone()),
    }
}

fn shown_in(trial: &TrialReport) -> String {
    let mut parts = vec![
        format!("{}, the smallest that shows it", trial_name(trial.number)),
        trial.situation.name().to_owned(),
        trial.moment.clone(),
        sent(trial),
        counted(trial.requests.into(), "request", "requests"),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn row(invariant: &InvariantReport) -> Row {
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

fn coverage(report: &RunReport) -> Vec<Cell> {
    let tried = report.coverage.iter().filter(|cell| cell.trials > 0);
    tried
        .map(|cell| Cell {
            situation: cell.situation.name(),
            moment: cell.moment.clone(),
            signal: cell.signal.map_or("control".into(), |signal| signal.to_string()),
            trials: grouped(cell.trials.into()),
            requests: if cell.requests > 0 { grouped(cell.requests) } else { "–".into() },
            lost: lost(cell.lost, cell.requests),
            mood: match (cell.lost, cell.signal) {
                (0, _) => "none",
                (_, None) => "warning",
                _ => "bad",
            },
            violations: cell
                .violations
                .iter()
                .map(|(id, times)| format!("{} × {id}", grouped(*times)))
                .collect::<Vec<_>>()
                .join(", "),
        })
        .collect()
}

fn lost(lost: u64, of: u64) -> String {
    match (lost, of) {
        (_, 0) => "–".into(),
        (0, of) => {
            let bound = rate_bounds_95(0, of).map_or(1.0, |(_, upper)| upper);
            format!("0 (< {} %)", percent_up(bound))
        }
        (lost, of) => format!("{} ({:.0} %)", grouped(lost), lost as f64 / of as f64 * 100.0),
    }
}

fn trial_row(trial: &TrialReport) -> TrialRow {
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
        signals: if trial.control { "control".into() } else { sent(trial) },
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
