//! What a run has to say: the report that other programs read.
//!
//! Fields are added within a major version of the schema, never taken away or given another
//! meaning. What is absent is `null`, never 0.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bound::BoundReport;
use super::contract::ExpectedResponse;
use super::event::Event;
use super::partition::Partition;
use super::plan::{Plan, Situation};
use super::reproduction::{Replayed, Reproduction};
use super::search::{SearchReport, Shown};
use super::signal::Signal;
use super::snapshot::SnapshotReport;
use super::stack::StackReport;
use super::verdict::{Profile, Severity, VerdictName};

/// The version of the report's schema.
pub const SCHEMA_VERSION: &str = "1.0";

/// The report of one run of shutdown-check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// The version of the schema; additions only within a major version.
    pub schema_version: String,
    /// The program that wrote the report.
    pub tool: Tool,
    /// The worst verdict over the denied invariants.
    pub verdict: VerdictName,
    /// The exit code that follows from the verdict: 0, 1 or 3; 130 or 143 when interrupted; 1 also
    /// where all is satisfied and the snapshot differs. Of a slice of a plan it is 0 unless it shows a
    /// violation, or the snapshot differs: only all of them have a verdict.
    pub exit_code: u8,
    /// Whether the run was stopped before its plan or budget was done, and by which signal.
    pub interrupted: Option<Signal>,
    /// Starts of the target that did not come as far as the signal, and were tried again.
    #[serde(default)]
    pub retries: u32,
    /// Which slice of a plan was carried out (`--partition`); absent where that was all of it.
    #[serde(default)]
    pub partition: Option<Partition>,
    /// The slices that it was put together from (`merge`); absent where it was not.
    #[serde(default)]
    pub merged: Option<MergedReport>,
    /// The profile that set the severities.
    pub profile: Profile,
    /// The seed of the plan.
    pub seed: u64,
    /// How the phases of requests are known.
    pub levels: Levels,
    /// What was tested.
    pub target: TargetReport,
    /// What to know before the failures are read: that the server's graceful signal is another.
    #[serde(default)]
    pub notes: Vec<String>,
    /// One entry an invariant, in the order of the catalogue.
    pub invariants: Vec<InvariantReport>,
    /// What would be otherwise if the target were PID 1, as in a container without an init; absent
    /// where that was not tried beside the others.
    #[serde(default)]
    pub pid_1: Option<PidOneReport>,
    /// What was tried at system calls; absent where that was not asked for.
    #[serde(default)]
    pub deep: Option<DeepReport>,
    /// What became of the rate of loss that was to be excluded; absent where none was named.
    #[serde(default)]
    pub bound: Option<BoundReport>,
    /// The first violated invariants that fail the run, each with the least that still shows it; none
    /// where nothing was looked at again.
    #[serde(default)]
    pub reproductions: Vec<Reproduction>,
    /// What became of the failures in the regressions file, which were tried first.
    #[serde(default)]
    pub replayed: Vec<Replayed>,
    /// How the run compares with a snapshot; absent where none was asked for.
    #[serde(default)]
    pub snapshot: Option<SnapshotReport>,
    /// What was tried how often.
    pub coverage: Vec<CoverageCell>,
    /// One entry a trial, in the order of the plan.
    pub trials: Vec<TrialReport>,
    /// Figures over all trials.
    pub timings: Timings,
    /// What pooled clients (`reqwest`) saw; it accuses nobody, since it has no single steps.
    pub pooled_clients: PooledClients,
    /// How requests ended, by their phase at the signal: phase, then outcome, then count.
    pub outcomes: BTreeMap<String, BTreeMap<String, u64>>,
    /// The plan that was carried out.
    pub plan: Plan,
    /// What followed the first round; absent where the plan was fixed.
    #[serde(default)]
    pub search: Option<SearchReport>,
    /// The settings that were in force, as they would stand in shutdown-check.toml.
    pub configuration: serde_json::Value,
    /// The machine.
    pub environment: Environment,
    /// The folder of the histories, from which their names count; absent where they have their own
    /// paths.
    #[serde(default)]
    pub histories: Option<String>,
    /// When the run began (RFC 3339); where it was put together, the first of its slices.
    pub started_at: String,
    /// How long it took, in milliseconds; where it was put together, the longest of its slices.
    pub duration_ms: f64,
}

