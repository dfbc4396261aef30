//! The options about failures that were found: shrunk, kept, and tried again.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::RunArgs;
use crate::cli::values;

/// What is done about failures besides reporting them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Failures")]
pub struct AgainArgs {
    /// Look for the least that fails, this long [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub shrink_budget: Option<Duration>,
    /// Known failures [./shutdown-check.regressions.toml]
    #[arg(long, value_name = "PATH", conflicts_with = "no_regressions")]
    pub regressions: Option<PathBuf>,
    /// Neither try known failures nor write new ones down
    #[arg(long)]
    pub no_regressions: bool,
}

/// The options of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// Only what this trial of the report shows
    #[arg(long, value_name = "N")]
    pub trial: Option<u32>,
    /// Take what is fixed out of the regressions file
    #[arg(long)]
    pub retire: bool,
    /// How the target is started, loaded and signalled.
    #[command(flatten)]
    pub run: RunArgs,
}
