//! Ends processes that may start others all the time: first all stand still, then all are killed.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use crate::model::signal::Signal;
use crate::sys;

use super::tree::{ProcessId, process_id};

/// Who has not ended after this time may not be killed, or waits for a device.
const LIMIT: Duration = Duration::from_secs(5);
/// So long it is waited until no new one appears.
const STILL_WITHIN: Duration = Duration::from_millis(500);
/// Between two looks, the kernel gets this long to carry out what was asked.
const PAUSE: Duration = Duration::from_micros(500);

/// Ends the processes that `alive` finds, until it finds none.
///
/// A process that is killed makes room below a limit for one that its relatives start meanwhile
/// (fork(2), EAGAIN); one that only stands still keeps its place. So all are stopped until no new
/// one appears, and killed then.
pub fn end_all(mut alive: impl FnMut() -> Vec<ProcessId>) {
    let begun = Instant::now();
    let mut stopped = BTreeSet::new();
    while begun.elapsed() < LIMIT {
        let all: BTreeSet<_> = alive().into_iter().collect();
        if all.is_empty() {
            break;
        }
        let new: Vec<_> = all.difference(&stopped).copied().collect();
        for process in &new {
            let _ = send(*process, Order::Stop);
        }
        stopped.extend(&new);
        if new.is_empty() || begun.elapsed() > STILL_WITHIN {
            for process in &all {
                let _ = send(*process, Order::Kill);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Kills one process, if it still is that one.
///
/// # Errors
/// When it has ended, or may not be killed.
pub fn kill(process: ProcessId) -> io::Result<()> {
    send(process, Order::Kill)
}

#[derive(Clone, Copy)]
enum Order {
    Stop,
    Kill,
}

/// By a handle that is opened first and then seen to be that of the right process: whatever has its
/// number later gets nothing.
fn send(process: ProcessId, order: Order) -> io::Result<()> {
    let handle = sys::pidfd_open(process.pid)?;
    if process_id(process.pid) != Some(process) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    match order {
        Order::Stop => sys::pidfd_stop(handle, true),
        Order::Kill => sys::pidfd_send_signal(handle, Signal::KILL),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::tree::is_alive;
    use super::*;

    #[test]
    fn a_number_that_is_another_process_by_now_is_left_alone() {
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let own = process_id(child.id()).unwrap();
        let earlier = ProcessId { started: own.started - 1, ..own };
        assert!(kill(earlier).is_err());
        assert!(is_alive(own));
        kill(own).unwrap();
        child.wait().unwrap();
    }
}
