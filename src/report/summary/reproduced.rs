//! What trials that were run again show, seen beside those of the run: what a control excuses there,
//! and what only several signals do, is judged alike.

use crate::model::phase::Phase;
use crate::model::run::Evidence;
use crate::model::verdict::VerdictName;

use super::controls::excused;
use super::repeated::settled;
use super::{SeverityTable, TrialSummary};

/// What one run of a trial shows of an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was violated.
    Failed,
    /// It could have failed, and did not.
    Held,
    /// Neither: the situation was not there, the harness was late, or nothing was exercised.
    Nothing,
}

/// The trials as they count beside those of the run, in their order.
pub fn beside(
    run: &[TrialSummary],
    own: Vec<TrialSummary>,
    severities: &SeverityTable,
) -> Vec<TrialSummary> {
    let mut all = run.to_vec();
    all.extend(own);
    let mut settled = settled(&excused(&all, severities), severities);
    settled.split_off(run.len())
}

impl TrialSummary {
    /// What it shows of an invariant.
    pub fn says(&self, invariant: &str) -> Said {
        if !self.is_judged() {
            return Said::Nothing;
        }
        let shown = self.shown.iter().find(|shown| shown.invariant == invariant);
        match shown.map(|shown| shown.verdict) {
            Some(VerdictName::Violated) => Said::Failed,
            // Others that come late, such as the harness's own, are not what it is about.
            Some(VerdictName::Satisfied) if self.asks_late && !self.has_asked_late() => {
                Said::Nothing
            }
            Some(VerdictName::Satisfied) => Said::Held,
            _ => Said::Nothing,
        }
    }

    fn has_asked_late(&self) -> bool {
        self.losses.get(&Phase::ReusedLate).is_some_and(|late| late.requests > 0)
    }

    /// Whether it violates an invariant, and could be excused: by chance, or by what a control does.
    pub fn is_excused_of(&self, invariant: &str) -> bool {
        self.shown.iter().any(|shown| shown.invariant == invariant && shown.excused)
    }

    /// Why it shows nothing of an invariant, where it says so.
    pub fn why_nothing(&self, invariant: &str) -> Option<&str> {
        self.shown.iter().find(|shown| shown.invariant == invariant)?.reason.as_deref()
    }

    /// The first violation of an invariant, with its events.
    pub fn first_evidence(&self, invariant: &str) -> Option<&Evidence> {
        let of = self.evidence.iter().filter(|ranked| ranked.invariant == invariant);
        of.min_by_key(|ranked| ranked.place).map(|ranked| &ranked.evidence)
    }

    /// The phases in which requests were lost.
    pub fn lost_phases(&self) -> Vec<Phase> {
        let lost = self.losses.iter().filter(|(_, losses)| losses.lost > 0);
        lost.map(|(phase, _)| *phase).collect()
    }
}
