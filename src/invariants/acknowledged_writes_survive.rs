//! `acknowledged-writes-survive`: what was acknowledged is there when the target is started again.

use std::collections::HashMap;

use crate::model::event::{EventIndex, EventKind};
use crate::model::history::{History, SignalSent};
use crate::model::plan::Situation;
use crate::model::verdict::{Verdict, Violation};
use crate::model::write::{ReadBack, ReadOutcome, Write, WriteOutcome};

use super::wording::{count, sorted, when};
use super::{Counts, Invariant, Severities, given_signal};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "acknowledged-writes-survive",
    fails_when: "Fails when a write that was acknowledged (a status from 200 to 299, or the \
                 expected one) is not there, or not as it was written, when the target has been \
                 started again on the same state; or when a write that got no answer is there in \
                 part.",
    why: "An acknowledgement is a promise: the client forgets its copy. What is lost after it is \
          lost without an error anywhere, in every deployment a little, and is found weeks later \
          as an order that nobody placed. Half of a write is worse: every reader has to know.",
    source: "Slides: \"Database transactions and rollbacks\", first among what a shutdown is to keep. \
             RFC 9110, section 15.3 (2xx: received, understood and accepted) and 15.3.3 (202 \
             promises less: use expect where it is not meant). fsync(2). Jepsen: a write is \
             acknowledged, failed, or indeterminate. Threads: apache/skywalking#14101, \
             ClickHouse/ClickHouse#116803, fluent/fluent-bit#1496.",
    usual_cause: "The answer goes out when the write is queued, buffered or handed to a background \
                  thread, and the exit doesn't wait for that one; the last batch is only written by \
                  a timer; the database is closed while handlers still write; or a cancelled \
                  handler stops between two statements that no transaction holds together.",
    fix: "In general: acknowledge after the commit; order the shutdown listener, requests, \
          background writers (flush and wait), database; and put what belongs together into one \
          transaction. Go: db.BeginTx, and no request context for what must not be half done; \
          close a channel of work and Wait for its reader before db.Close. tokio: keep the \
          writer's JoinHandle, drop the senders and await it. Node: await the flush in the \
          handler of the signal, before process.exit. Python: commit in the view, not in a \
          thread; atexit runs too late for daemon threads.",
    needs: "writes that were acknowledged, and an exit of its own after which the target is ready \
            again",
    counts: Counts {
        one: "acknowledged write",
        many: "acknowledged writes",
        failed: "lost",
        has_rate: true,
    },
    occasions: &[Situation::Load, Situation::Writes],
    severity: Severities::DENY.of_servers(),
    check: |history| given_signal(history, check),
};

/// What was read of each key, and the event that holds it.
type Seen<'h> = HashMap<&'h str, (EventIndex, &'h ReadBack)>;

fn check(history: &History, signal: &SignalSent) -> Verdict {
    if history.was_running() {
        return Verdict::NotApplicable {
            reason: "a process that was found running (--pid) is not started again, so that \
                     nothing is read back"
                .into(),
        };
    }
    if !history.contract().has_writes {
        return Verdict::NotApplicable {
            reason: "no writes are declared: --write 'PUT /kv/{key}' --read '/kv/{key}', or \
                     [writes] in the configuration"
                .into(),
        };
    }
    let seen = seen(history);
    let (mut exercised, mut untold, mut violations) = (0, 0, Vec::new());
    for (event, e) in (0..).zip(history.events()) {
        let EventKind::Write(write) = &e.kind else { continue };
        let acknowledged = matches!(write.outcome, WriteOutcome::Acknowledged(_));
        let found = seen.get(write.key.as_str());
        let outcome = found.map_or(ReadOutcome::Unknown, |(_, read)| read.outcome);
        match (write.outcome, outcome) {
            (WriteOutcome::Refused(_), _) => continue,
            (WriteOutcome::Acknowledged(_), ReadOutcome::Unknown) => untold += 1,
            (WriteOutcome::Acknowledged(_), ReadOutcome::Present)
            | (WriteOutcome::Indeterminate(_), ReadOutcome::Unknown)
            | (WriteOutcome::Indeterminate(_), ReadOutcome::Present | ReadOutcome::Absent) => {}
            (_, ReadOutcome::Absent | ReadOutcome::Damaged) => {
                let Some(found) = found else { continue };
                violations.push(violation(history, signal, (event, write), found));
            }
        }
        let is_told = outcome != ReadOutcome::Unknown;
        exercised += usize::from((acknowledged && is_told) || outcome == ReadOutcome::Damaged);
    }
    if untold > 0 && violations.is_empty() {
        return Verdict::inconclusive(not_read(history, untold));
    }
    Verdict::of(exercised, violations, &INVARIANT.unexercised())
}

fn seen(history: &History) -> Seen<'_> {
    let reads = (0..).zip(history.events()).filter_map(|(event, e)| match &e.kind {
        EventKind::ReadBack(read) => Some((read.key.as_str(), (event, read))),
        _ => None,
    });
    reads.collect()
}

