//! The requests that were in some phase when the signal came, and what became of them.

use std::collections::{HashMap, HashSet};

use crate::model::event::{EventIndex, Request};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::Phase;
use crate::model::verdict::Violation;

use super::wording::{evidence, life, others};

/// The requests of some phases at the signal.
pub(super) struct Fates<'h> {
    /// Those that the target ended, or did not end in its time; but for those of which nobody can
    /// tell whether they are whole, and for losses that are as usual without a signal.
    pub(super) requests: Vec<Fate<'h>>,
    /// How many the harness cut short: what the target would have made of them is unknown.
    pub(super) cut: usize,
}

/// One request, and what became of it.
#[derive(Clone, Copy)]
pub(super) struct Fate<'h> {
    /// The event that holds it.
    pub(super) event: EventIndex,
    /// The request.
    pub(super) request: &'h Request,
    /// Where it was at the signal.
    pub(super) phase: Phase,
    /// What became of it.
    pub(super) outcome: Outcome,
}

impl Fate<'_> {
    /// Whether the client got not one byte in answer.
    pub(super) fn is_unanswered(&self) -> bool {
        let nothing = matches!(
            self.outcome,
            Outcome::ClosedWithoutResponse | Outcome::Reset | Outcome::TimedOut
        );
        nothing && self.request.first_byte.is_none()
    }
}

impl<'h> Fates<'h> {
    /// Finds those of these phases. A client that stopped on purpose can't have a whole answer,
    /// so that its request shows nothing here.
    pub(super) fn of(history: &'h History, is_meant: impl Fn(Phase) -> bool) -> Self {
        let (mut requests, mut cut) = (Vec::new(), 0);
        for (event, request, phase) in history.phased_requests() {
            if !is_meant(phase) || request.stalled {
                continue;
            }
            let outcome = history.outcome(request);
            if history.cut_by_harness(request) {
                cut += 1;
            } else if outcome != Outcome::Unverifiable {
                requests.push(Fate { event, request, phase, outcome });
            }
        }
        let usual = usual_failures(history, &requests);
        requests.retain(|fate| !usual.contains(&(fate.request.template, fate.outcome)));
        Self { requests, cut }
    }

    /// Finds those that the program held.
    pub(super) fn in_process(history: &'h History) -> Self {
        Self::of(history, Phase::is_in_process)
    }

    /// Those that were not completed.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Fate<'h>> {
        self.requests.iter().filter(|fate| fate.outcome != Outcome::Completed)
    }

    /// Those without a byte in answer.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Fate<'h>> {
        self.requests.iter().filter(|fate| fate.is_unanswered())
    }

    /// Whether a request was completed so long after the signal that its default action, the
    /// sudden end of the process, would have come first.
    pub(super) fn shows_a_drain(&self, history: &History, signal: &SignalSent) -> bool {
        let sure = signal.felt + history.contract().default_action_within + history.lag();
        let mut completed = self.requests.iter().filter(|fate| fate.outcome == Outcome::Completed);
        completed.any(|fate| fate.request.ended > sure)
    }

    /// Why nothing is known of any, where that was the harness's own doing.
    pub(super) fn only_cut(&self, which: &str) -> Option<String> {
        (self.requests.is_empty() && self.cut > 0).then(|| {
            format!(
                "all {} requests {which} were cut short by the harness, which ended the trial \
                 or what the target had left behind before the deadline",
                self.cut
            )
        })
    }
}

/// A violation for each request: its life, and of the first one what became of others like it.
pub(super) fn violations<'h>(
    history: &History,
    signal: &SignalSent,
    lost: impl Iterator<Item = &'h Fate<'h>>,
) -> Vec<Violation> {
    violations_with(history, signal, lost, |_| String::new())
}

/// The same, with a remark on each life.
pub(super) fn violations_with<'h>(
    history: &History,
    signal: &SignalSent,
    lost: impl Iterator<Item = &'h Fate<'h>>,
    remark: impl Fn(&Fate<'_>) -> String,
) -> Vec<Violation> {
    let violation = |(number, lost): (usize, &Fate<'_>)| {
        let mut message = life(history, signal, lost.request, lost.phase);
        message += &remark(lost);
        if number == 0 {
            message += &others(history, lost.event, lost.phase);
        }
        Violation { message, evidence: evidence(history, signal, lost.event, lost.request) }
    };
    lost.enumerate().map(violation).collect()
}

/// The kinds of loss that are no more frequent than before the signal.
fn usual_failures(history: &History, requests: &[Fate<'_>]) -> HashSet<(u16, Outcome)> {
    let mut of_template: HashMap<u16, u64> = HashMap::new();
    let mut of_kind: HashMap<(u16, Outcome), u64> = HashMap::new();
    for fate in requests {
        *of_template.entry(fate.request.template).or_default() += 1;
        *of_kind.entry((fate.request.template, fate.outcome)).or_default() += 1;
    }
    let is_usual = |((template, outcome), failed): &((u16, Outcome), u64)| {
        *outcome != Outcome::Completed
            && history.fails_anyway(*template, *outcome, *failed, of_template[template])
    };
    of_kind.into_iter().filter(is_usual).map(|(kind, _)| kind).collect()
}
