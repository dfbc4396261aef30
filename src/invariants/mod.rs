//! The catalogue: what should be true of a shutdown, one file an invariant.
//!
//! To add one: a new file with a `pub(crate) const INVARIANT`, its line in [`CATALOGUE`], and a
//! server in `fixtures/` that violates it. Lists, explanations, reports and the docs follow from
//! the fields.

use crate::model::history::History;
use crate::model::verdict::{Profile, Severity, Verdict};

mod in_flight_requests_complete;

/// Every invariant, in the order in which reports show them.
pub const CATALOGUE: &[&Invariant] = &[&in_flight_requests_complete::INVARIANT];

/// Something that should be true of every shutdown.
#[derive(Debug)]
pub struct Invariant {
    /// Its id: a sentence that should be true, in kebab-case.
    pub id: &'static str,
    /// The definition: "Fails when …".
    pub fails_when: &'static str,
    /// Why it matters to those who run the server.
    pub why: &'static str,
    /// Where the demand comes from (slide, RFC section, man page, thread).
    pub source: &'static str,
    /// How servers usually get it wrong.
    pub usual_cause: &'static str,
    /// What to do about it, in the common stacks.
    pub fix: &'static str,
    /// What a trial must have for it to be exercised, said where it was not.
    pub needs: &'static str,
    /// What a violation does to a run, by profile.
    pub severity: Severities,
    /// What a history shows of it.
    pub check: fn(&History) -> Verdict,
}

/// What a violation does to a run, by profile.
#[derive(Clone, Copy, Debug)]
pub struct Severities {
    /// Under [`Profile::Graceful`].
    pub graceful: Severity,
    /// Under [`Profile::Strict`].
    pub strict: Severity,
}

impl Severities {
    /// The severity under a profile.
    pub fn under(self, profile: Profile) -> Severity {
        match profile {
            Profile::Graceful => self.graceful,
            Profile::Strict => self.strict,
        }
    }
}

/// The invariant with this id.
pub fn find(id: &str) -> Option<&'static Invariant> {
    CATALOGUE.iter().copied().find(|invariant| invariant.id == id)
}
