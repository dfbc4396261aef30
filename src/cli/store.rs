//! Where histories are kept: a folder a run, a file a trial.

use std::borrow::Borrow;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::model::event::Event;
use crate::model::header::Header;
use crate::model::history::{History, Malformed};
use crate::model::secrets::Secrets;

/// A folder of histories.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    /// The file that keeps it out of the user's repository, where nothing else lies beside it.
    ignore: Option<PathBuf>,
    /// What is not written.
    secrets: Secrets,
}

/// A history could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it can't be written.
    #[error("cannot write {path}: {reason}\n  name another folder (--reports-dir)")]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// It can't be read, or is no history.
    #[error(
        "{path} is no history that can be judged: {reason}\n  name a folder under reports/, or a \
         trial-*.jsonl in one"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: Malformed,
    },
    /// There is none.
    #[error("no histories (trial-*.jsonl) in {path}\n  name a folder under reports/, or files")]
    None {
        /// The folder.
        path: PathBuf,
    },
}

impl Store {
    /// Opens a folder for writing; histories of an earlier run with the same name go.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn create(folder: PathBuf) -> Result<Self, StoreError> {
        let ignore = ignore_in_new_reports(&folder);
        let store = Self { folder, ignore, secrets: Secrets::default() };
        let fail = |reason| StoreError::Write { path: store.folder.clone(), reason };
        fs::create_dir_all(&store.folder).map_err(fail)?;
        for path in files_of_a_run(&store.folder).map_err(fail)? {
            fs::remove_file(path).map_err(fail)?;
        }
        // Tried now: that nothing can be written must not be learnt after the first trial.
        tempfile::tempfile_in(&store.folder).map_err(fail)?;
        Ok(store)
    }

    /// The same folder, in which these are never written.
    pub fn hiding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a trial's history: written beside its place and then renamed, so that a file of that
    /// name is always whole.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, header: &Header, events: &[Event]) -> Result<PathBuf, StoreError> {
        self.write(&file_name(header.trial.number), header, events)
    }

    /// Keeps the history of a trial that was run again under a name of its own, which no other
    /// command takes for one of the run.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save_again(&self, header: &Header, events: &[Event]) -> Result<PathBuf, StoreError> {
        self.write(&again_name(header.trial.number), header, events)
    }

    /// Keeps what was seen of a start that did not come as far as its signal, beside the
    /// histories and under another name.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save_attempt(
        &self,
        header: &Header,
        events: &[Event],
        attempt: u32,
    ) -> Result<PathBuf, StoreError> {
        let name = format!("attempt-{:04}-{attempt}.jsonl", header.trial.number);
        self.write(&name, header, events)
    }

    fn write(&self, name: &str, header: &Header, events: &[Event]) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(name);
        let fail = |reason| StoreError::Write { path: path.clone(), reason };
        let temporary = tempfile::NamedTempFile::new_in(&self.folder).map_err(fail)?;
        let mut out = BufWriter::new(temporary);
        let header = self.secrets.hide_in_header(header);
        let events = events.iter().map(|event| self.secrets.hide_in_event(event));
        write_history(&mut out, &header, events).map_err(fail)?;
        let temporary = out.into_inner().map_err(|error| fail(error.into_error()))?;
        temporary.persist(&path).map_err(|error| fail(error.error))?;
        // Only now: a run that comes to nothing leaves nothing.
        if let Some(ignore) = self.ignore.as_ref().filter(|ignore| !ignore.exists()) {
            // Where that can't be, nothing is lost.
            let _ = fs::write(ignore, "*\n");
        }
        Ok(path)
    }
}

/// The `.gitignore` for the default folder, where it is new, as cargo has one in its target folder.
fn ignore_in_new_reports(folder: &Path) -> Option<PathBuf> {
    let reports = folder.parent().filter(|reports| reports.ends_with("reports"))?;
    let mut others = fs::read_dir(reports).into_iter().flatten().flatten();
    let is_new = others.all(|entry| entry.path() == folder);
    is_new.then(|| reports.join(".gitignore"))
}

/// The name of a trial's file.
pub fn file_name(trial: u32) -> String {
    format!("trial-{trial:04}.jsonl")
}

/// The name of the file of a trial that was run again, by its number among those.
pub fn again_name(number: u32) -> String {
    format!("again-{number:04}.jsonl")
}

/// The histories that a path names: itself, or those in the folder.
///
/// # Errors
/// When it is a folder without any.
pub fn histories_at(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    match histories_in(path) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(StoreError::None { path: path.to_owned() }),
    }
}

/// Reads a history.
///
/// # Errors
/// When it can't be read or is none.
pub fn read(path: &Path) -> Result<History, StoreError> {
    let fail = |reason| StoreError::Read { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| fail(error.into()))?;
    History::read(BufReader::new(file)).map_err(fail)
}

/// Writes the header and an event a line.
///
/// # Errors
/// When the output fails.
pub fn write_history<E: Borrow<Event>>(
    out: &mut impl Write,
    header: &Header,
    events: impl IntoIterator<Item = E>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, header)?;
    out.write_all(b"\n")?;
    for event in events {
        serde_json::to_writer(&mut *out, event.borrow())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// What an earlier run has left: histories, attempts, its report.
fn files_of_a_run(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_of_a_run = |name: &str| {
        let is_beside = ["attempt-", "again-"].iter().any(|it| name.starts_with(it));
        is_history(name) || (is_beside && name.ends_with(".jsonl")) || name == "report.json"
    };
    let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name()?.to_str().map(is_of_a_run);
    Ok(paths.filter(|path| named(path) == Some(true)).collect())
}

fn histories_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_history))
        .collect();
    found.sort();
    Ok(found)
}

fn is_history(name: &str) -> bool {
    name.strip_prefix("trial-")
        .and_then(|rest| rest.strip_suffix(".jsonl"))
        .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
