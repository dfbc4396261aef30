//! `jobs-finish`: a background job that runs when the signal comes is finished before the exit.

use crate::model::event::{EventIndex, EventKind};
use crate::model::history::{History, SignalSent};
use crate::model::ledger::Job;
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::wording::{count, ended, sorted, when};
use super::{ANY, Counts, Invariant, Severities, given_signal, job_lines};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "jobs-finish",
    fails_when: "Fails when a job was running at the signal, by its start line, and has no finish \
                 line (or line of a declared hand-over) when the target has exited, or when the \
                 harness had to kill the target at the deadline.",
    why: "Background work has no client that would notice: the mail is not sent, the order is \
          booked by half, the queue's message was acknowledged before it was done. What is lost \
          with it turns up days later, in the data.",
    source: "Slides: \"Completion of all background processes\", \"Wait for all running \
             goroutines to exit\" (sync.WaitGroup: Add before the goroutine, Done in it, Wait \
             before main returns). Threads: stdapi-ai/stdapi.ai#176, wavelens/gradient#168, \
             go-gitea/gitea#28062.",
    usual_cause: "Nobody waits for the job: a goroutine outside the WaitGroup, a spawned task \
                  whose handle was dropped, a daemon thread, a promise that nobody awaits. Or the \
                  wait is there and ends too early: a time-out that is shorter than the job, \
                  Add called within the goroutine, or process.exit in the handler.",
    fix: "In general: keep a count or the handles of the jobs, tell them to stop at their next \
          safe point, and wait for all of them after the last request and before the exit; hand \
          over what would outlast the deadline (back into the queue, with a line that says so). \
          Go: wg.Add(1) before go, defer wg.Done() in it, wg.Wait() after Shutdown. axum and \
          tokio: a TaskTracker with a CancellationToken (tokio_util), or a JoinSet that is \
          joined after serve returns. Node and Express: keep the promises and await \
          Promise.allSettled(jobs) before process.exit. uvicorn and gunicorn: await the tasks in \
          the lifespan's shutdown, and join threads, which must not be daemons.",
    needs: "a job that runs when the signal comes: make jobs longer or more frequent, or try more \
            moments (--trials)",
    counts: Counts { one: "job", many: "jobs", failed: "unfinished", has_rate: false },
    occasions: ANY,
    severity: Severities::DENY,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if let Some(verdict) = job_lines::missing(history) {
        return verdict;
    }
    let before = signal.bracket.before;
    let running: Vec<_> = history
        .jobs()
        .iter()
        .filter(|job| job.started <= before && job.finished.is_none_or(|at| at > before))
        .collect();
    let unfinished: Vec<_> = running.iter().filter(|job| job.finished.is_none()).collect();
    match end_of_target(history, signal) {
        Ok((event, end)) => {
            let violation = |job: &&&Job| violation(signal, job, event, &end);
            let violations = unfinished.iter().map(violation).collect();
            Verdict::of(running.len(), violations, &INVARIANT.unexercised())
        }
        Err(_) if unfinished.is_empty() => {
            Verdict::of(running.len(), Vec::new(), &INVARIANT.unexercised())
        }
        Err(why) => Verdict::inconclusive(format!(
            "{} running at {} had no finish line, and {why}",
            count(unfinished.len(), "job"),
            signal.signal
        )),
    }
}

/// How the target ended, where its end shows that a job without a finish line is unfinished;
/// otherwise why it does not.
fn end_of_target(
    history: &History,
    signal: &SignalSent,
) -> Result<(EventIndex, String), &'static str> {
    if job_lines::dropped(history) {
        return Err("the target wrote so many lines of jobs that not all of them were kept");
    }
    if let Some((event, at)) = history.deadline_passed() {
        let when = when(at, signal);
        // It may have exited when the clients let go, and then nobody had to kill it.
        let how = if history.exit().is_some() { "alive" } else { "killed" };
        return Ok((event, format!("the target was {how} at the deadline, {when}")));
    }
    let Some(exit) = history.exit() else {
        return Err("the trial was broken off before the target's end");
    };
    if history.first(|kind| matches!(kind, EventKind::ProcessLeft { .. })).is_some() {
        return Err("a process that the target left behind may have been at it when the harness \
                    killed it");
    }
    let when = when(exit.at, signal);
    Ok((exit.event, format!("process {} {} {when}", exit.pid, ended(exit.status))))
}

