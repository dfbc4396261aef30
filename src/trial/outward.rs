//! Whether a target has connections to others than its clients, such as a database or a broker:
//! in a network of its own it would lose them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::target::tree::{Family, socket_inodes};

/// How often the kernel's lists are read: one costs a fraction of a millisecond.
const TICK: Duration = Duration::from_millis(10);
/// The lists (proc_pid_net(5)) of this thread's network; a datagram socket that is connected has a
/// peer as well.
const LISTS: [&str; 4] = ["tcp", "tcp6", "udp", "udp6"];
/// TCP_ESTABLISHED, TCP_SYN_SENT and TCP_LISTEN (net/tcp_states.h), as they are written there.
const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const LISTEN: &str = "0A";

/// Watches a target from a thread of its own.
pub(super) struct Outward {
    is_over: Arc<AtomicBool>,
    watching: Option<JoinHandle<bool>>,
}

impl Outward {
    /// Begins with a target that is ready.
    pub(super) fn watch(mut family: Family) -> Self {
        let is_over: Arc<AtomicBool> = Arc::default();
        let over = is_over.clone();
        let watch = move || {
            let mut listened = BTreeSet::new();
            while !over.load(Ordering::SeqCst) {
                if looks_outward(&mut family, &mut listened) {
                    return true;
                }
                std::thread::sleep(TICK);
            }
            false
        };
        let watching = std::thread::Builder::new().name("outward".into()).spawn(watch).ok();
        Self { is_over, watching }
    }

    /// Whether there was such a connection; where nobody could look, there may have been one.
    pub(super) fn was_seen(mut self) -> bool {
        self.finish().unwrap_or(true)
    }

    /// Waits for the thread, which has a share in the target's control group.
    fn finish(&mut self) -> Option<bool> {
        self.is_over.store(true, Ordering::SeqCst);
        self.watching.take()?.join().ok()
    }
}

impl Drop for Outward {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether it has such a connection now; `listened` as below.
fn looks_outward(family: &mut Family, listened: &mut BTreeSet<String>) -> bool {
    let own = family.alive().iter().flat_map(|process| socket_inodes(process.pid)).collect();
    has_other_peer(&lists(), &own, listened)
}

fn lists() -> String {
    let read = |list| std::fs::read_to_string(format!("/proc/thread-self/net/{list}"));
    // Where there is no version 6, nobody has such sockets.
    LISTS.map(|list| read(list).unwrap_or_default()).concat()
}

/// Whether one of its own sockets, by their inodes, has a peer that is neither a client nor its own.
/// `listened` are the ports that it was ever seen to listen on, which connections outlive.
fn has_other_peer(lists: &str, own: &BTreeSet<u32>, listened: &mut BTreeSet<String>) -> bool {
    let all = lists.lines().filter_map(parse);
    let own: Vec<Socket<'_>> = all.filter(|socket| own.contains(&socket.inode)).collect();
    let listening = own.iter().filter(|socket| socket.state == LISTEN);
    listened.extend(listening.map(|socket| split(socket.local).1.to_owned()));
    own.iter().any(|socket| {
        let has_peer = [ESTABLISHED, SYN_SENT].contains(&socket.state);
        let (local, peer) = (split(socket.local), split(socket.peer));
        // Processes of one target that talk to each other have the same network.
        let is_within = local.0 == peer.0 && listened.contains(peer.1);
        has_peer && !listened.contains(local.1) && !is_within
    })
}

/// A socket in one of the lists; its addresses and their ports as they are written there.
struct Socket<'l> {
    local: &'l str,
    peer: &'l str,
    state: &'l str,
    inode: u32,
}

/// Address and port.
fn split(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or_default()
}

/// One line: number, local address, peer, state, queues, timer, retransmissions, owner, timeout,
/// inode. That of the headings has no inode.
fn parse(line: &str) -> Option<Socket<'_>> {
    let mut words = line.split_whitespace().skip(1);
    let (local, peer, state) = (words.next()?, words.next()?, words.next()?);
    Some(Socket { local, peer, state, inode: words.nth(5)?.parse().ok()? })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Whether a target would be seen to look outward, were these sockets all that it has.
    fn of(sockets: &[&dyn AsRawFd], listened: &mut BTreeSet<String>) -> bool {
        let link = |it: &&dyn AsRawFd| format!("/proc/self/fd/{}", it.as_raw_fd());
        let inode = |link| std::fs::metadata(link).unwrap().ino() as u32;
        has_other_peer(&lists(), &sockets.iter().map(link).map(inode).collect(), listened)
    }

    #[test]
    fn who_connects_to_others_looks_outward() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let mut listened = BTreeSet::new();
        assert!(of(&[&client], &mut BTreeSet::new()));
        assert!(!of(&[&listener, &accepted], &mut listened), "a client of its own");
        assert!(!of(&[&accepted], &mut listened), "and when it listens no more");
        assert!(!of(&[&listener, &accepted, &client], &mut listened), "two of its processes");
    }

    #[test]
    fn datagrams_have_peers_as_well() {
        let [here, there] = [0, 0].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
        assert!(!of(&[&here], &mut BTreeSet::new()));
        here.connect(there.local_addr().unwrap()).unwrap();
        assert!(of(&[&here], &mut BTreeSet::new()));
    }
}
