//! Options from the environment: `SHUTDOWN_CHECK_TRIALS=5` is `--trials 5`.
//!
//! The variables are parsed into [`RunArgs`] of their own rather than by clap's `env`, which would
//! put them on the same level as the command line: `--trials 5` would conflict with a
//! `SHUTDOWN_CHECK_BUDGET` that it should simply outweigh. Tests can hand them over, too.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use super::args::RunArgs;
use super::error::UsageError;
use super::refusal::without_secrets;
use super::values::near;

/// What the harness's own variables begin with.
const PREFIX: &str = "SHUTDOWN_CHECK_";

/// The options that the variables stand for; those without the prefix are left alone, and empty
/// ones count as not set.
pub fn options(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<RunArgs, UsageError> {
    let command = RunArgs::augment_args(Command::new("environment").no_binary_name(true));
    let known: BTreeMap<String, &Arg> = command
        .get_arguments()
        .filter_map(|arg| Some((setting_of(arg.get_long()?), arg)))
        .collect();
    let mut all = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        let Some(setting) = name.strip_prefix(PREFIX) else { continue };
        if value.is_empty() {
            continue;
        }
        let Some(arg) = known.get(setting) else {
            // Without the prefix, which would make every name look much like every other.
            let near = near(setting, known.keys().map(String::as_str));
            let advice = match near {
                Some(near) => format!("did you mean {PREFIX}{near}?"),
                None => "see `shutdown-check --help`: --trials is SHUTDOWN_CHECK_TRIALS".into(),
            };
            return Err(UsageError::UnknownVariable { advice, variable: name });
        };
        let unusable = |reason| UsageError::Variable { variable: name.clone(), reason };
        let Some(word) = word(arg, value).map_err(unusable)? else { continue };
        // Alone first, so that the message can name the variable.
        parse(&command, [word.clone()]).map_err(unusable)?;
        all.push(word);
    }
    parse(&command, all)
        .map_err(|reason| UsageError::Variable { variable: format!("{PREFIX}*"), reason })
}

fn setting_of(option: &str) -> String {
    option.to_ascii_uppercase().replace('-', "_")
}

/// The word of a command line that says the same; `None` for a flag that is switched off.
fn word(arg: &Arg, value: OsString) -> Result<Option<OsString>, String> {
    let mut word = OsString::from(format!("--{}", arg.get_long().unwrap_or_default()));
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        word.push("=");
        word.push(value);
        return Ok(Some(word));
    }
    match value.to_str() {
        Some("1" | "true" | "yes" | "on") => Ok(Some(word)),
        Some("0" | "false" | "no" | "off") => Ok(None),
        _ => Err("it is a switch: use 1 or 0".into()),
    }
}

fn parse(command: &Command, words: impl IntoIterator<Item = OsString>) -> Result<RunArgs, String> {
    let matches = command.clone().try_get_matches_from(words);
    matches.and_then(|matches| RunArgs::from_arg_matches(&matches)).map_err(|error| {
        let text = without_secrets(error).to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })
}
