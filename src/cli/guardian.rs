//! A small process that outlives the harness by a moment, and ends what is left of its targets.
//!
//! SIGKILL can't be handled, and a target's children don't end with it. The guardian reads from
//! a pipe which process groups live; when the pipe ends, the harness is gone, and so must they
//! be.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::target::tree::{MARKER, processes_with};
use crate::target::{cgroup, folder};
use crate::trial::subject::Guard;

/// The harness's end of the pipe.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Guardian {
    /// Starts this program in the role of the guardian of a run.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(run_id: &str) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["guardian", run_id])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal goes to the harness's group, and not to this one.
            .process_group(0)
            .spawn()?;
        let pipe = Mutex::new(child.stdin.take());
        Ok(Self { child, pipe })
    }

    fn tell(&self, line: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            let _ = pipe.write_all(line.as_bytes());
        }
    }
}

impl Guard for Guardian {
    fn launched(&self, leader: u32) {
        self.tell(&format!("+{leader}\n"));
    }

    fn ended(&self, leader: u32) {
        self.tell(&format!("-{leader}\n"));
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        *self.pipe.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.child.wait();
    }
}

/// The role of the guardian: waits for the end of the pipe, then ends what is left.
pub fn guard(run_id: &str) -> ExitCode {
    let mut groups = BTreeSet::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", leader)) => _ = leader.parse::<i32>().map(|leader| groups.insert(leader)),
            Some(("-", leader)) => _ = leader.parse::<i32>().map(|leader| groups.remove(&leader)),
            _ => {}
        }
    }
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        // Not every process of a target leads a group.
        let _ = kill(Pid::from_raw(group), Signal::SIGKILL);
    }
    // A process may have started another one meanwhile, so that one pass is not enough.
    for _ in 0..20 {
        let left = processes_with(&format!("{MARKER}={run_id}-"));
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
    cgroup::remove_all_of_run(run_id);
    folder::remove_all_of_run(run_id);
    ExitCode::SUCCESS
}
