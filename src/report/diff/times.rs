//! Which times became longer or shorter, and what a repair costs.

use crate::model::comparison::{RankTest, compare_values, corrected};
use crate::model::diff::{CHANCE, Change, InvariantDiff, TimeDiff};
use crate::model::phase::Phase;
use crate::model::plan::Situation;
use crate::model::run::TrialReport;
use crate::model::statistics::quantile;
use crate::model::verdict::VerdictName;
use crate::report::numbers::time;
use crate::report::summary::phases_of;

use super::Kinds;

/// A time has to change by so much of itself to matter,
const MATTERS: f64 = 0.1;
/// and by so many milliseconds: less is what a busy machine adds.
const MATTERS_MS: f64 = 10.0;
/// Said of a longer time.
pub(super) const PRICE: &str = "perhaps the price of what became better";
/// Said where some of it is that, and the rest could be chance.
const PERHAPS: &str = "in trials that lost nothing before, it could be chance";
/// It is about losses as well: of what was begun, and not for a client.
const JOBS: &str = "jobs-finish";
/// Phases in which somebody waits whom a shutdown may not forget.
const WAITING: [Phase; 4] = [Phase::Processing, Phase::Uploading, Phase::Delivered, Phase::Queued];
/// Outcomes of requests that nobody lost.
const KEPT: [&str; 3] = ["completed", "rejected", "unverifiable"];

/// A time that a trial has, if it has.
type Time = fn(&TrialReport) -> Option<f64>;

/// Each time of a shutdown, and whether a longer one may be what a repair costs: who loses what it
/// should wait for is sooner done.
const TIMES: [(&str, Time, bool); 3] = [
    ("drain", |it| it.drain_ms, true),
    ("refusal", |it| it.refused_after_ms.filter(|_| it.situation.has_late_connections()), false),
    ("exit", |it| it.exit.as_ref()?.after_ms, true),
];

/// A kind of trial that is slower by itself has to be so improbable by chance.
const CHANCE_OF_A_KIND: f64 = 0.01;

/// The values of a kind of trial.
struct Stratum {
    name: String,
    /// Whether such trials lost something before that they lose no more.
    is_mended: bool,
    before: Vec<f64>,
    after: Vec<f64>,
}

/// A time of all kinds together, and what a test says of it.
struct Tested {
    what: &'static str,
    may_cost: bool,
    strata: Vec<Stratum>,
    test: RankTest,
}

/// What became of the times, of kinds that both reports have.
pub(super) fn times(
    kinds: &Kinds<'_>,
    same_machine: bool,
    invariants: &[InvariantDiff],
) -> Vec<TimeDiff> {
    let tested = TIMES.into_iter().filter_map(|(what, of, may_cost)| {
        let strata = strata(kinds, of, invariants);
        let test = compare_values(&pairs(strata.iter()))?;
        Some(Tested { what, may_cost, strata, test })
    });
    let tested: Vec<_> = tested.collect();
    let right = corrected(&tested.iter().map(|it| it.test.p).collect::<Vec<_>>());
    let tests = right.len() as f64;
    let both = tested.into_iter().zip(right);
    both.map(|(it, p)| it.diff((p, tests), same_machine)).collect()
}

impl Tested {
    /// With the probability by chance, corrected for so many tests.
    fn diff(self, (p, tests): (f64, f64), same_machine: bool) -> TimeDiff {
        let [before, after] = sorted(&self.strata);
        let medians = [&before, &after].map(|it| median(it));
        let judged = |p, shift| timed((p, shift), least(medians[0]), same_machine);
        let elsewhere = || {
            let test = compare_values(&pairs(self.strata.iter().filter(|it| !it.is_mended)))?;
            Some(judged(test.p * tests, test.shift).0)
        };
        let (change, note) = match judged(p, self.test.shift) {
            (Change::Worse, note) if self.may_cost => match elsewhere() {
                Some(Change::Worse) => (Change::Worse, note),
                Some(Change::PerhapsWorse) => (Change::PerhapsWorse, Some(PERHAPS)),
                _ => (Change::Changed, Some(PRICE)),
            },
            other => other,
        };
        let mut diff = TimeDiff {
            what: self.what.to_owned(),
            change,
            median_before_ms: medians[0],
            median_after_ms: medians[1],
            shift_ms: self.test.shift,
            trials_before: before.len() as u32,
            trials_after: after.len() as u32,
            p,
            note: note.map(str::to_owned),
        };
        let slower = self.slower_kind(tests).filter(|_| same_machine && change != Change::Worse);
        if let Some((p, note)) = slower {
            diff = TimeDiff { change: Change::Worse, p, note: Some(note), ..diff };
        }
        diff
    }

