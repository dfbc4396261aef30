//! A failure that was looked at again: how often it comes back, and the least that still shows it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Trial;
use super::run::{Evidence, TrialReport};
use super::statistics::{fisher_exact, rate_bounds_95};

/// Two rates that are this improbable to be the same by chance are called different.
const CHANCE: f64 = 0.05;
/// Nobody waits for more runs.
const RUNS_TO_TELL_MAX: u32 = 100_000;

/// How often a trial failed, of the runs that could show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// Runs that violated the invariant.
    pub failed: u32,
    /// All runs whose situation was there, in which the harness was in time.
    pub runs: u32,
}

impl Rate {
    /// With one more run.
    pub fn and(self, failed: bool) -> Self {
        Self { failed: self.failed + u32::from(failed), runs: self.runs + 1 }
    }

    /// Of both together.
    pub fn with(self, other: Self) -> Self {
        Self { failed: self.failed + other.failed, runs: self.runs + other.runs }
    }

    /// The fraction that failed; 0 where nothing was run.
    pub fn fraction(self) -> f64 {
        if self.runs == 0 { 0.0 } else { f64::from(self.failed) / f64::from(self.runs) }
    }

    /// The interval that holds the true rate with 95 % confidence (Clopper and Pearson, 1934).
    pub fn bounds_95(self) -> Option<(f64, f64)> {
        rate_bounds_95(self.failed.into(), self.runs.into())
    }

    /// How many runs without a failure are needed to say that it is gone: so many that they are fewer
    /// failures than at the recorded rate, and not by chance (Fisher's exact test, one-sided, 5 %).
    /// What was seen in one of two runs may fail in one of ten: it takes more than what failed in
    /// nine of ten. Nothing where none failed, as nobody knows how rare it is then, or where it is so
    /// rare that it would take more than 100 000.
    pub fn runs_to_tell(self) -> Option<u32> {
        let held = self.runs.checked_sub(self.failed).filter(|_| self.failed > 0)?;
        let mut by_chance = 1.0;
        (1..=RUNS_TO_TELL_MAX).find(|more| {
            by_chance *= f64::from(held + more) / f64::from(self.runs + more);
            by_chance < CHANCE
        })
    }

    /// Whether a simpler trial fails no less often, as far as its runs tell; nothing as long as they
    /// don't. It has to fail three times, or as often as this one did if that is less, in no more
    /// runs than this one's rate takes for that.
    pub fn is_kept_by(self, simpler: Self) -> Option<bool> {
        let wanted = self.failed.min(3);
        if wanted == 0 {
            return Some(false);
        }
        let most = (wanted * self.runs).div_ceil(self.failed);
        let held = simpler.runs - simpler.failed;
        match () {
            () if held > most - wanted => Some(false),
            () if simpler.failed >= wanted => Some(true),
            () => None,
        }
    }

    /// Whether this rate is lower than another, and not just by chance (Fisher's exact test).
    pub fn is_lower_than(self, other: Self) -> bool {
        let pair = |rate: Self| (u64::from(rate.failed), u64::from(rate.runs));
        self.fraction() < other.fraction() && fisher_exact(pair(self), pair(other)) < CHANCE
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = if self.runs == 1 { "run" } else { "runs" };
        write!(f, "{} of {} {runs}", self.failed, self.runs)
    }
}

/// The text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: write it as '9 of 10 runs'")]
pub struct BadRate(String);

impl FromStr for Rate {
    type Err = BadRate;
    fn from_str(text: &str) -> Result<Self, BadRate> {
        let parsed = || {
            let text = text.trim();
            let bare = text.strip_suffix(" runs").or_else(|| text.strip_suffix(" run"))?;
            let (failed, runs) = bare.split_once(" of ")?;
            let rate = Self { failed: failed.parse().ok()?, runs: runs.parse().ok()? };
            (rate.failed <= rate.runs).then_some(rate)
        };
        parsed().ok_or_else(|| BadRate(text.to_owned()))
    }
}

/// What was found out about one violated invariant after the search: its trials count for no rate
/// of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reproduction {
    /// The invariant.
    pub invariant: String,
    /// The trial of the run that was looked at again: the smallest that showed it.
    pub found_in: u32,
    /// How often that very trial failed when it was run again, the first time left out.
    pub first: Rate,
    /// The least that still shows it, as far as was looked.
    pub trial: Trial,
    /// How often that failed, measured when it was found.
    pub rate: Rate,
    /// What was taken away, in words, in order.
    pub steps: Vec<String>,
    /// Why no more was tried, where something was left to try.
    #[serde(default)]
    pub stopped: Option<String>,
    /// A run of it that failed.
    #[serde(default)]
    pub shown: Option<TrialReport>,
    /// What happened there.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// The entry of the regressions file that says all this.
    pub entry: String,
    /// The regressions file that it was written to.
    #[serde(default)]
    pub file: Option<String>,
    /// The command that shows it again.
    #[serde(default)]
    pub again: Option<String>,
}

/// What became of a failure that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// So many runs held, and none failed, that it is no chance that the runs which it was recorded by
    /// failed more often (Fisher's exact test, 5 %).
    Fixed,
    /// It was seen again.
    StillFails,
    /// It was not seen, and too few runs could have shown it, or nobody knows how many could.
    NotShown,
}

impl Standing {
    /// What is shown by runs of a trial that, perhaps, had less than the one that was recorded: that it
    /// fails, at most.
    pub fn unless_less(self, has_less: bool) -> Self {
        if has_less && self == Self::Fixed { Self::NotShown } else { self }
    }
}

