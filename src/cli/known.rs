//! Failures that are known: they are tried before anything else, and count like the other trials.

use crate::model::plan::Trial;
use crate::model::regressions::Regression;
use crate::model::reproduction::{Rate, Replayed};
use crate::report::summary::{Said, SeverityTable, TrialSummary, beside};

use super::progress::Extent;
use super::reproduce::bench::excuse;
use super::schedule::Schedule;
use super::schedule::known::{first_number, place_of};

/// Why one was not tried at all.
const NO_TIME: &str =
    "the run was over before, or half of its --budget, or a violation had ended it";

/// A known failure.
#[derive(Clone, Debug)]
pub(super) struct Known {
    invariant: String,
    recorded: Rate,
    /// Its first trial.
    trial: Trial,
    /// Where it is in the file; why it is not tried.
    place: Result<usize, &'static str>,
    /// What they had less of than the one that was recorded.
    less: Option<String>,
}

/// Has each of them tried once, and more often if that is needed to tell and there is time.
pub(super) fn try_first(
    schedule: &Schedule<'_>,
    extent: Extent,
    entries: &[Regression],
) -> Vec<Known> {
    let (mut known, mut tried) = (Vec::new(), Vec::new());
    for (at, entry) in entries.iter().enumerate() {
        // An entry that can't be understood was refused when the file was read.
        let Ok(trial) = entry.trial(first_number(at)) else { continue };
        let rounds = match extent {
            Extent::Trials(_) => 1,
            // Where no rate is known, none is too many.
            Extent::Budget(_) => entry.found.rate.runs_to_tell().unwrap_or(u32::MAX),
        };
        let place = schedule.parts(&trial).map(|parts| {
            tried.push((trial.clone(), parts, rounds));
            at
        });
        let (invariant, recorded) = (entry.invariant.clone(), entry.found.rate);
        let less = schedule.has_less_of(&trial);
        known.push(Known { invariant, recorded, trial, place, less });
    }
    schedule.first(tried);
    known
}

impl Known {
    /// What its trials have shown, seen beside the others of the run.
    pub(super) fn replayed(&self, run: &[TrialSummary], severities: &SeverityTable) -> Replayed {
        let is_own = |summary: &TrialSummary| {
            let report = summary.report();
            self.place.is_ok_and(|place| place_of(report.number) == Some(place)) && !report.control
        };
        let (own, others): (Vec<_>, Vec<_>) = run.iter().cloned().partition(is_own);
        let own = beside(&others, own, severities);
        let now = own.iter().fold(Rate::default(), |rate, it| match it.says(&self.invariant) {
            Said::Failed => rate.and(true),
            Said::Held => rate.and(false),
            Said::Nothing => rate,
        });
        let lacking = || self.place.err().map(str::to_owned);
        let untried = || own.is_empty().then(|| NO_TIME.to_owned());
        let of_run = || {
            own.iter().find_map(|it| {
                let nothing = || it.why_nothing(&self.invariant).map(str::to_owned);
                it.report().missed.clone().or_else(nothing)
            })
        };
        let excuse = excuse(&own, &self.invariant);
        let has_less = self.less.is_some() || excuse.is_some();
        let less = || self.less.clone().or(excuse);
        let why = || lacking().or_else(untried).or_else(less).or_else(of_run);
        let known = (&*self.invariant, &self.trial, self.recorded);
        Replayed::of(known, now, has_less, why)
    }
}
