//! A port that no other trial has, for as long as it is held.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::model::address::{ServerAddress, kernel_name};
#[cfg(target_os = "linux")]
use crate::observe::sockets::SocketWatch;

/// Below the usual ephemeral range (32768 to 60999): a connection to a closed port inside it can
/// end up connected to itself (TCP simultaneous open).
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A port that is handed to one target, and that no other harness on this machine hands out
/// meanwhile.
#[derive(Debug)]
pub struct PortLease {
    port: HandedOut,
    #[cfg(target_os = "linux")]
    _held: OwnedFd,
}

/// The ports that this program has handed out: trials in networks of their own can't see each other's
/// sockets, and the port stands in the names of their files.
static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port in that list, until it is dropped.
#[derive(Debug)]
struct HandedOut(u16);

impl HandedOut {
    fn take(port: u16) -> Option<Self> {
        let mut all = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(port).then(|| Self(port))
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl PortLease {
    /// Takes a free port; the search begins at a place that `seed` chooses.
    ///
    /// # Errors
    /// When no port of the range is free.
    pub fn take(seed: u64) -> io::Result<Self> {
        let size = u64::from(RANGE.end - RANGE.start);
        let tries = (0..size).map(|step| RANGE.start + ((seed + step * 7919) % size) as u16);
        for port in tries {
            let Some(port) = HandedOut::take(port) else { continue };
            if let Some(lease) = Self::try_port(port)? {
                return Ok(lease);
            }
        }
        let reason = format!("no port from {} to {} is free", RANGE.start, RANGE.end);
        Err(io::Error::new(io::ErrorKind::AddrInUse, reason))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.0
    }

    /// An abstract unix socket stands for the port: the kernel lets one process have its name,
    /// and frees it however that process ends (unix(7)).
    #[cfg(target_os = "linux")]
    fn try_port(port: HandedOut) -> io::Result<Option<Self>> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
        use std::os::fd::AsRawFd;

        let held = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let name = UnixAddr::new_abstract(format!("shutdown-check-port-{}", port.0).as_bytes())?;
        match bind(held.as_raw_fd(), &name) {
            Err(nix::errno::Errno::EADDRINUSE) => return Ok(None),
            bound => bound?,
        }
        Ok(is_free(port.0).then_some(Self { port, _held: held }))
    }

    #[cfg(not(target_os = "linux"))]
    fn try_port(port: HandedOut) -> io::Result<Option<Self>> {
        Ok(is_free(port.0).then_some(Self { port }))
    }
}

/// Whether any server could listen on the port now, on any address: also one that does not set
/// SO_REUSEADDR, which connections in TIME_WAIT keep out.
pub fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    socket.is_ok_and(|socket| socket.bind(&address.into()).is_ok())
}

/// Whether somebody listens on the port now, on any address.
pub fn is_taken(port: u16) -> bool {
    std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).is_err()
}

/// Whether somebody listens there now.
pub fn is_served(address: &ServerAddress) -> bool {
    match address {
        ServerAddress::Tcp(address) => is_taken(address.port()),
        ServerAddress::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None);
            let name = SockAddr::unix(kernel_name(path));
            socket.and_then(|socket| socket.connect(&name?)).is_ok()
        }
    }
}

/// Whether a process has a socket on the port, listening or connected. Connections that only the
/// kernel still knows, since their process is gone or has closed them, are none: after an exit they
/// are what is left of the target itself.
///
/// # Errors
/// When the kernel's list can't be read (proc_pid_net(5)).
#[cfg(target_os = "linux")]
pub fn is_in_use(port: u16) -> io::Result<bool> {
    SocketWatch::new().and_then(|mut watch| watch.is_held(port)).or_else(|_| is_listed(port))
}

/// The same where netlink is forbidden: slower, the more connections wait for their end.
#[cfg(target_os = "linux")]
fn is_listed(port: u16) -> io::Result<bool> {
    // Of the thread, which may live in another network namespace than the process.
    let lists = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let four = std::fs::read_to_string(lists[0])?;
    // Where there is no version 6, nobody is there.
    let six = std::fs::read_to_string(lists[1]).unwrap_or_default();
    Ok([four, six].iter().flat_map(|list| list.lines().skip(1)).any(|line| holds(line, port)))
}

/// The same, where only trying tells.
#[cfg(not(target_os = "linux"))]
pub fn is_in_use(port: u16) -> io::Result<bool> {
    Ok(is_taken(port))
}

/// Whether a line is of a socket on this local port that some process has open, by its inode.
#[cfg(target_os = "linux")]
fn holds(line: &str, port: u16) -> bool {
    let mut words = line.split_whitespace();
    let local = words.nth(1).and_then(|local| local.rsplit_once(':'));
    let is_here = local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port));
    is_here && words.nth(7).is_some_and(|inode| inode != "0")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn two_leases_never_share_a_port() {
        let first = PortLease::take(7).unwrap();
        let second = PortLease::take(7).unwrap();
        assert_ne!(first.port(), second.port());
        assert!(is_free(first.port()), "the lease itself does not listen");
    }

    /// Only some accounts may make a network.
    #[cfg(target_os = "linux")]
    #[test]
    fn nor_do_leases_in_different_networks() {
        let first = PortLease::take(8).unwrap();
        let elsewhere = || {
            let _may_be_refused = crate::sys::own_network();
            PortLease::take(8).unwrap().port()
        };
        let second = std::thread::spawn(elsewhere).join().unwrap();
        assert_ne!(first.port(), second);
    }

    #[test]
    fn a_port_that_is_in_use_is_passed_over() {
        let lease = PortLease::take(99).unwrap();
        let port = lease.port();
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        drop(lease);
        assert!(!is_free(port));
        assert!(is_in_use(port).unwrap());
        drop(taken);
        assert!(!is_in_use(port).unwrap());
    }

    /// As the listener of a server that was killed in the middle of its work leaves it.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_only_the_kernel_knows_is_no_use() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(listener);
        let in_use = || [is_in_use(port).unwrap(), is_listed(port).unwrap()];
        assert_eq!(in_use(), [true; 2], "a connection holds it");
        drop(server);
        assert_eq!(in_use(), [false; 2], "it waits for its end");
        drop(client);
        assert_eq!(in_use(), [false; 2]);
    }
}
