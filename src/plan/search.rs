//! What to try next, by what the trials so far have shown: a budget goes where most is learnt.
//!
//! The first round is that of the fixed plan. Then every other trial is of a kind that was never
//! tried, as long as there is one. The others are of the kind that is worth most: the probability
//! that its next trial shows what none of them has shown before (the estimate of Good, 1953, after
//! Turing), for what it costs. Kinds that differ in nothing but their moments are a family, and the
//! families compete first: the boundaries of a hundred system calls are not worth a hundred times
//! as much as a crowd. The same options and the same recorded outcomes give the same next trial.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::number::FIRST_KNOWN;
use crate::model::plan::{Situation, Trial};
use crate::model::run::RunReport;
use crate::model::search::{Choice, Kind, Shown, Standing};

use super::draw::{Purpose, draw};
use super::share::{Share, has_cell};
use super::{Cell, Part, PlanOptions, cells, period, trial, visited};

mod family;
mod shown;

use family::Family;
use shown::{Book, usual_ms};

/// No cell waits longer than this many times as many trials as there are cells.
const PATIENCE: usize = 4;
/// A cell that has failed so often is known to fail: it earns no more than an even share of the
/// trials, for the rate. Its losses are compared with as many controls.
pub const ESTABLISHED: u32 = 5;
/// Where a repeated signal breaks something, so many of its kind are tried at once: fewer could be
/// chance, and until it is told from chance, nobody is accused.
const REPEATED_AT_ONCE: u32 = 4;
/// So many trials that were missed don't count as visits: the next one may show something.
pub const MISSES: u32 = 3;

/// What was tried, what it has shown, and what is next.
#[derive(Clone, Debug)]
pub struct Search {
    options: PlanOptions,
    share: Share,
    round: u32,
    cells: Vec<Place>,
    families: Vec<Family>,
    by_kind: BTreeMap<Kind, usize>,
    /// Numbers of the first round that are begun, or can't be.
    done: BTreeSet<u32>,
    last_number: u32,
    begun: u32,
    books: Vec<Book>,
    /// How often each kind of outcome was seen in a situation, and in which cell first.
    outcomes: BTreeMap<(Situation, String), (u32, usize)>,
    favoured: Option<Situation>,
    /// Numbers of the first round that are begun and not over.
    under_way: BTreeSet<u32>,
}

/// A kind of trial, and which visits of a cell of the plan are of that kind.
#[derive(Clone, Debug)]
struct Place {
    kind: Kind,
    cell: (usize, Cell),
    /// The first visits of that kind; after a period, they come again.
    visits: Vec<usize>,
    period: usize,
    /// How far it is among the kinds of its cell, in thousandths: where a cell has many, each round
    /// of those that were never tried has several of them.
    place: usize,
    /// Whether its trials only support what others show, or count for nothing.
    is_support: bool,
}

impl Search {
    /// Nothing is tried yet.
    pub fn new(options: PlanOptions) -> Self {
        let round = cells(&options);
        let mut places: Vec<Place> = Vec::new();
        for (at, cell) in round.iter().enumerate() {
            if round[..at].contains(cell) {
                continue;
            }
            let period = period(&options, *cell);
            let before = places.len();
            for visit in 0..period {
                let first = visited(&options, (at, *cell), visit, 1);
                let kind = Kind::of(&first);
                match places.iter_mut().find(|place| place.kind == kind) {
                    Some(place) => place.visits.push(visit),
                    None => places.push(Place {
                        kind,
                        cell: (at, *cell),
                        visits: vec![visit],
                        period,
                        place: 0,
                        is_support: !matches!(cell.part, Part::Signal | Part::Point) || first.aside,
                    }),
                }
            }
            let kinds = places.len() - before;
            for (nth, place) in places[before..].iter_mut().enumerate() {
                place.place = nth * 1000 / kinds;
            }
        }
        let kinds = places.iter().map(|place| place.kind.clone()).zip(0..);
        // What another slice searches can't be tried here.
        let is_open = |place: &Place| has_cell(&options, &round, place.cell.1, place.visits[0]);
        let first = |place: &Place| visited(&options, place.cell, place.visits[0], 1);
        Self {
            families: Family::all(places.iter().map(|place| (&place.kind, first(place)))),
            by_kind: kinds.collect(),
            books: places.iter().map(|place| Book::new(!is_open(place))).collect(),
            share: Share::new(&options),
            cells: places,
            done: BTreeSet::new(),
            round: round.len() as u32,
            last_number: round.len() as u32,
            begun: 0,
            outcomes: BTreeMap::new(),
            favoured: None,
            under_way: BTreeSet::new(),
            options,
        }
    }

