//! The process of `--pid`: found, or refused before anything is done to it.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::error::UsageError;
use crate::target::tree::{ProcessId, ancestors, is_alive, process_id};

/// The process with this number, where it may be signalled.
///
/// # Errors
/// When it is the first of all, the harness itself or above it, not there, or another user's.
pub(super) fn process(pid: u32) -> Result<ProcessId, UsageError> {
    let refused = |reason: &str| Err(UsageError::Process { pid, reason: reason.into() });
    let own = std::process::id();
    if pid == 1 {
        return refused("it is the first of all processes, and the others end with it");
    }
    if pid == own || ancestors(own).contains(&pid) {
        return refused("it is shutdown-check itself, or has started it");
    }
    // Zero and numbers above are groups to kill(2).
    let Some(number) = i32::try_from(pid).ok().filter(|number| *number > 0) else {
        return refused("there is no such number");
    };
    let Some(process) = process_id(pid).filter(|process| is_alive(*process)) else {
        return refused("there is no such process");
    };
    match kill(Pid::from_raw(number), None) {
        Ok(()) => Ok(process),
        Err(Errno::ESRCH) => refused("there is no such process"),
        Err(error) => refused(&format!("it may not be signalled: {}", error.desc())),
    }
}
