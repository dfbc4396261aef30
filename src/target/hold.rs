//! Holds all processes of a target still while something is set up around it, and lets them go.
//!
//! The freezer of the target's control group does it where there is one (cgroups(7), version 2),
//! else SIGSTOP to each process (signal(7)), which needs no privilege. Either makes system calls
//! that wait fail with EINTR when the target goes on; SIGSTOP is seen by a parent that asks for it
//! (waitpid(2), WUNTRACED).
//!
//! Elsewhere than on Linux nothing shows whether all threads stand still, and nothing is held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::event::HeldBy;

use super::cgroup::Cgroup;
use super::stop::Stopped;
use super::tree::{Family, is_alive};

/// A process that does not stand still after this time waits for a device, or for a child that is
/// held before its execve(2).
const LIMIT: Duration = Duration::from_secs(2);

/// A target that is held still, until this is dropped.
#[derive(Debug)]
pub struct Hold {
    /// How many processes are held.
    pub processes: u32,
    /// By what.
    pub by: HeldBy,
    /// From the search for the processes to the last thread's stillness.
    pub took: Duration,
    _held: Held,
}

/// What lets go when it is dropped.
#[derive(Debug)]
enum Held {
    Frozen(#[expect(dead_code, reason = "it is dropped")] Frozen),
    Stopped(#[expect(dead_code, reason = "it is dropped")] Stopped),
}

/// The target can't be held still; it has been let go.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// None of its processes is left.
    #[error("no process of the target is left to be held still")]
    Gone,
    /// A process may not be stopped, since it is another user's by now.
    #[error("cannot stop {process}: {reason}")]
    Refused {
        /// The process.
        process: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// It can't be frozen.
    #[error("cannot freeze the target's control group: {0}")]
    Freezer(std::io::Error),
    /// A thread went on, or new processes came all the time.
    #[error("the target did not stand still within {limit:?}: {what}")]
    Moving {
        /// How long was waited.
        limit: Duration,
        /// Who did not.
        what: String,
    },
    /// This way is not to be had: no control group, or not Linux.
    #[error("the target has no control group of its own, or this system no way to look")]
    Unsupported,
}

impl Hold {
    /// Holds the target still, by the best way there is. Blocks until all of it is, which takes
    /// well below a millisecond for most, and two seconds at most.
    ///
    /// # Errors
    /// When that can't be done; then all of it goes on.
    pub fn begin(family: &mut Family) -> Result<Self, HoldError> {
        match Self::begin_by(family, HeldBy::Cgroup) {
            // A process has left the group, or the kernel will not: it can still be stopped.
            Err(HoldError::Unsupported | HoldError::Freezer(_)) => {
                Self::begin_by(family, HeldBy::Stop)
            }
            begun => begun,
        }
    }

    /// Holds the target still by this way and no other.
    ///
    /// # Errors
    /// When that can't be done; then all of it goes on.
    pub fn begin_by(family: &mut Family, by: HeldBy) -> Result<Self, HoldError> {
        let begun = Instant::now();
        match by {
            HeldBy::Stop => {
                let stopped = Stopped::begin(family, LIMIT)?;
                let (processes, took) = (stopped.processes(), begun.elapsed());
                Ok(Self { processes, by, took, _held: Held::Stopped(stopped) })
            }
            HeldBy::Cgroup => {
                let group = family.group().cloned().ok_or(HoldError::Unsupported)?;
                if !is_whole(&group, family)? {
                    return Err(HoldError::Unsupported);
                }
                let frozen = Frozen::begin(group)?;
                let took = begun.elapsed();
                let processes = frozen.group.processes().len() as u32;
                Ok(Self { processes, by, took, _held: Held::Frozen(frozen) })
            }
        }
    }

    /// Lets the target go on, as dropping does.
    pub fn release(self) {}
}

/// Whether no process of the family is outside its group, as those are that a session manager
/// has moved to a group of its own (pam_systemd(8)).
fn is_whole(group: &Cgroup, family: &mut Family) -> Result<bool, HoldError> {
    let alive = family.alive();
    if alive.is_empty() {
        return Err(HoldError::Gone);
    }
    // Asked later, it has those that have been started meanwhile, too, but not those that have
    // ended.
    let inside = group.processes();
    Ok(alive.iter().all(|process| inside.contains(&process.pid) || !is_alive(*process)))
}

/// A control group that is frozen until this is dropped.
#[derive(Debug)]
struct Frozen {
    group: Arc<Cgroup>,
}

impl Frozen {
    fn begin(group: Arc<Cgroup>) -> Result<Self, HoldError> {
        // Made first, so that whatever fails, the group is let go.
        let frozen = Self { group };
        match frozen.group.freeze(true, LIMIT) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let what = "its control group is still not frozen".to_owned();
                Err(HoldError::Moving { limit: LIMIT, what })
            }
            done => done.map(|()| frozen).map_err(HoldError::Freezer),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The kernel wakes all of them before it returns.
        let _ = self.group.set_frozen(false);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use super::super::tree::state_of;
    use super::*;
    use crate::sys;

    /// A target that is killed when the test is over.
    struct Target {
        child: Child,
        family: Family,
    }

    impl Drop for Target {
        fn drop(&mut self) {
            for process in self.family.alive() {
                let pid = nix::unistd::Pid::from_raw(process.pid as i32);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
    }

    /// Starts a program that says by a byte when it is set up.
    fn target(marker: &str, command: &mut Command) -> Target {
        let group = Cgroup::create(&format!("test-{}-hold-{marker}", std::process::id()));
        if let Some(group) = &group {
            sys::enter_cgroup(command, group.entrance().unwrap());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let family = Family::new(child.id(), "none".into(), group.map(Arc::new));
        Target { child, family }
    }

    fn shell(marker: &str, script: &str) -> Target {
        target(marker, Command::new("sh").args(["-c", script]))
    }

    /// Both ways, or the one that there is here.
    fn ways(target: &Target) -> Vec<HeldBy> {
        let cgroup = target.family.group().map(|_| HeldBy::Cgroup);
        [Some(HeldBy::Stop), cgroup].into_iter().flatten().collect()
    }

    /// The states of all threads of all processes.
    fn states(family: &mut Family) -> BTreeSet<char> {
        let threads = family.alive().into_iter().flat_map(|process| {
            std::fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten()
        });
        let stats = threads.filter_map(|at| std::fs::read_to_string(at.path().join("stat")).ok());
        stats.filter_map(|stat| state_of(&stat)).collect()
    }

    /// Only a parent that waits for a child's execve(2) can't be stopped, nor go on.
    fn assert_stopped(family: &mut Family) {
        let states = states(family);
        assert!(states.contains(&'T') && states.is_subset(&['T', 'D'].into()), "{states:?}");
    }

    fn ticks(target: &Target) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", target.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    #[test]
    fn a_busy_process_stands_still_and_goes_on() {
        let mut target = shell("busy", "echo; while :; do :; done");
        for by in ways(&target) {
            let hold = Hold::begin_by(&mut target.family, by).unwrap();
            assert_eq!((hold.processes, hold.by), (1, by));
            let before = ticks(&target);
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(ticks(&target), before, "{by:?}");
            hold.release();
            let begun = Instant::now();
            while ticks(&target) == before {
                assert!(begun.elapsed() < Duration::from_secs(5), "{by:?}: it does not go on");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn all_processes_and_threads_are_held() {
        let script = "sleep 600 & setsid sh -c 'sleep 600 & echo; sleep 600; :' & wait";
        let mut target = shell("all", script);
        for by in ways(&target) {
            let hold = Hold::begin_by(&mut target.family, by).unwrap();
            assert!((4..=5).contains(&hold.processes), "{hold:?}");
            if by == HeldBy::Stop {
                assert_stopped(&mut target.family);
            }
            drop(hold);
            assert!(!states(&mut target.family).contains(&'T'), "{by:?}: dropped, it lets go");
        }
    }

    #[test]
    fn processes_that_start_others_all_the_time_are_held() {
        let storm = "echo; for i in 1 2 3; do (while :; do sleep 0.001; done) & done; wait";
        let mut target = shell("storm", storm);
        for by in ways(&target) {
            for _ in 0..20 {
                // One that is just ending is in no group any more: then all are stopped.
                let hold = match by {
                    HeldBy::Cgroup => Hold::begin(&mut target.family).unwrap(),
                    HeldBy::Stop => Hold::begin_by(&mut target.family, by).unwrap(),
                };
                let (held, before) = (hold.processes, target.family.alive());
                std::thread::sleep(Duration::from_millis(5));
                assert_eq!(target.family.alive(), before, "{by:?}");
                assert!(held as usize >= before.len(), "{by:?}");
                hold.release();
            }
        }
    }

    #[test]
    fn of_a_target_that_has_ended_nothing_is_held() {
        let mut target = shell("ended", "echo");
        target.child.wait().unwrap();
        let error = Hold::begin(&mut target.family).unwrap_err();
        assert!(matches!(error, HoldError::Gone), "{error}");
    }

    #[test]
    fn a_process_outside_the_group_is_held_as_well() {
        let mut target = shell("outside", "echo; sleep 600; :");
        let Some(group) = target.family.group().cloned() else { return };
        let outside = group.path.parent().unwrap().join("cgroup.procs");
        std::fs::write(outside, target.child.id().to_string()).unwrap();
        let hold = Hold::begin(&mut target.family).unwrap();
        assert_eq!(hold.by, HeldBy::Stop);
        assert_stopped(&mut target.family);
    }

    /// The role of a process with many threads, for the test below.
    #[test]
    fn many_threads() {
        let Ok(threads) = std::env::var("HOLD_THREADS") else { return };
        for _ in 0..threads.parse::<u32>().unwrap() {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
        }
        eprint!(".");
        std::thread::sleep(Duration::from_secs(600));
    }

    #[test]
    #[ignore = "a measurement: cargo test --lib -- --ignored --nocapture hold_takes"]
    fn how_long_a_hold_takes() {
        for count in [1, 4, 40] {
            let mut command = Command::new("sh");
            let own = std::env::current_exe().unwrap();
            command.args([
                "-c",
                "exec \"$0\" --exact target::hold::tests::many_threads --nocapture 2>&1",
            ]);
            command.arg(own).env("HOLD_THREADS", count.to_string());
            let mut threads = target(&format!("threads-{count}"), &mut command);
            std::thread::sleep(Duration::from_millis(50));
            measure(&format!("{count} threads"), &mut threads);
            let script = format!(
                "i=1; while [ $i -lt {count} ]; do sleep 600 & i=$((i+1)); done; echo; wait"
            );
            let mut processes = match count {
                1 => shell("one", "echo; exec sleep 600"),
                _ => shell(&format!("processes-{count}"), &script),
            };
            measure(&format!("{count} processes"), &mut processes);
        }
    }

    fn measure(what: &str, target: &mut Target) {
        for by in ways(target) {
            let (mut took, mut let_go) = (Vec::new(), Vec::new());
            for _ in 0..300 {
                let hold = Hold::begin_by(&mut target.family, by).unwrap();
                took.push(hold.took);
                let begun = Instant::now();
                hold.release();
                let_go.push(begun.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            for (name, mut times) in [("took", took), ("release", let_go)] {
                times.sort();
                let us = |at: usize| times[at].as_micros();
                println!("{what:14} {by:?} {name:8} {:>6} {:>6} {:>6} us", us(0), us(150), us(296));
            }
        }
    }
}
