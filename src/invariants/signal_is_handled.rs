//! `signal-is-handled`: the signal reaches the server, which neither dies of it nor ignores it.

use std::collections::HashSet;

use crate::model::event::{EventIndex, EventKind, ExitStatus};
use crate::model::history::{ConnectAttempt, Exit, History, Outcome, SignalSent};
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Verdict, Violation};

use super::at_work;
use super::dispositions::{explained, had_no_handler};
use super::fates::Fates;
use super::wording::{count, ended, when};
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "signal-is-handled",
    fails_when: "Fails when the signal itself ended the target with requests in process and none \
                 of them completed; or when the target ignored it, that is, went on accepting \
                 connections as before and was alive at the deadline; or when the signal ended \
                 only a wrapper, and the server behind it went on to serve. Of a \
                 worker without a listener, its jobs show the same: one at work and unfinished when \
                 the signal ended it, or begun when the signal was long past. Death by the signal \
                 with nothing in process shows nothing, and a target that drains first and then \
                 raises the signal again has handled it.",
    why: "All that a graceful shutdown consists of begins with the signal. Without a handler the \
          default action ends the process at once, with every request and job in it; a signal \
          that is ignored or kept from the server makes the orchestrator wait for its whole \
          grace period and then send SIGKILL, which nothing can handle.",
    source: "Slides: \"Listen termination signal\" (signal.Notify for SIGINT and SIGTERM) and \
             \"Propagate the signal\". signal(7): the default action of SIGTERM is to terminate; \
             pid_namespaces(7): the first process of a container gets only signals that it \
             handles. Threads: nervosnetwork/fiber#185, oxidezap/whatsapp-rust#960, \
             yarnpkg/berry#991, paketo-buildpacks/nodejs#37.",
    usual_cause: "A handler for SIGINT (Ctrl-C) only; a handler that is installed late; a server \
                  that runs as process 1 of a container without one, where the default action \
                  does not apply; or a wrapper (sh -c, npm, yarn, a script) that dies of the \
                  signal, or keeps it, and never hands it on to the server.",
    fix: "In general: handle SIGTERM as well as SIGINT before the listener is opened, and start \
          the server itself: exec in shell scripts, the exec form of CMD and ENTRYPOINT, or an \
          init that forwards signals (tini, dumb-init). Go net/http: signal.NotifyContext with \
          syscall.SIGTERM, then Shutdown. axum and hyper: tokio::signal::ctrl_c is SIGINT alone, \
          so select it with signal(SignalKind::terminate()). Node http and Express: \
          process.on('SIGTERM', ..), and start node rather than npm or yarn. uvicorn and gunicorn \
          handle it; start them with exec. nginx: QUIT is its graceful signal and TERM its fast \
          one.",
    needs: "requests in process at the signal, and connections begun after it: name a slower \
            endpoint (--path '/report?ms=300') or use more connections (--connections)",
    counts: Counts::TRIALS,
    occasions: ANY,
    severity: Severities::DENY,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let attempts = history.late_connects();
    match history.exit() {
        Some(exit) => match served_on(history, signal, &exit, &attempts) {
            Some(violation) => Verdict::of(1, vec![violation], ""),
            None if exit.status.signal == Some(signal.signal) && !history.has_listener() => {
                at_work::died(history, signal, &exit)
            }
            None if exit.status.signal == Some(signal.signal) => died(history, signal, &exit),
            None if exit.status == UNKNOWN => unseen(history, signal, &exit),
            None => Verdict::of(1, Vec::new(), ""),
        },
        None => match history.deadline_passed() {
            Some(deadline) if !history.has_listener() => {
                at_work::outlived(history, signal, deadline)
            }
            Some(deadline) => outlived(history, signal, &attempts, deadline),
            None => Verdict::inconclusive(
                "the trial was broken off before the deadline, with the target alive",
            ),
        },
    }
}

/// The status of a process whose parent is another.
const UNKNOWN: ExitStatus = ExitStatus { code: None, signal: None };

