//! The servers that come with this program, which starts itself in their roles.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::model::target::Target;
use crate::target::own;
use crate::trial::error::TrialError;

use super::failure::Failure;
use super::publish::print;

/// Durations that make a check take seconds; the slides' own are the reference server's defaults.
const SHORT: [&str; 6] =
    ["--background-job", "200ms", "--heavy-job", "700ms", "--stall-timeout", "1s"];

#[derive(Parser)]
#[command(name = "reference-server", args_override_self = true)]
struct ReferenceServer {
    #[command(flatten)]
    config: reference_server::Config,
}

/// The target, or the bundled reference server where the user names none; options without a
/// program before them are the reference server's.
///
/// # Errors
/// When this program's own file can't be found.
pub fn or_reference_server(mut target: Target) -> Result<Target, Failure> {
    let is_bundled = target.command.first().is_none_or(|first| first.starts_with('-'));
    if !is_bundled {
        return Ok(target);
    }
    let program = std::env::current_exe()
        .map_err(|reason| TrialError::Harness { what: "find its own program", reason })?;
    let options = std::mem::take(&mut target.command);
    target.command = vec![program.display().to_string()];
    target.command.extend(own::words());
    target.command.push("reference-server".into());
    target.command.extend(SHORT.map(String::from));
    target.command.extend(options);
    target.ready_path.get_or_insert_with(|| "/readyz".into());
    Ok(target)
}

/// The role of the reference server.
pub fn reference_server(arguments: Vec<OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("reference-server")).chain(arguments);
    reference_server::run(ReferenceServer::parse_from(words).config)
}

/// The role of a defective server.
pub fn fixture(arguments: &[OsString]) -> ExitCode {
    let name = arguments.first().and_then(|name| name.to_str()).unwrap_or_default();
    if name == "rare" {
        let words = arguments[1..].iter().map(|word| word.to_string_lossy().into_owned());
        return fixtures::rare::run(&words.collect::<Vec<_>>());
    }
    if !fixtures::all().iter().any(|fixture| fixture.name == name) {
        let lines = fixtures::all().iter().map(|it| format!("  {:<34} {}\n", it.name, it.defect));
        let list: String = lines.collect();
        print(&format!("shutdown-check fixture NAME, on the port in PORT:\n{list}"));
        return ExitCode::from(2);
    }
    fixtures::run(name)
}
