//! What a target promises: the limits, the expected answers, and how its jobs are told apart.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::ExitStatus;
use super::log::LogPatterns;
use super::signal::Signal;
use super::time::{duration_ms, optional_duration_ms};

impl Contract {
    /// The time from the signal after which no new connection is taken: after the window in which
    /// they are still to be served.
    pub fn refused_after(&self) -> Duration {
        self.lame_duck.unwrap_or_default() + self.refuse_within
    }
}

/// What is expected of the target. A recorded history can be judged again under another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// The time from the signal within which the target exits.
    #[serde(rename = "deadline_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub deadline: Duration,
    /// The time from the signal after which no new connection is taken.
    #[serde(rename = "refuse_within_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub refuse_within: Duration,
    /// The time from the signal after which no job starts.
    #[serde(rename = "jobs_stop_within_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub jobs_stop_within: Duration,
    /// Where the kernel can't be asked: how long before the signal a request must have been sent
    /// to count as held by the program.
    #[serde(rename = "inference_margin_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub inference_margin: Duration,
    /// How late the harness may have been before a trial of its proves nothing.
    #[serde(rename = "lag_limit_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub lag_limit: Duration,
    /// The time from a signal within which the kernel has ended a process that does not handle it:
    /// what completes later was drained.
    #[serde(rename = "default_action_within_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub default_action_within: Duration,
    /// The time from the signal within which a target with nothing to do exits.
    #[serde(rename = "idle_exit_within_ms", with = "duration_ms", default = "one_second")]
    #[schemars(with = "f64")]
    pub idle_exit_within: Duration,
    /// The time from the signal within which the readiness endpoint fails.
    #[serde(rename = "unready_within_ms", with = "duration_ms", default = "one_second")]
    #[schemars(with = "f64")]
    pub unready_within: Duration,
    /// The time from the signal in which a handler may not yet have run, so that what was begun in
    /// it may look as before.
    #[serde(rename = "reaction_ms", with = "duration_ms", default = "reaction")]
    #[schemars(with = "f64")]
    pub reaction: Duration,
    /// The time from the signal in which new connections are still to be served, because a load
    /// balancer may still send them; absent where they are to be refused at once.
    #[serde(
        rename = "lame_duck_ms",
        with = "optional_duration_ms",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<f64>")]
    pub lame_duck: Option<Duration>,
    /// Whether the user named a readiness endpoint.
    #[serde(default)]
    pub has_readiness: bool,
    /// Whether the user has declared how to write and how to read back.
    #[serde(default)]
    pub has_writes: bool,
    /// How long the target took to exit with nothing open, at its longest; absent where that was
    /// not seen.
    #[serde(
        rename = "usual_exit_ms",
        with = "optional_duration_ms",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<f64>")]
    pub usual_exit: Option<Duration>,
    /// The expected ends of the process; empty for the default (see [`ExpectedExit`]).
    #[serde(default)]
    pub expect_exit: Vec<ExpectedExit>,
    /// What a second signal means to the target.
    #[serde(default)]
    pub second_signal: SecondSignal,
    /// The status that a draining server answers new requests with, when it says so.
    pub draining_status: u16,
    /// What the answers look like when nothing is wrong, by template number.
    pub requests: Vec<ExpectedResponse>,
    /// How jobs are told apart in the output.
    pub jobs: JobPatterns,
    /// What is known of its log.
    #[serde(default, skip_serializing_if = "LogPatterns::is_default")]
    pub log: LogPatterns,
}

/// What a second signal means to a target that drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecondSignal {
    /// No more than the first: the drain goes on.
    #[default]
    Ignore,
    /// That it is to end at once.
    Force,
}

/// The answer to one request as it was before any signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedResponse {
    /// The request as people name it: `GET /sleep?ms=900`.
    pub name: String,
    /// The status code.
    pub status: u16,
    /// The body, where it was the same each time it was asked for.
    #[serde(default)]
    pub body: Option<ExpectedBody>,
    /// How long it took, alone on a quiet target.
    #[serde(rename = "usual_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub usual: Duration,
    /// How long it took until the first byte of the response.
    #[serde(rename = "first_byte_ms", with = "duration_ms", default)]
    #[schemars(with = "f64")]
    pub first_byte: Duration,
}

