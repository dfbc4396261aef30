//! Where the random numbers of a plan come from: the same on every platform, in every version.
//!
//! Only the ChaCha8 stream itself is relied upon (RFC 8439 with 8 rounds), and the key is laid out
//! here: neither `seed_from_u64` nor the distributions of `rand` promise to stay as they are.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a number is drawn for; two purposes never share their numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The seed of a trial.
    Trial = 1,
    /// The pause of a closed loop.
    Pause = 2,
    /// The place of a moment within its stratum.
    Place = 3,
    /// The order in which strata are visited.
    Order = 4,
    /// The distance from a landmark of the start.
    Start = 5,
    /// The time between two signals.
    Gap = 6,
    /// The distance from a landmark of a request's or a job's life.
    Near = 7,
    /// Which of several trials that are worth the same is next.
    Tie = 16,
}

/// How often the window is halved: a cell's strata are even up to a million trials.
const HALVINGS: u32 = 20;

/// A number that depends on nothing but what is given.
pub(super) fn draw(seed: u64, purpose: Purpose, first: u64, second: u64) -> u64 {
    let mut key = [0; 32];
    for (part, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, first, second]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key).next_u64()
}

/// A distance from `least` on, even over so many doublings of it, as `drawn` says: as often small as
/// large (log-uniform). In whole numbers, since logarithms are not the same on every platform.
pub(super) fn log_uniform(drawn: u64, least: u64, doublings: u64) -> u64 {
    let least = least << (drawn % doublings);
    least + ((u128::from(least) * u128::from(drawn)) >> 64) as u64
}

/// The place of the cell's visit in the window, as a fraction of 2⁶⁴.
///
/// The van der Corput sequence in base 2, with Owen's nested scrambling: each half of the window
/// changes places with the other or not, then each half of the halves, and so on, as the seed
/// says. Every moment alone is uniform over the window, and yet, however many visits there will
/// be, the first 2, 4, 8 … of them fall one each into the halves, quarters, eighths … of it.
pub(super) fn stratified(seed: u64, cell: u64, visit: u64) -> u64 {
    let corput = visit.reverse_bits();
    let mut place = 0;
    for halving in 0..HALVINGS {
        let bit = 63 - halving;
        // The halves above this one name it: with a leading 1, each has a name of its own.
        let above = (1 << halving) | corput.checked_shr(64 - halving).unwrap_or(0);
        let swapped = draw(seed, Purpose::Order, cell, above) & 1;
        place |= ((corput >> bit & 1) ^ swapped) << bit;
    }
    place | draw(seed, Purpose::Place, cell, visit) >> HALVINGS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_stay_what_they_were() {
        assert_eq!(draw(1, Purpose::Trial, 1, 0), 7_265_308_578_580_508_706);
        assert_eq!(draw(1, Purpose::Trial, 2, 0), 2_854_601_930_109_921_036);
    }

    #[test]
    fn distances_are_as_often_small_as_large() {
        let drawn = |visit| draw(7, Purpose::Start, 0, visit);
        let distances: Vec<_> = (0..1000).map(|visit| log_uniform(drawn(visit), 10, 10)).collect();
        assert!(distances.iter().all(|us| (10..10_240).contains(us)));
        let below = distances.iter().filter(|us| **us < 320).count();
        assert!((350..650).contains(&below), "{below} of 1000 are below the middle");
    }

    #[test]
    fn each_stratum_is_visited_once() {
        for seed in 0..8 {
            for bits in 0..6u32 {
                let strata: HashSet<_> = (0..1u64 << bits)
                    .map(|visit| stratified(seed, 3, visit).checked_shr(64 - bits).unwrap_or(0))
                    .collect();
                assert_eq!(strata.len(), 1 << bits, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_single_moment_is_anywhere_in_the_window() {
        let tenths: HashSet<_> =
            (0..200).map(|seed| stratified(seed, 0, 0) / (u64::MAX / 10)).collect();
        assert!(tenths.len() >= 10, "{tenths:?}");
    }
}
