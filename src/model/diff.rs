//! What has changed from one report to another, and how surely: the answer of `diff`.
//!
//! Fields are added within a major version of the schema, never taken away or given another meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Situation;
use super::run::Tool;
use super::signal::Signal;
use super::verdict::{Severity, VerdictName};

/// The version of the schema.
pub const DIFF_VERSION: &str = "1.0";
/// What chance brings about no more often than this is called a change.
pub const CHANCE: f64 = 0.05;

/// Two reports compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffReport {
    /// The version of the schema; additions only within a major version.
    pub schema_version: String,
    /// The program that compared them.
    pub tool: Tool,
    /// The first report.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// Whether anything became worse, or better.
    pub outcome: DiffOutcome,
    /// 0 where nothing became worse, 1 where something did, 3 where nothing can be compared.
    pub exit_code: u8,
    /// What makes the comparison unfair.
    pub unfair: Vec<Unfair>,
    /// One entry an invariant that either report has.
    pub invariants: Vec<InvariantDiff>,
    /// How the process ended: one entry a kind of end.
    pub exits: Vec<ExitDiff>,
    /// How long it took.
    pub times: Vec<TimeDiff>,
}

/// One of the two reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// The name that the user gave it.
    pub name: String,
    /// Its verdict.
    pub verdict: VerdictName,
    /// The seed of its plan.
    pub seed: u64,
    /// How many trials count.
    pub trials: u32,
    /// When its run began (RFC 3339).
    pub started_at: String,
}

/// What the comparison comes to; the worst that is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiffOutcome {
    /// Something became worse.
    Worse,
    /// Nothing became worse, and something better.
    Better,
    /// Nothing changed that is more than chance.
    Same,
    /// Nothing was shown by both.
    NotComparable,
}

/// What became of something, from the best to the worst.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It became better, and not by chance.
    Better,
    /// It seems better; that could be chance.
    PerhapsBetter,
    /// Nothing.
    Same,
    /// It is otherwise, and not by chance; neither is better.
    Changed,
    /// One of the two does not show it.
    NotComparable,
    /// It seems worse; that could be chance, or it could be the machine.
    PerhapsWorse,
    /// It became worse.
    Worse,
}

/// Something that the two runs did not have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unfair {
    /// What.
    pub what: String,
    /// What it was before.
    pub before: String,
    /// What it was after.
    pub after: String,
}

/// How often, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Often {
    /// How often.
    pub times: u64,
    /// Of how many.
    pub of: u64,
}

/// What became of one invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvariantDiff {
    /// Its id.
    pub id: String,
    /// What a violation does to a run; the second report says.
    pub level: Severity,
    /// What became of it.
    pub change: Change,
    /// Its verdict before; absent where the report does not have it.
    pub verdict_before: Option<VerdictName>,
    /// Its verdict after.
    pub verdict_after: Option<VerdictName>,
    /// Trials that violated it before, of those that say something of it.
    pub trials_before: Often,
    /// The same after.
    pub trials_after: Often,
    /// Single violations before, of the times that it could have failed.
    pub cases_before: Often,
    /// The same after.
    pub cases_after: Often,
    /// The probability of so great a difference by chance, each kind of trial compared with its own,
    /// corrected for the number of comparisons; absent where nothing could be compared.
    pub p: Option<f64>,
    /// What else there is to know.
    pub note: Option<String>,
    /// The kinds of trial that differ in it, and not by chance.
    pub cells: Vec<CellDiff>,
}

/// One kind of trial in which an invariant's violations differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellDiff {
    /// The situation.
    pub situation: Situation,
    /// The kind of moment.
    pub moment: String,
    /// The signal.
    pub signal: Option<Signal>,
    /// Trials that violated it before.
    pub before: Often,
    /// The same after.
    pub after: Often,
    /// The probability by chance, corrected for the number of kinds that were compared.
    pub p: f64,
}

/// How often the process ended in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExitDiff {
    /// Which: `exit 0`, `ended by SIGKILL`, `alive at the deadline`.
    pub end: String,
    /// What became of it.
    pub change: Change,
    /// How many trials before.
    pub before: Often,
    /// The same after.
    pub after: Often,
    /// The probability by chance, corrected.
    pub p: Option<f64>,
}

/// How a time changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeDiff {
    /// Which: `drain`, `refusal` or `exit`, from the signal on.
    pub what: String,
    /// What became of it.
    pub change: Change,
    /// The median before, in milliseconds.
    pub median_before_ms: f64,
    /// The median after, in milliseconds.
    pub median_after_ms: f64,
    /// By how much it is longer: the median of the differences between trials of one kind.
    pub shift_ms: f64,
    /// How many trials had it before.
    pub trials_before: u32,
    /// The same after.
    pub trials_after: u32,
    /// The probability by chance, corrected.
    pub p: f64,
    /// What else there is to know.
    pub note: Option<String>,
}
