//! `late-requests-are-not-swallowed`: what is sent after the signal is answered or turned away.

use std::time::Duration;

use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::time::{Nanos, human};
use crate::model::verdict::Verdict;

use super::fates::{Fate, Fates, violations_with};
use super::{Counts, Invariant, Severities, given_signal};

/// A connection that is closed so soon after a request was sent on it was closed at the same time:
/// over loopback a segment arrives within a fraction of this.
const RACE: Duration = Duration::from_millis(10);

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "late-requests-are-not-swallowed",
    fails_when: "Fails when a request that was sent after the signal, while its connection was \
                 open, gets not one byte in answer: the connection is reset, or closed, more than \
                 10 ms after all of the request was sent, so that the server had it; or nothing \
                 comes before the deadline. What was sent on a connection that the server \
                 had already closed, or closed at the same time, accuses nobody: in HTTP/1.1 that \
                 race can't be avoided. A refusal to connect is no request.",
    why: "A client that is refused, or finds its connection closed, asks another instance. One \
          whose request was taken and dropped can't know whether it was carried out, and may not \
          repeat it; one that is reset can't tell either, and may lose an answer that was already \
          under way to it.",
    source: "RFC 9112, section 9.6 (close in stages, so that no reset destroys what is under way) \
             and section 9.3.1 (what a client may send again). RFC 9293, section 3.6.1 (a close \
             with unread bytes is answered with RST, so that FIN alone shows that they were \
             read). Threads: nodejs/node#60617, nodejs/node#51677, golang/go#65805, \
             benoitc/gunicorn#1236.",
    usual_cause: "Kept connections are closed as idle without a look at what has come on them; \
                  handlers read a request, see the stop flag and return; the listener stays open \
                  for a time in which nobody serves what connects; or the process exits while \
                  connections are open on which requests have just come.",
    fix: "In general: answer what comes while you drain, with Connection: close on the response, \
          or turn it away in so many words (503); close idle connections by shutting down \
          writing, and read what still comes until the client closes or a limit is over. Go \
          net/http and Node http (from 19 on) close idle connections as soon as Shutdown or \
          server.close is called: set Connection: close on every response for a moment before \
          that. axum and hyper: close the listener first, and wait for every connection. uvicorn \
          and gunicorn: keep-alive time-outs longer in the server than in the proxy before it, \
          and a preStop pause. nginx: QUIT; \
          lingering_close is on by default.",
    needs: "requests sent after the signal on connections that are still open: some clients must \
            keep theirs, and the drain must last (name a slower endpoint, --path \
            '/report?ms=900')",
    counts: Counts { one: "request", many: "requests", failed: "swallowed", has_rate: true },
    occasions: &[Situation::Load, Situation::OneRequest, Situation::QueuedSilent, Situation::Mixed],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let is_late = |phase| matches!(phase, Phase::ReusedLate | Phase::ConnectedLate);
    let late = Fates::of(history, is_late);
    let answered = late.requests.iter().filter(|fate| !fate.is_unanswered()).count();
    let swallowed: Vec<Fate<'_>> =
        late.unanswered().filter(|fate| is_swallowed(history, signal, fate)).copied().collect();
    let remark = |fate: &Fate<'_>| remark(signal, fate);
    let violations = violations_with(history, signal, swallowed.iter(), remark);
    let if_none = late.only_cut("after the signal").unwrap_or_else(|| INVARIANT.unexercised());
    Verdict::of(answered + violations.len(), violations, &if_none)
}

/// Whether the server had a request that it did not answer, rather than none to answer.
fn is_swallowed(history: &History, signal: &SignalSent, fate: &Fate<'_>) -> bool {
    match fate.outcome {
        _ if !fate.request.sent_while_open => false,
        _ if had_no_time(history, fate) => false,
        Outcome::ClosedWithoutResponse => held_for(signal, fate) > RACE + history.lag(),
        // What lay unread is reset, and lies there also while the target is held still.
        Outcome::Reset => fate.request.ended.since(sent(fate)) > RACE + history.lag(),
        _ => true,
    }
}

/// Whether the harness killed the target so soon after the request that it could hardly have been
/// answered: as much as a busy server needs, twice what a quiet one does and a second.
fn had_no_time(history: &History, fate: &Fate<'_>) -> bool {
    let usual = history.contract().requests[usize::from(fate.request.template)].usual;
    let needed = usual * 2 + Duration::from_secs(1);
    history.killed().is_some_and(|(_, killed)| {
        fate.request.ended >= killed && killed.since(sent(fate)) < needed
    })
}

