//! A small process that outlives the harness by a moment, and ends what is left of its targets.
//!
//! SIGKILL can't be handled, and a target's children don't end with it. The guardian reads from
//! a pipe which processes live; when the pipe ends, the harness is gone, and so must they
//! be.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::target::end::end_all;
use crate::target::tree::{
    MARKER, ProcessId, descendants_of, is_alive, process_id, processes_with,
};
use crate::target::{cgroup, folder, own};
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
        let mut child = own::command(&std::env::current_exe()?)
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
    fn launched(&self, ProcessId { pid, started }: ProcessId) {
        self.tell(&format!("+{pid} {started}\n"));
    }

    fn ended(&self, ProcessId { pid, started }: ProcessId) {
        self.tell(&format!("-{pid} {started}\n"));
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
    let mut told = BTreeSet::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", process)) => told.extend(process_of(process)),
            Some(("-", process)) => _ = process_of(process).map(|it| told.remove(&it)),
            _ => {}
        }
    }
    cgroup::remove_all_of_run(run_id);
    let marked = format!("{MARKER}={run_id}-");
    end_all(|| {
        let marked = processes_with(&marked).into_iter().filter_map(process_id);
        let descendants = told.iter().copied().flat_map(descendants_of);
        let alive: BTreeSet<_> = told.iter().copied().chain(descendants).chain(marked).collect();
        alive.into_iter().filter(|process| is_alive(*process)).collect()
    });
    cgroup::remove_all_of_run(run_id);
    folder::remove_all_of_run(run_id);
    ExitCode::SUCCESS
}

/// A process as it was told of: its number and its start, so that no other is taken for it.
fn process_of(text: &str) -> Option<ProcessId> {
    let (pid, started) = text.split_once(' ')?;
    Some(ProcessId { pid: pid.parse().ok()?, started: started.parse().ok()? })
}
