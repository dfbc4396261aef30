//! Medians and their 95 % intervals, of what was found and of what was not found in time.

use std::fmt;

use serde::Serialize;
use shutdown_check::model::statistics::rate_bounds_95;

/// Trials and seconds until something is found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The median number of the trial that shows it.
    pub(crate) trials: Median,
    /// The median time until then.
    pub(crate) seconds: Median,
    /// How often it was found.
    pub(crate) found: u64,
    /// In so many trials of a sequence, or so many runs.
    pub(crate) of: u64,
}

/// A median, and what holds it with 95 % confidence.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Median {
    /// The median; where `is_beyond`, it is more than this, since too much was given up.
    pub(crate) value: f64,
    pub(crate) is_beyond: bool,
    pub(crate) low: f64,
    /// Absent where what was given up may lie on the other side.
    pub(crate) high: Option<f64>,
}

impl Finding {
    /// From a sequence of trials that know nothing of each other, of which `found` showed a loss:
    /// the number of the first is geometric, and its median follows from the rate, as its interval
    /// does from Clopper's and Pearson's.
    pub(crate) fn of_sequence(found: u64, trials: u64, seconds: f64) -> Self {
        let each = seconds / trials.max(1) as f64;
        let (low, high) = rate_bounds_95(found, trials).unwrap_or((0.0, 1.0));
        let rate = found as f64 / trials.max(1) as f64;
        let median = Median {
            value: geometric_median(if found > 0 { rate } else { high }),
            is_beyond: found == 0,
            low: geometric_median(high),
            high: (low > 0.0).then(|| geometric_median(low)),
        };
        Self { trials: median, seconds: median.times(each), found, of: trials }
    }

    /// From runs, each with the trials and seconds until it found something, or those after which
    /// it gave up.
    pub(crate) fn of_runs(runs: &[Run]) -> Self {
        let of = |value: fn(&Run) -> f64| order_statistics(runs, value);
        let found = runs.iter().filter(|run| run.is_found).count() as u64;
        let (trials, seconds) = (of(|run| f64::from(run.trials)), of(|run| run.seconds));
        Self { trials, seconds, found, of: runs.len() as u64 }
    }
}

/// One run until something was found, or it gave up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) is_found: bool,
    pub(crate) trials: u32,
    pub(crate) seconds: f64,
}

/// The number of trials after which half of those who try have found something.
fn geometric_median(rate: f64) -> f64 {
    match rate {
        rate if rate >= 1.0 => 1.0,
        rate => (0.5f64.ln() / (1.0 - rate).ln()).ceil().max(1.0),
    }
}

/// The median by rank, and its interval by those ranks that hold it with 95 % confidence whatever the
/// distribution (the signs are binomial). What was given up would have taken longer than it did.
fn order_statistics(runs: &[Run], value: fn(&Run) -> f64) -> Median {
    let mut values: Vec<_> = runs.iter().map(|run| (!run.is_found, value(run))).collect();
    // Of those that were given up only this is known, that they lie above what was found.
    values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let count = values.len();
    let at = |rank: usize| values.get(rank).copied().unwrap_or((true, 0.0));
    let (is_beyond, value) = at(count.saturating_sub(1) / 2);
    let outside = outside(count);
    let (is_open, high) = if outside == 0 { (true, 0.0) } else { at(count - outside) };
    Median {
        value,
        is_beyond,
        low: at(outside.saturating_sub(1)).1,
        high: (!is_open).then_some(high),
    }
}

/// The largest rank below which the median lies with at most 2.5 % probability; 0 if there is none.
fn outside(count: usize) -> usize {
    let mut probability = 0.5f64.powi(count as i32);
    let (mut sum, mut rank) = (0.0, 0);
    while rank < count {
        sum += probability;
        if sum > 0.025 {
            return rank;
        }
        probability *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    rank
}

impl Median {
    fn times(self, factor: f64) -> Self {
        let by = |value: f64| value * factor;
        let (value, low, high) = (by(self.value), by(self.low), self.high.map(by));
        Self { value, low, high, ..self }
    }
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: f64| match value {
            value if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
            value => format!("{value:.0}"),
        };
        if self.is_beyond {
            return write!(f, "> {}", number(self.value));
        }
        let high = self.high.map_or("…".to_owned(), number);
        write!(f, "{} ({}–{high})", number(self.value), number(self.low))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trials, seconds, found, of } = self;
        write!(f, "{trials} trials, {seconds} s ({found} of {of})")
    }
}
