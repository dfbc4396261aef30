//! The kernel's view of single TCP sockets, by exact sock_diag(7) queries.
//!
//! The only module that knows netlink. Exact queries cost about ten microseconds each; dumps and
//! `/proc/net/tcp` cost milliseconds as soon as there are many sockets. No privilege is needed.

use std::net::{IpAddr, SocketAddr};

use crate::model::event::{ConnectionId, SocketSeen};

/// A connection to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number in the trial.
    pub connection: ConnectionId,
    /// The client's address.
    pub client: SocketAddr,
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Its inode, by which `/proc/PID/fd` names it.
    pub inode: u32,
}

#[cfg(target_os = "linux")]
pub use linux::SocketWatch;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::SocketWatch;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt,
    };
    use nix::sys::time::TimeVal;

    use super::{
        Asked, Listening, SocketAddr, SocketSeen, listeners_request, message, place, request,
    };

    /// As many queries as fit a send buffer and whose answers fit a receive buffer.
    const BATCH: usize = 64;

    /// Asks the kernel about the server's side of connections.
    #[derive(Debug)]
    pub struct SocketWatch {
        netlink: OwnedFd,
        sequence: u32,
        buffer: Vec<u8>,
    }

    impl SocketWatch {
        /// Opens a netlink socket.
        ///
        /// # Errors
        /// Where the kernel has no `CONFIG_INET_DIAG`, or a sandbox forbids netlink.
        pub fn new() -> io::Result<Self> {
            let netlink = socket(
                AddressFamily::Netlink,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkSockDiag,
            )?;
            // The kernel answers at once; the limit is for the case that it can't.
            setsockopt(&netlink, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
            Ok(Self { netlink, sequence: 0, buffer: vec![0; 64 * 1024] })
        }

        /// What the kernel shows of the server's side of each connection; those that it does not
        /// know any more are left out.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn look(&mut self, server: SocketAddr, asked: &[Asked]) -> io::Result<Vec<SocketSeen>> {
            let mut seen = Vec::with_capacity(asked.len());
            for batch in asked.chunks(BATCH) {
                let first = self.sequence;
                let mut message = Vec::with_capacity(batch.len() * 72);
                for (number, asked) in (first..).zip(batch) {
                    message.extend_from_slice(&request(number, server, asked.client));
                }
                self.sequence = first.wrapping_add(batch.len() as u32);
                send(self.netlink.as_raw_fd(), &message, MsgFlags::empty())?;
                self.collect(first, batch, &mut seen)?;
            }
            Ok(seen)
        }

        /// Reads one answer, or one error, for each query of a batch.
        fn collect(
            &mut self,
            first: u32,
            batch: &[Asked],
            seen: &mut Vec<SocketSeen>,
        ) -> io::Result<()> {
            let mut missing = batch.len();
            while missing > 0 {
                let length = self.receive()?;
                let mut rest = &self.buffer[..length];
                while let Some((answer, next)) = message(rest) {
                    rest = next;
                    let Some(asked) = place(answer.sequence, first, batch) else { continue };
                    missing = missing.saturating_sub(1);
                    seen.extend(answer.state().map(|state| state.seen(asked.connection)));
                }
            }
            Ok(())
        }

        /// Every TCP socket that listens in this network namespace.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn listening(&mut self) -> io::Result<Vec<Listening>> {
            let mut found = Vec::new();
            for family in [libc::AF_INET, libc::AF_INET6] {
                self.sequence = self.sequence.wrapping_add(1);
                let query = listeners_request(self.sequence, family as u8);
                send(self.netlink.as_raw_fd(), &query, MsgFlags::empty())?;
                while !self.collect_listeners(&mut found)? {}
            }
            Ok(found)
        }

        /// Reads some of a dump; whether that was its end.
        fn collect_listeners(&mut self, found: &mut Vec<Listening>) -> io::Result<bool> {
            let length = self.receive()?;
            let mut rest = &self.buffer[..length];
            while let Some((answer, next)) = message(rest) {
                rest = next;
                if answer.sequence == self.sequence && answer.ends_the_dump() {
                    return Ok(true);
                }
                found.extend(answer.listening());
            }
            Ok(false)
        }

        fn receive(&mut self) -> io::Result<usize> {
            loop {
                match recv(self.netlink.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                    Err(nix::errno::Errno::EINTR) => {}
                    received => return Ok(received?),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;

    use super::{Asked, Listening, SocketAddr, SocketSeen};

    /// Elsewhere than on Linux the kernel can't be asked: phases are inferred from time.
    #[derive(Debug)]
    pub struct SocketWatch;

    impl SocketWatch {
        /// Always an error that says so.
        pub fn new() -> io::Result<Self> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "sock_diag is a facility of Linux"))
        }

        /// Never called, since there is never a value.
        pub fn look(&mut self, _: SocketAddr, _: &[Asked]) -> io::Result<Vec<SocketSeen>> {
            Ok(Vec::new())
        }

        /// Never called, since there is never a value.
        pub fn listening(&mut self) -> io::Result<Vec<Listening>> {
            Ok(Vec::new())
        }
    }
}

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
fn request(sequence: u32, server: SocketAddr, client: SocketAddr) -> [u8; 72] {
    let family = if client.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut query = query(sequence, NLM_F_REQUEST, family as u8, u32::MAX);
    query[24..26].copy_from_slice(&server.port().to_be_bytes());
    query[26..28].copy_from_slice(&client.port().to_be_bytes());
    query[28..44].copy_from_slice(&octets(server.ip()));
    query[44..60].copy_from_slice(&octets(client.ip()));
    query
}

