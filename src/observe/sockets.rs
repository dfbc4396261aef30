//! The kernel's view of single TCP sockets, by exact sock_diag(7) queries.
//!
//! The only module that speaks netlink, in the words of `sock_diag`. Exact queries cost about ten
//! microseconds each; dumps and `/proc/net/tcp` cost milliseconds as soon as there are many
//! sockets. No privilege is needed.

use std::net::SocketAddr;

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
    /// Connections in its accept queue.
    pub queued: u32,
}

/// The listener that a new connection would meet (`struct inet_diag_msg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerSeen {
    /// Connections in its accept queue: the handshake is done, and no program has them yet.
    pub queued: u32,
    /// Its inode, by which `/proc/PID/fd` names it.
    pub inode: u32,
}

#[cfg(target_os = "linux")]
pub use linux::SocketWatch;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::SocketWatch;

impl SocketWatch {
    /// Those that listen on a port, on whichever address; several share it by SO_REUSEPORT.
    ///
    /// # Errors
    /// Where netlink fails.
    pub fn listening_on(&mut self, port: u16) -> std::io::Result<Vec<Listening>> {
        let mut listening = self.listening()?;
        listening.retain(|listening| listening.address.port() == port);
        Ok(listening)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt,
    };
    use nix::sys::time::TimeVal;

