//! What a check has shown.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::model::run::RunReport;
use crate::model::verdict::{Severity, VerdictName};
use crate::report::snapshot::{Seen, compare, parse, render, updated};
use crate::report::terminal::{self, Style, View};

/// The columns of the text.
const WIDTH: usize = 80;

/// What a check has shown: its verdict, and all that it rests on.
#[derive(Debug)]
pub struct Checked {
    report: RunReport,
    json: String,
    /// Where reports and histories are, for as long as this lives.
    folder: Option<TempDir>,
}

/// An invariant that was violated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its id, as in `shutdown-check explain ID`.
    pub invariant: String,
    /// Whether it fails the check: its level is `deny`.
    pub fails: bool,
    /// What happened, in a sentence each, the first few.
    pub messages: Vec<String>,
}

impl Checked {
    pub(super) fn new(report: RunReport, json: String, folder: Option<TempDir>) -> Self {
        Self { report, json, folder }
    }

    /// The worst verdict over the denied invariants: satisfied, inconclusive or violated.
    pub fn verdict(&self) -> VerdictName {
        self.report.verdict
    }

    /// Every invariant that was violated, also those that only warn.
    pub fn violations(&self) -> Vec<Violation> {
        let all = self.report.invariants.iter();
        let violated = all.filter(|invariant| invariant.verdict == VerdictName::Violated);
        violated
            .map(|invariant| Violation {
                invariant: invariant.id.clone(),
                fails: invariant.level == Severity::Deny,
                messages: invariant.evidence.iter().map(|it| it.message.clone()).collect(),
            })
            .collect()
    }

    /// The report as the command line prints it, without colour, in lines of at most 80 columns.
    pub fn text(&self) -> String {
        let style = Style { colour: false, unicode: true };
        terminal::render(&self.report, &View { style, width: WIDTH, ..View::default() })
    }

    /// The report for programs, as `--format json` prints it; its schema is published.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Where `report.json`, `report.html` and the histories are: for as long as this lives, unless
    /// [`reports_dir`](super::Check::reports_dir) named a directory.
    pub fn folder(&self) -> Option<&Path> {
        self.report.histories.as_deref().map(Path::new)
    }

    /// Keeps that folder also where no directory was named; where it is.
    pub fn keep_folder(&mut self) -> Option<PathBuf> {
        let folder = self.folder().map(Path::to_owned);
        // It is not removed any more.
        let _ = self.folder.take().map(TempDir::keep);
        folder
    }

    /// Panics with the report unless every denied invariant is satisfied, and the snapshot, if there
    /// is one, is as it was. What was not shown is no pass: an inconclusive check panics as well.
    #[track_caller]
    pub fn assert_satisfied(&self) -> &Self {
        let is_same = self.report.snapshot.as_ref().is_none_or(|snapshot| !snapshot.fails());
        let is_satisfied = self.report.verdict == VerdictName::Satisfied && is_same;
        assert!(is_satisfied, "the server does not shut down as it should\n\n{}", self.text());
        self
    }

    /// What does not change from run to run, as a text for `insta::assert_snapshot!`.
    ///
    /// `accepted` is what was accepted before, or nothing; it may be insta's own `.snap` file. Where
    /// the run can't be told from it, it comes back as it is: some of what a run shows is chance, and
    /// no two runs exercise the same. What clearly differs is changed in it, and nothing else. A run
    /// that is inconclusive has no snapshot: it says so, and equals nothing that was accepted.
    pub fn snapshot(&self, accepted: &str) -> String {
        if self.report.verdict == VerdictName::Inconclusive {
            return format!("inconclusive: accept nothing of this run\n\n{}", self.text());
        }
        let seen = Seen::of(&self.report);
        let body = content(accepted);
        let Ok(known) = parse(body) else { return render(&seen.snapshot()) };
        match compare(&known, &seen).differences.is_empty() {
            true => body.to_owned(),
            false => render(&updated(&known, &seen)),
        }
    }
}

/// A snapshot without the head that insta puts before it.
fn content(file: &str) -> &str {
    let body = file.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    body.map_or(file, |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::content;

    #[test]
    fn the_head_of_insta_is_no_part_of_a_snapshot() {
        assert_eq!(content("---\nsource: x\nexpression: y\n---\n# a\nb = 1\n"), "# a\nb = 1\n");
        assert_eq!(content("# a\nb = 1\n"), "# a\nb = 1\n");
        assert_eq!(content(""), "");
    }
}
