//! `shutdown-check.toml`: what a repository says of its server.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::error::UsageError;
use super::values::{JobUrl, PathSpec};
use crate::model::bound::Bound;
use crate::model::contract::{ExpectedExit, SecondSignal};
use crate::model::plan::{SignalTo, Situation};
use crate::model::signal::Signal;
use crate::model::stack::Stack;
use crate::model::verdict::{Profile, Severity};

mod mistake;
mod texts;

/// The name of the file that is read where none is named.
pub const DEFAULT_NAME: &str = "shutdown-check.toml";

/// What the file says; what it leaves out is left to the defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConfigFile {
    /// The program and its arguments; `{port}` becomes the port of a trial.
    #[serde(deserialize_with = "texts::command")]
    #[schemars(with = "OneOrMany<String>")]
    pub target: Vec<String>,
    /// The directory to start it in, relative to this file.
    pub cwd: Option<PathBuf>,
    /// Whether to make it PID 1, as in a container without an init.
    pub as_pid_1: bool,
    /// Whether to send the signal exactly at its system calls, too.
    pub deep: bool,
    /// What it is built with, so that hints name its own calls; found out where absent.
    pub stack: Option<Stack>,
    /// Variables to set for it.
    pub env: BTreeMap<String, String>,
    /// Where it listens; a path in it is asked for.
    pub url: Option<String>,
    /// The port it listens on, if it can't be told another one.
    #[schemars(with = "Option<NonZeroU16>")]
    pub port: Option<Spanned<NonZeroU16>>,
    /// The URL or path that answers with success when it is ready.
    pub ready_url: Option<String>,
    /// A line that it writes when it is ready, as a regular expression; besides its first answer, if
    /// it listens.
    #[serde(deserialize_with = "texts::pattern")]
    #[schemars(with = "Option<String>")]
    pub ready_line: Option<String>,
    /// A file that it makes when it is ready, relative to its directory.
    pub ready_file: Option<String>,
    /// How long it may take until it is ready, such as "10s".
    #[serde(deserialize_with = "texts::positive_duration")]
    #[schemars(with = "Option<String>")]
    pub ready_timeout: Option<Duration>,
    /// The requests of the load; found out where there are none.
    pub request: Vec<RequestEntry>,
    /// How something is written that must be there when the target is started again.
    pub writes: Option<WritesTable>,
    /// Connections in use at the same time.
    #[serde(deserialize_with = "texts::connections")]
    #[schemars(range(min = 1, max = 10_000))]
    pub connections: Option<u16>,
    /// Requests a second, answered or not.
    #[serde(deserialize_with = "texts::rate")]
    pub rate: Option<f64>,
    /// The signals that the trials take turns with, such as "TERM".
    #[serde(deserialize_with = "texts::signals")]
    #[schemars(with = "OneOrMany<String>")]
    pub signal: Vec<Signal>,
    /// Who gets them.
    pub signal_to: Option<SignalTo>,
    /// The situations to try.
    #[serde(deserialize_with = "texts::situations")]
    #[schemars(with = "OneOrMany<Situation>")]
    pub situation: Vec<Situation>,
    /// The rules.
    pub profile: Option<Profile>,
    /// What single violations do, by the invariant's id, instead of what the profile says.
    #[schemars(with = "BTreeMap<String, Severity>")]
    pub levels: BTreeMap<texts::InvariantId, Severity>,
    /// The target exits within this time of the signal, such as "30s".
    #[serde(deserialize_with = "texts::positive_duration")]
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Duration>,
    /// It takes no new connections after this time, such as "500ms".
    #[serde(deserialize_with = "texts::duration")]
    #[schemars(with = "Option<String>")]
    pub refuse_within: Option<Duration>,
    /// How long new connections are still to be served after the signal, such as "5s".
    #[serde(deserialize_with = "texts::duration")]
    #[schemars(with = "Option<String>")]
    pub lame_duck: Option<Duration>,
    /// It starts no jobs after this time, such as "500ms".
    #[serde(deserialize_with = "texts::duration")]
    #[schemars(with = "Option<String>")]
    pub jobs_stop_within: Option<Duration>,
    /// Files that it has removed when it exits, relative to its directory; `{port}` as in target.
    #[serde(deserialize_with = "texts::files")]
    #[schemars(with = "OneOrMany<String>")]
    pub leaves_no: Vec<String>,
    /// Its right ends: a status from 0 to 255, or "signal:TERM".
    #[serde(deserialize_with = "texts::exits")]
    #[schemars(with = "OneOrMany<ExitEntry>")]
    pub expect_exit: Vec<ExpectedExit>,
    /// What a second signal means: the drain goes on, or it ends at once.
    pub second_signal: Option<SecondSignal>,
    /// How jobs are told apart in what it writes.
    pub jobs: JobsTable,
    /// Lines that it writes after the signal: regular expressions.
    #[serde(deserialize_with = "texts::patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub last_words: Vec<String>,
    /// The lines that it writes of requests, one each: regular expressions.
    #[serde(deserialize_with = "texts::patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub access_log: Vec<String>,
    /// The file that these lines are written to, where it is not the output; `{port}` becomes the
    /// port of a trial.
    pub log_file: Option<PathBuf>,
    /// How many trials to do.
    #[schemars(with = "Option<NonZeroU32>")]
    pub trials: Option<Spanned<NonZeroU32>>,
    /// How long to do trials, such as "25s".
    #[serde(deserialize_with = "texts::positive_duration")]
    #[schemars(with = "Option<String>")]
    pub budget: Option<Duration>,
    /// The rate of loss that is to be excluded, such as "1%": until then trials go on, or until a
    /// violation is found.
    #[serde(deserialize_with = "texts::bound")]
    #[schemars(with = "Option<String>")]
    pub until_bound: Option<Bound>,
    /// Whether the first violation that fails the run ends it.
    pub fail_fast: bool,
    /// What the plan is drawn from: a number, or a text such as "0x9f31c2".
    #[serde(deserialize_with = "texts::seed")]
    #[schemars(with = "Option<SeedEntry>")]
    pub seed: Option<u64>,
    /// Trials at the same time.
    pub parallel: Option<NonZeroU16>,
    /// How long the least that fails is looked for when something did, such as "10s".
    #[serde(deserialize_with = "texts::duration")]
    #[schemars(with = "Option<String>")]
    pub shrink_budget: Option<Duration>,
    /// The file of known failures, relative to this file; shutdown-check.regressions.toml beside it
    /// where absent.
    pub regressions: Option<PathBuf>,
    /// The file that has what does not change from run to run, relative to this file: a run that
    /// differs from it fails.
    pub snapshot: Option<PathBuf>,
    /// Where reports and histories are kept, relative to this file.
    pub reports_dir: Option<PathBuf>,
}

