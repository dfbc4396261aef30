//! What will be done: a plan is drawn before anything is started, printed, compared, run again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::moment::{JobLandmark, Landmark, Moment};
use super::signal::Signal;
use super::time::{duration_ms, optional_duration_ms};

/// Connections of each kind that a situation consists of, where they are few: more than one, so that
/// chance has several at once, and few enough for servers that work on few at the same time.
pub const OF_EACH_KIND: u16 = 3;

/// How long after the signal connections ask that ask late, the first of a kind, the second, the third,
/// and so on from the start.
pub const ASKED_LATER: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(200)];

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
    /// The only request that is asked for, by its name; where absent, whichever suits the situation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
    /// How long after the signal a connection asks that asks late, in milliseconds; where absent, each
    /// of a kind asks later than the one before ([`ASKED_LATER`]).
    #[serde(
        default,
        rename = "asks_after_ms",
        skip_serializing_if = "Option::is_none",
        with = "optional_duration_ms"
    )]
    #[schemars(with = "Option<f64>")]
    pub asks_after: Option<Duration>,
    /// How many kinds of connections the situation has, where that depends on the target and was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<u16>,
    /// Where the target is held still while the situation is set up: how long it stays so after
    /// the signal, or, without one, after the situation was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Whether the target is the first process of a PID namespace of its own, as in a container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_pid_1: bool,
    /// Whether it only shows what would be otherwise, and counts for no invariant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aside: bool,
    /// The signals, in order. None in a control, which shows what is lost without one.
    pub signals: Vec<PlannedSignal>,
    /// Whether the target is started again after its exit, on the same port and state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}

impl Trial {
    /// The same without a signal.
    pub fn as_control(&self) -> Self {
        Self { signals: Vec::new(), restart: false, ..self.clone() }
    }

    /// Whether it has no signal, and shows what the same situation does without one.
    pub fn is_control(&self) -> bool {
        self.signals.is_empty()
    }

    /// Whether it has more requests in process than are easily understood.
    pub fn is_crowded(&self) -> bool {
        self.situation == Situation::SlowHandler && self.load.connections > OF_EACH_KIND
    }

    /// When its signal comes, or how long its target is held still, in words for reports.
    pub fn moment(&self) -> String {
        match (self.hold, &self.signals[..]) {
            (Some(hold), _) => format!("held {} ms", hold.pause.as_millis()),
            (None, []) => "none".to_owned(),
            (None, [planned]) => match planned.moment {
                Moment::Reached if self.is_crowded() => {
                    format!("{} at once", self.load.connections)
                }
                point @ Moment::AtSyscall { .. } => point.text(),
                moment => moment.name().to_owned(),
            },
            (None, [_, later]) => later.moment.kind_of_later(),
            (None, [_, later @ ..]) => {
                let span: Duration = later.iter().filter_map(|later| later.moment.gap()).sum();
                // Those that are drawn are of one kind; the others are ten milliseconds long.
                let sign = if span < Duration::from_millis(9) { "< " } else { "" };
                format!("{} in {sign}10 ms", self.signals.len())
            }
        }
    }
}

/// The target, all its processes, is held still while the situation is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// How long it stays still after the signal, in milliseconds: a busy machine, or a limit on
    /// processor time, does the same to a server at any moment.
    #[serde(rename = "pause_ms", with = "duration_ms")]
    #[schemars(with = "f64")]
    pub pause: Duration,
}

/// What the world looks like when the signal comes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Situation {
    /// Load from many clients, on kept and on fresh connections.
    Load,
    /// One request, and the signal at a landmark of its life.
    OneRequest,
    /// No connection at all.
    Idle,
    /// Kept connections, each with an answered request and nothing outstanding.
    IdleKeepalive,
    /// Accepted connections that have not sent a byte.
    Fresh,
    /// Requests that the server has read and not begun to answer.
    SlowHandler,
    /// Responses of which a part has come.
    Streaming,
    /// Requests whose body is still being sent.
    Uploading,
    /// Requests of whose head the server has read a part.
    PartialHead,
    /// Accepted connections with a whole request unread.
    Delivered,
    /// Kept connections with their next request unread.
    DeliveredKeepalive,
    /// Connections with a request, in the accept queue.
    Queued,
    /// Connections without a byte, in the accept queue.
    QueuedSilent,
    /// All these at once.
    Mixed,
    /// Clients that stop reading in the middle of a response.
    StalledReader,
    /// Clients that stop sending in the middle of a request.
    StalledSender,
    /// The target is not ready yet.
    Startup,
    /// Requests in process, and the same signal once more while they are completed.
    SecondSignal,
    /// Requests in process, and many signals at once.
    SignalBurst,
    /// Requests in process, and another signal while they are completed.
    MixedSignals,
    /// A background job at a landmark of its life, and no connection.
    JobRunning,
    /// Clients that write, and nothing else.
    Writes,
    /// Requests that the server has read and not begun to answer, while it is the first process of a
    /// PID namespace.
    #[serde(rename = "as-pid-1")]
    AsPid1,
}

