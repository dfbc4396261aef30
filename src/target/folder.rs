//! A fresh folder for one trial's state, the same for its second start.

use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Every folder's name begins like this, and the run follows.
const PREFIX: &str = "shutdown-check-";

/// An empty folder, removed with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// Makes a folder, where temporary files go, that only this account can look into.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(run_id: &str) -> io::Result<Self> {
        tempfile::Builder::new().prefix(&prefix(run_id)).tempdir().map(Self)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Removes the folders of a run, when nobody uses them any more: a harness that is killed can't.
pub fn remove_all_of_run(run_id: &str) {
    let prefix = prefix(run_id);
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // It doesn't follow a link that somebody else has put there.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn prefix(run_id: &str) -> String {
    format!("{PREFIX}{run_id}-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_the_run_go() {
        let run_id = format!("test-{}-folder", std::process::id());
        let other_id = format!("{run_id}er");
        let (own, other) = (Folder::create(&run_id).unwrap(), Folder::create(&other_id).unwrap());
        std::fs::write(own.path().join("file"), "content").unwrap();
        remove_all_of_run(&run_id);
        assert!(!own.path().exists());
        assert!(other.path().exists());
    }
}
