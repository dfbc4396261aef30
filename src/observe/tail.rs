//! The new lines of a file that another process writes, also across its rotation.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// As much is read at once; what is more is read the next time.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A line without an end for so long is taken for whole.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// From so many bytes before what is new it is seen that the file is still the same.
const MEMORY_BYTES: usize = 64;

/// Reads a file from where it ended when this began.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// How much of it was read.
    offset: u64,
    /// The last bytes that were read.
    memory: Vec<u8>,
    /// The beginning of a line whose end is yet to come.
    partial: Vec<u8>,
}

impl Tail {
    /// Begins at the end of the file, or before it is there.
    pub fn begin(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let file = File::open(&path).ok();
        let offset = file.as_ref().and_then(|file| Some(file.metadata().ok()?.len())).unwrap_or(0);
        let mut tail = Self { path, file, offset, memory: Vec::new(), partial: Vec::new() };
        tail.memory = tail.before(MEMORY_BYTES.min(offset as usize)).unwrap_or_default();
        tail
    }

    /// The lines that have been written since the last time, without their ends.
    ///
    /// # Errors
    /// When the file is not there, or can't be read.
    pub fn lines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        if self.file.is_none() {
            self.open()?;
        }
        self.begin_again_if_rewritten();
        let mut lines = self.read()?;
        if self.is_replaced() {
            lines.extend(self.rest());
            self.open()?;
            lines.extend(self.read()?);
        }
        Ok(lines)
    }

    /// What was written after the last line's end.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.partial)).filter(|rest| !rest.is_empty())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self) -> io::Result<()> {
        self.file = Some(File::open(&self.path)?);
        self.begin_again();
        Ok(())
    }

    fn begin_again(&mut self) {
        self.offset = 0;
        self.memory.clear();
        self.partial.clear();
    }

    /// A file may be cut to nothing and be written anew, and then be longer than it was.
    fn begin_again_if_rewritten(&mut self) {
        let is_other = self.before(self.memory.len()).is_none_or(|bytes| bytes != self.memory);
        if is_other {
            self.begin_again();
        }
    }

    /// So many bytes before the place that was read up to.
    fn before(&self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let from = self.offset.checked_sub(length as u64)?;
        self.file.as_ref()?.read_exact_at(&mut bytes, from).ok()?;
        Some(bytes)
    }

    fn is_replaced(&self) -> bool {
        let id = |found: io::Result<fs::Metadata>| found.ok().map(|it| (it.dev(), it.ino()));
        let now = id(fs::metadata(&self.path));
        now.is_some() && now != self.file.as_ref().and_then(|file| id(file.metadata()))
    }

    fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let Some(file) = &self.file else { return Err(ErrorKind::NotFound.into()) };
        let (mut lines, mut buffer, mut total) = (Vec::new(), vec![0; 64 * 1024], 0);
        while total < READ_BYTES_MAX {
            let length = file.read_at(&mut buffer, self.offset)?;
            if length == 0 {
                break;
            }
            total += length;
            self.offset += length as u64;
            self.memory.extend_from_slice(&buffer[length.saturating_sub(MEMORY_BYTES)..length]);
            self.memory.drain(..self.memory.len().saturating_sub(MEMORY_BYTES));
            for piece in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                self.partial.extend_from_slice(text);
                if text.len() < piece.len() || self.partial.len() > LINE_BYTES_MAX {
                    lines.push(std::mem::take(&mut self.partial));
                }
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_lines(tail: &mut Tail) -> Vec<String> {
        let lines = tail.lines().unwrap().into_iter();
        lines.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    fn append(path: &Path, text: &str) {
        let mut options = fs::OpenOptions::new();
        let file = options.append(true).create(true).open(path).unwrap();
        io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
    }

    #[test]
    fn only_new_lines_are_read_and_a_half_one_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.log");
        append(&path, "old\n");
        let mut tail = Tail::begin(&path);
        assert_eq!(new_lines(&mut tail), Vec::<String>::new());
        append(&path, "one\ntw");
        assert_eq!(new_lines(&mut tail), ["one"]);
        append(&path, "o\nthr");
        assert_eq!(new_lines(&mut tail), ["two"]);
        assert_eq!(tail.rest(), Some(b"thr".to_vec()));
    }

    #[test]
    fn a_file_that_comes_later_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.log");
        let mut tail = Tail::begin(&path);
        assert_eq!(tail.lines().unwrap_err().kind(), ErrorKind::NotFound);
        append(&path, "one\n");
        assert_eq!(new_lines(&mut tail), ["one"]);
    }

    #[test]
    fn nothing_is_lost_or_read_twice_when_the_file_is_replaced_or_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.log");
        append(&path, "old\n");
        let mut tail = Tail::begin(&path);
        append(&path, "one\n");
        fs::rename(&path, folder.path().join("jobs.log.1")).unwrap();
        append(&path, "two\n");
        assert_eq!(new_lines(&mut tail), ["one", "two"]);
        fs::write(&path, "a longer text than before\n").unwrap();
        assert_eq!(new_lines(&mut tail), ["a longer text than before"]);
        fs::write(&path, "short\n").unwrap();
        assert_eq!(new_lines(&mut tail), ["short"]);
    }
}
