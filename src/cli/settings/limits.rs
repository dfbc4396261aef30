//! How long things may take, and what a second signal means.

use std::time::Duration;

use super::{Layers, first, positive};
use crate::cli::error::UsageError;
use crate::model::contract::SecondSignal;

impl Layers<'_> {
    /// When it has exited, and until when new connections are served, which is before that.
    pub(super) fn deadline(&self) -> Result<(Duration, Option<Duration>), UsageError> {
        let (line, env, file) = (&self.line.expect, &self.env.expect, self.file);
        let deadline = first(line.deadline, env.deadline, file.deadline);
        let deadline = deadline.unwrap_or(Duration::from_secs(30));
        let lame_duck = positive(first(line.lame_duck, env.lame_duck, file.lame_duck));
        if let Some(lame_duck) = lame_duck.filter(|lame_duck| *lame_duck >= deadline) {
            let [lame_duck, deadline] = [lame_duck, deadline].map(humantime::format_duration);
            return Err(UsageError::LameDuck { lame_duck, deadline });
        }
        Ok((deadline, lame_duck))
    }

    pub(super) fn refuse_within(&self) -> Duration {
        let (line, env) = (self.line.expect.refuse_within, self.env.expect.refuse_within);
        first(line, env, self.file.refuse_within).unwrap_or(Duration::from_millis(500))
    }

    pub(super) fn jobs_stop_within(&self) -> Duration {
        let (line, env) = (&self.line.expect, &self.env.expect);
        first(line.jobs_stop_within, env.jobs_stop_within, self.file.jobs_stop_within)
            .unwrap_or(Duration::from_millis(500))
    }

    pub(super) fn second_signal(&self) -> SecondSignal {
        let (line, env) = (self.line.expect.second_signal, self.env.expect.second_signal);
        first(line, env, self.file.second_signal).unwrap_or_default()
    }

    pub(super) fn ready_timeout(&self) -> Duration {
        let (line, env) = (self.line.start.ready_timeout, self.env.start.ready_timeout);
        first(line, env, self.file.ready_timeout).unwrap_or(Duration::from_secs(10))
    }
}
