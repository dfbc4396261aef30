//! The report as workflow commands of GitHub Actions: an annotation a violation.

use crate::model::number::trial_name;
use crate::model::run::{InvariantReport, RunReport};
use crate::model::verdict::{Severity, VerdictName};

use super::phrases::{figures, sentence, with};
use super::snapshot;

/// One workflow command a line: `::error title=…::…` for what fails the run, `::warning` for what
/// warns; what was inconclusive is an error where it decides the run's exit code.
pub fn render(report: &RunReport) -> String {
    let is_decided = report.verdict == VerdictName::Violated;
    let kinds = [
        ("error", Severity::Deny, VerdictName::Violated),
        ("warning", Severity::Warn, VerdictName::Violated),
        (if is_decided { "warning" } else { "error" }, Severity::Deny, VerdictName::Inconclusive),
    ];
    let mut text = String::new();
    // What a slice of a plan does not show, another one may.
    let is_told = |verdict| verdict != VerdictName::Inconclusive || report.partition.is_none();
    for (command, level, verdict) in kinds.into_iter().filter(|kind| is_told(kind.2)) {
        for invariant in with(report, level, verdict) {
            text.push_str(&annotation(command, invariant));
        }
    }
    if let Some(failed) = report.snapshot.as_ref().filter(|it| it.fails()) {
        let lines = snapshot::lines(failed);
        let message = [vec![snapshot::sentence(failed)], lines].concat().join("\n");
        let title = property("shutdown-check: snapshot");
        text.push_str(&format!("::error title={title}::{}\n", data(&message)));
    }
    text.push_str(&format!("::notice title=shutdown-check::{}\n", data(&sentence(report))));
    text
}

fn annotation(command: &str, invariant: &InvariantReport) -> String {
    let mut message = figures(invariant);
    if let Some(evidence) = invariant.evidence.first() {
        message.push_str(&format!("\n{}: {}", trial_name(evidence.trial), evidence.message));
    }
    message.push_str(&format!("\nshutdown-check explain {}", invariant.id));
    let title = property(&format!("shutdown-check: {}", invariant.id));
    format!("::{command} title={title}::{}\n", data(&message))
}

/// The data of a workflow command, escaped as the runner unescapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stays_one_command() {
        assert_eq!(data("5 %\n::error::no"), "5 %25%0A::error::no");
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}
