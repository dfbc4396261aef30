//! The thread that traces, and those that it traces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::tree::{Family, state_of};
use super::calls::known;
use super::story::{Doing, Maybe, Step, Story};
use super::{News, Standstill, Watch};
use crate::model::syscall::SyscallPoint;
use crate::sys::{self, GoOn, SyscallStop, TraceStop};

/// A thread that waits for a device does not stop, and is not waited for any longer.
const ARMED_WITHIN: Duration = Duration::from_millis(300);
/// Stops come within microseconds of each other: so many looks are eager, and then there is a pause.
const EAGER: u32 = 40;
const PAUSE: Duration = Duration::from_micros(30);
/// A stop by the tracer itself, or by a signal that stops the whole process (ptrace(2)).
const EVENT_STOP: i32 = 128;
const AT_SYSCALL: i32 = libc::SIGTRAP | 0x80;

/// Follows the threads of a target, until it is dropped.
#[derive(Debug)]
pub struct Tracer {
    is_over: Arc<AtomicBool>,
    lets_go: Arc<OnceLock<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Begins to follow all threads of a target; what it has to tell, until it lets them go.
    ///
    /// # Errors
    /// When no thread can be started, or the kernel can't be asked about connections.
    pub fn start(family: Family, watch: Watch) -> io::Result<(Self, UnboundedReceiver<News>)> {
        let story = Story::begin(watch.reach, watch.server, watch.kept)?;
        let (tell, told) = unbounded_channel();
        let (is_over, lets_go): (Arc<AtomicBool>, Arc<OnceLock<Duration>>) = Default::default();
        let tracing = Tracing {
            until: Instant::now() + watch.limit,
            watch,
            story,
            threads: BTreeMap::new(),
            arming: BTreeSet::new(),
            maybes: Vec::new(),
            staying: Vec::new(),
            held: BTreeSet::new(),
            tell,
            is_over: is_over.clone(),
            lets_go: lets_go.clone(),
        };
        let thread = std::thread::Builder::new().name("tracer".into());
        let thread = Some(thread.spawn(move || tracing.run(family))?);
        Ok((Self { is_over, lets_go, thread }, told))
    }

