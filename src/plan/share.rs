//! Which trials of a plan belong to a slice of it, so that machines can do one each.
//!
//! What is compared with one another stays together: a held situation and its control, and the
//! trials with several signals and those with one. Of such families the slices take turns, and in
//! each round another one begins, so that each slice comes to all of them. Points of system calls
//! are dealt out one by one.

use crate::model::partition::Partition;
use crate::model::plan::{Plan, Situation};

use super::{Cell, Part, PlanOptions, cells, trial};

/// Where a trial of the round is among what is dealt out.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Its family's place in a round.
    Family(usize),
    /// It is one visit of a point; so many of them are in a round.
    Point { nth: usize, of: usize },
}

/// The trials of a slice.
#[derive(Clone, Debug)]
pub struct Share {
    partition: Partition,
    places: Vec<Place>,
}

impl Share {
    /// What the options say which slice it is.
    pub fn new(options: &PlanOptions) -> Self {
        let round = cells(options);
        let families = families(&round);
        let of = round.iter().filter(|cell| cell.part == Part::Point).count();
        let mut points = 0..;
        let place = |cell: &Cell| match cell.part {
            Part::Point => Place::Point { nth: points.next().unwrap_or_default(), of },
            _ => Place::Family(family_at(&families, cell.situation)),
        };
        Self { partition: options.partition, places: round.iter().map(place).collect() }
    }

    /// Whether it has the trial with this number, counted from 1.
    pub fn has(&self, number: u32) -> bool {
        let turn = number.saturating_sub(1) as usize;
        let (round, turn) = (turn / self.places.len(), turn % self.places.len());
        self.partition.has(match self.places[turn] {
            Place::Family(family) => family + round,
            Place::Point { nth, of } => round * of + nth,
        } as u64)
    }

    /// How many of the first `trials` trials it has.
    pub fn count(&self, trials: u32) -> u32 {
        match self.partition.is_part() {
            true => (1..=trials).filter(|number| self.has(*number)).count() as u32,
            false => trials,
        }
    }

    /// The next number after `last` that only this slice gives to a trial of a search, whose first
    /// round had so many.
    pub(super) fn next_number(&self, last: u32, round: u32) -> u32 {
        let after = last.max(round) + 1;
        let mut free = (after..).take(self.partition.count as usize);
        free.find(|number| self.partition.has(u64::from(number - round - 1))).unwrap_or(after)
    }
}

/// Those of the first `trials` trials that a slice has.
pub(super) fn slice(options: &PlanOptions, trials: u32) -> Plan {
    let share = Share::new(options);
    let own = (1..=trials).filter(|number| share.has(*number));
    Plan { seed: options.seed, trials: own.map(|number| trial(options, number)).collect() }
}

/// Whether the slice has a cell of a search, whose visits of one kind begin with this one: there each
/// cell is searched by one slice only.
pub(super) fn has_cell(options: &PlanOptions, round: &[Cell], cell: Cell, visit: usize) -> bool {
    options.partition.has(match cell.part {
        Part::Point => visit,
        _ => family_at(&families(round), cell.situation),
    } as u64)
}

/// What is compared with one another, by the situation that it is named after.
fn family(situation: Situation) -> Situation {
    match situation {
        Situation::AsPid1 => Situation::SlowHandler,
        it if it.repeats_signal() => Situation::SlowHandler,
        it => it,
    }
}

/// The families of a round, in their order.
fn families(round: &[Cell]) -> Vec<Situation> {
    let mut families = Vec::new();
    for cell in round.iter().filter(|cell| cell.part != Part::Point) {
        let family = family(cell.situation);
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

fn family_at(families: &[Situation], situation: Situation) -> usize {
    families.iter().position(|it| *it == family(situation)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signal::Signal;
    use crate::plan::{plan, round};

    fn slices(options: &PlanOptions, count: u32, trials: u32) -> Vec<Plan> {
        let of = |index| PlanOptions {
            partition: Partition::new(index, count).unwrap(),
            ..options.clone()
        };
        (1..=count).map(|index| plan(&of(index), trials)).collect()
    }

    #[test]
    fn a_control_is_in_the_slice_of_what_it_is_compared_with() {
        let signals = vec![Signal::TERM, Signal::INT];
        let options = PlanOptions { signals, ..PlanOptions::new(7) };
        let rounds = 7 * round(&options);
        for slice in slices(&options, 4, rounds) {
            let held = |is_control| {
                let held = slice.trials.iter().filter(move |it| it.hold.is_some());
                let kinds = held.filter(move |it| it.is_control() == is_control);
                kinds
                    .map(|it| (it.situation, it.moment()))
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(held(true), held(false));
            assert!(held(true).len() > 2, "{:?}", held(true));
            let sent = |signal| {
                let with = slice.trials.iter().filter(|it| {
                    it.signals.first().is_some_and(|planned| planned.signal == signal)
                });
                with.count()
            };
            assert_eq!(sent(Signal::TERM), sent(Signal::INT), "they are compared");
        }
    }

    #[test]
    fn slices_are_of_about_the_same_size_and_each_comes_to_every_situation() {
        let options = PlanOptions::new(7);
        let all: std::collections::BTreeSet<_> =
            plan(&options, 58).trials.iter().map(|it| it.situation).collect();
        for slice in slices(&options, 3, 290) {
            assert!((85..110).contains(&slice.trials.len()), "{}", slice.trials.len());
            let own: std::collections::BTreeSet<_> =
                slice.trials.iter().map(|it| it.situation).collect();
            assert_eq!(own, all);
        }
    }

    #[test]
    fn numbers_after_the_first_round_are_those_of_one_slice_only() {
        let share = |index| {
            let partition = Partition::new(index, 3).unwrap();
            Share::new(&PlanOptions { partition, ..PlanOptions::new(1) })
        };
        let numbers: Vec<u32> = (1..=3)
            .flat_map(|index| {
                let mut last = 0;
                (0..5)
                    .map(|_| {
                        last = share(index).next_number(last, 29);
                        last
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (30..45).collect::<Vec<_>>());
        assert_eq!(numbers[..2], [30, 33]);
    }
}
