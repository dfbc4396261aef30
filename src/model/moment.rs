//! Where in time a signal goes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::near::NearMoment;
use super::start::StartMoment;
use super::syscall::{PointManner, SyscallPoint};
use super::time::duration_ms;

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
    /// As soon as the situation was seen from outside.
    Reached,
    /// At a landmark of the one request's life.
    Landmark {
        /// Which one.
        landmark: Landmark,
    },
    /// So long after the signal before it was sent, or, where the target was held still for that
    /// one, after it was let go.
    AfterPrevious {
        /// Milliseconds after it.
        #[serde(rename = "gap_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        gap: Duration,
    },
    /// While the target starts.
    Start(StartMoment),
    /// At a boundary of a system call that the target makes for the one request.
    AtSyscall {
        /// Which one.
        point: SyscallPoint,
        /// What is done there besides.
        manner: PointManner,
    },
    /// At a landmark of a background job's life.
    Job {
        /// Which one.
        landmark: JobLandmark,
    },
    /// At a distance from a landmark of a request's or a job's life.
    #[serde(rename = "near-landmark")]
    Near(NearMoment),
}

/// Shorter gaps between two signals are one kind of moment.
const SHORT_GAP: Duration = Duration::from_millis(1);

impl Moment {
    /// Its kind's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Uniform { .. } => "uniform",
            Moment::Reached => "reached",
            Moment::Landmark { landmark } => landmark.name(),
            Moment::AfterPrevious { .. } => "again",
            Moment::Start(moment) => moment.name(),
            Moment::AtSyscall { .. } => "at-syscall",
            Moment::Job { landmark } => landmark.name(),
            Moment::Near(moment) => moment.name(),
        }
    }

    /// Exactly when, as far as it was drawn: what a plan prints.
    pub fn text(self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        match self {
            Moment::Uniform { after } => format!("{:.1} ms", ms(after)),
            Moment::AfterPrevious { gap } if gap < SHORT_GAP => {
                format!("again +{} µs", gap.as_micros())
            }
            Moment::AfterPrevious { gap } => format!("again +{:.0} ms", ms(gap)),
            Moment::Near(moment) => moment.to_string(),
            Moment::Start(moment) => moment.to_string(),
            Moment::AtSyscall { .. } => self.to_string(),
            Moment::Reached | Moment::Landmark { .. } | Moment::Job { .. } => {
                self.name().to_owned()
            }
        }
    }

    /// The kind of a later signal's moment, in words for reports.
    pub fn kind_of_later(self) -> String {
        match self.gap() {
            Some(gap) if gap < SHORT_GAP => "again < 1 ms".to_owned(),
            _ => self.text(),
        }
    }

    /// The time since the signal before it.
    pub fn gap(self) -> Option<Duration> {
        match self {
            Moment::AfterPrevious { gap } => Some(gap),
            _ => None,
        }
    }
}

/// A landmark of a background job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobLandmark {
    /// Its start line was read.
    Started,
    /// It has run for half of what such jobs usually take.
    HalfWay,
    /// It is about to finish, as far as can be predicted.
    Ending,
    /// A request that submits it is under way; others come before it and after it.
    Submitted,
}

impl JobLandmark {
    /// Every landmark, in the order of a job's life.
    pub const ALL: [JobLandmark; 4] =
        [JobLandmark::Submitted, JobLandmark::Started, JobLandmark::HalfWay, JobLandmark::Ending];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            JobLandmark::Started => "job-start",
            JobLandmark::HalfWay => "job-half-way",
            JobLandmark::Ending => "job-end",
            JobLandmark::Submitted => "job-submit",
        }
    }
}

/// A landmark of a request's life, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Landmark {
    /// The connection was accepted.
    Accepted,
    /// Half of the head was read.
    HalfHead,
    /// The whole request was sent.
    Sent,
    /// The first byte of the response has come.
    FirstByte,
    /// The response is complete, and the connection kept.
    Answered,
}

impl Landmark {
    /// Every landmark, in the order of a request's life.
    pub const ALL: [Landmark; 5] = [
        Landmark::Accepted,
        Landmark::HalfHead,
        Landmark::Sent,
        Landmark::FirstByte,
        Landmark::Answered,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Landmark::Accepted => "accepted",
            Landmark::HalfHead => "half-head",
            Landmark::Sent => "sent",
            Landmark::FirstByte => "first-byte",
            Landmark::Answered => "answered",
        }
    }
}
