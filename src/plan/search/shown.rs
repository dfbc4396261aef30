//! What the trials of one cell have shown, as far as the search goes by it.

use std::collections::BTreeSet;

use crate::model::search::Shown;

use super::MISSES;

/// What a trial costs besides its own time, in milliseconds: so that the quickest, such as a signal at
/// the start, don't have all of the budget.
const BESIDES_MS: f64 = 1000.0;

/// What the trials of one cell have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Trials that were begun.
    pub(super) visits: u32,
    /// When the last one was: after so many trials of the search.
    pub(super) last: u32,
    /// Those that violated a denied invariant.
    pub(super) denied: u32,
    /// Those that violated an invariant.
    pub(super) violated: u32,
    /// Those that lost requests.
    pub(super) lost: u32,
    /// Whether there can be no more.
    pub(super) closed: bool,
    /// How many kinds of outcome it has shown that no other trial of its situation has.
    pub(super) seen_once: u32,
    /// Those that count for nothing.
    pub(super) missed: u32,
    outcomes: BTreeSet<String>,
    /// Those that are over.
    pub(super) over: u32,
    took_ms: u64,
}

impl Book {
    /// Nothing was tried; perhaps nothing can be.
    pub(super) fn new(closed: bool) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(super) fn note(&mut self, shown: &Shown) {
        self.denied += u32::from(shown.denied);
        self.violated += u32::from(shown.violated);
        self.lost += u32::from(shown.lost);
        self.over += 1;
        self.took_ms += u64::from(shown.took_ms);
        match shown.missed {
            true => self.missed += 1,
            false => _ = self.outcomes.insert(shown.outcome.clone()),
        }
    }

    /// Those that are over, and count.
    pub(super) fn showed(&self) -> u32 {
        self.over - self.missed
    }

    /// How many kinds of outcome were seen.
    pub(super) fn kinds(&self) -> u32 {
        self.outcomes.len() as u32
    }

    /// The probability that the next visit shows a kind of outcome that none has shown. Good's
    /// estimate is what was seen once, by the number of visits; with one more of each, as what never
    /// shows anything new is not worth nothing.
    pub(super) fn chance_of_news(&self) -> f64 {
        let showing = self.visits.saturating_sub(self.missed.min(MISSES));
        f64::from(self.seen_once + 1) / f64::from(showing + 1)
    }

    /// Both, as far as the chance of news goes.
    pub(super) fn with(mut self, other: &Self) -> Self {
        self.visits += other.visits;
        self.seen_once += other.seen_once;
        self.missed += other.missed;
        self
    }
}

/// What a trial costs, in milliseconds, on the average; unknown while none is over.
pub(super) fn usual_ms<'b>(books: impl Iterator<Item = &'b Book>) -> Option<f64> {
    let (over, took) =
        books.fold((0, 0), |(over, took), book| (over + u64::from(book.over), took + book.took_ms));
    (over > 0).then(|| BESIDES_MS + took as f64 / over as f64)
}