/// A query for every socket that listens.
fn listeners_request(sequence: u32, family: u8) -> [u8; 72] {
    query(sequence, NLM_F_REQUEST | NLM_F_DUMP, family, 1 << TCP_LISTEN)
}

const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
const TCP_LISTEN: u8 = 10;

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
struct State {
    accepted: bool,
    unread: u32,
    received: u64,
    sent: u64,
    unsent: u32,
}

impl State {
    fn seen(self, connection: ConnectionId) -> SocketSeen {
        let Self { accepted, unread, received, sent, unsent } = self;
        SocketSeen { connection, accepted, unread, received, sent, unsent }
    }
}

/// One netlink message of an answer.
#[derive(Clone, Copy, Debug)]
struct Message<'b> {
    sequence: u32,
    kind: u16,
    payload: &'b [u8],
}

impl Message<'_> {
    /// What it says of a socket; `None`: there is no such socket.
    fn state(&self) -> Option<State> {
        if self.kind == BY_FAMILY { state(self.payload) } else { None }
    }

    fn ends_the_dump(&self) -> bool {
        self.kind == DONE || self.kind == ERROR
    }

    fn listening(&self) -> Option<Listening> {
        let payload = self.payload;
        let address: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
        let ip = match i32::from(*payload.first()?) {
            libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(&address[..4]).ok()?),
            _ => IpAddr::from(address),
        };
        let port = u16::from_be_bytes(payload.get(4..6)?.try_into().ok()?);
        let inode = u32_at(payload, 68)?;
        (self.kind == BY_FAMILY).then_some(Listening { address: (ip, port).into(), inode })
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
        accepted: inode != 0,
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

fn place(sequence: u32, first: u32, batch: &[Asked]) -> Option<&Asked> {
    batch.get(sequence.wrapping_sub(first) as usize)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn look(watch: &mut SocketWatch, server: SocketAddr, client: &TcpStream) -> Option<SocketSeen> {
        let asked = Asked { connection: 7, client: client.local_addr().unwrap() };
        watch.look(server, &[asked]).unwrap().first().copied()
    }

    fn a_connection_through_its_life(address: &str) {
        let mut watch = SocketWatch::new().unwrap();
        let listener = TcpListener::bind((address, 0)).unwrap();
        let server = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(server).unwrap();
        let seen = |accepted, unread, received, sent| {
            Some(SocketSeen { connection: 7, accepted, unread, received, sent, unsent: 0 })
        };
        assert_eq!(look(&mut watch, server, &client), seen(false, 0, 0, 0));
        client.write_all(b"hello").unwrap();
        assert_eq!(look(&mut watch, server, &client), seen(false, 5, 5, 0));
        let (mut accepted, _) = listener.accept().unwrap();
        assert_eq!(look(&mut watch, server, &client), seen(true, 5, 5, 0));
        accepted.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(look(&mut watch, server, &client), seen(true, 2, 5, 0));
        accepted.read_exact(&mut [0; 2]).unwrap();
        accepted.write_all(b"answer!").unwrap();
        assert_eq!(look(&mut watch, server, &client), seen(true, 0, 5, 7));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(look(&mut watch, server, &client), seen(true, 0, 5, 7));
    }

    #[test]
    fn ipv4() {
        a_connection_through_its_life("127.0.0.1");
    }

    #[test]
    fn ipv6() {
        a_connection_through_its_life("::1");
    }

    #[test]
    fn a_listener_of_both_families_shows_its_ipv4_connections() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let client = TcpStream::connect(server).unwrap();
        let mut watch = SocketWatch::new().unwrap();
        assert!(!look(&mut watch, server, &client).unwrap().accepted);
        let (_accepted, _) = listener.accept().unwrap();
        assert!(look(&mut watch, server, &client).unwrap().accepted);
    }

    #[test]
    fn listeners_are_found() {
        let four = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let held: Vec<_> =
            ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap()).into();
        let found = SocketWatch::new().unwrap().listening().unwrap();
        let is_found = |at| found.iter().any(|listening| listening.address == at);
        assert!(held.iter().all(|listener| is_found(listener.local_addr().unwrap())));
        assert!(!is_found(four), "it is closed");
        assert!(found.iter().all(|listening| listening.inode != 0));
    }

    #[test]
    fn more_than_a_batch_keeps_its_order_and_leaves_out_the_unknown() {
        let mut watch = SocketWatch::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(server).unwrap()).collect();
        let mut asked: Vec<_> = (0..)
            .zip(&clients)
            .map(|(connection, c)| Asked { connection, client: c.local_addr().unwrap() })
            .collect();
        asked[50].client.set_port(1);
        let seen = watch.look(server, &asked).unwrap();
        assert_eq!(seen.len(), 99);
        assert!(seen.iter().all(|socket| socket.connection != 50 && !socket.accepted));
    }

    #[test]
    fn nonsense_from_the_kernel_is_no_panic() {
        for length in 0..200 {
            let mut bytes = vec![0xff; length];
            assert!(message(&bytes).is_none());
            if length >= 4 {
                bytes[..4].copy_from_slice(&(length as u32).to_ne_bytes());
                let _ = message(&bytes).map(|(message, _)| (message.state(), message.listening()));
            }
        }
    }
}
