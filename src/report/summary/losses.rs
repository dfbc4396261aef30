//! How many requests of a trial were lost, by who held them.

use std::collections::BTreeMap;

use crate::model::history::{History, Outcome};
use crate::model::phase::Phase;

/// Requests, and those of them that got no whole response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub(super) requests: u64,
    pub(super) lost: u64,
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.lost += other.lost;
    }
}

/// The phases of requests that were on their way.
pub(super) const ON_THEIR_WAY: [Phase; 5] =
    [Phase::Processing, Phase::Uploading, Phase::PartialHead, Phase::Delivered, Phase::Queued];

/// What became of the requests of a trial, by their phase at the signal; in a control, where the
/// signal would have been.
///
/// In a control a request without an answer is lost, also when it was the harness that ended it:
/// its time was over.
pub(super) fn losses(history: &History) -> BTreeMap<Phase, Losses> {
    let signal = history.signal().map(|signal| signal.bracket);
    let Some(bracket) = signal.or_else(|| history.instead_of_signal()) else {
        return BTreeMap::new();
    };
    let mut losses: BTreeMap<Phase, Losses> = BTreeMap::new();
    for (_, request) in history.requests().filter(|(_, request)| !request.stalled) {
        let phase = history.phase(request, bracket);
        let is_gone = matches!(
            history.outcome(request),
            Outcome::Truncated
                | Outcome::ClosedWithoutResponse
                | Outcome::Reset
                | Outcome::TimedOut
        );
        let is_cut = signal.is_some() && history.cut_by_harness(request);
        let of_phase = losses.entry(phase).or_default();
        *of_phase += Losses { requests: 1, lost: u64::from(is_gone && !is_cut) };
    }
    losses
}
