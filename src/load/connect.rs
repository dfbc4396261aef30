//! Connecting to the server: whoever tries it takes the same for a refusal.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

/// The receive buffer and the segments of a client that takes little at a time, in bytes.
const SMALL_BUFFER: u32 = 4096;
const SMALL_SEGMENT: u32 = 536;

/// Connects. A port that nobody listens on can be connected to itself, where the kernel chose it as
/// the client's own (simultaneous open, RFC 9293): that is a refusal.
pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    unless_self_connected(TcpStream::connect(server).await?)
}

/// The same, with a small receive buffer and small segments (SO_RCVBUF, socket(7); TCP_MAXSEG,
/// tcp(7)): the server's send buffer grows with its segments, and is soon full as well.
pub(super) async fn connect_narrow(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(SMALL_BUFFER)?;
    setsockopt(&socket, sockopt::TcpMaxSeg, &SMALL_SEGMENT)?;
    unless_self_connected(socket.connect(server).await?)
}

fn unless_self_connected(stream: TcpStream) -> io::Result<TcpStream> {
    match stream.local_addr().ok() == stream.peer_addr().ok() {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

/// Whether nobody listens: a listener that closes during the handshake resets it, which is a refusal
/// too.
pub(super) fn is_refusal(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
