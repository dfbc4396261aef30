//! `readiness-fails-first`: a server that is on its way out says so to those who ask.

use crate::model::event::{EventIndex, EventKind, Readiness, ReadinessProbe};
use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::wording::{sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "readiness-fails-first",
    fails_when: "Fails when the readiness endpoint (--ready-url) answers with success more than \
                 one second after the signal, or answers with success again after it had answered \
                 otherwise. A refused connection, or one without an answer, counts as not ready.",
    why: "Load balancers ask it to learn where to send what comes next. As long as it succeeds \
          they send new work to an instance that is about to refuse it; one that flips back and \
          forth is put into the list again just before it goes.",
    source: "Kubernetes, Configure Liveness, Readiness and Startup Probes: a status from 200 to \
             399 is success. Threads: kubernetes/kubernetes#20473 (fail the readiness probe on \
             SIGTERM and go on to serve), kubernetes/kubernetes#86280, zalando/skipper#652, \
             caddyserver/caddy#2729.",
    usual_cause: "The endpoint answers a constant 200, or asks only whether the database is \
                  there; the flag for the shutdown is set after the drain and not before it; or \
                  several workers each have a flag of their own, and the signal reaches them one \
                  after the other.",
    fix: "In general: set a flag as the first thing after the signal, and answer 503 on the \
          readiness path from then on; liveness stays as it is, or the container is killed for \
          it. Go net/http: an atomic.Bool that the handler reads, set before the pause and before \
          Shutdown. axum: an Arc<AtomicBool> in the state, or a watch channel. hyper: the same. \
          Node http and Express: a variable, and res.status(503) in the route. uvicorn and \
          gunicorn: the lifespan's shutdown runs after the drain, too late for it, so set the \
          flag in a handler of the signal or let the preStop hook do it. nginx: return 503 from a \
          location that tests for a file which the preStop hook creates.",
    needs: "questions to the readiness endpoint after the signal: the target must live on for \
            some time (name a slower endpoint, --path '/report?ms=900', or --lame-duck)",
    counts: Counts { one: "probe", many: "probes", failed: "ready", has_rate: false },
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
    if !history.contract().has_readiness {
        return Verdict::NotApplicable {
            reason: "no readiness endpoint is known: name it with --ready-url".into(),
        };
    }
    let probes = probes(history, signal);
    let limit = signal.felt + history.contract().unready_within;
    let unready: Vec<_> = probes
        .iter()
        .filter(|(_, probe)| matches!(probe.outcome, Readiness::NotReady(_)))
        .collect();
    let exited = history.exit().map(|exit| exit.at);
    let (mut exercised, mut violations) = (0, Vec::new());
    for (event, probe) in &probes {
        let Readiness::Ready(status) = probe.outcome else {
            // Of a target that is gone it is no merit.
            exercised += usize::from(exited.is_none_or(|exited| probe.started < exited));
            continue;
        };
        let before = unready.iter().find(|(_, unready)| unready.ended < probe.started);
        if before.is_none() && probe.started <= limit {
            continue;
        }
        exercised += 1;
        let rule = match before {
            Some((_, unready)) => flipped(unready, probe.started),
            None => format!("the limit is {}", human(history.contract().unready_within)),
        };
        let message = format!(
            "the readiness endpoint answered {status} to a question {} ({rule})",
            when(probe.started, signal)
        );
        let before = before.map(|(event, _)| *event);
        let evidence = [signal.event, *event].into_iter().chain(before);
        violations.push(Violation { message, evidence: sorted(evidence) });
    }
    Verdict::of(exercised, violations, &INVARIANT.unexercised())
}

/// The questions that began when the target could act on the signal, and that the harness did not
/// cut off.
fn probes(history: &History, signal: &SignalSent) -> Vec<(EventIndex, ReadinessProbe)> {
    let killed = history.killed().map_or(Nanos::from_ns(u64::MAX), |(_, at)| at);
    let all = (0..).zip(history.events()).filter_map(|(event, e)| match e.kind {
        EventKind::ReadinessProbe(probe) => Some((event, probe)),
        _ => None,
    });
    all.filter(|(_, probe)| probe.started >= signal.felt && probe.ended < killed).collect()
}

fn flipped(unready: &ReadinessProbe, again: Nanos) -> String {
    let status = match unready.outcome {
        Readiness::NotReady(status) => status,
        _ => 0,
    };
    format!("{} after it had answered {status}", human(again.since(unready.ended)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::Readiness::{NoAnswer, NotReady, Ready, Refused};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.promising(|contract| contract.has_readiness = true).history())
    }

    #[test]
    fn an_endpoint_that_fails_satisfies_it_in_whichever_way() {
        let story = Story::new().signal().readiness(9, Ready(200)).readiness(50, NotReady(503));
        let story = story.readiness(90, NoAnswer).readiness(130, Refused);
        assert_eq!(satisfied(verdict(story)), 3);
    }

    #[test]
    fn success_after_the_limit_violates_it() {
        let story = |ms| Story::new().signal().readiness(ms, Ready(200));
        assert_eq!(
            violated(verdict(story(1_001)))[0].message,
            "the readiness endpoint answered 200 to a question 1.00 s after SIGTERM (the limit is \
             1.00 s)"
        );
        inconclusive(verdict(story(1_000)));
        let held = |ms| verdict(story(ms).held(-5).thawed(500));
        inconclusive(held(1_500));
        violated(held(1_501));
    }

    #[test]
    fn an_endpoint_that_flips_back_violates_it_at_once() {
        let story = Story::new().signal().readiness(20, NotReady(503)).readiness(120, Ready(200));
        let violation = violated(verdict(story)).remove(0);
        assert!(violation.message.ends_with("(99 ms after it had answered 503)"));
        assert_eq!(violation.evidence.len(), 3, "signal and both questions");
    }

    #[test]
    fn what_is_refused_or_asked_at_the_same_time_shows_no_flip() {
        for other in [Refused, NoAnswer] {
            let story = Story::new().signal().readiness(20, other).readiness(120, Ready(200));
            assert_eq!(satisfied(verdict(story)), 1);
        }
        let together = Story::new().signal().readiness(20, NotReady(503)).readiness(21, Ready(200));
        satisfied(verdict(together));
        let before = Story::new().readiness(-90, NotReady(503)).signal().readiness(9, Ready(200));
        inconclusive(verdict(before));
    }

    #[test]
    fn what_was_asked_of_a_target_that_was_gone_or_killed_shows_nothing() {
        let gone = Story::new().signal().exit_code(20, 0).readiness(30, Refused);
        assert!(inconclusive(verdict(gone)).contains("needs questions to the readiness endpoint"));
        let killed = Story::new().signal().readiness(1_500, Ready(200)).killed(1_500);
        inconclusive(verdict(killed));
    }

    #[test]
    fn without_an_endpoint_it_does_not_apply() {
        let story = Story::new().signal().readiness(1_500, Ready(200));
        match (INVARIANT.check)(&story.history()) {
            Verdict::NotApplicable { reason } => assert!(reason.contains("--ready-url")),
            other => panic!("{other:?}"),
        }
    }
}
