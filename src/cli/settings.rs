//! What is in force: the command line over the environment over the file over the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::args::{RunArgs, SourceArgs, Subcommands};
use super::config::{self, ConfigFile};
use super::environment;
use super::error::UsageError;
use super::misspelt;
use crate::model::contract::{Contract, ExpectedExit, ExpectedResponse, JobPatterns, SecondSignal};
use crate::model::partition::Partition;
use crate::model::plan::{SignalTo, Situation};
use crate::model::signal::Signal;
use crate::model::stack::Stack;
use crate::model::target::{RequestTemplate, Target, WriteTemplates};
use crate::model::verdict::{Profile, Severity};
use crate::plan::{CROWD_MAX, PlanOptions};

mod address;
mod again;
mod amount;
mod judging;
mod limits;
mod lines;
mod outputs;
mod partition;
mod planned;
mod requests;
mod rules;
mod running;
mod saved;
mod secrets;
mod snapshot;
mod worker;
mod writes;
mod written;

pub use address::Address;
pub use again::Again;
pub use amount::{Amount, Ending};
pub use judging::{ContractChanges, JudgeSettings};
pub use outputs::{Outputs, Verbosity};
pub use rules::Rules;
pub use snapshot::SnapshotSettings;

/// Every setting of a run. Written out, it is what would stand in `shutdown-check.toml`, without
/// secrets and without what only concerns the terminal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The program and its arguments; empty for the bundled reference server.
    #[serde(rename = "target", skip_serializing_if = "Vec::is_empty")]
    #[serde(serialize_with = "written::command")]
    pub command: Vec<String>,
    /// The directory to start it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Whether it is made PID 1 of a namespace of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_pid_1: bool,
    /// Whether a trial as PID 1 counts beside others, since its situation was asked for.
    #[serde(skip)]
    pub pid_1_counts: bool,
    /// The process that runs already, and is tried once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it is built with; found out where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// Variables to set for it.
    #[serde(serialize_with = "written::variables")]
    pub env: BTreeMap<String, String>,
    /// Where it listens.
    #[serde(rename = "url", skip_serializing_if = "Address::is_usual")]
    pub address: Address,
    /// The path that answers with success when it is ready; found out where absent.
    #[serde(rename = "ready-url", skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "written::path")]
    pub ready_path: Option<String>,
    /// A line that it writes when it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_line: Option<String>,
    /// A file that it makes when it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<String>,
    /// How long it may take until it is ready.
    #[serde(serialize_with = "written::duration")]
    pub ready_timeout: Duration,
    /// The requests of the load; found out where empty.
    #[serde(rename = "request", serialize_with = "written::requests")]
    pub requests: Vec<RequestTemplate>,
    /// How something is written that must survive the shutdown, and how it is read back.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "written::writes")]
    pub writes: Option<WriteTemplates>,
    /// Connections in use at the same time.
    pub connections: u16,
    /// How many requests may be in process together: as many as the user said, or many.
    #[serde(skip)]
    pub crowd: u16,
    /// Requests a second; a closed loop where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The signals that the trials take turns with.
    #[serde(rename = "signal")]
    pub signals: Vec<Signal>,
    /// Who gets them; the leader where absent, and of several in a trial in turns the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_to: Option<SignalTo>,
    /// The situations to try.
    #[serde(rename = "situation")]
    pub situations: Vec<Situation>,
    /// The profile, and what departs from it.
    #[serde(flatten)]
    pub rules: Rules,
    /// The target exits within this time of the signal.
    #[serde(serialize_with = "written::duration")]
    pub deadline: Duration,
    /// It takes no new connections after this time.
    #[serde(serialize_with = "written::duration")]
    pub refuse_within: Duration,
    /// It serves new connections until then.
    #[serde(serialize_with = "written::some_duration", skip_serializing_if = "Option::is_none")]
    pub lame_duck: Option<Duration>,
    /// It starts no jobs after this time.
    #[serde(serialize_with = "written::duration")]
    pub jobs_stop_within: Duration,
    /// Files that it takes away before it exits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaves_no: Vec<String>,
    /// Its right ends; empty for the default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect_exit: Vec<ExpectedExit>,
    /// What a second signal means.
    pub second_signal: SecondSignal,
    /// How jobs are told apart.
    #[serde(serialize_with = "written::jobs")]
    pub jobs: JobPatterns,
    /// The request that submits a job.
    #[serde(skip)]
    pub job_submit: Option<RequestTemplate>,
    /// Lines that it writes at its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_words: Vec<String>,
    /// Lines that it writes of requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_log: Vec<String>,
    /// The file that these are written to, where it is not the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_file: Option<String>,
    /// How much is done.
    #[serde(flatten)]
    pub amount: Amount,
    /// Whether the signal is sent at system calls of the target, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deep: bool,
    /// What ends it before.
    #[serde(flatten)]
    pub ending: Ending,
    /// Which slice of the plan is done.
    #[serde(skip)]
    pub partition: Partition,
    /// What the plan is drawn from; the caller draws one where absent.
    #[serde(serialize_with = "written::seed", skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Trials at the same time; where absent, as the machine has processors. Trials that share a
    /// port run one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u16>,
    /// What is done about failures.
    #[serde(flatten)]
    pub again: Again,
    /// What the run is compared with.
    #[serde(skip)]
    pub snapshot: SnapshotSettings,
    /// What is written, and where.
    #[serde(flatten)]
    pub outputs: Outputs,
    /// Whether the plan is printed and nothing done.
    #[serde(skip)]
    pub dry_run: bool,
    /// The configuration file that was read.
    #[serde(skip)]
    pub config_file: Option<PathBuf>,
}

