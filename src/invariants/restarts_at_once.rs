//! `restarts-at-once`: started again right after its exit, on the same port and state, it becomes
//! ready.

use crate::model::event::EventKind;
use crate::model::history::{History, SignalSent};
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::wording::sorted;
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "restarts-at-once",
    fails_when: "Fails when the target is started again right after its own exit, with the same \
                 command, port, folder and variables, and does not become ready within the time \
                 that the first start had (--ready-timeout).",
    why: "Supervisors start a service again at once, and a deployment that replaces a process does \
          too. What stumbles over its own predecessor is down for the minute that the kernel \
          remembers old connections, or until somebody removes a lock by hand; some supervisors \
          give up after a few tries.",
    source: "tcp(7) and RFC 9293, section 3.3.2 (TIME-WAIT); socket(7), SO_REUSEADDR. \
             systemd.service(5), Restart and StartLimitBurst. Threads: neondatabase/neon#801, \
             zaphoyd/websocketpp#803, cyberark/conjur#2381, nginx/unit#643.",
    usual_cause: "The server closes its connections first, so that they wait in TIME_WAIT on its \
                  port, and its listener is bound without SO_REUSEADDR (EADDRINUSE); a pid file, \
                  lock file or unix socket of the predecessor is taken for a living one; or a \
                  database needs longer to recover than to start.",
    fix: "In general: set SO_REUSEADDR before bind(2), tie locks to the process (flock(2), and not \
          the mere presence of a file), unlink a stale unix socket before binding, and flush \
          state before the exit so that there is nothing to recover. Go, tokio, Node, nginx, \
          gunicorn and uvicorn set SO_REUSEADDR by themselves; socket2, C and Python's socket \
          module leave it to you (socketserver: allow_reuse_address). Rails: let puma remove \
          tmp/pids/server.pid, or start with -P /dev/null.",
    needs: "an exit of its own that leaves nothing behind",
    counts: Counts::TRIALS,
    occasions: ANY,
    severity: Severities::WARN,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if !history.header().trial.restart {
        return Verdict::NotApplicable {
            reason: "not tried: it takes the situation load, one-request or idle-keepalive, after \
                     which the target is started again"
                .into(),
        };
    }
    if history.was_running() {
        return Verdict::NotApplicable {
            reason: "a process that was found running (--pid) is not started again".into(),
        };
    }
    let mut started = None;
    for (event, e) in (0..).zip(history.events()) {
        match &e.kind {
            EventKind::StartedAgain { pid, port } => started = Some((event, e.at, *pid, *port)),
            EventKind::Restarted { .. } => return Verdict::of(1, Vec::new(), ""),
            EventKind::RestartMissed { what } => {
                return Verdict::inconclusive(format!("it was not started again: {what}"));
            }
            EventKind::NotRestarted { reason, lines } => {
                let Some((again, at, pid, port)) = started else { break };
                let Some(exit) = history.exit() else { break };
                let after = human(at.since(exit.at));
                let said = lines.last().map(|line| format!("; the last line it wrote: {line:?}"));
                let message = format!(
                    "started again on port {port} {after} after its exit (process {pid}), {reason}{}",
                    said.unwrap_or_default()
                );
                let evidence = sorted([signal.event, exit.event, again, event]);
                return Verdict::of(1, vec![Violation { message, evidence }], "");
            }
            _ => {}
        }
    }
    Verdict::inconclusive(INVARIANT.unexercised())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::verdict::VerdictName;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn ended() -> Story {
        Story::new().with_restart().signal().exit_code(40, 0)
    }

    #[test]
    fn a_target_that_is_ready_again_satisfies_it() {
        assert_eq!(satisfied(verdict(ended().restarted(50))), 1);
    }

    #[test]
    fn one_that_is_not_violates_it_with_its_last_line() {
        let reason = "it exited with status 1 before it was ready".into();
        let lines = vec!["starting".into(), "bind: Address already in use".into()];
        let story = ended().event(50, EventKind::StartedAgain { pid: 200, port: 8080 });
        let story = story.event(90, EventKind::NotRestarted { reason, lines });
        assert_eq!(
            violated(verdict(story))[0].message,
            "started again on port 8080 10 ms after its exit (process 200), it exited with \
             status 1 before it was ready; the last line it wrote: \"bind: Address already in use\""
        );
    }

    #[test]
    fn a_process_that_was_running_is_not_started_here() {
        let story = Story::new().with_restart().event(-1, EventKind::FoundRunning { pid: 123 });
        let verdict = verdict(story.signal().exit_code(40, 0));
        assert!(matches!(verdict, Verdict::NotApplicable { .. }), "{verdict:?}");
    }

    #[test]
    fn what_is_not_the_targets_fault_shows_nothing() {
        let what = "port 8080 is taken by another program".into();
        let reason = inconclusive(verdict(ended().event(50, EventKind::RestartMissed { what })));
        assert!(reason.contains("taken by another program"), "{reason}");
        let killed = Story::new().with_restart().signal().killed_at_deadline();
        assert!(inconclusive(verdict(killed)).contains("needs an exit of its own"));
    }

    #[test]
    fn a_trial_that_ends_with_the_exit_gives_no_occasion() {
        let story = Story::new().signal().exit_code(40, 0);
        assert_eq!(verdict(story).outcome(), VerdictName::NotApplicable);
    }

    #[test]
    fn a_time_to_get_ready_again_is_a_fact_of_its_own() {
        let after = Duration::from_millis(3);
        let story = ended().event(50, EventKind::Restarted { after });
        assert_eq!(satisfied(verdict(story)), 1);
    }
}
