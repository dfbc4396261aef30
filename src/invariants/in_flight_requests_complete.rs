//! `in-flight-requests-complete`: what the program had read, it answers.

use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::verdict::Verdict;

use super::fates::{Fates, violations};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "in-flight-requests-complete",
    fails_when: "Fails when a request in process at the signal does not complete: the program had \
                 read the whole of it (processing), or its head while the body was still being \
                 sent (uploading), and the client did not get the expected status with the whole \
                 expected body. Where the kernel can be asked, its view of the server's sockets \
                 says what had been read; elsewhere only what was sent long enough before the \
                 signal counts. A request whose client stopped on purpose does not.",
    why: "The program had taken the work on, and the client can't know whether it was done. A \
          payment may be charged and not recorded, or recorded and not confirmed; a POST is not \
          repeated automatically (RFC 9110, section 9.2.2), so each loss is an error that a user \
          sees, at every deployment.",
    source: "Slides: \"Completion of requests in process\" and \"Graceful shutdown ensures data \
             integrity\". RFC 9112, section 9.6 (a server closes a connection after the last \
             response, and not so that the response is lost). Threads: golang/go#36819, \
             fastify/fastify#6889, benoitc/gunicorn#1236.",
    usual_cause: "The process ends before its handlers do: main returns as soon as the listener \
                  is closed, a time-out for the drain is shorter than the longest request, the \
                  signal cancels the context that handlers work with, or nothing handles the \
                  signal at all. A handler that survives may still answer 500 or an empty 200 \
                  because its database was closed first.",
    fix: "In general: stop accepting, then wait for the handlers, and only then close what they \
          use and exit. Go net/http: ListenAndServe returns at once when Shutdown is called, so \
          main must wait until Shutdown itself has returned; don't derive request contexts from \
          the context that the signal cancels. axum: await serve(..).with_graceful_shutdown(..) \
          to its end; hyper: hyper_util's GracefulShutdown, and await its shutdown(). Node http \
          and Express: call process.exit only in the callback of server.close. uvicorn: \
          --timeout-graceful-shutdown above the longest request; gunicorn: --graceful-timeout \
          likewise, and SIGTERM rather than SIGQUIT. nginx: SIGTERM is the fast shutdown, so \
          send SIGQUIT (STOPSIGNAL in a Dockerfile) and keep worker_shutdown_timeout above the \
          longest request.",
    needs: "a request in process at the signal: name a slower endpoint \
            (--path '/report?ms=300') or use more connections (--connections)",
    counts: Counts { one: "request", many: "requests", failed: "lost", has_rate: true },
    occasions: &[
        Situation::Load,
        Situation::OneRequest,
        Situation::SlowHandler,
        Situation::Streaming,
        Situation::Uploading,
        Situation::Mixed,
    ],
    severity: Severities::DENY.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let in_process = Fates::in_process(history);
    let violations = violations(history, signal, in_process.lost());
    let if_none = in_process.only_cut("in process").unwrap_or_else(|| INVARIANT.unexercised());
    Verdict::of(in_process.requests.len(), violations, &if_none)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{Framing, RequestEnd};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn message(story: Story) -> String {
        violated(verdict(story)).remove(0).message
    }

    #[test]
    fn completed_requests_satisfy_it_each_on_its_own() {
        let drained = Story::new().signal().completed_request(-400, 500);
        assert_eq!(satisfied(verdict(drained.completed_request(-300, 600).exit_code(601, 0))), 2);
    }

    #[test]
    fn a_request_that_is_reset_violates_it_and_is_shown() {
        let story = Story::new().signal().completed_request(-400, 500).reset_request(-300, 4);
        let history = story.exit_code(5, 0).history();
        let violations = violated((INVARIANT.check)(&history));
        assert_eq!(violations.len(), 1);
        let end = "no response byte; RST +4.0 ms after SIGTERM; 1 other at that level in this \
                   trial was completed";
        assert!(violations[0].message.ends_with(end), "{}", violations[0].message);
        assert_eq!(violations[0].evidence.len(), 3, "signal, request and connection");
        assert!(violations[0].evidence.is_sorted());
    }

    #[test]
    fn another_status_than_usual_is_no_completion() {
        let status = |status, close| {
            Story::new().signal().request(-400, 500, RequestEnd::Complete, move |request| {
                request.status = Some(status);
                request.close_announced = close;
            })
        };
        assert!(message(status(500, false)).contains("wrong-status 500 instead of 200"));
        assert!(message(status(503, true)).contains("rejected with 503"));
    }

    #[test]
    fn a_client_that_stopped_on_purpose_shows_nothing() {
        let stalled = Story::new().signal().request(-400, 9, RequestEnd::Closed, |request| {
            request.stalled = true;
        });
        inconclusive(verdict(stalled));
    }

    #[test]
    fn without_an_answer_at_the_deadline_it_is_violated() {
        let open = Story::new().signal().request(-400, 30_002, RequestEnd::Reset, |_| {});
        let end = "timed-out (not complete at the deadline, +30.0 s after SIGTERM)";
        assert!(message(open.killed_at_deadline()).ends_with(end));
    }

    #[test]
    fn a_body_that_the_harness_cut_at_the_deadline_is_called_late_and_not_truncated() {
        let streaming = Story::new().signal().request(-400, 30_002, RequestEnd::Complete, |r| {
            (r.framing, r.body.length) = (Some(Framing::CloseDelimited), 1);
        });
        assert!(message(streaming.killed_at_deadline()).contains("timed-out"));
    }

    #[test]
    fn a_body_that_nothing_tells_from_a_cut_one_shows_nothing() {
        let story = Story::new().signal().request(-400, 50, RequestEnd::Complete, |request| {
            request.framing = Some(Framing::CloseDelimited);
        });
        inconclusive(verdict(story.promising(|contract| contract.requests[0].body = None)));
    }

    #[test]
    fn losses_that_are_as_usual_accuse_nobody_and_more_of_them_do() {
        let flaky = || {
            let before = (0..20).fold(Story::new(), |s, n| s.completed_request(-900 + n, -800));
            before.reset_request(-700, -600).signal()
        };
        let one =
            (0..15).fold(flaky().reset_request(-400, 9), |s, n| s.completed_request(-300 + n, 50));
        assert_eq!(satisfied(verdict(one)), 15);
        let many = (0..15).fold(flaky(), |s, n| s.reset_request(-300 + n, 9));
        assert_eq!(violated(verdict(many)).len(), 15);
    }

    #[test]
    fn what_the_harness_cut_before_the_deadline_accuses_nobody() {
        let left = Story::new().signal().request(-400, 1_002, RequestEnd::Reset, |_| {});
        let left = left.exit_code(3, 0).process_left(1_000).killed(1_001);
        assert!(inconclusive(verdict(left)).contains("cut short by the harness"));
        let had_its_time = Story::new().signal().request(-400, 30_002, RequestEnd::Reset, |_| {});
        violated(verdict(had_its_time.exit_code(3, 0).process_left(30_000).killed(30_001)));
        let abandoned = Story::new().signal().request(-400, 50, RequestEnd::Abandoned, |_| {});
        assert!(inconclusive(verdict(abandoned)).contains("cut short by the harness"));
    }

    #[test]
    fn requests_that_were_not_in_process_are_not_its_matter() {
        let over = Story::new().signal().reset_request(-400, -300);
        assert!(inconclusive(verdict(over)).contains("not exercised; it needs a request"));
        let late = Story::new().signal().reset_request(5, 9);
        inconclusive(verdict(late));
        let too_young_to_tell = Story::new().signal().reset_request(-50, 9);
        inconclusive(verdict(too_young_to_tell));
    }

    #[test]
    fn the_kernels_view_decides_who_held_the_request() {
        let reset = || Story::new().signal().reset_request(-400, 4);
        violated(verdict(reset().seen(1, true, 118, 0)));
        inconclusive(verdict(reset().seen(1, true, 118, 118)));
        inconclusive(verdict(reset().seen(1, false, 118, 118)));
        inconclusive(verdict(reset().seen(2, true, 118, 0)));
    }
}