    /// Lets all threads go after this time; until then, those that do not stand still run freely.
    pub fn let_go_after(&self, time: Duration) {
        let _ = self.lets_go.set(time);
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It looks every few microseconds.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the tracing thread knows.
struct Tracing {
    watch: Watch,
    story: Story,
    until: Instant,
    threads: BTreeMap<u32, Option<Doing>>,
    /// Those whose first stop is yet to come.
    arming: BTreeSet<u32>,
    /// Those that stand still until the request was sent.
    maybes: Vec<(u32, Maybe)>,
    /// Those that stay a while at a point.
    staying: Vec<(u32, Instant)>,
    /// Those that stand still at the point that was looked for.
    held: BTreeSet<u32>,
    tell: UnboundedSender<News>,
    is_over: Arc<AtomicBool>,
    lets_go: Arc<OnceLock<Duration>>,
}

impl Tracing {
    /// Follows the threads; its end lets them go.
    fn run(mut self, family: Family) {
        let _ = nix::sys::prctl::set_timerslack(1);
        if let Err(error) = self.seize_all(family) {
            let _ = self.tell.send(News::Refused(error));
            return;
        }
        let begun = Instant::now();
        let (mut is_armed, mut idle) = (false, 0);
        let mut lets_go_at = None;
        while !self.is_over.load(Ordering::SeqCst) && Instant::now() < self.until {
            if !is_armed && (self.arming.is_empty() || begun.elapsed() > ARMED_WITHIN) {
                is_armed = true;
                let _ = self.tell.send(News::Armed);
            }
            if let Some(time) = self.lets_go.get()
                && Instant::now() >= *lets_go_at.get_or_insert_with(|| Instant::now() + *time)
            {
                return;
            }
            match sys::next_trace_stop() {
                Ok(Some(stop)) => {
                    idle = 0;
                    self.stopped(stop);
                }
                Ok(None) => idle += 1,
                // All of them have ended.
                Err(_) => return,
            }
            self.look_at_maybes();
            self.look_at_staying();
            if idle > EAGER {
                take_in_threads(&self.threads);
                std::thread::sleep(PAUSE);
            } else if idle > 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Takes hold of all threads, until there is no new one.
    fn seize_all(&mut self, mut family: Family) -> io::Result<()> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        loop {
            let alive = family.alive();
            let all: BTreeSet<u32> = alive.iter().flat_map(|id| threads_of(id.pid)).collect();
            let new: Vec<u32> =
                all.into_iter().filter(|tid| !self.threads.contains_key(tid)).collect();
            if new.is_empty() {
                return match self.threads.is_empty() {
                    true => Err(nix::errno::Errno::ESRCH.into()),
                    false => Ok(()),
                };
            }
            for tid in new {
                let pid = Pid::from_raw(tid as i32);
                match ptrace::seize(pid, options).and_then(|()| ptrace::interrupt(pid)) {
                    Ok(()) => _ = self.arming.insert(tid),
                    Err(nix::errno::Errno::ESRCH) => {}
                    // A thread that another one has started meanwhile is followed already, and one
                    // that has ended can't be.
                    Err(nix::errno::Errno::EPERM) if is_followed_here(tid) || is_over(tid) => {}
                    Err(error) => return Err(error.into()),
                }
                self.threads.insert(tid, None);
            }
        }
    }

    /// A thread has stopped: it is looked why, and it goes on unless it is to stay.
    fn stopped(&mut self, stop: TraceStop) {
        let TraceStop { tid, signal, event } = stop;
        self.arming.remove(&tid);
        self.threads.entry(tid).or_default();
        match (event, signal) {
            (0, AT_SYSCALL) => self.at_syscall(tid),
            // What the signal does to it, it does.
            (0, signal) => self.go_on(tid, signal),
            (EVENT_STOP, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) => {
                let _ = sys::trace_on(tid, GoOn::Stopped, 0);
            }
            _ => self.go_on(tid, 0),
        }
    }

    fn at_syscall(&mut self, tid: u32) {
        let step = match sys::syscall_stop(tid) {
            Ok(Some(SyscallStop::Entry { number, arguments })) => {
                let (doing, step) = match known(number, &arguments) {
                    Some(known) => self.story.enters(tid, known),
                    None => (None, Step::Nothing),
                };
                self.threads.insert(tid, doing);
                step
            }
            Ok(Some(SyscallStop::Exit { result })) => {
                match self.threads.get(&tid).copied().flatten() {
                    Some(doing) => self.story.leaves(tid, doing, result),
                    None => Step::Nothing,
                }
            }
            Ok(None) | Err(_) => Step::Nothing,
        };
        match step {
            Step::At(point) => self.is_at(tid, point),
            Step::Maybe(maybe) => self.maybes.push((tid, maybe)),
            Step::Nothing => self.go_on(tid, 0),
        }
    }

    /// Those that stand still until the request was sent.
    fn look_at_maybes(&mut self) {
        if self.maybes.is_empty() {
            return;
        }
        if !self.story.is_asked() {
            let Some(client) = (self.watch.asked)() else { return };
            self.story.asked(client);
        }
        for (tid, maybe) in std::mem::take(&mut self.maybes) {
            match self.story.is_at(tid, maybe) {
                Some(point) => self.is_at(tid, point),
                None => self.go_on(tid, 0),
            }
        }
    }

    fn look_at_staying(&mut self) {
        let now = Instant::now();
        let due = self.staying.extract_if(.., |(_, until)| *until <= now);
        let due: Vec<u32> = due.map(|(tid, _)| tid).collect();
        due.into_iter().for_each(|tid| self.go_on(tid, 0));
    }

    /// A thread is at a point of the story.
    fn is_at(&mut self, tid: u32, point: SyscallPoint) {
        let _ = self.tell.send(News::Seen(point));
        if self.watch.stop_at == Some(point) && self.lets_go.get().is_none() {
            if self.held.is_empty() {
                let call = self.threads.get(&tid).copied().flatten().map_or("", |it| it.name);
                let pid = process_of(tid).unwrap_or(tid);
                let _ = self.tell.send(News::Stopped(Standstill { point, pid, tid, call }));
            }
            self.held.insert(tid);
        } else if self.watch.stay > Duration::ZERO {
            self.staying.push((tid, Instant::now() + self.watch.stay));
        } else {
            self.go_on(tid, 0);
        }
    }

    fn go_on(&self, tid: u32, signal: i32) {
        let how = if self.lets_go.get().is_some() { GoOn::Freely } else { GoOn::ToSyscall };
        // Whoever has been killed meanwhile needs no more.
        let _ = sys::trace_on(tid, how, signal);
    }
}

/// Takes in the threads that have ended: as long as one is left, nobody learns that its process has
/// ended. The first of a process is then handed on to its parent by the kernel (ptrace(2)), but
/// where that is this program, whoever waits for it takes it in.
fn take_in_threads(threads: &BTreeMap<u32, Option<Doing>>) {
    let flags = WaitPidFlag::WEXITED
        | WaitPidFlag::WNOHANG
        | WaitPidFlag::WNOWAIT
        | WaitPidFlag::__WALL
        | WaitPidFlag::__WNOTHREAD;
    while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) =
        waitid(Id::All, flags)
    {
        let tid = pid.as_raw() as u32;
        let is_first = process_of(tid).is_none_or(|process| process == tid);
        let is_own = status_number(tid, "PPid:").is_none_or(|it| it == std::process::id());
        if (is_first && is_own) || !threads.contains_key(&tid) {
            return;
        }
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL));
    }
}

fn threads_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect()
}

/// The process of a thread.
fn process_of(tid: u32) -> Option<u32> {
    status_number(tid, "Tgid:")
}

/// Whether it is this thread that traces one.
fn is_followed_here(tid: u32) -> bool {
    let own = nix::unistd::gettid().as_raw() as u32;
    status_number(tid, "TracerPid:")
        .is_some_and(|tracer| tracer == own || process_of(tracer) == Some(std::process::id()))
}

/// Whether a thread has ended and was not taken in yet.
fn is_over(tid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
    state_of(&stat).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

fn status_number(tid: u32, field: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}
