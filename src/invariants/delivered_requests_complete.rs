//! `delivered-requests-complete`: what lay with the server, though unread, is answered.

use crate::model::history::{History, SignalSent};
use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::verdict::Verdict;

use super::fates::{Fates, violations};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "delivered-requests-complete",
    fails_when: "Fails when a request gets not one byte in answer whose bytes had come to an \
                 accepted connection before the signal, and of which the program had read nothing \
                 (delivered) or only a part of the head (partial-head): its connection is closed \
                 or reset, or nothing comes before the deadline. To be turned away is an answer. \
                 Only the kernel's view of the server's sockets tells such requests from those in \
                 process.",
    why: "The client had its connection and had sent everything: from where it stands, the \
          request was as good as any other. A POST is not repeated automatically (RFC 9110, \
          section 9.2.2), so that users see an error; and the more often a server is deployed, \
          the more often they do.",
    source: "RFC 9112, section 9.6 (a server that closes at once may destroy what is under way, \
             so it closes in stages). RFC 9293, section 3.6.1 (a close with unread bytes is \
             answered with RST). Threads: nodejs/node#60617, benoitc/gunicorn#1236, \
             golang/go#65805.",
    usual_cause: "A connection of which the program has read nothing since its last answer counts \
                  as idle and is closed at the signal, with the request in its receive queue, and \
                  the kernel turns that into a reset. Servers that ask for their stop flag at a \
                  tick lose requests only after a pause, as on a busy machine. Others cancel the \
                  read that waits for the first bytes of a connection.",
    fix: "In general: before a connection is closed, look whether bytes lie in its receive queue \
          (FIONREAD, or a peek), answer what is there with Connection: close, then shut down \
          writing and read to the end with a limit. hyper: graceful_shutdown closes a connection \
          of which no byte was read, so call it only when nothing lies unread; axum and \
          hyper_util's auto server cancel the detection of the HTTP version in the same way. Go \
          net/http, uvicorn and others that can't be told: end the traffic first, by a preStop \
          pause or by leaving the load balancer, and send the signal then. Behind nginx, \
          proxy_next_upstream repeats what is safe to repeat.",
    needs: "requests that lie unread, or read by half, at the signal, which the situations \
            delivered, delivered-keepalive and partial-head bring about",
    counts: Counts { one: "request", many: "requests", failed: "lost", has_rate: true },
    occasions: &[
        Situation::PartialHead,
        Situation::Delivered,
        Situation::DeliveredKeepalive,
        Situation::Mixed,
    ],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let at_level = |phase| matches!(phase, Phase::Delivered | Phase::PartialHead);
    let delivered = Fates::of(history, at_level);
    let violations = violations(history, signal, delivered.unanswered());
    let if_none = delivered.only_cut("delivered").unwrap_or_else(|| INVARIANT.unexercised());
    Verdict::of(delivered.requests.len(), violations, &if_none)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::RequestEnd;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A request that lies unread in the server's receive queue, and ends 9 ms after the signal.
    fn delivered(end: RequestEnd) -> Story {
        Story::new().signal().request(-5, 9, end, |_| {}).seen(1, true, 118, 118)
    }

    #[test]
    fn an_answer_satisfies_it_whatever_it_says() {
        assert_eq!(satisfied(verdict(delivered(RequestEnd::Complete))), 1);
        let rejected = Story::new().signal().request(-5, 9, RequestEnd::Complete, |request| {
            (request.status, request.close_announced) = (Some(503), true);
        });
        satisfied(verdict(rejected.seen(1, true, 118, 118)));
    }

    #[test]
    fn no_answer_violates_it_however_the_connection_ends() {
        for (end, how) in [
            (RequestEnd::Closed, "closed-without-response (FIN) +9.0 ms"),
            (RequestEnd::Reset, "RST +9.0 ms"),
            (RequestEnd::TimedOut, "timed-out (the client waited no longer) +9.0 ms"),
        ] {
            let message = violated(verdict(delivered(end))).remove(0).message;
            assert!(message.contains("accepted and unread by the server (kernel: 118 B of 118 B"));
            assert!(message.contains(how), "{message}");
        }
    }

    #[test]
    fn a_head_that_was_read_by_half_counts_as_well() {
        let half = Story::new().signal().reset_request(-5, 9).seen(1, true, 118, 18);
        assert_eq!(violated(verdict(half)).len(), 1);
    }

    #[test]
    fn what_others_at_that_level_did_is_told_once() {
        let story = delivered(RequestEnd::Reset).completed_request(-5, 9).seen(2, true, 118, 118);
        let violations = violated(verdict(story.reset_request(-5, 9).seen(3, true, 118, 118)));
        let clause = "; of 2 others at that level in this trial 1 was completed, 1 reset";
        assert!(violations[0].message.ends_with(clause), "{}", violations[0].message);
        assert!(!violations[1].message.contains("others at that level"));
    }

    #[test]
    fn a_response_that_began_is_another_matter() {
        let begun = Story::new().signal().request(-5, 9, RequestEnd::Reset, |request| {
            request.first_byte = Some(request.ended);
        });
        satisfied(verdict(begun.seen(1, true, 118, 118)));
    }

    #[test]
    fn other_phases_and_clients_that_stopped_are_not_its_matter() {
        let in_process = Story::new().signal().reset_request(-5, 9).seen(1, true, 118, 0);
        assert!(inconclusive(verdict(in_process)).contains("needs requests that lie unread"));
        inconclusive(verdict(Story::new().signal().reset_request(-5, 9).seen(1, false, 118, 118)));
        let stalled = Story::new().signal().request(-5, 9, RequestEnd::Reset, |request| {
            request.stalled = true;
        });
        inconclusive(verdict(stalled.seen(1, true, 118, 118)));
    }

    #[test]
    fn what_the_harness_cut_or_what_fails_anyway_accuses_nobody() {
        let cut = delivered(RequestEnd::Abandoned);
        assert!(inconclusive(verdict(cut)).contains("requests delivered were cut short"));
        let flaky = delivered(RequestEnd::Reset).reset_request(-700, -600);
        inconclusive(verdict(flaky.completed_request(-700, -600)));
    }
}
