//! Exact bounds for rates, and an exact test of their difference.

use statrs::distribution::{Beta, ContinuousCDF, Discrete, Hypergeometric};

/// The interval that holds the true rate with 95 % confidence after `losses` in `tries`
/// (Clopper and Pearson, 1934); where nothing was lost it is one-sided, as the question then is
/// only how large the rate may still be. `None` when nothing was tried.
pub fn rate_bounds_95(losses: u64, tries: u64) -> Option<(f64, f64)> {
    if tries == 0 {
        return None;
    }
    let losses = losses.min(tries);
    let (k, n) = (losses as f64, tries as f64);
    Some(match losses {
        // Closed forms: the beta quantile with a parameter of 1.
        0 => (0.0, 1.0 - 0.05f64.powf(1.0 / n)),
        _ if losses == tries => (0.05f64.powf(1.0 / n), 1.0),
        _ => (beta_quantile(k, n - k + 1.0, 0.025)?, beta_quantile(k + 1.0, n - k, 0.975)?),
    })
}

/// The quantile of the beta distribution, by bisection of its distribution function.
///
/// The library's own does not come back for parameters of several millions.
fn beta_quantile(a: f64, b: f64, p: f64) -> Option<f64> {
    let beta = Beta::new(a, b).ok()?;
    let (mut low, mut high) = (0.0f64, 1.0f64);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return Some(middle);
        }
        if beta.cdf(middle) < p { low = middle } else { high = middle }
    }
}

/// The probability that two rates which are the same show as great a difference by chance as
/// `one` and `other` do, each so many times of so many (Fisher's exact test, two-sided: the sum over
/// all tables with the same sums that are no more probable).
pub fn fisher_exact(one: (u64, u64), other: (u64, u64)) -> f64 {
    let (successes, all) = (one.0 + other.0, one.1 + other.1);
    let Ok(tables) = Hypergeometric::new(all, successes.min(all), one.1) else { return 1.0 };
    let seen = tables.pmf(one.0);
    let least = one.1.saturating_sub(all - successes.min(all));
    let most = successes.min(one.1);
    // Those that are as probable as the one that was seen differ from it by rounding.
    let as_rare = (least..=most).map(|k| tables.pmf(k)).filter(|p| *p <= seen * (1.0 + 1e-7));
    as_rare.sum::<f64>().min(1.0)
}

/// The value below which the fraction `q` of the sorted values lies (nearest rank).
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loss_in_many_tries_excludes_about_three_over_n() {
        let (low, high) = rate_bounds_95(0, 1000).unwrap();
        assert_eq!(low, 0.0);
        assert!((high - 0.002_991).abs() < 1e-5, "{high}");
    }

    #[test]
    fn few_tries_exclude_little() {
        let (_, high) = rate_bounds_95(0, 1).unwrap();
        assert!((high - 0.95).abs() < 1e-12);
        assert_eq!(rate_bounds_95(0, 0), None);
    }

    #[test]
    fn the_interval_is_the_published_one() {
        // 10 of 100: Clopper-Pearson 95 % is 4.90 % to 17.62 %.
        let (low, high) = rate_bounds_95(10, 100).unwrap();
        assert!((low - 0.0490).abs() < 1e-4, "{low}");
        assert!((high - 0.1762).abs() < 1e-4, "{high}");
    }

    #[test]
    fn many_millions_of_tries_have_an_interval_too() {
        let (low, high) = rate_bounds_95(5, 4_000_000_000).unwrap();
        assert!(low < 1.25e-9 && 1.25e-9 < high && high < 3e-9, "{low} {high}");
    }

    #[test]
    fn a_difference_is_as_improbable_as_is_published() {
        // Fisher's tea: 3 of 4 against 1 of 4 is 0.4857 (two-sided), 4 against 0 is 0.0286.
        assert!((fisher_exact((3, 4), (1, 4)) - 0.4857).abs() < 1e-4);
        assert!((fisher_exact((4, 4), (0, 4)) - 0.0286).abs() < 1e-4);
        assert!((fisher_exact((3, 3), (0, 8)) - 1.0 / 165.0).abs() < 1e-9);
        assert!(fisher_exact((100, 100), (0, 100)) < 1e-50);
    }

    #[test]
    fn nothing_tried_is_no_difference() {
        for (one, other) in [((0, 0), (0, 0)), ((0, 0), (5, 5)), ((0, 9), (0, 9)), ((9, 9), (9, 9))]
        {
            assert!((fisher_exact(one, other) - 1.0).abs() < 1e-9, "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_quantile_is_a_value_that_was_seen() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.5), Some(2.0));
        assert_eq!(quantile(&sorted, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
