//! What became better and what worse from one report to another, told from chance.
//!
//! The unit is the trial: what one trial loses, it may lose at once, so that its requests are no
//! independent cases. Trials are compared with those of their own situation, moment and signal.

use std::collections::BTreeMap;

use crate::invariants::BOTH_SIGNALS;
use crate::model::comparison::{RateTest, Table, compare_rates, corrected};
use crate::model::diff::{
    CHANCE, CellDiff, Change, DIFF_VERSION, DiffOutcome, DiffReport, ExitDiff, InvariantDiff,
    Often, Side, TimeDiff,
};
use crate::model::number::FIRST_KNOWN;
use crate::model::plan::Situation;
use crate::model::run::{InvariantReport, RunReport, Tool, TrialReport};
use crate::model::signal::Signal;
use crate::model::statistics::fisher_exact;
use crate::model::verdict::{Severity, VerdictName};

mod text;
mod times;
mod unfair;

pub use text::{markdown, text};

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
    let times = times::times(&kinds, same_machine, &invariants);
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

/// Compares in how many of the trials something is so, kind by kind.
///
/// Of kinds of which both reports have one trial, that sees the pairs alone that differ. A fourfold
/// table of all of them is no less strict: which kinds there were tells nothing apart, and sums of
/// unlike chances vary less than those of like ones (Hoeffding, 1956). It is the stronger test where
/// few fail on both sides, and the weaker one where many do. So where there are such kinds both
/// count, and the smaller probability twice, for the two tries (Bonferroni).
fn compare_kinds(kinds: &Kinds<'_>, is: &dyn Fn(&TrialReport) -> bool) -> Option<RateTest> {
    let all: Vec<Table> = tables(kinds, is).map(|(_, table)| table).collect();
    let apart = compare_rates(&all)?;
    let (single, mut together): (Vec<Table>, Vec<Table>) =
        all.into_iter().partition(|(before, after)| before.1 == 1 && after.1 == 1);
    if single.len() < 2 {
        return Some(apart);
    }
    let sum = |one: (u64, u64), other: (u64, u64)| (one.0 + other.0, one.1 + other.1);
    together.extend(single.into_iter().reduce(|a, b| (sum(a.0, b.0), sum(a.1, b.1))));
    let p = compare_rates(&together).map_or(apart.p, |test| test.p.min(apart.p));
    Some(RateTest { p: (2.0 * p).min(1.0), ..apart })
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
            if *id == BOTH_SIGNALS { None } else { compare_kinds(kinds, &violates) }
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

// ---- exits ---------------------------------------------------------------------------------

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
        ends.iter().map(|name| compare_kinds(kinds, &|it| end(it) == *name)).collect();
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
