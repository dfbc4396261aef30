//! The settings of a run that is to be seen again: its report has them, as far as they are no secrets.

use std::path::Path;

use crate::model::run::RunReport;
use crate::model::secrets::REDACTED;

use super::super::args::RunArgs;
use super::super::config::{self, ConfigFile};
use super::super::error::UsageError;
use super::super::failure::Failure;
use super::super::publish::REPORT;
use super::super::settings::Settings;

/// A run that was, whose settings hold again.
pub(super) struct Recorded {
    pub(super) report: RunReport,
    pub(super) command: Vec<String>,
}

/// The settings of a run that was, with what is said now on top. What its report does not keep, since
/// it may be secret, comes from the file of the repository, or has to be said again.
pub(super) fn settings_of(
    recorded: Recorded,
    run: &RunArgs,
    here: &Path,
) -> Result<Settings, Failure> {
    let mut table = recorded.report.configuration;
    let found = match run.source.no_config {
        true => None,
        false => config::read(&here.join(config::DEFAULT_NAME), false)?,
    };
    let found = found.unwrap_or_default();
    let Some(keys) = table.as_object_mut() else {
        return Ok(Settings::resolve(run, std::env::vars_os(), here)?);
    };
    for key in ["pid", "seed", "trials", "budget", "reports-dir", "shrink-budget"] {
        keys.remove(key);
    }
    if run.target.is_some() || recorded.command.is_empty() {
        keys.remove("target");
    } else if !keys.contains_key("target") {
        keys.insert("target".into(), recorded.command.into());
    }
    let is_said = |(key, value): (&String, &serde_json::Value)| {
        let is_kept =
            !value.to_string().contains(REDACTED) && !value.to_string().contains("sha256 ");
        is_kept || key == "env"
    };
    let unsaid: Vec<String> =
        keys.iter().filter(|it| !is_said(*it)).map(|(key, _)| key.clone()).collect();
    for key in unsaid {
        let is_known = match key.as_str() {
            "request" => !run.load.path.is_empty() || !found.request.is_empty(),
            "target" => !found.target.is_empty(),
            "writes" => run.load.write.is_some() || found.writes.is_some(),
            _ => false,
        };
        if !is_known {
            let reason = format!(
                "the report does not keep all of {key}, since it may be secret\n  say it again on \
                 the command line, or in {}",
                config::DEFAULT_NAME
            );
            return Err(UsageError::Replay { what: "the run".into(), reason }.into());
        }
        keys.remove(&key);
    }
    let named = keys.remove("env").and_then(|env| env.as_object().cloned()).unwrap_or_default();
    let given = |name: &String| {
        found.env.contains_key(name) || run.start.env.iter().any(|(key, _)| key == name)
    };
    if let Some(name) = named.keys().find(|name| !given(name)) {
        let reason =
            format!("the report does not keep the variable {name}: give it (--env {name}=…)");
        return Err(UsageError::Replay { what: "the run".into(), reason }.into());
    }
    let mut file: ConfigFile = config::of_report(&table, Path::new(REPORT))?;
    file.env = found.env;
    if file.target.is_empty() {
        file.target = found.target;
    }
    if file.request.is_empty() {
        file.request = found.request;
    }
    file.writes = file.writes.or(found.writes);
    Ok(Settings::of_file(run, std::env::vars_os(), (&file, here))?)
}