/// A report that was put together from slices of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MergedReport {
    /// How many slices the plan was divided into.
    pub count: u32,
    /// Those that are here, in their order.
    pub slices: Vec<SliceReport>,
    /// The numbers of those that are not, and would have had something to do.
    pub missing: Vec<u32>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceReport {
    /// Its number, from 1.
    pub index: u32,
    /// How many trials it had.
    pub trials: u32,
    /// How many of a fixed plan it left out, though the target gave occasion for them.
    #[serde(default)]
    pub left_out: u32,
    /// The verdict by itself.
    pub verdict: VerdictName,
    /// Whether it was stopped before its end, and by which signal.
    pub interrupted: Option<Signal>,
    /// The machine.
    pub environment: Environment,
    /// When it began (RFC 3339).
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How the phases of requests are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Levels {
    /// From the kernel's view of the server's sockets.
    Kernel,
    /// From time, with a margin.
    Inferred,
}

/// What was tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    /// The command.
    pub command: Vec<String>,
    /// The address of a trial's server.
    pub url: Option<String>,
    /// Whether the port was found by looking at the process tree, rather than handed over.
    pub discovered: bool,
    /// How many requests it works on at the same time, where that is fewer than were asked for;
    /// the load is then kept to that many.
    #[serde(default)]
    pub parallelism: Option<u16>,
    /// What it is built with, which hints are for; absent where nothing told.
    #[serde(default)]
    pub stack: Option<StackReport>,
    /// The requests that were sent, as people name them.
    pub requests: Vec<RequestReport>,
}

/// One kind of request of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestReport {
    /// Method and path.
    pub name: String,
    /// The status code when nothing is wrong.
    pub status: u16,
    /// The length of the body, where it is the same each time.
    pub body_bytes: Option<u64>,
    /// How long it takes on a quiet target, in milliseconds.
    pub usual_ms: f64,
}

impl Eq for RequestReport {}

impl From<&ExpectedResponse> for RequestReport {
    fn from(expected: &ExpectedResponse) -> Self {
        Self {
            name: expected.name.clone(),
            status: expected.status,
            body_bytes: expected.body.map(|body| body.length),
            usual_ms: expected.usual.as_secs_f64() * 1e3,
        }
    }
}

/// What all trials show of one invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InvariantReport {
    /// Its id.
    pub id: String,
    /// What a violation does to the run.
    pub level: Severity,
    /// The verdict over all trials.
    pub verdict: VerdictName,
    /// Trials that said something about it.
    pub trials: u32,
    /// Trials that violated it.
    pub trials_violated: u32,
    /// How many times it could have failed.
    pub exercised: u64,
    /// How many times it failed.
    pub violations: u64,
    /// The rate of failure that the run excludes with 95 % confidence.
    pub rate_upper_bound_95: Option<f64>,
    /// The rate of failure that is exceeded with 97.5 % confidence; absent where nothing failed.
    pub rate_lower_bound_95: Option<f64>,
    /// The signal of which these rates are, where the run had several: the worst.
    #[serde(default)]
    pub rate_signal: Option<Signal>,
    /// The situation and moment of which these rates are, where it failed and a search chose the
    /// trials: the worst. Those that fail are chosen more or less often than others, so that a rate
    /// over all of them would be the search's.
    #[serde(default)]
    pub rate_cell: Option<RateCell>,
    /// Why it is inconclusive or not applicable.
    pub reason: Option<String>,
    /// The command that runs a trial again which violates it: the least that was seen again, else the
    /// smallest of the run; absent where nothing failed, or no history was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// The first violations, each with the events that show it.
    pub evidence: Vec<Evidence>,
}

