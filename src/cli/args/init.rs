//! The command line of `init`.

use std::path::PathBuf;

use clap::Args;

use super::{ExpectArgs, LoadArgs, RunArgs, SignalArgs, SourceArgs, StartArgs};
use crate::cli::values::{self, PathSpec};
use crate::model::signal::Signal;
use crate::model::verdict::Profile;

/// The options of `init`.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// The program to write the file for
    pub target: Option<String>,
    /// Its arguments; put -- before them if they look like options
    pub args: Vec<String>,
    /// Ask for this, too: a page that takes about a second (repeatable)
    #[arg(long, value_name = "PATH", value_parser = values::path_spec)]
    pub path: Vec<PathSpec>,
    /// graceful, strict, kubernetes, worker [default: graceful]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
    /// The signal to end it by [default: TERM]
    #[arg(long, value_name = "NAME", value_parser = values::signal)]
    pub signal: Option<Signal>,
    /// Write this file; - is standard output [default: shutdown-check.toml]
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Print the file and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How the target is started and found.
    #[command(flatten)]
    pub start: StartArgs,
}

impl InitArgs {
    /// The same as options of a run that reads no file.
    pub fn run(&self) -> RunArgs {
        RunArgs {
            target: self.target.clone(),
            args: self.args.clone(),
            start: self.start.clone(),
            load: LoadArgs { path: self.path.clone(), ..LoadArgs::default() },
            signal: SignalArgs {
                signal: self.signal.into_iter().collect(),
                ..SignalArgs::default()
            },
            expect: ExpectArgs { profile: self.profile, ..ExpectArgs::default() },
            source: SourceArgs { no_config: true, ..SourceArgs::default() },
            ..RunArgs::default()
        }
    }
}
