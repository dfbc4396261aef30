//! What a pid or lock file says: its name, the number in it, and whose lock it carries.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::model::event::FileKind;

/// A pid file is not longer than this.
const PID_FILE_BYTES_MAX: u64 = 64;

/// What a file is by the usual names.
pub(super) fn kind_by_name(path: &Path) -> Option<FileKind> {
    match path.extension()?.to_str()? {
        "pid" => Some(FileKind::Pid),
        "lock" | "lck" => Some(FileKind::Lock),
        _ => None,
    }
}

/// The number that is all of a file, or its first line.
pub(super) fn number_in(path: &Path) -> Option<u32> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The inodes of the files that these processes have locked (proc(5), `/proc/locks`).
pub(super) fn locks_of(pids: &BTreeSet<u32>) -> Vec<u64> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = |line: &str| {
        let mut fields = line.split_whitespace().skip_while(|field| *field != "->").peekable();
        // A line with an arrow is of somebody who waits for the lock.
        if fields.peek().is_some() {
            return None;
        }
        let mut fields = line.split_whitespace().skip(4);
        let pid: u32 = fields.next()?.parse().ok()?;
        let inode = fields.next()?.rsplit(':').next()?.parse().ok()?;
        pids.contains(&pid).then_some(inode)
    };
    text.lines().filter_map(inode).collect()
}
