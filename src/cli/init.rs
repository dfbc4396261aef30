//! `init`: starts the target once, and writes a commented shutdown-check.toml from what it showed.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::invariants;
use crate::model::job_guess::guess;
use crate::model::signal::Signal;
use crate::report::hints::hint;
use crate::sys::keep_exit_statuses;
use crate::target::tree::adopt_orphans;
use crate::trial::error::TrialError;
use crate::trial::interrupt::Interrupt;
use crate::trial::subject::Subject;
use crate::trial::survey::{self, survey};

use super::args::init::InitArgs;
use super::config;
use super::error::UsageError;
use super::failure::{Failure, internal};
use super::guardian::Guardian;
use super::publish::print;
use super::settings::Settings;

mod text;

use text::Known;

/// Pages that servers usually have, or those for demonstration and test, besides those that the user names.
const PAGES: [&str; 11] = [
    "/",
    "/health",
    "/healthz",
    "/readyz",
    "/ready",
    "/health/ready",
    "/actuator/health/readiness",
    "/live",
    "/metrics",
    "/sleep?ms=900",
    "/delay/1",
];
/// Those that say whether it is ready, the most telling first.
const READINESS: [&str; 4] = ["/readyz", "/ready", "/health/ready", "/actuator/health/readiness"];

/// A page that takes so long is met in process often.
const SLOW: Duration = Duration::from_millis(100);

/// Writes the file, or prints it; the exit code.
///
/// # Errors
/// When the target can't be started, or the file can't be written, or is there already.
pub fn init(args: &InitArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let run = args.run();
    let here = super::here()?;
    let settings = Settings::resolve(&run, std::env::vars_os(), &here)?;
    if settings.command.is_empty() {
        return Err(UsageError::NothingToInit.into());
    }
    let path = here.join(args.output.clone().unwrap_or_else(|| config::DEFAULT_NAME.into()));
    let is_printed = args.dry_run || args.output.as_deref() == Some(Path::new("-"));
    if !is_printed && !args.force && path.exists() {
        return Err(UsageError::ConfigExists { path }.into());
    }
    let subject = subject(&settings)?;
    let paths = paths(args);
    let signal = settings.signals.first().copied().unwrap_or(Signal::TERM);
    let seen = survey(&subject, &paths, signal, interrupt)
        .map_err(|error| interrupt.asked().map_or(Failure::from(error), Failure::Interrupted))?;
    let known = Known {
        settings: &settings,
        here: &here,
        named: args.path.iter().map(|it| &*it.path).collect(),
        jobs: guess(&seen.lines),
        seen: &seen,
        signal,
    };
    let text = text::file(&known);
    // What is written must be read again: whatever is not is a defect here, and not the user's.
    config::parse(&text, &path).map_err(|error| Failure::Internal(error.to_string()))?;
    if is_printed {
        print(&text);
        return Ok(0);
    }
    write(&path, &text, args.force)?;
    print(&told(&known, path.strip_prefix(&here).unwrap_or(&path)));
    Ok(0)
}

fn subject(settings: &Settings) -> Result<Subject, Failure> {
    adopt_orphans();
    keep_exit_statuses();
    let run_id = format!("{}-init", std::process::id());
    let guardian = Guardian::start(&run_id).map_err(internal("start the guardian"))?;
    let (target, contract) = (settings.target(), settings.contract(Vec::new()));
    let mut subject =
        Subject::new(target, contract, run_id, Arc::new(guardian)).map_err(TrialError::from)?;
    subject.keeper = Some(std::env::current_exe().map_err(internal("find its own program"))?);
    subject.as_pid_1 = settings.as_pid_1;
    Ok(subject)
}

/// The pages to ask for: those that the user names, then the usual ones.
fn paths(args: &InitArgs) -> Vec<String> {
    let is_get = |method: &Option<String>| method.as_deref().is_none_or(|it| it == "GET");
    let named = args.path.iter().filter(|it| is_get(&it.method)).map(|it| it.path.clone());
    let mut all: Vec<String> = named.collect();
    for usual in PAGES {
        if !all.iter().any(|path| path == usual) {
            all.push(usual.to_owned());
        }
    }
    all
}

fn write(path: &PathBuf, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true);
    // Another one may have come while the target was looked at.
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|reason| UsageError::UnwritableConfig { path: path.clone(), reason }.into())
}

/// What was found, in a few lines, and what to do next.
fn told(known: &Known<'_>, path: &Path) -> String {
    let seen = known.seen;
    let mut lines = vec![format!("wrote {}", path.display())];
    lines.push(format!("  listens   {}", known.listens()));
    if let Some(stack) = known.stack() {
        lines.push(format!("  stack     {} ({})", stack.name.title(), stack.by));
    }
    let answered = seen.pages.iter().filter(|page| (200..300).contains(&page.status));
    let pages: Vec<String> =
        answered.map(|page| format!("{} {}", page.path, text::time(page.took))).collect();
    if !pages.is_empty() {
        lines.push(format!("  answers   {}", pages.join(", ")));
    }
    lines.push(format!("  jobs      {}", known.jobs_seen()));
    lines.push(format!("  {:<9} {}", known.signal.to_string(), known.end()));
    let handled = invariants::find("signal-is-handled");
    if let Some(invariant) = handled.filter(|_| !seen.handles_signal) {
        let advice = hint(invariant, known.stack().map(|stack| stack.name));
        lines.push(crate::report::text::hanging("  fix       ", &advice, 80).trim_end().to_owned());
    }
    let command = match path == Path::new(config::DEFAULT_NAME) {
        true => "shutdown-check".to_owned(),
        false => format!("shutdown-check --config {}", path.display()),
    };
    let is_slow = |page: &survey::Page| page.took >= SLOW;
    let name = match seen.pages.iter().any(is_slow) || seen.pages.is_empty() {
        true => "",
        false => {
            "name a page in it that takes about a second, if the server has one\n      \
             (requests in process are lost there first), "
        }
    };
    lines.push(format!("\nnext: {name}look through the file, and run {command}"));
    lines.join("\n") + "\n"
}
