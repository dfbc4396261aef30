//! `close-is-announced`: who will close a connection says so in the last response on it.

use crate::model::event::{EventIndex, Framing, Request, RequestEnd};
use crate::model::history::{History, SignalSent};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::wording::{evidence, when};
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "close-is-announced",
    fails_when: "Fails when a whole response whose first byte came more than 100 ms after the \
                 signal, in HTTP/1.1 and on a connection that stays open by default, lacks \
                 Connection: close. Responses whose body ends where the connection does, and \
                 those in HTTP/1.0, need none.",
    why: "The client takes the connection for reusable, sends its next request on it, and that \
          meets the close. With the announcement it opens a new connection, to another instance, \
          and nothing is lost: it is the only way in HTTP/1.1 to end a kept connection without a \
          race.",
    source: "RFC 9112, section 9.6: a sender SHOULD send the close connection option when it \
             intends to close a connection, and the receiver then sends nothing more on it. \
             Threads: nodejs/node#60617, kubernetes/kubernetes#43576, golang/go#65805.",
    usual_cause: "The shutdown closes the listener and lets handlers finish, and nobody tells the \
                  part that writes the responses' heads; or a framework's own default header \
                  (Connection: keep-alive) goes out as always.",
    fix: "In general: from the signal on, put Connection: close on every response. Go net/http \
          does so once Shutdown was called; hyper and axum once the connection's graceful \
          shutdown was. Node http and Express don't: server.close leaves Connection: keep-alive \
          on the responses of requests in process, so set res.setHeader('Connection', 'close') \
          in every handler while closing (Express: a first middleware). uvicorn does with \
          httptools and not with h11: install uvicorn[standard]. gunicorn does. nginx does from \
          1.21.6 on.",
    needs: "responses that begin after the signal: name an endpoint that answers more slowly \
            (--path '/report?ms=900')",
    counts: Counts { one: "response", many: "responses", failed: "not announced", has_rate: false },
    occasions: ANY,
    severity: Severities::of(Severity::Warn, Severity::Warn, Severity::Warn).of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let from = signal.felt + history.contract().reaction + history.lag();
    let responses: Vec<(EventIndex, &Request)> = history
        .requests()
        .filter(|(_, request)| request.first_byte.is_some_and(|at| at > from))
        .filter(|(_, request)| leaves_open(request))
        .collect();
    let violations: Vec<_> = responses
        .iter()
        .filter(|(_, request)| !request.close_announced)
        .map(|(event, request)| violation(history, signal, *event, request))
        .collect();
    Verdict::of(responses.len(), violations, &INVARIANT.unexercised())
}

/// Whether a whole response leaves its connection open unless it says otherwise. After 101 the
/// connection is no more one of HTTP.
fn leaves_open(request: &Request) -> bool {
    let is_delimited = !matches!(request.framing, None | Some(Framing::CloseDelimited));
    request.end == RequestEnd::Complete
        && is_delimited
        && !request.http_1_0
        && request.status != Some(101)
}

fn violation(
    history: &History,
    signal: &SignalSent,
    event: EventIndex,
    request: &Request,
) -> Violation {
    let name = &history.contract().requests[usize::from(request.template)].name;
    let message = format!(
        "{name} on connection {}: the response {}, begun {}, does not say Connection: close",
        request.connection,
        request.status.unwrap_or_default(),
        when(request.first_byte.unwrap_or(request.ended), signal),
    );
    Violation { message, evidence: evidence(history, signal, event, request) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::EventKind;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A response whose first byte comes so many milliseconds after the signal.
    fn answered(at_ms: i64, change: impl FnOnce(&mut Request)) -> Story {
        Story::new().signal().request(-400, at_ms, RequestEnd::Complete, change)
    }

    #[test]
    fn a_response_that_says_so_satisfies_it() {
        let story = answered(500, |request| request.close_announced = true);
        assert_eq!(satisfied(verdict(story)), 1);
    }

    #[test]
    fn a_response_that_does_not_say_so_violates_it() {
        assert_eq!(
            violated(verdict(answered(500, |_| {})))[0].message,
            "GET /sleep?ms=900 on connection 1: the response 200, begun 500 ms after SIGTERM, \
             does not say Connection: close"
        );
        let chunked = answered(500, |request| request.framing = Some(Framing::Chunked));
        assert_eq!(violated(verdict(chunked))[0].evidence.len(), 3);
    }

    #[test]
    fn responses_that_end_their_connection_anyway_need_no_announcement() {
        let changes: [fn(&mut Request); 3] = [
            |request| request.framing = Some(Framing::CloseDelimited),
            |request| request.http_1_0 = true,
            |request| request.status = Some(101),
        ];
        for change in changes {
            assert!(inconclusive(verdict(answered(500, change))).contains("needs responses"));
        }
    }

    #[test]
    fn what_began_before_a_handler_can_have_run_shows_nothing() {
        inconclusive(verdict(answered(250, |_| {})));
        violated(verdict(answered(251, |_| {})));
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(5) };
        inconclusive(verdict(answered(255, |_| {}).event(900, lag)));
        let held = |at_ms| answered(at_ms, |_| {}).held(-5).thawed(1_000);
        inconclusive(verdict(held(1_250)));
        violated(verdict(held(1_251)));
    }

    #[test]
    fn a_response_that_is_not_whole_is_another_matter() {
        let cut = Story::new().signal().request(-400, 500, RequestEnd::Closed, |request| {
            (request.first_byte, request.status) = (Some(request.ended), Some(200));
            request.framing = Some(Framing::ContentLength(4));
        });
        inconclusive(verdict(cut));
    }
}
