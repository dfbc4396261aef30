//! `shutdown-check.regressions.toml`: read, added to and taken from, with everything else that its
//! author wrote left as it is.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use crate::model::regressions::{Regression, Regressions};
use crate::model::reproduction::Reproduction;

use super::ci::is_ci;
use super::config::parse_as;
use super::error::UsageError;
use super::settings::Again;

/// What stands at the top of a new file.
const PREFACE: &str = "\
# Failures that shutdown-check has found, each as the least that still showed it. They are tried first
# on every run: commit this file. `shutdown-check replay` says which of them are fixed, and takes those
# out with --retire.
";
const ENTRIES: &str = "regression";

/// The file of known failures.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    /// What it says; empty where there is none.
    text: String,
    pub(super) entries: Vec<Regression>,
    may_be_written: bool,
}

impl Book {
    /// Reads the file, where one is wanted and there.
    ///
    /// # Errors
    /// When it can't be read, or says something that can't be understood.
    pub(super) fn open(again: &Again) -> Result<Option<Self>, UsageError> {
        let Some(path) = again.regressions.clone() else { return Ok(None) };
        let (text, is_there) = match fs::read_to_string(&path) {
            Ok(text) => (text, true),
            Err(error) if error.kind() == ErrorKind::NotFound => (String::new(), false),
            Err(reason) => return Err(UsageError::UnreadableConfig { path, reason }),
        };
        let Regressions { regression: entries } = parse_as(&text, &path)?;
        for (at, entry) in entries.iter().enumerate() {
            let known = crate::invariants::find(&entry.invariant).is_some();
            let wrong = match entry.trial(0) {
                Err(error) => error.to_string(),
                Ok(_) if known => continue,
                Ok(_) => format!("invariant = {:?} is none (shutdown-check list)", entry.invariant),
            };
            let starts =
                text.lines().enumerate().filter(|(_, line)| line.trim() == "[[regression]]");
            let line = starts.map(|(line, _)| line + 1).nth(at).unwrap_or(1);
            return Err(UsageError::Config { path, line, message: wrong });
        }
        // In a job of a CI server nobody would see what was written, and it would be gone.
        let may_be_written = (is_there || again.may_be_made) && !is_ci();
        Ok(Some(Self { path, text, entries, may_be_written }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what was found and seen again, unless nobody has asked for such a file; says so in
    /// each of them. What is known already is brought up to date.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn remember(&mut self, found: &mut [Reproduction]) -> Result<(), UsageError> {
        if !self.may_be_written {
            return Ok(());
        }
        let mut document = self.document();
        let mut is_changed = false;
        for reproduction in found.iter_mut().filter(|it| it.rate.failed > 0) {
            let Some((entry, table)) = parsed(&reproduction.entry) else { continue };
            self.put(&mut document, entry, table);
            reproduction.file = Some(self.shown_path());
            is_changed = true;
        }
        if is_changed { self.write(&document.to_string()) } else { Ok(()) }
    }

    /// Takes entries out, by their places, with the comments above them; how many are left. What its
    /// author wrote at the top of the file stays, and in an empty one it says what it is for.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn retire(&mut self, places: &[usize]) -> Result<usize, UsageError> {
        let mut document = self.document();
        let Some(tables) = document.get_mut(ENTRIES).and_then(Item::as_array_of_tables_mut) else {
            return Ok(0);
        };
        let top = if places.contains(&0) { tables.get(0).map(top_of) } else { None };
        for place in places.iter().rev() {
            tables.remove(*place);
        }
        let left = tables.len();
        if let (Some(top), Some(first)) = (&top, tables.get_mut(0)) {
            let own = first.decor().prefix().and_then(|it| it.as_str()).unwrap_or_default();
            let own = own.trim_start_matches('\n').to_owned();
            first.decor_mut().set_prefix(format!("{top}{own}"));
        }
        if left == 0 {
            document.remove(ENTRIES);
        }
        let rest = document.to_string();
        let text = match (left, top.unwrap_or_default()) {
            (1.., _) => rest,
            (0, top) if top.trim().is_empty() => format!("{PREFACE}{rest}"),
            (0, top) => format!("{}\n{}", top.trim_end(), rest),
        };
        self.write(&text)?;
        Ok(left)
    }

    /// Where it is, from here.
    pub(super) fn shown_path(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        self.path.strip_prefix(&here).unwrap_or(&self.path).display().to_string()
    }

    fn document(&self) -> DocumentMut {
        // It was read as TOML before.
        self.text.parse().unwrap_or_default()
    }

    fn put(&mut self, document: &mut DocumentMut, entry: Regression, mut table: Table) {
        let tables = document.entry(ENTRIES).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let Some(tables) = tables.as_array_of_tables_mut() else { return };
        let known = self.entries.iter().position(|known| known.is_same_as(&entry));
        match known.and_then(|at| Some((at, tables.get_mut(at)?))) {
            Some((at, old)) => {
                // Comments of its author's stay where they are.
                table.decor_mut().clone_from(old.decor());
                table.set_position(old.position());
                *old = table;
                self.entries[at] = entry;
            }
            None => {
                tables.push(table);
                self.entries.push(entry);
            }
        }
    }

    /// Beside its place and then renamed, so that it is always whole.
    fn write(&mut self, text: &str) -> Result<(), UsageError> {
        let text = match self.text.is_empty() {
            true => format!("{PREFACE}{text}"),
            false => text.to_owned(),
        };
        let place = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            let mut file =
                tempfile::Builder::new().permissions(usual_permissions()).tempfile_in(place)?;
            file.write_all(text.as_bytes())?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|reason| UsageError::UnwritableRegressions {
            path: self.path.clone(),
            reason,
        })?;
        self.text = text;
        Ok(())
    }
}

