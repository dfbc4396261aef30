//! The unix sockets that have a name, as `/proc/net/unix` shows them (proc(5)): the kernel tells no more
//! of them, neither what waits in their queues nor what was read.

use std::io;
use std::path::{Path, PathBuf};

/// SO_ACCEPTCON, the flag of those that listen.
const ACCEPTS: u32 = 0x1_0000;
/// SOCK_STREAM.
const STREAM: u32 = 1;

/// A unix socket with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its name: a path as it was bound, perhaps relative to the directory of whoever bound it; or
    /// an abstract name, which begins with `@`.
    pub name: PathBuf,
    /// Its inode, by which `/proc/PID/fd` names it.
    pub inode: u32,
    /// Whether it is a stream socket that listens.
    pub listens: bool,
}

impl UnixSocket {
    /// Whether it may be the one that is reached at `path`.
    pub fn is_at(&self, path: &Path) -> bool {
        self.name == path || self.name.is_relative() && path.ends_with(&self.name)
    }
}

/// Every unix stream socket with a name that listens in the network namespace of this thread.
///
/// # Errors
/// Where `/proc` can't be read.
pub fn listening() -> io::Result<Vec<UnixSocket>> {
    let mut all = named()?;
    all.retain(|socket| socket.listens);
    Ok(all)
}

/// Every unix socket with a name, and every connection that was accepted from one.
///
/// # Errors
/// Where `/proc` can't be read.
pub fn named() -> io::Result<Vec<UnixSocket>> {
    let text = std::fs::read("/proc/thread-self/net/unix")?;
    Ok(text.split(|byte| *byte == b'\n').skip(1).filter_map(parse).collect())
}

/// One line: number, references, protocol, flags, type, state, inode, and perhaps a name.
fn parse(line: &[u8]) -> Option<UnixSocket> {
    use std::os::unix::ffi::OsStrExt;

    let mut rest = line;
    let mut fields = [&b""[..]; 7];
    for field in &mut fields {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        let length = rest[begin..].iter().position(|byte| *byte == b' ')?;
        (*field, rest) = rest[begin..].split_at(length);
    }
    let hex = |field: &[u8]| u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok();
    let listens = hex(fields[3])? & ACCEPTS != 0 && hex(fields[4])? == STREAM;
    let name = rest.strip_prefix(b" ").filter(|name| !name.is_empty())?;
    let inode = std::str::from_utf8(fields[6]).ok()?.parse().ok()?;
    Some(UnixSocket { name: std::ffi::OsStr::from_bytes(name).into(), inode, listens })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn those_that_listen_are_seen_until_they_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a name with spaces");
        let seen = || listening().unwrap().iter().filter(|it| it.is_at(&path)).count();
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(seen(), 1, "an accepted connection has the name as well, and does not listen");
        drop(listener);
        // What another test is just starting has a copy of it until its execve(2).
        let begun = Instant::now();
        while seen() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is still seen");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_line_without_a_name_is_nobodys() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 2201";
        assert_eq!(parse(line), None);
        let listening = parse(&[line, &b" /run/x.sock"[..]].concat()).unwrap();
        assert_eq!(
            listening,
            UnixSocket { name: "/run/x.sock".into(), inode: 2201, listens: true }
        );
        assert!(listening.is_at(Path::new("/run/x.sock")));
    }
}
