//! The settings of `judge`: the rules, and where the recorded contract is to be departed from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Layers, Outputs, Rules, first, listed, positive};
use crate::cli::args::{JudgeArgs, RunArgs};
use crate::cli::environment;
use crate::cli::error::UsageError;
use crate::model::contract::{Contract, ExpectedExit, JobPatterns, SecondSignal};
use crate::model::log::LogPatterns;
use crate::model::verdict::Severity;

/// Every setting of `judge`.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeSettings {
    /// The histories to judge, or directories of them.
    pub histories: Vec<PathBuf>,
    /// The profile, and what departs from it.
    pub rules: Rules,
    /// What is expected otherwise than the histories say.
    pub changes: ContractChanges,
    /// What is written, and where.
    pub outputs: Outputs,
}

impl JudgeSettings {
    /// The settings that follow from the options, the variables and the files in `dir`.
    pub fn resolve(
        judge: &JudgeArgs,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        dir: &Path,
    ) -> Result<Self, UsageError> {
        let env = environment::options(variables)?;
        let (config_file, file) = Layers::read_file(&judge.source, &env.source, dir)?;
        let line = RunArgs {
            expect: judge.expect.clone(),
            output: judge.output.clone(),
            ..RunArgs::default()
        };
        let layers = Layers { line: &line, env: &env, file: &file, dir, config_file };
        Ok(Self {
            histories: judge.histories.iter().map(|path| dir.join(path)).collect(),
            rules: Rules::resolve(&line.expect, &env.expect, &file),
            changes: layers.contract_changes()?,
            outputs: Outputs::resolve(
                (&line.output, &env.output, dir),
                file.reports_dir.as_ref().map(|dir| layers.beside_file(dir)),
            ),
        })
    }

    /// What a violation of each invariant does to the verdict.
    pub fn severities(&self) -> BTreeMap<&'static str, Severity> {
        self.rules.severities()
    }
}

/// What is expected otherwise than a recorded contract says.
///
/// Only the command line and the environment change a contract: the configuration file may not
/// be the one of the recorded run any more, and without options a history is judged as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContractChanges {
    /// Another deadline.
    pub deadline: Option<Duration>,
    /// Another time until connections are refused.
    pub refuse_within: Option<Duration>,
    /// Another time for which connections are still served.
    pub lame_duck: Option<Duration>,
    /// Another time until no job starts.
    pub jobs_stop_within: Option<Duration>,
    /// Other right ends.
    pub expect_exit: Option<Vec<ExpectedExit>>,
    /// Another meaning of a second signal.
    pub second_signal: Option<SecondSignal>,
    /// Other lines of jobs.
    pub jobs: Option<JobPatterns>,
    /// Other last words.
    pub last_words: Option<Vec<String>>,
    /// Other lines of requests.
    pub access_log: Option<Vec<String>>,
}

impl ContractChanges {
    /// The contract, changed.
    pub fn apply(&self, contract: Contract) -> Contract {
        Contract {
            deadline: self.deadline.unwrap_or(contract.deadline),
            refuse_within: self.refuse_within.unwrap_or(contract.refuse_within),
            lame_duck: self.lame_duck.map_or(contract.lame_duck, |time| positive(Some(time))),
            jobs_stop_within: self.jobs_stop_within.unwrap_or(contract.jobs_stop_within),
            expect_exit: self.expect_exit.clone().unwrap_or(contract.expect_exit),
            second_signal: self.second_signal.unwrap_or(contract.second_signal),
            jobs: self.jobs.clone().unwrap_or(contract.jobs),
            log: LogPatterns {
                last_words: self.last_words.clone().unwrap_or(contract.log.last_words),
                access_log: self.access_log.clone().unwrap_or(contract.log.access_log),
                ..contract.log
            },
            ..contract
        }
    }
}

impl Layers<'_> {
    fn contract_changes(&self) -> Result<ContractChanges, UsageError> {
        let (line, env) = (&self.line.expect, &self.env.expect);
        let file = Default::default();
        let layers = Layers { file: &file, config_file: None, ..*self };
        let jobs = layers.jobs()?;
        let named = |patterns: Vec<String>| (!patterns.is_empty()).then_some(patterns);
        Ok(ContractChanges {
            deadline: first(line.deadline, env.deadline, None),
            refuse_within: first(line.refuse_within, env.refuse_within, None),
            lame_duck: first(line.lame_duck, env.lame_duck, None),
            jobs_stop_within: first(line.jobs_stop_within, env.jobs_stop_within, None),
            expect_exit: listed(&line.expect_exit, &env.expect_exit, &[]),
            second_signal: first(line.second_signal, env.second_signal, None),
            jobs: jobs.declared.then_some(jobs),
            last_words: named(layers.last_words()),
            access_log: named(layers.access_log()),
        })
    }
}
