//! The command line: what the user asked for, the settings that follow from it, and a file a
//! command.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod again;
pub mod args;
pub mod bundled;
pub mod child;
mod ci;
pub mod config;
mod deep;
mod desk;
mod diff;
pub mod environment;
pub mod error;
pub mod failure;
mod foresight;
mod format;
pub mod guardian;
pub mod init;
pub mod interruption;
pub mod judge;
mod known;
mod merge;
mod misspelt;
pub mod progress;
pub mod publish;
mod refusal;
mod regressions;
pub mod render;
pub mod replay;
mod reproduce;
pub mod run;
mod running;
pub mod schedule;
pub mod selftest;
pub mod settings;
pub mod show;
pub mod snapshot;
mod stopping;
pub mod store;
mod values;

use crate::model::secrets::Secrets;
use crate::target::keeper::{Keeping, keep};
use crate::trial::interrupt::Interrupt;

use args::{Cli, KeeperArgs, PlanArgs, RunArgs, Subcommands};
use failure::Failure;
use settings::Settings;

/// The whole program: from the command line to the exit code.
pub fn main() -> ExitCode {
    main_of(Cli::try_parse())
}

fn main_of(cli: Result<Cli, clap::Error>) -> ExitCode {
    let cli = cli.unwrap_or_else(|error| refusal::refuse(error));
    match command(cli) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure, &Secrets::default());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Says on standard error what went wrong; a reader that has gone away is no reason for a panic.
fn complain(failure: &Failure, secrets: &Secrets) {
    let _ = std::io::stderr().write_all(secrets.hide(&failure.message()).as_bytes());
}

/// The same in a program that is lent to it ([`crate::target::own`]), which ends with it.
pub fn play(words: Vec<OsString>) -> ! {
    let own = std::iter::once(OsString::from(env!("CARGO_PKG_NAME")));
    let code = main_of(Cli::try_parse_from(own.chain(words)));
    // Of an exit code only `main` could tell the number.
    let is_it = |number: &u8| ExitCode::from(*number) == code;
    std::process::exit((0..=u8::MAX).find(is_it).map_or(1, i32::from))
}

fn command(cli: Cli) -> Result<ExitCode, Failure> {
    let code = match cli.command {
        None => run(&cli.run)?,
        Some(Subcommands::Init(args)) => init::init(&args, &interrupt()?)?,
        Some(Subcommands::Plan(args)) => plan(&args)?,
        Some(Subcommands::Replay(args)) => replay::replay(&args)?,
        Some(Subcommands::Judge(args)) => judge::judge(&args)?,
        Some(Subcommands::Diff(args)) => diff::diff(&args)?,
        Some(Subcommands::Merge(args)) => merge::merge(&args)?,
        Some(Subcommands::List(args)) => show::list(&args),
        Some(Subcommands::Explain(args)) => show::explain(args.what, args.stack),
        Some(Subcommands::Schema(args)) => show::schema(&args),
        Some(Subcommands::Report(args)) => render::report(&args)?,
        Some(Subcommands::Selftest(args)) => selftest::selftest(&args, &interrupt()?)?,
        Some(Subcommands::Completions(args)) => render::completions(args.shell),
        Some(Subcommands::Man) => render::man()?,
        Some(Subcommands::ReferenceServer(args)) => {
            return Ok(bundled::reference_server(args.args));
        }
        Some(Subcommands::Fixture(args)) => return Ok(bundled::fixture(&args.args)),
        Some(Subcommands::Keeper(KeeperArgs { marker, group, as_pid_1, command })) => {
            return Ok(keep(&Keeping { as_pid_1, marker, group, command }));
        }
        Some(Subcommands::Guardian(args)) => return Ok(guardian::guard(&args.run)),
    };
    Ok(ExitCode::from(code))
}

fn plan(args: &PlanArgs) -> Result<u8, Failure> {
    let Some(path) = &args.after else { return Ok(show::plan(&resolved(&args.run)?)) };
    let report = render::read(&render::named(path))?;
    let here = here()?;
    let settings = Settings::of_report(&args.run, std::env::vars_os(), &here, (path, &report))?;
    Ok(show::plan_after(&settings, &report))
}

fn run(args: &RunArgs) -> Result<u8, Failure> {
    let settings = resolved(args)?;
    if settings.dry_run {
        return Ok(show::plan(&settings));
    }
    let secrets = settings.secrets();
    run::run(settings, &interrupt()?).or_else(|failure| {
        complain(&failure, &secrets);
        Ok(failure.exit_code())
    })
}

fn interrupt() -> Result<Interrupt, Failure> {
    interruption::take_signals()
        .map_err(|error| Failure::Internal(format!("signals can't be taken: {error}")))
}

fn resolved(args: &RunArgs) -> Result<Settings, Failure> {
    Ok(Settings::resolve(args, std::env::vars_os(), &here()?)?)
}

fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir()
        .map_err(|error| Failure::Internal(format!("no current directory: {error}")))
}