/// What stands above a table, up to the last empty line: what is below it is about the table.
fn top_of(first: &Table) -> String {
    let above = first.decor().prefix().and_then(|it| it.as_str()).unwrap_or_default();
    above.rfind("\n\n").map_or(String::new(), |end| above[..end + 2].to_owned())
}

/// Those of any file that is made for others to read; the umask takes from them.
fn usual_permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// An entry as data and as a table, with the comment above it.
fn parsed(text: &str) -> Option<(Regression, Table)> {
    let entry = toml::from_str::<Regressions>(text).ok()?.regression.pop()?;
    let document: DocumentMut = text.parse().ok()?;
    let written = document.get(ENTRIES)?.as_array_of_tables()?.get(0)?;
    // A new one: that of the text would be written where it stands there, before all others.
    let mut table = Table::new();
    for (key, value) in written.iter() {
        table.insert(key, value.clone());
    }
    let comment = written.decor().prefix().and_then(|it| it.as_str()).unwrap_or_default();
    table.decor_mut().set_prefix(format!("\n{comment}"));
    Some((entry, table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::{Situation, Trial};
    use crate::model::regressions::Found;
    use crate::model::reproduction::Rate;
    use crate::plan::{PlanOptions, plan};

    fn trial(situation: Situation) -> Trial {
        let options = PlanOptions { situations: vec![situation], ..PlanOptions::new(3) };
        plan(&options, 1).trials.remove(0)
    }

    fn found(situation: Situation, failed: u32) -> Reproduction {
        let (trial, rate) = (trial(situation), Rate { failed, runs: 10 });
        let date = Found { on: "2026-11-22".into(), rate };
        let entry = Regression::of("jobs-finish", &trial, date).unwrap();
        Reproduction {
            invariant: "jobs-finish".into(),
            found_in: 1,
            first: rate,
            trial,
            rate,
            steps: Vec::new(),
            stopped: None,
            shown: None,
            evidence: None,
            entry: entry.text("A job was lost."),
            file: None,
            again: None,
        }
    }

    fn book(path: &Path, may_be_written: bool) -> Book {
        let again = Again {
            shrink_budget: std::time::Duration::ZERO,
            regressions: Some(path.to_owned()),
            may_be_made: may_be_written,
        };
        let book = Book::open(&again).unwrap().unwrap();
        Book { may_be_written: book.may_be_written || may_be_written, ..book }
    }

    #[test]
    fn what_is_known_is_brought_up_to_date_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.toml");
        let mut first = [found(Situation::Idle, 9), found(Situation::Load, 5)];
        book(&path, true).remember(&mut first).unwrap();
        assert!(first.iter().all(|it| it.file.is_some()));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Failures that") && text.contains("# A job was lost.\n[[reg"));
        let text = text.replacen("# A job was lost.", "# Ours: see the ticket.", 1);
        fs::write(&path, format!("{text}\n# The end.\n")).unwrap();
        let mut again = [found(Situation::Idle, 3), found(Situation::Fresh, 4)];
        book(&path, true).remember(&mut again).unwrap();
        let entries = book(&path, true).entries;
        let situations: Vec<_> = entries.iter().map(|it| it.situation).collect();
        assert_eq!(situations, [Situation::Idle, Situation::Load, Situation::Fresh]);
        let text = fs::read_to_string(&path).unwrap();
        for part in ["# Ours: see the ticket.", "3 of 10", "5 of 10", "4 of 10", "# The end."] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains("9 of 10"));
        let mut known = book(&path, true);
        assert_eq!(known.retire(&[0, 2]).unwrap(), 1);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("5 of 10") && !text.contains("3 of 10"), "{text}");
        assert!(text.starts_with("# Failures that") && !text.contains("ticket"), "{text}");
        let mut known = book(&path, true);
        assert_eq!(known.retire(&[0]).unwrap(), 0);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Failures that") && text.contains("# The end."), "{text}");
        assert_eq!(book(&path, true).entries, []);
    }

    #[test]
    fn a_file_whose_last_entry_is_retired_still_says_what_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.toml");
        fs::write(&path, found(Situation::Idle, 9).entry).unwrap();
        assert_eq!(book(&path, true).retire(&[0]).unwrap(), 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), PREFACE);
    }

    #[test]
    fn nothing_is_written_where_nobody_asked_for_it_or_nothing_was_seen_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.toml");
        let mut found_again = [found(Situation::Idle, 9)];
        book(&path, false).remember(&mut found_again).unwrap();
        assert!(!path.exists() && found_again[0].file.is_none());
        book(&path, true).remember(&mut [found(Situation::Idle, 0)]).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.toml");
        let entry = found(Situation::Idle, 9).entry;
        let wrong = |text: String| {
            fs::write(&path, text).unwrap();
            let regressions = Some(path.clone());
            let shrink_budget = std::time::Duration::ZERO;
            let again = Again { shrink_budget, regressions, may_be_made: true };
            Book::open(&again).unwrap_err().to_string()
        };
        let unknown = wrong(format!("{entry}\n{}", entry.replace("jobs-finish", "jobs-end")));
        assert!(unknown.contains("jobs-end") && !unknown.contains(".toml:1:"), "{unknown}");
        let moment = wrong(entry.replace("reached", "soon"));
        assert!(moment.contains("is no moment") && moment.contains("moment"), "{moment}");
    }
}
