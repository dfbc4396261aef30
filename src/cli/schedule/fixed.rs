//! The trials of a plan of a certain length, in its order but for controls that are wanted early.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::plan::{Situation, Trial};
use crate::model::search::Shown;
use crate::plan::search::{ESTABLISHED, MISSES};
use crate::plan::share::Share;
use crate::plan::{PlanOptions, round, trial};

/// A trial's control comes within so many trials, in every plan with a few signals.
const CONTROL_WITHIN: usize = 200;

/// A plan of so many trials, and how far it is done.
#[derive(Debug)]
pub(super) struct Fixed {
    options: PlanOptions,
    /// Which of the trials are this slice's.
    share: Share,
    trials: u32,
    given: u32,
    /// Controls that are wanted before their turn.
    wanted: Vec<u32>,
    /// Those that have been given before their turn.
    early: BTreeSet<u32>,
    /// What was lost while the target was held still, and the controls of that.
    cells: BTreeMap<(Situation, Duration), Cell>,
    over: u32,
}

/// The trials of one situation, with one pause.
#[derive(Debug, Default)]
struct Cell {
    /// Those that lost requests.
    lost: u32,
    /// Controls that were given, that showed what is lost without a signal, and that were missed.
    given: u32,
    showed: u32,
    missed: u32,
    /// Whether the plan has no more of them soon.
    is_exhausted: bool,
}

impl Fixed {
    pub(super) fn new(options: PlanOptions, trials: u32) -> Self {
        Self {
            share: Share::new(&options),
            options,
            trials,
            given: 0,
            wanted: Vec::new(),
            early: BTreeSet::new(),
            cells: BTreeMap::new(),
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
            if self.share.has(self.given) && !self.early.contains(&self.given) {
                let next = trial(&self.options, self.given);
                if let Some(hold) = next.hold.filter(|_| next.is_control()) {
                    self.cells.entry((next.situation, hold.pause)).or_default().given += 1;
                }
                return Some(next);
            }
        }
        None
    }

    /// A trial is over, and may have lost what its control is to be compared with.
    pub(super) fn end(&mut self, trial: &Trial, shown: &Shown) {
        self.over += 1;
        let Some(hold) = trial.hold else { return };
        let cell = self.cells.entry((trial.situation, hold.pause)).or_default();
        match (trial.is_control(), shown.missed) {
            (true, true) => cell.missed += 1,
            (true, false) => cell.showed += 1,
            (false, _) => cell.lost += u32::from(shown.lost),
        }
        if cell.given < cell.lost.min(ESTABLISHED) + cell.missed.min(MISSES) {
            self.want_control((trial.situation, hold.pause));
        }
    }

    /// Whether what was lost was compared with as many controls, or with all that the plan has.
    pub(super) fn has_compared(&self) -> bool {
        self.cells.values().all(|cell| {
            let is_over = cell.is_exhausted && cell.given <= cell.showed + cell.missed;
            cell.showed >= cell.lost.min(ESTABLISHED) || is_over
        })
    }

    /// Whether a round is over.
    pub(super) fn has_tried_all(&self) -> bool {
        self.over >= self.share.count(round(&self.options))
    }

    /// Brings the control of a trial forward that has lost requests: without one, nobody knows
    /// whose fault that is.
    fn want_control(&mut self, of: (Situation, Duration)) {
        let own = (self.given + 1..=self.trials).filter(|number| self.share.has(*number));
        let mut next = own.take(CONTROL_WITHIN);
        let is_control = |number: &u32| {
            let other = trial(&self.options, *number);
            let hold = other.hold.filter(|_| other.is_control() && !self.early.contains(number));
            hold.is_some_and(|hold| (other.situation, hold.pause) == of)
        };
        let found = next.find(is_control);
        let cell = self.cells.entry(of).or_default();
        cell.is_exhausted = found.is_none();
        if let Some(number) = found {
            cell.given += 1;
            self.early.insert(number);
            self.wanted.push(number);
        }
    }
}
