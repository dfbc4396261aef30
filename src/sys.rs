//! The system calls that have no safe wrapper: the only module with `unsafe` in it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(target_os = "linux")]
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::model::signal::Signal;

/// Opens a handle of a process that stays with that process, whatever becomes of its number
/// (pidfd_open(2)).
///
/// # Errors
/// ESRCH when there is no such process; ENOSYS before Linux 5.3.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is new, and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the process behind a handle (pidfd_send_signal(2)).
///
/// # Errors
/// ESRCH when it has ended, EPERM when it may not be signalled.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_send_signal(pidfd: impl AsFd, signal: Signal) -> io::Result<()> {
    send_by_pidfd(pidfd.as_fd(), signal.number())
}

/// Stops the process behind a handle, or lets it go on: SIGSTOP or SIGCONT (signal(7)).
///
/// # Errors
/// ESRCH when it has ended, EPERM when it may not be signalled.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_stop(pidfd: impl AsFd, stop: bool) -> io::Result<()> {
    send_by_pidfd(pidfd.as_fd(), if stop { libc::SIGSTOP } else { libc::SIGCONT })
}

#[cfg(target_os = "linux")]
fn send_by_pidfd(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    let done = unsafe {
        let (fd, no_info) = (pidfd.as_raw_fd(), std::ptr::null::<()>());
        libc::syscall(libc::SYS_pidfd_send_signal, fd, number, no_info, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to the first thread of a process (tgkill(2)).
///
/// # Errors
/// ESRCH when it has ended, EPERM when it may not be signalled.
#[cfg(target_os = "linux")]
pub(crate) fn signal_first_thread(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = pid as libc::pid_t;
    // SAFETY: the call takes three integers.
    match unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, signal.number()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether two processes share their memory, as a child of vfork(2) does until its execve(2)
/// (kcmp(2), KCMP_VM).
///
/// # Errors
/// ENOSYS where the kernel was built without it, EPERM when they may not be looked at, ESRCH when one
/// has ended.
#[cfg(target_os = "linux")]
pub(crate) fn share_memory(one: u32, other: u32) -> io::Result<bool> {
    const KCMP_VM: libc::c_int = 1;
    let (one, other) = (one as libc::pid_t, other as libc::pid_t);
    // SAFETY: the call takes five integers, of which it reads no memory.
    match unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) } {
        0 => Ok(true),
        1.. => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets a task wait until a descriptor can be read, as a pidfd can when its process has ended.
///
/// # Errors
/// When it can't be polled (epoll_ctl(2)); outside a tokio runtime it panics.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    let interest = tokio::io::Interest::READABLE;
    // SAFETY: an OwnedFd keeps the same descriptor open for as long as it lives.
    unsafe { tokio::io::unix::AsyncFd::register_with_interest(fd, interest) }
        .map_err(io::Error::from)
}

/// Makes the command start its child as if from a clean shell: default signal dispositions and an
/// empty mask, the usual limits, no descriptor but the standard three.
///
/// A shell's `&` leaves SIGINT ignored and nohup(1) SIGHUP, and both survive execve(2): a target
/// started that way would seem to ignore a signal that it never had a chance to see.
pub(crate) fn start_clean(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and calls async-signal-safe functions only.
    unsafe { command.pre_exec(clean_after_fork) };
}

/// Makes the command's child end with the thread that started it, by SIGKILL (prctl(2),
/// PR_SET_PDEATHSIG).
pub(crate) fn end_with_starter(command: &mut Command) {
    let bind = || {
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and only calls prctl(2).
    unsafe { command.pre_exec(bind) };
}

/// Makes the command's child, the first process of a PID namespace that its starter has made, lead
/// a session of its own and see only that namespace in `/proc`, as in a container.
#[cfg(target_os = "linux")]
pub(crate) fn start_as_first(command: &mut Command) {
    let settle = || {
        nix::unistd::setsid()?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Ok(mount(Some(c"proc"), c"/proc", Some(c"proc"), flags, None::<&std::ffi::CStr>)?)
    };
    // SAFETY: the closure runs between fork and exec, allocates nothing and only calls setsid(2)
    // and mount(2).
    unsafe { command.pre_exec(settle) };
}

/// Gives the calling thread, and whatever it starts from now on, a network of its own, in which
/// nothing but the loopback interface is (network_namespaces(7), netdevice(7)).
///
/// # Errors
/// EPERM for ordinary users.
#[cfg(target_os = "linux")]
pub(crate) fn own_network() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: zero is a valid value of each of its fields.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the structure lives through the call, which only reads it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the command's child enter a control group before it becomes the program, so that
/// nothing of the program is ever outside (cgroups(7)); `procs` is the group's `cgroup.procs`.
///
/// Where it may not, it is started all the same.
pub(crate) fn enter_cgroup(command: &mut Command, procs: File) {
    let enter = move || {
        // Zero stands for the process that writes it; write(2) is async-signal-safe.
        let _ = nix::unistd::write(&procs, b"0");
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec and only calls write(2).
    unsafe { command.pre_exec(enter) };
}

fn clean_after_fork() -> io::Result<()> {
    for number in 1..32 {
        // SAFETY: SIG_DFL is a valid disposition; SIGKILL and SIGSTOP fail without effect.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // The harness leaves SIGINT and SIGTERM to one of its threads by blocking them in all others,
    // and a mask survives execve(2) as well.
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    let limit = LIMIT_AT_START.load(Ordering::SeqCst);
    if limit != u64::MAX {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?;
    }
    #[cfg(target_os = "linux")]
    {
        let keep_others_closed = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        // SAFETY: plain integers; it only sets a flag on descriptors. Best effort, since kernels
        // before 5.11 don't know it.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, keep_others_closed) };
    }
    Ok(())
}

/// The limit of open files that this process was started with, where it has raised its own.
static LIMIT_AT_START: AtomicU64 = AtomicU64::new(u64::MAX);

/// Makes sure that this process may have so many open files; targets are started with the limit
/// that it had before (setrlimit(2)).
///
/// # Errors
/// The hard limit, where that is lower.
pub(crate) fn allow_descriptors(needed: u64) -> Result<(), u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    if needed > hard {
        return Err(hard);
    }
    if needed > soft && setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_ok() {
        LIMIT_AT_START.fetch_min(soft, Ordering::SeqCst);
    }
    Ok(())
}

/// How many open files a target may have, and how many this process at most (getrlimit(2)).
pub(crate) fn descriptor_limits() -> (u64, u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    (soft.min(LIMIT_AT_START.load(Ordering::SeqCst)), hard)
}

/// Lets the harness learn how its children end, also when it was started with SIGCHLD ignored
/// (wait(2): they would be taken in unseen).
pub(crate) fn keep_exit_statuses() {
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Has writes to a pipe that nobody reads fail instead of ending the process, as Rust's `main` does
/// before it begins.
pub(crate) fn outlive_readers() {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Has a function run before `main`, in whatever program this crate is linked into (the ELF
/// specification's initialization functions).
macro_rules! before_main {
    ($function:path) => {
        #[cfg(target_os = "linux")]
        #[allow(unsafe_code)]
        const _: () = {
            // SAFETY: the section is an array of pointers to functions of this type, which may take no
            // arguments; the standard library's own comes first, as its priority says.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = $function;
        };
    };
}
pub(crate) use before_main;

/// Whether a signal was ignored when this process was started, as nohup(1) does with SIGHUP.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    // SAFETY: with no new action the call only writes the current one, which is zeroed first.
    let current = unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal.number(), std::ptr::null(), &mut current);
        current
    };
    current.sa_sigaction == libc::SIG_IGN
}

/// Gives the calling thread real-time priority, or takes it away again (sched_setscheduler(2)).
///
/// # Errors
/// EPERM for most ordinary users.
#[cfg(target_os = "linux")]
pub(crate) fn set_realtime(on: bool) -> io::Result<()> {
    let (policy, priority) = if on { (libc::SCHED_FIFO, 50) } else { (libc::SCHED_OTHER, 0) };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the structure lives through the call; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A stop of a thread that the calling thread traces (ptrace(2)).
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceStop {
    /// The thread.
    pub(crate) tid: u32,
    /// The signal that it stopped with: 0x80 more than SIGTRAP at a system call.
    pub(crate) signal: i32,
    /// Which event stopped it (PTRACE_EVENT_...); 0 where none did.
    pub(crate) event: i32,
}

/// The next stop of any thread that the calling thread traces, where there is one now. Nobody is
/// taken in that has ended, and nobody else's children are asked for (waitid(2)).
///
/// Not by nix: it knows no real-time signals, and would lose the stop that one causes.
///
/// # Errors
/// ECHILD when there is nobody.
#[cfg(target_os = "linux")]
pub(crate) fn next_trace_stop() -> io::Result<Option<TraceStop>> {
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: the structure is zeroed, which is valid, and lives through the call.
    let (done, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        (libc::waitid(libc::P_ALL, 0, &mut info, flags), info)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid(2) fills in these fields; without a stop they are zero.
    let (tid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let stop = TraceStop { tid: tid as u32, signal: status & 0xff, event: status >> 8 };
    Ok((tid != 0).then_some(stop))
}

/// How a thread that is traced and stopped goes on.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// To its next system call.
    ToSyscall,
    /// Until something else happens.
    Freely,
    /// Not at all: it stays stopped by its signal until it is continued (PTRACE_LISTEN).
    Stopped,
}

/// Lets a thread that is traced and stopped go on, with a signal or with none (0).
///
/// Not by nix: it knows no real-time signals.
///
/// # Errors
/// ESRCH when it has ended, or was not stopped.
#[cfg(target_os = "linux")]
pub(crate) fn trace_on(tid: u32, how: GoOn, signal: i32) -> io::Result<()> {
    let request = match how {
        GoOn::ToSyscall => libc::PTRACE_SYSCALL,
        GoOn::Freely => libc::PTRACE_CONT,
        GoOn::Stopped => libc::PTRACE_LISTEN,
    };
    let (address, signal) = (std::ptr::null_mut::<u8>(), i64::from(signal));
    // SAFETY: these requests take two numbers and no memory.
    let done = unsafe { libc::ptrace(request, tid as libc::pid_t, address, signal) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a thread does that has stopped at a system call (PTRACE_GET_SYSCALL_INFO).
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyscallStop {
    /// It is about to make this one.
    Entry {
        /// The number of the call.
        number: i64,
        /// Its arguments.
        arguments: [u64; 6],
    },
    /// It has made one.
    Exit {
        /// What the call gave: an error's number, negative, where it failed.
        result: i64,
    },
}

/// What a thread does that has stopped at a system call; nothing of a call that is not of this
/// machine's own kind, as those of 32-bit programs are.
///
/// # Errors
/// ESRCH when it has ended; EIO before Linux 5.3.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn syscall_stop(tid: u32) -> io::Result<Option<SyscallStop>> {
    #[cfg(target_arch = "x86_64")]
    const OWN_ARCH: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const OWN_ARCH: u32 = 0xc000_00b7;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    const OWN_ARCH: u32 = 0;
    let info = nix::sys::ptrace::syscall_info(nix::unistd::Pid::from_raw(tid as i32))?;
    if info.arch != OWN_ARCH {
        return Ok(None);
    }
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says which member of the union the kernel has filled in.
            let entry = unsafe { info.u.entry };
            Some(SyscallStop::Entry { number: entry.nr as i64, arguments: entry.args })
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: the same.
            let exit = unsafe { info.u.exit };
            Some(SyscallStop::Exit { result: exit.sval })
        }
        _ => None,
    })
}

/// The same where the C library has no such structure: no call is known.
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
pub(crate) fn syscall_stop(_: u32) -> io::Result<Option<SyscallStop>> {
    Ok(None)
}
