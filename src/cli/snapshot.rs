//! The snapshot that a run is compared with: read before the run, compared and written after it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::model::run::RunReport;
use crate::model::snapshot::{Snapshot, SnapshotReport, SnapshotState};
use crate::report::snapshot::{Seen, compare, parse, render, updated};
use crate::report::write::OutputFile;

use super::ci::is_ci;
use super::error::UsageError;
use super::failure::Failure;
use super::settings::SnapshotSettings;

/// The exit codes of a run whose verdict is a pass, a failure, and none.
const SATISFIED: u8 = 0;
const DIFFERS: u8 = 1;

/// A snapshot file that was read, or is missing.
pub struct Book {
    path: PathBuf,
    known: Option<Snapshot>,
    /// Open where it may be written.
    output: Option<OutputFile>,
}

impl Book {
    /// Reads the file, and opens it where it may have to be written; nothing where none is named.
    ///
    /// # Errors
    /// When it can't be read, is no snapshot, or can't be written.
    pub fn open(settings: &SnapshotSettings) -> Result<Option<Self>, Failure> {
        let Some(path) = settings.file.clone() else {
            return if settings.update { Err(UsageError::NoSnapshot.into()) } else { Ok(None) };
        };
        let known = read(&path)?;
        let is_wanted = settings.update || (known.is_none() && !is_ci());
        let output = is_wanted.then(|| OutputFile::open(&path)).transpose()?;
        Ok(Some(Self { path, known, output }))
    }

    /// Compares the run with it, writes what is to be written, and has the report say so.
    ///
    /// The verdict of the run comes first: where there is none, because it was interrupted or is
    /// inconclusive, nothing is written and the exit code stays; a violation stays one, also where
    /// the snapshot knows it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn compare(self, report: &mut RunReport) -> Result<(), Failure> {
        let Self { path, known, output } = self;
        let seen = Seen::of(report);
        let here = std::env::current_dir().unwrap_or_default();
        let file = path.strip_prefix(&here).unwrap_or(&path).display().to_string();
        // Only all slices of a plan have a verdict.
        let is_whole = report.partition.is_none();
        let came_to_verdict = is_whole && matches!(report.exit_code, SATISFIED | DIFFERS);
        let comparison = known.as_ref().map(|known| compare(known, &seen)).unwrap_or_default();
        let differs = !comparison.differences.is_empty();
        let state = match (&known, &output) {
            (_, Some(_)) if !came_to_verdict => SnapshotState::NotWritten,
            (None, None) => SnapshotState::Missing,
            (None, Some(_)) => SnapshotState::Written,
            (Some(_), Some(_)) => SnapshotState::Updated,
            (Some(_), None) if differs => SnapshotState::Differs,
            (Some(_), None) => SnapshotState::Same,
        };
        let content = render(&known.map_or_else(|| seen.snapshot(), |it| updated(&it, &seen)));
        if let Some(output) = output.filter(|_| came_to_verdict) {
            output.commit(content.as_bytes())?;
        }
        let is_missing = state == SnapshotState::Missing;
        let told = SnapshotReport {
            file,
            state,
            compared: comparison.compared,
            differences: comparison.differences,
            notes: comparison.notes,
            content: (is_missing && came_to_verdict).then_some(content),
        };
        if told.fails() && report.exit_code == SATISFIED {
            report.exit_code = DIFFERS;
        }
        report.snapshot = Some(told);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Snapshot>, UsageError> {
    let refused = |reason| UsageError::Snapshot { path: path.to_owned(), reason };
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map(Some).map_err(refused),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(error.to_string())),
    }
}
