//! What became better and what worse from one report to another, told from chance.
//!
//! The unit is the trial: what one trial loses, it may lose at once, so that its requests are no
//! independent cases. Trials are compared with those of their own situation, moment and signal.

use std::collections::BTreeMap;

use crate::invariants::BOTH_SIGNALS;
use crate::model::comparison::{Table, compare_rates, compare_values, corrected};
use crate::model::diff::{
    CHANCE, CellDiff, Change, DIFF_VERSION, DiffOutcome, DiffReport, ExitDiff, InvariantDiff,
    Often, Side, TimeDiff,
};
use crate::model::number::FIRST_KNOWN;
use crate::model::plan::Situation;
use crate::model::run::{InvariantReport, RunReport, Tool, TrialReport};
use crate::model::signal::Signal;
use crate::model::statistics::{fisher_exact, quantile};
use crate::model::verdict::{Severity, VerdictName};

mod text;
mod unfair;

pub use text::{markdown, text};

/// A time has to change by so much of itself to matter,
const MATTERS: f64 = 0.1;
/// and by so many milliseconds: less is what a busy machine adds.
const MATTERS_MS: f64 = 10.0;
/// Said of a longer time.
const PRICE: &str = "perhaps the price of what became better";
const ALIVE: &str = "alive at the deadline";

/// A kind of trial: situation, moment and first signal.
type Kind<'r> = (Situation, &'r str, Option<Signal>);
/// The trials of each kind, of the one report and of the other.
type Kinds<'r> = BTreeMap<Kind<'r>, (Vec<&'r TrialReport>, Vec<&'r TrialReport>)>;

/// Compares two reports, the earlier one first, each with the name that its user knows it by.
pub fn diff(tool: Tool, before: (&str, &RunReport), after: (&str, &RunReport)) -> DiffReport {
    let kinds = kinds(before.1, after.1);
    let unfair = unfair::differences(before.1, after.1);
    let same_machine = !unfair.iter().any(|it| unfair::is_about_time(&it.what));
    let invariants = invariants((before.1, after.1), &kinds);
    let exits = exits(&kinds);
    let times = times(&kinds, same_machine, &invariants);
    let outcome = outcome(&invariants, &times, &exits);
    DiffReport {
        schema_version: DIFF_VERSION.to_owned(),
        tool,
        before: side(before),
        after: side(after),
        outcome,
        exit_code: match outcome {
            DiffOutcome::Worse => 1,
            DiffOutcome::Better | DiffOutcome::Same => 0,
            DiffOutcome::NotComparable => 3,
        },
        unfair,
        invariants,
        exits,
        times,
    }
}

fn side((name, report): (&str, &RunReport)) -> Side {
    Side {
        name: name.to_owned(),
        verdict: report.verdict,
        seed: report.seed,
        trials: counted(report).count() as u32,
        started_at: report.started_at.clone(),
    }
}

/// The trials that say something of the invariants.
fn counted(report: &RunReport) -> impl Iterator<Item = &TrialReport> {
    // Known failures were tried because they fail.
    let counts = |it: &&TrialReport| !it.control && it.number < FIRST_KNOWN;
    report.trials.iter().filter(counts).filter(|it| !it.aside && it.missed.is_none())
}

fn kinds<'r>(before: &'r RunReport, after: &'r RunReport) -> Kinds<'r> {
    let key = |it: &'r TrialReport| {
        (it.situation, it.moment.as_str(), it.signals.first().map(|sent| sent.signal))
    };
    let mut kinds = Kinds::new();
    for trial in counted(before) {
        kinds.entry(key(trial)).or_default().0.push(trial);
    }
    for trial in counted(after) {
        kinds.entry(key(trial)).or_default().1.push(trial);
    }
    kinds
}

/// In how many of the trials of each kind something is so; of kinds that both reports have.
fn tables<'k>(
    kinds: &'k Kinds<'_>,
    is: &'k dyn Fn(&TrialReport) -> bool,
) -> impl Iterator<Item = (&'k Kind<'k>, Table)> {
    let count = |trials: &[&TrialReport]| {
        (trials.iter().filter(|it| is(it)).count() as u64, trials.len() as u64)
    };
    let both = kinds.iter().filter(|(_, (before, after))| !before.is_empty() && !after.is_empty());
    both.map(move |(kind, (before, after))| (kind, (count(before), count(after))))
}

