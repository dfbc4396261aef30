//! The first line of a saved history: what was tried on what, and what was expected of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::plan::Trial;

/// The version of the format that this program writes; the part before the point changes when
/// older programs can't read it any more.
pub const HISTORY_VERSION: &str = "1.0";

/// What a history says of itself before its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// See [`HISTORY_VERSION`].
    pub history_version: String,
    /// The version of the program that wrote it.
    pub tool_version: String,
    /// The command that was started.
    pub command: Vec<String>,
    /// What was tried.
    pub trial: Trial,
    /// What was expected.
    pub contract: Contract,
}
