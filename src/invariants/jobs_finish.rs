//! `jobs-finish`: a background job that has started is finished, or handed over, before the exit.

use std::collections::BTreeSet;

use crate::model::event::{EventIndex, EventKind, JobSubmit};
use crate::model::history::{History, SignalSent};
use crate::model::ledger::Job;
use crate::model::time::human;
use crate::model::verdict::{Verdict, Violation};

use super::wording::{count, ended, sorted, when};
use super::{ANY, Counts, Invariant, Severities, given_signal, job_lines};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "jobs-finish",
    fails_when: "Fails when a job that had started, before the signal or after it, has no finish \
                 line (or line of a declared hand-over, --job-handed-over) when the target has \
                 exited, or when the harness had to kill the target at the deadline; there, of \
                 those that started after the signal, only what started within \
                 --jobs-stop-within counts. Also when a request of --job-submit was acknowledged \
                 with 2xx and its job never started, where other jobs carry the key or the \
                 answer of theirs in their ids.",
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
                  Add called within the goroutine, or process.exit in the handler. Or a request \
                  that is still in process puts a job into a pool that nobody waits for any more.",
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
    let end = end_of_target(history, signal);
    let jobs: Vec<&Job> =
        history.jobs().iter().filter(|job| is_concerned(history, signal, job)).collect();
    let unfinished: Vec<&Job> = jobs.iter().copied().filter(|job| job.finished.is_none()).collect();
    let dropped = promised_and_dropped(history);
    let exercised = jobs.len() + dropped.len();
    match end {
        Ok(end) => {
            let (known, buffered): (Vec<&Job>, Vec<&Job>) = unfinished
                .into_iter()
                .partition(|job| !is_late(signal, job) || is_dated(history, signal, job));
            let mut violations: Vec<_> =
                known.into_iter().map(|job| violation(signal, job, &end)).collect();
            violations.extend(dropped.iter().map(|it| dropped_violation(signal, *it, &end)));
            if violations.is_empty() && !buffered.is_empty() {
                return Verdict::inconclusive(format!(
                    "{} came after {} with the first output of all, without a finish: the target \
                     may hold its lines back (set PYTHONUNBUFFERED=1, or flush after each line)",
                    count(buffered.len(), "start line"),
                    signal.signal
                ));
            }
            Verdict::of(exercised, violations, &INVARIANT.unexercised())
        }
        Err(_) if unfinished.is_empty() && dropped.is_empty() => {
            Verdict::of(exercised, Vec::new(), &INVARIANT.unexercised())
        }
        Err(why) => Verdict::inconclusive(format!(
            "{} running at {} or started later had no finish line, and {why}",
            count(unfinished.len() + dropped.len(), "job"),
            signal.signal
        )),
    }
}

/// Whether a job ran at the signal, or was seen to start later. What starts long after the signal is
/// another matter where the deadline cut it off, which tells why.
fn is_concerned(history: &History, signal: &SignalSent, job: &Job) -> bool {
    if !is_late(signal, job) {
        return job.finished.is_none_or(|at| at > signal.bracket.before);
    }
    let limit = signal.felt + history.contract().jobs_stop_within;
    job.start_known && (history.deadline_passed().is_none() || job.started <= limit)
}

fn is_late(signal: &SignalSent, job: &Job) -> bool {
    job.started > signal.bracket.before
}

/// Whether a start line that came after the signal may not have been held back: then what follows it
/// may have been, too.
fn is_dated(history: &History, signal: &SignalSent, job: &Job) -> bool {
    job_lines::is_written_at_once(history.events(), signal, job)
}

/// The requests that were acknowledged and whose jobs have no line, where it can be told which job is
/// whose: because the line of at least one of them carries the key in its id, or the answer as its id.
fn promised_and_dropped(history: &History) -> Vec<(EventIndex, &JobSubmit)> {
    let books = &history.told().books;
    let started = books.jobs.iter().map(|job| job.id.as_str());
    let ids: BTreeSet<&str> = started.chain(books.refused.iter().map(String::as_str)).collect();
    let has_key = history.contract().jobs.submit.as_ref().is_some_and(|it| it.contains("{key}"));
    let by_key = |submit: &JobSubmit| has_key && ids.iter().any(|id| id.contains(&submit.key));
    let by_answer =
        |submit: &JobSubmit| submit.answer.as_deref().is_some_and(|it| ids.contains(it));
    let mut acknowledged: Vec<(EventIndex, &JobSubmit)> = (0..)
        .zip(history.events())
        .filter_map(|(event, e)| match &e.kind {
            EventKind::JobSubmit(submit) if submit.is_acknowledged() => Some((event, submit)),
            _ => None,
        })
        .collect();
    let keys_tell = acknowledged.iter().any(|(_, submit)| by_key(submit));
    let answers_tell = acknowledged.iter().any(|(_, submit)| by_answer(submit));
    acknowledged.retain(|(_, submit)| {
        let can_tell = keys_tell || answers_tell && submit.answer.is_some();
        can_tell && !by_key(submit) && !by_answer(submit)
    });
    acknowledged
}

/// How the target ended, where its end shows that a job without a finish line is unfinished;
/// otherwise why it does not.
fn end_of_target(history: &History, signal: &SignalSent) -> Result<(EventIndex, String), String> {
    if job_lines::dropped(history) {
        return Err("the target wrote so many lines of jobs that not all of them were kept".into());
    }
    if let Some(why) = job_lines::unread(history) {
        return Err(why);
    }
    if let Some((event, at)) = history.deadline_passed() {
        let when = when(at, signal);
        // It may have exited when the clients let go, and then nobody had to kill it.
        let how = if history.exit().is_some() { "alive" } else { "killed" };
        return Ok((event, format!("the target was {how} at the deadline, {when}")));
    }
    let Some(exit) = history.exit() else {
        return Err("the trial was broken off before the target's end".into());
    };
    if history.first(|kind| matches!(kind, EventKind::ProcessLeft { .. })).is_some() {
        return Err("a process that the target left behind may have been at it when the harness \
                    killed it"
            .into());
    }
    let when = when(exit.at, signal);
    Ok((exit.event, format!("process {} {} {when}", exit.pid, ended(exit.status))))
}