/// The same as strata of a test. Kinds of which both reports have as many trials are one: which kinds
/// there were then tells nothing apart, and a fourfold table of all of them is the stronger test. It
/// is no less strict, since sums of unlike chances vary less than those of like ones (Hoeffding,
/// 1956).
fn strata(kinds: &Kinds<'_>, is: &dyn Fn(&TrialReport) -> bool) -> Vec<Table> {
    let (alike, mut strata): (Vec<Table>, Vec<Table>) =
        tables(kinds, is).map(|(_, table)| table).partition(|(before, after)| before.1 == after.1);
    let sum = |one: (u64, u64), other: (u64, u64)| (one.0 + other.0, one.1 + other.1);
    strata.extend(alike.into_iter().reduce(|a, b| (sum(a.0, b.0), sum(a.1, b.1))));
    strata
}

// ---- invariants ----------------------------------------------------------------------------

fn invariants((before, after): (&RunReport, &RunReport), kinds: &Kinds<'_>) -> Vec<InvariantDiff> {
    let of =
        |report: &'_ RunReport, id: &str| report.invariants.iter().find(|it| it.id == id).cloned();
    let only_before = before.invariants.iter().filter(|it| of(after, &it.id).is_none());
    let ids: Vec<&str> =
        after.invariants.iter().chain(only_before).map(|it| it.id.as_str()).collect();
    let tests: Vec<_> = ids
        .iter()
        .map(|id| {
            let violates = |it: &TrialReport| it.violated.iter().any(|violated| violated == id);
            // What compares signals is in no trial by itself.
            if *id == BOTH_SIGNALS { None } else { compare_rates(&strata(kinds, &violates)) }
        })
        .collect();
    let found: Vec<f64> = tests.iter().flatten().map(|test| test.p).collect();
    let mut right = corrected(&found).into_iter();
    let cells = cells(&ids, kinds);
    ids.iter()
        .zip(tests)
        .zip(cells)
        .map(|((id, test), cells)| {
            let test = test.and_then(|test| Some((right.next()?, test.excess)));
            invariant((of(before, id), of(after, id)), test, cells)
        })
        .collect()
}

/// For each invariant the kinds of trial that differ in it beyond chance.
fn cells(ids: &[&str], kinds: &Kinds<'_>) -> Vec<Vec<CellDiff>> {
    let mut all: Vec<(usize, CellDiff)> = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let violates = |it: &TrialReport| it.violated.iter().any(|violated| violated == id);
        for ((situation, moment, signal), (before, after)) in tables(kinds, &violates) {
            let (cases, of) = (before.0 + after.0, before.1 + after.1);
            if cases > 0 && cases < of {
                let cell = CellDiff {
                    situation: *situation,
                    moment: (*moment).to_owned(),
                    signal: *signal,
                    before: often(before),
                    after: often(after),
                    p: fisher_exact(before, after),
                };
                all.push((at, cell));
            }
        }
    }
    let right = corrected(&all.iter().map(|(_, cell)| cell.p).collect::<Vec<_>>());
    let mut cells = vec![Vec::new(); ids.len()];
    for ((at, cell), p) in all.into_iter().zip(right).filter(|(_, p)| *p <= CHANCE) {
        cells[at].push(CellDiff { p, ..cell });
    }
    cells
}

fn often((times, of): (u64, u64)) -> Often {
    Often { times, of }
}

fn invariant(
    (before, after): (Option<InvariantReport>, Option<InvariantReport>),
    test: Option<(f64, f64)>,
    cells: Vec<CellDiff>,
) -> InvariantDiff {
    let either = after.as_ref().or(before.as_ref());
    let verdict = |it: &Option<InvariantReport>| it.as_ref().map(|it| it.verdict);
    let trials = |it: &Option<InvariantReport>| {
        it.as_ref().map_or_else(Often::default, |it| Often {
            times: it.trials_violated.into(),
            of: it.trials.into(),
        })
    };
    let cases = |it: &Option<InvariantReport>| {
        it.as_ref()
            .map_or_else(Often::default, |it| Often { times: it.violations, of: it.exercised })
    };
    let level = either.map_or(Severity::Allow, |it| it.level);
    let verdicts = (verdict(&before), verdict(&after));
    let (change, note) = judged(verdicts, level, test, &cells);
    InvariantDiff {
        id: either.map(|it| it.id.clone()).unwrap_or_default(),
        level,
        change,
        verdict_before: verdicts.0,
        verdict_after: verdicts.1,
        trials_before: trials(&before),
        trials_after: trials(&after),
        cases_before: cases(&before),
        cases_after: cases(&after),
        p: test.map(|(p, _)| p),
        note: note.map(str::to_owned),
        cells,
    }
}

