//! The snapshot that a run is compared with.

use std::path::PathBuf;

use super::Layers;

/// The snapshot that a run is compared with, where there is to be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// The file.
    pub file: Option<PathBuf>,
    /// Whether what differs is accepted.
    pub update: bool,
}

impl Layers<'_> {
    pub(super) fn snapshot(&self) -> SnapshotSettings {
        let (line, env) = (&self.line.snapshot, &self.env.snapshot);
        let in_dir = |path: &PathBuf| self.dir.join(path);
        let of_file = || self.file.snapshot.as_ref().map(|path| self.beside_file(path));
        let named = line.snapshot.as_ref().or(env.snapshot.as_ref());
        SnapshotSettings {
            file: named.map(in_dir).or_else(of_file),
            update: line.update_snapshots || env.update_snapshots,
        }
    }
}