    /// The kind of trial that is slower for the surest, also where most are not, and where nothing was
    /// mended.
    fn slower_kind(&self, tests: f64) -> Option<(f64, String)> {
        let tries = tests * self.strata.len() as f64;
        let slower = self.strata.iter().filter(|it| !it.is_mended).filter_map(|it| {
            let test = compare_values(&[(it.before.clone(), it.after.clone())])?;
            let (p, [before, after]) = (test.p * tries, it.medians());
            let note = format!("{}: {} → {}", it.name, time(before), time(after));
            (p <= CHANCE_OF_A_KIND && test.shift >= least(before)).then_some((p, note))
        });
        slower.min_by(|one, other| one.0.total_cmp(&other.0))
    }
}

impl Stratum {
    fn medians(&self) -> [f64; 2] {
        [&self.before, &self.after].map(|values| {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            median(&sorted)
        })
    }
}

fn median(sorted: &[f64]) -> f64 {
    quantile(sorted, 0.5).unwrap_or_default()
}

/// What a time has to change by to matter.
fn least(median: f64) -> f64 {
    (median * MATTERS).max(MATTERS_MS)
}

/// Kind by kind the values of those trials that violate nothing that differs.
fn strata(kinds: &Kinds<'_>, of: Time, invariants: &[InvariantDiff]) -> Vec<Stratum> {
    let differ = invariants.iter().filter(|it| it.change != Change::Same);
    let differ: Vec<&str> = differ.map(|it| it.id.as_str()).collect();
    let mended = mended(invariants);
    let is_alike = |it: &TrialReport| !it.violated.iter().any(|id| differ.contains(&id.as_str()));
    let values = |trials: &[&TrialReport]| {
        trials.iter().filter(|it| is_alike(it)).filter_map(|it| of(it)).collect()
    };
    // How long a start takes that is broken off is about no shutdown.
    let kinds = kinds.iter().filter(|(kind, _)| kind.0 != Situation::Startup);
    kinds
        .map(|((situation, moment, _), (before, after))| Stratum {
            name: format!("{}, {moment}", situation.name()),
            is_mended: is_mended(before, after, &mended),
            before: values(before),
            after: values(after),
        })
        .collect()
}

/// What lost something before, and does so no more.
fn mended(invariants: &[InvariantDiff]) -> Vec<&str> {
    let is_mended = |it: &&InvariantDiff| {
        it.change == Change::Better && it.verdict_after == Some(VerdictName::Satisfied)
    };
    let about_losses = |id: &&str| !phases_of(id).is_empty() || *id == JOBS;
    invariants.iter().filter(is_mended).map(|it| it.id.as_str()).filter(about_losses).collect()
}

/// Whether most trials of a kind lost something before that it loses no more.
fn is_mended(before: &[&TrialReport], after: &[&TrialReport], mended: &[&str]) -> bool {
    let losing = before.iter().filter(|it| has_lost(it, mended)).count();
    losing > 0 && 2 * losing >= before.len() && !after.iter().any(|it| has_lost(it, mended))
}

/// Whether a trial lost something that was mended. Trials with several signals are not judged by what
/// one alone breaks, so that their requests tell.
fn has_lost(trial: &TrialReport, mended: &[&str]) -> bool {
    let is_about = |name: &str| {
        WAITING.iter().any(|phase| {
            phase.name() == name && mended.iter().any(|id| phases_of(id).contains(phase))
        })
    };
    let waiting = trial.outcomes.iter().filter(|(phase, _)| is_about(phase));
    let mut outcomes = waiting.flat_map(|(_, outcomes)| outcomes.keys());
    let is_violated = trial.violated.iter().any(|id| mended.contains(&id.as_str()));
    is_violated || outcomes.any(|it| !KEPT.contains(&it.as_str()))
}

fn pairs<'s>(strata: impl Iterator<Item = &'s Stratum>) -> Vec<(Vec<f64>, Vec<f64>)> {
    strata.map(|it| (it.before.clone(), it.after.clone())).collect()
}

/// All values before and all after, of kinds that have both.
fn sorted(strata: &[Stratum]) -> [Vec<f64>; 2] {
    let compared = || strata.iter().filter(|it| !it.before.is_empty() && !it.after.is_empty());
    let mut before: Vec<f64> = compared().flat_map(|it| it.before.clone()).collect();
    let mut after: Vec<f64> = compared().flat_map(|it| it.after.clone()).collect();
    before.sort_by(f64::total_cmp);
    after.sort_by(f64::total_cmp);
    [before, after]
}

/// What became of a time that is longer by so much, where less than the least does not matter.
fn timed((p, shift): (f64, f64), least: f64, same_machine: bool) -> (Change, Option<&'static str>) {
    if shift.abs() < least {
        return (Change::Same, (p <= CHANCE).then_some("so little does not matter"));
    }
    let other = "the machine, or what it was asked, was another";
    match (shift > 0.0, p <= CHANCE, same_machine) {
        (true, true, true) => (Change::Worse, None),
        (false, true, true) => (Change::Better, None),
        (true, true, false) => (Change::PerhapsWorse, Some(other)),
        (false, true, false) => (Change::PerhapsBetter, Some(other)),
        (true, false, _) => (Change::PerhapsWorse, None),
        (false, false, _) => (Change::PerhapsBetter, None),
    }
}
