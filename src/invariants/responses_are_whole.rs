//! `responses-are-whole`: a response that begins also ends.

use crate::model::event::{Framing, Request, RequestEnd};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::plan::Situation;
use crate::model::verdict::Verdict;

use super::fates::{Fate, violations};
use super::{Counts, Invariant, Severities, given_signal};

/// The situations in which requests are answered.
const WITH_RESPONSES: &[Situation] = &[
    Situation::Load,
    Situation::OneRequest,
    Situation::IdleKeepalive,
    Situation::SlowHandler,
    Situation::Streaming,
    Situation::Uploading,
    Situation::PartialHead,
    Situation::Delivered,
    Situation::DeliveredKeepalive,
    Situation::Queued,
    Situation::QueuedSilent,
    Situation::Mixed,
    Situation::AsPid1,
];

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "responses-are-whole",
    fails_when: "Fails when a response that began, at any time of the trial, ended short or \
                 wrong: closed or reset before the length or the last chunk that it announced, or \
                 seemingly complete with a body that is not the expected one. A whole response \
                 with another status is whole, and one that its client stopped reading on purpose \
                 does not count.",
    why: "A lost answer is at least seen as lost. Half an answer may be taken for a whole one: a \
          body that only the end of the connection delimits looks complete when it is cut, and \
          so does a handler's empty 200. Such a file is stored, cached and parsed, and nobody \
          learns of it.",
    source: "RFC 9112, section 8 (incomplete messages) and section 6.3 (a close-delimited body \
             can't be told from a cut one). Slides: \"Completion of requests in process\", \"data \
             integrity\". Threads: akka/akka-http#3139, true-async/server#171.",
    usual_cause: "The process exits, or its connections are closed, while a handler is still \
                  writing: streams, downloads and responses larger than the socket's buffer \
                  suffer first. Or the handler's context is cancelled by the signal and the \
                  handler ends its response early, as if that were all. Or the server closes the \
                  socket with request bytes unread, and the kernel's RST destroys response bytes \
                  under way.",
    fix: "In general: wait for the bodies and not only for the handlers to be called, announce \
          lengths (Content-Length or chunks) so that a cut is seen, and break a stream off with \
          an error rather than a regular end. Go net/http: wait for Shutdown to return; in a \
          handler that must give up, panic(http.ErrAbortHandler). axum and hyper: await the \
          graceful shutdown to its end, and don't drop the runtime while bodies are being sent. \
          Node http and Express: exit in the callback of server.close and not before; pipe with \
          stream.pipeline, which destroys the response when its source fails. uvicorn and \
          gunicorn: time-outs for the drain above the longest response. nginx: SIGQUIT, and \
          worker_shutdown_timeout above the longest download.",
    needs: "a response that began, with a length, chunks or a known body to compare: name an \
            endpoint that answers (--path)",
    counts: Counts { one: "response", many: "responses", failed: "broken", has_rate: true },
    occasions: WITH_RESPONSES,
    severity: Severities::DENY.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let shown: Vec<Fate<'_>> = history
        .phased_requests()
        .filter(|(_, request, _)| is_shown(history, request))
        .map(|(event, request, phase)| Fate {
            event,
            request,
            phase,
            outcome: history.outcome(request),
        })
        // What was over when the signal came is not the shutdown's fault.
        .filter(|shown| !is_broken(shown) || shown.request.ended > signal.bracket.before)
        .filter(|shown| shown.outcome != Outcome::Unverifiable)
        .collect();
    let is_unusual = |broken: &&Fate<'_>| {
        let template = broken.request.template;
        let of_template = || shown.iter().filter(|shown| shown.request.template == template);
        let alike = of_template().filter(|shown| shown.outcome == broken.outcome).count() as u64;
        let all = of_template().filter(|shown| shown.request.ended > signal.bracket.before).count();
        !history.fails_anyway(template, broken.outcome, alike, all as u64)
    };
    let broken = shown.iter().filter(|shown| is_broken(shown)).filter(is_unusual);
    let violations = violations(history, signal, broken);
    let whole = shown.iter().filter(|shown| !is_broken(shown)).count();
    Verdict::of(whole + violations.len(), violations, &INVARIANT.unexercised())
}

/// Whether a response that began ended short or wrong.
fn is_broken(shown: &Fate<'_>) -> bool {
    matches!(shown.outcome, Outcome::Truncated | Outcome::Corrupt | Outcome::Reset)
}

