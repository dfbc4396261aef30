//! The report as SARIF 2.1.0 (OASIS), for code scanning: a rule an invariant, a result for each that is violated.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::invariants::{self, CATALOGUE};
use crate::model::number::trial_name;
use crate::model::run::{InvariantReport, RunReport};
use crate::model::verdict::{Severity, VerdictName};

use super::phrases::figures;

/// The version of the format, and where its schema is published.
const VERSION: &str = "2.1.0";
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The report as one SARIF run. Its results name the target's program as their place, since code
/// scanning shows no result without one.
pub fn render(report: &RunReport) -> String {
    let results: Vec<Value> = report
        .invariants
        .iter()
        .filter(|invariant| invariant.verdict == VerdictName::Violated)
        .map(|invariant| result(report, invariant))
        .collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [{
            "tool": { "driver": {
                "name": report.tool.name,
                "version": report.tool.version,
                "rules": CATALOGUE.iter().map(|invariant| rule(invariant)).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": report.interrupted.is_none(),
                "exitCode": report.exit_code,
            }],
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn rule(invariant: &invariants::Invariant) -> Value {
    json!({
        "id": invariant.id,
        "shortDescription": { "text": invariant.fails_when },
        "fullDescription": { "text": invariant.why },
        "help": { "text": format!("{} {}", invariant.usual_cause, invariant.fix) },
        "defaultConfiguration": { "level": level(invariant.severity.graceful) },
    })
}

/// One alert for one cause: the trials that show it are its properties.
fn result(report: &RunReport, invariant: &InvariantReport) -> Value {
    let mut text = figures(invariant);
    if let Some(evidence) = invariant.evidence.first() {
        text.push_str(&format!("; {}: {}", trial_name(evidence.trial), evidence.message));
    }
    let trials: BTreeSet<u32> = invariant.evidence.iter().map(|it| it.trial).collect();
    let mut result = json!({
        "ruleId": invariant.id,
        "level": level(invariant.level),
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": place(report) },
        }}],
        "properties": { "trials": trials, "seed": report.seed },
    });
    // An index into the rules is allowed only where the rule is there.
    if let Some(at) = CATALOGUE.iter().position(|rule| rule.id == invariant.id) {
        result["ruleIndex"] = json!(at);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Deny => "error",
        Severity::Warn => "warning",
        Severity::Allow => "note",
    }
}

/// The target's program as a URI reference (RFC 3986): what a path may not have in one is escaped.
fn place(report: &RunReport) -> String {
    let program = report.target.command.first().map_or("target", String::as_str);
    let mut uri = String::new();
    for byte in program.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