/// A known failure, run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The invariant.
    pub invariant: String,
    /// What was run, under the number of its first run.
    pub trial: Trial,
    /// How often it had failed when it was recorded; never, where no rate of it is known.
    pub recorded: Rate,
    /// How often it failed now.
    pub now: Rate,
    /// What that shows.
    pub standing: Standing,
    /// Why it could not be shown.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Replayed {
    /// What the runs show of a failure that came as often as was recorded.
    pub fn standing(recorded: Rate, now: Rate) -> Standing {
        match now {
            Rate { failed: 1.., .. } => Standing::StillFails,
            Rate { runs, .. } => match recorded.runs_to_tell() {
                Some(needed) if runs >= needed => Standing::Fixed,
                _ => Standing::NotShown,
            },
        }
    }

    /// What the runs of a failure that is known show, under a trial that perhaps had less than the
    /// one that was recorded; `why` says why they show nothing, where something is to be said.
    pub fn of(
        (invariant, trial, recorded): (&str, &Trial, Rate),
        now: Rate,
        has_less: bool,
        why: impl FnOnce() -> Option<String>,
    ) -> Self {
        let standing = Self::standing(recorded, now).unless_less(has_less);
        let reason = if standing == Standing::NotShown { why() } else { None };
        let (invariant, trial) = (invariant.to_owned(), trial.clone());
        Self { invariant, trial, recorded, now, standing, reason }
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Discrete, Hypergeometric};

    use super::*;

    fn rate(failed: u32, runs: u32) -> Rate {
        Rate { failed, runs }
    }

    #[test]
    fn the_rarer_a_failure_is_the_more_runs_it_takes_to_miss_it() {
        assert_eq!(rate(1, 2).runs_to_tell(), Some(39), "2 / 41 = 4.9 %");
        assert_eq!(rate(9, 10).runs_to_tell(), Some(2), "3 of 66 ways");
        assert_eq!(rate(1, 10).runs_to_tell(), Some(191), "10 / 201");
        assert_eq!(rate(5, 5).runs_to_tell(), Some(2), "1 of 21 ways");
        assert_eq!(rate(1, 1).runs_to_tell(), Some(20), "1 / 21");
        assert_eq!(rate(0, 10).runs_to_tell(), None, "it may be as rare as it likes");
        assert_eq!(rate(0, 0).runs_to_tell(), None);
        assert_eq!(rate(1, 1_000_000).runs_to_tell(), None, "nobody waits for so many");
        for recorded in [rate(1, 2), rate(9, 10), rate(1, 10), rate(3, 7)] {
            let tell = recorded.runs_to_tell().unwrap();
            let one_sided = |runs: u32| {
                let table = Hypergeometric::new(
                    (recorded.runs + runs).into(),
                    recorded.failed.into(),
                    runs.into(),
                );
                table.unwrap().pmf(0)
            };
            assert!(one_sided(tell) < 0.05 && one_sided(tell - 1) >= 0.05, "{recorded}");
        }
    }

    #[test]
    fn nothing_is_fixed_by_too_few_runs() {
        assert_eq!(Replayed::standing(rate(9, 10), rate(0, 1)), Standing::NotShown);
        assert_eq!(Replayed::standing(rate(9, 10), rate(0, 2)), Standing::Fixed);
        assert_eq!(Replayed::standing(rate(9, 10), rate(1, 9)), Standing::StillFails);
        assert_eq!(Replayed::standing(rate(9, 10), rate(0, 0)), Standing::NotShown);
        assert_eq!(Replayed::standing(rate(0, 0), rate(0, 500)), Standing::NotShown);
        assert_eq!(Replayed::standing(rate(0, 0), rate(1, 500)), Standing::StillFails);
    }

    #[test]
    fn what_had_less_than_the_recorded_trial_is_never_called_fixed() {
        assert_eq!(Standing::Fixed.unless_less(true), Standing::NotShown);
        assert_eq!(Standing::Fixed.unless_less(false), Standing::Fixed);
        assert_eq!(Standing::StillFails.unless_less(true), Standing::StillFails);
    }

    #[test]
    fn a_rate_is_lower_only_if_chance_does_not_explain_it() {
        assert!(!rate(8, 10).is_lower_than(rate(5, 5)));
        assert!(rate(2, 10).is_lower_than(rate(5, 5)));
        assert!(!rate(5, 5).is_lower_than(rate(1, 5)));
    }

    #[test]
    fn what_is_simpler_has_to_fail_as_often() {
        let always = rate(5, 5);
        assert_eq!(always.is_kept_by(rate(2, 2)), None);
        assert_eq!(always.is_kept_by(rate(3, 3)), Some(true));
        assert_eq!(always.is_kept_by(rate(2, 3)), Some(false), "once is enough");
        let seldom = rate(1, 10);
        assert_eq!(seldom.is_kept_by(rate(0, 9)), None);
        assert_eq!(seldom.is_kept_by(rate(1, 10)), Some(true));
        assert_eq!(seldom.is_kept_by(rate(0, 10)), Some(false));
        assert_eq!(rate(0, 10).is_kept_by(rate(1, 1)), Some(false), "never seen again");
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for it in [rate(9, 10), rate(1, 1), rate(0, 20)] {
            assert_eq!(it.to_string().parse(), Ok(it));
        }
        for text in ["", "9/10", "11 of 10 runs", "a of b runs"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
