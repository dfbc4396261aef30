//! A failure for an issue tracker: what somebody needs who has neither the report nor this program.

use crate::invariants;
use crate::model::event::{Event, EventKind, Request};
use crate::model::history::History;
use crate::model::phase::Phase;
use crate::model::plan::Trial;
use crate::model::regressions::{Found, Regression};
use crate::model::reproduction::Rate;
use crate::model::run::{InvariantReport, RunReport};
use crate::model::time::Nanos;

use super::again;
use super::hints;
use super::numbers::signed_time;
use super::phrases::{command, failed, figures};
use super::replay::{about, rate};
use super::reproduced::{Best, best, of};
use super::terminal::drawn;
use super::text::{clean, fenced};

/// What the reader saves the entry as.
const KNOWN: &str = "shutdown-check.regressions.toml";
/// Lines of a history that are told.
const LINES_MAX: usize = 16;
/// Columns of the timeline.
const WIDTH: usize = 78;

/// The gravest failure, in Markdown. `histories` tell the state of the request at the signal.
pub fn render(report: &RunReport, histories: &[History]) -> String {
    let all = failed(report);
    let Some(first) = all.first() else {
        return format!("Nothing failed: {}.\n", super::phrases::sentence(report));
    };
    let Some(best) = best(report, first) else {
        return format!("{}: {}.\n", clean(&first.id), figures(first));
    };
    let history = histories.iter().find(|it| Some(it.header().trial.number) == number(&best));
    let mut text = heading(first, &best);
    text.push_str(&facts((report, first), &best, history));
    text.push_str(&what_happens((report, first), &best));
    text.push_str(&again(report, first, &best));
    text.push_str(&lines(&best, history));
    let others: Vec<String> = all[1..].iter().map(|it| format!("`{}`", clean(&it.id))).collect();
    if !others.is_empty() {
        text.push_str(&format!("\nThe same run also shows: {}.\n", others.join(", ")));
    }
    text
}

fn number(best: &Best<'_>) -> Option<u32> {
    best.trial.map(|trial| trial.number)
}

fn heading(invariant: &InvariantReport, best: &Best<'_>) -> String {
    let about = invariants::find(&invariant.id).map_or(String::new(), |it| it.fails_when.into());
    let shown = best.found.map_or_else(
        || best.trial.map(|trial| trial.situation.name().to_owned()).unwrap_or_default(),
        |found| about_short(&found.trial),
    );
    format!("### {} ({shown})\n\n{about}\n", clean(&invariant.id))
}

fn about_short(trial: &Trial) -> String {
    let signal = trial.signals.first().map(|it| it.signal.to_string()).unwrap_or_default();
    format!("{}, {signal}", trial.situation.name())
}

/// A table of what the failure depends on.
fn facts(
    (report, invariant): (&RunReport, &InvariantReport),
    best: &Best<'_>,
    history: Option<&History>,
) -> String {
    let environment = &report.environment;
    let kernel = environment.kernel.as_deref().unwrap_or("unknown kernel");
    let mut rows = vec![("target", format!("`{}`", clean(&command(report)).replace('`', "'")))];
    if let Some(stack) = &report.target.stack {
        rows.push(("built with", format!("{} ({})", stack.name.title(), clean(&stack.by))));
    }
    rows.push(("version", "please add the target's: only you know it".to_owned()));
    rows.push(("tool", format!("{} {}", report.tool.name, report.tool.version)));
    rows.push(("system", format!("{} {kernel}, {}", environment.os, environment.architecture)));
    if let Some(found) = best.found {
        rows.push(("trial", about(&found.trial)));
        rows.push(("seen", rate(found.rate)));
    } else if let Some(trial) = best.trial {
        rows.push(("trial", format!("{} · {}", trial.situation.name(), trial.moment)));
        rows.extend(of(report, invariant).map(|found| ("seen again", rate(found.rate))));
    }
    rows.extend(history.and_then(|it| state(it, best)).map(|state| ("request", state)));
    let lines = rows.iter().map(|(name, value)| format!("| {name} | {} |\n", bars(value)));
    format!("\n| | |\n|---|---|\n{}", lines.collect::<String>())
}

