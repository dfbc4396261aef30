//! `repeated-signal-is-harmless`: a second signal breaks nothing that one signal holds.

use std::time::Duration;

use crate::model::contract::SecondSignal;
use crate::model::event::EventKind;
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::plan::{SignalTo, Situation};
use crate::model::time::human;
use crate::model::verdict::{Broken, Verdict, Violation};

use super::wording::{ended, sorted, when};
use super::{CATALOGUE, Counts, Invariant, Severities, given_signal, is_about_trials};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "repeated-signal-is-harmless",
    fails_when: "Fails when a second signal, while the target drains, breaks an invariant that one \
                 signal holds; which one is said. What one signal breaks as well is that one's \
                 fault, and what may be chance is not called a violation. With --second-signal \
                 force the second signal is a wish to end at once: then it fails when the target \
                 has not exited 1 s after it, and what is lost accuses nobody.",
    why: "Signals do come twice: supervisors send SIGINT and then SIGTERM, a terminal's Ctrl-C \
          reaches every process of its group and the parent hands it on once more, people press \
          it again, and orchestrators repeat themselves. A drain that was under way is then cut \
          off, with all that it was there for.",
    source: "signal(7); POSIX.1-2024, section 11.1.9 (the interrupt character goes to the whole \
             foreground process group). Threads: cockroachdb/cockroach#48070 and #50539, \
             Kludex/uvicorn#1069, Mergifyio/mergify#1724.",
    usual_cause: "A second signal that means \"now\", for people at a terminal, while machines \
                  send it too; a handler that is taken away when the first signal has come \
                  (signal.NotifyContext with stop() at once, process.once, SA_RESETHAND), so that \
                  the default action ends the process; or a shutdown that can't be called twice.",
    fix: "In general: let the handler stay until the process ends, make the shutdown idempotent, \
          and bound it by a time-out rather than by a second signal. Go: call stop() of \
          signal.NotifyContext after Shutdown has returned. tokio: the handler stays for ever; \
          don't select on a second recv() beside the drain. Node: process.on, not process.once. \
          uvicorn: a second SIGINT means force. Where the second is meant to end it at once, \
          declare it: --second-signal force.",
    needs: "a second signal to a target that still drains after the first, and trials with one \
            signal to compare with (--situation slow-handler,second-signal)",
    counts: Counts::TRIALS,
    occasions: &[Situation::SecondSignal, Situation::SignalBurst, Situation::MixedSignals],
    severity: Severities::WARN.of_servers(),
    check: |history| given_signal(history, check),
};

/// With `force`, the target has exited so long after the second signal.
const FORCED_WITHIN: Duration = Duration::from_secs(1);
/// Two signals of a kind that come closer together than this may be one to the target, as the
/// kernel keeps no count of those that wait (signal(7)).
const APART: Duration = Duration::from_millis(50);

/// What one history can show: whether there is a violation of another invariant at all. Whether
/// one signal breaks it too, only the other trials tell.
fn check(history: &History, signal: &SignalSent) -> Verdict {
    if !history.has_repeated_signals() {
        return Verdict::inconclusive(INVARIANT.unexercised());
    }
    if history.contract().second_signal == SecondSignal::Force {
        return forced(history, signal);
    }
    let broken = broken(history, |invariant| (invariant.check)(history));
    Verdict::of(1, told(&broken).into_iter().collect(), "")
}

