//! Instants of a trial, in nanoseconds of the one monotonic clock.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in nanoseconds of `CLOCK_MONOTONIC` since the trial began (clock_gettime(2)).
///
/// Stored one higher than its value, so that an absent instant costs no memory:
/// a million recorded requests hold several million of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "u64")]
pub struct Nanos(NonZeroU64);

impl Nanos {
    /// The beginning of the trial.
    pub const ZERO: Nanos = Nanos::from_ns(0);

    /// The instant `ns` nanoseconds after the beginning of the trial.
    pub const fn from_ns(ns: u64) -> Self {
        match NonZeroU64::new(ns.saturating_add(1)) {
            Some(stored) => Self(stored),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// The instant `ms` milliseconds after the beginning of the trial.
    pub const fn from_ms(ms: u64) -> Self {
        Self::from_ns(ms.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the beginning of the trial.
    pub const fn as_ns(self) -> u64 {
        self.0.get() - 1
    }

    /// Milliseconds since the beginning of the trial.
    pub fn as_ms(self) -> f64 {
        self.as_ns() as f64 / 1e6
    }

    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub const fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.as_ns().saturating_sub(earlier.as_ns()))
    }

    /// Milliseconds from `origin` to `self`, negative when `self` is the earlier one.
    pub fn ms_from(self, origin: Nanos) -> f64 {
        (self.as_ns() as f64 - origin.as_ns() as f64) / 1e6
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;
    fn add(self, duration: Duration) -> Nanos {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Nanos::from_ns(self.as_ns().saturating_add(ns))
    }
}

impl Sub<Duration> for Nanos {
    type Output = Nanos;
    fn sub(self, duration: Duration) -> Nanos {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Nanos::from_ns(self.as_ns().saturating_sub(ns))
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.as_ns())
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_ns())
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Nanos::from_ns)
    }
}

/// Lengths of time in saved files, as fractional milliseconds.
pub mod duration_ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration as milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64() * 1e3)
    }

    /// Reads a duration from milliseconds; negative and non-finite numbers are refused.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let ms = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(ms / 1e3).map_err(serde::de::Error::custom)
    }
}

/// Lengths of time that may be absent, as fractional milliseconds.
pub mod optional_duration_ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a duration as milliseconds, or nothing.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64() * 1e3).serialize(serializer)
    }

    /// Reads a duration from milliseconds; negative and non-finite numbers are refused.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let ms = Option::<f64>::deserialize(deserializer)?;
        let duration = ms.map(|ms| Duration::try_from_secs_f64(ms / 1e3)).transpose();
        duration.map_err(serde::de::Error::custom)
    }
}

/// A length of time as people read it: `0.9 ms`, `812 ms`, `2.02 s`.
pub fn human(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{:.2} s", ms / 1e3),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_instant_costs_no_memory() {
        assert_eq!(size_of::<Option<Nanos>>(), size_of::<u64>());
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Nanos::from_ms(1) - Duration::from_secs(5), Nanos::ZERO);
        assert_eq!(Nanos::ZERO.since(Nanos::from_ms(1)), Duration::ZERO);
        let last = Nanos::from_ns(u64::MAX) + Duration::MAX;
        assert_eq!(last.as_ns(), u64::MAX - 1);
    }

    #[test]
    fn people_read_three_figures() {
        assert_eq!(human(Duration::from_micros(900)), "0.9 ms");
        assert_eq!(human(Duration::from_millis(812)), "812 ms");
        assert_eq!(human(Duration::from_millis(2020)), "2.02 s");
        assert_eq!(human(Duration::from_secs(30)), "30.0 s");
    }
}
