//! What the search goes by, and what it did: recorded in the report, so that it can be followed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{Situation, Trial};
use super::signal::Signal;

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
    /// How many requests at most were in process together in a trial: as many as the user wanted
    /// and the target was found to answer; absent in older reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<u16>,
    /// Why each of the others was chosen, by its number.
    pub chosen: BTreeMap<u32, String>,
}

/// Trials of one kind: situation, signal and kind of moment are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Kind {
    /// The situation.
    pub situation: Situation,
    /// Whether no signal comes.
    pub is_control: bool,
    /// The kind of moment ([`Trial::moment`]).
    pub moment: String,
    /// The first signal.
    pub signal: Option<Signal>,
}

impl Kind {
    /// The kind that a trial is of.
    pub fn of(trial: &Trial) -> Self {
        Self {
            situation: trial.situation,
            is_control: trial.is_control(),
            moment: trial.moment(),
            signal: trial.signals.first().map(|planned| planned.signal),
        }
    }

    /// In words.
    pub fn name(&self) -> String {
        let signal = self.signal.map_or("control".into(), |signal| signal.to_string());
        format!("{} ({}, {signal})", self.situation.name(), self.moment)
    }
}

/// The next trial, and why it is this one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The trial.
    pub trial: Trial,
    /// Why it was chosen; nothing in the first round, whose trials are those of the fixed plan.
    pub why: Option<String>,
}

/// What a kind of trial is worth now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Which kind.
    #[serde(flatten)]
    pub kind: Kind,
    /// How many trials of it were begun.
    pub visits: u32,
    /// How many kinds of outcome they have shown.
    pub outcomes: u32,
    /// How many of those no other trial of the situation has shown.
    pub seen_once: u32,
    /// What a trial costs, as a multiple of the cheapest.
    pub cost: f64,
    /// The probability that the next one shows something new, for what it costs; 0 where it has had
    /// its share, or only supports others.
    pub score: f64,
}