/// What became of an invariant with these verdicts: a test gives the probability by chance, and how
/// many violations there are too many.
fn judged(
    verdicts: (Option<VerdictName>, Option<VerdictName>),
    level: Severity,
    test: Option<(f64, f64)>,
    cells: &[CellDiff],
) -> (Change, Option<&'static str>) {
    use VerdictName::{Satisfied, Violated};
    let rate = |it: Often| it.times as f64 / it.of.max(1) as f64;
    let is_worse = |cell: &CellDiff| rate(cell.after) > rate(cell.before);
    let sure = match test {
        _ if cells.iter().any(is_worse) => Some(Change::Worse),
        Some((p, excess)) if p <= CHANCE && excess > 0.0 => Some(Change::Worse),
        Some((p, _)) if p <= CHANCE => Some(Change::Better),
        _ if !cells.is_empty() => Some(Change::Better),
        _ => None,
    };
    let shown_before = matches!(verdicts.0, Some(Satisfied | Violated));
    match verdicts {
        (Some(Violated), Some(Violated)) => match (sure, test) {
            (Some(change), _) => (change, None),
            (None, None) => (Change::Same, None),
            (None, Some((_, excess))) if excess.abs() < 1e-9 => (Change::Same, None),
            (None, Some((_, excess))) if excess > 0.0 => (Change::PerhapsWorse, None),
            (None, Some(_)) => (Change::PerhapsBetter, None),
        },
        (_, Some(Violated)) if sure == Some(Change::Worse) => (Change::Worse, None),
        (_, Some(Violated)) => {
            let note = match test {
                _ if !shown_before => "it was not shown before: perhaps it was so already",
                None => "no trial of that kind was there before",
                Some(_) if level == Severity::Deny => {
                    "it held before, and one violation fails a run"
                }
                Some(_) => "it held before",
            };
            let change = match level {
                Severity::Deny => Change::Worse,
                Severity::Warn | Severity::Allow => Change::PerhapsWorse,
            };
            (change, Some(note))
        }
        (Some(Violated), Some(Satisfied)) => match (sure, test) {
            (Some(Change::Better), _) => (Change::Better, None),
            (_, None) => (
                Change::PerhapsBetter,
                Some("the kinds of trial that violated it were not tried again"),
            ),
            _ => (Change::PerhapsBetter, None),
        },
        (Some(Violated), _) => (Change::NotComparable, Some("it was not shown again")),
        (Some(Satisfied), Some(Satisfied)) => (Change::Same, None),
        (Some(Satisfied), _) => (Change::NotComparable, Some("it was not shown again")),
        (_, Some(Satisfied)) => (Change::NotComparable, Some("it was not shown before")),
        _ => (Change::Same, None),
    }
}

// ---- exits and times -----------------------------------------------------------------------

fn end(trial: &TrialReport) -> String {
    match &trial.exit {
        None => ALIVE.to_owned(),
        Some(exit) => match (exit.signal, exit.code) {
            (Some(signal), _) => format!("ended by {signal}"),
            (None, Some(code)) => format!("exit {code}"),
            (None, None) => "exit, status unknown".to_owned(),
        },
    }
}

fn exits(kinds: &Kinds<'_>) -> Vec<ExitDiff> {
    let all = kinds.values().flat_map(|(before, after)| before.iter().chain(after));
    let ends: std::collections::BTreeSet<String> = all.map(|it| end(it)).collect();
    let tests: Vec<_> =
        ends.iter().map(|name| compare_rates(&strata(kinds, &|it| end(it) == *name))).collect();
    let found: Vec<f64> = tests.iter().flatten().map(|test| test.p).collect();
    let mut right = corrected(&found).into_iter();
    let count =
        |name: &str, of: fn(&(Vec<&TrialReport>, Vec<&TrialReport>)) -> usize, own: bool| {
            let trials =
                kinds.values().flat_map(move |(before, after)| if own { before } else { after });
            let times = trials.filter(|it| end(it) == name).count() as u64;
            Often { times, of: kinds.values().map(of).sum::<usize>() as u64 }
        };
    let diffs = ends.into_iter().zip(tests).map(|(name, test)| {
        let p = test.and_then(|_| right.next());
        let excess = test.map_or(0.0, |test| test.excess);
        let is_sure = p.is_some_and(|p| p <= CHANCE);
        let change = match () {
            () if is_sure && name == ALIVE && excess > 0.0 => Change::Worse,
            () if is_sure && name == ALIVE => Change::Better,
            () if is_sure => Change::Changed,
            () => Change::Same,
        };
        let before = count(&name, |(before, _)| before.len(), true);
        let after = count(&name, |(_, after)| after.len(), false);
        ExitDiff { change, before, after, p, end: name }
    });
    diffs.collect()
}

