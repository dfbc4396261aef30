//! What is said of a command line that can't be understood.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::model::secrets::{REDACTED, Secrets, hidden_text};

use super::error::UsageError;
use super::failure::Failure;
use super::{complain, misspelt};

/// Ends the program. Options of a misspelt command would be called unknown options of the target, so
/// that the command is looked at first.
pub(super) fn refuse(error: clap::Error) -> ! {
    let first = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let here = std::env::current_dir().unwrap_or_default();
    match first.map_or(Ok(()), |word| misspelt::check(&word, &here)) {
        Err(misspelt) if error.kind() == ErrorKind::UnknownArgument => {
            complain(&Failure::Usage(misspelt), &Secrets::default());
            std::process::exit(UsageError::EXIT_CODE.into())
        }
        _ => without_secrets(error).exit(),
    }
}

/// The error, in which the value of a header field or a variable is not repeated, nor a password in a
/// URL.
pub(super) fn without_secrets(mut error: clap::Error) -> clap::Error {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = of(ContextKind::InvalidArg).unwrap_or_default();
    let holds_secrets = option.starts_with("--header") || option.starts_with("--env");
    let shown =
        of(ContextKind::InvalidValue).map(|value| match value.split_once([':', '=', ' ']) {
            Some((name, _)) if holds_secrets => format!("{name} {REDACTED}"),
            _ => hidden_text(value),
        });
    if let Some(shown) = shown {
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}
