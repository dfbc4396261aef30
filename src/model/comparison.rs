//! Exact tests of whether two groups of trials differ, where each kind of trial is compared with its
//! own kind only: which kinds a run had, and how often, says nothing of its target.

use statrs::distribution::{ContinuousCDF, Discrete, Hypergeometric, Normal};
use statrs::function::factorial::binomial;

/// Cases, and how many there were: of the one group, and of the other.
pub type Table = ((u64, u64), (u64, u64));

/// Distributions of sums longer than this are taken for normal ones.
const EXACT_WORK_MAX: usize = 4_000_000;
/// So are groups with more members than this, together.
const EXACT_MEMBERS_MAX: usize = 40;
/// Probabilities that differ by rounding are the same.
const ALIKE: f64 = 1.0 + 1e-7;

/// How two groups differ in a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateTest {
    /// The probability of a difference as great by chance, where the rates are the same in each
    /// stratum: the exact conditional test of several fourfold tables (Gart, 1970; with one table
    /// Fisher's), two-sided.
    pub p: f64,
    /// How many cases more the second group had than it would have had with the same rates.
    pub excess: f64,
}

/// Compares two groups, of which each table is one stratum; `None` where nothing could differ.
pub fn compare_rates(strata: &[Table]) -> Option<RateTest> {
    // Sums of independent hypergeometric numbers: of cases in the second group.
    let (mut sums, mut least, mut seen, mut mean) = (vec![1.0], 0, 0, 0.0);
    for ((k1, n1), (k2, n2)) in strata.iter().copied() {
        let (cases, all) = (k1 + k2, n1 + n2);
        let lowest = cases.saturating_sub(n1);
        let highest = cases.min(n2);
        if lowest == highest {
            continue;
        }
        let table = Hypergeometric::new(all, cases, n2).ok()?;
        let own: Vec<f64> = (lowest..=highest).map(|k| table.pmf(k)).collect();
        sums = convolved(&sums, &own);
        (least, seen) = (least + lowest, seen + k2);
        mean += cases as f64 * n2 as f64 / all as f64;
    }
    if sums.len() == 1 {
        return None;
    }
    let at = sums[(seen - least) as usize];
    let p = sums.iter().filter(|p| **p <= at * ALIKE).sum::<f64>();
    Some(RateTest { p: p.min(1.0), excess: seen as f64 - mean })
}

/// How two groups differ in a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// The probability of ranks as unlike by chance: Wilcoxon's test (Mann and Whitney's), stratified,
    /// two-sided, exact for few, with midranks for ties.
    pub p: f64,
    /// By how much the second group is greater: the median of all differences within a stratum
    /// (Hodges and Lehmann, 1963).
    pub shift: f64,
}

/// Compares two groups of values, stratum by stratum; `None` where no stratum has both.
pub fn compare_values(strata: &[(Vec<f64>, Vec<f64>)]) -> Option<RankTest> {
    let strata: Vec<_> = strata.iter().filter(|(a, b)| !a.is_empty() && !b.is_empty()).collect();
    let mut differences: Vec<f64> = strata
        .iter()
        .flat_map(|(before, after)| after.iter().flat_map(|b| before.iter().map(move |a| b - a)))
        .collect();
    differences.sort_by(f64::total_cmp);
    let middle = differences.len().checked_sub(1)? / 2;
    let upper = differences.len() / 2;
    let shift = f64::midpoint(differences[middle], differences[upper]);
    let ranked: Vec<Ranked> = strata.iter().map(|(a, b)| Ranked::new(a, b)).collect();
    let p = exact(&ranked).unwrap_or_else(|| nearly(&ranked));
    Some(RankTest { p: p.min(1.0), shift })
}

/// The members of a stratum by their ranks, doubled so that midranks are whole.
struct Ranked {
    ranks: Vec<usize>,
    /// How many are of the second group, and the sum of their ranks.
    members: usize,
    sum: usize,
}

impl Ranked {
    fn new(before: &[f64], after: &[f64]) -> Self {
        let mut all: Vec<(f64, bool)> = before.iter().map(|value| (*value, false)).collect();
        all.extend(after.iter().map(|value| (*value, true)));
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut ranks = vec![0; all.len()];
        let mut from = 0;
        while from < all.len() {
            let same = all[from..].iter().take_while(|it| it.0 == all[from].0).count();
            // The mean of from + 1 to from + same, twice.
            ranks[from..from + same].fill(2 * from + same + 1);
            from += same;
        }
        let own = all.iter().zip(&ranks).filter(|((_, is_after), _)| *is_after);
        let sum = own.map(|(_, rank)| rank).sum();
        Self { ranks, members: after.len(), sum }
    }

    /// The mean of the sum, and its variance, were chance to say who is of which group.
    fn moments(&self) -> (f64, f64) {
        let (all, own) = (self.ranks.len() as f64, self.members as f64);
        let mean = self.ranks.iter().sum::<usize>() as f64 / all;
        let spread: f64 = self.ranks.iter().map(|rank| (*rank as f64 - mean).powi(2)).sum();
        (own * mean, own * (all - own) * spread / (all * (all - 1.0)))
    }

    /// The probabilities of all sums from 0 on.
    fn sums(&self) -> Vec<f64> {
        let top: usize = self.ranks.iter().sum();
        let mut ways = vec![vec![0.0; top + 1]; self.members + 1];
        ways[0][0] = 1.0;
        for rank in &self.ranks {
            for members in (1..=self.members).rev() {
                for sum in (*rank..=top).rev() {
                    ways[members][sum] += ways[members - 1][sum - rank];
                }
            }
        }
        let all = binomial(self.ranks.len() as u64, self.members as u64);
        ways.swap_remove(self.members).into_iter().map(|ways| ways / all).collect()
    }
}