/// A target with nothing to do has nothing to wait for; and orchestrators ask for readiness every
/// few seconds, so that one that fails later than this is asked too late.
fn one_second() -> Duration {
    Duration::from_secs(1)
}

/// A handler of the signal runs within microseconds; servers that look for their stop flag at
/// intervals take up to 100 ms.
fn reaction() -> Duration {
    Duration::from_millis(250)
}

impl Default for Contract {
    /// The limits where nobody names others.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            refuse_within: Duration::from_millis(500),
            jobs_stop_within: Duration::from_millis(500),
            inference_margin: Duration::from_millis(100),
            lag_limit: Duration::from_millis(500),
            // The kernel ends a process within a few milliseconds of a signal without a handler,
            // and on a busy machine within some tens of them.
            default_action_within: Duration::from_millis(100),
            idle_exit_within: one_second(),
            unready_within: one_second(),
            reaction: reaction(),
            lame_duck: None,
            has_readiness: false,
            has_writes: false,
            usual_exit: None,
            expect_exit: Vec::new(),
            second_signal: SecondSignal::Ignore,
            // What draining servers answer with, when they say so (RFC 9110, section 15.6.4).
            draining_status: 503,
            requests: Vec::new(),
            jobs: JobPatterns::default(),
            log: LogPatterns::default(),
        }
    }
}

/// A body that is the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedBody {
    /// Its length in bytes.
    pub length: u64,
    /// The first eight bytes of its SHA-256.
    #[serde(with = "super::event::hex")]
    #[schemars(with = "String")]
    pub sha256_prefix: u64,
}

/// Regular expressions for the lines that announce jobs, each with a group named `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPatterns {
    /// A line that says that a job has started. A group named `turn` marks a line that says only
    /// that the job is running: when it began is then not known.
    pub start: Vec<String>,
    /// A line that says that a job has finished.
    pub finish: Vec<String>,
    /// A line that says that a job was handed over to somebody who will finish it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed_over: Vec<String>,
    /// A line that says that a job which was submitted was refused, so that there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// A file whose lines tell of jobs, besides the target's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A page whose lines do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The request that submits a job, as people name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submit: Option<String>,
    /// Whether the user named any of it. Defaults that match nothing mean that there are no jobs;
    /// declared patterns that match nothing mean that nothing was shown.
    pub declared: bool,
}

impl JobPatterns {
    /// The lines of the slides and of the reference server.
    ///
    /// The slides' jobs run turn after turn until their context is done. A finished turn
    /// (`[heavy job] Done`) is followed at once by the next, so it shows that the job is running;
    /// `[heavy job] ctx Done` is its end.
    pub fn usual() -> Self {
        Self {
            start: vec![
                r"\bjob id=(?P<id>\S+) started\b".into(),
                r"\[(?P<id>[^\]]*job)\] (?P<turn>Done)\s*$".into(),
            ],
            finish: vec![
                r"\bjob id=(?P<id>\S+) (finished|done|completed?|ended|succeeded|failed)\b".into(),
                r"\[(?P<id>[^\]]*job)\] ctx Done\s*$".into(),
            ],
            ..Self::default()
        }
    }
}

/// One way for the process to end that is all right: `0`, `143` or `signal:TERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ExpectedExit {
    /// It exits with this status.
    Code(i32),
    /// This signal ends it.
    Signal(Signal),
}

impl ExpectedExit {
    /// Whether the process ended this way.
    pub fn matches(self, status: ExitStatus) -> bool {
        match self {
            ExpectedExit::Code(code) => status.code == Some(code),
            ExpectedExit::Signal(signal) => status.signal == Some(signal),
        }
    }
}

impl fmt::Display for ExpectedExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpectedExit::Code(code) => write!(f, "{code}"),
            ExpectedExit::Signal(signal) => write!(f, "signal:{signal}"),
        }
    }
}

impl FromStr for ExpectedExit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("signal:") {
            return name.parse().map(ExpectedExit::Signal).map_err(|e| format!("{e}"));
        }
        match text.parse() {
            Ok(code @ 0..=255) => Ok(ExpectedExit::Code(code)),
            _ => Err(format!("{text:?} is no exit status: use 0 to 255, or signal:TERM")),
        }
    }
}

impl TryFrom<String> for ExpectedExit {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ExpectedExit> for String {
    fn from(exit: ExpectedExit) -> String {
        exit.to_string()
    }
}
