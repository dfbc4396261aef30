//! What does not change from run to run over the same server, and how a run compares with it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Situation;
use super::verdict::{Profile, Severity};

/// The version of the snapshot's format.
pub const SNAPSHOT_VERSION: u32 = 1;

/// What a snapshot file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The profile that set the severities.
    pub profile: Profile,
    /// The signals that the trials took turns with.
    pub signals: BTreeSet<String>,
    /// How the process ended after a single signal.
    pub exits: BTreeSet<String>,
    /// The situations of which there was at least one trial that counts.
    pub situations: BTreeSet<Situation>,
    /// By invariant, what a violation does, and what was shown; nothing of what was not shown.
    pub invariants: BTreeMap<String, (Severity, Held)>,
    /// What became of requests, by situation and by who held them at the signal.
    pub requests: BTreeMap<(Situation, String), Fate>,
    /// How long things take, by what is measured.
    pub times: BTreeMap<String, Span>,
}

/// What was shown of an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It held each time it could have failed.
    Satisfied,
    /// It failed at least once.
    Violated,
    /// It failed in each of so many trials that this is no chance.
    AlwaysViolated,
}

/// What became of requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Those that got no whole response.
    pub lost: Share,
    /// Those that were answered otherwise than when the server is quiet, such as with 503.
    pub turned_away: Share,
}

/// How many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Not one.
    #[default]
    None,
    /// At least one.
    Some,
    /// All of so many that this is no chance.
    All,
}

/// From how long to how long something takes, in seconds, both on the scale of
/// [`Span::EDGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lower edge; 0 is none.
    pub from: u32,
    /// The upper edge; none where it is beyond the scale.
    pub to: Option<u32>,
}

impl Span {
    /// Where spans begin and end, in seconds. Below the first nothing is distinguished.
    pub const EDGES: [u32; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
}

/// What came of comparing a run with its snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotReport {
    /// The file.
    pub file: String,
    /// What came of it.
    pub state: SnapshotState,
    /// How many of its entries were compared.
    pub compared: u32,
    /// What differs, the gravest first.
    pub differences: Vec<Difference>,
    /// What could not be compared, or is new, in sentences.
    pub notes: Vec<String>,
    /// What the file should have been, where it is missing and nothing was written.
    pub content: Option<String>,
}

/// What came of comparing a run with its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// Nothing that was compared differs.
    Same,
    /// Something differs, which fails the run.
    Differs,
    /// There is no file, and on a CI server none is written, which fails the run.
    Missing,
    /// There was no file, and now there is one.
    Written,
    /// The differences were accepted.
    Updated,
    /// Nothing was written, since the run came to no verdict.
    NotWritten,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What differs: an invariant's id, or a key of the snapshot.
    pub what: String,
    /// What the file says; absent where it says nothing.
    pub was: Option<String>,
    /// What the run has shown.
    pub is: String,
    /// On what this rests, in words.
    pub because: String,
}

impl SnapshotReport {
    /// Whether it fails a run that is otherwise satisfied.
    pub fn fails(&self) -> bool {
        matches!(self.state, SnapshotState::Differs | SnapshotState::Missing)
    }
}