fn exact(strata: &[Ranked]) -> Option<f64> {
    if strata.iter().any(|it| it.ranks.len() > EXACT_MEMBERS_MAX) {
        return None;
    }
    let (mut sums, mut work) = (vec![1.0], 0);
    for stratum in strata {
        let own = stratum.sums();
        work += own.len() * sums.len();
        if work > EXACT_WORK_MAX {
            return None;
        }
        sums = convolved(&sums, &own);
    }
    let mean: f64 = strata.iter().map(|it| it.moments().0).sum();
    let seen = strata.iter().map(|it| it.sum).sum::<usize>() as f64;
    let distance = (seen - mean).abs() - 1e-9;
    let far = sums.iter().enumerate().filter(|(sum, _)| (*sum as f64 - mean).abs() >= distance);
    Some(far.map(|(_, p)| p).sum())
}

fn nearly(strata: &[Ranked]) -> f64 {
    let (mut mean, mut variance, mut seen) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let (its_mean, its_variance) = stratum.moments();
        (mean, variance) = (mean + its_mean, variance + its_variance);
        seen += stratum.sum as f64;
    }
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a step of the doubled ranks, since the sums are whole numbers.
    let z = ((seen - mean).abs() - 1.0).max(0.0) / variance.sqrt();
    2.0 * Normal::standard().sf(z)
}

fn convolved(one: &[f64], other: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; one.len() + other.len() - 1];
    for (at, p) in one.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        for (by, q) in other.iter().enumerate() {
            sums[at + by] += p * q;
        }
    }
    sums
}

/// The same probabilities, corrected for how many comparisons there were (Holm, 1979): at 5 %, the
/// risk of any false alarm among all of them is 5 %.
pub fn corrected(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|one, other| probabilities[*one].total_cmp(&probabilities[*other]));
    let mut corrected = vec![1.0; probabilities.len()];
    let mut least: f64 = 0.0;
    for (done, at) in order.iter().enumerate() {
        least = least.max(probabilities[*at] * (probabilities.len() - done) as f64).min(1.0);
        corrected[*at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::statistics::fisher_exact;

    proptest! {
        #[test]
        fn one_table_is_fishers_test(a in 0..9u64, b in 0..9u64, c in 0..9u64, d in 0..9u64) {
            let (one, other) = ((a, a + b), (c, c + d));
            let p = compare_rates(&[(one, other)]).map_or(1.0, |test| test.p);
            prop_assert!((p - fisher_exact(one, other)).abs() < 1e-6, "{p}");
        }
    }

    #[test]
    fn what_only_the_mixture_of_kinds_makes_different_is_no_difference() {
        // The first visits what fails ten times as often as the second does, and neither is worse.
        let strata = [((50, 100), (5, 10)), ((0, 10), (0, 100))];
        let test = compare_rates(&strata).unwrap();
        assert!(test.p > 0.9 && test.excess.abs() < 1e-9, "{test:?}");
        assert!(fisher_exact((50, 110), (5, 110)) < 1e-10, "as it would seem");
        assert_eq!(compare_rates(&[((0, 9), (0, 9)), ((4, 4), (5, 5))]), None);
    }

    #[test]
    fn small_differences_of_many_kinds_add_up() {
        let one = ((0, 3), (2, 3));
        assert!(compare_rates(&[one]).unwrap().p > 0.3);
        let all = compare_rates(&[one; 6]).unwrap();
        assert!(all.p < 0.001 && (all.excess - 6.0).abs() < 1e-9, "{all:?}");
    }

    #[test]
    fn ranks_are_compared_as_is_published() {
        // 3 against 3, all greater: 2 of 20 orders are as unlike.
        let test = compare_values(&[(vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0])]).unwrap();
        assert!((test.p - 0.1).abs() < 1e-9 && test.shift == 3.0, "{test:?}");
        // Tables of Mann and Whitney's U: with 5 and 5, U = 2 has 0.0317 (two-sided).
        let (a, b) = (vec![1.0, 2.0, 3.0, 4.0, 7.0], vec![5.0, 6.0, 8.0, 9.0, 10.0]);
        let test = compare_values(&[(a, b)]).unwrap();
        assert!((test.p - 0.0317).abs() < 1e-3, "{test:?}");
    }

    #[test]
    fn values_that_are_all_the_same_differ_in_nothing() {
        let test = compare_values(&[(vec![1.0; 9], vec![1.0; 9])]).unwrap();
        assert_eq!((test.p, test.shift), (1.0, 0.0));
        assert_eq!(compare_values(&[(vec![1.0], vec![])]), None);
        assert_eq!(compare_values(&[(vec![1.0; 50], vec![1.0; 50])]).unwrap().p, 1.0);
    }

    #[test]
    fn many_values_are_as_few_but_for_rounding() {
        let values = |from: usize, by: f64| -> Vec<f64> {
            (0..20).map(|n| ((n * 37 + from) % 41) as f64 + by).collect()
        };
        let ranked = [Ranked::new(&values(0, 0.0), &values(3, 6.3))];
        let (exact, nearly) = (exact(&ranked).unwrap(), nearly(&ranked));
        assert!((exact - nearly).abs() < 0.01 && exact > 0.01, "{exact} {nearly}");
    }

    #[test]
    fn many_comparisons_are_corrected_for() {
        let p = corrected(&[0.01, 0.04, 0.03, 0.5]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(
            near(p[0], 0.04) && near(p[2], 0.09) && near(p[1], 0.09) && near(p[3], 0.5),
            "{p:?}"
        );
        assert!(corrected(&[]).is_empty());
    }
}
