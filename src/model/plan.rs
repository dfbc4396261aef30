//! What will be done: a plan is drawn before anything is started, printed, compared, run again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signal::Signal;
use super::time::duration_ms;

/// Every trial of a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The seed that all else follows from.
    pub seed: u64,
    /// The trials, in the order in which they start.
    pub trials: Vec<Trial>,
}

/// One start of the target, one situation, and when which signal goes to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Its number, from 1.
    pub number: u32,
    /// The seed of everything that the trial draws (which client asks for what, and when).
    pub seed: u64,
    /// What the world looks like when the signal comes.
    pub situation: Situation,
    /// How much is asked of the target meanwhile.
    pub load: LoadShape,
    /// The signals, in order.
    pub signals: Vec<PlannedSignal>,
}

/// What the world looks like when the signal comes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Situation {
    /// Load from many clients, on kept and on fresh connections.
    Load,
}

impl Situation {
    /// Every situation, in the order in which they are listed to users.
    pub const ALL: [Situation; 1] = [Situation::Load];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Situation::Load => "load",
        }
    }

    /// What it is, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Situation::Load => {
                "open- or closed-loop load from many clients, on kept and on fresh connections"
            }
        }
    }
}

/// The shape of a load: the same worker loop carries out all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadShape {
    /// How many connections are in use at the same time.
    pub connections: u16,
    /// When the next request is sent.
    pub arrivals: Arrivals,
    /// Of a hundred connections, how many are kept for the next request.
    pub keep_alive_percent: u8,
    /// How many pooled clients ask beside the raw ones.
    pub pooled_clients: u16,
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "loop", rename_all = "kebab-case")]
pub enum Arrivals {
    /// Each client asks again when it has its answer, after a pause.
    Closed {
        /// The pause, in milliseconds.
        #[serde(rename = "pause_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        pause: Duration,
    },
    /// Requests come at a rate, whether or not earlier ones are answered.
    Open {
        /// Requests a second.
        per_second: f64,
    },
}

/// One signal of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedSignal {
    /// Which one.
    pub signal: Signal,
    /// Who gets it.
    pub to: SignalTo,
    /// When.
    pub moment: Moment,
}

/// Who gets the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignalTo {
    /// The process that was started, while it lives; else the owner of the listening socket.
    #[default]
    Leader,
    /// The process that owns the listening socket.
    Listener,
    /// Every process of the target's process group.
    Group,
}

/// Where in time a signal goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Moment {
    /// Anywhere in the load window.
    Uniform {
        /// Milliseconds after the load began.
        #[serde(rename = "after_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        after: Duration,
    },
}

impl Moment {
    /// Its kind's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Uniform { .. } => "uniform",
        }
    }
}
