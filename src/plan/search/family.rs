//! Kinds of trials that differ in nothing but their moments: what one of them shows, the others
//! hardly need to.

use std::collections::BTreeMap;

use crate::model::plan::{Moment, OF_EACH_KIND, Trial};
use crate::model::search::Kind;

use super::shown::Book;

/// The cells of one family.
#[derive(Clone, Debug)]
pub(super) struct Family {
    cells: Vec<usize>,
    /// What its trials can differ in, in doublings: the kinds of their moments, and how many more
    /// requests than the usual few are under way together.
    doublings: f64,
}

impl Family {
    /// The families of all cells, each given with its kind and its first trial. Those of a situation
    /// are one, but those with many connections are of another, as are those at system calls.
    pub(super) fn all<'k>(cells: impl Iterator<Item = (&'k Kind, Trial)>) -> Vec<Self> {
        let mut all: BTreeMap<_, (Vec<usize>, u16)> = BTreeMap::new();
        for (at, (kind, trial)) in cells.enumerate() {
            let connections = trial.load.connections;
            let is_at_syscall = |moment| matches!(moment, Moment::AtSyscall { .. });
            let is_point = trial.signals.iter().any(|planned| is_at_syscall(planned.moment));
            let is_crowd = connections > OF_EACH_KIND;
            let key = (kind.situation, kind.is_control, kind.signal, is_point, is_crowd);
            let (its, most) = all.entry(key).or_default();
            its.push(at);
            *most = connections.max(*most);
        }
        let of = |(cells, most): (Vec<usize>, u16)| {
            let few = f64::from(OF_EACH_KIND);
            let crowd = (f64::from(most) / few).max(1.0);
            Self { doublings: 1.0 + (crowd * cells.len() as f64).log2(), cells }
        };
        all.into_values().map(of).collect()
    }

    /// Whether the cell is one of its own.
    pub(super) fn has(&self, cell: usize) -> bool {
        self.cells.binary_search(&cell).is_ok()
    }

    /// What its next trial is worth, by what all of its trials have shown.
    pub(super) fn worth<'b>(&self, books: impl Iterator<Item = &'b Book>) -> f64 {
        let together = books.fold(Book::default(), |together, book| together.with(book));
        together.chance_of_news() * self.doublings
    }
}
