//! Measured values of one figure, and the line that shows them.

use std::time::Duration;

/// Measured values, in order.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Puts values in order; none of them is NaN.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// Durations in microseconds.
    pub(crate) fn microseconds(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e6))
    }

    /// Durations in milliseconds.
    pub(crate) fn milliseconds(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The nearest value below which this part of them is; 0 when there are none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// The titles of the columns of [`row`].
pub(crate) fn titles(what: &str, unit: &str) {
    let [p50, p99, least, most] = ["p50", "p99", "min", "max"];
    println!("{what:<35}{:>4}{p50:>9}{p99:>9}{least:>9}{most:>9}  {unit}", "n");
}

/// One line of at most 80 columns: what it is, how many, p50, p99, least and greatest.
pub(crate) fn row(what: &str, samples: &Samples) {
    let [p50, p99, least, most] = [0.5, 0.99, 0.0, 1.0].map(|part| number(samples.quantile(part)));
    println!("  {what:<33}{:>4}{p50:>9}{p99:>9}{least:>9}{most:>9}", samples.count());
}

/// A number with three figures or more.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
