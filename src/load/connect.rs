//! Connecting to the server: whoever tries it takes the same for a refusal.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::sleep;

use crate::model::address::{ServerAddress, kernel_name};

use super::stream::Stream;

/// The receive buffer and the segments of a client that takes little at a time, in bytes.
const SMALL_BUFFER: u32 = 4096;
const SMALL_SEGMENT: u32 = 536;
/// How often a unix socket is tried whose accept queue is full.
const FULL_QUEUE_TICK: Duration = Duration::from_millis(1);

/// Connects. A port that nobody listens on can be connected to itself, where the kernel chose it as
/// the client's own (simultaneous open, RFC 9293): that is a refusal.
pub(super) async fn connect(server: &ServerAddress) -> io::Result<Stream> {
    match server {
        ServerAddress::Tcp(address) => by_tcp(TcpStream::connect(address).await?),
        ServerAddress::Unix(path) => by_unix(path).await,
    }
}

/// The same, with a small receive buffer and small segments (SO_RCVBUF, socket(7); TCP_MAXSEG,
/// tcp(7)): the server's send buffer grows with its segments, and is soon full as well. On a unix
/// socket the server's send buffer is all there is.
pub(super) async fn connect_narrow(server: &ServerAddress) -> io::Result<Stream> {
    match server {
        ServerAddress::Tcp(address) => by_tcp(narrow(*address).await?),
        ServerAddress::Unix(path) => by_unix(path).await,
    }
}

async fn narrow(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(SMALL_BUFFER)?;
    setsockopt(&socket, sockopt::TcpMaxSeg, &SMALL_SEGMENT)?;
    socket.connect(server).await
}

fn by_tcp(stream: TcpStream) -> io::Result<Stream> {
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

/// A client that does not block is told at once (EAGAIN, unix(7)) that the accept queue is full,
/// where over TCP it would wait: so it waits here.
async fn by_unix(path: &Path) -> io::Result<Stream> {
    let path = kernel_name(path);
    loop {
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE_TICK).await,
            connected => return connected.map(Stream::Unix),
        }
    }
}

/// Whether nobody listens: a listener that closes during the handshake resets it, which is a refusal
/// too, and a unix socket may have lost its name.
pub(super) fn is_refusal(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error, ConnectionRefused | ConnectionReset | NotFound)
}