/// A time that a trial has, if it has.
type Time = fn(&TrialReport) -> Option<f64>;

fn times(kinds: &Kinds<'_>, same_machine: bool, invariants: &[InvariantDiff]) -> Vec<TimeDiff> {
    // Who loses requests is sooner done: that a server takes longer which loses them no more is the
    // price of it.
    let is_mended = invariants
        .iter()
        .any(|it| it.change == Change::Better && it.verdict_after == Some(VerdictName::Satisfied));
    let differ = invariants.iter().filter(|it| it.change != Change::Same);
    let differ: Vec<&str> = differ.map(|it| it.id.as_str()).collect();
    let is_alike = |it: &TrialReport| !it.violated.iter().any(|id| differ.contains(&id.as_str()));
    let all: [(&str, Time); 3] = [
        ("drain", |it| it.drain_ms),
        ("refusal", |it| it.refused_after_ms.filter(|_| it.situation.has_late_connections())),
        ("exit", |it| it.exit.as_ref()?.after_ms),
    ];
    let found = all.into_iter().filter_map(|(what, of)| {
        // How long a start takes that is broken off is about no shutdown.
        let kinds = kinds.iter().filter(|(kind, _)| kind.0 != Situation::Startup);
        let values = |trials: &[&TrialReport]| {
            trials.iter().filter(|it| is_alike(it)).filter_map(|it| of(it)).collect()
        };
        let strata: Vec<(Vec<f64>, Vec<f64>)> =
            kinds.map(|(_, (before, after))| (values(before), values(after))).collect();
        Some((what, compare_values(&strata)?, strata))
    });
    let found: Vec<_> = found.collect();
    let right = corrected(&found.iter().map(|(_, test, _)| test.p).collect::<Vec<_>>());
    let both = found.into_iter().zip(right);
    both.map(|((what, test, strata), p)| {
        let compared = || strata.iter().filter(|(a, b)| !a.is_empty() && !b.is_empty());
        let mut before: Vec<f64> = compared().flat_map(|(before, _)| before.clone()).collect();
        let mut after: Vec<f64> = compared().flat_map(|(_, after)| after.clone()).collect();
        before.sort_by(f64::total_cmp);
        after.sort_by(f64::total_cmp);
        let median = |values: &[f64]| quantile(values, 0.5).unwrap_or_default();
        let least = (median(&before) * MATTERS).max(MATTERS_MS);
        let (change, note) = match timed((p, test.shift), least, same_machine) {
            (Change::Worse, _) if is_mended => (Change::Changed, Some(PRICE)),
            other => other,
        };
        TimeDiff {
            what: what.to_owned(),
            change,
            median_before_ms: median(&before),
            median_after_ms: median(&after),
            shift_ms: test.shift,
            trials_before: before.len() as u32,
            trials_after: after.len() as u32,
            p,
            note: note.map(str::to_owned),
        }
    })
    .collect()
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

// ---- all of it -----------------------------------------------------------------------------

fn outcome(invariants: &[InvariantDiff], times: &[TimeDiff], exits: &[ExitDiff]) -> DiffOutcome {
    let counts = invariants.iter().filter(|it| it.level != Severity::Allow).map(|it| it.change);
    let changes: Vec<Change> = counts
        .chain(times.iter().map(|it| it.change))
        .chain(exits.iter().map(|it| it.change))
        .collect();
    let is_shown = |it: Option<VerdictName>| {
        matches!(it, Some(VerdictName::Satisfied | VerdictName::Violated))
    };
    let shown = |it: &&InvariantDiff| is_shown(it.verdict_before) && is_shown(it.verdict_after);
    match () {
        () if changes.contains(&Change::Worse) => DiffOutcome::Worse,
        () if !invariants.iter().any(|it| shown(&it)) => DiffOutcome::NotComparable,
        () if changes.contains(&Change::Better) => DiffOutcome::Better,
        () => DiffOutcome::Same,
    }
}

#[cfg(test)]
mod tests;
