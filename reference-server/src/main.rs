//! Runs the reference server: reads the command line and hands over to the library.

use std::process::ExitCode;

use clap::Parser;

/// A demo service that shuts down gracefully on SIGINT or SIGTERM.
///
/// Exit status: 0 when everything in process was completed, 1 when something had to be abandoned
/// at the deadline or the server could not start, 2 when the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "reference-server", version)]
struct CommandLine {
    #[command(flatten)]
    config: reference_server::Config,
}

fn main() -> ExitCode {
    reference_server::run(CommandLine::parse().config)
}
