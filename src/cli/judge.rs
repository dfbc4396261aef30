//! `judge`: the verdicts of recorded histories again, by the same or by other rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::judge::judge as findings;
use crate::model::history::History;
use crate::model::plan::Plan;
use crate::model::run::{RequestReport, RunReport, TargetReport};
use crate::model::stack::Signs;
use crate::model::verdict::Severity;
use crate::report::summary::{RunFacts, TrialSummary, assemble};

use super::args::JudgeArgs;
use super::failure::Failure;
use super::publish::{Publication, environment, tool};
use super::settings::JudgeSettings;
use super::store::{histories_at, read};

/// Judges histories and reports; the exit code.
///
/// # Errors
/// When one can't be read, or the report can't be written.
pub fn judge(args: &JudgeArgs) -> Result<u8, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::Internal(format!("no current directory: {error}")))?;
    let settings = JudgeSettings::resolve(args, std::env::vars_os(), &here)?;
    let publication = Publication::again(&settings.outputs)?;
    let severities = settings.rules.in_order_of_catalogue();
    let mut judged = Judged::default();
    for path in &settings.histories {
        for file in histories_at(path)? {
            judged.add(&settings, &severities, &file)?;
        }
    }
    publication.publish(judged.report(&settings, severities))
}

/// What the histories have shown so far.
#[derive(Default)]
struct Judged {
    summaries: Vec<TrialSummary>,
    plan: Plan,
    target: Option<TargetReport>,
}

impl Judged {
    fn add(
        &mut self,
        settings: &JudgeSettings,
        severities: &[(&'static str, Severity)],
        file: &Path,
    ) -> Result<(), Failure> {
        let mut history = read(file)?;
        if settings.changes != Default::default() {
            history = changed(history, settings, file)?;
        }
        let findings = findings(&history);
        let name = Some(file.display().to_string());
        self.summaries.push(TrialSummary::of(&history, &findings, name, severities));
        let header = history.header();
        self.plan.trials.push(header.trial.clone());
        self.target.get_or_insert_with(|| TargetReport {
            command: header.command.clone(),
            url: None,
            discovered: false,
            parallelism: None,
            stack: Signs::of_command(&header.command).stack(),
            requests: header.contract.requests.iter().map(RequestReport::from).collect(),
        });
        Ok(())
    }

    fn report(
        mut self,
        settings: &JudgeSettings,
        severities: Vec<(&'static str, Severity)>,
    ) -> RunReport {
        self.plan.trials.sort_by_key(|trial| trial.number);
        let target = self.target.unwrap_or_else(|| TargetReport {
            command: Vec::new(),
            url: None,
            discovered: false,
            parallelism: None,
            stack: None,
            requests: Vec::new(),
        });
        let facts = RunFacts {
            tool: tool(),
            profile: settings.rules.profile,
            severities,
            seed: self.plan.seed,
            target,
            plan: self.plan,
            search: None,
            until_bound: None,
            configuration: serde_json::to_value(&settings.rules).unwrap_or_default(),
            environment: environment(),
            started_at: jiff::Timestamp::now().to_string(),
            duration_ms: 0.0,
            interrupted: None,
            retries: 0,
            deep: None,
            chosen: BTreeSet::new(),
            unreachable: BTreeMap::new(),
            partition: Default::default(),
            merged: None,
            histories: None,
        };
        assemble(facts, &self.summaries)
    }
}

fn changed(history: History, settings: &JudgeSettings, file: &Path) -> Result<History, Failure> {
    let (mut header, events) = history.into_parts();
    header.contract = settings.changes.apply(header.contract);
    History::new(header, events)
        .map_err(|reason| super::store::StoreError::Read { path: file.to_owned(), reason }.into())
}
