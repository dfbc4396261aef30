//! How to see each failure of a run again: by the history of what was seen again, else by that of the
//! smallest trial that shows it.

use std::path::Path;

use crate::model::run::RunReport;
use crate::report::again;

use super::config;

/// Says so in the report, whose histories are in this folder.
pub(super) fn say_how(report: &mut RunReport, folder: &Path) {
    let here = std::env::current_dir().unwrap_or_default();
    let folder = folder.strip_prefix(&here).unwrap_or(folder).to_owned();
    // What is in the repository's file need not be said again; one that can't be read was refused.
    let file = config::read(&here.join(config::DEFAULT_NAME), false).ok().flatten();
    let file = file.unwrap_or_default();
    let has = |name: &str| match name {
        "request" => !file.request.is_empty(),
        "writes" => file.writes.is_some(),
        "target" => !file.target.is_empty(),
        variable => file.env.contains_key(variable),
    };
    let command = |report: &RunReport, history: &str| {
        again::history(report, &folder.join(history).to_string_lossy(), &has)
    };
    for at in 0..report.reproductions.len() {
        let shown = report.reproductions[at].shown.as_ref();
        let history = shown.and_then(|shown| shown.history.clone());
        report.reproductions[at].again = history.map(|history| command(report, &history));
    }
    for at in 0..report.invariants.len() {
        let invariant = &report.invariants[at];
        let mut found = report.reproductions.iter().filter(|it| it.invariant == invariant.id);
        let shrunk = found.find_map(|it| it.again.clone());
        let first = || {
            let number = invariant.evidence.first()?.trial;
            let trial = report.trials.iter().find(|it| it.number == number)?;
            Some(command(report, trial.history.as_ref()?))
        };
        report.invariants[at].again = shrunk.or_else(first);
    }
}
