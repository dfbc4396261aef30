//! Waits until the target listens and answers, and finds out where.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use crate::model::address::{ServerAddress, kernel_name};
use crate::observe::sockets::{Listening, SocketWatch};
use crate::observe::unix_sockets;

use super::tree::{Family, absolute, socket_inodes};

/// One question to the target waits this long at most for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// A longer answer is not read to its end.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// For this long the search is eager.
const EAGER: Duration = Duration::from_millis(20);
/// A unix socket is taken for the target's only if it listens on no port so long after that.
const ONLY_UNIX_AFTER: Duration = Duration::from_millis(250);
/// The same limit for a unix socket that was only found: it may be for something else than HTTP,
/// while the server still starts.
const SOCKET_LIMIT: Duration = Duration::from_secs(1);
/// The pause of an eager search.
const EAGER_PAUSE: Duration = Duration::from_micros(200);

/// Where a target may be looked for.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The port that was handed to it.
    pub port: u16,
    /// The host that clients connect to.
    pub host: &'a str,
    /// The unix socket that it listens on, where that is known.
    pub socket: Option<&'a Path>,
    /// Whether any other port that it listens on will do.
    pub any_port: bool,
    /// Its readiness page; the first answer of any page will do where absent.
    pub ready_path: Option<&'a str>,
    /// How long it may take.
    pub limit: Duration,
}

impl Search<'_> {
    /// Where it will be found if it listens as it was told; nothing where it was told nothing.
    pub fn address(&self) -> Option<ServerAddress> {
        if let Some(path) = self.socket {
            return Some(ServerAddress::Unix(path.to_owned()));
        }
        let tcp = address(self.host, self.port).ok().filter(|address| address.port() != 0);
        tcp.map(ServerAddress::Tcp)
    }
}

/// Where a target listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The address that clients connect to; absent where it has no listener.
    pub address: Option<ServerAddress>,
    /// A process that holds the listening socket, where the kernel could be asked.
    pub owner: Option<u32>,
}

impl Found {
    /// The TCP address that it listens at, of which the kernel shows more than of others.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.address.as_ref()?.tcp()
    }
}

/// The target did not become ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It listens on nothing.
    #[error("it listens on no TCP port{}", also(others))]
    NeverListened {
        /// Ports that it listens on and that were not asked for.
        others: Vec<u16>,
    },
    /// Nobody listens on the unix socket.
    #[error("nobody listens on {address}")]
    NoSocket {
        /// The socket.
        address: ServerAddress,
    },
    /// It accepts, or the kernel does, and it answers nothing.
    #[error("{address} takes connections and answers nothing")]
    NeverAnswered {
        /// Where.
        address: ServerAddress,
    },
    /// It answers something else than HTTP/1.1.
    #[error("{address} does not speak HTTP/1.1: it answered {answer:?}")]
    NotHttp {
        /// Where.
        address: ServerAddress,
        /// The beginning of its answer.
        answer: String,
    },
    /// It answers that it is not ready.
    #[error("{} answered {status} ({times} times)", address.page(path))]
    Status {
        /// Where.
        address: ServerAddress,
        /// The page.
        path: String,
        /// The last answer.
        status: u16,
        /// How many answers there were.
        times: u32,
    },
    /// The port is another program's.
    #[error("port {port} is taken by another program")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// It has not written the line that says that it is ready.
    #[error("it wrote no line that matches {pattern:?}")]
    NoLine {
        /// The pattern.
        pattern: String,
    },
    /// It has not made the file that says that it is ready.
    #[error("it made no file {}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// None of its processes is left.
    #[error("it ended")]
    Gone,
}

fn also(others: &[u16]) -> String {
    let ports: Vec<_> = others.iter().map(u16::to_string).collect();
    match ports.is_empty() {
        true => String::new(),
        false => format!(" that was asked for, but on {}", ports.join(", ")),
    }
}

