//! The report as Markdown: for a job's summary, a comment or an issue.

use crate::invariants;
use crate::model::number::trial_name;
use crate::model::reproduction::Reproduction;
use crate::model::run::{InvariantReport, RunReport};
use crate::model::snapshot::SnapshotReport;

use super::again;
use super::hints;
use super::numbers::time;
use super::phrases::{self, command, failed, figures, mark, others, sentence};
use super::reproduced::{self, history, smallest};
use super::snapshot;
use super::text::{clean, fenced};

/// Violations that are told of an invariant.
const TOLD: usize = 3;

/// The report as GitHub-flavoured Markdown: verdict, what failed, the table, how to run it again.
pub fn render(report: &RunReport) -> String {
    let mut text = format!("## shutdown-check: {}\n\n", escaped(&sentence(report)));
    text.push_str(&facts(report));
    for note in report.notes.iter().cloned().chain(phrases::pid_1(report)) {
        text.push_str(&format!("\n> {}\n", escaped(&note)));
    }
    text.extend(report.snapshot.as_ref().map(compared));
    for invariant in failed(report) {
        text.push_str(&failure(report, invariant));
    }
    text.push_str(&table(report));
    text.push_str(&format!(
        "\n<sub>{} {}, report schema {}. The same plan again: {}</sub>\n",
        report.tool.name,
        report.tool.version,
        report.schema_version,
        code(&again::run(report))
    ));
    text
}

fn code(text: &str) -> String {
    format!("`{}`", clean(text).replace('`', "'"))
}

fn facts(report: &RunReport) -> String {
    let mut facts = vec![code(&command(report)), format!("profile {}", report.profile)];
    facts.push(match report.duration_ms > 0.0 {
        true => format!("{} trials in {}", report.trials.len(), time(report.duration_ms)),
        false => format!("{} trials", report.trials.len()),
    });
    format!("{}\n", facts.join(" · "))
}

/// What came of the snapshot; what it should have been, where it is missing.
fn compared(snapshot: &SnapshotReport) -> String {
    let title = if snapshot.fails() { "FAIL snapshot" } else { "snapshot" };
    let mut text = format!("\n### {title}\n\n{}\n", escaped(&snapshot::sentence(snapshot)));
    if !snapshot.differences.is_empty() {
        text.push_str("\n| | before | now | shown by |\n|---|---|---|---|\n");
    }
    let cell = |text: &str| escaped(text).replace('|', "\\|");
    for it in &snapshot.differences {
        let was = it.was.as_deref().unwrap_or("–");
        let cells = [&it.what, was, &it.is, &it.because].map(cell).join(" | ");
        text.push_str(&format!("| {cells} |\n"));
    }
    if let Some(content) = &snapshot.content {
        text.push_str(&format!("\n{}", fenced("toml", content)));
    }
    text
}

fn failure(report: &RunReport, invariant: &InvariantReport) -> String {
    let (id, what) = (&invariant.id, escaped(&figures(invariant)));
    let mut text = format!("\n### {} {id}\n\n{what}\n\n", mark(invariant));
    let found = reproduced::of(report, invariant);
    text.push_str(&found.map_or_else(String::new, reproduction));
    for evidence in invariant.evidence.iter().take(TOLD) {
        text.push_str(&format!(
            "- {}: {}\n",
            trial_name(evidence.trial),
            escaped(&evidence.message)
        ));
    }
    if let Some(others) = others(invariant, TOLD) {
        text.push_str(&format!("- {others}\n"));
    }
    let again = reproduced::again(report, invariant).map(code);
    let again = again.map_or_else(String::new, |again| format!("again: {again}  \n"));
    if let Some(known) = invariants::find(id) {
        text.push_str(&format!("\nFix: {}\n", escaped(&hints::of_target(report, known))));
    }
    text.push_str(&format!("\n{again}`shutdown-check explain {id}`\n"));
    text
}

/// The least that still fails, and how to see it again.
fn reproduction(found: &Reproduction) -> String {
    let mut text = format!("{}  \n{}\n\n", escaped(&smallest(found)), escaped(&history(found)));
    if let Some(evidence) = &found.evidence {
        text.push_str(&format!("> {}\n\n", escaped(&evidence.message)));
    }
    if found.file.is_none() && found.rate.failed > 0 {
        text.push_str("<details><summary>Entry for shutdown-check.regressions.toml</summary>\n\n");
        text.push_str(&format!("{}\n</details>\n\n", fenced("toml", &found.entry)));
    }
    text
}

fn table(report: &RunReport) -> String {
    let mut text = String::from("\n| | invariant | level | shown by |\n|---|---|---|---|\n");
    for invariant in &report.invariants {
        let what = escaped(&figures(invariant)).replace('|', "\\|");
        text.push_str(&format!(
            "| {} | {} | {} | {what} |\n",
            mark(invariant),
            invariant.id,
            invariant.level
        ));
    }
    text
}

/// Text in which nothing is markup: a target chooses some of what stands in a report.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // No name that somebody would be told of.
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_wrote_is_no_markup() {
        assert_eq!(escaped("<b>*x*</b>"), "&lt;b&gt;\\*x\\*&lt;/b&gt;");
        assert_eq!(escaped("a\nb @all"), "a b @\u{200b}all");
    }
}
