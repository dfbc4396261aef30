//! When a signal comes that meets a target which is not ready yet.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A landmark of a target's start, as it is seen from outside.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StartLandmark {
    /// Its first process runs.
    Spawned,
    /// One of its processes has a handler for the signal (proc(5), SigCgt).
    Handler,
    /// It listens.
    Listening,
    /// It has answered.
    Ready,
}

/// A moment of a target's start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartMoment {
    /// Near a landmark.
    Near {
        /// Which one.
        landmark: StartLandmark,
        /// Microseconds after it; before it where negative.
        offset_us: i64,
    },
    /// Anywhere between the first process and the first answer.
    Within {
        /// How much of that time has passed, in thousandths.
        permille: u16,
    },
}

/// How long a start takes to its landmarks, from when the first process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartTimes {
    /// To the handler; absent where none was seen.
    pub handler: Option<Duration>,
    /// To the listening socket; absent where the kernel could not be asked.
    pub listening: Option<Duration>,
    /// To the first answer.
    pub ready: Duration,
}

impl StartMoment {
    /// Its kind's name in reports.
    pub fn name(self) -> &'static str {
        match self {
            StartMoment::Within { .. } => "starting",
            StartMoment::Near { landmark, offset_us } => match (landmark, offset_us < 0) {
                (StartLandmark::Spawned, _) => "spawned",
                (StartLandmark::Handler, true) => "< handler",
                (StartLandmark::Handler, false) => "> handler",
                (StartLandmark::Listening, true) => "< listening",
                (StartLandmark::Listening, false) => "> listening",
                (StartLandmark::Ready, _) => "< ready",
            },
        }
    }
}

impl StartLandmark {
    /// Every landmark, in the order of a start.
    pub const ALL: [StartLandmark; 4] = [
        StartLandmark::Spawned,
        StartLandmark::Handler,
        StartLandmark::Listening,
        StartLandmark::Ready,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            StartLandmark::Spawned => "spawned",
            StartLandmark::Handler => "handler",
            StartLandmark::Listening => "listening",
            StartLandmark::Ready => "ready",
        }
    }
}

impl StartTimes {
    /// The shorter time to each landmark: where another start was slower, the signal then comes
    /// early, and not when the target is ready already.
    pub fn earlier(self, other: Self) -> Self {
        let least = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            handler: least(self.handler, other.handler),
            listening: least(self.listening, other.listening),
            ready: self.ready.min(other.ready),
        }
    }

    /// How long after its first process the moment is.
    ///
    /// A landmark that was not seen counts as the one after it. What would lie beyond the first
    /// answer is folded back to between the landmark and that answer, and what would lie before
    /// the first process comes with it.
    pub fn instant(&self, moment: StartMoment) -> Duration {
        let (landmark, offset_us) = match moment {
            StartMoment::Within { permille } => {
                return self.ready * u32::from(permille.min(1000)) / 1000;
            }
            StartMoment::Near { landmark, offset_us } => (self.time_of(landmark), offset_us),
        };
        let offset = Duration::from_micros(offset_us.unsigned_abs());
        if offset_us < 0 {
            return landmark.saturating_sub(offset);
        }
        let left = self.ready.saturating_sub(landmark).as_micros();
        match left {
            0 => landmark,
            _ => landmark + Duration::from_micros((offset.as_micros() % left) as u64),
        }
    }

    fn time_of(&self, landmark: StartLandmark) -> Duration {
        let known = match landmark {
            StartLandmark::Spawned => Some(Duration::ZERO),
            StartLandmark::Handler => self.handler.or(self.listening),
            StartLandmark::Listening => self.listening,
            StartLandmark::Ready => None,
        };
        known.unwrap_or(self.ready).min(self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn near(landmark: StartLandmark, offset_us: i64) -> StartMoment {
        StartMoment::Near { landmark, offset_us }
    }

    #[test]
    fn moments_lie_around_their_landmarks_and_before_the_first_answer() {
        let times = StartTimes { handler: Some(MS(2)), listening: Some(MS(5)), ready: MS(9) };
        assert_eq!(times.instant(near(StartLandmark::Handler, 500)), Duration::from_micros(2500));
        assert_eq!(times.instant(near(StartLandmark::Handler, -500)), Duration::from_micros(1500));
        assert_eq!(times.instant(near(StartLandmark::Ready, -1000)), MS(8));
        assert_eq!(times.instant(StartMoment::Within { permille: 500 }), MS(9) / 2);
        assert_eq!(times.instant(near(StartLandmark::Spawned, -500)), Duration::ZERO);
        let folded = times.instant(near(StartLandmark::Listening, 9_000));
        assert_eq!(folded, MS(6), "9 ms after a landmark that is 4 ms before the answer");
    }

    #[test]
    fn a_landmark_that_was_not_seen_is_the_one_after_it() {
        let times = StartTimes { handler: None, listening: None, ready: MS(9) };
        assert_eq!(times.instant(near(StartLandmark::Handler, -1000)), MS(8));
        let times = StartTimes { listening: Some(MS(5)), ..times };
        assert_eq!(times.instant(near(StartLandmark::Handler, -1000)), MS(4));
        let none = StartTimes::default();
        assert_eq!(none.instant(near(StartLandmark::Listening, 10)), Duration::ZERO);
    }

    #[test]
    fn of_two_starts_the_earlier_landmarks_count() {
        let one = StartTimes { handler: Some(MS(2)), listening: None, ready: MS(9) };
        let other = StartTimes { handler: Some(MS(3)), listening: Some(MS(4)), ready: MS(6) };
        let both = StartTimes { handler: Some(MS(2)), listening: Some(MS(4)), ready: MS(6) };
        assert_eq!(one.earlier(other), both);
    }
}
