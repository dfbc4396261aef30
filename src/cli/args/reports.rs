//! The options of the commands that take several reports.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::OutputArgs;

/// The options of `diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// The earlier report.json, or the folder of its run
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The later one
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// How to print it: text, json or markdown
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true)]
    pub format: DiffFormat,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people.
    #[default]
    #[value(alias = "terminal")]
    Text,
    /// For programs.
    Json,
    /// For a comment or a job's summary.
    Markdown,
}

/// The options of `merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// The folders of the slices' runs, or the report.json in each
    #[arg(required = true, value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,
}
