//! `startup-signal-is-honoured`: a signal that comes before the target is ready ends it as well.

use crate::model::event::{EventIndex, EventKind};
use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Verdict, Violation};

use super::deadline::outlived;
use super::dispositions::seen_after;
use super::nothing_is_left_behind::what_is_left;
use super::wording::{ended, sorted};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "startup-signal-is-honoured",
    fails_when: "Fails when a signal that was sent between the start of the process and its first \
                 answer leads to no exit by the deadline, so that the target hangs or goes on to \
                 serve; or when something of it is left after its exit. Death by the default \
                 action is as good an end as any, with whatever status, since nothing had begun.",
    why: "Deployments are rolled back, and autoscalers change their minds, while instances start. \
          A signal that is lost then is not sent again: the instance goes on as if it were \
          wanted, until the grace period is over and SIGKILL ends it with the requests that it \
          has been given meanwhile.",
    source: "signal(7), sigaction(2): from execve(2) on the default action holds, until a handler \
             is installed. Kubernetes, Pod Lifecycle: a pod may be terminated at any time. \
             Threads: barkley-assistant/caduceus#278, replicate/cog#839.",
    usual_cause: "A handler that sets what nobody looks at before the server runs, or that the \
                  framework replaces; signals that are blocked, or ignored, until everything is \
                  ready, and forgotten; workers that are started while the master is already \
                  told to stop; or a shutdown that is called before there is a server to shut \
                  down, which then starts.",
    fix: "In general: install one handler first, before anything takes time, that notes the \
          signal, and look at the note once more when the server is about to run; or keep the \
          default action until then. Go: signal.NotifyContext at the top of main, and Shutdown \
          before Serve makes Serve return ErrServerClosed. tokio: create signal(..) streams \
          before the listener, and await them beside the server; they keep what came before. \
          Node: process.on('SIGTERM', ..) on the first line, and server.close() only when \
          listening. Python: loop.add_signal_handler before the server starts. Shell scripts: \
          exec.",
    needs: "a signal while the target starts, in the situation startup",
    counts: Counts::TRIALS,
    occasions: &[Situation::Startup],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if history.header().trial.situation != Situation::Startup {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    let after = match (outlived(history, signal), history.exit()) {
        (Some((event, alive)), _) => {
            let served = ready(history).map_or("", |_| "went on to serve, and ");
            Some((vec![event], format!("was lost: the target {served}{alive}")))
        }
        (None, Some(exit)) => {
            let left: Vec<(EventIndex, String)> = (0..)
                .zip(history.events())
                .filter_map(|(event, e)| Some((event, what_is_left(&e.kind)?)))
                .collect();
            let names: Vec<_> = left.iter().map(|(_, name)| name.as_str()).collect();
            let events = left.iter().map(|(event, _)| *event).chain([exit.event]).collect();
            let how = format!(
                "did not end all of it: process {} {}, and after that {}",
                exit.pid,
                ended(exit.status),
                names.join("; ")
            );
            (!left.is_empty()).then_some((events, how))
        }
        (None, None) => {
            return Verdict::inconclusive(
                "the trial was over before the target's exit and before the deadline",
            );
        }
    };
    let violations = after.map(|(events, what)| violation(history, signal, events, &what));
    Verdict::of(1, violations.into_iter().collect(), "")
}

fn violation(
    history: &History,
    signal: &SignalSent,
    mut events: Vec<EventIndex>,
    what: &str,
) -> Violation {
    let spawned = history.first(|kind| matches!(kind, EventKind::Spawned { .. }));
    let mut when = String::new();
    if let Some((event, at)) = spawned {
        events.push(event);
        when = format!(" {} after the start", human(signal.bracket.before.since(at)));
    }
    if let Some((event, at)) = ready(history) {
        events.push(event);
        let before = human(at.since(signal.bracket.after));
        when.push_str(&format!(", {before} before the first answer,"));
    }
    let mut message = format!("{}{when} {what}", signal.signal);
    if let Some((event, does)) = seen_after(history, signal) {
        events.push(event);
        message.push_str(&format!("; just after it was sent {does}"));
    }
    events.push(signal.event);
    Violation { message, evidence: sorted(events) }
}

fn ready(history: &History) -> Option<(EventIndex, Nanos)> {
    history.first(|kind| matches!(kind, EventKind::Ready { .. }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{Disposition, ProcessSeen};
    use crate::model::signal::Signal;

    fn start() -> Story {
        Story::new().in_situation(Situation::Startup).signal()
    }

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn any_end_without_leftovers_is_fine() {
        satisfied(verdict(start().exit_signal(2, Signal::TERM)));
        satisfied(verdict(start().exit_code(2, 1)));
        let address = "127.0.0.1:80".parse().ok();
        let ready = start().event(3, EventKind::Ready { address, owner: None });
        satisfied(verdict(ready.exit_code(9, 0)));
    }

    #[test]
    fn a_target_that_goes_on_to_serve_has_lost_the_signal() {
        let address = "127.0.0.1:80".parse().ok();
        let processes = vec![ProcessSeen {
            pid: 123,
            name: "srv".into(),
            leader: true,
            listener: false,
            disposition: Disposition::Blocked,
        }];
        let story = start()
            .event(1, EventKind::Dispositions { processes })
            .event(40, EventKind::Ready { address, owner: None })
            .killed_at_deadline();
        let violations = violated(verdict(story));
        assert_eq!(
            violations[0].message,
            "SIGTERM 9.00 s after the start, 40 ms before the first answer, was lost: the target \
             went on to serve, and was alive 30.0 s after SIGTERM; just after it was sent process \
             123 (srv) blocked SIGTERM in every thread"
        );
        assert_eq!(violations[0].evidence.len(), 5, "start, signal, sight, answer, deadline");
    }

    #[test]
    fn what_is_left_after_the_exit_violates_it() {
        let story = start().exit_signal(2, Signal::TERM).process_left(1002);
        let violations = violated(verdict(story));
        assert!(violations[0].message.contains("process 124 (node worker.js) was still alive"));
    }

    #[test]
    fn a_target_that_was_ready_shows_nothing_of_it() {
        let reason = inconclusive(verdict(Story::new().signal().exit_code(2, 0)));
        assert!(reason.contains("in the situation startup"), "{reason}");
        inconclusive(verdict(start()));
    }
}
