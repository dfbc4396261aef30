//! What a process would do with a signal just now, as `/proc` shows it (signal(7), proc(5)).
//!
//! That a process catches a signal says nothing of what its handler does: some runtimes catch it
//! always, and then die of it.
//!
//! Elsewhere than on Linux there is no such `/proc`, and of no process anything is seen.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::event::{Disposition, ProcessSeen};
use crate::model::signal::Signal;

/// What each of these processes would do with the signal, were it sent to the process as a whole
/// (kill(2)); those that have ended are left out.
///
/// `leader` is the process that was started, and `listeners` are those that hold the listening
/// socket.
pub fn dispositions(
    processes: impl IntoIterator<Item = u32>,
    signal: Signal,
    leader: u32,
    listeners: &BTreeSet<u32>,
) -> Vec<ProcessSeen> {
    let look = |pid| {
        let process = Path::new("/proc").join(format!("{pid}"));
        let status = Status::read(&process, signal)?;
        let disposition = disposition(&process, pid, &status, signal);
        let (leader, listener) = (pid == leader, listeners.contains(&pid));
        Some(ProcessSeen { pid, name: status.name, leader, listener, disposition })
    };
    let mut seen: Vec<ProcessSeen> = processes.into_iter().filter_map(look).collect();
    for _ in 0..SECOND_LOOKS {
        if !seen.iter().any(is_blocked) {
            break;
        }
        std::thread::sleep(PAUSE);
        let again = |last: ProcessSeen| if is_blocked(&last) { look(last.pid) } else { Some(last) };
        seen = seen.into_iter().filter_map(again).collect();
    }
    seen
}

/// Whether some code of the process's gets the signal: a handler, or a thread that waits for it.
pub fn handles(pid: u32, signal: Signal) -> bool {
    let process = Path::new("/proc").join(format!("{pid}"));
    let taken = [Disposition::Caught, Disposition::Awaited, Disposition::Descriptor];
    Status::read(&process, signal)
        .is_some_and(|status| taken.contains(&disposition(&process, pid, &status, signal)))
}

/// Whether the first thread of a process takes the signal: the kernel prefers it then.
pub fn first_thread_takes(pid: u32, signal: Signal) -> bool {
    let process = Path::new("/proc").join(format!("{pid}"));
    Status::read(&process, signal).is_some_and(|it| !it.has_ended && !it.is_blocked)
}

/// Shells and posix_spawn(3) block all signals for as long as they start a program: what seems to
/// be blocked is looked at again before it is believed.
const SECOND_LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_micros(500);

fn is_blocked(seen: &ProcessSeen) -> bool {
    seen.disposition == Disposition::Blocked
}

/// The kernel's order (complete_signal() in kernel/signal.c): the first thread takes the signal
/// unless it blocks it, else any that does not; one that waits for it takes it before the handler
/// or the default action would.
fn disposition(process: &Path, pid: u32, status: &Status, signal: Signal) -> Disposition {
    let first = Thread::of(process, pid, status, signal);
    match first {
        Thread::Waits => return Disposition::Awaited,
        Thread::Takes => return status.action(),
        Thread::Blocks => {}
    }
    let others = threads(process).into_iter().filter(|thread| *thread != pid);
    let others: BTreeSet<Thread> = others
        .filter_map(|thread| {
            let status = Status::read(&process.join("task").join(thread.to_string()), signal)?;
            Some(Thread::of(process, thread, &status, signal))
        })
        .collect();
    // Where one waits and another takes it as it comes, either may get it.
    match (others.contains(&Thread::Waits), others.contains(&Thread::Takes)) {
        (true, _) => Disposition::Awaited,
        (false, true) => status.action(),
        (false, false) if reads_by_descriptor(process, signal) => Disposition::Descriptor,
        (false, false) => Disposition::Blocked,
    }
}

/// What a thread would do with a signal to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thread {
    /// Leave it to others.
    Blocks,
    /// Take it, as its process has it.
    Takes,
    /// Take it as what it waits for.
    Waits,
}

impl Thread {
    fn of(process: &Path, thread: u32, status: &Status, signal: Signal) -> Self {
        // While a thread waits for signals, the kernel has them unblocked, but not while it is
        // held still in that.
        let directory = process.join("task").join(thread.to_string());
        match status {
            Status { has_ended: true, .. } => Thread::Blocks,
            _ if waits(process, &directory, signal) => Thread::Waits,
            Status { is_blocked: true, .. } => Thread::Blocks,
            _ => Thread::Takes,
        }
    }
}

/// What is needed of a `status`: that of a process is that of its first thread.
#[derive(Debug)]
struct Status {
    name: String,
    has_ended: bool,
    is_blocked: bool,
    is_ignored: bool,
    is_caught: bool,
}

