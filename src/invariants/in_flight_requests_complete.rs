//! `in-flight-requests-complete`: what the program had read, it answers.

use crate::model::history::{History, Outcome};
use crate::model::verdict::{Severity, Verdict, Violation};

use super::{Invariant, Severities};

pub(crate) const INVARIANT: Invariant = Invariant {
    id: "in-flight-requests-complete",
    fails_when: "TODO",
    why: "TODO",
    source: "TODO",
    usual_cause: "TODO",
    fix: "TODO",
    needs: "TODO",
    severity: Severities { graceful: Severity::Deny, strict: Severity::Deny },
    check,
};

fn check(history: &History) -> Verdict {
    let in_process: Vec<_> =
        history.phased_requests().filter(|(_, _, phase)| phase.is_in_process()).collect();
    let violations = in_process
        .iter()
        .filter(|(_, request, _)| history.outcome(request) != Outcome::Completed)
        .map(|(event, request, phase)| Violation {
            message: format!("TODO {phase} {}", history.outcome(request).name()),
            evidence: vec![*event],
        })
        .collect();
    Verdict::of(in_process.len(), violations, INVARIANT.needs)
}
