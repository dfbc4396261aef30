//! The settings of a run that is over: its report has them.

use std::ffi::OsString;
use std::path::Path;

use super::{Layers, Settings};
use crate::cli::args::RunArgs;
use crate::cli::config::ConfigFile;
use crate::cli::error::UsageError;
use crate::cli::{config, environment};
use crate::model::run::RunReport;

impl Settings {
    /// The settings that a report was written with, and what departs from them here.
    ///
    /// # Errors
    /// When the report was not written by a run, or what departs from it is wrong.
    pub fn of_report(
        run: &RunArgs,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        dir: &Path,
        (path, report): (&Path, &RunReport),
    ) -> Result<Self, UsageError> {
        let env = environment::options(variables)?;
        let file = config::of_report(&report.configuration, path)?;
        let layers = Layers { line: run, env: &env, file: &file, dir, config_file: None };
        let settings = layers.settings()?;
        // Every situation is named in a report, also where nobody had named one.
        let pid_1_counts = !report.plan.trials.iter().any(|trial| trial.aside);
        let crowd = crowd_of(report).unwrap_or(settings.crowd);
        let partition = report.partition.unwrap_or_default();
        Ok(Self {
            pid_1_counts,
            crowd,
            partition,
            seed: settings.seed.or(Some(report.seed)),
            ..settings
        })
    }
    /// The settings that such a file would give, and what departs from them here.
    ///
    /// # Errors
    /// When they contradict each other, or can't be used.
    pub fn of_file(
        run: &RunArgs,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        (file, dir): (&ConfigFile, &Path),
    ) -> Result<Self, UsageError> {
        let env = environment::options(variables)?;
        Layers { line: run, env: &env, file, dir, config_file: None }.settings()
    }
}

/// How many requests there were in process together at most, or may have been; nothing where the
/// report doesn't tell. Its configuration says less: what the target could not answer at the same time
/// was not tried, and the number of connections stands there even where nobody asked for so many.
fn crowd_of(report: &RunReport) -> Option<u16> {
    let proven = report.search.as_ref().and_then(|search| search.crowd);
    let crowded = report.plan.trials.iter().filter(|trial| trial.is_crowded());
    proven.or_else(|| crowded.map(|trial| trial.load.connections).max())
}
