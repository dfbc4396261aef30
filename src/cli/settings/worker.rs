//! What a target says and leaves besides its answers; and what a worker, which answers nothing, needs
//! of that.

use super::{Layers, Settings, first, listed};
use crate::cli::error::UsageError;
use crate::model::verdict::Profile;

/// Whether the settings of a worker are such as a target without a listener can have.
pub(super) fn check(settings: &Settings) -> Result<(), UsageError> {
    if settings.rules.profile != Profile::Worker {
        return Ok(());
    }
    let asked = [
        ("--url and --port", !settings.address.is_usual()),
        ("--ready-url", settings.ready_path.is_some()),
        ("--path", !settings.requests.is_empty()),
        ("--rate", settings.rate.is_some()),
        ("--lame-duck", settings.lame_duck.is_some()),
    ];
    if let Some((option, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
        return Err(UsageError::WorkerIsAsked { option });
    }
    if settings.situations.iter().all(|situation| situation.needs_connections()) {
        return Err(UsageError::WorkerIsAsked { option: "--situation with connections" });
    }
    if settings.ready_line.is_none() && settings.ready_file.is_none() {
        return Err(UsageError::WorkerIsReady);
    }
    Ok(())
}

impl Layers<'_> {
    /// The line by which the target says that it is ready.
    pub(super) fn ready_line(&self) -> Option<String> {
        let [line, env] = [self.line, self.env].map(|args| args.start.ready_line.clone());
        first(line, env, self.file.ready_line.clone())
    }

    /// The file by which it says so.
    pub(super) fn ready_file(&self) -> Option<String> {
        let [line, env] = [self.line, self.env].map(|args| args.start.ready_file.clone());
        first(line, env, self.file.ready_file.clone())
    }

    /// The files that it takes away.
    pub(super) fn leaves_no(&self) -> Vec<String> {
        let [line, env] = [self.line, self.env].map(|args| &args.start.leaves_no[..]);
        listed(line, env, &self.file.leaves_no).unwrap_or_default()
    }
}
