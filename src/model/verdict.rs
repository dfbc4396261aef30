//! Verdicts: three-valued, with a pass that must say what it has shown.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::EventIndex;

/// What one history shows of one invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It held each time it could have failed; never without such a time.
    Satisfied {
        /// How many times it could have failed.
        exercised: NonZeroU32,
    },
    /// The target gives no occasion for it.
    NotApplicable {
        /// What would make it apply.
        reason: String,
    },
    /// It applies, and nothing was shown either way.
    Inconclusive {
        /// Why, and what to do about it.
        reason: String,
    },
    /// It failed.
    Violated {
        /// How many times it could have failed.
        exercised: NonZeroU32,
        /// How it failed, each with its evidence.
        violations: Vec<Violation>,
    },
}

impl Verdict {
    /// Satisfied or violated by what was exercised, and inconclusive where that is nothing.
    pub fn of(exercised: usize, violations: Vec<Violation>, if_none: &str) -> Self {
        let at_least = exercised.max(violations.len());
        match NonZeroU32::new(u32::try_from(at_least).unwrap_or(u32::MAX)) {
            None => Verdict::inconclusive(if_none),
            Some(exercised) if violations.is_empty() => Verdict::Satisfied { exercised },
            Some(exercised) => Verdict::Violated { exercised, violations },
        }
    }

    /// Inconclusive, for this reason.
    pub fn inconclusive(reason: impl Into<String>) -> Self {
        Verdict::Inconclusive { reason: reason.into() }
    }

    /// The verdict without its particulars.
    pub fn outcome(&self) -> VerdictName {
        match self {
            Verdict::Satisfied { .. } => VerdictName::Satisfied,
            Verdict::NotApplicable { .. } => VerdictName::NotApplicable,
            Verdict::Inconclusive { .. } => VerdictName::Inconclusive,
            Verdict::Violated { .. } => VerdictName::Violated,
        }
    }
}

/// A verdict without its particulars, from the best to the worst.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictName {
    /// The target gives no occasion for it.
    NotApplicable,
    /// It held each time it could have failed.
    Satisfied,
    /// Nothing was shown either way.
    Inconclusive,
    /// It failed.
    Violated,
}

impl fmt::Display for VerdictName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            VerdictName::NotApplicable => "not-applicable",
            VerdictName::Satisfied => "satisfied",
            VerdictName::Inconclusive => "inconclusive",
            VerdictName::Violated => "violated",
        })
    }
}

/// One failure of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What happened, in one sentence.
    pub message: String,
    /// The events of the history that show it.
    pub evidence: Vec<EventIndex>,
}

/// What one history shows of one invariant, with the invariant's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant.
    pub invariant: &'static str,
    /// What was shown.
    pub verdict: Verdict,
    /// Where several signals were sent: what the trial would violate if there had been one. Only
    /// with the trials that had one can be said whose fault that is.
    pub broken: Vec<Broken>,
}

impl Finding {
    /// What is shown without regard to other trials.
    pub fn of(invariant: &'static str, verdict: Verdict) -> Self {
        Self { invariant, verdict, broken: Vec::new() }
    }
}

/// An invariant that a trial with several signals does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The invariant.
    pub invariant: &'static str,
    /// The first of its violations.
    pub violation: Violation,
}

/// What a violation does to a run, as in rustc's lints.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is recorded only.
    Allow,
    /// It is shown and counted.
    Warn,
    /// It fails the run.
    Deny,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Allow => "allow",
            Severity::Warn => "warn",
            Severity::Deny => "deny",
        })
    }
}

/// A set of severities that suits one kind of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The contract of the slides.
    #[default]
    Graceful,
    /// As graceful, and what warns there fails the run.
    Strict,
    /// Behind a load balancer that is told late.
    Kubernetes,
    /// A target with no listener at all.
    Worker,
}

impl Profile {
    /// Every profile, in the order in which they are listed to users.
    pub const ALL: [Profile; 4] =
        [Profile::Graceful, Profile::Strict, Profile::Kubernetes, Profile::Worker];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Graceful => "graceful",
            Profile::Strict => "strict",
            Profile::Kubernetes => "kubernetes",
            Profile::Worker => "worker",
        }
    }

    /// What it is for, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Profile::Graceful => {
                "work in process completes, new connections are refused, jobs finish, \
                 the process exits before its deadline"
            }
            Profile::Strict => "as graceful, and what warns there fails the run",
            Profile::Kubernetes => {
                "readiness fails first, new connections are served for the lame-duck window \
                 and then refused; the deadline is the grace period"
            }
            Profile::Worker => {
                "a target with no listener at all (queue consumers, cron-like workers): ready by a \
                 line or a file; jobs, exit, leftovers"
            }
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Profile::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let names: Vec<_> = Profile::ALL.iter().map(|p| p.name()).collect();
            format!("{text:?} is no profile: use {}", names.join(", "))
        })
    }
}
