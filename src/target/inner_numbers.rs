//! The numbers that processes have in PID namespaces of their own (pid_namespaces(7)): what a target that
//! runs as PID 1 writes into its pid file.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

use super::tree::{is_alive, process_id};

/// The number of a process in its own namespace, where that is one below the harness's (NSpid,
/// proc_pid_status(5)).
pub(super) fn inner_number(pid: u32) -> Option<u32> {
    innermost(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn innermost(status: &str) -> Option<u32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    // The first is the one that the harness sees.
    numbers.split_whitespace().skip(1).last()?.parse().ok()
}

/// Whether a living process that is none of these has this number inside as well, and may have
/// written the file: many are PID 1 somewhere.
pub(super) fn may_be_anothers(number: u32, file: &Metadata, own: &BTreeSet<u32>) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut others = pids.filter(|pid: &u32| !own.contains(pid));
    others.any(|pid| {
        inner_number(pid) == Some(number)
            && process_id(pid).is_some_and(is_alive)
            && may_have_written(pid, file)
    })
}

/// Whoever has another root directory, as in a container, writes its files elsewhere.
fn may_have_written(pid: u32, file: &Metadata) -> bool {
    match (fs::metadata(format!("/proc/{pid}/root/")), fs::metadata("/")) {
        (Ok(its), Ok(own)) => (its.dev(), its.ino()) == (own.dev(), own.ino()),
        // An account that may not look there is not the only one that may write; but its own
        // processes it sees.
        _ => fs::metadata(format!("/proc/{pid}")).is_ok_and(|it| it.uid() == file.uid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_the_one_inside() {
        assert_eq!(innermost("Name:\tsrv\nNSpid:\t4711\t12\t1\nNSpgid:\t0\n"), Some(1));
        assert_eq!(innermost("Name:\tsrv\nNSpid:\t4711\n"), None, "it has one number only");
        assert_eq!(innermost("Name:\tsrv\n"), None);
    }
}
