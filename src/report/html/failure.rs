//! One violated invariant: what happened, the timeline of the least that shows it, and the advice.

use crate::invariants;
use crate::model::history::History;
use crate::model::number::trial_name;
use crate::model::run::{Evidence, InvariantReport, RunReport, TrialReport};

use super::super::numbers::counted;
use super::super::phrases::{failed, figures, mark, others, sent};
use super::super::reproduced::{self, Best, best, history, smallest};
use super::super::text::clean;
use super::advice::{Advice, advice_for};
use super::mood_of;
use super::timeline::{self, Timeline};

/// Violations that are told of an invariant; the others are in the JSON report.
const TOLD: usize = 6;

/// What the page says of one violated invariant.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) id: String,
    pub(super) mood: &'static str,
    pub(super) word: &'static str,
    pub(super) figures: String,
    /// What happened in the trial that is shown.
    pub(super) happened: Option<String>,
    pub(super) messages: Vec<String>,
    pub(super) more: Option<String>,
    pub(super) texts: Option<Texts>,
    pub(super) shown: String,
    /// How it was found, and how often it was seen again.
    pub(super) found: Option<String>,
    pub(super) again: Option<String>,
    /// What the regressions file says of it.
    pub(super) entry: Option<String>,
    pub(super) timeline: Option<Timeline>,
    pub(super) history: Option<String>,
}

/// What the catalogue says of it.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) fails_when: &'static str,
    pub(super) why: &'static str,
    pub(super) cause: &'static str,
    pub(super) fix: Vec<Advice>,
    pub(super) source: &'static str,
}

/// Every violated invariant that fails the run or warns, the gravest first.
pub(super) fn failures(report: &RunReport, histories: &[History]) -> Vec<Failure> {
    failed(report).into_iter().map(|invariant| failure(report, invariant, histories)).collect()
}

fn failure(report: &RunReport, invariant: &InvariantReport, histories: &[History]) -> Failure {
    let best = best(report, invariant);
    let trial = best.and_then(|best| best.trial);
    let found = best.and_then(|best| best.found);
    let message = |evidence: &Evidence| {
        format!("{}: {}", trial_name(evidence.trial), clean(&evidence.message))
    };
    // What is shown was run again, or is the first of those of the run.
    let told = invariant.evidence.iter().take(TOLD).skip(usize::from(found.is_none()));
    Failure {
        id: clean(&invariant.id),
        mood: mood_of(invariant.verdict, invariant.level),
        word: mark(invariant),
        figures: figures(invariant),
        happened: best.map(|best| clean(&best.evidence.message)),
        messages: told.map(message).collect(),
        more: others(invariant, TOLD),
        texts: invariants::find(&invariant.id).map(|i| Texts {
            fails_when: i.fails_when,
            why: i.why,
            cause: i.usual_cause,
            fix: advice_for(report, i),
            source: i.source,
        }),
        shown: match found {
            Some(found) => smallest(found),
            None => trial.map_or_else(String::new, shown_in),
        },
        found: reproduced::of(report, invariant).map(history),
        again: reproduced::again(report, invariant).map(clean),
        entry: found.map(|found| found.entry.clone()),
        timeline: best.and_then(|Best { evidence, .. }| {
            let of_trial = |history: &&History| history.header().trial.number == evidence.trial;
            timeline::timeline(histories.iter().find(of_trial)?, &evidence.events)
        }),
        history: trial.and_then(|trial| trial.history.clone()),
    }
}

fn shown_in(trial: &TrialReport) -> String {
    let mut parts = vec![
        format!("{}, the smallest that shows it", trial_name(trial.number)),
        trial.situation.name().to_owned(),
        trial.moment.clone(),
        sent(trial),
        counted(trial.requests.into(), "request", "requests"),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}
