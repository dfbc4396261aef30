//! What the jobs of a target without a listener show of its signal, where no request can.

use crate::model::event::{Disposition, EventIndex, EventKind};
use crate::model::history::{Exit, History, SignalSent};
use crate::model::ledger::Job;
use crate::model::time::{Nanos, human};
use crate::model::verdict::{Verdict, Violation};

use super::dispositions::explained;
use super::job_lines;
use super::wording::{count, when};

/// What would have shown it.
const NEEDS: &str = "jobs at work at the signal, whose lines are seen (--job-start, --job-finish)";

/// The signal ended the worker: by the default action, or because a handler raised it again.
pub(super) fn died(history: &History, signal: &SignalSent, exit: &Exit) -> Verdict {
    let before = signal.bracket.before;
    let is_at_work =
        |job: &&Job| job.started <= before && job.finished.is_none_or(|at| at > signal.felt);
    let at_work: Vec<&Job> = history.jobs().iter().filter(is_at_work).collect();
    let unfinished: Vec<&&Job> = at_work.iter().filter(|job| job.finished.is_none()).collect();
    let takes = history.contract().default_action_within;
    if at_work.len() > unfinished.len() && exit.at.since(signal.felt) > takes {
        // It went on to finish a job, and then raised the signal again.
        return Verdict::of(1, Vec::new(), "");
    }
    if unfinished.is_empty() || job_lines::dropped(history) {
        return Verdict::inconclusive(format!(
            "{} ended process {} with no job at work, so that nothing shows whether it was \
             handled; it needs {NEEDS}",
            signal.signal, exit.pid
        ));
    }
    if exit.at.since(signal.felt) > takes || has_handler(history, exit.pid) {
        return Verdict::inconclusive(format!(
            "{} ended process {} with {} unfinished, after a handler of its own may have run",
            signal.signal,
            exit.pid,
            count(unfinished.len(), "job")
        ));
    }
    let message = format!(
        "{} ended process {} after {} with {} at work and unfinished",
        signal.signal,
        exit.pid,
        human(exit.at.since(signal.felt)),
        count(unfinished.len(), "job"),
    );
    let started = unfinished.iter().map(|job| job.started_event);
    let evidence = [exit.event].into_iter().chain(started);
    Verdict::of(1, vec![explained(history, signal, message, evidence)], "")
}

/// The worker was alive at the deadline: it ignored the signal, or it is still at an old job.
pub(super) fn outlived(
    history: &History,
    signal: &SignalSent,
    (deadline_event, deadline): (EventIndex, Nanos),
) -> Verdict {
    let limit = signal.felt + history.contract().jobs_stop_within + history.lag();
    let late = history.jobs().iter().filter(|job| job.start_known && job.started > limit);
    let late: Vec<&Job> = late.collect();
    let Some(first) = late.first() else {
        return Verdict::inconclusive(format!(
            "the worker was alive at the deadline, and no job that began more than {} after {} \
             shows whether it had noticed the signal; it needs {NEEDS}",
            human(history.contract().jobs_stop_within),
            signal.signal
        ));
    };
    let message = format!(
        "{} changed nothing: {} begun more than {} after it, and process {} was alive at the \
         deadline, {}",
        signal.signal,
        match late.len() {
            1 => "1 job was".to_owned(),
            number => format!("{number} jobs were"),
        },
        human(history.contract().jobs_stop_within),
        signal.pid,
        when(deadline, signal),
    );
    let evidence = [first.started_event, deadline_event];
    let violation: Violation = explained(history, signal, message, evidence);
    Verdict::of(1, vec![violation], "")
}

/// Whether the process was seen to do something of its own with the signal.
fn has_handler(history: &History, pid: u32) -> bool {
    let is_own = |kind: &EventKind| match kind {
        EventKind::Dispositions { processes } => processes
            .iter()
            .any(|process| process.pid == pid && process.disposition != Disposition::Default),
        _ => false,
    };
    history.first(is_own).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::ProcessSeen;
    use crate::model::signal::Signal;

    fn verdict(story: Story) -> Verdict {
        (find("signal-is-handled").unwrap().check)(&story.history())
    }

    fn worker() -> Story {
        let ready = EventKind::Ready { address: None, owner: None };
        Story::new().event(-900, ready).line(-400, "job id=7 started").signal()
    }

    fn seen(disposition: Disposition) -> EventKind {
        let (pid, name) = (123, "worker".into());
        let process = ProcessSeen { pid, name, leader: true, listener: false, disposition };
        EventKind::Dispositions { processes: vec![process] }
    }

    #[test]
    fn death_at_work_is_no_handling_and_death_at_rest_shows_nothing() {
        let died = || worker().exit_signal(2, Signal::TERM);
        let message = violated(verdict(died())).remove(0).message;
        assert!(message.starts_with("SIGTERM ended process 123 after 2.0 ms with 1 job at work"));
        violated(verdict(died().event(-20, seen(Disposition::Default))));
        inconclusive(verdict(died().event(-20, seen(Disposition::Caught))));
        inconclusive(verdict(died().line(-9, "job id=7 finished")));
    }

    #[test]
    fn a_job_that_was_finished_before_the_death_shows_a_handler() {
        let finished = worker().line(300, "job id=7 finished").exit_signal(301, Signal::TERM);
        assert_eq!(satisfied(verdict(finished)), 1);
        assert_eq!(satisfied(verdict(worker().exit_code(2, 0))), 1);
    }

    #[test]
    fn jobs_that_go_on_until_the_deadline_show_that_it_was_ignored() {
        let alive = || worker().killed_at_deadline();
        inconclusive(verdict(alive()));
        inconclusive(verdict(alive().line(400, "job id=8 started")));
        let message = violated(verdict(alive().line(600, "job id=8 started"))).remove(0).message;
        assert!(message.contains("1 job was begun more than 500 ms after it"), "{message}");
    }
}