/// The invariants that a history with several signals violates, each with its first violation, by
/// what is found of each.
pub(crate) fn broken(
    history: &History,
    verdict_on: impl Fn(&'static Invariant) -> Verdict,
) -> Vec<Broken> {
    let how = how(history);
    let ordinary = CATALOGUE.iter().copied().filter(|it| is_about_trials(it.id));
    ordinary
        .filter(|it| it.id != "exit-status-is-clean" || !is_end_by_signal(history))
        .filter_map(|invariant| match verdict_on(invariant) {
            Verdict::Violated { violations, .. } => violations
                .into_iter()
                .find(|violation| may_be_of_later_signal(history, violation))
                .map(|first| {
                    let later = history.signals().iter().map(|signal| signal.event);
                    let violation = Violation {
                        message: format!("{how}: {}", first.message),
                        // The first events are those that are kept where there are many.
                        evidence: sorted(first.evidence.into_iter().chain(later.take(2))),
                    };
                    Broken { invariant: invariant.id, violation }
                }),
            _ => None,
        })
        .collect()
}

/// Whether a violation may come of a signal after the first: not where all that it shows of requests
/// and connections was over before the second one.
fn may_be_of_later_signal(history: &History, violation: &Violation) -> bool {
    let Some(second) = history.signals().get(1) else { return false };
    let ends = violation.evidence.iter().filter_map(|event| {
        match &history.events().get(*event as usize)?.kind {
            EventKind::Request(request) => Some(request.ended),
            EventKind::Connection(connection) => Some(connection.ended),
            _ => None,
        }
    });
    ends.max().is_none_or(|last| last >= second.bracket.before)
}

/// One violation that tells of all of them.
pub(crate) fn told<'b>(broken: impl IntoIterator<Item = &'b Broken>) -> Option<Violation> {
    let mut broken = broken.into_iter();
    let first = broken.next()?;
    let others: Vec<_> = broken.map(|it| it.invariant).collect();
    let mut message = format!("{} ({})", first.violation.message, first.invariant);
    if !others.is_empty() {
        message.push_str(&format!("; it breaks {} as well", others.join(", ")));
    }
    Some(Violation { message, evidence: first.violation.evidence.clone() })
}

/// Whether the process ended as one of its signals ends a process: by which of several is no
/// matter, nor whether a runtime raises it once more when all is done.
fn is_end_by_signal(history: &History) -> bool {
    let Some(exit) = history.exit() else { return false };
    history.signals().iter().any(|sent| {
        exit.status.signal == Some(sent.signal)
            || exit.status.code == Some(128 + sent.signal.number())
    })
}

/// What was sent, as the beginning of a sentence.
fn how(history: &History) -> String {
    let all = history.signals();
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return String::new() };
    let apart = human(last.bracket.before.since(first.felt));
    let planned = history.header().trial.signals.first();
    let to_group = planned.is_some_and(|planned| planned.to == SignalTo::Group);
    let to_whom = if to_group { ", to the whole group" } else { "" };
    match all {
        [_, _] if first.signal == last.signal => {
            format!("a second {} {apart} after the first{to_whom}", last.signal)
        }
        [_, _] => format!("{} {apart} after {}{to_whom}", last.signal, first.signal),
        _ => format!("{} {} within {apart}{to_whom}", all.len(), first.signal),
    }
}

/// Whether a request was on its way at the signal, and was not completed.
fn cuts_short(history: &History, signal: &SignalSent) -> bool {
    history.requests().any(|(_, request)| {
        request.started < signal.bracket.before
            && request.ended >= signal.bracket.before
            && history.outcome(request) != Outcome::Completed
    })
}

