//! `stalled-clients-do-not-block`: a client that stops can't keep the server from its end.

use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::deadline::{exit_on_release, not_outlived, outlived};
use super::idle::idle;
use super::wording::{count, ended, sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "stalled-clients-do-not-block",
    fails_when: "Fails when a client that stopped sending in the middle of a request, or stopped \
                 reading in the middle of a response, kept the target alive to the deadline: it \
                 exited only when the clients, at the deadline, closed such connections. Where it \
                 did not exit then either, something else holds it, and nothing is shown here.",
    why: "Clients disappear in the middle: a phone loses its network, a laptop is closed, a \
          proxy hangs. One of them, or one with bad intentions, makes the server use its whole \
          grace period and be killed, with all that others were still waiting for.",
    source: "RFC 9112, section 9.5 (servers usually have time-outs for inactive connections, and \
             either side may close at any time). Slides: context.WithTimeout(.., 20 s) around Shutdown. Threads: \
             hyperium/hyper#3188, mholt/caddy-l4#258, pgjones/hypercorn#308.",
    usual_cause: "The drain waits for every connection without a limit, and nothing limits how \
                  long a request may take to arrive or a response to be read. Where there are \
                  such time-outs they are often longer than the deadline.",
    fix: "In general: a time-out for the whole drain, below the deadline, after which what is \
          left is closed. Go net/http: Shutdown waits indefinitely, so give it a context with a \
          deadline and call Close when that is over; ReadTimeout and WriteTimeout end such \
          clients sooner. axum and hyper: tokio::time::timeout around the graceful shutdown, and \
          then drop the connections; header_read_timeout on hyper's http1 builder. Node http and \
          Express: closeAllConnections after a time-out. uvicorn: --timeout-graceful-shutdown (it \
          waits for ever without); gunicorn: --graceful-timeout. nginx: worker_shutdown_timeout.",
    needs: "a client that had stopped when the signal came, which the situations stalled-reader \
            and stalled-sender bring about",
    counts: Counts::TRIALS,
    occasions: &[Situation::StalledReader, Situation::StalledSender],
    severity: Severities::DENY.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let bracket = signal.bracket;
    let stalled: Vec<u32> = history
        .requests()
        .filter(|(_, request)| request.stalled)
        .filter(|(_, request)| request.started <= bracket.before && request.ended > bracket.after)
        .map(|(event, _)| event)
        .collect();
    if stalled.is_empty() {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    match outlived(history, signal) {
        None => not_outlived(history),
        Some((event, how)) => blocked(history, signal, &stalled, (event, &how)),
    }
}

/// The target outlived its deadline: by the stalled clients, if it exits without them.
fn blocked(
    history: &History,
    signal: &SignalSent,
    stalled: &[u32],
    (alive, how): (u32, &str),
) -> Verdict {
    if history.clients_released().is_none() {
        return Verdict::inconclusive(
            "the target outlived its deadline, and nothing shows whether it would have exited \
             without the stalled clients",
        );
    }
    let Some((released_event, released, exit)) = exit_on_release(history) else {
        return Verdict::inconclusive(
            "the target outlived its deadline, and did not exit at once when the stalled clients \
             were gone either: something else holds it",
        );
    };
    if idle(history, signal).iter().any(|idle| idle.connection.ended >= released) {
        return Verdict::inconclusive(
            "the target exited only when the clients let go, and they let go of idle connections \
             as well: the situations stalled-reader and stalled-sender have none",
        );
    }
    let message = format!(
        "process {} {how} (the deadline is {}) with {} open, and {} {} after the clients had \
         closed them, {}",
        signal.pid,
        human(history.contract().deadline),
        count(stalled.len(), "stalled request"),
        ended(exit.status),
        human(exit.at.since(released)),
        when(exit.at, signal),
    );
    let evidence = [signal.event, alive, released_event, exit.event];
    let evidence = sorted(evidence.into_iter().chain(stalled.iter().copied()));
    Verdict::of(1, vec![Violation { message, evidence }], "")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{ConnectionEnd, EventKind, RequestEnd};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn stalled(ended_ms: i64, end: RequestEnd) -> Story {
        Story::new().signal().request(-400, ended_ms, end, |request| request.stalled = true)
    }

    /// A target that outlives its deadline of 30 s, and what the clients then let go of.
    fn outliving() -> Story {
        let story = stalled(30_002, RequestEnd::Abandoned);
        story.event(30_000, EventKind::DeadlinePassed).released(30_001)
    }

    #[test]
    fn an_exit_before_the_deadline_satisfies_it() {
        assert_eq!(satisfied(verdict(stalled(900, RequestEnd::Closed).exit_code(905, 0))), 1);
    }

    #[test]
    fn an_exit_that_comes_when_the_clients_let_go_violates_it() {
        let violation = violated(verdict(outliving().exit_code(30_013, 0))).remove(0);
        assert_eq!(
            violation.message,
            "process 123 was alive 30.0 s after SIGTERM (the deadline is 30.0 s) with 1 stalled \
             request open, and exited with status 0 12 ms after the clients had closed them, 30.0 \
             s after SIGTERM"
        );
        assert_eq!(violation.evidence.len(), 5, "signal, deadline, release, exit and request");
    }

    #[test]
    fn a_target_that_hangs_without_them_as_well_shows_nothing() {
        let hanging = outliving().killed(31_000);
        assert!(inconclusive(verdict(hanging)).contains("something else holds it"));
        let not_released = stalled(30_002, RequestEnd::Reset).killed_at_deadline();
        assert!(inconclusive(verdict(not_released)).contains("nothing shows whether"));
        assert!(inconclusive(verdict(stalled(90, RequestEnd::Closed))).contains("was over before"));
    }

    #[test]
    fn idle_connections_beside_them_may_have_been_the_reason() {
        let idle = outliving().connection(-400, 30_002, ConnectionEnd::ClosedByClient);
        assert!(inconclusive(verdict(idle.exit_code(30_013, 0))).contains("idle connections"));
        let closed_before = outliving().connection(-400, 9, ConnectionEnd::ClosedByServer);
        violated(verdict(closed_before.exit_code(30_013, 0)));
    }

    #[test]
    fn it_needs_a_client_that_had_stopped_at_the_signal() {
        let over = Story::new().signal().request(-400, -9, RequestEnd::Closed, |request| {
            request.stalled = true;
        });
        assert!(inconclusive(verdict(over.exit_code(5, 0))).contains("needs a client that had"));
        let later = Story::new().signal().request(9, 90, RequestEnd::Closed, |request| {
            request.stalled = true;
        });
        inconclusive(verdict(later.exit_code(95, 0)));
        inconclusive(verdict(Story::new().signal().completed_request(-400, 9).exit_code(9, 0)));
    }
}
