//! `no-job-starts-after-signal`: a server that is on its way out begins nothing new.

use crate::model::history::{History, SignalSent};
use crate::model::ledger::Job;
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::wording::{count, sorted, when};
use super::{ANY, Counts, Invariant, Severities, given_signal, job_lines};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "no-job-starts-after-signal",
    fails_when: "Fails when the start line of a job is read later than --jobs-stop-within after \
                 the signal. A line that only says that a job is running is no start.",
    why: "A job that starts during the shutdown is one more that must finish before the deadline. \
          A queue that goes on being worked off keeps the process alive until it is killed, with \
          the newest job in its hands.",
    source: "Slides: \"Propagate the signal to multiple goroutines\" (each turn of a job asks \
             ctx.Done() before it begins the next). Threads: go-gitea/gitea#35578, \
             shini4i/argo-watcher#485, Unitech/pm2#5043.",
    usual_cause: "The signal reaches the HTTP server and not the scheduler, the ticker or the \
                  consumer of the queue; or the loop asks for its stop flag only when the queue \
                  is empty; or a request that is still in process puts a job into a pool that \
                  takes it.",
    fix: "In general: stop what starts jobs before you wait for those that run, and have each \
          loop ask for the stop before each turn. Go: select on ctx.Done() before each turn, and \
          cancel the context before Shutdown. axum and tokio: a CancellationToken in every loop \
          (select!, biased towards it). Node and Express: clearInterval, and stop the consumer, \
          in the handler of SIGTERM. uvicorn and gunicorn: stop the scheduler at the beginning of \
          the lifespan's shutdown; Celery workers do so on SIGTERM. Should a request in process \
          be allowed to start one, hand it to the queue for the next instance.",
    needs: "jobs whose start lines are seen: let the target run some while the trial lasts, or \
            name their lines with --job-start",
    counts: Counts { one: "job", many: "jobs", failed: "started late", has_rate: false },
    occasions: ANY,
    severity: Severities::WARN,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if let Some(verdict) = job_lines::missing(history) {
        return verdict;
    }
    let jobs = history.jobs();
    // A line is dated by when the harness read it, which may be late by as much as it was itself; of
    // sources that are read at intervals, by when they were last read without it.
    let limit = signal.felt + history.contract().jobs_stop_within + history.lag();
    let late = jobs.iter().filter(|job| {
        job.start_known && job.earliest > limit && !job_lines::was_promised(history, job, limit)
    });
    let (timely, buffered): (Vec<_>, Vec<_>) =
        late.partition(|job| job_lines::is_written_at_once(history.events(), signal, job));
    let violations: Vec<_> = timely.iter().map(|job| violation(history, signal, job)).collect();
    if violations.is_empty() && !buffered.is_empty() {
        return Verdict::inconclusive(format!(
            "{} came after {} with the first output of all: the target may hold its lines back \
             (set PYTHONUNBUFFERED=1, or flush after each line)",
            count(buffered.len(), "start line"),
            signal.signal
        ));
    }
    Verdict::of(jobs.len(), violations, &INVARIANT.unexercised())
}

fn violation(history: &History, signal: &SignalSent, job: &Job) -> Violation {
    let message = format!(
        "job {} started {} (the limit is {})",
        job.id,
        when(job.started, signal),
        human(history.contract().jobs_stop_within),
    );
    Violation { message, evidence: sorted([signal.event, job.started_event]) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::{EventKind, Stream};

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn jobs_that_start_before_the_limit_satisfy_it() {
        let story = Story::new().line(-9, "job id=1 started").signal();
        assert_eq!(satisfied(verdict(story.line(500, "job id=2 started").exit_code(900, 0))), 2);
    }

    #[test]
    fn a_job_that_starts_later_violates_it() {
        let story = Story::new().signal().line(1_200, "job id=7 started").exit_code(1_300, 0);
        let violations = violated(verdict(story));
        assert_eq!(
            violations[0].message,
            "job 7 started 1.20 s after SIGTERM (the limit is 500 ms)"
        );
    }

    #[test]
    fn a_job_that_was_acknowledged_in_time_may_start_late() {
        let story = |key| {
            let story = Story::new().line(-9, "job id=k0 started").signal();
            let story = story.submit(-5, 1, key, Some((202, key)));
            story.line(1_200, "job id=k7 started").exit_code(1_300, 0)
        };
        satisfied(verdict(story("k7")));
        violated(verdict(story("k8")));
    }

    #[test]
    fn the_time_in_which_the_target_was_held_still_does_not_count() {
        let held = || Story::new().held(-5).signal().thawed(1_000).exit_code(1_900, 0);
        satisfied(verdict(held().line(1_500, "job id=7 started")));
        violated(verdict(held().line(1_501, "job id=7 started")));
    }

    #[test]
    fn a_turn_that_ends_late_began_before_and_is_no_start() {
        let story = Story::new().signal().line(9_000, "[heavy job] Done");
        satisfied(verdict(story.line(9_000, "[heavy job] ctx Done").exit_code(9_001, 0)));
    }

    #[test]
    fn of_a_file_it_counts_when_it_was_last_read_without_the_line() {
        let story = || Story::new().signal().file_line(-500, -510, "job id=0 started");
        satisfied(verdict(story().file_line(520, 490, "job id=1 started").exit_code(900, 0)));
        violated(verdict(story().file_line(520, 510, "job id=1 started").exit_code(900, 0)));
    }

    #[test]
    fn lines_that_a_buffer_held_back_accuse_nobody() {
        let (stream, line) = (Stream::Stderr, "job id=1 started".into());
        let late = EventKind::OutputLine { stream, line, cut: false };
        let story = Story::new().signal().event(800, late).exit_code(801, 0);
        assert!(inconclusive(verdict(story)).contains("hold its lines back"));
    }

    #[test]
    fn without_jobs_it_does_not_apply_unless_they_were_declared() {
        let story = || Story::new().signal().exit_code(2, 0);
        assert!(matches!(verdict(story()), Verdict::NotApplicable { .. }));
        inconclusive(verdict(story().promising(|contract| contract.jobs.declared = true)));
    }

    #[test]
    fn finish_lines_alone_show_no_start() {
        let story = Story::new().line(-9, "job id=1 finished").signal().exit_code(2, 0);
        assert!(inconclusive(verdict(story)).contains("needs jobs whose start lines are seen"));
    }
}
