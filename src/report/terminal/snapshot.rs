//! What came of the snapshot, in a terminal: each difference in words.

use anstyle::AnsiColor;

use crate::model::snapshot::SnapshotReport;
use crate::report::snapshot::{lines, sentence};
use crate::report::text::{clean, hanging};

use super::{Detail, Page};

impl Page<'_> {
    /// Its state, each difference, what was not compared, and the file that is missing.
    pub(super) fn snapshot(&self) -> String {
        let Some(snapshot) = &self.report.snapshot else { return String::new() };
        if self.view.detail == Detail::Quiet && !snapshot.fails() {
            return String::new();
        }
        let mut text = String::from("\n");
        let said = self.labelled("snapshot", &clean(&sentence(snapshot)));
        text.push_str(&match snapshot.fails() {
            true => {
                let red = AnsiColor::Red.on_default().bold();
                said.replacen("snapshot", &self.paint(red, "snapshot"), 1)
            }
            false => said,
        });
        for line in lines(snapshot) {
            text.push_str(&hanging("            ~ ", &clean(&line), self.width));
        }
        if self.view.detail > Detail::Quiet {
            for note in &snapshot.notes {
                text.push_str(&hanging("            ", &clean(note), self.width));
            }
        }
        text + &missing(snapshot)
    }
}

/// The file as it should be: who can't write it here can copy it.
fn missing(snapshot: &SnapshotReport) -> String {
    let content = snapshot.content.iter().flat_map(|content| content.lines());
    let lines =
        content.map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}
