//! What each client will do: drawn from the trial's seed, before anything is started.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::model::plan::{Arrivals, LoadShape};

/// What one client will do.
#[derive(Debug)]
pub struct Script {
    random: ChaCha8Rng,
    weights: Vec<u32>,
    begun: bool,
    keep_alive_percent: u8,
    /// Its number among the clients of the trial.
    pub client: u32,
    /// When it begins, after the load began.
    pub start: Duration,
    /// Whether it keeps its connection for the next request.
    pub keeps_alive: bool,
    /// How long it waits between an answer and its next request; absent in the open loop, where
    /// requests come by the clock.
    pub pause: Option<Duration>,
}

/// The scripts of all clients of a trial, whose signal is planned `signal_after` after the load
/// began.
///
/// Their starts are spread evenly over the time until then, so that at the signal there are
/// requests of every age, and the youngest of the long ones outlast the limits that are judged.
pub fn scripts(
    seed: u64,
    shape: &LoadShape,
    weights: &[u32],
    signal_after: Duration,
) -> Vec<Script> {
    let clients = u32::from(shape.connections).max(1);
    let spread = signal_after.mul_f64(0.95);
    (0..clients)
        .map(|client| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(u64::from(client));
            let place = (f64::from(client) + fraction(&mut random)) / f64::from(clients);
            let (start, pause) = match shape.arrivals {
                Arrivals::Closed { pause } => (spread.mul_f64(place), Some(pause)),
                Arrivals::Open { .. } => (Duration::ZERO, None),
            };
            let kept = f64::from(client) * 100.0 / f64::from(clients);
            // Every other client, spread over the starts: with a plain threshold the early
            // starters would keep their connections and the late ones not.
            let keeps_alive = (kept * 7.0) % 100.0 < f64::from(shape.keep_alive_percent);
            let weights = weights.to_vec();
            Script {
                random,
                weights,
                begun: false,
                keep_alive_percent: shape.keep_alive_percent,
                client,
                start,
                keeps_alive,
                pause,
            }
        })
        .collect()
}

impl Script {
    /// Which of the contract's requests is next.
    ///
    /// The first ones go round, so that a trial with enough clients has every kind in flight;
    /// later ones are drawn by weight.
    pub fn next_template(&mut self) -> usize {
        if !std::mem::replace(&mut self.begun, true) {
            return self.by_weight(u64::from(self.client));
        }
        let drawn = self.random.next_u64();
        self.by_weight(drawn)
    }

    /// Whether a connection of the open loop is kept for another request.
    pub fn next_keeps_alive(&mut self) -> bool {
        self.random.next_u64() % 100 < u64::from(self.keep_alive_percent)
    }

    fn by_weight(&self, number: u64) -> usize {
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut left = number % total.max(1);
        for (template, weight) in self.weights.iter().enumerate() {
            match left.checked_sub(u64::from(*weight)) {
                None => return template,
                Some(rest) => left = rest,
            }
        }
        0
    }
}

/// A number from 0 to 1, from the 53 bits that a double holds.
fn fraction(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(connections: u16) -> LoadShape {
        LoadShape {
            connections,
            arrivals: Arrivals::Closed { pause: Duration::from_millis(5) },
            keep_alive_percent: 50,
            pooled_clients: 0,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_scripts() {
        let draw = || {
            scripts(3, &shape(8), &[1, 2], Duration::from_millis(400))
                .into_iter()
                .map(|mut script| {
                    (script.start, (0..9).map(|_| script.next_template()).collect::<Vec<_>>())
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn every_kind_is_asked_for_first_by_someone_and_half_keep_their_connection() {
        let mut all = scripts(1, &shape(16), &[1, 3, 1], Duration::from_millis(400));
        let firsts: std::collections::BTreeSet<_> =
            all.iter_mut().map(Script::next_template).collect();
        assert_eq!(firsts, [0, 1, 2].into());
        let kept = all.iter().filter(|script| script.keeps_alive).count();
        assert!((6..=10).contains(&kept), "{kept}");
    }

    #[test]
    fn starts_are_spread_over_the_time_before_the_signal() {
        let all = scripts(1, &shape(16), &[1], Duration::from_millis(400));
        assert!(all.iter().all(|script| script.start < Duration::from_millis(400)));
        let halves = all.iter().filter(|script| script.start < Duration::from_millis(190)).count();
        assert_eq!(halves, 8);
    }
}
