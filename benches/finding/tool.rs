//! Runs of the tool until its first denied violation.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use shutdown_check::model::run::RunReport;
use shutdown_check::model::verdict::VerdictName;

use super::Outcome;
use super::estimate::{Finding, Run};
use super::options::Options;
use super::servers::{PROGRAM, Server};

/// A quick page and one that takes its time; what is lost fails a run, whatever the phase. A run
/// has one trial at a time, so that their order is what it seems.
const USUAL: [&str; 17] = [
    "--no-config",
    "--no-regressions",
    "--shrink-budget",
    "0s",
    "--no-progress",
    "--fail-fast",
    "--profile",
    "strict",
    "--deadline",
    "6s",
    "--parallel",
    "1",
    "--path",
    "/",
    "--path",
    "/sleep?ms=200",
    "--env",
];

/// Runs with seeds of their own, several at the same time.
pub(crate) fn measure(server: &Server, words: &[&str], options: &Options) -> Outcome<Finding> {
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.side_by_side.min(options.repetitions) {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::SeqCst) < options.repetitions {
                    let run = once(server, words).map_err(|error| error.to_string());
                    runs.lock().expect("no thread panics").push(run);
                }
            });
        }
    });
    let runs: Result<Vec<Run>, String> = runs.into_inner()?.into_iter().collect();
    Ok(Finding::of_runs(&runs?))
}

fn once(server: &Server, words: &[&str]) -> Outcome<Run> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(PROGRAM);
    command
        .args(USUAL)
        .arg("JOB_MS=50")
        .args(words)
        .args(&server.options)
        .args(["--format", "json", "--reports-dir"])
        .arg(folder.path())
        .stdin(Stdio::null());
    if let Some(dir) = &server.dir {
        command.arg("--cwd").arg(dir);
    }
    let output = command.arg("--").args(&server.command).output()?;
    let report: RunReport = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr).trim()))?;
    let is_found = report.verdict == VerdictName::Violated;
    Ok(Run {
        is_found,
        trials: first(&report).unwrap_or(report.trials.len() as u32),
        seconds: report.duration_ms / 1e3,
    })
}

/// The place of the first trial that violates something, in the order in which they were begun.
/// What takes several trials to tell, as with repeated signals, is known with the last.
fn first(report: &RunReport) -> Option<u32> {
    let violating = |number: u32| {
        let mut found = report.trials.iter().filter(|trial| trial.number == number);
        found.find(|it| it.verdict == VerdictName::Violated && !it.control && !it.aside)
    };
    let mut begun = report.plan.trials.iter().enumerate();
    let (place, trial) =
        begun.find_map(|(place, trial)| Some((place, violating(trial.number)?)))?;
    let place = if trial.signals.len() > 1 { report.trials.len() } else { place + 1 };
    u32::try_from(place).ok()
}
