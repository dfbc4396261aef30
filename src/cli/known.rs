//! Failures that are known: they are tried before anything else, and count like the other trials.

use std::sync::Mutex;
use std::time::Instant;

use crate::load::cast::Part;
use crate::model::plan::Trial;
use crate::model::regressions::Regression;
use crate::model::reproduction::{Rate, Replayed, Standing};
use crate::report::summary::{Said, SeverityTable, TrialSummary, beside};
use crate::trial::isolation::own_network;

use super::desk::{Desk, lock};
use super::failure::{Failure, internal};
use super::progress::Extent;
use super::schedule::Schedule;

/// Their numbers begin here, so that the trials of the plan have those that they would have without.
const FIRST_NUMBER: u32 = 90_001;
/// Each is run at most so often before the plan begins,
const ROUNDS_MAX: u32 = 5;
/// and none again when this part of the budget is over.
const PART_OF_BUDGET: u32 = 5;

/// A known failure, and what was run for it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    invariant: String,
    recorded: Rate,
    /// Its first trial.
    trial: Trial,
    /// All of them.
    trials: Vec<Trial>,
    /// Why none was run.
    lacking: Option<&'static str>,
    /// What they had less of than the one that was recorded.
    less: Option<String>,
}

/// Runs each of them once, and more often if that is needed to tell and there is time.
pub(super) fn try_first(
    desk: &Desk<'_>,
    schedule: &Schedule<'_>,
    workers: usize,
    entries: &[Regression],
) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut jobs = Vec::new();
    for entry in entries {
        let number = FIRST_NUMBER + (known.len() as u32) * ROUNDS_MAX;
        // An entry that can't be understood was refused when the file was read.
        let Ok(trial) = entry.trial(number) else { continue };
        let parts = schedule.parts(&trial);
        let rounds = match desk.extent {
            Extent::Trials(_) => 1,
            Extent::Budget(_) => entry.found.rate.runs_to_tell().min(ROUNDS_MAX),
        };
        if let Ok(parts) = &parts {
            let place = known.len();
            jobs.extend((0..rounds).map(|round| (round, place, trial.clone(), parts.clone())));
        }
        known.push(Known {
            invariant: entry.invariant.clone(),
            recorded: entry.found.rate,
            less: schedule.has_less_of(&trial),
            trial,
            trials: Vec::new(),
            lacking: parts.err(),
        });
    }
    jobs.sort_by_key(|(round, place, ..)| (*round, *place));
    jobs.reverse();
    carry_out((desk, schedule), workers, jobs, &mut known);
    known
}

type Job = (u32, usize, Trial, Vec<Part>);

fn carry_out(
    (desk, schedule): (&Desk<'_>, &Schedule<'_>),
    workers: usize,
    jobs: Vec<Job>,
    known: &mut [Known],
) {
    let (jobs, known) = (Mutex::new(jobs), Mutex::new(known));
    let work = || -> Result<(), Failure> {
        if desk.subject.own_network {
            own_network().map_err(internal("make a network of its own for each trial"))?;
        }
        loop {
            let Some((round, place, trial, parts)) = lock(&jobs).pop() else { return Ok(()) };
            if desk.interrupt.asked().is_some() || (round > 0 && is_late(desk)) {
                return Ok(());
            }
            let trial = Trial { number: trial.number + round, ..trial };
            lock(&known)[place].trials.push(trial.clone());
            desk.one(&trial, &parts, &|| {})?;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                if let Err(failure) = work() {
                    lock(&jobs).clear();
                    schedule.stop();
                    lock(&desk.results).failure.get_or_insert(failure);
                }
            });
        }
    });
}

fn is_late(desk: &Desk<'_>) -> bool {
    match desk.extent {
        Extent::Trials(_) => false,
        Extent::Budget(budget) => Instant::now() > desk.begun + budget / PART_OF_BUDGET,
    }
}

impl Known {
    /// What was run.
    pub(super) fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// What its trials have shown, seen beside the others of the run.
    pub(super) fn replayed(&self, run: &[TrialSummary], severities: &SeverityTable) -> Replayed {
        let numbers: Vec<u32> = self.trials.iter().map(|trial| trial.number).collect();
        let is_own = |summary: &TrialSummary| numbers.contains(&summary.report().number);
        let (own, others): (Vec<_>, Vec<_>) = run.iter().cloned().partition(is_own);
        let own = beside(&others, own, severities);
        let now = own.iter().fold(Rate::default(), |rate, it| match it.says(&self.invariant) {
            Said::Failed => rate.and(true),
            Said::Held => rate.and(false),
            Said::Nothing => rate,
        });
        let standing = Replayed::standing(self.recorded, now).unless_less(self.less.is_some());
        let missed = || own.iter().find_map(|it| it.report().missed.clone());
        let lacking = self.lacking.map(str::to_owned);
        let reason = match standing {
            Standing::NotShown => lacking.or_else(|| self.less.clone()).or_else(missed),
            _ => None,
        };
        Replayed {
            invariant: self.invariant.clone(),
            trial: self.trial.clone(),
            recorded: self.recorded,
            now,
            standing,
            reason,
        }
    }
}
