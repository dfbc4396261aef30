//! The only output of the reports: files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A place to write to, opened before it is known what will be written.
///
/// Dropped without [`OutputFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    destination: Destination,
    /// The directories that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

#[derive(Debug)]
enum Destination {
    Stdout,
    /// What exists and is no regular file (a pipe, `/dev/null`) is written to, not replaced.
    Special(File),
    /// Written beside the destination, then renamed. `None` when that was done.
    Temporary(Option<NamedTempFile>),
}

/// Why an output can't be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A directory of the path can't be made.
    #[error("can't make the directory {}: {error}; make it, or name another --output", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The path names a directory.
    #[error("can't write to {}: it is a directory; name a file in it", .path.display())]
    IsDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The file can't be opened.
    #[error("can't write to {}: {error}; make its directory writable, or name another --output", .path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file can't be written or put in its place.
    #[error("can't write {}: {error}; nothing was changed there, so make room and run `report` again", .path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl OutputFile {
    /// Opens an output; `-` is standard output. Missing directories are made.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let mut output =
            Self { path: path.into(), destination: Destination::Stdout, made: Vec::new() };
        if path == Path::new("-") {
            return Ok(output);
        }
        // A link stays a link: what it leads to is replaced.
        output.path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let refused = |error| OutputError::Open { path: path.into(), error };
        output.destination = match fs::metadata(&output.path) {
            Ok(found) if found.is_dir() => {
                return Err(OutputError::IsDirectory { path: path.into() });
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&output.path).map_err(refused)?;
                Destination::Special(file)
            }
            _ => {
                let parent = output.parent();
                output.make(&parent)?;
                Destination::Temporary(Some(temporary(&parent).map_err(refused)?))
            }
        };
        Ok(output)
    }

    /// Where it will be, as it was found when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything and puts it in its place at once.
    ///
    /// # Errors
    /// When it can't be written; what was there before is still there then.
    pub fn commit(mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.write(bytes).map_err(|error| OutputError::Write { path: self.path.clone(), error })?;
        self.made.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.destination {
            Destination::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Destination::Special(file) => file.write_all(bytes),
            Destination::Temporary(file) => {
                let Some(mut file) = file.take() else { return Ok(()) };
                file.write_all(bytes)?;
                // Without this, a crash of the machine may leave the new name with no content.
                file.as_file().sync_all()?;
                file.persist(&self.path)?;
                Ok(())
            }
        }
    }

    fn parent(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent.into(),
            _ => ".".into(),
        }
    }

    fn make(&mut self, directory: &Path) -> Result<(), OutputError> {
        let missing: Vec<_> = directory
            .ancestors()
            .take_while(|ancestor| *ancestor != Path::new("") && !ancestor.exists())
            .collect();
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => self.made.push(path.into()),
                // Another output, or another program, was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OutputError::Directory { path: path.into(), error }),
            }
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        self.destination = Destination::Stdout;
        for directory in self.made.iter().rev() {
            // A directory that somebody else put a file into stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A hidden file beside the destination, with the permissions that a new file usually has.
fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".shutdown-check-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask takes away what the user doesn't want.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_in_directories_that_are_made_for_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/report.json");
        OutputFile::open(&path).unwrap().commit(b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        assert_eq!(names(path.parent().unwrap()), ["report.json"]);
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        drop(OutputFile::open(&root.path().join("a/b/report.json")).unwrap());
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn an_older_file_stays_until_the_new_one_is_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("report.json");
        fs::write(&path, "old").unwrap();
        let output = OutputFile::open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        drop(OutputFile::open(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(root.path()), ["report.json"]);
    }

    #[test]
    fn an_unwritable_place_is_found_before_the_run() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = OutputFile::open(&file.join("report.json")).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()) && error.contains("os error"), "{error}");
        let error = OutputFile::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("it is a directory; name a file in it"), "{error}");
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn what_can_not_be_made_is_named_with_the_system_s_reason() {
        let error = OutputFile::open(Path::new("/proc/none/report.json")).unwrap_err();
        assert!(error.to_string().starts_with("can't make the directory /proc/none: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_are_written_to_and_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        OutputFile::open(&link).unwrap().commit(b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        OutputFile::open(Path::new("/dev/null")).unwrap().commit(b"gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