impl Settings {
    /// The settings that follow from the options, the variables and the files in `dir`, which is
    /// what relative paths on the command line are relative to.
    pub fn resolve(
        run: &RunArgs,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        dir: &Path,
    ) -> Result<Self, UsageError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let env = environment::options(variables.iter().cloned())?;
        let (config_file, file) = Layers::read_file(&run.source, &env.source, dir)?;
        let settings = Layers { line: run, env: &env, file: &file, dir, config_file }.settings()?;
        settings.sliced((run, &env), &variables)
    }

    /// How the target is started and found. The caller fills in the bundled reference server
    /// where the command is empty.
    pub fn target(&self) -> Target {
        Target {
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone().into_iter().collect(),
            port: self.address.port,
            socket: self.address.socket.clone(),
            leaves_no: self.leaves_no.clone(),
            host: self.address.host.clone(),
            has_listener: self.has_listener(),
            ready_line: self.ready_line.clone(),
            ready_file: self.ready_file.clone(),
            ready_path: self.ready_path.clone(),
            ready_timeout: self.ready_timeout,
            requests: self.requests.clone(),
            elsewhere: self.elsewhere(),
            writes: self.writes.clone(),
        }
    }

    /// What is expected of the target, once it is known how it answers when it is quiet.
    pub fn contract(&self, requests: Vec<ExpectedResponse>) -> Contract {
        Contract {
            deadline: self.deadline,
            refuse_within: self.refuse_within,
            jobs_stop_within: self.jobs_stop_within,
            lame_duck: self.lame_duck,
            has_readiness: self.ready_path.is_some(),
            has_writes: self.writes.is_some(),
            expect_exit: self.expect_exit.clone(),
            second_signal: self.second_signal,
            requests,
            jobs: self.jobs.clone(),
            log: self.log_patterns(),
            ..Contract::default()
        }
    }

    /// Whether the target listens.
    pub fn has_listener(&self) -> bool {
        self.rules.profile != Profile::Worker
    }

    /// What a violation of each invariant does to the run.
    pub fn severities(&self) -> BTreeMap<&'static str, Severity> {
        self.rules.severities()
    }
}

/// The places that settings come from, the strongest first.
struct Layers<'l> {
    line: &'l RunArgs,
    env: &'l RunArgs,
    file: &'l ConfigFile,
    dir: &'l Path,
    config_file: Option<PathBuf>,
}

/// Trials side by side need an address each.
fn check_sharing(address: &Address, parallel: Option<u16>) -> Result<(), UsageError> {
    if !matches!(parallel, Some(2..)) {
        return Ok(());
    }
    match (address.port, &address.socket) {
        (Some(port), _) => Err(UsageError::SharedPort { port }),
        (_, Some(socket)) if !socket.contains("{port}") => {
            Err(UsageError::SharedSocket { socket: socket.clone() })
        }
        _ => Ok(()),
    }
}