/// Nobody here learned whether the signal itself ended it: what the process would have done with it,
/// and what became of the requests, may tell.
fn unseen(history: &History, signal: &SignalSent, exit: &Exit) -> Verdict {
    let in_process = Fates::in_process(history);
    let lost = in_process.lost().count();
    if lost < in_process.requests.len() && in_process.shows_a_drain(history, signal) {
        return Verdict::of(1, Vec::new(), "");
    }
    if had_no_handler(history, signal) {
        return died(history, signal, exit);
    }
    Verdict::inconclusive(format!(
        "process {} ended within {} of {}, and how is known to its parent only: nothing shows \
         whether the signal was handled",
        exit.pid,
        human(exit.at.since(signal.felt)),
        signal.signal,
    ))
}

/// Instants that are later than this saw a target that had its time to refuse connections.
fn limit(history: &History, signal: &SignalSent) -> Nanos {
    signal.felt + history.contract().refused_after()
}

/// The signal ended the process that the harness follows, and the server was another.
fn served_on(
    history: &History,
    signal: &SignalSent,
    exit: &Exit,
    attempts: &[ConnectAttempt],
) -> Option<Violation> {
    let left = history.first(|kind| matches!(kind, EventKind::ProcessLeft { .. }))?.0;
    let EventKind::ProcessLeft { pid, command } = &history.events()[left as usize].kind else {
        return None;
    };
    let since = limit(history, signal).max(exit.at);
    let served = served(&late_requests(history, attempts, since));
    let (first, went_on) = match served.first() {
        Some(first) => (*first, format!("served {}", count(served.len(), "request"))),
        // Slow requests are cut off before they are answered; who listens shows it as well, where
        // the signal itself ended the other one.
        None if exit.status.signal == Some(signal.signal) => {
            let is_late = |it: &&ConnectAttempt| it.accepted == Some(true) && it.started > since;
            let taken: Vec<_> = attempts.iter().filter(is_late).collect();
            (taken.first()?.event, format!("took {}", count(taken.len(), "connection")))
        }
        None => return None,
    };
    let message = format!(
        "{} ended only the wrapper: process {} {} {}, and what it had started {went_on} begun \
         after that; process {pid} ({command}) was left",
        signal.signal,
        exit.pid,
        ended(exit.status),
        when(exit.at, signal),
    );
    Some(explained(history, signal, message, [exit.event, first, left]))
}

/// The requests on connections that were begun later than `since`, and how they ended.
fn late_requests(
    history: &History,
    attempts: &[ConnectAttempt],
    since: Nanos,
) -> Vec<(EventIndex, Outcome)> {
    let late: HashSet<_> = attempts
        .iter()
        .filter(|attempt| attempt.started > since)
        .filter_map(|attempt| attempt.connection)
        .collect();
    history
        .requests()
        .filter(|(_, request)| late.contains(&request.connection))
        .map(|(event, request)| (event, history.outcome(request)))
        .collect()
}

/// Those that were answered as if nothing had happened.
fn served(requests: &[(EventIndex, Outcome)]) -> Vec<EventIndex> {
    let completed = requests.iter().filter(|(_, outcome)| *outcome == Outcome::Completed);
    completed.map(|(event, _)| *event).collect()
}

/// The signal ended the target: by the default action, or because a handler raised it again
/// after a drain. Only what became of the requests tells one from the other.
fn died(history: &History, signal: &SignalSent, exit: &Exit) -> Verdict {
    let in_process = Fates::in_process(history);
    let held = in_process.requests.len();
    if held == 0 {
        return Verdict::inconclusive(in_process.only_cut("in process").unwrap_or_else(|| {
            format!(
                "{} ended process {} with nothing in process, so that nothing shows whether it \
                 was handled; it needs {}",
                signal.signal, exit.pid, INVARIANT.needs
            )
        }));
    }
    let lost: Vec<_> = in_process.lost().map(|lost| lost.event).collect();
    if lost.len() < held && in_process.shows_a_drain(history, signal) {
        return Verdict::of(1, Vec::new(), "");
    }
    if lost.len() < held {
        return Verdict::inconclusive(format!(
            "{} ended process {} within {} of it, and the requests that were completed were so \
             sooner than a signal takes effect: nothing shows a handler; name a slower endpoint \
             (--path '/report?ms=900')",
            signal.signal,
            exit.pid,
            human(exit.at.since(signal.felt)),
        ));
    }
    let none = if held == 1 { "which was not completed" } else { "none of which was completed" };
    let after = human(exit.at.since(signal.felt));
    let message = format!(
        "{} ended process {} after {after} with {} in process, {none}",
        signal.signal,
        exit.pid,
        count(held, "request"),
    );
    let evidence = [exit.event].into_iter().chain(lost);
    Verdict::of(1, vec![explained(history, signal, message, evidence)], "")
}