/// One kind of request of the load.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestEntry {
    /// Path and query; `{key}` becomes a text that no other request has.
    #[serde(deserialize_with = "texts::path")]
    pub path: String,
    /// The method; GET where absent, or POST with a body.
    #[serde(default, deserialize_with = "texts::method")]
    #[schemars(with = "Option<String>")]
    pub method: Option<String>,
    /// How often it is sent, in proportion to the others.
    #[serde(default = "one")]
    pub weight: NonZeroU32,
    /// Header fields.
    #[serde(default, deserialize_with = "texts::headers")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// The file that has the body, relative to this one.
    #[serde(default)]
    #[schemars(with = "Option<PathBuf>")]
    pub body_file: Option<Spanned<PathBuf>>,
    /// The right status; where absent, the one that a quiet target answers with.
    #[serde(default, deserialize_with = "texts::status")]
    #[schemars(range(min = 100, max = 599))]
    pub expect: Option<u16>,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// How something is written, and how it is read back. `{key}` becomes a key that no other write has,
/// and `{value}` what is written.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WritesTable {
    /// The request that writes; an answer with a status from 200 to 299 acknowledges it.
    pub write: WriteEntry,
    /// The request that reads it back; the answer has the value somewhere in its body.
    pub read: WriteEntry,
}

