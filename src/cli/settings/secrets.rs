//! What of the settings is a secret.

use super::Settings;
use crate::model::secrets::Secrets;
use crate::model::target::Target;
use crate::target::tree::words;

impl Settings {
    /// What is in none of the records of a run, nor in a message.
    pub fn secrets(&self) -> Secrets {
        let command = self.pid.map_or_else(|| self.command.clone(), words);
        Secrets::of(&Target { command, ..self.target() })
    }
}