fn bars(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Where the first request of the evidence was at the signal, and when that came.
fn state(history: &History, best: &Best<'_>) -> Option<String> {
    let asked = best.evidence.events.iter().find_map(|event| match &event.kind {
        EventKind::Request(request) => Some(request),
        _ => None,
    })?;
    let signal = history.signal()?.bracket;
    let phase = history.phase(asked, signal);
    let since = last_step(asked, signal.before).map_or(String::new(), |(what, at)| {
        let ms = signal.before.ms_from(at);
        format!("; the signal came {} after {what}", signed_time(ms).trim_start_matches('+'))
    });
    Some(format!("{}{since}", meaning(phase)))
}

/// The last thing that its client did before the signal.
fn last_step(request: &Request, signal: Nanos) -> Option<(&'static str, Nanos)> {
    let steps = [
        ("the first byte of the response", request.first_byte),
        ("its last byte was sent", request.sent),
        ("its head was sent", request.head_sent),
    ];
    let known = steps.into_iter().filter_map(|(what, at)| Some((what, at?)));
    known.filter(|(_, at)| *at <= signal).max_by_key(|(_, at)| *at)
}

fn meaning(phase: Phase) -> &'static str {
    match phase {
        Phase::Finished => "over at the signal",
        Phase::Processing => "read by the server, and not completely answered",
        Phase::Uploading => "its head read, its body still on the way",
        Phase::PartialHead => "a part of its head read",
        Phase::Delivered => "in the receive queue of an accepted connection, unread",
        Phase::Queued => "sent on a connection in the accept queue",
        Phase::ReusedLate => "sent after the signal on a kept connection",
        Phase::ConnectedLate => "sent on a connection begun after the signal",
        Phase::Ambiguous => "not to be ordered against the signal",
    }
}

fn what_happens((report, invariant): (&RunReport, &InvariantReport), best: &Best<'_>) -> String {
    let mut text = format!("\n{}\n", clean(&best.evidence.message));
    if let Some(drawn) = best.trial.and_then(|trial| drawn(trial, &best.evidence.events, WIDTH)) {
        text.push_str(&format!("\n{}", fenced("", &drawn)));
    }
    if let Some(invariant) = invariants::find(&invariant.id) {
        text.push_str(&format!("\nWhy it matters: {}\n\n", invariant.why));
        text.push_str(&format!("Usual cause: {}\n\n", invariant.usual_cause));
        text.push_str(&format!("What may mend it: {}\n", hints::of_target(report, invariant)));
    }
    text
}

/// How to see it again, with nothing but what stands here.
fn again(report: &RunReport, invariant: &InvariantReport, best: &Best<'_>) -> String {
    let Some(entry) = entry(report, invariant, best) else {
        return format!("\nTo see it again:\n\n{}", fenced("sh", &again::run(report)));
    };
    let lacking = again::options(&report.configuration).lacking;
    let lacking = match lacking.is_empty() {
        true => String::new(),
        false => format!(
            "\n`{}` stands for what is not told here, and has to be put there: {}.\n",
            again::PLACEHOLDER,
            clean(&lacking.join("; "))
        ),
    };
    format!(
        "\nTo see it again, save this as `{KNOWN}`:\n\n{}\nand run, where that file is:\n\n{}{lacking}",
        fenced("toml", entry.trim_end()),
        fenced("sh", &again::entry(report, KNOWN)),
    )
}

/// The trial as the file of known failures has it: as it was found when it was run again, else that of
/// the run, of whose rate nothing is known.
fn entry(report: &RunReport, invariant: &InvariantReport, best: &Best<'_>) -> Option<String> {
    if let Some(found) = of(report, invariant) {
        return Some(found.entry.clone());
    }
    let number = best.trial?.number;
    let trial = report.plan.trials.iter().find(|it| it.number == number)?;
    let on = report.started_at.get(..10).unwrap_or(&report.started_at).to_owned();
    let found = Found { on, rate: Rate::default() };
    Some(Regression::of(&invariant.id, trial, found).ok()?.text(&clean(&best.evidence.message)))
}

/// The lines of the history that show it, and where the rest is.
fn lines(best: &Best<'_>, history: Option<&History>) -> String {
    let Some(history) = history else { return String::new() };
    let told = |event: &&Event| {
        let is_frame = matches!(
            event.kind,
            EventKind::Spawned { .. }
                | EventKind::SituationReached
                | EventKind::SignalSending { .. }
                | EventKind::SignalSent { .. }
                | EventKind::Exited { .. }
        );
        is_frame || best.evidence.events.contains(event)
    };
    let told: Vec<&Event> = history.events().iter().filter(told).collect();
    let shown = told.iter().take(LINES_MAX).filter_map(|event| serde_json::to_string(event).ok());
    let shown: Vec<String> = shown.map(|line| clean(&line)).collect();
    let file = best.trial.and_then(|trial| trial.history.as_deref());
    let whole = file.map_or_else(String::new, |file| {
        format!(
            "\nAll {} lines are in `{}` of the run's folder; the command above writes such a history as \
             well (reports/SEED/replay).\n",
            history.events().len(),
            clean(file)
        )
    });
    format!(
        "\n<details><summary>The lines of the history that show it ({} of {})</summary>\n\n{}\n\
         </details>\n{whole}",
        shown.len(),
        history.events().len(),
        fenced("json", &shown.join("\n"))
    )
}
