//! The commands that show a run again, or in another way.

use crate::model::run::RunReport;

use super::super::again;
use super::super::phrases::quoted;

/// One command, and what it is for.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) about: &'static str,
    pub(super) command: String,
}

/// The commands that make sense for this report: those that need the histories, where they are.
pub(super) fn commands(report: &RunReport) -> Vec<Command> {
    let mut all = Vec::new();
    // Histories that are judged again don't tell the seed of their plan.
    if report.duration_ms > 0.0 {
        all.push(Command {
            about: "The same plan, with the same settings",
            command: again::run(report),
        });
    }
    if let Some(folder) = report.histories.as_deref().map(quoted) {
        let replay = (!report.reproductions.is_empty()).then(|| Command {
            about: "All failures of this run, each until its rate is known",
            command: format!("shutdown-check replay {folder}"),
        });
        all.extend(replay);
        all.push(Command {
            about: "Judge what was recorded under other rules",
            command: format!("shutdown-check judge {folder} --profile strict"),
        });
        all.push(Command {
            about: "This report in another format",
            command: format!("shutdown-check report {folder} --format markdown"),
        });
    }
    all
}
