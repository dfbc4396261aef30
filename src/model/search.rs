//! What the search goes by, and what it did: recorded in the report, so that it can be followed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one trial has shown, as the search took it: before anything was compared with controls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Shown {
    /// The kind of outcome: trials that show the same, as far as anybody would care, have the same.
    pub outcome: String,
    /// Whether it counts for nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// Whether it violates an invariant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub violated: bool,
    /// Whether it violates a denied one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
    /// Whether requests got no whole response.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// How long it took, from its launch on, in milliseconds.
    #[serde(default)]
    pub took_ms: u32,
}

/// Which trials followed the first round, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchReport {
    /// How many trials were those of the fixed plan.
    pub first_round: u32,
    /// Why each of the others was chosen, by its number.
    pub chosen: BTreeMap<u32, String>,
}
