//! Which system calls are of interest, and which descriptor each is about (syscalls(2)).

use crate::model::syscall::Call;

/// A system call that may be of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// As it is called.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) kind: Kind,
}

/// What a system call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One descriptor.
    On(Call, i32),
    /// Several, of which it tells those that are ready.
    Wait(Waiting),
}

/// Where a call that waits for several descriptors leaves its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// An epoll instance, and an array of `struct epoll_event`.
    Epoll {
        /// The instance.
        instance: i32,
        /// Where the array is.
        events: u64,
    },
    /// An array of `struct pollfd`.
    Poll {
        /// Where it is.
        fds: u64,
        /// Its length.
        length: u64,
    },
    /// The set of descriptors that can be read.
    Select {
        /// Where it is; 0 for none.
        readable: u64,
        /// The first descriptor that is not in it.
        end: u64,
    },
}

/// The call of this number, if it may be of interest.
pub(super) fn known(number: i64, arguments: &[u64; 6]) -> Option<Known> {
    let [first, second, third, ..] = *arguments;
    let on = |name, call, fd: u64| Some(Known { name, kind: Kind::On(call, fd as i32) });
    let wait = |name, waiting| Some(Known { name, kind: Kind::Wait(waiting) });
    let epoll = Waiting::Epoll { instance: first as i32, events: second };
    let poll = Waiting::Poll { fds: first, length: second };
    let select = Waiting::Select { readable: second, end: first };
    match number {
        libc::SYS_accept => on("accept", Call::Accept, first),
        libc::SYS_accept4 => on("accept4", Call::Accept, first),
        libc::SYS_read => on("read", Call::Recv, first),
        libc::SYS_readv => on("readv", Call::Recv, first),
        libc::SYS_recvfrom => on("recvfrom", Call::Recv, first),
        libc::SYS_recvmsg => on("recvmsg", Call::Recv, first),
        libc::SYS_write => on("write", Call::Send, first),
        libc::SYS_writev => on("writev", Call::Send, first),
        libc::SYS_sendto => on("sendto", Call::Send, first),
        libc::SYS_sendmsg => on("sendmsg", Call::Send, first),
        libc::SYS_sendfile => on("sendfile", Call::Send, first),
        libc::SYS_splice => on("splice", Call::Send, third),
        libc::SYS_shutdown => on("shutdown", Call::Shutdown, first),
        libc::SYS_close => on("close", Call::Close, first),
        libc::SYS_epoll_pwait => wait("epoll_pwait", epoll),
        libc::SYS_epoll_pwait2 => wait("epoll_pwait2", epoll),
        libc::SYS_ppoll => wait("ppoll", poll),
        libc::SYS_pselect6 => wait("pselect6", select),
        // Later machines have only the calls above.
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => wait("epoll_wait", epoll),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => wait("poll", poll),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => wait("select", select),
        _ => None,
    }
}
