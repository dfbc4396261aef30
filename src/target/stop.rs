//! Stops every process of a target by SIGSTOP, until no thread of any runs (signal(7)).

#[cfg(target_os = "linux")]
pub(super) use linux::Stopped;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Stopped;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use super::super::hold::HoldError;
    use super::super::tree::{Family, ProcessId, children_of_thread, command_line, stat, state_of};
    use crate::sys;

    /// Stopping takes some 100 microseconds: for this long a wait is eager.
    const EAGER: Duration = Duration::from_micros(500);

    /// Processes that are stopped until this is dropped, the leader first.
    #[derive(Debug)]
    pub(in crate::target) struct Stopped {
        processes: Vec<(ProcessId, OwnedFd)>,
        begun: Instant,
        limit: Duration,
    }

    impl Stopped {
        /// Stops the processes of the family, and those that they start meanwhile.
        pub(in crate::target) fn begin(
            family: &mut Family,
            limit: Duration,
        ) -> Result<Self, HoldError> {
            let mut stopped = Self { processes: Vec::new(), begun: Instant::now(), limit };
            loop {
                // A stopped process starts no other: when all that are known stand still and no
                // new one is found, there is none.
                let mut new = family.alive();
                new.retain(|id| !stopped.processes.iter().any(|(known, _)| known == id));
                if new.is_empty() {
                    break;
                }
                new.sort_by_key(|id| id.pid != family.leader());
                let first = stopped.processes.len();
                for id in new {
                    stopped.stop(id)?;
                }
                for (id, _) in &stopped.processes[first..] {
                    stopped.wait_for(*id)?;
                }
            }
            match stopped.processes.is_empty() {
                true => Err(HoldError::Gone),
                false => Ok(stopped),
            }
        }

        /// How many there are.
        pub(in crate::target) fn processes(&self) -> u32 {
            self.processes.len() as u32
        }

        fn stop(&mut self, id: ProcessId) -> Result<(), HoldError> {
            // By a handle, since a number that was just looked up may be another process's when
            // it is told to go on.
            let stop = |handle: OwnedFd| sys::pidfd_stop(&handle, true).map(|()| handle);
            match sys::pidfd_open(id.pid).and_then(stop) {
                Ok(handle) => self.processes.push((id, handle)),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(reason) => {
                    return Err(HoldError::Refused { process: command_line(id.pid), reason });
                }
            }
            Ok(())
        }

        /// Waits until no thread of a process runs.
        fn wait_for(&self, id: ProcessId) -> Result<(), HoldError> {
            while let Some((thread, state)) = moving(id.pid) {
                let waited = self.begun.elapsed();
                if waited > self.limit {
                    let command = command_line(id.pid);
                    let what =
                        format!("thread {thread} of {command} is in state {state} (proc(5))");
                    return Err(HoldError::Moving { limit: self.limit, what });
                }
                match waited > EAGER {
                    true => std::thread::sleep(Duration::from_micros(50)),
                    false => std::thread::yield_now(),
                }
            }
            Ok(())
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            // Children first: a parent that goes on and asks for stopped ones (waitpid(2),
            // WUNTRACED, as su(1) does) finds none.
            for (_, handle) in self.processes.iter().rev() {
                // Whoever has ended needs no more.
                let _ = sys::pidfd_stop(handle, false);
            }
        }
    }

    /// A thread of the process that does not stand still, and its state.
    fn moving(pid: u32) -> Option<(u32, char)> {
        let stat = stat(pid)?;
        if stat.threads == 1 {
            let thread = PathBuf::from(format!("/proc/{pid}/task/{pid}"));
            return (!is_still(pid, stat.state, &thread)).then_some((pid, stat.state));
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        threads.flatten().find_map(|thread| {
            let text = fs::read_to_string(thread.path().join("stat")).ok()?;
            let state = state_of(&text)?;
            let number = thread.file_name().to_str()?.parse().ok()?;
            (!is_still(pid, state, &thread.path())).then_some((number, state))
        })
    }

    /// Stopped, traced or ended; or waiting in vfork(2) for a child that is stopped before its
    /// execve(2) (dash(1) starts programs that way). It can't be interrupted there, nor does it
    /// come back from there to its program before it is told to go on.
    fn is_still(pid: u32, state: char, thread: &Path) -> bool {
        match state {
            'T' | 't' | 'Z' | 'X' => true,
            // One that waits like that in fork(2) (for cgroups(7), say) may still start a child.
            'D' => children_of_thread(thread).iter().any(|child| {
                // Where nobody can tell, it is more likely that.
                sys::share_memory(pid, *child).unwrap_or_else(|error| is_untold(&error))
            }),
            _ => false,
        }
    }

    fn is_untold(error: &std::io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::time::Duration;

    use super::super::hold::HoldError;
    use super::super::tree::Family;

    /// Never a value.
    #[derive(Debug)]
    pub(in crate::target) enum Stopped {}

    impl Stopped {
        /// Always an error that says so.
        pub(in crate::target) fn begin(_: &mut Family, _: Duration) -> Result<Self, HoldError> {
            Err(HoldError::Unsupported)
        }

        /// Never called, since there is never a value.
        pub(in crate::target) fn processes(&self) -> u32 {
            match *self {}
        }
    }
}
