//! What is to be run again: the entries of the regressions file, what a report shows to fail, or what one
//! history does.

use std::path::Path;

use crate::judge::judge;
use crate::model::history::History;
use crate::model::plan::Trial;
use crate::model::reproduction::Rate;
use crate::model::run::RunReport;
use crate::model::verdict::{Severity, VerdictName};

use super::super::failure::Failure;
use super::super::publish::REPORT;
use super::super::regressions::Book;
use super::super::render;
use super::super::store;
use super::recorded::rate_of;
use super::refused;
use super::saved::Recorded;

/// One failure that is to be run again.
pub(super) struct Case {
    pub(super) invariant: String,
    pub(super) trial: Trial,
    /// How often it had failed; never, where that is not known.
    pub(super) recorded: Rate,
    /// Whether the trial says how many connections and kinds of them it had.
    pub(super) is_exact: bool,
}

/// What is to be run again, and what is known of where that comes from.
pub(super) struct Cases {
    pub(super) all: Vec<Case>,
    /// The run that showed them, where its report is there.
    pub(super) recorded: Option<Recorded>,
    /// Why there are none, where there are none.
    pub(super) none: String,
}

/// The entries of the regressions file.
///
/// # Errors
/// When none is read.
pub(super) fn of_book(book: Option<&Book>) -> Result<Cases, Failure> {
    let Some(book) = book else {
        let what = Path::new("known failures");
        return Err(refused(what, "no file of them is read (--no-regressions, --no-config)"));
    };
    let case = |(at, entry): (usize, &crate::model::regressions::Regression)| {
        let (invariant, recorded) = (entry.invariant.clone(), entry.found.rate);
        // Those that can't be understood were refused when the file was read.
        let trial = entry.trial(1 + at as u32).ok()?;
        Some(Case { invariant, recorded, trial, is_exact: true })
    };
    let all = book.entries.iter().enumerate().filter_map(case).collect();
    let lacking = if book.path().exists() { "has no entry" } else { "is not there" };
    let none = format!(
        "{} {lacking} (a report or a history can be named: shutdown-check replay reports/SEED)",
        book.shown_path()
    );
    Ok(Cases { all, recorded: None, none })
}

/// What a report, the folder of a run, or a history shows to fail.
///
/// # Errors
/// When it can't be read, or the trial that was asked for is none.
pub(super) fn of_path(path: &Path, trial: Option<u32>) -> Result<Cases, Failure> {
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        return of_history(path);
    }
    let report = render::read(&render::named(path))?;
    let all = of_report(&report, trial);
    if let (Some(trial), true) = (trial, all.is_empty()) {
        return Err(refused(path, format!("its trial {trial} violates nothing, or is none")));
    }
    let command = report.target.command.clone();
    let none = format!(
        "nothing in {} fails a run (one of its trials can be named: --trial N)",
        path.display()
    );
    Ok(Cases { all, recorded: Some(Recorded { report, command }), none })
}

fn of_history(path: &Path) -> Result<Cases, Failure> {
    let history = store::read(path)?;
    let report = path.with_file_name(REPORT);
    let beside = report.is_file().then(|| render::read(&report)).transpose()?;
    let trial = with_its_request(&history);
    let violated = judge(&history)
        .into_iter()
        .filter(|finding| finding.verdict.outcome() == VerdictName::Violated);
    let case = |finding: crate::model::verdict::Finding| Case {
        invariant: finding.invariant.to_owned(),
        trial: trial.clone(),
        recorded: beside
            .as_ref()
            .map(|report| rate_of(report, finding.invariant, &trial))
            .unwrap_or_default(),
        is_exact: false,
    };
    let all = violated.map(case).collect();
    let command = history.header().command.clone();
    let recorded = beside.map(|report| Recorded { report, command });
    let none = format!("{} violates nothing that could be seen again", path.display());
    Ok(Cases { all, recorded, none })
}

/// The trial of a history, with the request that it asked for, where that was one: which of them suits
/// a situation is known better by what was done than by another rehearsal.
fn with_its_request(history: &History) -> Trial {
    let trial = history.header().trial.clone();
    let mut templates: Vec<u16> = history.requests().map(|(_, it)| it.template).collect();
    templates.sort_unstable();
    templates.dedup();
    let named = match templates[..] {
        [one] if !trial.situation.is_load() => history.contract().requests.get(usize::from(one)),
        _ => None,
    };
    let asks = trial.asks.clone().or_else(|| named.map(|request| request.name.clone()));
    Trial { asks, ..trial }
}

/// The shrunk failures of a report; where there are none, the smallest trial of each; or one trial.
fn of_report(report: &RunReport, trial: Option<u32>) -> Vec<Case> {
    let planned = |number: u32| report.plan.trials.iter().find(|it| it.number == number);
    let once = |invariant: &str, number: u32| {
        let trial = planned(number)?.clone();
        let (invariant, recorded) = (invariant.to_owned(), rate_of(report, invariant, &trial));
        Some(Case { invariant, trial, recorded, is_exact: false })
    };
    if let Some(number) = trial {
        let trial = report.trials.iter().find(|it| it.number == number);
        let violated = trial.iter().flat_map(|trial| &trial.violated);
        return violated.filter_map(|id| once(id, number)).collect();
    }
    let failed = report
        .invariants
        .iter()
        .filter(|it| (it.level, it.verdict) == (Severity::Deny, VerdictName::Violated));
    let shrunk = |id: &str| {
        let found = report.reproductions.iter().find(|it| it.invariant == id)?;
        let (trial, recorded) = (found.trial.clone(), found.rate);
        Some(Case { invariant: id.to_owned(), trial, recorded, is_exact: true })
    };
    failed
        .filter_map(|it| {
            let first = || once(&it.id, it.evidence.first()?.trial);
            shrunk(&it.id).or_else(first)
        })
        .collect()
}
