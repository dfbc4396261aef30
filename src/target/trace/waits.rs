//! Of which descriptors a call that waits for several has told that they are ready.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::super::tree::socket_inode;
use super::calls::Waiting;

/// `struct epoll_event`: packed on x86-64 only (epoll_ctl(2)).
const EPOLL_EVENT: usize = if cfg!(target_arch = "x86_64") { 12 } else { 16 };
const EPOLL_DATA: usize = EPOLL_EVENT - 8;
/// `struct pollfd`.
const POLLFD: usize = 8;
/// More descriptors than that are not looked at.
const MOST: usize = 4096;

/// Whether the call, which has come back with this result in a stopped thread, tells of one of
/// these sockets.
pub(super) fn tells_of(tid: u32, waiting: Waiting, result: i64, inodes: &BTreeSet<u32>) -> bool {
    told(tid, waiting, result, inodes).unwrap_or(false)
}

fn told(tid: u32, waiting: Waiting, result: i64, inodes: &BTreeSet<u32>) -> Option<bool> {
    let ready = usize::try_from(result).ok()?.min(MOST);
    let is_one = |fd: i32| socket_at(tid, fd).is_some_and(|inode| inodes.contains(&inode));
    match waiting {
        Waiting::Epoll { instance, events } => {
            let events = memory(tid, events, ready * EPOLL_EVENT)?;
            let words = events.chunks_exact(EPOLL_EVENT).map(|event| &event[EPOLL_DATA..]);
            let told: BTreeSet<u64> =
                words.filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?))).collect();
            let list = fs::read_to_string(format!("/proc/{tid}/fdinfo/{instance}")).ok()?;
            let mut registered = list.lines().filter_map(registration);
            Some(registered.any(|(data, inode)| told.contains(&data) && inodes.contains(&inode)))
        }
        Waiting::Poll { fds, length } => {
            let fds = memory(tid, fds, usize::try_from(length).ok()?.min(MOST) * POLLFD)?;
            let mut ready = fds.chunks_exact(POLLFD).filter(|fd| fd[6..] != [0, 0]);
            Some(ready.any(|fd| fd[..4].try_into().is_ok_and(|fd| is_one(i32::from_ne_bytes(fd)))))
        }
        Waiting::Select { readable: 0, .. } => Some(false),
        Waiting::Select { readable, end } => {
            let end = usize::try_from(end).ok()?.min(MOST);
            let set = memory(tid, readable, end.div_ceil(8))?;
            let is_in = |fd: &usize| set[fd / 8] & (1 << (fd % 8)) != 0;
            Some((0..end).filter(is_in).any(|fd| is_one(fd as i32)))
        }
    }
}

/// The word that is told of a descriptor, and its inode: a line of an epoll instance's `fdinfo`
/// (proc(5)).
fn registration(line: &str) -> Option<(u64, u32)> {
    let rest = line.strip_prefix("tfd:")?;
    let mut words = rest.split_whitespace();
    let data = words.by_ref().skip_while(|word| *word != "data:").nth(1)?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(data)?, u32::try_from(hex(inode)?).ok()?))
}

/// The socket behind a descriptor of a thread.
pub(super) fn socket_at(tid: u32, fd: i32) -> Option<u32> {
    socket_inode(format!("/proc/{tid}/fd/{fd}").as_ref())
}

fn memory(tid: u32, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open(format!("/proc/{tid}/mem")).ok()?.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_has_its_word_and_its_inode() {
        let line = "tfd:        5 events: 80002001 data:               1f  pos:0 ino:5a2b sdev:8";
        assert_eq!(registration(line), Some((0x1f, 0x5a2b)));
        assert_eq!(registration("flags:\t02"), None);
    }
}
