//! Moments around the landmarks of a request's or a job's life, and when those are, as a quiet
//! rehearsal has measured them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A landmark of the life of one request or one job.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NearLandmark {
    /// The client begins to connect; on a kept connection, to send.
    Connect,
    /// The server has accepted the connection, as the kernel shows it.
    Accept,
    /// The server has read something of the request, as the kernel shows it.
    FirstRead,
    /// The server has read all of the request, as the kernel shows it.
    Read,
    /// The client has the first byte of the response.
    FirstByte,
    /// The client has all of the response.
    LastByte,
    /// The connection is closed, by whichever side.
    Close,
    /// A job's start was told.
    JobStart,
    /// A job's finish was told.
    JobFinish,
    /// The client has the answer to a request that submits a job.
    JobAcknowledged,
}

/// A moment near a landmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearMoment {
    /// Which one.
    pub landmark: NearLandmark,
    /// Microseconds after it; before it where negative. What would lie beyond the life that was
    /// rehearsed is folded back into it.
    pub offset_us: i64,
    /// Whether the request is the second one of its connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Whether it is the request that takes longest; otherwise it is the quickest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub slow: bool,
}

impl NearLandmark {
    /// The landmarks of a request, in the order of its life.
    pub const OF_REQUEST: [NearLandmark; 7] = [
        NearLandmark::Connect,
        NearLandmark::Accept,
        NearLandmark::FirstRead,
        NearLandmark::Read,
        NearLandmark::FirstByte,
        NearLandmark::LastByte,
        NearLandmark::Close,
    ];

    /// Every landmark.
    pub const ALL: [NearLandmark; 10] = {
        let [connect, accept, first_read, read, first_byte, last_byte, close] = Self::OF_REQUEST;
        let [start, finish, answer] = [Self::JobStart, Self::JobFinish, Self::JobAcknowledged];
        [connect, accept, first_read, read, first_byte, last_byte, close, start, finish, answer]
    };

    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            NearLandmark::Connect => "connect",
            NearLandmark::Accept => "accept",
            NearLandmark::FirstRead => "first read",
            NearLandmark::Read => "read",
            NearLandmark::FirstByte => "first byte",
            NearLandmark::LastByte => "last byte",
            NearLandmark::Close => "close",
            NearLandmark::JobStart => "job start",
            NearLandmark::JobFinish => "job finish",
            NearLandmark::JobAcknowledged => "job answer",
        }
    }

    /// Whether it is one of a job's life.
    pub fn is_of_job(self) -> bool {
        matches!(
            self,
            NearLandmark::JobStart | NearLandmark::JobFinish | NearLandmark::JobAcknowledged
        )
    }
}

impl NearMoment {
    /// Its kind's name in reports: the landmark, and on which side of it.
    pub fn name(self) -> &'static str {
        match (self.landmark, self.offset_us < 0) {
            (NearLandmark::Connect, true) => "< connect",
            (NearLandmark::Connect, false) => "> connect",
            (NearLandmark::Accept, true) => "< accept",
            (NearLandmark::Accept, false) => "> accept",
            (NearLandmark::FirstRead, true) => "< first read",
            (NearLandmark::FirstRead, false) => "> first read",
            (NearLandmark::Read, true) => "< read",
            (NearLandmark::Read, false) => "> read",
            (NearLandmark::FirstByte, true) => "< first byte",
            (NearLandmark::FirstByte, false) => "> first byte",
            (NearLandmark::LastByte, true) => "< last byte",
            (NearLandmark::LastByte, false) => "> last byte",
            (NearLandmark::Close, true) => "< close",
            (NearLandmark::Close, false) => "> close",
            (NearLandmark::JobStart, true) => "< job start",
            (NearLandmark::JobStart, false) => "> job start",
            (NearLandmark::JobFinish, true) => "< job finish",
            (NearLandmark::JobFinish, false) => "> job finish",
            (NearLandmark::JobAcknowledged, true) => "< job answer",
            (NearLandmark::JobAcknowledged, false) => "> job answer",
        }
    }

    /// The distance from its landmark, on whichever side.
    pub fn distance(self) -> Duration {
        Duration::from_micros(self.offset_us.unsigned_abs())
    }
}

/// When one request passed its landmarks, from its beginning; absent where that was not seen.
pub type Passed = [Option<Duration>; NearLandmark::OF_REQUEST.len()];

/// The life of a request, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLife {
    usual: Passed,
    spread: Passed,
}

/// So long before a request's beginning, and after its end, a signal may still meet something.
const MARGIN: Duration = Duration::from_millis(1);

impl RequestLife {
    /// From several requests of a kind: the lower quartiles, and how far it is from there to the
    /// upper ones. Other work of the machine makes them later and never earlier, so that the median
    /// would be late where a trial is not disturbed.
    pub fn of(seen: &[Passed]) -> Self {
        let mut life = Self::default();
        for at in 0..NearLandmark::OF_REQUEST.len() {
            let mut times: Vec<Duration> = seen.iter().filter_map(|passed| passed[at]).collect();
            times.sort_unstable();
            let (lower, upper) = (times.get(times.len() / 4), times.get(times.len() * 3 / 4));
            life.usual[at] = lower.copied();
            life.spread[at] = lower.zip(upper).map(|(lower, upper)| *upper - *lower);
        }
        life
    }

    /// The same of another request, of whose response it is known how long it takes to come.
    pub fn with_response(mut self, first_byte: Duration, last_byte: Duration) -> Self {
        let [.., first, last, closed] = &mut self.usual;
        (*first, *last, *closed) = (Some(first_byte), Some(last_byte), Some(last_byte));
        let [.., first, last, closed] = &mut self.spread;
        (*first, *last, *closed) = (None, None, None);
        self
    }

