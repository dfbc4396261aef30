//! This program as a child, to its end.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as NixSignal, kill};
use nix::unistd::Pid;

use crate::sys::{end_with_starter, start_clean};

/// How often a child is asked whether it has ended.
const TICK: Duration = Duration::from_millis(20);
/// A child that was asked to end, and has not after this time, is killed; its guardian then ends its
/// targets.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// Variables that would have a child tell a CI server of what its parent is to judge.
const OF_CI: [&str; 2] = ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"];

/// What a child has said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// On standard output.
    pub stdout: String,
    /// On standard error.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// Runs the command, which is this program with its options, to its end.
///
/// When the user asks for that, the child is asked too, and ends its targets itself; should this
/// thread end, the child is killed, and its guardian ends them.
///
/// # Errors
/// When it can't be started.
pub fn run(mut command: Command, is_asked: &dyn Fn() -> bool) -> io::Result<Said> {
    command
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
    let (stdout, stderr, status) = thread::scope(|scope| {
        let stdout = scope.spawn(|| text(stdout));
        let stderr = scope.spawn(|| text(stderr));
        wait(&mut child, is_asked).map(|status| (stdout.join(), stderr.join(), status))
    })?;
    let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
    Ok(Said { stdout, stderr, status })
}

/// Waits for the end of a child, and hands the user's wish on, once.
fn wait(child: &mut Child, is_asked: &dyn Fn() -> bool) -> io::Result<ExitStatus> {
    let mut asked_at: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked_at {
            None if is_asked() => {
                asked_at = Some(Instant::now());
                // Not reaped yet, so that the number is still its own.
                let _ = kill(Pid::from_raw(child.id() as i32), NixSignal::SIGTERM);
            }
            Some(at) if at.elapsed() > ENDS_WITHIN => _ = child.kill(),
            _ => {}
        }
        thread::sleep(TICK);
    }
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is all there is.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
