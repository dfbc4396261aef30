//! `merge`: the reports of slices put together, as if one run had done the whole plan.
//!
//! The histories are judged anew, all together: what is compared over trials (controls, several
//! signals, SIGINT with SIGTERM) can't be added up from what each slice made of its own.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::judge::judge;
use crate::model::run::{RunReport, TrialReport};
use crate::model::verdict::VerdictName;
use crate::report::merge::{Named, facts};
use crate::report::summary::{SeverityTable, TrialSummary, assemble, thin};

use super::again::say_how;
use super::args::{MergeArgs, OutputArgs};
use super::error::UsageError;
use super::failure::Failure;
use super::publish::Publication;
use super::render::{named, read};
use super::settings::Outputs;
use super::store;

/// Evidence that no report will show is dropped each time this many trials are read.
const THIN_EVERY: usize = 64;

/// Puts reports together and publishes what they say; the exit code.
///
/// # Errors
/// When they are not slices of one plan, or something can't be read or written.
pub(super) fn merge(args: &MergeArgs) -> Result<u8, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::Internal(format!("no current directory: {error}")))?;
    let outputs = Outputs::resolve((&args.output, &OutputArgs::default(), &here), None);
    let mut slices: Vec<(PathBuf, Named)> = Vec::new();
    for path in &args.reports {
        let file = here.join(named(path));
        slices.push((file.clone(), (path.display().to_string(), read(&file)?)));
    }
    let mut reports: Vec<Named> = slices.iter().map(|(_, named)| named.clone()).collect();
    let facts = facts(&mut reports, env!("CARGO_PKG_VERSION"))
        .map_err(|error| UsageError::Merge { reason: error.to_string() })?;
    slices.sort_by_key(|(_, (_, report))| report.partition);
    let publication = Publication::again(&outputs)?;
    let place = outputs.first_file().map(Path::to_owned);
    let base = place.as_deref().and_then(Path::parent).unwrap_or(&here).to_owned();
    let mut summaries = Vec::new();
    for (file, (name, report)) in &slices {
        for trial in &report.trials {
            summaries.push(summary((name, file), trial, &base, &facts.severities)?);
            if summaries.len().is_multiple_of(THIN_EVERY) {
                thin(&mut summaries);
            }
        }
    }
    let mut report = assemble(facts, &summaries);
    for (file, (_, slice)) in &slices {
        add_what_was_run_again(&mut report, (file, slice), &base);
    }
    say_how(&mut report, &base);
    publication.beside(place).publish(report)
}

/// What a trial's history shows.
fn summary(
    (name, report): (&str, &Path),
    trial: &TrialReport,
    base: &Path,
    severities: &SeverityTable,
) -> Result<TrialSummary, Failure> {
    let refused = |reason: String| UsageError::Merge { reason };
    let path = history_of(report, trial).ok_or_else(|| {
        refused(format!(
            "the history of trial {} of {name} is not there\n  merge takes the whole folder of each \
             slice's run: its trials are judged together",
            trial.number
        ))
    })?;
    let history = store::read(&path)?;
    let its = &history.header().trial;
    if (its.number, its.seed) != (trial.number, trial.seed) {
        let (path, number) = (path.display(), trial.number);
        return Err(refused(format!(
            "{path} is not the history of trial {number} of {name}\n  merge takes the folder as the \
             run has left it"
        ))
        .into());
    }
    let findings = judge(&history);
    let took = Duration::from_millis(trial.shown.took_ms.into());
    Ok(TrialSummary::of(&history, &findings, Some(relative(base, &path)), severities).took(took))
}

/// Where a trial's history is: beside the report, in the folder that belongs to it, or where the run
/// had left it.
fn history_of(report: &Path, trial: &TrialReport) -> Option<PathBuf> {
    let name = trial.history.as_ref()?;
    let beside = report.parent().unwrap_or(Path::new("."));
    [beside.join(name), report.with_extension("trials").join(name)]
        .into_iter()
        .find(|path| path.is_file())
}

/// What a slice has found out besides: the least that shows a failure, and what became of those that
/// were known.
fn add_what_was_run_again(report: &mut RunReport, (file, slice): (&Path, &RunReport), base: &Path) {
    report.replayed.extend(slice.replayed.iter().cloned());
    for found in &slice.reproductions {
        let is_violated = report
            .invariants
            .iter()
            .any(|it| it.id == found.invariant && it.verdict == VerdictName::Violated);
        let is_told = report.reproductions.iter().any(|it| it.invariant == found.invariant);
        if !is_violated || is_told {
            continue;
        }
        let mut found = found.clone();
        if let Some(shown) = &mut found.shown
            && let Some(path) = history_of(file, shown)
        {
            shown.history = Some(relative(base, &path));
        }
        report.reproductions.push(found);
    }
    let place = |id: &str| report.invariants.iter().position(|it| it.id == id);
    let mut found = std::mem::take(&mut report.reproductions);
    found.sort_by_key(|found| place(&found.invariant));
    report.reproductions = found;
}

/// A path as it is written in a file of this folder.
fn relative(folder: &Path, path: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (folder, path) = (whole(folder), whole(path));
    let (from, to): (Vec<Component<'_>>, Vec<_>) =
        (folder.components().collect(), path.components().collect());
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    let relative: PathBuf = up.chain(to[common..].iter().copied()).collect();
    relative.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_the_folder_to_the_file() {
        let of = |folder: &str, path: &str| relative(Path::new(folder), Path::new(path));
        assert_eq!(of("/none/a", "/none/a/b/c"), "b/c");
        assert_eq!(of("/none/a", "/none/b/c"), "../b/c");
        assert_eq!(of("/none/a/b", "/none/c"), "../../c");
    }
}