/// The second signal is to end the target at once.
fn forced(history: &History, signal: &SignalSent) -> Verdict {
    let is_apart = |later: &&SignalSent| {
        later.signal != signal.signal || later.bracket.before.since(signal.felt) >= APART
    };
    let Some(second) = history.signals().iter().skip(1).find(is_apart) else {
        return Verdict::inconclusive(
            "the signals came so close together that they may have been one to the target",
        );
    };
    let late = |at: crate::model::time::Nanos| {
        at.since(second.bracket.after) > FORCED_WITHIN + history.lag()
    };
    let (event, what) = match (history.exit(), history.deadline_passed()) {
        (Some(exit), _) if late(exit.at) => (
            exit.event,
            format!("process {} {} {}", exit.pid, ended(exit.status), { when(exit.at, second) }),
        ),
        (Some(_), _) if cuts_short(history, second) => return Verdict::of(1, Vec::new(), ""),
        (Some(_), _) => {
            return Verdict::inconclusive(
                "the target exited within 1 s of the second signal with every request completed, as \
                 it may have without it: name a slower endpoint (--path '/report?ms=3000')",
            );
        }
        (None, Some((event, at))) if late(at) => {
            (event, format!("the target was alive {}", when(at, second)))
        }
        (None, _) => {
            return Verdict::inconclusive("the trial was over before the target's exit");
        }
    };
    let message = format!("{}: {what}, and was to exit within 1 s of it", how(history));
    let evidence = sorted([signal.event, second.event, event]);
    Verdict::of(1, vec![Violation { message, evidence }], "")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::signal::Signal;

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    fn twice() -> Story {
        Story::new().in_situation(Situation::SecondSignal).signal().later(100, Signal::TERM)
    }

    fn forcing(story: Story) -> Story {
        story.promising(|contract| contract.second_signal = SecondSignal::Force)
    }

    #[test]
    fn a_drain_that_goes_on_satisfies_it() {
        let story = twice().request(-400, 500, crate::model::event::RequestEnd::Complete, |it| {
            it.close_announced = true;
        });
        assert_eq!(satisfied(verdict(story.exit_code(501, 0))), 1);
    }

    #[test]
    fn what_breaks_is_named_with_how_long_after_the_first() {
        let violations = violated(verdict(twice().reset_request(-400, 101).exit_code(102, 0)));
        assert_eq!(violations.len(), 1);
        let message = &violations[0].message;
        assert!(message.starts_with("a second SIGTERM 100 ms after the first: GET"), "{message}");
        assert!(message.contains("(in-flight-requests-complete)"), "{message}");
    }

    #[test]
    fn what_was_lost_before_the_second_signal_is_not_its_fault() {
        let lost_at = |ms| twice().reset_request(-400, ms).exit_code(102, 0);
        satisfied(verdict(lost_at(1)));
        violated(verdict(lost_at(101)));
    }

    #[test]
    fn two_signals_of_different_kinds_are_both_named() {
        let story = Story::new().signal().later(10, Signal::INT).reset_request(-400, 11);
        let violations = violated(verdict(story.exit_code(12, 0)));
        let message = &violations[0].message;
        assert!(message.starts_with("SIGINT 10 ms after SIGTERM: GET"), "{message}");
    }

    #[test]
    fn an_end_by_either_signal_is_no_crash() {
        let drained = || {
            let story = Story::new().signal().later(10, Signal::INT);
            story.request(-400, 500, crate::model::event::RequestEnd::Complete, |it| {
                it.close_announced = true;
            })
        };
        satisfied(verdict(drained().exit_signal(501, Signal::INT)));
        satisfied(verdict(drained().exit_code(501, 130)));
        let message = violated(verdict(drained().exit_code(501, 1)))[0].message.clone();
        assert!(message.contains("(exit-status-is-clean)"), "{message}");
    }

    #[test]
    fn one_signal_shows_nothing_of_it() {
        let reason = inconclusive(verdict(Story::new().signal().reset_request(-400, 4)));
        assert!(reason.contains("second signal"), "{reason}");
    }

    #[test]
    fn a_second_signal_that_forces_is_obeyed_and_may_lose_requests() {
        satisfied(verdict(forcing(twice().reset_request(-400, 101).exit_code(102, 1))));
        let violations = violated(verdict(forcing(twice().exit_code(1500, 0))));
        assert!(violations[0].message.contains("was to exit within 1 s"), "{violations:?}");
        violated(verdict(forcing(twice().killed_at_deadline())));
    }

    #[test]
    fn an_exit_that_may_have_come_anyway_shows_no_force() {
        let all_completed =
            twice().request(-400, 500, crate::model::event::RequestEnd::Complete, |_| {});
        let reason = inconclusive(verdict(forcing(all_completed.exit_code(501, 0))));
        assert!(reason.contains("slower endpoint"), "{reason}");
    }

    #[test]
    fn two_that_may_have_been_one_force_nothing() {
        let close = || Story::new().signal().later(1, Signal::TERM).exit_code(1500, 0);
        assert!(inconclusive(verdict(forcing(close()))).contains("may have been one"));
        let kinds = Story::new().signal().later(1, Signal::INT).exit_code(1500, 0);
        violated(verdict(forcing(kinds)));
    }
}
