//! `queued-connections-are-served`: who had connected before the signal is not thrown out unheard.

use crate::model::history::{History, SignalSent};
use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::verdict::Verdict;

use super::fates::{Fates, violations};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "queued-connections-are-served",
    fails_when: "Fails when a request gets not one byte in answer that had come, before the \
                 signal, on a connection in the accept queue: the kernel had completed its \
                 handshake, and the program had not accepted it yet. Only the kernel's view of \
                 the server's sockets tells such requests.",
    why: "For the client the connection was established and the request sent: it sees a reset, \
          not a refusal that would send it elsewhere, and can't know that nobody ever read what \
          it sent. Under load there is nearly always somebody in the queue, so that each \
          deployment loses some.",
    source: "listen(2): completed connections wait for accept; measured on Linux, the close of a \
             listening socket resets those that still wait. RFC 9110, section 9.2.2 (what a \
             client may repeat). Threads: libp2p/go-reuseport#6, benoitc/gunicorn#2593, \
             envoyproxy/envoy#15818.",
    usual_cause: "The listener is closed at the signal without a look at its queue. Where an \
                  accept loop is selected against the signal, chance decides whether the next \
                  connection or the end comes first. With several listeners on one port \
                  (SO_REUSEPORT) each that closes resets its own share of the queue.",
    fix: "In general: accept without waiting until nothing is left (EAGAIN), keep those \
          connections, close the listener, and serve them then; what connects in the very moment \
          of the close can only be kept by dropping new SYNs for some milliseconds before \
          (SO_ATTACH_FILTER). Or let another process keep the socket: systemd's socket activation \
          (systemd.socket(5)) leaves the queue to the next instance. Go net/http: Shutdown closes \
          the listener with what waits there, so wrap it in a Listener whose Close accepts first. \
          axum and hyper: an accept loop of your own, biased towards accept once the signal is \
          there. uvicorn and gunicorn: behind a proxy that connects again. Linux with \
          SO_REUSEPORT: net.ipv4.tcp_migrate_req = 1 hands the queue to the other listeners.",
    needs: "requests in the accept queue at the signal, which the situations queued and mixed \
            bring about",
    counts: Counts { one: "request", many: "requests", failed: "lost", has_rate: true },
    occasions: &[Situation::Queued, Situation::Mixed],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let queued = Fates::of(history, |phase| phase == Phase::Queued);
    let violations = violations(history, signal, queued.unanswered());
    let if_none = queued.only_cut("in the accept queue");
    let if_none = if_none.unwrap_or_else(|| INVARIANT.unexercised());
    Verdict::of(queued.requests.len(), violations, &if_none)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::RequestEnd;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn queued(end: RequestEnd) -> Story {
        Story::new().signal().request(-5, 9, end, |_| {}).seen(1, false, 118, 118)
    }

    #[test]
    fn who_is_served_from_the_queue_satisfies_it() {
        assert_eq!(satisfied(verdict(queued(RequestEnd::Complete))), 1);
    }

    #[test]
    fn who_is_thrown_out_of_the_queue_violates_it() {
        for end in [RequestEnd::Reset, RequestEnd::Closed, RequestEnd::TimedOut] {
            let message = violated(verdict(queued(end))).remove(0).message;
            assert!(message.contains("not yet accepted by the server (kernel:"), "{message}");
        }
    }

    #[test]
    fn those_that_were_accepted_are_not_its_matter() {
        let delivered = Story::new().signal().reset_request(-5, 9).seen(1, true, 118, 118);
        assert!(inconclusive(verdict(delivered)).contains("needs requests in the accept queue"));
        let without_the_kernel = Story::new().signal().reset_request(-5, 9);
        inconclusive(verdict(without_the_kernel));
    }

    #[test]
    fn two_looks_that_differ_accuse_nobody() {
        let story = Story::new().signal().reset_request(-5, 9);
        let accepted_meanwhile = story.seen_after(1, true, 118, 118).seen(1, false, 118, 118);
        inconclusive(verdict(accepted_meanwhile));
    }

    #[test]
    fn what_the_harness_cut_accuses_nobody() {
        let reason = inconclusive(verdict(queued(RequestEnd::Abandoned)));
        assert!(reason.contains("requests in the accept queue were cut short"), "{reason}");
    }
}
