//! `idle-exit-is-prompt`: a server with nothing to do has nothing to wait for.

use crate::model::event::{EventIndex, EventKind};
use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::wording::{ended, sorted, when};
use super::{Counts, Invariant, Severities, given_signal, job_lines};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "idle-exit-is-prompt",
    fails_when: "Fails when the target takes longer than one second to exit that had no request, \
                 no connection and no job at the signal, and got none after it; where jobs were \
                 at work, counted from the end of the last. With --lame-duck its window is \
                 allowed before that. Questions to the readiness endpoint don't count as work.",
    why: "Most instances have nothing to do at the moment of their signal. A pause that each of \
          them makes for nothing is paid in every deployment, every test and every scale-down, \
          and it hides that the drain knows nothing of what it waits for.",
    source: "Slides: \"Server shutdown\" follows on the last goroutine's end. Kubernetes, \
             Termination of Pods: the grace period is the most that is waited, and a container \
             that ends sooner is gone sooner. Threads: Unitech/pm2#2069, nodejs/node#2642, \
             haproxy/haproxy#228.",
    usual_cause: "A fixed sleep instead of a wait (until the load balancer surely has noticed, or \
                  requests surely are over); a stop flag that is looked at every few seconds; a \
                  timer, an open database connection or a thread that nobody stops and that keeps \
                  the runtime alive; a worker that its parent stops only when a time-out is over.",
    fix: "In general: wait for what is there, by a count or by handles, and not for a time; wake \
          sleeping loops with the signal. Go: select on ctx.Done() beside time.After. axum and \
          tokio: select! on a CancellationToken beside sleep; a spawn_blocking task that never \
          ends keeps the runtime from its shutdown. Node: clearInterval or unref for timers, and \
          close pools, or the event loop goes on. uvicorn and gunicorn: threads that are not \
          daemons are joined before Python exits, so stop them in the lifespan's shutdown or in \
          worker_exit. A pause for the load balancer is right where one is there: declare it with \
          --lame-duck.",
    needs: "a signal while nothing is open, which the situation idle brings about",
    counts: Counts::TRIALS,
    occasions: &[Situation::Idle],
    severity: Severities::of(Severity::Warn, Severity::Warn, Severity::Warn),
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let exit = history.exit();
    if !is_idle(history, signal, exit.map(|exit| exit.at)) {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    if !history.has_listener() && !history.told().job_lines_seen {
        return Verdict::inconclusive(
            "no line of the worker's tells whether it was at a job: name the lines with --job-start \
             and --job-finish",
        );
    }
    let Some(free) = free_from(history, signal) else {
        return Verdict::inconclusive(
            "a job was not finished, or its lines were not all kept, so that the target may have \
             had something to wait for",
        );
    };
    let contract = history.contract();
    let limit = free + contract.idle_exit_within + history.lag();
    let last = match (exit, history.deadline_passed()) {
        (Some(exit), _) => Some((exit.event, exit.at, ended(exit.status))),
        (None, Some((event, at))) if at > limit => Some((event, at, "was alive".into())),
        (None, _) => None,
    };
    let Some((event, at, how)) = last else {
        return Verdict::inconclusive(
            "the trial was over before the target's exit and before the deadline",
        );
    };
    let violation = || violation(history, signal, free, (event, at, &how));
    Verdict::of(1, if at > limit { vec![violation()] } else { Vec::new() }, "")
}

/// Whether nothing was open at the signal, and nothing was begun after it while the target lived.
/// A pooled client keeps connections that nobody sees.
fn is_idle(history: &History, signal: &SignalSent, exit: Option<Nanos>) -> bool {
    let concerns = |started: Nanos, ended: Nanos| {
        ended > signal.bracket.before && exit.is_none_or(|exit| started < exit)
    };
    !history.events().iter().any(|event| match &event.kind {
        EventKind::Connection(c) => concerns(c.started, c.ended),
        EventKind::Request(request) => concerns(request.started, request.ended),
        EventKind::Probe(probe) => concerns(probe.started, probe.ended),
        EventKind::JobSubmit(submit) => concerns(submit.started, submit.ended),
        EventKind::PooledRequest(_) | EventKind::Write(_) => true,
        _ => false,
    })
}

/// The instant from which on the target had nothing more to do; none where a job may not be over.
fn free_from(history: &History, signal: &SignalSent) -> Option<Nanos> {
    if job_lines::dropped(history) {
        return None;
    }
    let window = signal.felt + history.contract().lame_duck.unwrap_or_default();
    history.jobs().iter().try_fold(window, |free, job| Some(free.max(job.finished?)))
}