impl Layers<'_> {
    /// The configuration file that the options name, or that lies in `dir`.
    fn read_file(
        line: &SourceArgs,
        env: &SourceArgs,
        dir: &Path,
    ) -> Result<(Option<PathBuf>, ConfigFile), UsageError> {
        let named = [line, env].into_iter().find(|args| args.no_config || args.config.is_some());
        let (path, required) = match named {
            Some(SourceArgs { config: Some(path), .. }) => (dir.join(path), true),
            Some(_) => return Ok((None, ConfigFile::default())),
            None => (dir.join(config::DEFAULT_NAME), false),
        };
        let file = config::read(&path, required)?;
        Ok((file.is_some().then_some(path), file.unwrap_or_default()))
    }

    /// The connections that the user wants.
    fn connections(&self) -> Option<u16> {
        first(self.line.load.connections, self.env.load.connections, self.file.connections)
    }

    fn settings(self) -> Result<Settings, UsageError> {
        let (line, env, file) = (self.line, self.env, self.file);
        let (l, e, pid) = (&line.expect, &env.expect, self.pid());
        let found = address::resolve(&self)?;
        let parallel = first(line.amount.parallel, env.amount.parallel, number(file.parallel));
        check_sharing(&found.address, parallel)?;
        let (deadline, lame_duck) = self.deadline()?;
        let (default, situations) = (PlanOptions::new(0), self.situations());
        let writes = writes::resolve(&self)?;
        let signal_to = first(line.signal.signal_to, env.signal.signal_to, file.signal_to);
        running::check(pid, signal_to, writes.is_some())?;
        let settings = Settings {
            command: self.command()?,
            cwd: self.cwd()?,
            stack: first(line.start.stack, env.start.stack, file.stack),
            env: self.variables(),
            ready_path: found.ready_path,
            ready_line: self.ready_line(),
            ready_file: self.ready_file(),
            ready_timeout: self.ready_timeout(),
            requests: requests::resolve(&self)?,
            address: found.address,
            connections: self.connections().unwrap_or(default.connections),
            crowd: self.connections().unwrap_or(CROWD_MAX),
            rate: first(line.load.rate, env.load.rate, file.rate),
            signals: listed(&line.signal.signal, &env.signal.signal, &file.signal)
                .unwrap_or(default.signals),
            signal_to,
            as_pid_1: line.start.as_pid_1 || env.start.as_pid_1 || file.as_pid_1,
            pid,
            pid_1_counts: situations.iter().flatten().any(|it| *it == Situation::AsPid1),
            situations: situations.unwrap_or_else(|| {
                let usual = writes::situations(default.situations, writes.is_some());
                running::situations(pid, usual)
            }),
            writes,
            rules: Rules::resolve(l, e, file),
            deadline,
            refuse_within: self.refuse_within(),
            lame_duck,
            jobs_stop_within: self.jobs_stop_within(),
            leaves_no: self.leaves_no(),
            expect_exit: listed(&l.expect_exit, &e.expect_exit, &file.expect_exit)
                .unwrap_or_default(),
            second_signal: self.second_signal(),
            jobs: self.jobs()?,
            job_submit: self.job_submit(),
            last_words: self.last_words(),
            access_log: self.access_log(),
            log_file: self.log_file(),
            amount: running::amount(pid, self.amount())?,
            deep: line.amount.deep || env.amount.deep || file.deep,
            ending: self.ending(),
            partition: Partition::WHOLE,
            seed: first(line.amount.seed, env.amount.seed, file.seed),
            parallel,
            again: self.again(),
            snapshot: self.snapshot(),
            outputs: self.outputs(),
            dry_run: line.amount.dry_run || env.amount.dry_run,
            config_file: self.config_file,
        };
        worker::check(&settings)?;
        Ok(settings)
    }

    fn situations(&self) -> Option<Vec<Situation>> {
        let (line, env) = (&self.line.signal.situation, &self.env.signal.situation);
        listed(line, env, &self.file.situation)
    }

    fn pid(&self) -> Option<u32> {
        self.line.start.pid.or(self.env.start.pid)
    }

    fn command(&self) -> Result<Vec<String>, UsageError> {
        Ok(match &self.line.target {
            _ if self.pid().is_some() => Vec::new(),
            // After an option, clap takes the name of a command for a target.
            Some(program) if Subcommands::has_subcommand(program) => {
                return Err(UsageError::CommandAsTarget { name: program.clone() });
            }
            Some(program) => {
                misspelt::check(program, self.dir)?;
                [program].into_iter().chain(&self.line.args).cloned().collect()
            }
            None => self.file.target.clone(),
        })
    }

    fn cwd(&self) -> Result<Option<PathBuf>, UsageError> {
        let asked = self.line.start.cwd.as_ref().or(self.env.start.cwd.as_ref());
        let path = match asked {
            Some(path) => Some(self.dir.join(path)),
            None => self.file.cwd.as_ref().map(|path| self.beside_file(path)),
        };
        // Each trial has its own, which is made when it begins.
        let named = asked.or(self.file.cwd.as_ref());
        if let Some(folder) = named.filter(|path| path.starts_with("{dir}")) {
            return Ok(Some(folder.clone()));
        }
        match path {
            Some(path) if !path.is_dir() => Err(UsageError::NoDirectory { path }),
            path => Ok(path),
        }
    }

    /// The path, relative to the configuration file.
    fn beside_file(&self, path: &Path) -> PathBuf {
        let file_dir = self.config_file.as_deref().and_then(Path::parent);
        file_dir.unwrap_or(self.dir).join(path)
    }

    /// The variables of all layers; the strongest that names one sets it.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.file.env.clone();
        variables.extend(self.env.start.env.iter().cloned());
        variables.extend(self.line.start.env.iter().cloned());
        variables
    }
}

/// The value of the strongest layer that has one.
fn first<T>(line: Option<T>, env: Option<T>, file: Option<T>) -> Option<T> {
    line.or(env).or(file)
}

/// The list of the strongest layer that has one: lists outweigh each other as a whole.
fn listed<T: Clone>(line: &[T], env: &[T], file: &[T]) -> Option<Vec<T>> {
    [line, env, file].into_iter().find(|list| !list.is_empty()).map(<[T]>::to_vec)
}

/// A time of nothing is none.
fn positive(time: Option<Duration>) -> Option<Duration> {
    time.filter(|time| !time.is_zero())
}

fn number(number: Option<NonZeroU16>) -> Option<u16> {
    number.map(NonZeroU16::get)
}
