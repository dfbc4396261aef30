//! Whether the target's lines tell of jobs at all.

use crate::model::event::EventKind;
use crate::model::history::History;
use crate::model::verdict::Verdict;

/// The verdict where no line was a job's.
pub(super) fn missing(history: &History) -> Option<Verdict> {
    if history.job_lines_seen() {
        return None;
    }
    Some(match history.contract().jobs.declared {
        true => Verdict::inconclusive(
            "no line of the target's matched --job-start or --job-finish: no job ran, or the \
             patterns are not those of its lines",
        ),
        false => Verdict::NotApplicable {
            reason: "no line of the target's looks like a job: name the lines with --job-start \
                     and --job-finish"
                .into(),
        },
    })
}

/// Whether some lines of jobs are not in the history. They are kept apart from all others, so that
/// only their own number can be too many.
pub(super) fn dropped(history: &History) -> bool {
    let dropped =
        |kind: &EventKind| matches!(kind, EventKind::OutputDropped { job_lines: 1.., .. });
    history.first(dropped).is_some()
}