impl Status {
    fn read(directory: &Path, signal: Signal) -> Option<Self> {
        // A name need not be UTF-8.
        let text = fs::read(directory.join("status")).ok()?;
        Self::parse(&String::from_utf8_lossy(&text), signal)
    }

    fn parse(text: &str, signal: Signal) -> Option<Self> {
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(":\t")?.to_owned());
            text.lines().find_map(value)
        };
        let has = |name| Some(contains(u64::from_str_radix(&field(name)?, 16).ok()?, signal));
        Some(Self {
            name: field("Name")?,
            has_ended: field("State")?.starts_with(['Z', 'X']),
            is_blocked: has("SigBlk")?,
            is_ignored: has("SigIgn")?,
            is_caught: has("SigCgt")?,
        })
    }

    fn action(&self) -> Disposition {
        match (self.is_caught, self.is_ignored) {
            (true, _) => Disposition::Caught,
            (false, true) => Disposition::Ignored,
            (false, false) => Disposition::Default,
        }
    }
}

/// Sets of signals have the bit of signal 1 first.
fn contains(set: u64, signal: Signal) -> bool {
    set >> (signal.number() - 1) & 1 == 1
}

/// Whether the thread is in sigwait(3), sigwaitinfo(2) or sigtimedwait(2) for this signal.
fn waits(process: &Path, thread: &Path, signal: Signal) -> bool {
    match fs::read_to_string(thread.join("syscall")) {
        Ok(call) => {
            let mut words = call.split(' ');
            let number = words.next().and_then(|number| number.parse().ok());
            // The first argument is where the set is.
            let mut set = || awaited(process, words.next()?);
            number == Some(SIGTIMEDWAIT) && set().is_none_or(|set| contains(set, signal))
        }
        // Only who may trace it may ask for that (ptrace(2)); where it sleeps shows as much.
        Err(_) => fs::read_to_string(thread.join("wchan"))
            .is_ok_and(|place| place.contains("sigtimedwait")),
    }
}

fn awaited(process: &Path, address: &str) -> Option<u64> {
    let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
    let mut set = [0; 8];
    File::open(process.join("mem")).ok()?.read_exact_at(&mut set, address).ok()?;
    Some(u64::from_ne_bytes(set))
}

#[cfg(target_os = "linux")]
const SIGTIMEDWAIT: libc::c_long = libc::SYS_rt_sigtimedwait;
#[cfg(not(target_os = "linux"))]
const SIGTIMEDWAIT: libc::c_long = libc::c_long::MAX;

/// Whether the process has a descriptor from which it could read this signal (signalfd(2)).
fn reads_by_descriptor(process: &Path, signal: Signal) -> bool {
    let is_one = |link: &PathBuf| {
        fs::read_link(link).is_ok_and(|target| target == Path::new("anon_inode:[signalfd]"))
    };
    let has_signal = |link: PathBuf| {
        let text = fs::read_to_string(process.join("fdinfo").join(link.file_name()?)).ok()?;
        let set = text.lines().find_map(|line| line.strip_prefix("sigmask:\t"))?;
        Some(contains(u64::from_str_radix(set.trim(), 16).ok()?, signal))
    };
    let Ok(entries) = fs::read_dir(process.join("fd")) else { return false };
    let links = entries.flatten().map(|entry| entry.path());
    links.filter(is_one).filter_map(has_signal).any(|has| has)
}

