//! Starts a target in a process group of its own, and holds it by a handle that can't be
//! mistaken for another process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::event::ExitStatus;
use crate::model::signal::Signal;
use crate::model::target::Target;
use crate::sys;

use super::cgroup::Cgroup;
use super::end::end_all;
use super::kept::{self, Kept};
use super::tree::{Family, MARKER, ProcessId, is_alive, process_id};

/// A keeper has told how its target ended within microseconds of that; one that was killed never
/// does.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

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
    /// It can't have a PID namespace of its own.
    #[error(
        "cannot run the target as PID 1: this account may make no PID namespace here ({reason})\n  \
         run as root, allow user namespaces (user.max_user_namespaces and\n  \
         kernel.unprivileged_userns_clone, sysctl(8)), or leave out --as-pid-1"
    )]
    Namespace {
        /// What the system said.
        reason: io::Error,
    },
}

/// A running target.
#[derive(Debug)]
pub struct Launched {
    spawned: Instant,
    /// The target itself, or its keeper; none where it was running before.
    child: Option<Child>,
    keeper: Option<Kept>,
    leader: Followed,
    family: Family,
}

/// How a target is started, besides what it is.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Stands for `{port}` in its arguments, and is in its environment as `PORT`.
    pub port: u16,
    /// Tells its processes from those of other trials.
    pub marker: &'a str,
    /// This program, where it may be started as a keeper: then a target that has no control group
    /// of its own gets one.
    pub keeper: Option<&'a Path>,
    /// Whether it is the first process of a PID namespace of its own; that takes a keeper.
    pub as_pid_1: bool,
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
    /// Who tells how it ended, where its parent is not the harness.
    told: Option<watch::Receiver<Option<ExitStatus>>>,
}

/// Both pipes of a target.
#[derive(Debug)]
pub struct Pipes {
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

/// Starts the target.
///
/// # Errors
/// When the program is not there or can't be executed, or can't be started in this way.
pub fn launch(target: &Target, start: &Start<'_>) -> Result<(Launched, Pipes), LaunchError> {
    let with_port = |text: &String| text.replace("{port}", &start.port.to_string());
    let words: Vec<String> = target.command.iter().map(with_port).collect();
    let (program, arguments) = words.split_first().ok_or_else(|| LaunchError::Spawn {
        program: "the target".into(),
        reason: io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"),
        hint: "name a program: shutdown-check ./bin",
    })?;
    let failed = |reason: io::Error| {
        let hint = hint(&reason, target.cwd.as_deref().unwrap_or(Path::new(".")).join(program));
        LaunchError::Spawn { program: program.clone(), reason, hint }
    };
    let group = Cgroup::create(start.marker);
    let keeper = start.keeper.filter(|_| start.as_pid_1 || group.is_none());
    let mut command = match keeper {
        Some(keeper) => kept::command(keeper, start, group.as_ref(), &words),
        None => {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).env(MARKER, start.marker);
            command
        }
    };
    let env = target.env.iter().map(|(name, value)| (name, with_port(value)));
    command
        .env("PORT", start.port.to_string())
        .envs(env)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(cwd) = &target.cwd {
        command.current_dir(cwd);
    }
    sys::start_clean(&mut command);
    let (mut child, kept, pid) = if keeper.is_some() {
        let (child, kept, pid) = Kept::start(command).map_err(|refused| match refused {
            kept::Refused::Namespace(reason) => LaunchError::Namespace { reason },
            kept::Refused::Target(reason) => failed(reason),
        })?;
        (child, Some(kept), pid)
    } else {
        sys::end_with_starter(&mut command);
        if let Some(entrance) = group.as_ref().and_then(|group| group.entrance().ok()) {
            sys::enter_cgroup(&mut command, entrance);
        }
        let child = command.spawn().map_err(failed)?;
        let pid = child.id();
        (child, None, pid)
    };
    let spawned = Instant::now();
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else { unreachable!("both were asked for") };
    let leader = match Followed::new(pid) {
        Ok(leader) => Followed { told: kept.as_ref().map(Kept::told), ..leader },
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(error));
        }
    };
    let group = group.filter(|group| has_entered(group, pid));
    let mut family = Family::new(pid, start.marker.to_owned(), group.map(Arc::new));
    if let Some(kept) = &kept {
        family = family.kept_by(child.id());
        kept.let_go();
    }
    let pipes = Pipes { stdout: stdout.into(), stderr: stderr.into() };
    Ok((Launched { child: Some(child), spawned, keeper: kept, leader, family }, pipes))
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

    /// Takes hold of a process that runs, and stays whatever becomes of this.
    ///
    /// # Errors
    /// When it has ended.
    pub fn running(process: ProcessId) -> io::Result<Self> {
        let leader = Followed::new(process.pid)?;
        if process_id(process.pid) != Some(process) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let family = Family::new(process.pid, String::new(), None);
        Ok(Self { child: None, spawned: Instant::now(), keeper: None, leader, family })
    }

    /// Whether it was started here, and ends with the trial.
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// The process that was started.
    pub fn leader(&self) -> &Followed {
        &self.leader
    }

    /// Asks it to end, by a signal.
    pub fn ask_to_end(&self, signal: Signal) {
        self.leader.send(signal);
    }

    /// The processes that it brought about.
    pub fn family(&mut self) -> &mut Family {
        &mut self.family
    }

    /// Kills whatever of the target is alive, until nothing is; what was not started here is left
    /// alone.
    pub fn kill_all(&mut self) {
        let (family, Some(child)) = (&mut self.family, &mut self.child) else { return };
        if let Some(group) = family.group() {
            group.kill();
        }
        end_all(|| {
            let _ = child.try_wait();
            family.reap();
            family.alive()
        });
    }
}

impl Drop for Launched {
    /// However a trial ends, nothing of its target stays.
    fn drop(&mut self) {
        self.kill_all();
        let Some(child) = &mut self.child else { return };
        match self.keeper.take() {
            // It takes in what was killed, and ends.
            Some(keeper) => drop(keeper),
            None => _ = child.kill(),
        }
        // SIGKILL takes effect within milliseconds; a process that may not be killed (it changed
        // its user) must not hold the harness for ever.
        for _ in 0..1000 {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        let _ = child.try_wait();
        self.family.reap();
    }
}

#[cfg(target_os = "linux")]
impl Followed {
    /// Takes hold of a process; of one that is no child of the harness only the end is seen.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn new(pid: u32) -> io::Result<Self> {
        let handle = sys::readable(sys::pidfd_open(pid)?)?;
        Ok(Self { pid, id: process_id(pid), handle: std::rc::Rc::new(handle), told: None })
    }

    fn send(&self, signal: Signal) {
        let _ = sys::pidfd_send_signal(self.handle.get_ref(), signal);
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
        let Some(mut told) = self.told.clone() else { return self.status() };
        let known = timeout(TOLD_WITHIN, told.wait_for(Option::is_some)).await;
        known.ok()?.ok().and_then(|status| *status)
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
