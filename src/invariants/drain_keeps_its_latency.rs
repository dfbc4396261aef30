//! `drain-keeps-its-latency`: who is served during the shutdown is not served much later.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::event::{EventIndex, EventKind, Request};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::plan::Situation;
use crate::model::statistics::quantile;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::wording::{count, sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

/// So many requests show how long they usually take, at their longest: fewer miss the slow ones.
const BEFORE_MIN: usize = 5;
/// With fewer than so many a single slow one, which may be anything, would decide.
const AFTER_MIN: usize = 3;
/// The request that the signal meets is a long one more often than others are, so that some more
/// is usual.
const FACTOR: f64 = 3.0;
/// A difference below this is within what a busy machine does to any request.
const NOISE: Duration = Duration::from_millis(100);

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "drain-keeps-its-latency",
    fails_when: "Fails when the slowest hundredth (p99) of the requests of one kind that completed \
                 after the signal took more than three times as long as the slowest hundredth of \
                 those before it, and more than 100 ms longer. Only what completed is compared: \
                 at least 5 before the signal and 3 after it.",
    why: "Clients have time-outs. An answer that comes too late is lost like one that never \
          comes, only that the server believes it was given; and work that slows down when it is \
          to end makes the drain longer than the deadline.",
    source: "Slides: \"Completion of requests in process\". J. Dean and L. A. Barroso, The Tail at \
             Scale, Communications of the ACM 56 (2), 2013: users feel the slowest requests.",
    usual_cause: "What handlers use is taken away before they are done: connection pools are \
                  closed and reopened for each query, caches are dropped, worker threads are ended \
                  first; or the shutdown itself works in the event loop (flushing logs, waiting \
                  without yielding), and the handlers wait for it.",
    fix: "In general: leave pools, caches and workers as they are until the last request is \
          answered, and do the work of the shutdown outside the threads that serve. Go: close \
          sql.DB after Shutdown has returned. axum and tokio: no blocking calls in the task that \
          handles the signal (spawn_blocking), and drop pools after serve has returned. Node: no \
          synchronous file or process calls in the handler of SIGTERM. uvicorn: blocking code in \
          a signal handler or a callback stops the loop. gunicorn and nginx: workers drain side by \
          side, so that fewer of them serve what is left.",
    needs: "a trial that is not held still, with at least 5 completed requests of one kind before \
            the signal and 3 after it: use more connections (--connections)",
    counts: Counts { one: "comparison", many: "comparisons", failed: "slower", has_rate: false },
    occasions: &[Situation::Load],
    severity: Severities::of(Severity::Allow, Severity::Warn, Severity::Allow).of_servers(),
    check: |history| given_signal(history, check),
};

/// The times that requests of one kind took, before and after the signal.
#[derive(Default)]
struct Times {
    before_ms: Vec<f64>,
    after_ms: Vec<f64>,
    slowest: Option<(EventIndex, Duration)>,
}