/// The target was alive at the deadline: it ignored the signal, or it handled it and hung.
fn outlived(
    history: &History,
    signal: &SignalSent,
    attempts: &[ConnectAttempt],
    (deadline_event, deadline): (EventIndex, Nanos),
) -> Verdict {
    if attempts.iter().any(|attempt| attempt.accepted == Some(false)) {
        // The listener closed. That the exit did not come is another invariant's matter.
        return Verdict::of(1, Vec::new(), "");
    }
    let since = limit(history, signal);
    let accepted: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.accepted == Some(true) && attempt.started > since)
        .collect();
    let Some(first) = accepted.first() else {
        return Verdict::inconclusive(format!(
            "the target was alive at the deadline, and no connection begun more than {} after {} \
             shows whether it had noticed the signal",
            human(history.contract().refused_after()),
            signal.signal,
        ));
    };
    let requests = late_requests(history, attempts, since);
    let served = served(&requests);
    if served.is_empty() && !requests.is_empty() {
        return unserved(&requests);
    }
    let message = format!(
        "{} changed nothing: {} begun more than {} after it were accepted and none was refused, \
         {} on them served, and process {} was alive at the deadline, {}",
        signal.signal,
        count(accepted.len(), "connection"),
        human(history.contract().refused_after()),
        count(served.len(), "request"),
        signal.pid,
        when(deadline, signal),
    );
    let shown = served.first().copied().unwrap_or(first.event);
    let evidence = [first.event, shown, deadline_event];
    Verdict::of(1, vec![explained(history, signal, message, evidence)], "")
}

