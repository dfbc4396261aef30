//! Judges one history by the whole catalogue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::invariants::CATALOGUE;
use crate::model::history::History;
use crate::model::time::human;
use crate::model::verdict::{Finding, Verdict};

/// What a history shows of each invariant, in the order of the catalogue.
///
/// A history in which the harness itself was too late proves nothing, and a check that panics
/// has shown nothing: both are inconclusive, never a pass.
pub fn judge(history: &History) -> Vec<Finding> {
    let lag = history.lag();
    let too_late = lag > history.contract().lag_limit;
    CATALOGUE
        .iter()
        .map(|invariant| {
            let verdict = if too_late {
                Verdict::inconclusive(format!(
                    "the harness itself was {} late: the machine is too busy to tell",
                    human(lag)
                ))
            } else {
                catch_unwind(AssertUnwindSafe(|| (invariant.check)(history)))
                    .unwrap_or_else(|_| Verdict::inconclusive("the check itself failed"))
            };
            Finding { invariant: invariant.id, verdict }
        })
        .collect()
}