fn threads(process: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(process.join("task")) else { return Vec::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(number).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use nix::sys::signal::{SigSet, Signal as Number};
    use nix::sys::signalfd::SignalFd;

    use super::*;

    /// Plays a process that takes its signals in one of the ways that no shell has.
    #[test]
    fn plays_a_role() {
        let Ok(role) = std::env::var("SIGNAL_ROLE") else { return };
        let set =
            SigSet::from(if role.ends_with("usr1") { Number::SIGUSR1 } else { Number::SIGTERM });
        let descriptor = SignalFd::new(&set).unwrap();
        for _ in 0..8 {
            std::thread::spawn(forever);
        }
        std::io::stdout().write_all(b"ready\n").unwrap();
        match role.split('-').next() {
            Some("sigwait") => _ = set.wait(),
            Some("signalfd") => _ = descriptor.read_signal(),
            Some("unblocking") => set.thread_unblock().unwrap(),
            role => unreachable!("{role:?}"),
        }
        drop(descriptor);
        forever();
    }

    fn forever() {
        std::thread::sleep(Duration::from_secs(600));
    }

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A process that was started with these signals blocked, and has said that it is set up.
    fn start(command: &mut Command, blocked: SigSet) -> Ended {
        // A mask is inherited, by all threads.
        blocked.thread_block().unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        blocked.thread_unblock().unwrap();
        let mut child = Ended(child);
        child.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn shell(script: &str, blocked: SigSet) -> Ended {
        start(Command::new("sh").args(["-c", script]), blocked)
    }

    fn role(name: &str) -> Ended {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "observe::dispositions::tests::plays_a_role", "--nocapture"]);
        let blocked = SigSet::from_iter([Number::SIGTERM, Number::SIGUSR1]);
        start(command.env("SIGNAL_ROLE", name), blocked)
    }

    fn seen(child: &Ended) -> ProcessSeen {
        let pid = child.0.id();
        dispositions([pid], Signal::TERM, pid, &BTreeSet::new()).pop().unwrap()
    }

    /// The role is played a moment after its process has started.
    fn comes_to(child: &Ended, expected: Disposition) {
        let begun = Instant::now();
        while seen(child).disposition != expected {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?}, not {expected:?}",
                seen(child)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn handlers_and_masks_are_seen() {
        let (none, term) = (SigSet::empty(), SigSet::from(Number::SIGTERM));
        for (script, blocked, expected) in [
            ("echo; exec sleep 600", none, Disposition::Default),
            ("trap '' TERM; echo; exec sleep 600", none, Disposition::Ignored),
            ("trap : TERM; echo; while :; do sleep 1; done", none, Disposition::Caught),
            ("echo; exec sleep 600", term, Disposition::Blocked),
        ] {
            comes_to(&shell(script, blocked), expected);
        }
    }

    #[test]
    fn a_thread_that_waits_is_seen() {
        let child = role("sigwait");
        comes_to(&child, Disposition::Awaited);
        let pid = nix::unistd::Pid::from_raw(child.0.id() as i32);
        nix::sys::signal::kill(pid, Number::SIGSTOP).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(seen(&child).disposition, Disposition::Awaited, "also while it is held");
    }

    #[test]
    fn a_thread_that_waits_for_another_signal_does_not_count() {
        let child = role("sigwait-usr1");
        let pid = child.0.id();
        let usr1 = Signal::from_number(libc::SIGUSR1).unwrap();
        let of_usr1 = || dispositions([pid], usr1, pid, &BTreeSet::new())[0].disposition;
        let begun = Instant::now();
        while of_usr1() != Disposition::Awaited {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", of_usr1());
        }
        assert_eq!(seen(&child).disposition, Disposition::Blocked);
    }

    #[test]
    fn a_descriptor_is_seen_if_it_is_for_this_signal() {
        comes_to(&role("signalfd"), Disposition::Descriptor);
        let other = role("signalfd-usr1");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(seen(&other).disposition, Disposition::Blocked);
    }

    #[test]
    fn one_thread_that_does_not_block_it_is_enough() {
        comes_to(&role("unblocking"), Disposition::Default);
    }

    #[test]
    fn a_process_is_described() {
        let child = shell("echo; exec sleep 600", SigSet::empty());
        let pid = child.0.id();
        let expected = ProcessSeen {
            pid,
            name: "sleep".into(),
            leader: false,
            listener: true,
            disposition: Disposition::Default,
        };
        let named = || dispositions([pid], Signal::TERM, 1, &[pid].into());
        while named()[0].name == "sh" {
            std::thread::yield_now();
        }
        assert_eq!(named(), [expected]);
        drop(child);
        assert_eq!(named(), []);
    }

    #[test]
    fn a_status_is_read() {
        let text = "Name:\ta: b\nState:\tS (sleeping)\nSigBlk:\t0000000000004000\n\
                    SigIgn:\t0000000000001000\nSigCgt:\t0000000000004002\n";
        let status = Status::parse(text, Signal::TERM).unwrap();
        assert_eq!(status.name, "a: b");
        assert!(status.is_blocked && status.is_caught && !status.is_ignored && !status.has_ended);
        assert!(Status::parse("Name:\tx\n", Signal::TERM).is_none());
    }

    #[test]
    #[ignore = "a measurement: cargo test --lib -- --ignored --nocapture a_look_takes"]
    fn how_long_a_look_takes() {
        let none = SigSet::empty();
        for (what, child) in [
            ("1 thread, default", shell("echo; exec sleep 600", none)),
            ("1 thread, ignored", shell("trap '' TERM; echo; exec sleep 600", none)),
            ("10 threads, sigwait", role("sigwait")),
            ("10 threads, signalfd", role("signalfd")),
            ("1 thread, blocked", shell("echo; exec sleep 600", SigSet::from(Number::SIGTERM))),
        ] {
            std::thread::sleep(Duration::from_millis(50));
            let time = |_| {
                let begun = Instant::now();
                std::hint::black_box(seen(&child));
                begun.elapsed()
            };
            let mut times: Vec<_> = (0..300).map(time).collect();
            times.sort();
            let [min, p50, p99] = [0, 150, 296].map(|at| times[at].as_micros());
            println!("{what:22} {min:>5} {p50:>5} {p99:>5} us");
        }
    }
}
