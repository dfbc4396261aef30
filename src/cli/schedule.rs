//! Which trial is next, and how many run at the same time.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::load::cast::{Part, cast};
use crate::load::request::PreparedRequest;
use crate::model::plan::{Moment, Plan, Situation, Trial};
use crate::plan::{PlanOptions, plan, trial};
use crate::trial::interrupt::Interrupt;

use super::progress::Extent;

/// As many trials in a row that can't be carried out, or have no time left, mean that none can.
const SKIPPED_MAX: u32 = 200;
/// Trials that only wait for their deadline, side by side with those that do something.
const WAITING_MAX: usize = 6;

/// The trials of a run, handed out one by one.
#[derive(Debug)]
pub struct Schedule<'a> {
    options: PlanOptions,
    extent: Extent,
    begun: Instant,
    /// What situations are made of.
    requests: Vec<PreparedRequest>,
    /// How many requests the target works on at the same time, where that is few.
    parallelism: Option<u16>,
    /// How many trials do something at the same time; those that wait come on top.
    workers: usize,
    interrupt: &'a Interrupt,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    given: u32,
    busy: usize,
    longest: BTreeMap<Situation, Duration>,
    unreachable: BTreeMap<Situation, &'static str>,
    trials: Vec<Trial>,
    is_over: bool,
}

/// A trial's place among those that run at the same time, until it is dropped.
#[derive(Debug)]
pub struct Place<'s> {
    schedule: &'s Schedule<'s>,
    situation: Situation,
    begun: Instant,
    is_given_up: Mutex<bool>,
}

impl<'a> Schedule<'a> {
    /// The plan's trials, none of which has begun, for so many workers.
    pub fn new(
        (options, extent, begun): (PlanOptions, Extent, Instant),
        (requests, parallelism): (Vec<PreparedRequest>, Option<u16>),
        workers: usize,
        interrupt: &'a Interrupt,
    ) -> Self {
        let (state, freed) = (Mutex::default(), Condvar::new());
        Self { options, extent, begun, requests, parallelism, workers, interrupt, state, freed }
    }

    /// How many threads can have a trial at the same time.
    pub fn threads(&self) -> usize {
        // A single worker has the target's only port to itself, also while it waits.
        if self.workers == 1 { 1 } else { self.workers + WAITING_MAX }
    }

    /// Waits for a place, and takes the next trial and its connections; none when the plan or the
    /// budget is done.
    pub fn next(&self) -> Option<(Place<'_>, Trial, Vec<Part>)> {
        let mut state = self.lock();
        while state.busy >= self.workers && !state.is_over {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (trial, parts) = self.draw(&mut state)?;
        state.busy += 1;
        state.trials.push(trial.clone());
        let (situation, begun) = (trial.situation, Instant::now());
        let place = Place { schedule: self, situation, begun, is_given_up: Mutex::new(false) };
        Some((place, trial, parts))
    }

    /// Hands out no more.
    pub fn stop(&self) {
        self.lock().is_over = true;
        self.freed.notify_all();
    }

    /// Situations that the target gives no occasion for, and why.
    pub fn unreachable(&self) -> BTreeMap<Situation, &'static str> {
        self.lock().unreachable.clone()
    }

    /// The plan: with a budget, the trials that were begun.
    pub fn plan(&self) -> Plan {
        match self.extent {
            Extent::Trials(trials) => plan(&self.options, trials),
            Extent::Budget(_) => {
                Plan { seed: self.options.seed, trials: self.lock().trials.clone() }
            }
        }
    }

    fn draw(&self, state: &mut State) -> Option<(Trial, Vec<Part>)> {
        for _ in 0..SKIPPED_MAX {
            let is_done = matches!(self.extent, Extent::Trials(trials) if state.given == trials);
            if is_done || state.is_over || self.interrupt.asked().is_some() {
                return None;
            }
            state.given += 1;
            let trial = trial(&self.options, state.given);
            match self.parts(&trial) {
                Ok(parts) if self.fits(state, trial.situation) => return Some((trial, parts)),
                Ok(_) => {}
                Err(lacking) => _ = state.unreachable.insert(trial.situation, lacking),
            }
        }
        None
    }

    /// Whether there is time for a trial of the situation; of one that was not tried yet, for as
    /// much as the shortest took.
    fn fits(&self, state: &State, situation: Situation) -> bool {
        let Extent::Budget(budget) = self.extent else { return true };
        let shortest = state.longest.values().min();
        let expected = state.longest.get(&situation).or(shortest).copied().unwrap_or_default();
        // Whatever the budget, one trial is carried out.
        state.trials.is_empty() || self.begun.elapsed() + expected < budget
    }

    /// The connections of a trial's situation.
    fn parts(&self, trial: &Trial) -> Result<Vec<Part>, &'static str> {
        let landmark = trial.signals.first().and_then(|planned| match planned.moment {
            Moment::Landmark { landmark } => Some(landmark),
            _ => None,
        });
        let of_each = trial.load.connections.min(self.parallelism.unwrap_or(u16::MAX));
        match cast(trial.situation, landmark, &self.requests, of_each) {
            // Where each request is answered at once, one is caught in process.
            Err(_) if trial.situation == Situation::SlowHandler => Ok(Vec::new()),
            parts => parts,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The trial only waits from now on, and another one may do something.
    pub fn give_up(&self) {
        let mut is_given_up = self.is_given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_given_up, true) {
            self.schedule.lock().busy -= 1;
            self.schedule.freed.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.give_up();
        let took = self.begun.elapsed();
        let mut state = self.schedule.lock();
        let longest = state.longest.entry(self.situation).or_default();
        *longest = took.max(*longest);
    }
}
