//! A process between the harness and one target: the parent of the target and of all its orphans,
//! which ends with everything below it when the harness is gone.
//!
//! It is this program in another role, so that a target can be kept together where the harness may
//! make no control group (prctl(2), PR_SET_CHILD_SUBREAPER), and made the first process of a PID
//! namespace of its own (pid_namespaces(7)). Its standard input is a socket to the harness, over
//! which it says a line when something has happened; the end of the socket is the end of the target.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, getgid, getuid};

use crate::model::event::ExitStatus;
use crate::model::signal::Signal;
use crate::sys;

use super::end::end_all;
use super::tree::{MARKER, adopt_orphans, descendants_of, process_id};

/// What a keeper is to start, and how.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Whether the target is the first process of a PID namespace of its own.
    pub as_pid_1: bool,
    /// The text by which its processes are known.
    pub marker: String,
    /// The control group that it is started in.
    pub group: Option<PathBuf>,
    /// Program and arguments.
    pub command: Vec<OsString>,
}

/// What a keeper tells the harness, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The target runs under this number.
    Started(u32),
    /// It could not be started: the system's error.
    NotStarted(i32),
    /// It could not have a namespace of its own: the system's error.
    NoNamespace(i32),
    /// It has ended.
    Ended(ExitStatus),
}

/// The role of the keeper, until the harness closes its end of the socket.
pub fn keep(keeping: &Keeping) -> ExitCode {
    let harness = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut harness) = harness else { return ExitCode::FAILURE };
    let (pid, children) = match start(keeping) {
        Ok(started) => started,
        Err(failure) => {
            let _ = writeln!(harness, "{failure}");
            return ExitCode::FAILURE;
        }
    };
    let _ = writeln!(harness, "{}", Told::Started(pid));
    // Whoever reads the target's output waits until the last writer is gone.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = dup2_stdout(&null).and_then(|()| dup2_stderr(&null));
    }
    // A target that ends at once is not taken in before the harness has a handle of it.
    if harness.read_exact(&mut [0]).is_ok() {
        while reap(pid, &mut harness) && wait(&harness, &children) {}
    }
    if let Some(own) = process_id(std::process::id()) {
        end_all(|| {
            reap(pid, &mut harness);
            descendants_of(own)
        });
    }
    ExitCode::SUCCESS
}

/// Starts the target; its number, and what tells of children that end.
fn start(keeping: &Keeping) -> Result<(u32, SignalFd), Told> {
    let failed = |error: io::Error| Told::NotStarted(error.raw_os_error().unwrap_or(libc::EIO));
    adopt_orphans();
    sys::keep_exit_statuses();
    // Signals to the keeper are for nobody: the target is signalled itself.
    let all = SigSet::all();
    all.thread_block().map_err(|error| failed(error.into()))?;
    let child = SigSet::from(NixSignal::SIGCHLD);
    let children = SignalFd::with_flags(&child, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| failed(error.into()))?;
    let (program, arguments) =
        keeping.command.split_first().ok_or(Told::NotStarted(libc::EINVAL))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env(MARKER, &keeping.marker);
    sys::start_clean(&mut command);
    sys::end_with_starter(&mut command);
    let entrance = |group: &PathBuf| File::options().write(true).open(group.join("cgroup.procs"));
    if let Some(entrance) = keeping.group.as_ref().and_then(|group| entrance(group).ok()) {
        sys::enter_cgroup(&mut command, entrance);
    }
    if keeping.as_pid_1 {
        let refused =
            |error: io::Error| Told::NoNamespace(error.raw_os_error().unwrap_or_default());
        make_namespace().map_err(refused)?;
        sys::start_as_first(&mut command);
    } else {
        command.process_group(0);
    }
    command.spawn().map(|child| (child.id(), children)).map_err(failed)
}

/// Makes the next child the first process of a new PID namespace, whose mounts are its own; for
/// an ordinary user in a user namespace that has this user and nobody else (user_namespaces(7)).
fn make_namespace() -> io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match unshare(flags) {
        Err(Errno::EPERM) => {
            unshare(flags | CloneFlags::CLONE_NEWUSER)?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        }
        done => done?,
    }
    // What is mounted there is seen by nobody else.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(None::<&Path>, "/", None::<&Path>, private, None::<&Path>)?)
}

/// Takes in the children that have ended, and tells of the target; whether the harness listens.
fn reap(target: u32, harness: &mut UnixStream) -> bool {
    let mut listens = true;
    loop {
        let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                (pid, ExitStatus { code: Some(code), signal: None })
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                (pid, ExitStatus { code: None, signal: Signal::from_number(signal as i32) })
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return listens,
            Ok(_) => continue,
        };
        if pid == Pid::from_raw(target as i32) {
            listens = writeln!(harness, "{}", Told::Ended(status)).is_ok();
        }
    }
}

/// Waits until a child has ended, or the harness is gone; whether it is still there.
fn wait(harness: &UnixStream, children: &SignalFd) -> bool {
    let mut watched = [
        PollFd::new(harness.as_fd(), PollFlags::POLLIN),
        PollFd::new(children.as_fd(), PollFlags::POLLIN),
    ];
    let _ = poll(&mut watched, PollTimeout::NONE);
    // The harness says no more: whatever comes is its end.
    let is_gone = watched[0].any() == Some(true);
    while children.read_signal().is_ok_and(|signal| signal.is_some()) {}
    !is_gone
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Started(pid) => write!(f, "started {pid}"),
            Told::NotStarted(error) => write!(f, "not-started {error}"),
            Told::NoNamespace(error) => write!(f, "no-namespace {error}"),
            Told::Ended(ExitStatus { signal: Some(signal), .. }) => {
                write!(f, "signalled {}", signal.number())
            }
            Told::Ended(status) => write!(f, "exited {}", status.code.unwrap_or_default()),
        }
    }
}

impl FromStr for Told {
    type Err = ();
    fn from_str(line: &str) -> Result<Self, ()> {
        let (what, number) = line.trim_end().split_once(' ').ok_or(())?;
        let number: i32 = number.parse().map_err(|_| ())?;
        Ok(match what {
            "started" => Told::Started(u32::try_from(number).map_err(|_| ())?),
            "not-started" => Told::NotStarted(number),
            "no-namespace" => Told::NoNamespace(number),
            "exited" => Told::Ended(ExitStatus { code: Some(number), signal: None }),
            "signalled" => {
                Told::Ended(ExitStatus { code: None, signal: Signal::from_number(number) })
            }
            _ => return Err(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_keeper_says_is_understood() {
        let exited = ExitStatus { code: Some(3), signal: None };
        let ended = ExitStatus { code: None, signal: Some(Signal::KILL) };
        for told in [
            Told::Started(12),
            Told::NotStarted(libc::ENOENT),
            Told::NoNamespace(libc::EPERM),
            Told::Ended(exited),
            Told::Ended(ended),
        ] {
            assert_eq!(format!("{told}\n").parse(), Ok(told));
        }
        assert_eq!("".parse::<Told>(), Err(()));
        assert_eq!("started x".parse::<Told>(), Err(()));
    }
}