/// The trials that a rate is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RateCell {
    /// Their situation.
    pub situation: Situation,
    /// Their kind of moment.
    pub moment: String,
    /// How often it failed there; 0 in older reports.
    #[serde(default)]
    pub failed: u64,
    /// How often it could have.
    #[serde(default)]
    pub exercised: u64,
}

/// What would be otherwise if the target were PID 1 (pid_namespaces(7)): such trials count for no
/// invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PidOneReport {
    /// How many trials there were.
    pub trials: u32,
    /// The invariants that they violate and the others don't, the gravest first.
    pub changes: Vec<PidOneChange>,
}

/// What was tried at boundaries of the target's system calls (`--deep`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeepReport {
    /// The points, in the order in which they are tried.
    pub points: Vec<String>,
    /// How many of them were tried.
    pub tried: u32,
    /// Why there is none, where there is none.
    pub lacking: Option<String>,
}

/// An invariant that the target violates only as PID 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PidOneChange {
    /// Its id.
    pub invariant: String,
    /// What a violation does to a run.
    pub level: Severity,
    /// The verdict over the other trials.
    pub otherwise: VerdictName,
    /// How many of the trials as PID 1 violated it.
    pub trials_violated: u32,
    /// One of them.
    pub trial: u32,
    /// What happened there, in one sentence.
    pub message: String,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The trial that shows it.
    pub trial: u32,
    /// What happened, in one sentence.
    pub message: String,
    /// The events that show it, as they stand in the trial's history.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub events: Vec<Event>,
}

/// One kind of trial, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageCell {
    /// The situation.
    pub situation: Situation,
    /// The kind of moment.
    pub moment: String,
    /// The signal; absent in controls, which show what is lost without one.
    pub signal: Option<Signal>,
    /// How many trials in which the situation was there.
    pub trials: u32,
    /// How many trials in which it could not be reached, or the harness was too late: they count
    /// for nothing.
    #[serde(default)]
    pub missed: u32,
    /// Why it could not be reached.
    #[serde(default)]
    pub reason: Option<String>,
    /// Requests that were on their way at the signal; in controls, all of them.
    #[serde(default)]
    pub requests: u64,
    /// Those of them that got no whole response.
    #[serde(default)]
    pub lost: u64,
    /// Violations by invariant, those that had any.
    pub violations: BTreeMap<String, u64>,
    /// How many kinds of outcome its trials have shown.
    #[serde(default)]
    pub outcomes: u32,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialReport {
    /// Its number.
    pub number: u32,
    /// Its seed.
    pub seed: u64,
    /// The situation.
    pub situation: Situation,
    /// The kind of moment.
    pub moment: String,
    /// Whether it had no signal, to show what is lost without one.
    #[serde(default)]
    pub control: bool,
    /// Whether the target was PID 1 of a namespace of its own.
    #[serde(default)]
    pub as_pid_1: bool,
    /// Whether it only shows what would be otherwise, and counts for no invariant.
    #[serde(default)]
    pub aside: bool,
    /// Why the trial counts for nothing, where it does: the situation could not be reached, or the
    /// harness itself was too late.
    #[serde(default)]
    pub missed: Option<String>,
    /// The signals, in order.
    pub signals: Vec<SignalReport>,
    /// The worst verdict over the denied invariants.
    pub verdict: VerdictName,
    /// The invariants that it violated, of whatever severity.
    pub violated: Vec<String>,
    /// How the followed process ended; absent when the harness had to kill it.
    pub exit: Option<ExitReport>,
    /// From spawn to ready, in milliseconds.
    pub ready_ms: Option<f64>,
    /// From the signal to the first refused connection, in milliseconds.
    pub refused_after_ms: Option<f64>,
    /// From the signal until the kernel had no listener any more, in milliseconds.
    #[serde(default)]
    pub listener_closed_after_ms: Option<f64>,
    /// From the signal until nothing waited in the accept queue, in milliseconds.
    #[serde(default)]
    pub queue_emptied_after_ms: Option<f64>,
    /// From the signal to the last response of a request in process, in milliseconds.
    pub drain_ms: Option<f64>,
    /// From its second start, after the exit, until it was ready again, in milliseconds.
    #[serde(default)]
    pub restarted_after_ms: Option<f64>,
    /// Writes of a declared kind that were acknowledged.
    #[serde(default)]
    pub writes_acknowledged: u32,
    /// Requests that its clients made, pooled clients left out.
    #[serde(default)]
    pub requests: u32,
    /// How its requests ended, by their phase at the signal: phase, then outcome, then count. What the
    /// harness itself cut is left out.
    #[serde(default)]
    pub outcomes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Requests that could not be ordered against the signal.
    pub ambiguous: u32,
    /// How much later than expected the landmark was passed that the signal was aimed at, in
    /// microseconds; earlier where negative, absent where it was aimed at none, or none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landmark_error_us: Option<f64>,
    /// How late the harness itself was at its worst, in milliseconds.
    pub harness_lag_ms: f64,
    /// How long it took to hold the target still, in milliseconds.
    #[serde(default)]
    pub held_within_ms: Option<f64>,
    /// What it has shown, as the search takes it.
    #[serde(default)]
    pub shown: Shown,
    /// Where its history is, relative to the report; absent when it was not kept.
    pub history: Option<String>,
}

