//! What ends a run before its plan or budget does.

use crate::model::verdict::{Severity, VerdictName};
use crate::report::summary::{Cases, TrialSummary, is_violated};

use super::schedule::Schedule;
use super::settings::Ending;

/// What has been seen of it.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    ending: Ending,
    cases: Cases,
    /// Trials that violate a denied invariant, before anything is excused.
    accused: bool,
}

impl Stopping {
    pub(super) fn new(ending: Ending) -> Self {
        Self { ending, ..Self::default() }
    }

    /// Whether anything could end the run early.
    pub(super) fn is_asked_for(&self) -> bool {
        self.ending.fail_fast || self.ending.until_bound.is_some()
    }

    pub(super) fn note(&mut self, trial: &TrialSummary, severities: &[(&'static str, Severity)]) {
        if self.is_asked_for() {
            self.accused |= trial.report().verdict == VerdictName::Violated;
            self.cases.add(trial, severities);
        }
    }

    /// Whether the run has its answer; where it has none yet, the schedule learns what it lacks.
    pub(super) fn has_answer(
        &self,
        trials: &[TrialSummary],
        severities: &[(&'static str, Severity)],
        schedule: &Schedule<'_>,
    ) -> bool {
        // What is still to be compared with a control may be excused by it.
        if self.accused && schedule.has_compared() && is_violated(trials, severities) {
            return true;
        }
        let Some(bound) = self.ending.until_bound else { return false };
        schedule.favour(self.cases.wanted(bound));
        schedule.has_tried_all()
            && self.cases.are_enough(bound)
            && Cases::settled(trials, severities).are_enough(bound)
    }
}