    use super::super::sock_diag::{
        Message, answers, listener_request, listeners_request, on_port_request, request,
    };
    use super::{Asked, ListenerSeen, Listening, SocketAddr, SocketSeen};

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
            let mut watch = Self { netlink, sequence: 0, buffer: vec![0; 64 * 1024] };
            // Without the kernel's part for TCP (`CONFIG_INET_TCP_DIAG`) exact queries are answered
            // with the error that also says that there is no such socket; a dump shows which it is.
            watch.listening()?;
            Ok(watch)
        }

        /// What the kernel shows of the server's side of each connection; those that it does not
        /// know any more are left out.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn look(&mut self, server: SocketAddr, asked: &[Asked]) -> io::Result<Vec<SocketSeen>> {
            let mut seen = Vec::with_capacity(asked.len());
            for batch in asked.chunks(BATCH) {
                let first = self.sequence.wrapping_add(1);
                let mut message = Vec::with_capacity(batch.len() * 72);
                for (number, asked) in (first..).zip(batch) {
                    message.extend_from_slice(&request(number, server, asked.client));
                }
                self.sequence = first.wrapping_add(batch.len() as u32 - 1);
                send(self.netlink.as_raw_fd(), &message, MsgFlags::empty())?;
                self.collect(first, batch, &mut seen)?;
            }
            Ok(seen)
        }

        /// The inode of the server's side of a connection, by which `/proc/PID/fd` names it; zero
        /// while it is not accepted, and `None` where there is none.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn inode(&mut self, server: SocketAddr, client: SocketAddr) -> io::Result<Option<u32>> {
            let query = |sequence| request(sequence, server, client);
            self.ask(query, |answer| Ok(answer.state().map(|state| state.inode)))
        }

        /// Sends one query and reads its answer; what is still there of earlier ones is passed over.
        fn ask<T>(
            &mut self,
            query: impl FnOnce(u32) -> [u8; 72],
            read: impl FnOnce(&Message<'_>) -> io::Result<T>,
        ) -> io::Result<T> {
            self.sequence = self.sequence.wrapping_add(1);
            send(self.netlink.as_raw_fd(), &query(self.sequence), MsgFlags::empty())?;
            loop {
                let length = self.receive()?;
                let mut answers = answers(&self.buffer[..length]);
                if let Some(own) = answers.find(|answer| answer.sequence == self.sequence) {
                    return read(&own);
                }
            }
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
                for answer in answers(&self.buffer[..length]) {
                    let place = answer.sequence.wrapping_sub(first) as usize;
                    let Some(asked) = batch.get(place) else { continue };
                    missing = missing.saturating_sub(1);
                    seen.extend(answer.state().map(|state| state.seen(asked.connection)));
                }
            }
            Ok(())
        }

        /// The listener that a new connection to `server` would meet, also one that listens on
        /// every address; `None` when there is none, and such a connection would be refused.
        ///
        /// Of several that share the port (SO_REUSEPORT) it is one, and its queue is only its own:
        /// [`listening`](Self::listening) has all of them, for some seven times the price.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn listener(&mut self, server: SocketAddr) -> io::Result<Option<ListenerSeen>> {
            let query = |sequence| listener_request(sequence, server);
            self.ask(query, |answer| match answer.error() {
                Some(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
                _ => Ok(answer.listener()),
            })
        }

        /// Every TCP socket that listens in this network namespace.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn listening(&mut self) -> io::Result<Vec<Listening>> {
            let mut found = Vec::new();
            self.dump(listeners_request, |answer| found.extend(answer.listening()))?;
            Ok(found)
        }

        /// Whether some process has a TCP socket with this local port open, listening or connected.
        ///
        /// # Errors
        /// Where netlink fails.
        pub fn is_held(&mut self, port: u16) -> io::Result<bool> {
            let mut is_held = false;
            let query = |sequence, family| on_port_request(sequence, family, port);
            self.dump(query, |answer| is_held |= answer.is_held())?;
            Ok(is_held)
        }

        /// Sends a query for many sockets, in each family, and reads all answers.
        fn dump(
            &mut self,
            query: impl Fn(u32, u8) -> [u8; 72],
            mut read: impl FnMut(&Message<'_>),
        ) -> io::Result<()> {
            for family in [libc::AF_INET, libc::AF_INET6] {
                self.sequence = self.sequence.wrapping_add(1);
                let query = query(self.sequence, family as u8);
                send(self.netlink.as_raw_fd(), &query, MsgFlags::empty())?;
                while !self.read_dump(&mut read)? {}
            }
            Ok(())
        }

        /// Reads some of a dump; whether that was its end.
        fn read_dump(&mut self, read: &mut impl FnMut(&Message<'_>)) -> io::Result<bool> {
            let length = self.receive()?;
            let answers = answers(&self.buffer[..length]);
            for answer in answers.filter(|answer| answer.sequence == self.sequence) {
                if let Some(error) = answer.error() {
                    return Err(error);
                }
                if answer.ends_the_dump() {
                    return Ok(true);
                }
                read(&answer);
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

    use super::{Asked, ListenerSeen, Listening, SocketAddr, SocketSeen};

    /// Elsewhere than on Linux the kernel can't be asked: phases are inferred from time.
    #[derive(Debug)]
    pub struct SocketWatch;

    impl SocketWatch {
        /// Always an error that says so.
        pub fn new() -> io::Result<Self> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "sock_diag is a facility of Linux"))
        }

        /// Never called, since there is never a value.
        pub fn is_held(&mut self, _: u16) -> io::Result<bool> {
            Ok(false)
        }

        /// Never called, since there is never a value.
        pub fn look(&mut self, _: SocketAddr, _: &[Asked]) -> io::Result<Vec<SocketSeen>> {
            Ok(Vec::new())
        }

        /// Never called, since there is never a value.
        pub fn inode(&mut self, _: SocketAddr, _: SocketAddr) -> io::Result<Option<u32>> {
            Ok(None)
        }

        /// Never called, since there is never a value.
        pub fn listener(&mut self, _: SocketAddr) -> io::Result<Option<ListenerSeen>> {
            Ok(None)
        }

        /// Never called, since there is never a value.
        pub fn listening(&mut self) -> io::Result<Vec<Listening>> {
            Ok(Vec::new())
        }
    }
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

    fn listener(server: &str) -> TcpListener {
        TcpListener::bind(server).unwrap()
    }

    #[test]
    fn a_listener_and_its_queue_are_seen_until_it_is_closed() {
        let mut watch = SocketWatch::new().unwrap();
        for (bound, asked) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let held = listener(bound);
            let port = held.local_addr().unwrap().port();
            let server = SocketAddr::new(asked.parse().unwrap(), port);
            let mut queued = || watch.listener(server).unwrap().map(|seen| seen.queued);
            assert_eq!(queued(), Some(0), "{bound} {asked}");
            let _clients = [(); 3].map(|()| TcpStream::connect(server).unwrap());
            assert_eq!(queued(), Some(3), "{bound} {asked}");
            let _accepted = held.accept().unwrap();
            assert_eq!(queued(), Some(2), "{bound} {asked}");
            drop(held);
            assert_eq!(queued(), None, "{bound} {asked}: connections alone are no listener");
        }
    }

    #[test]
    fn a_listener_on_another_address_is_none() {
        let held = listener("127.0.0.2:0");
        let port = held.local_addr().unwrap().port();
        let mut watch = SocketWatch::new().unwrap();
        assert_eq!(watch.listener(([127, 0, 0, 1], port).into()).unwrap(), None);
        let seen = watch.listener(([127, 0, 0, 2], port).into()).unwrap().unwrap();
        let all = watch.listening().unwrap();
        let same = all.iter().find(|listening| listening.address.port() == port).unwrap();
        assert_eq!(same.inode, seen.inode);
    }

    /// As servers do that have one listener for each of their processes or threads.
    fn sharing_a_port(port: u16) -> TcpListener {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        socket.listen(16).unwrap();
        socket.into()
    }

    #[test]
    fn of_two_that_share_a_port_one_is_seen_until_the_last_is_closed() {
        let first = sharing_a_port(0);
        let server = first.local_addr().unwrap();
        let second = sharing_a_port(server.port());
        let mut watch = SocketWatch::new().unwrap();
        let _clients: Vec<_> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
        let one = watch.listener(server).unwrap().unwrap().queued;
        assert!(one <= 10);
        let of_port = |l: &Listening| (l.address == server).then_some(l.queued);
        let both: Vec<u32> = watch.listening().unwrap().iter().filter_map(of_port).collect();
        assert_eq!((both.len(), both.iter().sum()), (2, 10), "{both:?}");
        drop(first);
        assert!(watch.listener(server).unwrap().is_some());
        drop(second);
        assert_eq!(watch.listener(server).unwrap(), None);
    }
}
