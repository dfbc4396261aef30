//! Starts a target in a process group of its own, and holds it by a handle that can't be
//! mistaken for another process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::event::ExitStatus;
use crate::model::signal::Signal;
use crate::model::target::Target;
use crate::sys;

use super::cgroup::Cgroup;
use super::tree::{Family, MARKER, ProcessId, is_alive, process_id};

/// The target could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such file, or it can't be executed.
    #[error("cannot start {program}: {reason}\n  {hint}")]
    Spawn {
        /// What was to be started.
        program: String,
        /// What the system said.
        reason: io::Error,
        /// What to do next.
        hint: &'static str,
    },
}

/// A running target.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    spawned: Instant,
    leader: Followed,
    family: Family,
}

/// A process whose end is waited for.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Its number.
    pub pid: u32,
    #[cfg(target_os = "linux")]
    id: Option<ProcessId>,
    #[cfg(target_os = "linux")]
    handle: std::rc::Rc<tokio::io::unix::AsyncFd<OwnedFd>>,
}

/// Both pipes of a target.
#[derive(Debug)]
pub struct Pipes {
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

/// Starts the target; `port` stands for `{port}` in its arguments and is in its environment as
/// `PORT`, and `marker` tells its processes from those of other trials.
///
/// # Errors
/// When the program is not there or can't be executed.
pub fn launch(target: &Target, port: u16, marker: &str) -> Result<(Launched, Pipes), LaunchError> {
    let words: Vec<String> =
        target.command.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
    let (program, arguments) = words.split_first().ok_or_else(|| LaunchError::Spawn {
        program: "the target".into(),
        reason: io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"),
        hint: "name a program: shutdown-check ./bin",
    })?;
    let group = Cgroup::create(marker);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PORT", port.to_string())
        .env(MARKER, marker)
        .envs(
            target
                .env
                .iter()
                .map(|(name, value)| (name, value.replace("{port}", &port.to_string()))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(cwd) = &target.cwd {
        command.current_dir(cwd);
    }
    sys::start_clean(&mut command);
    if let Some(entrance) = group.as_ref().and_then(|group| group.entrance().ok()) {
        sys::enter_cgroup(&mut command, entrance);
    }
    let failed = |reason: io::Error| {
        let hint = hint(&reason, target.cwd.as_deref().unwrap_or(Path::new(".")).join(program));
        LaunchError::Spawn { program: program.clone(), reason, hint }
    };
    let mut child = command.spawn().map_err(failed)?;
    let spawned = Instant::now();
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else { unreachable!("both were asked for") };
    let leader = match Followed::new(child.id()) {
        Ok(leader) => leader,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(error));
        }
    };
    let group = group.filter(|group| has_entered(group, child.id()));
    let family = Family::new(child.id(), marker.to_owned(), group.map(Arc::new));
    let pipes = Pipes { stdout: stdout.into(), stderr: stderr.into() };
    Ok((Launched { child, spawned, leader, family }, pipes))
}

/// Where the kernel did not let the child in, the group is of no use.
fn has_entered(group: &Cgroup, child: u32) -> bool {
    // One that has already ended is in none, and may have left others behind.
    group.processes().contains(&child) || !process_id(child).is_some_and(is_alive)
}

fn hint(error: &io::Error, path: PathBuf) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if path.is_dir() => {
            "it is a directory: name a program in it"
        }
        io::ErrorKind::NotFound => {
            "check the path (a program in this directory is ./bin), --cwd, and its #! line"
        }
        io::ErrorKind::PermissionDenied => "make it executable: chmod +x",
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            "it is no program for this machine; a script needs a first line such as #!/bin/sh"
        }
        _ => "start it by hand to see whether it runs at all",
    }
}

impl Launched {
    /// How long ago its first process began to run: since execve(2), within some microseconds.
    pub fn age(&self) -> Duration {
        self.spawned.elapsed()
    }

    /// The process that was started.
    pub fn leader(&self) -> &Followed {
        &self.leader
    }

    /// Asks it to end, by a signal.
    pub fn ask_to_end(&self, signal: Signal) {
        let _ = send(self.leader.pid, signal);
    }

    /// The processes that it brought about.
    pub fn family(&mut self) -> &mut Family {
        &mut self.family
    }

    /// Kills whatever of the target is alive, until nothing is.
    pub fn kill_all(&mut self) {
        // A process may start another while it is being killed, so that one pass is not enough;
        // a bound, because a hundred passes without an end mean that killing does not help.
        for _ in 0..100 {
            let alive = self.family.alive();
            if alive.is_empty() {
                break;
            }
            if let Some(group) = self.family.group() {
                group.kill();
            }
            for ProcessId { pid, .. } in alive {
                let _ = send(pid, Signal::KILL);
            }
            let _ = self.child.try_wait();
            self.family.reap();
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
    }
}

impl Drop for Launched {
    /// However a trial ends, nothing of its target stays.
    fn drop(&mut self) {
        self.kill_all();
        let _ = self.child.kill();
        // SIGKILL takes effect within milliseconds; a process that may not be killed (it changed
        // its user) must not hold the harness for ever.
        for _ in 0..1000 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.family.reap();
    }
}

fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal.number())?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal)?)
}

#[cfg(target_os = "linux")]
impl Followed {
    /// Takes hold of a process; of one that is no child of the harness only the end is seen.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn new(pid: u32) -> io::Result<Self> {
        let handle = sys::readable(sys::pidfd_open(pid)?)?;
        Ok(Self { pid, id: process_id(pid), handle: std::rc::Rc::new(handle) })
    }

    /// A second handle of the same process, for another thread.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.handle.get_ref().try_clone()
    }

    /// Waits for its end (pidfd_open(2), waitid(2)); `None` when somebody else took its status.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let _ = self.handle.readable().await;
        self.status()
    }

    /// Whether it has ended, whoever takes its status.
    pub fn has_ended(&self) -> bool {
        !self.id.is_some_and(is_alive)
    }

    fn status(&self) -> Option<ExitStatus> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        use std::os::fd::AsFd;

        // WNOWAIT: the child's own handle takes it in when the trial is over.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::PIDFd(self.handle.get_ref().as_fd()), flags) {
            Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus { code: Some(code), signal: None }),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                Some(ExitStatus { code: None, signal: Signal::from_number(signal as i32) })
            }
            _ => None,
        }
    }
}
