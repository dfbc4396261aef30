//! What a CI server is told without being asked: annotations and a job's summary.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

use crate::model::run::RunReport;
use crate::report::{github, markdown};

use super::publish::print;

/// Where GitHub Actions runs this program, prints a workflow command a violation, and appends the
/// report to the job's summary. The runner reads commands from both streams; where standard output
/// is for another program, they go to standard error.
pub(super) fn tell(report: &RunReport, stdout_is_free: bool) {
    if env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    let commands = github::render(report);
    if stdout_is_free {
        print(&commands);
    } else {
        let _ = std::io::stderr().write_all(commands.as_bytes());
    }
    let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // A summary that can't be written takes nothing from the verdict.
    let _ = file.and_then(|mut file| file.write_all(markdown::render(report).as_bytes()));
}
