//! The command line: what the user asked for, the settings that follow from it, and a file a
//! command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

pub mod args;
pub mod bundled;
mod ci;
pub mod config;
mod desk;
pub mod environment;
pub mod error;
pub mod failure;
mod format;
pub mod guardian;
pub mod interruption;
pub mod judge;
mod misspelt;
pub mod progress;
pub mod publish;
pub mod render;
pub mod run;
mod running;
pub mod schedule;
pub mod settings;
pub mod show;
pub mod store;
mod values;

use crate::target::keeper::{Keeping, keep};

use args::{Cli, KeeperArgs, RunArgs, Subcommands};
use error::UsageError;
use failure::Failure;
use settings::Settings;

/// The whole program: from the command line to the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    match command(cli) {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Ends the program, since its words can't be understood: options of a misspelt command would be
/// called unknown options of the target.
fn refuse(error: &clap::Error) -> ! {
    let first = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let here = std::env::current_dir().unwrap_or_default();
    match first.map_or(Ok(()), |word| misspelt::check(&word, &here)) {
        Err(misspelt) if error.kind() == ErrorKind::UnknownArgument => {
            complain(&Failure::Usage(misspelt));
            std::process::exit(UsageError::EXIT_CODE.into())
        }
        _ => error.exit(),
    }
}

/// Says on standard error what went wrong; a reader that has gone away is no reason for a panic.
fn complain(failure: &Failure) {
    let _ = std::io::stderr().write_all(failure.message().as_bytes());
}

fn command(cli: Cli) -> Result<ExitCode, Failure> {
    let code = match cli.command {
        None => run(&cli.run)?,
        Some(Subcommands::Plan(args)) => show::plan(&resolved(&args)?),
        Some(Subcommands::Judge(args)) => judge::judge(&args)?,
        Some(Subcommands::List(args)) => show::list(&args),
        Some(Subcommands::Explain(args)) => show::explain(args.id),
        Some(Subcommands::Schema(args)) => show::schema(&args),
        Some(Subcommands::Report(args)) => render::report(&args)?,
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

fn run(args: &RunArgs) -> Result<u8, Failure> {
    let settings = resolved(args)?;
    if settings.dry_run {
        return Ok(show::plan(&settings));
    }
    let interrupt = interruption::take_signals()
        .map_err(|error| Failure::Internal(format!("signals can't be taken: {error}")))?;
    run::run(settings, &interrupt)
}

fn resolved(args: &RunArgs) -> Result<Settings, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::Internal(format!("no current directory: {error}")))?;
    Ok(Settings::resolve(args, std::env::vars_os(), &here)?)
}
