//! One run over a bundled server: this program as a child, told to write its report as JSON.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::cli::child::{self, Said};
use crate::model::run::RunReport;
use crate::trial::interrupt::Interrupt;

use super::table::Line;

/// What came of a run.
#[derive(Debug)]
pub enum Tried {
    /// It came to a verdict.
    Report(Box<RunReport>),
    /// It did not, and said this.
    Nothing(String),
}

/// Runs the program over a line's server, so many rounds of it, so many trials at the same time. When the user asks for the end, the child is asked too,
/// and ends its targets itself; should this process be killed, the child is, and its guardian ends
/// them.
///
/// # Errors
/// When the program can't be started.
pub fn try_once(
    line: &Line,
    program: &Path,
    (rounds, parallel): (usize, u16),
    interrupt: &Interrupt,
) -> io::Result<Tried> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program);
    command
        .args([
            "--no-config",
            "--no-regressions",
            "--shrink-budget",
            "0s",
            "--no-progress",
            "--format",
            "json",
            "--reports-dir",
        ])
        .arg(folder.path())
        .args(["--parallel", &parallel.to_string()])
        .args(line.words(&program.display().to_string(), rounds));
    let Said { stdout, stderr, .. } = child::run(command, &|| interrupt.asked().is_some())?;
    Ok(match serde_json::from_str(&stdout) {
        Ok(report) => Tried::Report(report),
        Err(_) if !stderr.is_empty() => Tried::Nothing(stderr),
        Err(error) => Tried::Nothing(format!("its report can't be read: {error}")),
    })
}

/// What a run says where it leaves something undecided since the harness itself was too late.
pub fn busy(report: &RunReport) -> Option<&str> {
    let mut reasons = report.invariants.iter().filter_map(|invariant| invariant.reason.as_deref());
    reasons.find(|reason| reason.contains("too busy to tell"))
}