fn violation(signal: &SignalSent, job: &Job, (end_event, end): &(EventIndex, String)) -> Violation {
    let at_least = if job.start_known { "" } else { "at least " };
    let age = if is_late(signal, job) {
        format!("started {}", when(job.started, signal))
    } else {
        let age = human(signal.bracket.before.since(job.started));
        format!("{at_least}{age} old at {}", signal.signal)
    };
    let message = format!("job {}, {age}, has no finish line; {end}", job.id);
    Violation { message, evidence: sorted([job.started_event, signal.event, *end_event]) }
}

fn dropped_violation(
    signal: &SignalSent,
    (event, submit): (EventIndex, &JobSubmit),
    (end_event, end): &(EventIndex, String),
) -> Violation {
    let message = format!(
        "a job that was submitted (key {}) was acknowledged with {} {}, and has no start line; {end}",
        submit.key,
        submit.status.unwrap_or_default(),
        when(submit.ended, signal),
    );
    Violation { message, evidence: sorted([event, signal.event, *end_event]) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::contract::Contract;
    use crate::model::event::{LineSource, Stream};

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
    }

    fn late() -> Story {
        Story::new().signal().line(5, "job id=7 started")
    }

    #[test]
    fn a_job_that_starts_after_the_signal_is_finished_too() {
        satisfied(verdict(late().line(90, "job id=7 finished").exit_code(91, 0)));
        let violations = violated(verdict(late().exit_code(9, 0)));
        assert_eq!(
            violations[0].message,
            "job 7, started 5.0 ms after SIGTERM, has no finish line; process 123 exited with \
             status 0 9.0 ms after SIGTERM"
        );
    }

    #[test]
    fn what_the_deadline_cuts_off_long_after_the_signal_is_another_matter() {
        let long_after = running().line(700, "job id=heavy-3 finished");
        satisfied(verdict(long_after.line(29_900, "job id=9 started").killed_at_deadline()));
        violated(verdict(late().killed_at_deadline()));
    }

    #[test]
    fn a_start_that_a_buffer_may_have_held_back_accuses_nobody() {
        let (stream, line) = (Stream::Stderr, "job id=1 started".into());
        let late = EventKind::OutputLine { stream, line, cut: false };
        let story = Story::new().signal().event(800, late).exit_code(801, 0);
        assert!(inconclusive(verdict(story)).contains("hold its lines back"));
    }

    #[test]
    fn a_file_tells_of_jobs_as_well_also_after_the_exit() {
        let story =
            || Story::new().signal().file_line(-500, -510, "job id=7 started").exit_code(12, 0);
        let read = |story: Story| story.read_again(30, LineSource::JobFile, None);
        assert_eq!(satisfied(verdict(read(story().file_line(29, 10, "job id=7 finished")))), 1);
        let violations = violated(verdict(read(story())));
        assert!(
            violations[0].message.starts_with("job 7, 500 ms old at SIGTERM"),
            "{violations:?}"
        );
        let gone = story().read_again(30, LineSource::JobUrl, Some("connection refused"));
        assert!(inconclusive(verdict(gone)).contains("--job-url could not be read after its end"));
    }

    #[test]
    fn a_job_that_was_promised_and_dropped_violates_it() {
        let taken = |story: Story| {
            let story = story.promising(|it| it.jobs.submit = Some("POST /jobs?id={key}".into()));
            let story =
                story.submit(-30, -29, "k0", Some((202, "ok"))).line(-28, "job id=k0 started");
            story.line(-20, "job id=k0 finished").signal().submit(20, 21, "k1", Some((202, "ok")))
        };
        let violations = violated(verdict(taken(Story::new()).exit_code(30, 0)));
        assert_eq!(
            violations[0].message,
            "a job that was submitted (key k1) was acknowledged with 202 21 ms after SIGTERM, and \
             has no start line; process 123 exited with status 0 30 ms after SIGTERM"
        );
        let done = taken(Story::new()).line(22, "job id=k1 started").line(25, "job id=k1 finished");
        assert_eq!(satisfied(verdict(done.exit_code(30, 0))), 1);
        let refused = |contract: &mut Contract| {
            contract.jobs.refused = vec![r"job id=(?P<id>\S+) refused".into()];
        };
        let story = taken(Story::new().promising(refused)).line(22, "job id=k1 refused");
        assert!(inconclusive(verdict(story.exit_code(30, 0))).contains("needs a job"));
    }

    #[test]
    fn a_submitted_job_is_known_by_its_answer_or_not_at_all() {
        let story = |answers: [&str; 2], status| {
            let story = Story::new().submit(-30, -29, "k0", Some((202, answers[0])));
            let story = story.line(-28, "job id=p-1 started").line(-20, "job id=p-1 finished");
            story.signal().submit(20, 21, "k1", Some((status, answers[1]))).exit_code(30, 0)
        };
        let violations = violated(verdict(story(["p-1", "p-2"], 202)));
        assert!(violations[0].message.contains("key k1"), "{violations:?}");
        inconclusive(verdict(story(["p-1", "p-2"], 503)));
        inconclusive(verdict(story(["ok", "ok"], 202)));
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
