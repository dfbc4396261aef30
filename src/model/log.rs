//! The lines that a target is expected to write at its end, and those that it writes of requests.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledger::{BadPattern, compiled};

/// What is known of the target's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogPatterns {
    /// Regular expressions, each of which a line matches that is written after the signal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_words: Vec<String>,
    /// Regular expressions for the lines that tell of a request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_log: Vec<String>,
    /// Whether these lines go to a file, and not to the output.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_file: bool,
    /// The page that is asked for readiness; `/` where none was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_path: Option<String>,
}

impl LogPatterns {
    /// Whether the user said nothing of the log.
    pub fn is_empty(&self) -> bool {
        self.last_words.is_empty() && self.access_log.is_empty()
    }

    /// Whether it is as where nobody says anything.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The patterns, ready to be matched.
#[derive(Clone, Debug, Default)]
pub struct LogLines {
    /// One for each line that is expected at the end.
    pub last_words: Vec<Regex>,
    /// Those of which any marks the line of a request.
    pub access_log: Vec<Regex>,
}

impl LogLines {
    /// Prepares the patterns.
    ///
    /// # Errors
    /// When one of them is no regular expression.
    pub fn new(patterns: &LogPatterns) -> Result<Self, BadPattern> {
        Ok(Self {
            last_words: compiled(&patterns.last_words)?,
            access_log: compiled(&patterns.access_log)?,
        })
    }

    /// Whether the line is one of those that are told apart.
    pub fn matches(&self, line: &str) -> bool {
        self.is_of_request(line) || self.last_words.iter().any(|pattern| pattern.is_match(line))
    }

    /// Whether the line tells of a request.
    pub fn is_of_request(&self, line: &str) -> bool {
        self.access_log.iter().any(|pattern| pattern.is_match(line))
    }
}
