//! The report as JSON, for other programs.

use crate::model::run::RunReport;

/// Pretty JSON with the keys in the order of the types, and a newline at the end.
pub fn render(report: &RunReport) -> String {
    let mut text = serde_json::to_string_pretty(report)
        .expect("the types of a report have only text keys, and numbers that JSON can write");
    text.push('\n');
    text
}
