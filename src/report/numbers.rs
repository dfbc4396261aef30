//! Numbers as people read them: grouped counts, rates in percent, times with a sign.

use std::time::Duration;

use crate::model::time::human;

/// A count in groups of three: `1 912`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 trial`, `1 912 requests`.
pub(super) fn counted(count: u64, singular: &str, plural: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { singular } else { plural })
}

/// An upper bound in percent, with two significant digits; rounded up, so that what is printed
/// is still a bound.
pub(super) fn percent_up(rate: f64) -> String {
    // The small term takes back what the arithmetic added to a number that was exact.
    percent(rate, |scaled| (scaled - 1e-9).ceil())
}

/// A lower bound in percent, with two significant digits; rounded down.
pub(super) fn percent_down(rate: f64) -> String {
    percent(rate, |scaled| (scaled + 1e-9).floor())
}

fn percent(rate: f64, round: impl Fn(f64) -> f64) -> String {
    let percent = rate.clamp(0.0, 1.0) * 100.0;
    if percent < 1e-12 {
        return "0".into();
    }
    let decimals = (1 - percent.log10().floor() as i32).max(0);
    let scale = 10f64.powi(decimals);
    let text = format!("{:.*}", decimals as usize, round(percent * scale) / scale);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// Milliseconds as people read them: `0.9 ms`, `2.02 s`.
pub(super) fn time(ms: f64) -> String {
    human(Duration::try_from_secs_f64(ms.abs() / 1e3).unwrap_or_default())
}

/// Milliseconds before or after the signal: `-2.0 ms`, `+4.1 ms`.
pub(super) fn signed_time(ms: f64) -> String {
    format!("{}{}", if ms < 0.0 { '-' } else { '+' }, time(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_from_the_right() {
        let numbers = [(0, "0"), (12, "12"), (123, "123"), (1912, "1 912"), (1234567, "1 234 567")];
        for (number, text) in numbers {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "trial", "trials"), "1 trial");
        assert_eq!(counted(2000, "trial", "trials"), "2 000 trials");
    }

    #[test]
    fn a_bound_stays_a_bound_when_it_is_printed() {
        for (rate, text) in
            [(0.001_511, "0.16"), (0.0016, "0.16"), (0.14, "14"), (0.1301, "14"), (0.998, "100")]
        {
            assert_eq!(percent_up(rate), text, "{rate}");
        }
        for (rate, text) in [(0.000_324, "0.032"), (0.000_3, "0.03"), (0.269, "26"), (0.0, "0")] {
            assert_eq!(percent_down(rate), text, "{rate}");
        }
        assert_eq!(percent_up(0.009_99), "1");
        assert_eq!(percent_up(1.0), "100");
    }

    #[test]
    fn times_before_the_signal_have_their_sign() {
        assert_eq!(signed_time(-2.0), "-2.0 ms");
        assert_eq!(signed_time(2020.0), "+2.02 s");
        assert_eq!(time(f64::INFINITY), "0.0 ms");
    }
}
