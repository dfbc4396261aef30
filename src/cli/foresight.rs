//! What a rehearsal has to find out for the trials that will come.

use crate::model::plan::{Moment, Trial};
use crate::plan::plan;
use crate::sys::descriptor_limits;
use crate::trial::subject::Subject;

use super::run::{DESCRIPTORS_BESIDES, side_by_side};
use super::schedule::WAITING_MAX;
use super::settings::{Amount, Settings};

/// As many trials of a plan show what kinds of them there will be.
const FORESEEN_MAX: u32 = 400;

/// The target, with what its rehearsal is to find out for the trials of the plan, and for others.
pub(super) fn with_wishes(subject: Subject, settings: &Settings, also: &[Trial]) -> Subject {
    let trials = [&foreseen(settings), also].concat();
    let wants_lives = trials.iter().any(is_near);
    let crowd = wanted_crowd(settings, &trials, &subject);
    let lives_of =
        trials.iter().filter(|it| is_near(it)).filter_map(|it| it.asks.clone()).collect();
    Subject { wants_lives, lives_of, crowd, ..subject }
}

/// Whether a signal will be aimed at the life of a single request.
fn is_near(trial: &Trial) -> bool {
    let mut moments = trial.signals.iter().map(|planned| planned.moment);
    moments.any(|moment| matches!(moment, Moment::Near(near) if !near.landmark.is_of_job()))
}

/// How many requests are to be in process together, where descriptors allow it: the target's own,
/// and those of all trials side by side.
fn wanted_crowd(settings: &Settings, trials: &[Trial], subject: &Subject) -> u16 {
    // Others use it.
    if subject.running.is_some() {
        return 0;
    }
    let crowded = trials.iter().filter(|trial| trial.is_crowded());
    let most = crowded.map(|trial| trial.load.connections).max();
    let (of_target, own) = descriptor_limits();
    let trials = (side_by_side(settings, &subject.target) + WAITING_MAX) as u64;
    let room = (of_target / 2).min((own / trials).saturating_sub(DESCRIPTORS_BESIDES));
    most.unwrap_or(0).min(u16::try_from(room).unwrap_or(u16::MAX))
}

/// The trials that a run will have, as far as it is known before the target is.
fn foreseen(settings: &Settings) -> Vec<Trial> {
    let trials = match settings.amount {
        Amount::Trials(trials) => trials.get().min(FORESEEN_MAX),
        Amount::Budget(_) => FORESEEN_MAX,
    };
    plan(&settings.plan_options(0), trials).trials
}
