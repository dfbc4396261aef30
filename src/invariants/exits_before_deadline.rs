//! `exits-before-deadline`: the process comes to its end by itself, and in time.

use crate::model::history::{History, Outcome, SignalSent};
use crate::model::time::human;
use crate::model::verdict::Verdict;

use super::deadline::{not_outlived, outlived};
use super::dispositions::explained;
use super::wording::{count, ended};
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "exits-before-deadline",
    fails_when: "Fails when the target is alive at the deadline (--deadline), counted from the \
                 signal (or from when a target that was held still was let go on), even if it \
                 exits once the clients let go of what only they kept open. The harness then kills \
                 it, as an orchestrator would.",
    why: "After its grace period (10 s in Docker, 30 s in Kubernetes, 90 s in systemd) the \
          orchestrator sends SIGKILL, and everything that the drain was for is lost at once. \
          Until then each instance holds up the deployment.",
    source: "Slides: context.WithTimeout(.., 20 s) around Shutdown, then \"Server shutdown\". \
             systemd.kill(5) and Kubernetes' terminationGracePeriodSeconds: SIGKILL at the end. \
             Threads: nodejs/node#2642, tokio-rs/axum#2673, haproxy/haproxy#228, \
             actix/actix-web#929.",
    usual_cause: "The drain waits for something that does not end: idle keep-alive connections, \
                  connections that never sent a request, streams and WebSockets, a client that \
                  stops reading, a job without a stop flag, a WaitGroup whose Done is missing on \
                  one path. Or two parts of the shutdown wait for each other.",
    fix: "In general: give the drain a time-out below the deadline, close idle connections at \
          once, tell streams and jobs to end, and exit when the time is over. Go net/http: \
          Shutdown with a context that has a deadline, and Close when it returns its error; use \
          RegisterOnShutdown for streams. axum and hyper: neither has a time-out of its own, so \
          wrap the wait in tokio::time::timeout. Node http and Express: server.close waits for \
          keep-alive connections before Node 19, so call closeIdleConnections, and \
          closeAllConnections after a time-out. uvicorn: --timeout-graceful-shutdown (it waits \
          for ever without); gunicorn: --graceful-timeout. nginx: worker_shutdown_timeout.",
    needs: "a target that exits, or the whole deadline to wait for it: let the trial run to its \
            end",
    counts: Counts::TRIALS,
    occasions: ANY,
    severity: Severities::DENY,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    match outlived(history, signal) {
        Some((event, how)) => {
            let message = format!(
                "process {} {how}; the deadline is {}{}",
                signal.pid,
                human(history.contract().deadline),
                remains(history)
            );
            Verdict::of(1, vec![explained(history, signal, message, [event])], "")
        }
        None => not_outlived(history),
    }
}

/// What was still there when the harness killed the target.
fn remains(history: &History) -> String {
    if let (Some((_, released)), Some(exit)) = (history.clients_released(), history.exit())
        && exit.at >= released
    {
        let after = human(exit.at.since(released));
        return format!(
            "; it {} {after} after the idle and stalled clients had let go",
            ended(exit.status)
        );
    }
    if history.was_running() {
        return "; it was not started here, and is left alive".into();
    }
    if history.killed().is_none() {
        return String::new();
    }
    let unanswered = history
        .requests()
        .filter(|(_, request)| history.outcome(request) == Outcome::TimedOut)
        .count();
    let unfinished = history.jobs().iter().filter(|job| job.finished.is_none()).count();
    let lost: Vec<_> = [(unanswered, "unanswered request"), (unfinished, "unfinished job")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, thing)| count(number, thing))
        .collect();
    match lost.is_empty() {
        true => "; the harness killed it".into(),
        false => format!("; the harness killed it, with {}", lost.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::contract::Contract;
    use crate::model::event::EventKind;
    use crate::model::signal::Signal;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn an_exit_in_time_satisfies_it_however_it_came() {
        assert_eq!(satisfied(verdict(Story::new().signal().exit_code(30_000, 1))), 1);
        let killed_by_signal = Story::new().signal().exit_signal(2, Signal::TERM);
        satisfied(verdict(killed_by_signal));
    }

    #[test]
    fn a_target_that_is_alive_at_the_deadline_violates_it() {
        let story = Story::new().line(-5, "job id=1 started").signal().killed_at_deadline();
        assert_eq!(
            violated(verdict(story))[0].message,
            "process 123 was alive 30.0 s after SIGTERM; the deadline is 30.0 s; the harness \
             killed it, with 1 unfinished job"
        );
    }

    #[test]
    fn an_exit_that_came_only_when_the_clients_let_go_is_late_all_the_same() {
        let story = Story::new().signal().event(30_000, EventKind::DeadlinePassed).released(30_001);
        let message = &violated(verdict(story.exit_code(30_013, 0)))[0].message;
        let end = "it exited with status 0 12 ms after the idle and stalled clients had let go";
        assert!(message.ends_with(end), "{message}");
    }

    #[test]
    fn what_a_longer_deadline_would_have_shown_nobody_knows() {
        let story = Story::new().signal().event(30_000, EventKind::DeadlinePassed).released(30_001);
        let longer = story.exit_code(30_013, 0).promising(|contract| {
            contract.deadline = Duration::from_secs(60);
        });
        assert!(inconclusive(verdict(longer)).contains("is not known"));
    }

    #[test]
    fn the_time_in_which_it_was_held_still_is_not_its_own() {
        let held = || Story::new().held(-5).signal().thawed(1_000);
        satisfied(verdict(held().exit_code(31_000, 0)));
        violated(verdict(held().exit_code(31_001, 0)));
        let alive = |ms| held().event(ms, EventKind::DeadlinePassed).killed(ms + 1);
        violated(verdict(alive(31_000)));
        inconclusive(verdict(alive(30_999)));
    }

    #[test]
    fn a_trial_that_was_broken_off_shows_nothing() {
        inconclusive(verdict(Story::new().signal()));
        inconclusive(verdict(Story::new().signal().killed(90)));
    }

    #[test]
    fn a_recorded_history_is_judged_by_the_deadline_of_the_moment() {
        let within = |seconds| {
            move |contract: &mut Contract| {
                contract.deadline = Duration::from_secs(seconds);
            }
        };
        let exited = || Story::new().signal().exit_code(2_000, 0);
        violated(verdict(exited().promising(within(1))));
        satisfied(verdict(exited().promising(within(3))));
        let killed = Story::new().signal().killed_at_deadline();
        inconclusive(verdict(killed.promising(within(60))));
    }

    #[test]
    fn an_exit_that_the_harness_noticed_late_was_in_time() {
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(5) };
        satisfied(verdict(Story::new().signal().exit_code(30_003, 0).event(30_010, lag)));
    }
}