    /// The state in which a run ended, from its report; the options are those of the run.
    pub fn after(options: PlanOptions, report: &RunReport) -> Self {
        let mut search = Self::new(options);
        // Known failures were none of its choice.
        let own = report.plan.trials.iter().filter(|trial| trial.number < FIRST_KNOWN);
        for trial in own.clone() {
            search.begin(trial);
        }
        let planned = own.map(|trial| (trial.number, trial));
        let planned: BTreeMap<_, _> = planned.collect();
        for over in &report.trials {
            if let Some(trial) = planned.get(&over.number) {
                search.end(trial, &over.shown);
            }
        }
        for cell in report.coverage.iter().filter(|cell| cell.trials + cell.missed == 0) {
            search.close_all(|kind| kind.situation == cell.situation);
        }
        search
    }

    /// The next trial, among the situations for which there is time; nothing where there is none.
    ///
    /// It counts as begun only when [`Search::begin`] is told so.
    pub fn next(&self, has_time: &dyn Fn(Situation) -> bool) -> Option<Choice> {
        let open = |at: &usize| !self.books[*at].closed && has_time(self.cells[*at].kind.situation);
        if let Some(at) = self.doubtful(&open) {
            return Some(self.choice(at, "seen again, or could it be chance?".into()));
        }
        if let Some((at, of)) = self.wanted(&open) {
            return Some(self.choice(at, format!("compared with {}", self.cells[of].kind.name())));
        }
        if let Some(trial) = self.of_first_round(has_time) {
            return Some(Choice { trial, why: None });
        }
        let open: Vec<usize> = (0..self.cells.len()).filter(open).collect();
        let longest = open.iter().copied().min_by_key(|at| self.books[*at].last)?;
        let waited = self.begun - self.books[longest].last;
        if waited as usize > PATIENCE * open.len() {
            return Some(self.choice(longest, format!("not tried for {waited} trials")));
        }
        if let Some((at, why)) = self.untried(&open).or_else(|| self.favourite(&open)) {
            return Some(self.choice(at, why.into()));
        }
        let (at, score) = self.best(&open)?;
        Some(self.choice(at, format!("score {score:.2}: {}", self.of_family(at))))
    }

    /// The trial is begun: it counts as a visit, though nobody knows yet what it will show.
    pub fn begin(&mut self, trial: &Trial) {
        self.begun += 1;
        self.last_number = self.last_number.max(trial.number);
        if trial.number <= self.round {
            self.done.insert(trial.number);
            self.under_way.insert(trial.number);
        }
        if let Some(at) = self.by_kind.get(&Kind::of(trial)) {
            let book = &mut self.books[*at];
            (book.visits, book.last) = (book.visits + 1, self.begun);
        }
    }

    /// The trial is over, and this is what it has shown.
    pub fn end(&mut self, trial: &Trial, shown: &Shown) {
        self.under_way.remove(&trial.number);
        let Some(at) = self.by_kind.get(&Kind::of(trial)).copied() else { return };
        self.books[at].note(shown);
        if shown.missed {
            return;
        }
        let key = (trial.situation, shown.outcome.clone());
        let (times, first) = self.outcomes.entry(key).or_insert((0, at));
        *times += 1;
        match *times {
            1 => self.books[at].seen_once += 1,
            2 => self.books[*first].seen_once -= 1,
            _ => {}
        }
    }

    /// There can't be trials of its kind.
    pub fn close(&mut self, trial: &Trial) {
        let closed = Kind::of(trial);
        self.done.extend(Some(trial.number).filter(|number| *number <= self.round));
        self.close_all(|kind| *kind == closed);
    }

    /// More trials of this situation are wanted than it would earn: of those that follow the first
    /// round, every other one, once nothing is left that was never tried.
    pub fn favour(&mut self, situation: Option<Situation>) {
        self.favoured = situation;
    }

    /// Whether as many controls as something was lost, or enough of them, show what is lost without
    /// a signal: those that were missed show nothing. Where a repeated signal broke something, the
    /// accusation itself needs those with a single one.
    pub fn has_compared(&self) -> bool {
        self.comparisons().into_iter().all(|(with, (failed, _))| {
            let book = &self.books[with];
            let is_control = self.cells[with].kind.is_control;
            !is_control || book.closed || book.showed() >= failed.min(ESTABLISHED)
        })
    }

    /// Whether the first round is over, and its last trials as well.
    pub fn has_tried_all(&self) -> bool {
        self.under_way.is_empty() && self.of_first_round(&|_| true).is_none()
    }