/// One signal of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalReport {
    /// Which one.
    pub signal: Signal,
    /// The process it went to.
    pub pid: u32,
    /// When, in milliseconds since the trial began.
    pub at_ms: f64,
    /// How far that is from the plan, in microseconds.
    pub error_us: f64,
    /// How long sending it took, in microseconds.
    pub bracket_us: f64,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExitReport {
    /// The status it exited with.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// From the signal to the exit, in milliseconds; absent when it came before the signal.
    pub after_ms: Option<f64>,
}

/// Figures over all trials; absent where no trial has one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// From spawn to ready, in milliseconds.
    pub ready_ms: Option<Distribution>,
    /// From the signal to the last response of a request in process, in milliseconds.
    pub drain_ms: Option<Distribution>,
    /// From the signal to the exit, in milliseconds.
    pub exit_ms: Option<Distribution>,
    /// From the signal to the first refused connection, in milliseconds, where new connections were
    /// tried all the time.
    pub refused_after_ms: Option<Distribution>,
    /// From the signal until the kernel had no listener any more, in milliseconds, of targets that
    /// were not held still.
    #[serde(default)]
    pub listener_closed_after_ms: Option<Distribution>,
    /// From the signal until nothing waited in the accept queue, in milliseconds, of targets that
    /// were not held still.
    #[serde(default)]
    pub queue_emptied_after_ms: Option<Distribution>,
    /// How long it took to hold a target still, in milliseconds.
    #[serde(default)]
    pub held_within_ms: Option<Distribution>,
    /// How far the signals were from their plan, in microseconds.
    pub signal_error_us: Option<Distribution>,
    /// How late the harness itself was in each trial at its worst, in milliseconds.
    pub harness_lag_ms: Option<Distribution>,
}

/// A few figures of a distribution; each is a value that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// The smallest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// What pooled clients saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PooledClients {
    /// Requests that were made.
    pub requests: u64,
    /// Requests begun before the signal that got no answer, or another than expected.
    pub failed_before_signal: u64,
    /// The same for requests begun after the signal, connections refused among them.
    pub failed_after_signal: u64,
    /// The errors as the client words them, with how often each came.
    pub errors: BTreeMap<String, u64>,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// The operating system.
    pub os: String,
    /// Its kernel's release.
    pub kernel: Option<String>,
    /// The processor architecture.
    pub architecture: String,
    /// How many processors the harness may use.
    pub processors: Option<u32>,
}

impl SliceReport {
    /// Whether it was stopped before its end.
    pub fn is_incomplete(&self) -> bool {
        self.interrupted.is_some() || self.left_out > 0
    }
}

impl MergedReport {
    /// Whether a slice, or a trial of one, is not there.
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty() || self.slices.iter().any(SliceReport::is_incomplete)
    }
}
