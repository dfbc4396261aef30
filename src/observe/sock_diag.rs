//! The messages of sock_diag(7): how TCP sockets are asked for, and what the answers say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::event::{ConnectionId, SocketSeen};

use super::sockets::{ListenerSeen, Listening};

/// `SOCK_DIAG_BY_FAMILY` (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` and `NLMSG_DONE` (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The attribute that holds `struct tcp_info`: `INET_DIAG_INFO` (linux/inet_diag.h).
const INFO: u16 = 2;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct inet_diag_msg`.
const DIAG_MESSAGE: usize = 72;

/// One exact query for the server's side of a connection.
pub(super) fn request(sequence: u32, server: SocketAddr, client: SocketAddr) -> [u8; 72] {
    let family = if client.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut query = query(sequence, NLM_F_REQUEST, family as u8, u32::MAX);
    query[24..26].copy_from_slice(&server.port().to_be_bytes());
    query[26..28].copy_from_slice(&client.port().to_be_bytes());
    query[28..44].copy_from_slice(&octets(server.ip()));
    query[44..60].copy_from_slice(&octets(client.ip()));
    query
}

/// One exact query for the listener that a new connection to `server` would meet.
///
/// The kernel looks for a connection from address and port zero, which nobody has, and falls back
/// to the listener.
pub(super) fn listener_request(sequence: u32, server: SocketAddr) -> [u8; 72] {
    let nobody = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    request(sequence, server, nobody)
}

/// A query for every socket that listens.
pub(super) fn listeners_request(sequence: u32, family: u8) -> [u8; 72] {
    query(sequence, NLM_F_REQUEST | NLM_F_DUMP, family, 1 << TCP_LISTEN)
}

/// A query for every socket with this local port that is not only waiting for its end.
pub(super) fn on_port_request(sequence: u32, family: u8, port: u16) -> [u8; 72] {
    let mut query = query(sequence, NLM_F_REQUEST | NLM_F_DUMP, family, !(1 << TCP_TIME_WAIT));
    query[24..26].copy_from_slice(&port.to_be_bytes());
    query
}

const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
const TCP_LISTEN: u8 = 10;
const TCP_TIME_WAIT: u8 = 6;

/// `struct nlmsghdr` (16 bytes) and `struct inet_diag_req_v2`, of which `struct
/// inet_diag_sockid` begins at 24: ports, addresses, interface, cookie.
fn query(sequence: u32, flags: u16, family: u8, states: u32) -> [u8; 72] {
    let mut query = [0; 72];
    query[0..4].copy_from_slice(&72u32.to_ne_bytes());
    query[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    query[6..8].copy_from_slice(&flags.to_ne_bytes());
    query[8..12].copy_from_slice(&sequence.to_ne_bytes());
    query[16..20].copy_from_slice(&[family, libc::IPPROTO_TCP as u8, 1 << (INFO - 1), 0]);
    query[20..24].copy_from_slice(&states.to_ne_bytes());
    query[64..72].copy_from_slice(&[0xff; 8]); // any cookie
    query
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
    }
}

/// What one answer says of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// By which `/proc/PID/fd` names it; zero before it is accepted.
    pub(super) inode: u32,
    unread: u32,
    received: u64,
    sent: u64,
    unsent: u32,
}

impl State {
    pub(super) fn seen(self, connection: ConnectionId) -> SocketSeen {
        let Self { inode, unread, received, sent, unsent } = self;
        SocketSeen { connection, accepted: inode != 0, unread, received, sent, unsent }
    }
}

/// One netlink message of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'b> {
    pub(super) sequence: u32,
    kind: u16,
    payload: &'b [u8],
}

impl Message<'_> {
    /// What it says of a socket; `None`: there is no such socket.
    pub(super) fn state(&self) -> Option<State> {
        if self.kind == BY_FAMILY { state(self.payload) } else { None }
    }

    pub(super) fn ends_the_dump(&self) -> bool {
        self.kind == DONE
    }

    /// The error that it reports; the end of a dump can do that, too.
    pub(super) fn error(&self) -> Option<io::Error> {
        let number = u32_at(self.payload, 0)?.cast_signed();
        let is_error = [ERROR, DONE].contains(&self.kind) && number < 0;
        is_error.then(|| io::Error::from_raw_os_error(number.saturating_neg()))
    }

    /// What it says of the listener that was asked for; `None`: there is no such listener.
    pub(super) fn listener(&self) -> Option<ListenerSeen> {
        let is_listener = self.kind == BY_FAMILY && self.payload.get(1) == Some(&TCP_LISTEN);
        let (queued, inode) = (u32_at(self.payload, 56)?, u32_at(self.payload, 68)?);
        is_listener.then_some(ListenerSeen { queued, inode })
    }

    /// Whether some process has the socket open: those that only the kernel knows have no inode.
    pub(super) fn is_held(&self) -> bool {
        self.kind == BY_FAMILY && u32_at(self.payload, 68).is_some_and(|inode| inode != 0)
    }

    pub(super) fn listening(&self) -> Option<Listening> {
        let payload = self.payload;
        let address: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
        let ip = match i32::from(*payload.first()?) {
            libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(&address[..4]).ok()?),
            _ => IpAddr::from(address),
        };
        let port = u16::from_be_bytes(payload.get(4..6)?.try_into().ok()?);
        let ListenerSeen { queued, inode } = self.listener()?;
        Some(Listening { address: (ip, port).into(), inode, queued })
    }
}

/// The first message of `bytes`, and the bytes after it.
fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let whole = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
    let kind = u16::from_ne_bytes(whole[4..6].try_into().ok()?);
    let message = Message { sequence: u32_at(whole, 8)?, kind, payload: &whole[HEADER..] };
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The messages of one datagram, one after the other.
pub(super) fn answers(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (answer, rest) = message(datagram)?;
        datagram = rest;
        Some(answer)
    })
}

/// `struct inet_diag_msg` and the `struct tcp_info` among its attributes.
fn state(message: &[u8]) -> Option<State> {
    const FIN_STATES: [u8; 2] = [8, 11]; // TCP_CLOSE_WAIT, TCP_CLOSING: the peer's FIN is counted
    let tcp_state = *message.get(1)?;
    if tcp_state == TCP_LISTEN {
        // The kernel's look-up falls back to the listener of the port when there is no such
        // connection.
        return None;
    }
    let unread = u32_at(message, 56)?;
    let inode = u32_at(message, 68)?;
    let info = attribute(message.get(DIAG_MESSAGE..)?, INFO)?;
    let fin = u32::from(FIN_STATES.contains(&tcp_state));
    Some(State {
        inode,
        unread: unread.saturating_sub(if unread > 0 { fin } else { 0 }),
        received: u64_at(info, 128)?.saturating_sub(u64::from(fin)),
        sent: u64_at(info, 200)?,
        unsent: u32_at(message, 60)?,
    })
}

/// The payload of the attribute of this kind (`struct rtattr`, four-byte aligned).
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let this = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if this == kind {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_from_the_kernel_is_no_panic() {
        for length in 0..200 {
            let mut bytes = vec![0xff; length];
            assert!(message(&bytes).is_none());
            if length >= 4 {
                bytes[..4].copy_from_slice(&(length as u32).to_ne_bytes());
                let read = message(&bytes).map(|(message, _)| message);
                let _ = read.map(|read| (read.state(), read.listening(), read.error()));
            }
        }
    }
}
