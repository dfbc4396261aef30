//! The scale of a figure: milliseconds to units of the drawing, and the ticks of its axis.

use super::super::numbers::signed_time;

/// The width of a drawing, and how much of it the names of its lanes take.
pub(super) const WIDTH: f64 = 1000.0;
pub(super) const LABELS: f64 = 160.0;
/// Room on the right, for what stands after the end of a lane.
const RIGHT: f64 = 20.0;
/// About so many ticks.
const TICKS: f64 = 7.0;

/// From milliseconds to units, over an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
}

/// One tick of an axis.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) at_ms: String,
    pub(super) x: String,
    pub(super) label: String,
}

impl Scale {
    /// The scale from one instant to a later one, in milliseconds.
    pub(super) fn new(from: f64, to: f64) -> Self {
        Self { from, to: to.max(from + 1e-3) }
    }

    pub(super) fn from(self) -> f64 {
        self.from
    }

    pub(super) fn to(self) -> f64 {
        self.to
    }

    /// Where an instant is, kept within the drawing.
    pub(super) fn x(self, ms: f64) -> f64 {
        let share = ((ms - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        LABELS + share * (WIDTH - LABELS - RIGHT)
    }

    /// Ticks at round numbers.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let step = round_step((self.to - self.from) / TICKS);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        (first..=last)
            .map(|n| {
                let ms = n as f64 * step;
                let label = if n == 0 { "0".to_owned() } else { signed_time(ms) };
                Tick { at_ms: units(ms), x: units(self.x(ms)), label }
            })
            .collect()
    }
}

/// A length with as many digits as can be seen.
pub(super) fn units(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The next of 1, 2, 5, 10 … that is not smaller.
fn round_step(least: f64) -> f64 {
    let magnitude = 10f64.powf(least.max(1e-6).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    steps.into_iter().find(|step| *step >= least * 0.999).unwrap_or(magnitude * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_interval() {
        let scale = Scale::new(-20.0, 930.0);
        let ticks = scale.ticks();
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "+200 ms", "+400 ms", "+600 ms", "+800 ms"]);
        assert!(Scale::new(3.0, 3.0).ticks().len() < 20, "an empty interval has an end");
    }

    #[test]
    fn instants_outside_stay_in_the_drawing() {
        let scale = Scale::new(0.0, 10.0);
        assert_eq!(scale.x(-5.0), LABELS);
        assert!(scale.x(1e9) <= WIDTH);
    }
}