impl Situation {
    /// Every situation, in the order in which they are listed to users.
    pub const ALL: [Situation; 23] = [
        Situation::Load,
        Situation::OneRequest,
        Situation::Idle,
        Situation::IdleKeepalive,
        Situation::Fresh,
        Situation::SlowHandler,
        Situation::Streaming,
        Situation::Uploading,
        Situation::PartialHead,
        Situation::Delivered,
        Situation::DeliveredKeepalive,
        Situation::Queued,
        Situation::QueuedSilent,
        Situation::Mixed,
        Situation::StalledReader,
        Situation::StalledSender,
        Situation::Startup,
        Situation::SecondSignal,
        Situation::SignalBurst,
        Situation::MixedSignals,
        Situation::JobRunning,
        Situation::Writes,
        Situation::AsPid1,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Situation::Load => "load",
            Situation::OneRequest => "one-request",
            Situation::Idle => "idle",
            Situation::IdleKeepalive => "idle-keepalive",
            Situation::Fresh => "fresh",
            Situation::SlowHandler => "slow-handler",
            Situation::Streaming => "streaming",
            Situation::Uploading => "uploading",
            Situation::PartialHead => "partial-head",
            Situation::Delivered => "delivered",
            Situation::DeliveredKeepalive => "delivered-keepalive",
            Situation::Queued => "queued",
            Situation::QueuedSilent => "queued-silent",
            Situation::Mixed => "mixed",
            Situation::StalledReader => "stalled-reader",
            Situation::StalledSender => "stalled-sender",
            Situation::Startup => "startup",
            Situation::SecondSignal => "second-signal",
            Situation::SignalBurst => "signal-burst",
            Situation::MixedSignals => "mixed-signals",
            Situation::JobRunning => "job-running",
            Situation::Writes => "writes",
            Situation::AsPid1 => "as-pid-1",
        }
    }

    /// What it is, in one sentence.
    pub fn about(self) -> &'static str {
        match self {
            Situation::Load => {
                "open- or closed-loop load from many clients, on kept and on fresh connections"
            }
            Situation::OneRequest => {
                "one request, with the signal at or near a landmark of its life"
            }
            Situation::Idle => "no connection at all",
            Situation::IdleKeepalive => "kept connections with nothing outstanding",
            Situation::Fresh => "accepted connections that have not sent a byte",
            Situation::SlowHandler => {
                "requests that were read and not yet answered: a few, or hundreds"
            }
            Situation::Streaming => "responses of which a part has come",
            Situation::Uploading => "requests whose body is still being sent",
            Situation::PartialHead => {
                "requests of whose head a part was read; the rest comes later"
            }
            Situation::Delivered => "held still: accepted connections with a whole request unread",
            Situation::DeliveredKeepalive => {
                "held still: kept connections with their next request unread"
            }
            Situation::Queued => "held still: connections with a request in the accept queue",
            Situation::QueuedSilent => {
                "held still: connections in the accept queue, whose request comes later"
            }
            Situation::Mixed => "held still: all kinds at once",
            Situation::StalledReader => "clients that stop reading in the middle of a response",
            Situation::StalledSender => "clients that stop sending in the middle of a request",
            Situation::Startup => "a target that was started and is not ready yet",
            Situation::SecondSignal => "requests in process; the same signal again while they end",
            Situation::SignalBurst => "requests in process; 20 signals within 10 ms",
            Situation::MixedSignals => "requests in process; SIGINT after SIGTERM, or the reverse",
            Situation::JobRunning => {
                "a background job near its start, half-way, near its end, or being submitted"
            }
            Situation::Writes => "with --write: clients that write, and nothing else",
            Situation::AsPid1 => {
                "slow-handler, with the target as PID 1 of its own namespace, as in a container"
            }
        }
    }

    /// Whether clients ask for as long as the window lasts, and the signal comes at a random instant
    /// of it.
    pub fn is_load(self) -> bool {
        matches!(self, Situation::Load | Situation::Writes)
    }

    /// Whether it takes writes that the user has declared.
    pub fn needs_writes(self) -> bool {
        self == Situation::Writes
    }

    /// Whether the target is started again after it: where connections end that a second start may
    /// stumble over, and where that costs little.
    pub fn is_followed_by_restart(self) -> bool {
        matches!(
            self,
            Situation::Load | Situation::OneRequest | Situation::IdleKeepalive | Situation::Writes
        )
    }

    /// Whether the target has to be held still for it.
    pub fn is_held(self) -> bool {
        matches!(
            self,
            Situation::Delivered
                | Situation::DeliveredKeepalive
                | Situation::Queued
                | Situation::QueuedSilent
                | Situation::Mixed
        )
    }

    /// Whether it consists of connections, so that a target without a listener gives no occasion for
    /// it.
    pub fn needs_connections(self) -> bool {
        !matches!(self, Situation::Idle | Situation::JobRunning)
    }

    /// Whether only the kernel can show that it is there: what lies unread, was read by half, or fills
    /// a send buffer.
    pub fn needs_kernel(self) -> bool {
        self.is_held() || matches!(self, Situation::StalledReader | Situation::PartialHead)
    }

    /// Whether new connections are tried after the signal: not where they would be one more thing
    /// than the situation consists of.
    pub fn has_late_connections(self) -> bool {
        matches!(
            self,
            Situation::Load
                | Situation::OneRequest
                | Situation::SlowHandler
                | Situation::Streaming
                | Situation::Uploading
                | Situation::AsPid1
        ) || self.repeats_signal()
    }

    /// Whether it consists of requests that the server has read and not begun to answer.
    pub fn has_requests_in_process(self) -> bool {
        matches!(self, Situation::SlowHandler | Situation::AsPid1) || self.repeats_signal()
    }

    /// Whether more signals than one are sent, with requests in process.
    pub fn repeats_signal(self) -> bool {
        matches!(self, Situation::SecondSignal | Situation::SignalBurst | Situation::MixedSignals)
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

impl SignalTo {
    /// Everybody who may get one.
    pub const ALL: [SignalTo; 3] = [SignalTo::Leader, SignalTo::Listener, SignalTo::Group];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            SignalTo::Leader => "leader",
            SignalTo::Listener => "listener",
            SignalTo::Group => "group",
        }
    }
}
