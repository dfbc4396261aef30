//! `new-connections-are-refused`: a server that is on its way out takes nobody in.

use std::collections::HashMap;

use crate::model::event::{ConnectionEnd, ConnectionId, EventIndex, EventKind, Request};
use crate::model::history::{ConnectAttempt, History, Outcome, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::wording::{ended, sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "new-connections-are-refused",
    fails_when: "Fails when a connection that was begun later than --refuse-within after the \
                 signal (and after --lame-duck, where that is given) is accepted, whether or not it is served, even by the kernel alone for a \
                 server that accepts nothing more; or when, after connections had been refused \
                 twice in a row, a later one is accepted again. An attempt that gets no answer at \
                 all counts for neither side.",
    why: "A client that is refused goes to another instance at once. One that is accepted waits: \
          for an answer from a server that may be gone before it gives one, or for the reset when \
          the process exits with the connection still in its accept queue. A server that goes on \
          taking work may also never come to its end.",
    source: "Slides: \"Rejection of new requests\" (Server.Shutdown closes the listeners first). \
             listen(2) and tcp(7): the kernel completes handshakes for as long as the socket \
             listens. Threads: Unitech/pm2#4601, Unitech/pm2#5043, envoyproxy/envoy#8031, \
             benoitc/gunicorn#2593.",
    usual_cause: "The listener stays open until the process exits: the accept loop ends and \
                  nobody closes its socket, a parent process keeps a copy of it for workers that \
                  have stopped, or the server sleeps first so that the load balancer notices. \
                  Flapping comes from a supervisor that starts a worker anew while it stops.",
    fix: "In general: close the listening socket, in every process that holds it, as the first \
          thing after the signal, and drain then. Go net/http: Shutdown closes the listeners that \
          Serve was given; one that you handed to other code is yours to close. axum: \
          with_graceful_shutdown drops the listener; hyper: leave the accept loop and drop the \
          TcpListener before you wait. Node http and Express: server.close() at once and not \
          after a pause. uvicorn closes it at its next tick (100 ms); gunicorn and other \
          pre-fork servers may hold it until their workers are gone, so keep --graceful-timeout \
          short or allow for it with --refuse-within. nginx: QUIT closes the listeners at once. \
          Behind a load balancer that deregisters late, a pause before the close is right: \
          declare it with --lame-duck.",
    needs: "connections begun after the signal while the target drains: name a slower endpoint \
            (--path '/report?ms=900'), so that the drain outlasts --refuse-within",
    counts: Counts { one: "attempt", many: "attempts", failed: "taken", has_rate: false },
    occasions: &[
        Situation::Load,
        Situation::OneRequest,
        Situation::SlowHandler,
        Situation::Streaming,
        Situation::Uploading,
    ],
    severity: Severities::DENY.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let attempts = history.late_connects();
    let limit = signal.felt + history.contract().refused_after();
    let refusals = refused_twice(&attempts);
    let uses = first_uses(history, &attempts);
    let mut exercised = 0;
    let mut violations = Vec::new();
    for attempt in &attempts {
        let late = attempt.started > limit;
        let again = refusals.filter(|[_, second]| attempt.started > second.ended);
        match attempt.accepted {
            Some(false) => exercised += 1,
            Some(true) if late || again.is_some() => {
                exercised += 1;
                let used = attempt.connection.and_then(|id| uses.get(&id)).copied();
                violations.push(violation(history, signal, attempt, again, used));
            }
            Some(true) | None => {}
        }
    }
    Verdict::of(exercised, violations, &INVARIANT.unexercised())
}

/// The earliest two refusals of which one followed on the other.
///
/// One alone is no proof that the listener was closed: of several listeners on one port
/// (SO_REUSEPORT), each that is closed resets the handshakes of its own queue, which looks like
/// a refusal while the others still accept. Nor are two between which somebody accepted.
fn refused_twice(attempts: &[ConnectAttempt]) -> Option<[&ConnectAttempt; 2]> {
    let mut by_end: Vec<&ConnectAttempt> =
        attempts.iter().filter(|attempt| attempt.accepted.is_some()).collect();
    by_end.sort_by_key(|attempt| attempt.ended);
    let mut first: Option<&ConnectAttempt> = None;
    for attempt in by_end {
        match first {
            _ if attempt.accepted == Some(true) => first = None,
            Some(first) if attempt.started > first.ended => return Some([first, attempt]),
            Some(_) => {}
            None => first = Some(attempt),
        }
    }
    None
}

/// The first request on each connection that was begun after the signal.
fn first_uses<'h>(
    history: &'h History,
    attempts: &[ConnectAttempt],
) -> HashMap<ConnectionId, (EventIndex, &'h Request)> {
    let mut uses = HashMap::new();
    if attempts.iter().any(|attempt| attempt.connection.is_some()) {
        for (event, request) in history.requests() {
            uses.entry(request.connection).or_insert((event, request));
        }
    }
    uses
}

fn violation(
    history: &History,
    signal: &SignalSent,
    attempt: &ConnectAttempt,
    again: Option<[&ConnectAttempt; 2]>,
    used: Option<(EventIndex, &Request)>,
) -> Violation {
    let who = match attempt.connection {
        Some(id) => format!("connection {id}"),
        None => "a connection".into(),
    };
    let limit = human(history.contract().refused_after());
    let rule = match again {
        Some([_, second]) => format!(
            "{} after two had been refused in a row",
            human(attempt.started.since(second.ended))
        ),
        None => format!("the limit is {limit}"),
    };
    let gone = history.exit().filter(|exit| exit.at < attempt.started).map(|exit| {
        let ago = human(attempt.started.since(exit.at));
        format!("; process {} {} {ago} before", exit.pid, ended(exit.status))
    });
    let message = format!(
        "{who}, begun {}, was accepted ({rule}); {}{}",
        when(attempt.started, signal),
        fate(history, signal, attempt, used),
        gone.unwrap_or_default(),
    );
    let refusals = again.into_iter().flatten().map(|refusal| refusal.event);
    let request = used.map(|(event, _)| event);
    let evidence = [signal.event, attempt.event].into_iter().chain(request).chain(refusals);
    Violation { message, evidence: sorted(evidence) }
}