/// The verdict where connections are still accepted and the requests on them are not served:
/// the kernel goes on accepting for a server that drains and hangs with its listener open.
fn unserved(outcomes: &[(EventIndex, Outcome)]) -> Verdict {
    if outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Rejected) {
        return Verdict::of(1, Vec::new(), "");
    }
    Verdict::inconclusive(
        "the target was alive at the deadline with its listener open, and served none of the \
         requests on later connections: it stopped serving, by the signal or by a fault",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{Disposition, ProbeOutcome, ProcessSeen, RequestEnd};
    use crate::model::signal::Signal;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn any_exit_of_its_own_is_a_handled_signal_whatever_was_lost() {
        let story = Story::new().signal().reset_request(-400, 3).exit_code(4, 1);
        assert_eq!(satisfied(verdict(story)), 1);
    }

    #[test]
    fn death_by_the_signal_with_all_in_process_lost_violates_it() {
        let story = Story::new().signal().reset_request(-400, 2).reset_request(-300, 2);
        let violations = violated(verdict(story.exit_signal(3, Signal::TERM)));
        assert_eq!(
            violations[0].message,
            "SIGTERM ended process 123 after 3.0 ms with 2 requests in process, none of which was \
             completed"
        );
        assert_eq!(violations[0].evidence.len(), 4);
    }

    #[test]
    fn what_the_process_would_do_with_the_signal_explains_it() {
        let processes = vec![ProcessSeen {
            pid: 123,
            name: "python".into(),
            leader: true,
            listener: true,
            disposition: Disposition::Default,
        }];
        let story = Story::new().event(-1, EventKind::Dispositions { processes }).signal();
        let violation =
            violated(verdict(story.reset_request(-400, 2).exit_signal(3, Signal::TERM))).remove(0);
        let end = "; process 123 (python) had the default action for SIGTERM: no handler";
        assert!(violation.message.ends_with(end), "{}", violation.message);
        assert_eq!(violation.evidence.len(), 4, "look, signal, request and exit");
    }

    #[test]
    fn what_completes_right_after_a_pause_may_have_been_on_its_way() {
        let held = |ended| {
            let story = Story::new().held(-5).signal().thawed(500).completed_request(-400, ended);
            verdict(story.exit_signal(700, Signal::TERM))
        };
        inconclusive(held(600));
        satisfied(held(601));
    }

    #[test]
    fn an_exit_that_came_when_the_clients_let_go_shows_a_handler() {
        let story = Story::new().signal().probe(600, ProbeOutcome::Established);
        let story = story.event(30_000, EventKind::DeadlinePassed).released(30_001);
        satisfied(verdict(story.exit_code(30_012, 0)));
    }

    #[test]
    fn a_drain_that_ends_by_raising_the_signal_again_is_handled() {
        let story = Story::new().signal().completed_request(-400, 500).reset_request(-300, 501);
        satisfied(verdict(story.exit_signal(502, Signal::TERM)));
    }

    #[test]
    fn death_by_the_signal_with_nothing_in_process_shows_nothing() {
        let story = Story::new().completed_request(-400, -300).signal();
        let reason = inconclusive(verdict(story.exit_signal(2, Signal::TERM)));
        assert!(reason.contains("with nothing in process"), "{reason}");
    }

    #[test]
    fn a_target_that_accepts_and_serves_until_the_deadline_ignored_the_signal() {
        let story = Story::new().signal().completed_request(600, 700).killed_at_deadline();
        let message = &violated(verdict(story))[0].message;
        assert!(message.starts_with("SIGTERM changed nothing: 1 connection begun"), "{message}");
        let probed = Story::new().signal().probe(600, ProbeOutcome::Established);
        violated(verdict(probed.killed_at_deadline()));
    }

    #[test]
    fn a_target_that_refuses_or_rejects_and_hangs_had_handled_the_signal() {
        let refusing = Story::new().signal().probe(600, ProbeOutcome::Refused);
        satisfied(verdict(refusing.killed_at_deadline()));
        let rejecting = Story::new().signal().request(600, 601, RequestEnd::Complete, |request| {
            (request.status, request.close_announced) = (Some(503), true);
        });
        satisfied(verdict(rejecting.killed_at_deadline()));
    }

    #[test]
    fn without_late_connections_nobody_knows_why_it_lives() {
        inconclusive(verdict(Story::new().signal().killed_at_deadline()));
        let early = Story::new().signal().probe(100, ProbeOutcome::Established);
        inconclusive(verdict(early.killed_at_deadline()));
        let full = Story::new().signal().probe(600, ProbeOutcome::TimedOut);
        inconclusive(verdict(full.killed_at_deadline()));
    }

    #[test]
    fn an_open_listener_that_serves_nobody_may_belong_to_a_drain_that_hangs() {
        let story = Story::new().signal().request(600, 30_002, RequestEnd::Reset, |_| {});
        let reason = inconclusive(verdict(story.killed_at_deadline()));
        assert!(reason.contains("stopped serving"), "{reason}");
    }

    #[test]
    fn a_server_behind_a_dead_wrapper_violates_it_even_if_nothing_was_lost() {
        let story = Story::new().signal().completed_request(-400, 500).completed_request(700, 800);
        let story = story.exit_signal(2, Signal::TERM).process_left(1_000).killed(1_001);
        let message = &violated(verdict(story))[0].message;
        assert!(message.starts_with("SIGTERM ended only the wrapper: process 123"), "{message}");
    }

    #[test]
    fn a_child_that_outlives_its_parent_without_serving_is_another_matter() {
        let story = Story::new().signal().completed_request(-400, 500).exit_code(501, 0);
        satisfied(verdict(story.process_left(1_501).killed(1_502)));
    }

    #[test]
    fn a_trial_that_was_broken_off_shows_nothing() {
        assert!(inconclusive(verdict(Story::new().signal().killed(90))).contains("broken off"));
    }
}
