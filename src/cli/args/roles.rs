//! The words of the roles that only this program itself starts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The options of the guardian, which only this program itself starts.
#[derive(Args, Clone, Debug)]
pub struct GuardianArgs {
    /// The run
    pub run: String,
}

/// The options of a keeper, which only this program itself starts.
#[derive(Args, Clone, Debug)]
pub struct KeeperArgs {
    /// The text by which the target's processes are known
    #[arg(long)]
    pub marker: String,
    /// The control group that it is started in
    #[arg(long)]
    pub group: Option<PathBuf>,
    /// Whether it is PID 1 of a namespace of its own
    #[arg(long)]
    pub as_pid_1: bool,
    /// The target
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// Words that a bundled server parses itself.
#[derive(Args, Clone, Debug)]
pub struct ForwardedArgs {
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}
