//! A rate of loss that is to be excluded, and how far a run has come with it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// The doubt that is left: what is excluded is so with 95 % confidence.
const DOUBT: f64 = 0.05;

/// A rate of loss that is to be excluded with 95 % confidence, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bound(f64);

impl Bound {
    /// The rate itself.
    pub fn rate(self) -> f64 {
        self.0
    }

    /// How many cases without a loss exclude it: the least n with 1 − 0.05^(1/n) not above it. It is
    /// fixed before the first trial, so that looking in between changes nothing.
    pub fn cases(self) -> u64 {
        (DOUBT.ln() / (-self.0).ln_1p()).ceil() as u64
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded where the percent would show how binary fractions are.
        write!(f, "{}%", (self.0 * 100.0 * 1e9).round() / 1e9)
    }
}

impl FromStr for Bound {
    type Err = BadBound;
    fn from_str(text: &str) -> Result<Self, BadBound> {
        let bad = || BadBound { text: text.to_owned() };
        let percent = text.strip_suffix('%').ok_or_else(bad)?.trim_end();
        let percent: f64 = percent.parse().map_err(|_| bad())?;
        (0.0001..100.0).contains(&percent).then_some(Self(percent / 100.0)).ok_or_else(bad)
    }
}

/// What is no rate to exclude.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no rate of loss: write a percentage such as 1% or 0.1%")]
pub struct BadBound {
    text: String,
}

/// What became of a bound that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundReport {
    /// The rate of loss to exclude.
    pub rate: Bound,
    /// How many cases without a loss that takes, of each invariant with each signal.
    pub cases: u64,
    /// Whether all of them had so many.
    pub reached: bool,
    /// The denied invariants that it is about: those that a trial exercises many times.
    pub invariants: Vec<Bounded>,
    /// How many trials have exercised the one that was exercised in the fewest.
    pub trials: u32,
    /// The rate of trials with a loss that they exclude: what one trial loses, it may lose at once.
    pub trials_upper_bound_95: Option<f64>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bounded {
    /// Its id.
    pub id: String,
    /// The signal with which it was exercised least, where there are several.
    pub signal: Option<Signal>,
    /// The rate that is excluded so far.
    pub rate_upper_bound_95: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::statistics::rate_bounds_95;

    #[test]
    fn so_many_cases_exclude_it_and_one_less_does_not() {
        for text in ["50%", "10%", "1%", "0.1%", "0.003 %"] {
            let bound: Bound = text.parse().unwrap();
            let excluded = |cases| rate_bounds_95(0, cases).unwrap().1;
            assert!(excluded(bound.cases()) <= bound.rate(), "{text}");
            assert!(excluded(bound.cases() - 1) > bound.rate(), "{text}");
        }
        assert_eq!("1%".parse::<Bound>().unwrap().cases(), 299);
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["1%", "0.1%", "0.003%", "99.9%"] {
            assert_eq!(text.parse::<Bound>().unwrap().to_string(), text);
        }
        for text in ["1", "0%", "100%", "-1%", "NaN%", "%", "a%", ""] {
            let error = text.parse::<Bound>().unwrap_err();
            assert!(error.to_string().contains("such as 1%"), "{error}");
        }
    }
}
