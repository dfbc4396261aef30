//! `report`, `completions` and `man`: what is already known, written in another way.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::model::run::{RunReport, SCHEMA_VERSION};

use super::args::{Cli, OutputArgs, ReportArgs};
use super::failure::Failure;
use super::publish::{Publication, REPORT, print};
use super::settings::Outputs;

/// A saved report can't be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It can't be read.
    #[error("cannot read {path}: {reason}\n  name a report.json, or the folder of a run")]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// It is no report.
    #[error("{path} is no report of this program: {reason}\n  name a report.json")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Renders a saved report; the exit code is 0, whatever its verdict.
///
/// # Errors
/// When it can't be read, or an output can't be written.
pub fn report(args: &ReportArgs) -> Result<u8, Failure> {
    let path = named(&args.report);
    let report = read(&path)?;
    let here = std::env::current_dir()
        .map_err(|error| Failure::Internal(format!("no current directory: {error}")))?;
    let outputs = Outputs::resolve((&args.output, &OutputArgs::default(), &here), None);
    Publication::of_saved(&outputs, &path)?.publish(report)?;
    Ok(0)
}

/// The report that is meant by its path, or by the folder of its run.
pub fn named(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(REPORT) } else { path.to_owned() }
}

/// Prints what a shell needs to complete this program's words.
pub fn completions(shell: Shell) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut text);
    print(&String::from_utf8_lossy(&text));
    0
}

/// Prints the manual page, in roff (man(7)).
///
/// # Errors
/// When it can't be rendered.
pub fn man() -> Result<u8, Failure> {
    let mut text = Vec::new();
    Man::new(Cli::command())
        .render(&mut text)
        .map_err(|error| Failure::Internal(format!("the manual page: {error}")))?;
    print(&String::from_utf8_lossy(&text));
    Ok(0)
}

/// Reads a saved report of this major version.
///
/// # Errors
/// When it can't be read or is none.
pub fn read(path: &Path) -> Result<RunReport, ReportError> {
    let text = fs::read_to_string(path)
        .map_err(|reason| ReportError::Read { path: path.to_owned(), reason })?;
    let no_report = |reason: String| ReportError::Content { path: path.to_owned(), reason };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| no_report(error.to_string()))?;
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    match value["schema_version"].as_str() {
        Some(found) if major(found) == major(SCHEMA_VERSION) => {}
        Some(found) => {
            let reason = format!("its schema is {found}, and this program reads {SCHEMA_VERSION}");
            return Err(no_report(reason));
        }
        None => return Err(no_report("it has no schema_version".into())),
    }
    serde_json::from_value(value).map_err(|error| no_report(error.to_string()))
}
