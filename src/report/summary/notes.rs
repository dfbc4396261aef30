//! What to know before the failures are read.

use std::collections::BTreeSet;

use crate::model::graceful_signal::KnownServer;
use crate::model::run::InvariantReport;
use crate::model::verdict::VerdictName;

use super::TrialSummary;

/// The invariants that a server violates which ends without a drain.
const BY_A_FAST_END: [&str; 9] = [
    "signal-is-handled",
    "in-flight-requests-complete",
    "responses-are-whole",
    "delivered-requests-complete",
    "queued-connections-are-served",
    "late-requests-are-not-swallowed",
    "jobs-finish",
    "exit-status-is-clean",
    "interrupt-equals-terminate",
];

/// That the server's graceful signal is another than one that was sent, where something was lost.
pub(super) fn notes(
    command: &[String],
    invariants: &[InvariantReport],
    trials: &[&TrialSummary],
) -> Vec<String> {
    let is_lost = invariants
        .iter()
        .any(|it| it.verdict == VerdictName::Violated && BY_A_FAST_END.contains(&&*it.id));
    let processes = trials.iter().flat_map(|trial| trial.processes.iter().map(String::as_str));
    let Some(server) = KnownServer::of(command, processes).filter(|_| is_lost) else {
        return Vec::new();
    };
    let signals: BTreeSet<_> = trials.iter().filter_map(|trial| trial.signal).collect();
    signals.into_iter().filter_map(|signal| server.advice(signal)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Says, facts, trial};
    use super::super::{RunFacts, assemble};
    use crate::model::verdict::Severity;

    fn notes(command: &str, says: Says) -> Vec<String> {
        let mut facts =
            RunFacts { severities: vec![("signal-is-handled", Severity::Deny)], ..facts() };
        facts.target.command = vec![command.to_owned()];
        let mut trial = trial(1, 1, &[says]);
        trial.shown[0].invariant = "signal-is-handled";
        assemble(facts, &[trial]).notes
    }

    #[test]
    fn what_a_known_server_loses_by_another_signal_is_explained() {
        let lost = || Says::Failed(1, 1);
        let told = notes("/usr/sbin/nginx", lost());
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("its graceful signal is SIGQUIT"), "{told:?}");
        assert!(notes("/usr/sbin/nginx", Says::Held(1)).is_empty());
        assert!(notes("./bin", lost()).is_empty());
    }
}
