//! The report as JUnit XML: a test case an invariant, as CI servers read it.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::model::number::trial_name;
use crate::model::run::{InvariantReport, RunReport};
use crate::model::snapshot::{SnapshotReport, SnapshotState};
use crate::model::verdict::{Severity, VerdictName};

use super::phrases::{command, figures, sentence};
use super::snapshot;

/// The report as a JUnit document; its one suite is the target, and its cases the invariants.
///
/// A violation that fails the run is a failure; one that only warns is a success that says so. What
/// would fail the run and could not be shown is an error, as the exit code 3 is; all else that was
/// not shown is skipped.
pub fn render(report: &RunReport) -> String {
    let mut document = Report::new("shutdown-check");
    let mut suite = TestSuite::new(command(report));
    suite.set_time(Duration::try_from_secs_f64(report.duration_ms / 1e3).unwrap_or_default());
    for (name, value) in [
        ("profile", report.profile.to_string()),
        ("seed", report.seed.to_string()),
        ("verdict", sentence(report)),
    ] {
        suite.add_property(Property::new(name, value));
    }
    suite.add_test_cases(report.invariants.iter().map(|invariant| case(report, invariant)));
    suite.add_test_cases(report.snapshot.as_ref().map(|it| of_snapshot(report, it)));
    document.add_test_suite(suite);
    // It is written into memory, and the strings were made fit for XML when they were added.
    document.to_string().map_or_else(|error| format!("<!-- {error} -->\n"), by_the_schema)
}

/// Jenkins' schema (junit-10.xsd) has no number of skipped cases at the root: its suites have theirs.
fn by_the_schema(mut text: String) -> String {
    let Some(start) = text.find("<testsuites ") else { return text };
    let end = text[start..].find('>').map_or(text.len(), |length| start + length);
    let root: Vec<&str> = text[start..end].split(' ').collect();
    let kept: Vec<&str> = root.into_iter().filter(|it| !it.starts_with("skipped=")).collect();
    let kept = kept.join(" ");
    text.replace_range(start..end, &kept);
    text
}

fn case(report: &RunReport, invariant: &InvariantReport) -> TestCase {
    let mut case = TestCase::new(invariant.id.as_str(), status(report, invariant));
    case.set_classname(format!("shutdown-check.{}", report.profile));
    if invariant.verdict == VerdictName::Satisfied {
        case.set_system_out(figures(invariant));
    } else if invariant.verdict == VerdictName::Violated && invariant.level != Severity::Deny {
        case.set_system_out(format!("warning: {}\n{}", figures(invariant), told(invariant)));
    }
    case
}

fn of_snapshot(report: &RunReport, compared: &SnapshotReport) -> TestCase {
    let mut status = match compared.state {
        _ if compared.fails() => TestCaseStatus::non_success(NonSuccessKind::Failure),
        SnapshotState::NotWritten => TestCaseStatus::skipped(),
        _ => TestCaseStatus::success(),
    };
    let said = snapshot::sentence(compared);
    if compared.fails() || compared.state == SnapshotState::NotWritten {
        status.set_message(said.as_str());
    }
    if compared.fails() {
        let lines = snapshot::lines(compared).into_iter().chain(compared.content.clone());
        status.set_type("snapshot").set_description(lines.collect::<Vec<_>>().join("\n"));
    }
    let mut case = TestCase::new("snapshot", status);
    case.set_classname(format!("shutdown-check.{}", report.profile));
    if !compared.fails() {
        case.set_system_out(
            std::iter::once(said).chain(compared.notes.clone()).collect::<Vec<_>>().join("\n"),
        );
    }
    case
}

fn status(report: &RunReport, invariant: &InvariantReport) -> TestCaseStatus {
    match (invariant.verdict, invariant.level) {
        (VerdictName::Violated, Severity::Deny) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("violated").set_message(figures(invariant));
            status.set_description(told(invariant));
            status
        }
        // What a slice of a plan does not show, another one may.
        (VerdictName::Inconclusive, Severity::Deny) if report.partition.is_none() => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("inconclusive").set_message(figures(invariant));
            status
        }
        (VerdictName::Inconclusive | VerdictName::NotApplicable, _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(figures(invariant));
            status
        }
        (VerdictName::Satisfied | VerdictName::Violated, _) => TestCaseStatus::success(),
    }
}

/// The violations that the report has kept, and how to read on.
fn told(invariant: &InvariantReport) -> String {
    let mut lines: Vec<String> = invariant
        .evidence
        .iter()
        .map(|evidence| format!("{}: {}", trial_name(evidence.trial), evidence.message))
        .collect();
    lines.push(format!("shutdown-check explain {}", invariant.id));
    lines.join("\n")
}