/// Whether the target gave a response whose wholeness the client could see.
fn is_shown(history: &History, request: &Request) -> bool {
    let killed = history.killed().is_some_and(|(_, at)| request.ended >= at);
    let ended_by_target =
        !killed && !matches!(request.end, RequestEnd::Abandoned | RequestEnd::TimedOut);
    request.first_byte.is_some()
        && ended_by_target
        && !request.stalled
        && can_be_compared(history, request)
}

/// A body that ends where its connection does shows a cut only beside a known body.
fn can_be_compared(history: &History, request: &Request) -> bool {
    let complete = request.end == RequestEnd::Complete;
    if !complete || request.framing != Some(Framing::CloseDelimited) {
        return true;
    }
    let expected = &history.contract().requests[usize::from(request.template)];
    request.status == Some(expected.status)
        && (expected.body.is_some() || request.body.digest_matches.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A response that has begun when the signal comes, and ends 9 ms after it.
    fn begun(end: RequestEnd, change: impl FnOnce(&mut Request)) -> Story {
        Story::new().signal().request(-400, 9, end, |request| {
            request.first_byte = Some(request.started);
            request.status = Some(200);
            change(request);
        })
    }

    #[test]
    fn whole_responses_count_whenever_they_came() {
        let story = Story::new().completed_request(-400, -300).signal();
        assert_eq!(satisfied(verdict(story.completed_request(-200, 300))), 2);
    }

    #[test]
    fn a_response_that_is_cut_violates_it() {
        for end in [RequestEnd::Closed, RequestEnd::Reset] {
            assert_eq!(violated(verdict(begun(end, |_| {}))).len(), 1);
        }
        violated(verdict(begun(RequestEnd::NotHttp, |request| request.status = None)));
    }

    #[test]
    fn a_response_that_only_looks_whole_violates_it() {
        let short = begun(RequestEnd::Complete, |request| {
            request.framing = Some(Framing::ContentLength(0));
            request.body.length = 0;
        });
        assert!(violated(verdict(short))[0].message.contains("it looks whole, and 4 B are usual"));
        let other = || begun(RequestEnd::Complete, |request| request.body.sha256_prefix = 8);
        let confirmed = other().completed_request(-300, 7);
        assert!(violated(verdict(confirmed))[0].message.contains("corrupt"));
    }

    #[test]
    fn a_body_that_belongs_to_this_start_of_the_target_is_no_corrupt_one() {
        let differs = |request: &mut Request| request.body.sha256_prefix = 8;
        assert_eq!(satisfied(verdict(begun(RequestEnd::Complete, differs))), 1);
        let short = |request: &mut Request| request.body.length = 1;
        let as_before =
            begun(RequestEnd::Complete, short).request(-400, -300, RequestEnd::Complete, short);
        assert_eq!(satisfied(verdict(as_before)), 2);
    }

    #[test]
    fn what_breaks_before_the_signal_as_well_is_not_the_shutdowns_fault() {
        let cut = |request: &mut Request| request.first_byte = Some(request.started);
        let story = begun(RequestEnd::Reset, |_| {}).request(-500, -400, RequestEnd::Reset, cut);
        inconclusive(verdict(story));
    }

    #[test]
    fn a_whole_response_with_another_status_is_whole() {
        for (status, close) in [(500, false), (503, true)] {
            let story = begun(RequestEnd::Complete, |request| {
                request.status = Some(status);
                request.close_announced = close;
                request.body.length = 900;
            });
            assert_eq!(satisfied(verdict(story)), 1);
        }
    }

    #[test]
    fn no_response_is_no_cut_response() {
        let reason = inconclusive(verdict(Story::new().signal().reset_request(-400, 9)));
        assert!(reason.contains("needs a response that began"), "{reason}");
    }

    #[test]
    fn what_the_client_or_the_harness_ended_is_not_counted() {
        inconclusive(verdict(begun(RequestEnd::Closed, |request| request.stalled = true)));
        inconclusive(verdict(begun(RequestEnd::TimedOut, |_| {})));
        inconclusive(verdict(begun(RequestEnd::Abandoned, |_| {})));
        inconclusive(verdict(begun(RequestEnd::Reset, |_| {}).killed(9)));
    }

    #[test]
    fn a_close_delimited_body_needs_one_to_compare_it_with() {
        let closed = || {
            begun(RequestEnd::Complete, |request| {
                request.framing = Some(Framing::CloseDelimited);
                request.body.length = 1;
            })
        };
        violated(verdict(closed()));
        inconclusive(verdict(closed().promising(|contract| contract.requests[0].body = None)));
    }
}
