//! Follows the system calls that a target makes for one connection, and stops a thread of it at the
//! boundary of one (ptrace(2)).
//!
//! Who traces must be one thread, so each tracer has its own. It takes hold of the threads late
//! (PTRACE_SEIZE), and its end lets all of them go at once, wherever they are: the kernel detaches
//! what a thread traces when it ends, also when the whole harness is killed. PTRACE_O_EXITKILL,
//! which would kill them then, is not set: a target that is traced is no less guarded than others,
//! and runs on unharmed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::syscall::{Reach, SyscallPoint};

#[cfg(target_os = "linux")]
mod calls;
mod forbidden;
#[cfg(target_os = "linux")]
mod story;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(target_os = "linux")]
mod waits;

pub use forbidden::why_forbidden;
#[cfg(target_os = "linux")]
pub use threads::Tracer;

/// What is looked for.
pub struct Watch {
    /// Where the target listens.
    pub server: SocketAddr,
    /// Which request of its connection is followed.
    pub reach: Reach,
    /// The client's end of a connection that is open already.
    pub kept: Option<SocketAddr>,
    /// The client's end of the connection under test, as soon as its request was sent wholly. It is
    /// waited for, with the thread stopped, before the first call for that request goes on: so the
    /// request lies there each time.
    pub asked: Box<dyn Fn() -> Option<SocketAddr> + Send>,
    /// Where a thread is stopped until it is let go.
    pub stop_at: Option<SyscallPoint>,
    /// How long a thread stays at each other point.
    pub stay: Duration,
    /// After this time all go on, whatever has come.
    pub limit: Duration,
}

/// What a tracer tells.
#[derive(Debug)]
pub enum News {
    /// All threads are followed.
    Armed,
    /// They can't be.
    Refused(io::Error),
    /// A thread was at this point.
    Seen(SyscallPoint),
    /// A thread stands still at the point that was looked for.
    Stopped(Standstill),
}

/// A thread that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// Where.
    pub point: SyscallPoint,
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The system call, as it is called (syscalls(2)).
    pub call: &'static str,
}

/// Elsewhere than on Linux nothing is traced.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Tracer;

#[cfg(not(target_os = "linux"))]
impl Tracer {
    /// Always an error that says so.
    pub fn start(
        _: super::tree::Family,
        _: Watch,
    ) -> io::Result<(Self, tokio::sync::mpsc::UnboundedReceiver<News>)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "ptrace is used on Linux only"))
    }

    /// Never called, since there is never a value.
    pub fn let_go_after(&self, _: Duration) {}
}
