//! `exit-status-is-clean`: the exit status says what happened: a shutdown, as asked for.

use crate::model::history::{Exit, History, SignalSent};
use crate::model::verdict::{Verdict, Violation};

use super::fates::Fates;
use super::wording::{count, ended, sorted, when};
use super::{ANY, Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "exit-status-is-clean",
    fails_when: "Fails when the process ends otherwise than expected (--expect-exit). Without \
                 that, 0 is clean, and 128 plus the signal's number, and death by the signal \
                 itself where a drain came first: requests in process completed and none was \
                 lost. Death by the signal with nothing in process shows nothing.",
    why: "Supervisors read it: systemd, Kubernetes and CI count another status as a crash, \
          restart the service, and alert. The status proves little by itself, since servers that \
          lose every request exit with 0, so it warns only.",
    source: "exit(3), wait(2); POSIX.1-2024, Shell Command Language, section 2.8.2 (above 128 \
             for a death by signal; shells add its number to 128). systemd.service(5), \
             SuccessExitStatus: which ends are clean. Threads: Kludex/uvicorn#1600, benoitc/gunicorn#1635, traccar/traccar#4121, systemd/systemd#35009.",
    usual_cause: "The orderly end is reported as an error: log.Fatal on http.ErrServerClosed, an \
                  exception that a cancelled task throws, a time-out of the drain, a crash in a \
                  destructor; or nothing handles the signal, and it ends the process with \
                  requests in its hands.",
    fix: "In general: end main normally when the drain is done, and keep other statuses for a \
          drain that failed. Go net/http: don't log.Fatal on http.ErrServerClosed (errors.Is). \
          axum and hyper: return Ok from main, and don't let a cancelled task's error escape. \
          Node http and Express: process.exitCode = 0, and no unhandled rejection while closing. \
          uvicorn 0.29 and later raise the signal again after the drain, which is clean here. \
          nginx exits with 0. Where another status is meant, declare it: --expect-exit \
          0,143,signal:TERM.",
    needs: "an exit of its own, before the harness has to kill it, and where the signal itself \
            ends it, requests in process",
    counts: Counts::TRIALS,
    occasions: ANY,
    severity: Severities::WARN,
    check: |history| given_signal(history, check),
};

fn check(history: &History, signal: &SignalSent) -> Verdict {
    let Some(exit) = history.exit() else {
        return Verdict::inconclusive(
            "it did not exit by itself, so that it has no status to judge",
        );
    };
    if history.was_running() {
        return Verdict::NotApplicable {
            reason: "the exit status of a process that was running before goes to its own parent: \
                     let it be started here"
                .into(),
        };
    }
    if exit.status.code.is_none() && exit.status.signal.is_none() {
        return Verdict::inconclusive(
            "the status of the process went to its own parent: send the signal to the leader",
        );
    }
    let expected = &history.contract().expect_exit;
    if !expected.is_empty() {
        let clean = expected.iter().any(|expected| expected.matches(exit.status));
        let names: Vec<_> = expected.iter().map(ToString::to_string).collect();
        return judged(signal, &exit, clean, &format!("expected: {}", names.join(", ")));
    }
    let by_number = 128 + signal.signal.number();
    if exit.status.signal == Some(signal.signal) {
        return died(history, signal, &exit);
    }
    let clean = exit.status.code.is_some_and(|code| code == 0 || code == by_number);
    judged(signal, &exit, clean, &format!("expected: 0 or {by_number}"))
}

/// Death by the signal is clean where a handler raised it again after a drain.
fn died(history: &History, signal: &SignalSent, exit: &Exit) -> Verdict {
    let in_process = Fates::in_process(history);
    let held = in_process.requests.len();
    if held == 0 {
        let reason = in_process.only_cut("in process").unwrap_or_else(|| {
            format!(
                "{} ended it with nothing in process, so that nothing shows whether a drain came \
                 first",
                signal.signal
            )
        });
        return Verdict::inconclusive(reason);
    }
    let lost = in_process.lost().count();
    if lost == 0 && !in_process.shows_a_drain(history, signal) {
        return Verdict::inconclusive(format!(
            "{} ended it so soon that nothing shows whether a drain came first",
            signal.signal
        ));
    }
    let because =
        format!("no drain came first: {} in process, {lost} lost", count(held, "request"));
    judged(signal, exit, lost == 0, &because)
}

fn judged(signal: &SignalSent, exit: &Exit, clean: bool, because: &str) -> Verdict {
    let violation = || Violation {
        message: format!(
            "process {} {} {} ({because})",
            exit.pid,
            ended(exit.status),
            when(exit.at, signal)
        ),
        evidence: sorted([signal.event, exit.event]),
    };
    Verdict::of(1, if clean { Vec::new() } else { vec![violation()] }, "")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::signal::Signal;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    #[test]
    fn nought_and_128_plus_the_signal_are_clean_whatever_was_lost() {
        for code in [0, 143] {
            let story = Story::new().signal().reset_request(-400, 3).exit_code(4, code);
            assert_eq!(satisfied(verdict(story)), 1);
        }
    }

    #[test]
    fn any_other_status_violates_it() {
        let violations = violated(verdict(Story::new().signal().exit_code(4, 1)));
        assert_eq!(
            violations[0].message,
            "process 123 exited with status 1 4.0 ms after SIGTERM (expected: 0 or 143)"
        );
        let interrupt = Story::new().signal().exit_code(4, 130);
        violated(verdict(interrupt));
    }

    #[test]
    fn another_signal_is_a_crash() {
        let segv = Signal::from_number(libc::SIGSEGV).unwrap();
        let story = Story::new().signal().completed_request(-400, 500);
        let violations = violated(verdict(story.exit_signal(501, segv)));
        assert!(violations[0].message.contains("was ended by SIGSEGV"));
    }

    #[test]
    fn death_by_the_signal_is_clean_after_a_drain_only() {
        let died = |story: Story| verdict(story.exit_signal(600, Signal::TERM));
        let drained = || Story::new().signal().completed_request(-400, 500);
        satisfied(died(drained()));
        let violations = violated(died(drained().reset_request(-300, 599)));
        assert!(violations[0].message.contains("no drain came first: 2 requests in process"));
        assert!(inconclusive(died(Story::new().signal())).contains("nothing in process"));
    }

    #[test]
    fn what_is_expected_decides_where_it_is_declared() {
        let expecting = |text: &str| {
            let expected = text.parse().unwrap();
            move |contract: &mut crate::model::contract::Contract| {
                contract.expect_exit = vec![expected];
            }
        };
        let clean = || Story::new().signal().exit_code(4, 0);
        satisfied(verdict(clean().promising(expecting("0"))));
        violated(verdict(clean().promising(expecting("143"))));
        let died = Story::new().signal().exit_signal(4, Signal::TERM);
        satisfied(verdict(died.promising(expecting("signal:TERM"))));
    }

    #[test]
    fn a_process_that_the_harness_killed_has_no_status_of_its_own() {
        let reason = inconclusive(verdict(Story::new().signal().killed_at_deadline()));
        assert!(reason.contains("did not exit by itself"), "{reason}");
    }
}
