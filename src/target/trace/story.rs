//! The story of the connection under test, as the target's system calls tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::calls::{Kind, Known, Waiting};
use super::waits::{socket_at, tells_of};
use crate::model::syscall::{Call, Reach, Side, SyscallPoint};
use crate::observe::sockets::SocketWatch;

/// What is known of the connection under test.
pub(super) struct Story {
    reach: Reach,
    server: SocketAddr,
    sockets: SocketWatch,
    /// The sockets that listen.
    listeners: BTreeSet<u32>,
    /// The server's socket, as soon as it is accepted.
    inode: Option<u32>,
    /// The client's end, as soon as the request was sent wholly.
    client: Option<SocketAddr>,
    counts: BTreeMap<Call, u16>,
}

/// What a thread is in the middle of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing {
    /// The call's name.
    pub(super) name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// It accepts on one of the listening sockets.
    Accept,
    /// A call for the connection under test, of this number among its kind.
    Own(Call, u16),
    /// It waits.
    Wait(Waiting),
}

/// What follows for a thread that has stopped at a system call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// It is at this point.
    At(SyscallPoint),
    /// It may be at a point: that is known as soon as the request was sent.
    Maybe(Maybe),
    /// Nothing.
    Nothing,
}

/// Where a thread may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Maybe {
    /// About to accept the connection.
    Accepting,
    /// It has accepted one, as this descriptor.
    Accepted(i32),
    /// It was told of the connection.
    Woken,
    /// About to make the call that waits for the request.
    At(SyscallPoint),
}

impl Story {
    /// The story of a connection that is yet to be opened, or of one that was kept.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    pub(super) fn begin(
        reach: Reach,
        server: SocketAddr,
        kept: Option<SocketAddr>,
    ) -> std::io::Result<Self> {
        let mut sockets = SocketWatch::new()?;
        let listening = sockets.listening_on(server.port())?;
        let inode = match kept {
            Some(client) => sockets.inode(server, client)?.filter(|inode| *inode != 0),
            None => None,
        };
        Ok(Self {
            reach,
            server,
            sockets,
            listeners: listening.iter().map(|listening| listening.inode).collect(),
            inode,
            client: None,
            counts: BTreeMap::new(),
        })
    }

    /// Whether it is known that the request was sent.
    pub(super) fn is_asked(&self) -> bool {
        self.client.is_some()
    }

    /// The request was sent, from there.
    pub(super) fn asked(&mut self, client: SocketAddr) {
        self.client.get_or_insert(client);
    }

    /// A thread is about to make a call.
    pub(super) fn enters(&mut self, tid: u32, known: Known) -> (Option<Doing>, Step) {
        let doing = |what| Some(Doing { name: known.name, what });
        match known.kind {
            Kind::Wait(waiting) => (doing(What::Wait(waiting)), Step::Nothing),
            Kind::On(Call::Accept, fd) => {
                let listens = socket_at(tid, fd).is_some_and(|it| self.listeners.contains(&it));
                match listens && self.reach == Reach::Fresh && self.inode.is_none() {
                    true => (doing(What::Accept), Step::Maybe(Maybe::Accepting)),
                    false => (None, Step::Nothing),
                }
            }
            Kind::On(call, fd) => {
                if self.inode.is_none() || socket_at(tid, fd) != self.inode {
                    return (None, Step::Nothing);
                }
                let nth = self.count(call);
                let point = self.point(Side::Before, call, nth);
                let step = match self.client {
                    Some(_) => Step::At(point),
                    None => Step::Maybe(Maybe::At(point)),
                };
                (doing(What::Own(call, nth)), step)
            }
        }
    }

    /// A thread has made the call that it was about to make.
    pub(super) fn leaves(&mut self, tid: u32, doing: Doing, result: i64) -> Step {
        match doing.what {
            What::Accept if result >= 0 && self.inode.is_none() => {
                Step::Maybe(Maybe::Accepted(result as i32))
            }
            What::Accept => Step::Nothing,
            What::Own(call, nth) => Step::At(self.point(Side::After, call, nth)),
            What::Wait(waiting) => {
                let mut wanted: BTreeSet<u32> = self.inode.into_iter().collect();
                if self.reach == Reach::Fresh && self.inode.is_none() {
                    wanted.extend(&self.listeners);
                }
                match result > 0 && tells_of(tid, waiting, result, &wanted) {
                    true => Step::Maybe(Maybe::Woken),
                    false => Step::Nothing,
                }
            }
        }
    }

    /// Where a thread is, now that the request was sent.
    pub(super) fn is_at(&mut self, tid: u32, maybe: Maybe) -> Option<SyscallPoint> {
        match maybe {
            Maybe::At(point) => Some(point),
            Maybe::Accepting => {
                let waits = self.kernel_inode() == Some(0);
                waits.then(|| self.point(Side::Before, Call::Accept, 1))
            }
            Maybe::Accepted(fd) => {
                let inode = self.kernel_inode().filter(|inode| *inode != 0)?;
                (socket_at(tid, fd) == Some(inode)).then(|| {
                    self.inode = Some(inode);
                    self.point(Side::After, Call::Accept, 1)
                })
            }
            Maybe::Woken => {
                // Of a socket that listens others may have taken what there was.
                let is_new = self.inode.is_some() || self.kernel_inode() == Some(0);
                is_new.then(|| {
                    let nth = self.count(Call::Wait);
                    self.point(Side::After, Call::Wait, nth)
                })
            }
        }
    }

    fn kernel_inode(&mut self) -> Option<u32> {
        self.sockets.inode(self.server, self.client?).ok().flatten()
    }

    fn count(&mut self, call: Call) -> u16 {
        let count = self.counts.entry(call).or_default();
        *count = count.saturating_add(1);
        *count
    }

    fn point(&self, side: Side, call: Call, nth: u16) -> SyscallPoint {
        SyscallPoint { reach: self.reach, side, call, nth }
    }
}
