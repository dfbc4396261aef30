//! How to open a listening socket, and how to close it without losing who waits in its queue.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::{Listen, log};

/// The length of the accept queue; the kernel caps it at `net.core.somaxconn`, listen(2).
const BACKLOG: i32 = 4096;

/// How long handshakes under way get to finish once new ones are no longer answered.
///
/// On loopback they need microseconds, in a data centre about a millisecond. A client further away
/// finds its connection reset, but has had no time to learn that it was ever established.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(5);

/// Opens a listening socket; to be called within a tokio runtime.
///
/// # Errors
/// When no candidate address can be bound: the last candidate's error, or at once any error but
/// "this host has no such address family".
pub fn bind(listen: Listen) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in listen.candidates() {
        match bind_address(address) {
            // Go on with IPv4 where there is no IPv6. A port that is taken stays an error.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => last = error,
            done => return done,
        }
    }
    Err(last)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Else connections in TIME_WAIT would keep the next instance from starting, socket(7).
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?; // Both families, ipv6(7).
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Closes the listening socket and returns the connections that were waiting to be accepted.
///
/// close(2) alone resets every connection in the accept queue, and clients may have sent requests
/// on them. Accepting until the queue is empty is not enough: between that and the close there is
/// room for one more. So first keep newcomers out, then empty the queue, then close. A newcomer
/// repeats its SYN a second later (RFC 6298 §2.1), and is then refused.
///
/// The connections are returned to be served afterwards, since serving must not delay the close.
pub(crate) async fn close(listener: TcpListener) -> Vec<TcpStream> {
    let filtered = drop_new_handshakes(&listener).is_ok();
    let mut connections = Vec::new();
    accept_all(&listener, &mut connections);
    if filtered {
        sleep(HANDSHAKE_GRACE).await;
        accept_all(&listener, &mut connections);
    }
    connections
}

/// Makes the kernel ignore SYNs to this socket, so that nobody new gets into its queue.
///
/// A classic BPF filter on a listening TCP socket sees each segment from the TCP header on; the
/// flags are byte 13 (RFC 9293 §3.1). What is not a bare SYN passes, so handshakes can finish.
/// Needs no privilege, socket(7) `SO_ATTACH_FILTER`.
#[cfg(target_os = "linux")]
fn drop_new_handshakes(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K, the number of bytes to keep
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere there is no such filter, and a small gap remains.
#[cfg(not(target_os = "linux"))]
fn drop_new_handshakes(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Accepts until the queue is empty.
fn accept_all(listener: &TcpListener, connections: &mut Vec<TcpStream>) {
    // Not `listener.accept()`: tokio asks the kernel only when it believes that somebody waits,
    // and what it believes lags behind.
    let socket = socket2::SockRef::from(listener);
    loop {
        let accepted = socket.accept().and_then(|(connection, _)| {
            connection.set_nonblocking(true)?;
            TcpStream::from_std(connection.into())
        });
        match accepted {
            Ok(connection) => connections.push(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if concerns_one_connection(&error) => {}
            // Most likely out of file descriptors: who waits can't be held.
            Err(error) => return log(format_args!("error emptying the accept queue: {error}")),
        }
    }
}

/// Whether accept(2) failed because of the connection, so that the next may well succeed.
pub(crate) fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn newcomers_are_kept_out_and_who_has_come_is_accepted() -> io::Result<()> {
        let listen = |text: &str| bind(text.parse().expect("an address"));
        let listeners = [listen("127.0.0.1:0"), listen("[::1]:0")];
        for listener in listeners.into_iter().flatten() {
            let address = listener.local_addr()?;
            let _early = std::net::TcpStream::connect(address)?;
            drop_new_handshakes(&listener)?;
            let late = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
            assert_eq!(late.map_err(|error| error.kind()).err(), Some(io::ErrorKind::TimedOut));
            assert_eq!(close(listener).await.len(), 1);
            let later = std::net::TcpStream::connect(address);
            assert_eq!(
                later.map_err(|error| error.kind()).err(),
                Some(io::ErrorKind::ConnectionRefused)
            );
        }
        Ok(())
    }
}
