//! What is written, and where.

use std::path::{Path, PathBuf};

use clap::ColorChoice;
use serde::Serialize;

use super::{Layers, first, listed};
use crate::cli::args::OutputArgs;
use crate::report::{Format, Output};

/// What is written, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outputs {
    /// Reports to write.
    #[serde(skip)]
    pub reports: Vec<Output>,
    /// What goes to standard output.
    #[serde(skip)]
    pub stdout: Format,
    /// Where reports and histories are kept, where the user says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports_dir: Option<PathBuf>,
    /// What relative paths are relative to.
    #[serde(skip)]
    pub here: PathBuf,
    /// How much is shown.
    #[serde(skip)]
    pub verbosity: Verbosity,
    /// Whether it is shown in colour.
    #[serde(skip)]
    pub color: ColorChoice,
    /// Whether progress is shown, where it can be.
    #[serde(skip)]
    pub progress: bool,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// The verdict only.
    Quiet,
    /// What needs attention.
    #[default]
    Usual,
    /// All that was found out.
    Verbose,
}

impl Outputs {
    /// What the command line asks for, else the environment, else the file's folder; paths are
    /// relative to `dir`.
    pub(in crate::cli) fn resolve(
        (line, env, dir): (&OutputArgs, &OutputArgs, &Path),
        dir_of_file: Option<PathBuf>,
    ) -> Self {
        let in_dir = |path: &PathBuf| dir.join(path);
        let asked = listed(&line.output, &env.output, &[]).unwrap_or_default();
        let mut reports: Vec<Output> = asked
            .into_iter()
            .map(|Output { format, path }| {
                let path = if is_stdout(&path) { path } else { in_dir(&path) };
                Output { format, path }
            })
            .collect();
        // What is asked for there takes the place of what goes there unasked.
        let format = first(line.format, env.format, None).or_else(|| {
            let place = reports.iter().position(|output| is_stdout(&output.path))?;
            Some(reports.remove(place).format)
        });
        let verbosity = |args: &OutputArgs| match args {
            OutputArgs { quiet: true, .. } => Some(Verbosity::Quiet),
            OutputArgs { verbose: true, .. } => Some(Verbosity::Verbose),
            _ => None,
        };
        let verbosity = first(verbosity(line), verbosity(env), None).unwrap_or_default();
        Self {
            reports,
            stdout: format.unwrap_or_default(),
            reports_dir: first(
                line.reports_dir.as_ref().map(in_dir),
                env.reports_dir.as_ref().map(in_dir),
                dir_of_file,
            ),
            here: dir.to_owned(),
            verbosity,
            color: first(line.color, env.color, None).unwrap_or_default(),
            progress: verbosity > Verbosity::Quiet && !line.no_progress && !env.no_progress,
        }
    }

    /// The first report that the user asked for in a file.
    pub fn first_file(&self) -> Option<&Path> {
        let mut paths = self.reports.iter().map(|output| &*output.path);
        paths.find(|path| is_file_name(path))
    }

    /// The folder of a run: under the reports' directory; else beside the first report that the
    /// user asked for in a file; else under `reports`.
    pub fn folder(&self, seed: u64) -> PathBuf {
        let name = seed.to_string();
        match (&self.reports_dir, self.first_file()) {
            (Some(dir), _) => dir.join(name),
            (None, Some(file)) => file.with_extension("trials"),
            (None, None) => self.here.join("reports").join(name),
        }
    }
}

impl Layers<'_> {
    pub(super) fn outputs(&self) -> Outputs {
        let dir_of_file = self.file.reports_dir.as_ref().map(|dir| self.beside_file(dir));
        Outputs::resolve((&self.line.output, &self.env.output, self.dir), dir_of_file)
    }
}

/// Whether the path stands for standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether a report that goes there is a file of its own, with room for a folder beside it.
fn is_file_name(path: &Path) -> bool {
    !is_stdout(path) && path.file_name().is_some() && !path.starts_with("/dev")
}
