//! One run over a bundled server: this program as a child, told to write its report as JSON.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::Pid;

use crate::model::run::RunReport;
use crate::sys::{end_with_starter, start_clean};
use crate::trial::interrupt::Interrupt;

use super::table::Line;

/// How often a child is asked whether it has ended.
const TICK: Duration = Duration::from_millis(20);
/// Variables that would have a child tell a CI server of violations that are meant to be there.
const OF_CI: [&str; 2] = ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"];

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
        .args(line.words(&program.display().to_string(), rounds))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in the terminal is for this process, which hands it on.
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("SHUTDOWN_CHECK_") || OF_CI.contains(&&*name) {
            command.env_remove(name);
        }
    }
    start_clean(&mut command);
    end_with_starter(&mut command);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let stdout = scope.spawn(|| text(stdout));
        let stderr = scope.spawn(|| text(stderr));
        wait(&mut child, interrupt).map(|()| (stdout.join(), stderr.join()))
    })?;
    let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
    Ok(match serde_json::from_str(&stdout) {
        Ok(report) => Tried::Report(report),
        Err(_) if !stderr.is_empty() => Tried::Nothing(stderr),
        Err(error) => Tried::Nothing(format!("its report can't be read: {error}")),
    })
}

/// Waits for the end of a child, and hands the user's wish on, once.
fn wait(child: &mut Child, interrupt: &Interrupt) -> io::Result<()> {
    let mut was_asked = false;
    while child.try_wait()?.is_none() {
        if interrupt.asked().is_some() && !was_asked {
            was_asked = true;
            // Not reaped yet, so that the number is still its own.
            let _ = kill(Pid::from_raw(child.id() as i32), NixSignal::SIGTERM);
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is all there is.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a run says where it leaves something undecided since the harness itself was too late.
pub fn busy(report: &RunReport) -> Option<&str> {
    let mut reasons = report.invariants.iter().filter_map(|invariant| invariant.reason.as_deref());
    reasons.find(|reason| reason.contains("too busy to tell"))
}