/// One of the two requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WriteEntry {
    /// Path and query.
    #[serde(deserialize_with = "texts::path")]
    pub path: String,
    /// The method; GET where absent, or POST with a body.
    #[serde(default, deserialize_with = "texts::method")]
    #[schemars(with = "Option<String>")]
    pub method: Option<String>,
    /// Header fields.
    #[serde(default, deserialize_with = "texts::headers")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// The status that acknowledges it, where only that one does.
    #[serde(default, deserialize_with = "texts::status")]
    #[schemars(range(min = 100, max = 599))]
    pub expect: Option<u16>,
}

/// How jobs are told apart: regular expressions, each with a group named `id`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct JobsTable {
    /// Lines that say that a job has started.
    #[serde(deserialize_with = "texts::job_patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub start: Vec<String>,
    /// Lines that say that a job has finished.
    #[serde(deserialize_with = "texts::job_patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub finish: Vec<String>,
    /// Lines that say that a job was handed over to somebody who will finish it.
    #[serde(deserialize_with = "texts::job_patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub handed_over: Vec<String>,
    /// Lines that say that a job which was submitted was refused.
    #[serde(deserialize_with = "texts::job_patterns")]
    #[schemars(with = "OneOrMany<String>")]
    pub refused: Vec<String>,
    /// A file that has such lines, besides the output; `{port}` becomes the port of a trial.
    pub file: Option<PathBuf>,
    /// A page that has such lines: a path of the target's, or the URL of something that outlives it.
    #[serde(deserialize_with = "texts::job_url")]
    #[schemars(with = "Option<String>")]
    pub url: Option<JobUrl>,
    /// The request that submits a job, such as "POST /jobs?id={key}".
    #[serde(deserialize_with = "texts::path_spec")]
    #[schemars(with = "Option<String>")]
    pub submit: Option<PathSpec>,
}

/// For the schema: a value, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// For the schema: an exit status, or the signal that ends the process.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ExitEntry {
    Code(u8),
    Text(String),
}

/// For the schema: a seed, which TOML's integers are too short for.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum SeedEntry {
    Number(u64),
    Text(String),
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> Schema {
    schema_for!(ConfigFile)
}

/// Reads the file at `path`; `None` when there is none and `required` doesn't ask for one.
pub fn read(path: &Path, required: bool) -> Result<Option<ConfigFile>, UsageError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound && !required => Ok(None),
        Err(reason) => Err(UsageError::UnreadableConfig { path: path.to_owned(), reason }),
    }
}

/// Parses the text of the file at `path`, which the messages name.
pub fn parse(text: &str, path: &Path) -> Result<ConfigFile, UsageError> {
    let file: ConfigFile = parse_as(text, path)?;
    match contradiction(&file) {
        Some((span, message)) => Err(refused(text, path, Some(span), message.into())),
        None => Ok(file),
    }
}

/// The same for what another file of the user's has.
pub(super) fn parse_as<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, UsageError> {
    toml::from_str(text)
        .map_err(|error| refused(text, path, error.span(), mistake::explained(error.message())))
}

fn refused(text: &str, path: &Path, span: Option<Range<usize>>, message: String) -> UsageError {
    UsageError::Config {
        path: path.to_owned(),
        line: mistake::line(text, span.clone()),
        message: mistake::placed(message, text, span),
    }
}

/// The settings that a report of a run has, which are written as this file is.
pub fn of_report(settings: &serde_json::Value, path: &Path) -> Result<ConfigFile, UsageError> {
    let text = toml::to_string(settings).map_err(|error| UsageError::Config {
        path: path.to_owned(),
        line: 1,
        message: format!("it has no settings of a run: {error}"),
    })?;
    parse(&text, path)
}

/// Keys that can't stand together.
fn contradiction(file: &ConfigFile) -> Option<(Range<usize>, &'static str)> {
    if let (Some(trials), Some(_)) = (&file.trials, file.budget) {
        return Some((trials.span(), "trials and budget exclude each other: keep one"));
    }
    if let (Some(port), Some(_)) = (&file.port, &file.url) {
        return Some((port.span(), "port and url exclude each other: write the port in the url"));
    }
    file.request.iter().find_map(|request| match (&request.body, &request.body_file) {
        (Some(_), Some(body_file)) => {
            Some((body_file.span(), "body and body-file exclude each other: keep one"))
        }
        _ => None,
    })
}
