//! What the target did before the signal: the control by which the rest of its trial is measured.
//!
//! Some bodies differ from one start of the target to the next (a process id, a date), and some
//! requests fail with and without a signal. Neither is the shutdown's fault.

use std::collections::HashSet;

use super::contract::ExpectedResponse;
use super::event::{Request, RequestEnd};
use super::history::Outcome;
use super::time::Nanos;

/// What a trial shows of the contract's requests without the signal.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// Requests whose expected body was seen in this trial.
    confirmed: HashSet<u16>,
    /// Requests that were answered with another body before the signal.
    contradicted: HashSet<u16>,
    /// How requests failed that were over before the signal.
    failures: HashSet<(u16, Outcome)>,
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

    /// Takes note that a request failed in this way before the signal.
    pub(super) fn failed(&mut self, template: u16, outcome: Outcome) {
        self.failures.insert((template, outcome));
    }

    /// Whether such requests fail like this without a signal as well.
    pub(super) fn fails_anyway(&self, template: u16, outcome: Outcome) -> bool {
        self.failures.contains(&(template, outcome))
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
            _ => Outcome::Completed,
        }
    }
}