/// Waits until the target answers.
///
/// The last of what was seen becomes the error when the limit is over. Dropping the future ends
/// the search.
///
/// # Errors
/// When the limit is over first, or all processes of the target end before.
pub async fn ready(search: &Search<'_>, family: &mut Family) -> Result<Found, NotReady> {
    let end = Instant::now() + search.limit;
    let mut watch = SocketWatch::new().ok();
    let mut last = NotReady::NeverListened { others: Vec::new() };
    let mut answers = 0;
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let mut was_gone = false;
    while Instant::now() < end {
        let patience = ANSWER_LIMIT.min(end - Instant::now());
        match attempt(search, family, (watch.as_mut(), begun), patience).await {
            Ok(found) => return Ok(found),
            // Cut short by the end of the search, it takes nothing from what was seen before.
            Err(NotReady::NeverAnswered { .. }) if patience < ANSWER_LIMIT && has_spoken(&last) => {
            }
            Err(NotReady::Status { address, path, status, .. }) => {
                answers += 1;
                last = NotReady::Status { address, path, status, times: answers };
            }
            Err(error) => last = error,
        }
        // A launcher may exit as soon as the server runs, so that the end of the leader alone
        // ends nothing. One that forks twice can hide its server from a single look.
        let is_gone = family.alive().is_empty();
        if is_gone && was_gone {
            return Err(NotReady::Gone);
        }
        was_gone = is_gone;
        // Most servers listen within milliseconds, which is finer than the runtime's timer; nothing
        // else goes on in this thread yet but the reading of output.
        if begun.elapsed() < EAGER {
            tokio::task::yield_now().await;
            std::thread::sleep(EAGER_PAUSE);
            continue;
        }
        sleep(pause).await;
        // Starting takes milliseconds for some and seconds for others: look often at first.
        pause = (pause * 11 / 10).min(Duration::from_millis(50));
    }
    Err(last)
}

fn has_spoken(seen: &NotReady) -> bool {
    matches!(seen, NotReady::Status { .. } | NotReady::NotHttp { .. })
}

async fn attempt(
    search: &Search<'_>,
    family: &mut Family,
    (watch, begun): (Option<&mut SocketWatch>, Instant),
    patience: Duration,
) -> Result<Found, NotReady> {
    let (address, owner) = match (search.socket, watch) {
        (Some(path), _) => (ServerAddress::Unix(path.to_owned()), None),
        (None, Some(watch)) => match listening(search, family, watch) {
            Err(NotReady::NeverListened { others })
                if others.is_empty() && search.any_port && begun.elapsed() > ONLY_UNIX_AFTER =>
            {
                return answering_socket(search, family, patience).await;
            }
            found => found?,
        },
        (None, None) => (address(search.host, search.port)?.into(), None),
    };
    answers(&address, search.ready_path, patience).await?;
    let owner = owner.or_else(|| holder(&address, family));
    Ok(Found { address: Some(address), owner })
}

