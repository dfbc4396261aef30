//! `nothing-is-left-behind`: when the process has exited, nothing of it lives on or lies around.

use crate::model::event::{EventIndex, EventKind, FileKind};
use crate::model::history::{History, SignalSent};
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::dispositions::wrapped;
use super::wording::sorted;
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "nothing-is-left-behind",
    fails_when: "Fails when a process that the target had started is still alive a short grace \
                 after the target's own exit, when its port or socket still takes connections then, \
                 or when a unix socket, a pid file or a lock file that it had made is still there, \
                 or a file named with --leaves-no. A file counts that was not there before the \
                 start, and that one of its processes had bound or that holds the number of one; a \
                 file that only carries a lock of the kernel's (flock) may stay.",
    why: "Whoever waits for the process believes that it is over. An orphan holds the port, so \
          that the next start fails with EADDRINUSE, or answers with last week's code; it keeps \
          locks, connections and memory; and the work that it does is watched by nobody. A stale \
          socket or pid file makes the next start fail, or believe that it runs already, and a \
          script that reads it signals whoever has that number now.",
    source: "Slides: \"Wait for all running goroutines to exit\", then \"Server shutdown\". \
             wait(2) and prctl(2), PR_SET_CHILD_SUBREAPER; systemd.kill(5), KillMode; unix(7): the name of a \
             socket stays until it is unlinked. Threads: \
             shakacode/react_on_rails#3882, yarnpkg/berry#5158, haproxy/haproxy#228.",
    usual_cause: "A wrapper (sh -c, npm, a script) dies of the signal and the server behind it \
                  does not get it; a pre-fork parent exits without waiting for its workers; a \
                  helper was started in a session of its own; or a worker hangs where only its \
                  parent had a time-out. A file is left where the listener is closed and nobody \
                  unlinks its path, or the cleaning up stands where only a regular return comes.",
    fix: "In general: hand the signal on to every child, wait for each of them (with a time-out, \
          then SIGKILL), and exit last; in a container start the server with exec or below an \
          init (tini -g signals the whole group). Go: exec.CommandContext with Cancel and \
          WaitDelay, and Wait for every command. tokio: keep each Child and await wait(), or \
          kill_on_drop. Node: child.kill('SIGTERM') and its exit event, for each worker of a \
          cluster too; start node and not npm. uvicorn and gunicorn: signal the master, which \
          ends its workers. nginx: the same, and not with -9. systemd: leave KillMode at \
          control-group. Files: unlink what you have bound or written, last before the exit and \
          on every way there; Go's net.UnixListener does so on Close, libuv too, Rust's \
          UnixListener and Python's socket do not; systemd's RuntimeDirectory= removes the rest.",
    needs: "an exit of its own: a target that the harness had to kill had no occasion to clean \
            up",
    counts: Counts::TRIALS,
    occasions: ANY,
    severity: Severities::DENY,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let Some(exit) = history.exit() else {
        return Verdict::inconclusive(INVARIANT.unexercised());
    };
    let left: Vec<(EventIndex, String)> = (0..)
        .zip(history.events())
        .filter_map(|(event, e)| Some((event, what_is_left(&e.kind)?)))
        .collect();
    let Some((first, _)) = left.first() else { return Verdict::of(1, Vec::new(), "") };
    let after = human(history.events()[*first as usize].at.since(exit.at));
    let names: Vec<_> = left.iter().map(|(_, name)| name.as_str()).collect();
    let why = wrapped(history, signal);
    let because = why.as_ref().map(|(_, why)| format!("; {why}")).unwrap_or_default();
    let message =
        format!("{after} after process {} had exited, {}{because}", exit.pid, names.join("; "));
    let events = left.iter().map(|(event, _)| *event).chain(why.map(|(event, _)| event));
    let evidence = sorted([signal.event, exit.event].into_iter().chain(events));
    Verdict::of(1, vec![Violation { message, evidence }], "")
}

/// What an event shows to be left, in words.
pub(super) fn what_is_left(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::ProcessLeft { pid, command } => {
            Some(format!("process {pid} ({command}) was still alive"))
        }
        EventKind::PortLeft { address } => Some(format!("{address} still took connections")),
        EventKind::FileLeft { path, kind } => {
            let what = match kind {
                FileKind::Socket => "the unix socket ",
                FileKind::Pid => "the pid file ",
                FileKind::Lock => "the lock file ",
                FileKind::Declared => "",
            };
            Some(format!("{what}{} was still there", path.display()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn an_exit_that_leaves_nothing_satisfies_it() {
        assert_eq!(satisfied(verdict(Story::new().signal().exit_code(4, 1))), 1);
    }

    #[test]
    fn a_process_or_a_port_that_is_left_violates_it() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let story = Story::new().signal().exit_code(4, 0).process_left(504);
        let violations = violated(verdict(story.event(505, EventKind::PortLeft { address })));
        let messages: Vec<_> = violations.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(
            messages,
            ["500 ms after process 123 had exited, process 124 (node worker.js) was still alive; \
              127.0.0.1:8080 still took connections"]
        );
        assert_eq!(violations[0].evidence.len(), 4, "signal, exit, process and port");
    }

    #[test]
    fn a_file_that_is_left_violates_it() {
        let left = |name: &str, kind| EventKind::FileLeft { path: name.into(), kind };
        let story = Story::new().signal().exit_code(4, 0);
        let story = story.event(1_004, left("/run/a.sock", FileKind::Socket));
        let violations = violated(verdict(story.event(1_004, left("state", FileKind::Declared))));
        assert_eq!(
            violations[0].message,
            "1.00 s after process 123 had exited, the unix socket /run/a.sock was still there; \
             state was still there"
        );
    }

    #[test]
    fn a_target_that_had_to_be_killed_shows_nothing() {
        let reason = inconclusive(verdict(Story::new().signal().killed_at_deadline()));
        assert!(reason.contains("needs an exit of its own"), "{reason}");
    }
}