fn violation(
    history: &History,
    signal: &SignalSent,
    free: Nanos,
    (event, at, how): (EventIndex, Nanos, &str),
) -> Violation {
    let contract = history.contract();
    let since = if free > signal.felt {
        format!(", {} after it had nothing more to do", human(at.since(free)))
    } else {
        String::new()
    };
    let message = format!(
        "process {} {how} {} with nothing open{since}; the limit is {}",
        signal.pid,
        when(at, signal),
        human(contract.idle_exit_within),
    );
    Violation { message, evidence: sorted([signal.event, event]) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{ConnectionEnd, PooledRequest, ProbeOutcome, Readiness};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn idle() -> Story {
        Story::new().completed_request(-400, -300).signal()
    }

    #[test]
    fn a_prompt_exit_satisfies_it_and_a_late_one_violates_it() {
        assert_eq!(satisfied(verdict(idle().exit_code(1_000, 0))), 1);
        assert_eq!(
            violated(verdict(idle().exit_code(3_000, 0)))[0].message,
            "process 123 exited with status 0 3.00 s after SIGTERM with nothing open; the limit \
             is 1.00 s"
        );
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(5) };
        satisfied(verdict(idle().exit_code(1_005, 0).event(1_100, lag)));
    }

    #[test]
    fn a_target_that_is_alive_at_the_deadline_violates_it() {
        let message = violated(verdict(idle().killed_at_deadline())).remove(0).message;
        assert!(message.starts_with("process 123 was alive 30.0 s after SIGTERM"), "{message}");
        inconclusive(verdict(idle()));
    }

    #[test]
    fn a_target_that_answers_a_submitted_job_is_not_idle() {
        let late = || idle().exit_code(3_000, 0);
        inconclusive(verdict(late().submit(-5, 2_900, "k", Some((202, "k")))));
        violated(verdict(late().submit(-50, -40, "k", Some((202, "k")))));
    }

    #[test]
    fn whatever_was_open_or_came_later_makes_it_another_trial() {
        let late = || idle().exit_code(3_000, 0);
        inconclusive(verdict(late().connection(-9, 9, ConnectionEnd::ClosedByServer)));
        inconclusive(verdict(late().completed_request(-9, 9)));
        inconclusive(verdict(late().completed_request(9, 20)));
        inconclusive(verdict(late().probe(9, ProbeOutcome::Refused)));
        let (started, ended) = (Nanos::ZERO, Nanos::ZERO);
        let pooled = PooledRequest { template: 0, started, ended, status: Some(200), error: None };
        inconclusive(verdict(late().event(-900, EventKind::PooledRequest(pooled))));
    }

    #[test]
    fn questions_about_readiness_and_what_comes_after_the_exit_are_allowed() {
        let late = || idle().exit_code(3_000, 0);
        violated(verdict(late().readiness(9, Readiness::NotReady(503))));
        violated(verdict(late().probe(3_000, ProbeOutcome::Refused)));
    }

    #[test]
    fn jobs_are_waited_for() {
        let job = |finished_ms| {
            let story = Story::new().line(-9, "job id=1 started").signal();
            story.line(finished_ms, "job id=1 finished").exit_code(3_000, 0)
        };
        satisfied(verdict(job(2_000)));
        let message = violated(verdict(job(1_999))).remove(0).message;
        assert!(message.contains(", 1.00 s after it had nothing more to do"), "{message}");
        let unfinished = Story::new().line(-9, "job id=1 started").signal().exit_code(3_000, 0);
        assert!(inconclusive(verdict(unfinished)).contains("a job was not finished"));
        inconclusive(verdict(
            job(9).event(10, EventKind::OutputDropped { lines: 9, job_lines: 9 }),
        ));
    }

    #[test]
    fn a_worker_that_says_nothing_of_its_jobs_may_have_been_at_one() {
        let ready = EventKind::Ready { address: None, owner: None };
        let worker = Story::new().event(-900, ready).signal().exit_code(3_000, 0);
        assert!(inconclusive(verdict(worker)).contains("--job-start"));
    }

    #[test]
    fn a_window_for_the_load_balancer_and_a_pause_are_allowed() {
        let window = |exit_ms| {
            let story = idle().exit_code(exit_ms, 0);
            verdict(story.promising(|contract| contract.lame_duck = Some(Duration::from_secs(5))))
        };
        satisfied(window(6_000));
        violated(window(6_001));
        satisfied(verdict(idle().held(-5).thawed(1_000).exit_code(2_000, 0)));
        violated(verdict(idle().held(-5).thawed(1_000).exit_code(2_001, 0)));
    }
}