/// How long the server had all of a request before its connection ended: a target that is held
/// still has nothing.
fn held_for(signal: &SignalSent, fate: &Fate<'_>) -> Duration {
    fate.request.ended.since(sent(fate).max(signal.felt))
}

fn sent(fate: &Fate<'_>) -> Nanos {
    fate.request.sent.unwrap_or(fate.request.ended)
}

fn remark(signal: &SignalSent, fate: &Fate<'_>) -> String {
    match fate.outcome {
        Outcome::Reset => ", though all of it was sent while the connection was open".into(),
        Outcome::ClosedWithoutResponse => format!(
            ", {} after the server had all of it: taken and dropped, as what is closed unread is \
             reset",
            human(held_for(signal, fate))
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{ConnectionEnd, EventKind, RequestEnd};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A request sent 20 ms after the signal on a connection that was open before it.
    fn reused(ended_ms: i64, end: RequestEnd) -> Story {
        Story::new().signal().connection(-400, ended_ms, ConnectionEnd::ClosedByServer).request_on(
            1,
            20,
            ended_ms,
            end,
            |request| request.sent_while_open = true,
        )
    }

    #[test]
    fn what_the_harness_cut_off_just_after_it_was_sent_accuses_nobody() {
        let cut = |sent_ms, killed_ms| {
            let story = Story::new().signal().killed(killed_ms);
            let story = story.request(sent_ms, killed_ms + 1, RequestEnd::Abandoned, |request| {
                request.sent_while_open = true;
            });
            verdict(story.event(killed_ms - 1, EventKind::DeadlinePassed))
        };
        inconclusive(cut(30_800, 31_000));
        violated(cut(20_000, 31_000));
    }

    #[test]
    fn answers_satisfy_it_on_old_and_on_new_connections() {
        let story = reused(90, RequestEnd::Complete).completed_request(30, 90);
        assert_eq!(satisfied(verdict(story)), 2);
        let rejected = Story::new().signal().request(30, 90, RequestEnd::Complete, |request| {
            (request.status, request.close_announced) = (Some(503), true);
        });
        satisfied(verdict(rejected));
    }

    #[test]
    fn a_reset_of_an_open_connection_violates_it() {
        let message = violated(verdict(reused(31, RequestEnd::Reset))).remove(0).message;
        let end =
            "RST +31 ms after SIGTERM, though all of it was sent while the connection was open";
        assert!(message.ends_with(end), "{message}");
        let connected = Story::new().signal().request(20, 31, RequestEnd::Reset, |request| {
            request.sent_while_open = true;
        });
        violated(verdict(connected));
        inconclusive(verdict(reused(30, RequestEnd::Reset)));
    }

    #[test]
    fn a_close_that_is_later_than_any_race_shows_that_the_request_was_taken() {
        let message = violated(verdict(reused(31, RequestEnd::Closed))).remove(0).message;
        assert!(message.contains(", 11 ms after the server had all of it: taken and dropped"));
        inconclusive(verdict(reused(30, RequestEnd::Closed)));
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(5) };
        inconclusive(verdict(reused(35, RequestEnd::Closed).event(90, lag)));
    }

    #[test]
    fn a_server_that_had_closed_first_is_not_accused() {
        for end in [RequestEnd::Closed, RequestEnd::Reset, RequestEnd::TimedOut] {
            let story = Story::new().signal().request(20, 900, end, |_| {});
            assert!(inconclusive(verdict(story)).contains("needs requests sent after the signal"));
        }
    }

    #[test]
    fn no_answer_until_the_deadline_violates_it() {
        violated(verdict(reused(30_002, RequestEnd::Reset).killed_at_deadline()));
        violated(verdict(reused(5_000, RequestEnd::TimedOut)));
    }

    #[test]
    fn what_the_exit_cut_off_was_swallowed_as_well() {
        let exited = reused(900, RequestEnd::Closed).exit_code(899, 0);
        assert_eq!(violated(verdict(exited)).len(), 1);
    }

    #[test]
    fn the_time_in_which_the_target_was_held_still_is_no_time_to_read() {
        let held = |ended| reused(ended, RequestEnd::Closed).held(-5).thawed(500);
        inconclusive(verdict(held(510)));
        violated(verdict(held(511)));
    }

    #[test]
    fn requests_before_the_signal_and_those_the_harness_cut_are_not_counted() {
        let early = Story::new().signal().request(-400, 900, RequestEnd::Reset, |request| {
            request.sent_while_open = true;
        });
        inconclusive(verdict(early));
        inconclusive(verdict(reused(900, RequestEnd::Reset).exit_code(30, 0).killed(899)));
    }
}
