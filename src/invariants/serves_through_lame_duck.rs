//! `serves-through-lame-duck`: who is still sent here, because the news is slow, is still served.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::event::ConnectionId;
use crate::model::history::{ConnectAttempt, History, Outcome, SignalSent};
use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::time::human;
use crate::model::verdict::{Severity, Verdict, Violation};

use super::fates::{Fate, Fates};
use super::wording::{ended, life, sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

/// Timers of the target and of the harness don't end at the same instant, and a connection that is
/// begun just before the end of the window is accepted after it.
const MARGIN: Duration = Duration::from_millis(100);

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "serves-through-lame-duck",
    fails_when: "Fails when a connection that was begun after the signal and within --lame-duck \
                 is refused, or a request on it does not complete with the expected answer. The \
                 last 100 ms of the window accuse nobody. A target that exits within its window \
                 shows as one that refuses.",
    why: "The list of endpoints and the signal go their ways at the same time: for seconds, load \
          balancers and proxies go on sending new connections to an instance that is on its way \
          out. What it refuses then is an error for somebody at each deployment, though nothing \
          was wrong with it.",
    source: "Kubernetes, Termination of Pods: endpoints are removed while the containers are \
             already being stopped. Threads: kubernetes/kubernetes#43576, \
             kubernetes/kubernetes#86280, zalando/skipper#652, caddyserver/caddy#2729.",
    usual_cause: "The listener is closed as the first thing after the signal, which is right \
                  where nobody sends more; or the window is there and the pause that makes it \
                  stops the event loop that should serve; or a supervisor kills the process \
                  before the window is over.",
    fix: "In general: at the signal let readiness fail, go on accepting and serving for the \
          window, and only then close the listener and drain. Kubernetes: a preStop hook that \
          sleeps does the same for servers that can't, and counts against \
          terminationGracePeriodSeconds. Go net/http: time.Sleep before Shutdown, in the \
          goroutine that got the signal. axum: an async sleep in the future that \
          with_graceful_shutdown is given. hyper: the same in the arm of the signal, with the \
          accept loop going on. Node http and Express: setTimeout before server.close. uvicorn \
          and gunicorn: the preStop hook. nginx: the hook, with nginx -s quit after the sleep. \
          Caddy: shutdown_delay; Traefik: requestAcceptGraceTimeout.",
    needs: "connections begun within the window: it must be longer than 100 ms, and the trials \
            must try new connections",
    counts: Counts { one: "connection", many: "connections", failed: "not served", has_rate: true },
    occasions: &[
        Situation::Load,
        Situation::OneRequest,
        Situation::SlowHandler,
        Situation::Streaming,
        Situation::Uploading,
    ],
    severity: Severities::of(Severity::Allow, Severity::Allow, Severity::Deny).of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let Some(window) = history.contract().lame_duck else {
        return Verdict::NotApplicable {
            reason: "new connections are to be refused at once: name the time in which they are \
                     still to be served with --lame-duck"
                .into(),
        };
    };
    // By the signal's clock: an orchestrator counts from there.
    let end = signal.bracket.before + window.saturating_sub(MARGIN);
    let attempts = history.late_connects();
    let within: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.started <= end && attempt.accepted.is_some())
        .collect();
    let fates = Fates::of(history, |phase| phase == Phase::ConnectedLate);
    let mut lost: HashMap<ConnectionId, &Fate<'_>> = HashMap::new();
    for fate in fates.requests.iter().filter(|fate| fate.request.started <= end) {
        if fate.outcome != Outcome::Completed {
            lost.entry(fate.request.connection).or_insert(fate);
        }
    }
    let violations: Vec<_> = within
        .iter()
        .filter_map(|attempt| {
            if attempt.accepted == Some(false) {
                return Some(refused(history, signal, attempt, window));
            }
            let lost = lost.get(&attempt.connection?)?;
            Some(unserved(history, signal, attempt, lost))
        })
        .collect();
    Verdict::of(within.len(), violations, &INVARIANT.unexercised())
}

fn refused(
    history: &History,
    signal: &SignalSent,
    attempt: &ConnectAttempt,
    window: Duration,
) -> Violation {
    let who = match attempt.connection {
        Some(id) => format!("connection {id}"),
        None => "a connection".into(),
    };
    let gone = history.exit().filter(|exit| exit.at <= attempt.ended);
    let why = gone.map(|exit| {
        format!("; process {} {} {}", exit.pid, ended(exit.status), when(exit.at, signal))
    });
    let message = format!(
        "{who}, begun {}, was refused (connections are to be served for {}){}",
        when(attempt.started, signal),
        human(window),
        why.unwrap_or_default(),
    );
    let exit = gone.map(|exit| exit.event);
    let evidence = [signal.event, attempt.event].into_iter().chain(exit);
    Violation { message, evidence: sorted(evidence) }
}

fn unserved(
    history: &History,
    signal: &SignalSent,
    attempt: &ConnectAttempt,
    lost: &Fate<'_>,
) -> Violation {
    Violation {
        message: life(history, signal, lost.request, lost.phase),
        evidence: sorted([signal.event, attempt.event, lost.event]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{ProbeOutcome, RequestEnd};

    fn verdict(story: Story) -> Verdict {
        let window = Some(Duration::from_secs(5));
        (INVARIANT.check)(&story.promising(|contract| contract.lame_duck = window).history())
    }

    #[test]
    fn connections_that_are_served_satisfy_it() {
        let story = Story::new().signal().completed_request(900, 950);
        assert_eq!(satisfied(verdict(story.probe(30, ProbeOutcome::Established))), 2);
    }

    #[test]
    fn a_refusal_within_the_window_violates_it() {
        let story = || Story::new().signal().probe(900, ProbeOutcome::Refused);
        assert_eq!(
            violated(verdict(story()))[0].message,
            "a connection, begun 900 ms after SIGTERM, was refused (connections are to be served \
             for 5.00 s)"
        );
        let exited = violated(verdict(story().exit_code(20, 0))).remove(0);
        assert!(exited.message.ends_with("; process 123 exited with status 0 20 ms after SIGTERM"));
        assert_eq!(exited.evidence.len(), 3);
    }

    #[test]
    fn a_request_that_is_not_served_violates_it_even_if_it_is_turned_away() {
        violated(verdict(Story::new().signal().reset_request(900, 905)));
        let rejected = Story::new().signal().request(900, 905, RequestEnd::Complete, |request| {
            (request.status, request.close_announced) = (Some(503), true);
        });
        assert!(violated(verdict(rejected))[0].message.contains("rejected with 503"));
    }

    #[test]
    fn the_end_of_the_window_and_what_follows_it_accuse_nobody() {
        violated(verdict(Story::new().signal().probe(4_899, ProbeOutcome::Refused)));
        let reason =
            inconclusive(verdict(Story::new().signal().probe(4_901, ProbeOutcome::Refused)));
        assert!(reason.contains("needs connections begun within the window"), "{reason}");
        inconclusive(verdict(Story::new().signal().probe(900, ProbeOutcome::TimedOut)));
        inconclusive(verdict(Story::new().signal().completed_request(-400, 900)));
    }

    #[test]
    fn without_a_window_it_does_not_apply() {
        let story = Story::new().signal().probe(900, ProbeOutcome::Refused);
        match (INVARIANT.check)(&story.history()) {
            Verdict::NotApplicable { reason } => assert!(reason.contains("--lame-duck")),
            other => panic!("{other:?}"),
        }
    }
}
