//! What the target did before the signal: the control by which the rest of its trial is measured.
//!
//! Some bodies differ from one start of the target to the next (a process id, a date), and some
//! requests fail with and without a signal. Neither is the shutdown's fault.

use std::collections::{HashMap, HashSet};

use super::contract::ExpectedResponse;
use super::event::{Framing, Request, RequestEnd};
use super::history::Outcome;
use super::statistics::rate_bounds_95;
use super::time::Nanos;

/// What a trial shows of the contract's requests without the signal.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// Requests whose expected body was seen in this trial.
    confirmed: HashSet<u16>,
    /// Requests that were answered with another body before the signal.
    contradicted: HashSet<u16>,
    /// How the requests ended that were over before the signal.
    ends: HashMap<(u16, Outcome), u64>,
}

impl Baseline {
    /// Looks at the bodies of a trial whose signal came at `signal`.
    pub(super) fn of_bodies<'r>(
        requests: impl Iterator<Item = &'r Request>,
        expected: &[ExpectedResponse],
        signal: Option<Nanos>,
    ) -> Self {
        let mut baseline = Self::default();
        for request in requests.filter(|request| request.end == RequestEnd::Complete) {
            let expected = &expected[usize::from(request.template)];
            let Some(body) = expected.body.filter(|_| request.status == Some(expected.status))
            else {
                continue;
            };
            let seen = (request.body.length, request.body.sha256_prefix);
            if seen == (body.length, body.sha256_prefix) {
                baseline.confirmed.insert(request.template);
            } else if signal.is_some_and(|signal| request.ended <= signal) {
                baseline.contradicted.insert(request.template);
            }
        }
        baseline
    }

    /// Takes note of how a request ended before the signal.
    pub(super) fn ended(&mut self, template: u16, outcome: Outcome) {
        *self.ends.entry((template, outcome)).or_default() += 1;
    }

    /// Whether as many as `failed` of `all` such requests could have failed like this without the
    /// signal as well, by the upper bound (95 %) of the rate at which they did before it.
    pub(super) fn is_usual(
        &self,
        (template, outcome): (u16, Outcome),
        failed: u64,
        all: u64,
    ) -> bool {
        let before = |outcome| self.ends.get(&(template, outcome)).copied().unwrap_or(0);
        let total: u64 =
            self.ends.iter().filter(|((t, _), _)| *t == template).map(|(_, count)| count).sum();
        let bounds = rate_bounds_95(before(outcome), total);
        let usual = bounds.filter(|_| before(outcome) > 0).map_or(0.0, |(_, upper)| upper);
        usual > 0.0 && failed as f64 <= (all as f64 * usual).ceil()
    }

    /// What a complete response with the expected status is, by its body.
    ///
    /// A shorter body than the expected one is a cut one, unless this trial had another body
    /// before its signal. A body that only differs counts where the expected one was seen in the
    /// same trial: otherwise it may belong to this start of the target.
    pub(super) fn outcome_by_body(
        &self,
        request: &Request,
        expected: &ExpectedResponse,
    ) -> Outcome {
        let seen = request.body;
        let body = expected.body.filter(|_| !self.contradicted.contains(&request.template));
        match body {
            Some(body) if seen.length < body.length => Outcome::Truncated,
            _ if seen.digest_matches == Some(false) => Outcome::Corrupt,
            Some(body)
                if (seen.length, seen.sha256_prefix) != (body.length, body.sha256_prefix)
                    && self.confirmed.contains(&request.template) =>
            {
                Outcome::Corrupt
            }
            // It ends where its connection does, and there is nothing to compare it with: the
            // same bytes would have come from a server that died over it.
            None if request.framing == Some(Framing::CloseDelimited)
                && seen.digest_matches.is_none() =>
            {
                Outcome::Unverifiable
            }
            _ => Outcome::Completed,
        }
    }
}
