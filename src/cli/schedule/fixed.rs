//! The trials of a plan of a certain length, in its order but for controls that are wanted early.

use std::collections::BTreeSet;

use crate::model::plan::Trial;
use crate::plan::{PlanOptions, round, trial};

/// A trial's control comes within so many trials, in every plan with a few signals.
const CONTROL_WITHIN: usize = 200;

/// A plan of so many trials, and how far it is done.
#[derive(Debug)]
pub(super) struct Fixed {
    options: PlanOptions,
    trials: u32,
    given: u32,
    /// Controls that are wanted before their turn.
    wanted: Vec<u32>,
    /// Those that have been given before their turn.
    early: BTreeSet<u32>,
    /// Those of them that are over.
    compared: usize,
    over: u32,
}

impl Fixed {
    pub(super) fn new(options: PlanOptions, trials: u32) -> Self {
        Self {
            options,
            trials,
            given: 0,
            wanted: Vec::new(),
            early: BTreeSet::new(),
            compared: 0,
            over: 0,
        }
    }

    /// The next trial; nothing when all were given.
    pub(super) fn next(&mut self) -> Option<Trial> {
        if let Some(number) = self.wanted.pop() {
            return Some(trial(&self.options, number));
        }
        while self.given < self.trials {
            self.given += 1;
            if !self.early.contains(&self.given) {
                return Some(trial(&self.options, self.given));
            }
        }
        None
    }

    /// A trial is over, and may have lost what its control is to be compared with.
    pub(super) fn end(&mut self, trial: &Trial, has_losses: bool) {
        self.over += 1;
        self.compared += usize::from(self.early.contains(&trial.number));
        if has_losses && !trial.is_control() {
            self.want_control(trial);
        }
    }

    /// Whether every control that was wanted is over.
    pub(super) fn has_compared(&self) -> bool {
        self.compared == self.early.len()
    }

    /// Whether a round is over.
    pub(super) fn has_tried_all(&self) -> bool {
        self.over >= round(&self.options)
    }

    /// Brings the control of a trial forward that has lost requests: without one, nobody knows
    /// whose fault that is.
    fn want_control(&mut self, of: &Trial) {
        let mut next = (of.number..=self.trials).take(CONTROL_WITHIN).skip(1);
        let is_control = |number: &u32| {
            let other = trial(&self.options, *number);
            other.is_control() && (other.situation, other.hold) == (of.situation, of.hold)
        };
        let Some(number) = next.find(is_control) else { return };
        if number > self.given && self.early.insert(number) {
            self.wanted.push(number);
        }
    }
}