fn violation(
    history: &History,
    signal: &SignalSent,
    (event, write): (EventIndex, &Write),
    (read_event, read): &(EventIndex, &ReadBack),
) -> Violation {
    let how = match write.outcome {
        WriteOutcome::Acknowledged(status) | WriteOutcome::Refused(status) => {
            format!("answered with {status}")
        }
        WriteOutcome::Indeterminate(_) => "given up without an answer".into(),
    };
    let what = match (read.outcome, read.status) {
        (ReadOutcome::Damaged, _) => "was there, but not as it was written".to_owned(),
        (_, Some(status)) => format!("was not there ({status})"),
        (_, None) => "was not there".to_owned(),
    };
    let message = format!(
        "key {} was {how} {}, and {what} when the target had been started again",
        write.key,
        when(write.ended, signal)
    );
    let is_restart = |kind: &EventKind| matches!(kind, EventKind::Restarted { .. });
    let restart = history.first(is_restart).map(|(event, _)| event);
    let exit = history.exit().map(|exit| exit.event);
    let events = [signal.event, event, *read_event];
    Violation { message, evidence: sorted(events.into_iter().chain(restart).chain(exit)) }
}

/// Why acknowledged writes could not be looked for.
fn not_read(history: &History, untold: usize) -> String {
    let has = |is: fn(&EventKind) -> bool| history.first(is).is_some();
    if has(|kind| matches!(kind, EventKind::NotRestarted { .. })) {
        return "the target was not ready when it was started again: see restarts-at-once".into();
    }
    if has(|kind| matches!(kind, EventKind::Restarted { .. })) {
        let statuses: Vec<u16> = seen(history).values().filter_map(|(_, r)| r.status).collect();
        let status = statuses.into_iter().find(|status| !(200..300).contains(status));
        let how = status.map_or("no answer".into(), |status| format!("status {status}"));
        return format!(
            "{} could not be read back after the second start: {how}",
            count(untold, "acknowledged write")
        );
    }
    INVARIANT.unexercised()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, inconclusive, satisfied, violated};
    use super::*;
    use crate::model::event::RequestEnd;
    use crate::model::verdict::VerdictName;

    const DONE: WriteOutcome = WriteOutcome::Acknowledged(200);
    const OPEN: WriteOutcome = WriteOutcome::Indeterminate(RequestEnd::Closed);

    fn verdict(story: Story) -> Verdict {
        (INVARIANT.check)(&story.history())
    }

    /// A target that promises to keep what it acknowledges, with writes that end at these instants.
    fn writing(writes: &[(i64, &str, WriteOutcome)]) -> Story {
        let story = Story::new().with_restart().promising(|it| it.has_writes = true).signal();
        let story = writes.iter().fold(story, |it, (ms, key, how)| it.write(*ms, key, *how));
        story.exit_code(40, 0)
    }

    #[test]
    fn what_is_there_again_satisfies_it() {
        let story = writing(&[(-8, "a", DONE), (3, "b", DONE), (4, "c", OPEN)]).restarted(50);
        let story = story.read_back("a", ReadOutcome::Present).read_back("b", ReadOutcome::Present);
        assert_eq!(satisfied(verdict(story.read_back("c", ReadOutcome::Absent))), 2);
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_or_damaged_violates_it() {
        let story = writing(&[(-8, "a", DONE), (3, "b", DONE)]).restarted(50);
        let story = story.read_back("a", ReadOutcome::Absent).read_back("b", ReadOutcome::Damaged);
        let violations = violated(verdict(story));
        let messages: Vec<_> = violations.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "key a was answered with 200 8.0 ms before SIGTERM, and was not there (404) when \
                 the target had been started again",
                "key b was answered with 200 3.0 ms after SIGTERM, and was there, but not as it \
                 was written when the target had been started again",
            ]
        );
        assert_eq!(violations[0].evidence.len(), 5, "signal, write, exit, restart and reading");
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not_but_not_by_half() {
        let story = || writing(&[(-8, "a", DONE), (3, "b", OPEN)]).restarted(50);
        let story = || story().read_back("a", ReadOutcome::Present);
        for outcome in [ReadOutcome::Present, ReadOutcome::Absent, ReadOutcome::Unknown] {
            assert_eq!(satisfied(verdict(story().read_back("b", outcome))), 1, "{outcome:?}");
        }
        let half = violated(verdict(story().read_back("b", ReadOutcome::Damaged)));
        assert!(half[0].message.contains("key b was given up without an answer"), "{half:?}");
    }

    #[test]
    fn a_refused_write_promises_nothing() {
        let story = writing(&[(3, "a", WriteOutcome::Refused(503))]).restarted(50);
        let reason = inconclusive(verdict(story.read_back("a", ReadOutcome::Absent)));
        assert!(reason.contains("needs writes that were acknowledged"), "{reason}");
    }

    #[test]
    fn what_can_not_be_read_back_shows_nothing() {
        let written = || writing(&[(3, "a", DONE)]);
        let unknown = written().restarted(50).read_back("a", ReadOutcome::Unknown);
        assert!(inconclusive(verdict(unknown)).starts_with("1 acknowledged write could not be"));
        let (reason, lines) = (String::new(), Vec::new());
        let not_ready = written().event(50, EventKind::NotRestarted { reason, lines });
        assert!(inconclusive(verdict(not_ready)).ends_with("see restarts-at-once"));
        assert!(inconclusive(verdict(written())).contains("ready again"));
    }

    #[test]
    fn without_declared_writes_it_does_not_apply() {
        let story = Story::new().signal().write(-5, "a", DONE).exit_code(40, 0);
        assert_eq!(verdict(story).outcome(), VerdictName::NotApplicable);
    }
}