fn violation(signal: &SignalSent, job: &Job, end_event: EventIndex, end: &str) -> Violation {
    let age = human(signal.bracket.before.since(job.started));
    let at_least = if job.start_known { "" } else { "at least " };
    let message = format!(
        "job {}, {at_least}{age} old at {}, has no finish line; {end}",
        job.id, signal.signal
    );
    Violation { message, evidence: sorted([job.started_event, signal.event, end_event]) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn running() -> Story {
        Story::new().line(-412, "job id=heavy-3 started").signal()
    }

    #[test]
    fn a_job_that_is_finished_before_the_exit_satisfies_it() {
        let story = running().line(700, "job id=heavy-3 finished").exit_code(701, 0);
        assert_eq!(satisfied(verdict(story)), 1);
    }

    #[test]
    fn a_job_without_a_finish_line_violates_it() {
        let violations = violated(verdict(running().exit_code(12, 0)));
        assert_eq!(
            violations[0].message,
            "job heavy-3, 412 ms old at SIGTERM, has no finish line; process 123 exited with \
             status 0 12 ms after SIGTERM"
        );
        assert_eq!(violations[0].evidence.len(), 3);
    }

    #[test]
    fn a_job_that_the_deadline_cut_off_violates_it_and_says_so() {
        let violations = violated(verdict(running().killed_at_deadline()));
        assert!(violations[0].message.contains("killed at the deadline, 30.0 s after SIGTERM"));
    }

    #[test]
    fn a_job_that_is_not_over_when_the_clients_let_go_of_the_target_violates_it() {
        let story = running().event(30_000, EventKind::DeadlinePassed).released(30_001);
        let violations = violated(verdict(story.exit_code(30_012, 0)));
        assert!(violations[0].message.contains("the target was alive at the deadline, 30.0 s"));
    }

    #[test]
    fn the_slides_own_job_ends_when_its_context_does() {
        let turn = || Story::new().line(-2_000, "[heavy job] Done").signal();
        satisfied(verdict(turn().line(900, "[heavy job] ctx Done").exit_code(901, 0)));
        let violations = violated(verdict(turn().exit_code(901, 0)));
        assert!(violations[0].message.contains("job heavy job, at least 2.00 s old"));
    }

    #[test]
    fn without_jobs_it_does_not_apply_unless_they_were_declared() {
        let story = || Story::new().signal().exit_code(2, 0);
        assert!(matches!(verdict(story()), Verdict::NotApplicable { .. }));
        let declared = story().promising(|contract| contract.jobs.declared = true);
        assert!(inconclusive(verdict(declared)).contains("--job-start"));
    }

    #[test]
    fn jobs_that_did_not_run_at_the_signal_show_nothing() {
        let over = Story::new().line(-9, "job id=1 started").line(-5, "job id=1 finished");
        assert!(inconclusive(verdict(over.signal().exit_code(1, 0))).contains("needs a job"));
        let later = Story::new().signal().line(5, "job id=1 started").exit_code(9, 0);
        inconclusive(verdict(later));
    }

    #[test]
    fn a_finish_line_that_may_exist_accuses_nobody() {
        let dropped = running()
            .event(3, EventKind::OutputDropped { lines: 9, job_lines: 9 })
            .exit_code(12, 0);
        assert!(inconclusive(verdict(dropped)).contains("not all of them were kept"));
        assert!(inconclusive(verdict(running())).contains("broken off"));
        let left = running().exit_code(12, 0).process_left(1_012).killed(1_013);
        assert!(inconclusive(verdict(left)).contains("left behind"));
    }

    #[test]
    fn a_finish_line_counts_even_where_others_were_dropped() {
        let story = running().event(3, EventKind::OutputDropped { lines: 9, job_lines: 9 });
        satisfied(verdict(story.line(5, "job id=heavy-3 finished").exit_code(12, 0)));
    }
}
