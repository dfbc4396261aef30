//! Why a process may not be traced, in words.

use std::fs;
use std::io;

use nix::errno::Errno;

/// Why the target's threads can't be followed, and what to do about it.
pub fn why_forbidden(error: &io::Error) -> String {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    because(error, scope.trim(), is_filtered(&status))
}

fn because(error: &io::Error, scope: &str, is_filtered: bool) -> String {
    let is = |errno: Errno| error.raw_os_error() == Some(errno as i32);
    match scope {
        "3" => {
            "this system lets nobody trace a process (kernel.yama.ptrace_scope is 3, and stays so \
                until it is started again)"
                .into()
        }
        "2" if is(Errno::EPERM) => "this system lets only administrators trace processes \
             (kernel.yama.ptrace_scope is 2): run as root, or set it to 1"
            .into(),
        _ if is_filtered && (is(Errno::EPERM) || is(Errno::ENOSYS)) => {
            "a filter forbids ptrace(2) here, as containers do: start the container with \
             --cap-add SYS_PTRACE"
                .into()
        }
        _ if is(Errno::EPERM) => "the target may not be traced: it runs as another user or with \
             privileges of its own, or is being traced already"
            .into(),
        _ => format!("the target can't be traced (ptrace(2)): {error}"),
    }
}

/// Whether a seccomp filter is in force (proc(5)).
fn is_filtered(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_says_what_to_do() {
        let refused = io::Error::from(Errno::EPERM);
        assert!(because(&refused, "2", false).contains("ptrace_scope is 2"));
        assert!(because(&refused, "3", false).contains("nobody"));
        assert!(because(&refused, "1", true).contains("SYS_PTRACE"));
        assert!(because(&refused, "", false).contains("another user"));
        assert!(because(&Errno::ENOSYS.into(), "", true).contains("filter"));
        assert!(because(&Errno::EIO.into(), "0", true).contains("ptrace(2)"));
        assert!(is_filtered("Name:\tx\nSeccomp:\t2\n") && !is_filtered("Seccomp:\t0"));
    }
}
