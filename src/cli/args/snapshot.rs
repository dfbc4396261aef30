//! The options about the snapshot that a run is compared with.

use std::path::PathBuf;

use clap::Args;

/// What the run is compared with.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Snapshot")]
pub struct SnapshotArgs {
    /// Fail if what does not change from run to run differs from this file
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// Write what differs into the file
    #[arg(long)]
    pub update_snapshots: bool,
}
