//! What is asked for on the command line.

use std::path::PathBuf;

use super::Outcome;
use super::strategy::Strategy;

/// How much is done, and of what.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Runs of the tool for each cell.
    pub(crate) repetitions: usize,
    /// Trials of a run after which nothing was found.
    pub(crate) trials_max: u32,
    /// Seconds after which a searching run has found nothing.
    pub(crate) seconds_max: u64,
    /// Trials of a script for each cell: a long sequence, that is cut at what it finds.
    pub(crate) script_trials_max: u64,
    /// Detections after which a sequence is long enough.
    pub(crate) detections: u64,
    /// Runs of the tool at the same time.
    pub(crate) side_by_side: usize,
    /// Where the table goes as JSON.
    pub(crate) json: Option<PathBuf>,
    only: Vec<String>,
    strategies: Vec<String>,
}

impl Options {
    /// The defaults, and what differs from them.
    pub(crate) fn from_arguments(words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            repetitions: 30,
            trials_max: 60,
            seconds_max: 90,
            script_trials_max: 1600,
            detections: 30,
            side_by_side: 8,
            json: None,
            only: Vec::new(),
            strategies: Vec::new(),
        };
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            if word == "--short" {
                options.repetitions = 6;
                options.trials_max = 40;
                options.seconds_max = 40;
                options.script_trials_max = 300;
                options.detections = 10;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word}: what?"))?;
            let list = || value.split(',').map(str::to_owned).collect();
            match &*word {
                "--repetitions" => options.repetitions = value.parse()?,
                "--trials" => options.trials_max = value.parse()?,
                "--seconds" => options.seconds_max = value.parse()?,
                "--script-trials" => options.script_trials_max = value.parse()?,
                "--side-by-side" => options.side_by_side = value.parse()?,
                "--json" => options.json = Some(value.into()),
                "--only" => options.only = list(),
                "--strategy" => options.strategies = list(),
                _ => return Err(format!("{word}: there is no such option").into()),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants_server(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    pub(crate) fn wants_strategy(&self, strategy: Strategy) -> bool {
        self.strategies.is_empty() || self.strategies.iter().any(|name| name == strategy.name())
    }
}