fn check(history: &History, signal: &SignalSent) -> Verdict {
    // A pause is in the times of all that waited for its end.
    if history.first(|kind| matches!(kind, EventKind::Held { .. })).is_some() {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    let times = times(history, signal);
    let compared: Vec<_> = times
        .iter()
        .filter(|(_, times)| {
            times.before_ms.len() >= BEFORE_MIN && times.after_ms.len() >= AFTER_MIN
        })
        .collect();
    let violations: Vec<_> = compared
        .iter()
        .filter_map(|(template, times)| slower(history, signal, **template, times))
        .collect();
    Verdict::of(compared.len(), violations, &INVARIANT.unexercised())
}

fn times(history: &History, signal: &SignalSent) -> BTreeMap<u16, Times> {
    let bracket = signal.bracket;
    let mut times: BTreeMap<u16, Times> = BTreeMap::new();
    for (event, request) in history.requests() {
        if request.stalled || history.outcome(request) != Outcome::Completed {
            continue;
        }
        let took = took(request);
        let times = times.entry(request.template).or_default();
        if request.ended <= bracket.before {
            times.before_ms.push(ms(took));
        } else if request.ended > bracket.after {
            times.after_ms.push(ms(took));
            if times.slowest.is_none_or(|(_, slowest)| took > slowest) {
                times.slowest = Some((event, took));
            }
        }
    }
    for times in times.values_mut() {
        times.before_ms.sort_by(f64::total_cmp);
        times.after_ms.sort_by(f64::total_cmp);
    }
    times
}

fn took(request: &Request) -> Duration {
    request.ended.since(request.started)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn slower(
    history: &History,
    signal: &SignalSent,
    template: u16,
    times: &Times,
) -> Option<Violation> {
    let (before, after) = (quantile(&times.before_ms, 0.99)?, quantile(&times.after_ms, 0.99)?);
    let (slowest, took) = times.slowest?;
    let is_slower = after > FACTOR * before && after - before > ms(NOISE + history.lag());
    if !is_slower {
        return None;
    }
    let told = |ms: f64| human(Duration::from_secs_f64(ms / 1e3));
    let message = format!(
        "{}: p99 {} of {} completed after {}, and {} of {} before it; the slowest took {} and \
         ended {}",
        history.contract().requests[usize::from(template)].name,
        told(after),
        count(times.after_ms.len(), "request"),
        signal.signal,
        told(before),
        times.before_ms.len(),
        human(took),
        when(ended_of(history, slowest)?, signal),
    );
    Some(Violation { message, evidence: sorted([signal.event, slowest]) })
}

fn ended_of(history: &History, event: EventIndex) -> Option<Nanos> {
    match &history.events()[event as usize].kind {
        EventKind::Request(request) => Some(request.ended),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::RequestEnd;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// So many requests of 50 ms before the signal, and so many that take so long after it.
    fn drained(before: i64, after: i64, took_ms: i64) -> Story {
        let story = (0..before).fold(Story::new(), |s, n| s.completed_request(-900 + n, -850 + n));
        (0..after).fold(story.signal(), |s, n| s.completed_request(-20 + n, -20 + n + took_ms))
    }

    #[test]
    fn requests_that_take_as_long_as_before_satisfy_it() {
        assert_eq!(satisfied(verdict(drained(20, 5, 60))), 1);
    }

    #[test]
    fn requests_that_take_much_longer_violate_it() {
        let violation = violated(verdict(drained(20, 5, 400))).remove(0);
        assert_eq!(
            violation.message,
            "GET /sleep?ms=900: p99 400 ms of 5 requests completed after SIGTERM, and 50 ms of 20 \
             before it; the slowest took 400 ms and ended 380 ms after SIGTERM"
        );
        assert_eq!(violation.evidence.len(), 2, "signal and the slowest");
    }

    #[test]
    fn three_times_and_100_ms_are_both_needed() {
        let slow = |took_ms: i64| {
            let story = (0..20).fold(Story::new(), |s, n| s.completed_request(-900 + n, -820 + n));
            let late = |s: Story, n: i64| s.completed_request(9 + n, 9 + n + took_ms);
            verdict((0..5).fold(story.signal(), late))
        };
        satisfied(slow(240));
        violated(slow(241));
        let quick = |took_ms| {
            let story = (0..20).fold(Story::new(), |s, n| s.completed_request(-900 + n, -890 + n));
            let story =
                (0..5).fold(story.signal(), |s, n| s.completed_request(9 + n, 9 + n + took_ms));
            verdict(story)
        };
        satisfied(quick(110));
        violated(quick(111));
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(9) };
        satisfied(verdict(drained(20, 5, 155).event(900, lag)));
    }

    #[test]
    fn too_few_on_either_side_show_nothing() {
        assert!(inconclusive(verdict(drained(4, 5, 400))).contains("at least 5 completed"));
        inconclusive(verdict(drained(20, 2, 400)));
    }

    #[test]
    fn what_did_not_complete_or_waited_for_a_pause_is_not_compared() {
        let lost = drained(20, 2, 400).request(-20, 400, RequestEnd::Closed, |_| {});
        inconclusive(verdict(lost));
        inconclusive(verdict(drained(20, 5, 400).held(-5).thawed(300)));
    }
}