/// What became of an accepted connection.
fn fate(
    history: &History,
    signal: &SignalSent,
    attempt: &ConnectAttempt,
    used: Option<(EventIndex, &Request)>,
) -> String {
    if let Some((_, request)) = used {
        let name = &history.contract().requests[usize::from(request.template)].name;
        let status = request.status.unwrap_or_default();
        let ended = when(request.ended, signal);
        return match history.outcome(request) {
            Outcome::Completed => format!("{name} on it was served {status}"),
            Outcome::TimedOut => format!("{name} on it was never answered"),
            Outcome::Rejected => format!("{name} on it was rejected with {status}"),
            outcome => format!("{name} on it ended {} {ended}", outcome.name()),
        };
    }
    match &history.events()[attempt.event as usize].kind {
        EventKind::Connection(connection) => {
            let ended = when(connection.ended, signal);
            match connection.end {
                ConnectionEnd::ClosedByServer => format!("the server closed it {ended}"),
                ConnectionEnd::ResetByServer => format!("the server reset it {ended}"),
                _ => "the client closed it unused".into(),
            }
        }
        _ => "the probe closed it at once".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use std::time::Duration;

    use super::*;
    use crate::model::contract::Contract;
    use crate::model::event::ProbeOutcome::{Established, Failed, Refused, TimedOut};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn message(story: Story) -> String {
        violated(verdict(story)).remove(0).message
    }

    #[test]
    fn refusals_satisfy_it_at_whatever_time_they_come() {
        let story = Story::new().signal().probe(20, Refused).probe(700, Refused);
        assert_eq!(satisfied(verdict(story)), 2);
    }

    #[test]
    fn what_is_accepted_within_the_limit_is_allowed_and_shows_nothing() {
        let story = Story::new().signal().probe(1, Established).probe(500, Established);
        assert!(inconclusive(verdict(story)).contains("needs connections begun after"));
    }

    #[test]
    fn what_is_accepted_after_the_limit_violates_it_each_time() {
        let story = Story::new().signal().probe(501, Established).probe(600, Established);
        let violations = violated(verdict(story));
        assert_eq!(violations.len(), 2);
        assert_eq!(
            violations[0].message,
            "a connection, begun 501 ms after SIGTERM, was accepted (the limit is 500 ms); the \
             probe closed it at once"
        );
    }

    #[test]
    fn the_limit_is_counted_from_when_the_target_could_act_and_from_its_window() {
        let held = || Story::new().held(-5).signal().thawed(150);
        violated(verdict(held().probe(651, Established)));
        inconclusive(verdict(held().probe(650, Established)));
        let window = |contract: &mut Contract| contract.lame_duck = Some(Duration::from_secs(5));
        let lame = || Story::new().signal().promising(window);
        inconclusive(verdict(lame().probe(5_500, Established)));
        let message = message(lame().probe(5_501, Established));
        assert!(message.contains("(the limit is 5.50 s)"), "{message}");
    }

    #[test]
    fn the_fate_of_a_late_connection_is_told() {
        let served = message(Story::new().signal().completed_request(700, 800));
        assert!(served.starts_with("connection 1, begun 700 ms after SIGTERM"), "{served}");
        assert!(served.ends_with("GET /sleep?ms=900 on it was served 200"), "{served}");
        let reset = message(Story::new().signal().reset_request(700, 800));
        assert!(reset.ends_with("on it ended reset 800 ms after SIGTERM"), "{reset}");
        let exited = message(Story::new().signal().exit_code(600, 0).probe(700, Established));
        assert!(exited.ends_with("process 123 exited with status 0 100 ms before"), "{exited}");
    }

    #[test]
    fn a_listener_that_opens_again_violates_it_at_once() {
        let closed = Story::new().signal().probe(10, Refused).probe(20, Refused);
        let violations = violated(verdict(closed.probe(30, Established)));
        assert!(violations[0].message.contains("after two had been refused in a row"));
        assert_eq!(violations[0].evidence.len(), 4, "signal, attempt and both refusals");
    }

    #[test]
    fn one_reset_handshake_does_not_show_that_the_listener_was_closed() {
        let one = Story::new().signal().probe(10, Refused).probe(30, Established);
        assert_eq!(satisfied(verdict(one)), 1);
        let at_once = Story::new().signal().probe(10, Refused).probe(10, Refused);
        assert_eq!(satisfied(verdict(at_once.probe(30, Established))), 2);
        let overlapping = Story::new().signal().probe(10, Refused).probe(20, Refused);
        assert_eq!(satisfied(verdict(overlapping.probe(21, Established))), 2);
    }

    #[test]
    fn attempts_without_an_answer_count_for_neither_side() {
        let story = Story::new().signal().probe(700, TimedOut).probe(700, Failed);
        inconclusive(verdict(story));
    }

    #[test]
    fn what_came_before_the_signal_or_after_the_harness_killed_is_not_looked_at() {
        let early = Story::new().probe(-20, Established).signal();
        inconclusive(verdict(early));
        let killed = Story::new().signal().killed(600).probe(700, Established);
        inconclusive(verdict(killed));
    }
}
