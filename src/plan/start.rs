//! Moments while a target starts: around its landmarks, denser where signals get lost.

use crate::model::start::{StartLandmark, StartMoment};

use super::draw::{Purpose, draw, log_uniform, stratified};

/// The kinds of moments, in the order of the visits: signals get lost where a handler is there and
/// what it leads to is not yet, and around the opening of the listener.
const KINDS: [Kind; 8] = [
    Kind::After(StartLandmark::Handler),
    Kind::Within,
    Kind::After(StartLandmark::Listening),
    Kind::Before(StartLandmark::Ready),
    Kind::Before(StartLandmark::Handler),
    Kind::Within,
    Kind::Before(StartLandmark::Listening),
    Kind::After(StartLandmark::Spawned),
];

/// The kinds come in the same order again after so many visits.
pub(super) const PERIOD: usize = KINDS.len();

#[derive(Clone, Copy, Debug)]
enum Kind {
    After(StartLandmark),
    Before(StartLandmark),
    Within,
}

/// The least distance from a landmark, in microseconds.
const LEAST_US: u64 = 10;
/// The distances are even over so many doublings of it: up to 10 ms.
const DOUBLINGS: u64 = 10;

/// The moment of a cell's visit.
pub(super) fn moment(seed: u64, cell: u64, visit: usize) -> StartMoment {
    let near = |landmark, sign: i64| StartMoment::Near {
        landmark,
        offset_us: sign * distance_us(seed, cell, visit as u64),
    };
    match KINDS[visit % KINDS.len()] {
        Kind::After(landmark) => near(landmark, 1),
        Kind::Before(landmark) => near(landmark, -1),
        Kind::Within => {
            let place = stratified(seed, cell, visit as u64 / 4);
            StartMoment::Within { permille: ((u128::from(place) * 1000) >> 64) as u16 }
        }
    }
}

fn distance_us(seed: u64, cell: u64, visit: u64) -> i64 {
    log_uniform(draw(seed, Purpose::Start, cell, visit), LEAST_US, DOUBLINGS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_kinds_is_around_every_landmark() {
        let names: std::collections::BTreeSet<_> =
            (0..8).map(|visit| moment(7, 0, visit).name()).collect();
        assert_eq!(names.len(), 7, "{names:?}");
    }
}