    /// What each cell is worth now, the best first.
    pub fn standings(&self) -> Vec<Standing> {
        let cheapest = self.cheapest();
        let open: Vec<_> = (0..self.cells.len()).filter(|at| !self.books[*at].closed).collect();
        let scores: BTreeMap<usize, f64> = self.scores(&open).into_iter().collect();
        let of = |at: usize| {
            let (place, book) = (&self.cells[at], &self.books[at]);
            Standing {
                kind: place.kind.clone(),
                visits: book.visits,
                outcomes: book.kinds(),
                seen_once: book.seen_once,
                cost: self.cost(at, cheapest),
                score: scores.get(&at).copied().unwrap_or_default(),
            }
        };
        let mut all: Vec<_> = open.iter().copied().map(of).collect();
        all.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then_with(|| one.kind.cmp(&other.kind))
        });
        all
    }

    fn close_all(&mut self, is_meant: impl Fn(&Kind) -> bool) {
        for (place, book) in self.cells.iter().zip(&mut self.books) {
            book.closed |= is_meant(&place.kind);
        }
    }

    fn of_first_round(&self, has_time: &dyn Fn(Situation) -> bool) -> Option<Trial> {
        let left = (1..=self.round).filter(|number| !self.done.contains(number));
        left.map(|number| trial(&self.options, number)).find(|trial| {
            let book = self.by_kind.get(&Kind::of(trial)).map(|at| &self.books[*at]);
            has_time(trial.situation) && book.is_some_and(|book| !book.closed)
        })
    }

    /// Of those that were never tried, the next, where it is their turn.
    fn untried(&self, open: &[usize]) -> Option<(usize, &'static str)> {
        let is_untried = |at: &usize| self.books[*at].visits == 0 && !self.cells[*at].is_support;
        let untried = open.iter().copied().filter(is_untried);
        let next = untried.min_by_key(|at| (self.cells[*at].place, self.cells[*at].cell.0));
        let is_its_turn = self.begun.is_multiple_of(2);
        next.filter(|_| is_its_turn).map(|at| (at, "never tried"))
    }

    /// Of the situation that is favoured the cell that was tried least, where it is its turn.
    fn favourite(&self, open: &[usize]) -> Option<(usize, &'static str)> {
        let is_of = |at: &usize| Some(self.cells[*at].kind.situation) == self.favoured;
        let favoured = open.iter().copied().filter(|at| is_of(at) && !self.cells[*at].is_support);
        let least = favoured.min_by_key(|at| self.books[*at].visits);
        least.filter(|_| self.begun.is_multiple_of(2)).map(|at| (at, "more of it are wanted"))
    }

    /// A cell in which a repeated signal has broken something, and that has shown too little of it.
    fn doubtful(&self, open: &dyn Fn(&usize) -> bool) -> Option<usize> {
        (0..self.cells.len()).filter(open).find(|at| {
            let (Place { kind, is_support, .. }, book) = (&self.cells[*at], &self.books[*at]);
            let is_repeated = kind.situation.repeats_signal() && !is_support;
            let wanted = REPEATED_AT_ONCE + book.missed.min(MISSES);
            is_repeated && book.violated > 0 && book.visits < wanted
        })
    }

    /// A cell that the losses of others are to be compared with, and one of them.
    fn wanted(&self, open: &dyn Fn(&usize) -> bool) -> Option<(usize, usize)> {
        let wanted = self.comparisons().into_iter().find(|&(with, (failed, _))| {
            let book = &self.books[with];
            open(&with) && book.visits < failed.min(ESTABLISHED) + book.missed.min(MISSES)
        });
        wanted.map(|(with, (_, of))| (with, of))
    }

    /// The cells that others are to be compared with: how often those failed, and one of them.
    fn comparisons(&self) -> BTreeMap<usize, (u32, usize)> {
        let mut failures: BTreeMap<usize, (u32, usize)> = BTreeMap::new();
        for of in 0..self.cells.len() {
            let Some((with, failed)) = self.compared_with(of).filter(|(_, n)| *n > 0) else {
                continue;
            };
            failures.entry(with).or_insert((0, of)).0 += failed;
        }
        failures
    }

    /// What a held situation does without a signal, or one that repeats its signal with only one;
    /// and how many trials there are to be compared.
    fn compared_with(&self, of: usize) -> Option<(usize, u32)> {
        let (Place { kind, is_support, .. }, book) = (&self.cells[of], &self.books[of]);
        if *is_support {
            return None;
        }
        if kind.situation.is_held() {
            let control = Kind { is_control: true, signal: None, ..kind.clone() };
            return Some((*self.by_kind.get(&control)?, book.lost));
        }
        let once = |situation| Kind { situation, moment: "reached".into(), ..kind.clone() };
        let both = [once(Situation::SlowHandler), once(kind.situation)];
        let mut found = both.iter().filter_map(|kind| self.by_kind.get(kind).copied());
        Some((found.next()?, book.violated)).filter(|_| kind.situation.repeats_signal())
    }

    /// Whether its score counts: what only supports others comes when they need it, and what is
    /// known to fail has its share.
    fn earns(&self, at: usize) -> bool {
        let book = &self.books[at];
        let share = self.begun as usize / self.cells.len().max(1);
        let has_its_share = book.visits as usize > share;
        let is_known = book.denied >= ESTABLISHED && has_its_share;
        !self.cells[at].is_support && !is_known
    }

    /// The best cell of the best family, and its score.
    fn best(&self, open: &[usize]) -> Option<(usize, f64)> {
        let mut ranked = self.scores(open).into_iter();
        let first = ranked.next()?;
        Some(
            ranked
                .fold(first, |best, other| if self.is_better(other, best) { other } else { best }),
        )
    }

    /// What the cells that earn something are worth: the best of a family as much as the family,
    /// the others in proportion.
    fn scores(&self, open: &[usize]) -> Vec<(usize, f64)> {
        let cheapest = self.cheapest();
        let earning: Vec<_> = open.iter().copied().filter(|at| self.earns(*at)).collect();
        let alone = |at: usize| self.books[at].chance_of_news() / self.cost(at, cheapest);
        let mut all = Vec::new();
        for family in &self.families {
            let its: Vec<_> = earning.iter().copied().filter(|at| family.has(*at)).collect();
            let alone: Vec<_> = its.iter().map(|at| alone(*at)).collect();
            let best = alone.iter().copied().fold(0.0, f64::max);
            let together = family.worth(its.iter().map(|at| &self.books[*at]));
            let of_best = its.iter().zip(&alone).find(|(_, score)| **score == best);
            let cost = of_best.map_or(1.0, |(at, _)| self.cost(*at, cheapest));
            let shares = alone.into_iter().map(|own| together / cost * own / best);
            all.extend(its.into_iter().zip(shares));
        }
        all
    }

    /// What the family of a cell has shown, in words.
    fn of_family(&self, at: usize) -> String {
        let family = self.families.iter().find(|family| family.has(at));
        let books = self.books.iter().enumerate();
        let its = books.filter(|(at, _)| family.is_some_and(|family| family.has(*at)));
        let together = its.fold(Book::default(), |together, (_, book)| together.with(book));
        let (once, visits) = (together.seen_once, together.visits);
        let cost = self.cost(at, self.cheapest());
        format!("{once} seen once in {visits} visits to its kin, cost {cost:.1}")
    }

    /// Of two that are worth the same, the one that was tried less; then as the seed says.
    fn is_better(&self, (one, score): (usize, f64), (than, least): (usize, f64)) -> bool {
        let drawn =
            |at: usize| draw(self.options.seed, Purpose::Tie, u64::from(self.begun), at as u64);
        let key = |at: usize| (self.books[at].visits, drawn(at));
        score > least || (score == least && key(one) < key(than))
    }

    /// What its trials cost, as a multiple of the cheapest; of what was never tried, as much as
    /// others of its situation do.
    fn cost(&self, at: usize, cheapest: f64) -> f64 {
        let of_situation = || {
            let same = |place: &&Place| place.kind.situation == self.cells[at].kind.situation;
            let books = self.cells.iter().zip(&self.books).filter(|(place, _)| same(place));
            usual_ms(books.map(|(_, book)| book))
        };
        let usual = usual_ms([&self.books[at]].into_iter()).or_else(of_situation);
        usual.map_or(1.0, |usual| (usual / cheapest).max(1.0))
    }

    fn cheapest(&self) -> f64 {
        let usual = self.books.iter().filter_map(|book| usual_ms([book].into_iter()));
        usual.reduce(f64::min).unwrap_or(1.0)
    }

    fn choice(&self, at: usize, why: String) -> Choice {
        let place = &self.cells[at];
        let in_round = (1..=self.round)
            .filter(|number| !self.done.contains(number))
            .map(|number| trial(&self.options, number))
            .find(|trial| Kind::of(trial) == place.kind);
        let trial = in_round.unwrap_or_else(|| {
            let times = self.books[at].visits as usize;
            let turn = place.visits[times % place.visits.len()];
            let visit = turn + times / place.visits.len() * place.period;
            let number = self.share.next_number(self.last_number, self.round);
            visited(&self.options, place.cell, visit, number)
        });
        Choice { trial, why: Some(why) }
    }
}

#[cfg(test)]
mod tests;
