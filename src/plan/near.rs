//! Moments around the landmarks of a request's and a job's life: where they are tried, and how far
//! from there.

use crate::model::near::{NearLandmark, NearMoment};

use super::draw::{Purpose, draw, log_uniform};

/// Which request a moment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The quickest, on a connection of its own.
    Fresh,
    /// The quickest, as the second one of its connection.
    Kept,
    /// The one that takes longest.
    Slow,
    /// The same, as the second one of its connection.
    SlowKept,
    /// It is about a job.
    Job,
}

/// On which side of its landmark a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

type Kind = (NearLandmark, Side, Of);

/// The moments of a request, in the order of the visits: first where a program has what it has told
/// nobody of yet. Those of processing take turns with the longest request, where they are far apart.
const OF_REQUEST: [Kind; 15] = [
    (NearLandmark::Read, Side::After, Of::Fresh),
    (NearLandmark::FirstByte, Side::Before, Of::SlowKept),
    (NearLandmark::Accept, Side::After, Of::Fresh),
    (NearLandmark::LastByte, Side::After, Of::Kept),
    (NearLandmark::Read, Side::After, Of::SlowKept),
    (NearLandmark::Connect, Side::After, Of::Fresh),
    (NearLandmark::FirstByte, Side::After, Of::Slow),
    (NearLandmark::Read, Side::Before, Of::Kept),
    (NearLandmark::Close, Side::Before, Of::Fresh),
    (NearLandmark::LastByte, Side::Before, Of::Slow),
    (NearLandmark::Connect, Side::Before, Of::Kept),
    (NearLandmark::FirstRead, Side::After, Of::Fresh),
    (NearLandmark::Close, Side::After, Of::Fresh),
    (NearLandmark::Accept, Side::Before, Of::Fresh),
    (NearLandmark::FirstByte, Side::After, Of::Kept),
];

/// The same of a job.
const OF_JOB: [Kind; 3] = [
    (NearLandmark::JobFinish, Side::Before, Of::Job),
    (NearLandmark::JobStart, Side::After, Of::Job),
    (NearLandmark::JobFinish, Side::After, Of::Job),
];

/// The same where it is known how one is submitted.
const OF_SUBMITTED_JOB: [Kind; 4] = [
    (NearLandmark::JobAcknowledged, Side::After, Of::Job),
    (NearLandmark::JobFinish, Side::Before, Of::Job),
    (NearLandmark::JobAcknowledged, Side::Before, Of::Job),
    (NearLandmark::JobStart, Side::After, Of::Job),
];

/// The kinds of a request's moments come in the same order again after so many visits.
pub(super) const PERIOD: usize = OF_REQUEST.len();

/// The least distance from a landmark, in microseconds.
const LEAST_US: u64 = 10;
/// The distances are even over so many doublings of it, up to a second.
const DOUBLINGS: u64 = 17;
const MOST_US: u64 = 1_000_000;

/// The moment of a request, of a cell's visit.
pub(super) fn of_request(seed: u64, cell: u64, visit: usize) -> NearMoment {
    moment(OF_REQUEST[visit % OF_REQUEST.len()], (seed, cell, visit))
}

/// The same of a job.
pub(super) fn of_job(seed: u64, cell: u64, visit: usize, is_submitted: bool) -> NearMoment {
    let kinds = if is_submitted { &OF_SUBMITTED_JOB[..] } else { &OF_JOB };
    moment(kinds[visit % kinds.len()], (seed, cell, visit))
}

fn moment((landmark, side, of): Kind, (seed, cell, visit): (u64, u64, usize)) -> NearMoment {
    let drawn = draw(seed, Purpose::Near, cell, visit as u64);
    let distance_us = log_uniform(drawn, LEAST_US, DOUBLINGS).min(MOST_US) as i64;
    NearMoment {
        landmark,
        offset_us: if side == Side::Before { -distance_us } else { distance_us },
        kept: matches!(of, Of::Kept | Of::SlowKept),
        slow: matches!(of, Of::Slow | Of::SlowKept),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn distances_are_as_often_small_as_large_and_on_both_sides() {
        let all: Vec<_> = (0..3000).map(|visit| of_request(7, 0, visit)).collect();
        let us = |moment: &NearMoment| moment.offset_us.unsigned_abs();
        assert!(all.iter().all(|moment| (10..=1_000_000).contains(&us(moment))));
        for (limit, share) in [(100, 0.2), (1_000, 0.4), (10_000, 0.6), (100_000, 0.8)] {
            let below = all.iter().filter(|moment| us(moment) < limit).count() as f64 / 3000.0;
            assert!((below - share).abs() < 0.06, "{below} are below {limit} µs");
        }
        let before = all.iter().filter(|moment| moment.offset_us < 0).count();
        assert!((900..2100).contains(&before), "{before} of 3000");
    }

    #[test]
    fn a_round_is_around_every_landmark_of_a_request() {
        let all: Vec<_> = (0..PERIOD).map(|visit| of_request(7, 0, visit)).collect();
        let landmarks: BTreeSet<_> = all.iter().map(|moment| moment.landmark).collect();
        assert_eq!(Vec::from_iter(landmarks), NearLandmark::OF_REQUEST);
        assert!(all.iter().any(|moment| moment.kept) && all.iter().any(|moment| moment.slow));
        // A kept connection was accepted long ago, and is not closed with its request.
        let is_of_connection = |moment: &&NearMoment| {
            matches!(moment.landmark, NearLandmark::Accept | NearLandmark::Close)
        };
        assert!(all.iter().filter(is_of_connection).all(|moment| !moment.kept));
    }

    #[test]
    fn the_moments_of_jobs_are_those_of_jobs() {
        for is_submitted in [false, true] {
            let all: Vec<_> = (0..12).map(|visit| of_job(7, 0, visit, is_submitted)).collect();
            assert!(all.iter().all(|moment| moment.landmark.is_of_job()));
            let is_answer = |moment: &NearMoment| moment.landmark == NearLandmark::JobAcknowledged;
            assert_eq!(all.iter().any(is_answer), is_submitted);
        }
    }
}
