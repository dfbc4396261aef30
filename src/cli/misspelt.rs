//! A word that was meant as a command of this program, and would be taken for a target.

use std::path::Path;

use clap::{Command, CommandFactory};

use super::args::Cli;
use super::error::UsageError;
use super::values::near;

/// Refuses a target that is no file and no program on the PATH, where a command of this program is
/// spelt much like it.
pub(super) fn check(word: &str, dir: &Path) -> Result<(), UsageError> {
    let cli = Cli::command();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    match near(word, commands.map(Command::get_name)) {
        Some(command) if command != word && !names_a_program(word, dir) => {
            Err(UsageError::Misspelt { word: word.to_owned(), command: command.to_owned() })
        }
        _ => Ok(()),
    }
}

fn names_a_program(word: &str, dir: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    word.contains('/') || dir.join(word).exists() || folders.any(|it| it.join(word).is_file())
}
