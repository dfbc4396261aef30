//! The requests that the program held when the signal came, and what became of them.

use std::collections::{HashMap, HashSet};

use crate::model::event::{EventIndex, Request};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::Phase;

/// The requests in process at the signal.
pub(super) struct InProcess<'h> {
    /// Those that the target ended, or did not end in its time; but for those of which nobody can
    /// tell whether they are whole, and for losses that are as usual without a signal.
    pub(super) requests: Vec<Held<'h>>,
    /// How many the harness cut short: what the target would have made of them is unknown.
    pub(super) cut: usize,
}

/// One request that the program held.
pub(super) struct Held<'h> {
    /// The event that holds it.
    pub(super) event: EventIndex,
    /// The request.
    pub(super) request: &'h Request,
    /// Whether it was being processed or uploaded.
    pub(super) phase: Phase,
    /// What became of it.
    pub(super) outcome: Outcome,
}

impl<'h> InProcess<'h> {
    /// Finds them.
    pub(super) fn of(history: &'h History) -> Self {
        let (mut requests, mut cut) = (Vec::new(), 0);
        for (event, request, phase) in history.phased_requests() {
            if !phase.is_in_process() {
                continue;
            }
            let outcome = history.outcome(request);
            if history.cut_by_harness(request) {
                cut += 1;
            } else if outcome != Outcome::Unverifiable {
                requests.push(Held { event, request, phase, outcome });
            }
        }
        let usual = usual_failures(history, &requests);
        requests.retain(|held| !usual.contains(&(held.request.template, held.outcome)));
        Self { requests, cut }
    }

    /// Those that were not completed.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Held<'h>> {
        self.requests.iter().filter(|held| held.outcome != Outcome::Completed)
    }

    /// Whether a request was completed so long after the signal that its default action, the
    /// sudden end of the process, would have come first.
    pub(super) fn shows_a_drain(&self, history: &History, signal: &SignalSent) -> bool {
        let within = history.contract().default_action_within;
        let sure = signal.bracket.after + within + history.lag();
        let mut completed = self.requests.iter().filter(|held| held.outcome == Outcome::Completed);
        completed.any(|held| held.request.ended > sure)
    }

    /// Why nothing is known of any, where that was the harness's own doing.
    pub(super) fn only_cut(&self) -> Option<String> {
        (self.requests.is_empty() && self.cut > 0).then(|| {
            format!(
                "all {} requests in process were cut short by the harness, which ended the trial \
                 or what the target had left behind before the deadline",
                self.cut
            )
        })
    }
}

/// The kinds of loss that are no more frequent than before the signal.
fn usual_failures(history: &History, requests: &[Held<'_>]) -> HashSet<(u16, Outcome)> {
    let mut of_template: HashMap<u16, u64> = HashMap::new();
    let mut of_kind: HashMap<(u16, Outcome), u64> = HashMap::new();
    for held in requests {
        *of_template.entry(held.request.template).or_default() += 1;
        *of_kind.entry((held.request.template, held.outcome)).or_default() += 1;
    }
    let is_usual = |((template, outcome), failed): &((u16, Outcome), u64)| {
        *outcome != Outcome::Completed
            && history.fails_anyway(*template, *outcome, *failed, of_template[template])
    };
    of_kind.into_iter().filter(is_usual).map(|(kind, _)| kind).collect()
}