    /// How long after its beginning it passes a landmark; of one that was not seen, the one after it
    /// counts.
    pub fn time_of(&self, landmark: NearLandmark) -> Option<Duration> {
        let place = NearLandmark::OF_REQUEST.iter().position(|it| *it == landmark)?;
        let seen = self.usual[place..].iter().flatten().next();
        seen.copied().or_else(|| self.end())
    }

    /// How far apart the rehearsed requests were at a landmark.
    pub fn spread_of(&self, landmark: NearLandmark) -> Duration {
        let place = NearLandmark::OF_REQUEST.iter().position(|it| *it == landmark);
        place.and_then(|place| self.spread[place]).unwrap_or_default()
    }

    /// How long after its beginning a moment is, in nanoseconds; before it where negative.
    ///
    /// What would lie further beyond its life than a signal can meet anything is folded back, to
    /// between its landmark and there.
    pub fn instant_ns(&self, moment: NearMoment) -> Option<i64> {
        let landmark = self.time_of(moment.landmark)?;
        let room = match moment.offset_us < 0 {
            true => landmark + MARGIN,
            false => (self.end()? + MARGIN).saturating_sub(landmark),
        };
        let offset = folded(moment.distance(), room);
        let landmark = landmark.as_nanos() as i64;
        let offset = offset.as_nanos() as i64;
        Some(if moment.offset_us < 0 { landmark - offset } else { landmark + offset })
    }

    fn end(&self) -> Option<Duration> {
        self.usual.iter().flatten().max().copied()
    }
}

/// A distance that leads beyond the room for it begins again at its start.
pub fn folded(distance: Duration, room: Duration) -> Duration {
    match (distance < room, room.as_nanos()) {
        (true, _) | (_, 0) => distance.min(room),
        (false, room) => Duration::from_nanos((distance.as_nanos() % room) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: fn(u64) -> Duration = Duration::from_micros;

    fn near(landmark: NearLandmark, offset_us: i64) -> NearMoment {
        NearMoment { landmark, offset_us, kept: false, slow: false }
    }

    fn life() -> RequestLife {
        let passed = |us: [u64; 7]| us.map(|us| Some(US(us)));
        RequestLife::of(&[
            passed([0, 60, 90, 100, 300, 310, 400]),
            passed([0, 90, 95, 120, 900, 910, 999]),
            passed([0, 50, 80, 90, 290, 300, 390]),
            passed([0, 5_000, 5_001, 5_002, 6_000, 6_000, 6_000]),
        ])
    }

    #[test]
    fn a_life_is_that_of_the_less_disturbed() {
        let life = life();
        assert_eq!(life.time_of(NearLandmark::Accept), Some(US(60)));
        assert_eq!(life.spread_of(NearLandmark::Accept), US(4_940));
        assert_eq!(life.time_of(NearLandmark::Close), Some(US(400)));
        assert_eq!(RequestLife::default().time_of(NearLandmark::Accept), None);
    }

    #[test]
    fn a_landmark_that_was_not_seen_is_the_one_after_it() {
        let mut passed = [None; 7];
        passed[4] = Some(US(300));
        let life = RequestLife::of(&[passed]);
        assert_eq!(life.time_of(NearLandmark::Accept), Some(US(300)));
        assert_eq!(life.time_of(NearLandmark::Close), Some(US(300)));
        assert_eq!(life.time_of(NearLandmark::JobStart), None, "it is of no request");
    }

    #[test]
    fn moments_lie_around_their_landmarks_and_within_the_life() {
        let life = life();
        let at = |landmark, offset| life.instant_ns(near(landmark, offset)).unwrap();
        assert_eq!(at(NearLandmark::Accept, 37), 97_000);
        assert_eq!(at(NearLandmark::Read, -37), 63_000);
        assert_eq!(at(NearLandmark::Connect, -500), -500_000, "before it begins");
        // 1.34 ms lie between accept and what is left to meet a millisecond after the end.
        assert_eq!(at(NearLandmark::Accept, 2_000), (60 + 660) * 1000);
        assert_eq!(at(NearLandmark::Connect, -1_000_000), 0);
    }

    proptest::proptest! {
        #[test]
        fn every_moment_is_within_a_millisecond_of_the_life(
            which in 0..7usize, offset_us in -1_000_000..=1_000_000i64,
        ) {
            let at = life().instant_ns(near(NearLandmark::OF_REQUEST[which], offset_us)).unwrap();
            proptest::prop_assert!((-1_000_000..=1_400_000).contains(&at), "{}", at);
        }
    }

    #[test]
    fn a_moment_is_read_at_a_glance_and_as_it_was_written() {
        for (landmark, offset_us, kept, slow, text) in [
            (NearLandmark::Accept, 37, false, false, "accept +37 µs"),
            (NearLandmark::FirstByte, -1_234, true, false, "first byte -1.234 ms (kept)"),
            (NearLandmark::FirstRead, 0, false, true, "first read +0 µs (slow)"),
            (NearLandmark::Read, 612_000, true, true, "read +612 ms (kept, slow)"),
            (NearLandmark::JobAcknowledged, -10, false, false, "job answer -10 µs"),
        ] {
            let near = NearMoment { landmark, offset_us, kept, slow };
            assert_eq!(near.to_string(), text);
            assert_eq!(text.parse(), Ok(crate::model::moment::Moment::Near(near)));
        }
    }
}
