//! Snapshots: what does not change from run to run, kept in a file that is committed.

use crate::model::snapshot::{SnapshotReport, SnapshotState};

use super::numbers::counted;

mod compare;
mod seen;
mod text;

pub use compare::{Comparison, compare, updated};
pub use seen::Seen;
pub use text::{parse, render};

/// What came of it, in a sentence without an end.
pub(super) fn sentence(snapshot: &SnapshotReport) -> String {
    let file = &snapshot.file;
    let compared = counted(snapshot.compared.into(), "entry", "entries");
    let changes = counted(snapshot.differences.len() as u64, "entry", "entries");
    match snapshot.state {
        SnapshotState::Same => format!("{file}: {compared} compared, all as before"),
        SnapshotState::Differs => {
            format!("{file}: {changes} of {} differ from before", snapshot.compared)
        }
        SnapshotState::Missing => format!(
            "there is no {file}, and on a CI server none is written: run this once elsewhere and \
             commit the file, or say --update-snapshots"
        ),
        SnapshotState::Written => format!("written to {file}: review it and commit it"),
        SnapshotState::Updated => match snapshot.differences.is_empty() {
            true => format!("{file}: no entry differs"),
            false => format!("{file}: {changes} accepted: review and commit it"),
        },
        SnapshotState::NotWritten => {
            format!("{file} was not written, since the run came to no verdict")
        }
    }
}

/// Why a snapshot fails a run, for a verdict in a sentence.
pub(super) fn verdict(snapshot: &SnapshotReport) -> String {
    match snapshot.state {
        SnapshotState::Missing => "the snapshot is missing".into(),
        _ => {
            let entries = counted(snapshot.differences.len() as u64, "entry", "entries");
            format!("the snapshot differs in {entries}")
        }
    }
}

/// The differences, a line each: `in-flight-requests-complete: satisfied → violated (…)`.
pub fn lines(snapshot: &SnapshotReport) -> Vec<String> {
    let line = |it: &crate::model::snapshot::Difference| {
        let was = it.was.as_deref().unwrap_or("not in the snapshot");
        format!("{}: {was} → {} ({})", it.what, it.is, it.because)
    };
    snapshot.differences.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
