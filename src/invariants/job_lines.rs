//! Whether lines tell of jobs at all, and whether all of them could be read.

use crate::model::event::{Event, EventKind, LineSource};
use crate::model::history::{History, SignalSent};
use crate::model::ledger::Job;
use crate::model::time::Nanos;
use crate::model::verdict::Verdict;

/// The verdict where no line was a job's.
pub(super) fn missing(history: &History) -> Option<Verdict> {
    if history.told().job_lines_seen {
        return None;
    }
    Some(match history.contract().jobs.declared {
        true => Verdict::inconclusive(match unread(history) {
            Some(why) => format!("no line of a job was read: {why}"),
            None => "no line of the target's matched --job-start or --job-finish: no job ran, or \
                     the patterns are not those of its lines"
                .into(),
        }),
        false => Verdict::NotApplicable {
            reason: "no line of the target's looks like a job: name the lines with --job-start \
                     and --job-finish"
                .into(),
        },
    })
}

/// Why the lines after the target's end are unknown, of a source that could not be read then.
pub(super) fn unread(history: &History) -> Option<String> {
    history.events().iter().find_map(|event| match &event.kind {
        EventKind::SourceRead { source, failed: Some(why) } if *source != LineSource::LogFile => {
            Some(format!("{} could not be read after its end ({why})", source.option()))
        }
        _ => None,
    })
}

/// Whether the source of a job's start line had brought any line before the signal. A program
/// that buffers its output writes old lines when it exits, with nothing to show their age.
pub(super) fn is_written_at_once(events: &[Event], signal: &SignalSent, job: &Job) -> bool {
    let origin = |event: &Event| event.kind.line().map(|line| line.origin);
    let of_start = origin(&events[job.started_event as usize]);
    events[..signal.event as usize].iter().any(|event| {
        let origin = origin(event);
        origin.is_some() && origin == of_start
    })
}

/// Whether a job was acknowledged to whoever submitted it, before the target had to take no more:
/// then it is to be done, however late it starts.
pub(super) fn was_promised(history: &History, job: &Job, limit: Nanos) -> bool {
    history.events().iter().any(|event| match &event.kind {
        EventKind::JobSubmit(submit) => {
            let is_its = job.id.contains(&submit.key) || submit.answer.as_ref() == Some(&job.id);
            submit.is_acknowledged() && submit.started <= limit && is_its
        }
        _ => false,
    })
}

/// Whether some lines of jobs may not be in the history. They are kept apart from most others, so
/// that only their own number can be too many.
pub(super) fn dropped(history: &History) -> bool {
    let dropped =
        |kind: &EventKind| matches!(kind, EventKind::OutputDropped { job_lines: 1.., .. });
    history.first(dropped).is_some()
}
