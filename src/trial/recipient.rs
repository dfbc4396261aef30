//! Who gets a signal.

use std::io;
use std::os::fd::OwnedFd;

use crate::model::signal::Signal;
use crate::observe::dispositions::first_thread_takes;
use crate::sys;
use crate::target::tree::members_of_group;

/// Who gets a signal.
#[derive(Debug)]
pub enum Recipient {
    /// One process.
    Process {
        /// Its number.
        pid: u32,
        /// Its handle.
        handle: OwnedFd,
    },
    /// Every process of a group.
    Group {
        /// The number of the group.
        group: u32,
    },
}

/// A process that stands still when it is signalled, or of which a thread does (at a system call).
///
/// The kernel prefers the first thread, but one that is stopped, frozen or traced it passes over, and
/// one that goes on may take a signal that was meant for another. Runtimes rely on the first one being
/// met: the handler of Python's signal module runs there, and waits there for as long as another thread
/// had the signal and that one sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingStill {
    /// Its first thread takes the signal, and so is to have it.
    FirstThread(u32),
    /// Its first thread blocks the signal, or has ended: any other may have it.
    AnyThread(u32),
}

impl Recipient {
    /// The number of the process, or of the group's leader.
    pub fn number(&self) -> u32 {
        match self {
            Recipient::Process { pid, .. } => *pid,
            Recipient::Group { group } => *group,
        }
    }

    /// Its processes one by one, for a signal that comes while they stand still; none where no first
    /// thread is to have it, so that it can be sent as usual.
    pub fn standing_still(&self, signal: Signal) -> Vec<StandingStill> {
        let all = match self {
            Recipient::Process { pid, .. } => vec![*pid],
            Recipient::Group { group } => members_of_group(*group),
        };
        let thread = |pid| match first_thread_takes(pid, signal) {
            true => StandingStill::FirstThread(pid),
            false => StandingStill::AnyThread(pid),
        };
        let mut all: Vec<_> = all.into_iter().map(thread).collect();
        if !all.iter().any(|it| matches!(it, StandingStill::FirstThread(_))) {
            all.clear();
        }
        all
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// ESRCH when there is nobody any more, EPERM when it may not be signalled.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        match self {
            Recipient::Process { handle, .. } => sys::pidfd_send_signal(handle, signal),
            Recipient::Group { group } => {
                let group = nix::unistd::Pid::from_raw(*group as i32);
                Ok(nix::sys::signal::killpg(group, posix(signal)?)?)
            }
        }
    }
}

impl StandingStill {
    fn send(self, signal: Signal) -> io::Result<()> {
        match self {
            StandingStill::FirstThread(pid) => sys::signal_first_thread(pid, signal),
            StandingStill::AnyThread(pid) => {
                let process = nix::unistd::Pid::from_raw(pid as i32);
                Ok(nix::sys::signal::kill(process, posix(signal)?)?)
            }
        }
    }
}

/// Sends it to each of them. Held still, none takes a step before the last one has it; at a system
/// call, where the others run, a process of a group that is forked meanwhile gets none.
///
/// # Errors
/// When none could be signalled, as killpg(2): why the last of them could not.
pub fn send_to_each(all: &[StandingStill], signal: Signal) -> io::Result<()> {
    let sent = all.iter().map(|one| one.send(signal));
    sent.reduce(Result::or).unwrap_or(Err(io::Error::from_raw_os_error(libc::ESRCH)))
}

fn posix(signal: Signal) -> io::Result<nix::sys::signal::Signal> {
    Ok(nix::sys::signal::Signal::try_from(signal.number())?)
}