/// The first of the target's unix sockets that answers.
async fn answering_socket(
    search: &Search<'_>,
    family: &mut Family,
    patience: Duration,
) -> Result<Found, NotReady> {
    let mut last = NotReady::NeverListened { others: Vec::new() };
    for (owner, path) in held_sockets(family) {
        let address = ServerAddress::Unix(path);
        match answers(&address, search.ready_path, patience.min(SOCKET_LIMIT)).await {
            Ok(()) => return Ok(Found { address: Some(address), owner: Some(owner) }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The unix sockets that processes of the target listen on, and who holds them.
fn held_sockets(family: &mut Family) -> Vec<(u32, PathBuf)> {
    let all = unix_sockets::listening().unwrap_or_default();
    let mut held = Vec::new();
    for process in family.alive().into_iter().filter(|_| !all.is_empty()) {
        let inodes = socket_inodes(process.pid);
        for listening in all.iter().filter(|listening| inodes.contains(&listening.inode)) {
            let path = absolute(process.pid, &listening.name);
            if !held.iter().any(|(_, known)| *known == path) {
                held.push((process.pid, path));
            }
        }
    }
    held
}

/// The process that listens on a unix socket.
fn holder(address: &ServerAddress, family: &mut Family) -> Option<u32> {
    let ServerAddress::Unix(path) = address else { return None };
    held_sockets(family).into_iter().find(|(_, held)| held == path).map(|(owner, _)| owner)
}

/// Where the target's processes listen, by the kernel.
fn listening(
    search: &Search<'_>,
    family: &mut Family,
    watch: &mut SocketWatch,
) -> Result<(ServerAddress, Option<u32>), NotReady> {
    let all = watch.listening().unwrap_or_default();
    let handed: Vec<_> = all.iter().filter(|l| l.address.port() == search.port).collect();
    if handed.is_empty() && !search.any_port && all.is_empty() {
        return Err(NotReady::NeverListened { others: Vec::new() });
    }
    let held: Vec<(u32, Listening)> = held_by(family, &all);
    // A listener that the wanted host reaches comes before others of the same port.
    let reaches =
        |l: &Listening| reachable(l.address, search.host) == address(search.host, l.address.port());
    let of_port = |port: u16| {
        let of_port = held.iter().filter(|(_, l)| l.address.port() == port);
        of_port.max_by_key(|(_, l)| reaches(l))
    };
    if let Some((owner, listening)) = of_port(search.port) {
        let address = reachable(listening.address, search.host)?;
        return Ok((address.into(), Some(*owner)));
    }
    if !handed.is_empty() {
        return Err(NotReady::PortTaken { port: search.port });
    }
    let mut ports: Vec<u16> = held.iter().map(|(_, l)| l.address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.first().copied() {
        Some(port) if search.any_port => {
            let never = NotReady::NeverListened { others: Vec::new() };
            let (owner, listening) = of_port(port).ok_or(never)?;
            let address = reachable(listening.address, search.host)?;
            Ok((address.into(), Some(*owner)))
        }
        _ => Err(NotReady::NeverListened { others: ports }),
    }
}

/// The listening sockets that processes of the target hold.
fn held_by(family: &mut Family, all: &[Listening]) -> Vec<(u32, Listening)> {
    let mut held = Vec::new();
    for process in family.alive() {
        let inodes = socket_inodes(process.pid);
        let own = all.iter().filter(|listening| inodes.contains(&listening.inode));
        held.extend(own.map(|listening| (process.pid, *listening)));
    }
    held
}

/// A server that listens on every address is reached at the host that was asked for; one that
/// listens on a single one only there.
fn reachable(listening: SocketAddr, host: &str) -> Result<SocketAddr, NotReady> {
    if listening.ip().is_unspecified() {
        return address(host, listening.port());
    }
    Ok(listening)
}

fn address(host: &str, port: u16) -> Result<SocketAddr, NotReady> {
    let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
    let ip = host.parse().map_err(|_| NotReady::NeverListened { others: Vec::new() })?;
    Ok(SocketAddr::new(ip, port))
}

/// Asks for the page once.
async fn answers(
    address: &ServerAddress,
    path: Option<&str>,
    patience: Duration,
) -> Result<(), NotReady> {
    let page = path.unwrap_or("/");
    let mut answer = Vec::new();
    // What came in time counts, also of a server that speaks first, or never closes.
    let asked = timeout(patience, ask(address, page, &mut answer)).await;
    let address = address.clone();
    if answer.is_empty() {
        let is_there = !matches!(asked, Ok(Err(error)) if is_absent(&error));
        return Err(match &address {
            ServerAddress::Unix(_) if !is_there => NotReady::NoSocket { address },
            _ => NotReady::NeverAnswered { address },
        });
    }
    let status = status_of(&answer).ok_or_else(|| NotReady::NotHttp {
        address: address.clone(),
        answer: String::from_utf8_lossy(&answer).chars().take(40).collect(),
    })?;
    // A page that was named must say yes; otherwise any answer shows that somebody is there, but
    // for those that say that something is broken.
    let good = if path.is_some() { (200..400).contains(&status) } else { status < 500 };
    let failed = NotReady::Status { address, path: page.to_owned(), status, times: 1 };
    if good { Ok(()) } else { Err(failed) }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

pub(super) async fn ask(
    address: &ServerAddress,
    path: &str,
    answer: &mut Vec<u8>,
) -> std::io::Result<()> {
    let host = address.host();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    match address {
        ServerAddress::Tcp(address) => {
            read_answer(TcpStream::connect(address).await?, &request, answer).await
        }
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(kernel_name(path)).await?;
            read_answer(stream, &request, answer).await
        }
    }
}

/// Reads the answer to its end, so that nothing of this is left when the trial begins.
async fn read_answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
    answer: &mut Vec<u8>,
) -> std::io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    while answer.len() < ANSWER_BYTES_MAX && !is_whole(answer) {
        if stream.read_buf(answer).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Whether as much has come as was announced: some servers keep the connection open although
/// they are asked not to.
fn is_whole(answer: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return false };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok());
    length.is_some_and(|length: usize| answer.len() - head >= length)
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(_)) => response.code,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_all_that_was_announced_has_come() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".to_vec();
        assert!(!is_whole(&head[..10]));
        assert!(!is_whole(&head));
        assert!(is_whole(&[&head[..], b"hi"].concat()));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nhi"), "only the end tells");
        assert!(!is_whole(b"SSH-2.0-x\r\n"));
    }
}
