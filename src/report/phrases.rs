//! What every format for people says alike: the verdict in a sentence, an invariant's figures.

use crate::invariants::{self, Counts};
use crate::model::partition::Partition;
use crate::model::run::{
    CoverageCell, InvariantReport, MergedReport, RunReport, SliceReport, TrialReport,
};
use crate::model::verdict::{Severity, VerdictName};

use super::numbers::{counted, grouped, percent_down, percent_up};
use super::snapshot;
use super::summary::NEVER_EXITS;
use super::text::clean;

/// What an invariant of the report counts; a later version may have written it.
pub(super) fn counts_of(id: &str) -> Counts {
    invariants::find(id).map_or(Counts::CASES, |invariant| invariant.counts)
}

/// The invariants with this level and this verdict.
pub(super) fn with(
    report: &RunReport,
    level: Severity,
    verdict: VerdictName,
) -> Vec<&InvariantReport> {
    let is = |i: &&InvariantReport| (i.level, i.verdict) == (level, verdict);
    report.invariants.iter().filter(is).collect()
}

/// The invariants that failed: first those that fail the run, then those that only warn.
pub(super) fn failed(report: &RunReport) -> Vec<&InvariantReport> {
    let [denied, warned] =
        [Severity::Deny, Severity::Warn].map(|level| with(report, level, VerdictName::Violated));
    [denied, warned].concat()
}

/// The trials that were missed or never tried, with the reason; nothing where all were reached.
pub(super) fn unreached(report: &RunReport) -> impl Iterator<Item = (String, String)> {
    let words = |cell: &CoverageCell| {
        let reason = clean(cell.reason.as_ref()?);
        let times = match cell.missed {
            0 => "not reached".to_owned(),
            1 => "missed once".to_owned(),
            missed => format!("missed {} times", grouped(missed.into())),
        };
        Some((format!("{} {times}", cell.situation.name()), reason))
    };
    report.coverage.iter().filter_map(words)
}

/// What is said of the violations beyond the first `told`; nothing where there are no others.
pub(super) fn others(invariant: &InvariantReport, told: usize) -> Option<String> {
    let told = told.min(invariant.evidence.len()) as u64;
    let others = invariant.violations.checked_sub(told).filter(|others| *others > 0)?;
    let trials = counted(invariant.trials_violated.into(), "trial", "trials");
    Some(format!("and {} more; in {trials} altogether", grouped(others)))
}

/// The verdict of a run in a sentence without an end, and whether the snapshot fails it.
pub(super) fn sentence(report: &RunReport) -> String {
    let verdict = verdict(report);
    match report.snapshot.as_ref().filter(|snapshot| snapshot.fails()) {
        Some(failed) => format!("{verdict}; {}", snapshot::verdict(failed)),
        None => verdict,
    }
}

fn verdict(report: &RunReport) -> String {
    if let (Some(slice), true) = (report.partition, report.verdict != VerdictName::Violated) {
        return part(slice, report);
    }
    if let (Some(merged), VerdictName::Inconclusive) = (&report.merged, report.verdict)
        && merged.is_incomplete()
    {
        return format!("inconclusive: {}", lacking(merged));
    }
    match report.verdict {
        VerdictName::Satisfied => satisfied(report),
        VerdictName::Violated => violated(report),
        VerdictName::Inconclusive | VerdictName::NotApplicable => inconclusive(report),
    }
}

/// What a slice that violates nothing says: no verdict, since the others may have one.
fn part(slice: Partition, report: &RunReport) -> String {
    let warned = warnings(report).map_or_else(String::new, |told| format!(", with {told}"));
    format!(
        "partial: slice {} of {} violates nothing that fails a run{warned}; the verdict is that of \
         all slices (shutdown-check merge)",
        slice.index, slice.count
    )
}

/// What is not there of a plan that was put together from slices.
fn lacking(merged: &MergedReport) -> String {
    let listed = |numbers: Vec<u32>, one: &str, many: &str| {
        let texts: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        let (verb, noun) = if texts.len() == 1 { (one, "slice") } else { (many, "slices") };
        (!texts.is_empty())
            .then(|| format!("{noun} {} of {} {verb}", texts.join(", "), merged.count))
    };
    let short = merged.slices.iter().filter(|it| it.is_incomplete());
    let short: Vec<u32> = short.map(|it: &SliceReport| it.index).collect();
    let told = [
        listed(merged.missing.clone(), "is missing", "are missing"),
        listed(short, "was broken off", "were broken off"),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The word that stands for an invariant's verdict: `ok`, `FAIL`, `warn`, `seen`, `?` or `–`.
pub(super) fn mark(invariant: &InvariantReport) -> &'static str {
    match (invariant.verdict, invariant.level) {
        (VerdictName::Satisfied, _) => "ok",
        (VerdictName::Violated, Severity::Deny) => "FAIL",
        (VerdictName::Violated, Severity::Warn) => "warn",
        (VerdictName::Violated, Severity::Allow) => "seen",
        (VerdictName::Inconclusive, _) => "?",
        (VerdictName::NotApplicable, _) => "–",
    }
}

/// What an invariant's verdict rests on: counts and bounds, or the reason for having none.
pub(super) fn figures(invariant: &InvariantReport) -> String {
    let counts = counts_of(&invariant.id);
    let exercised = grouped(invariant.exercised);
    match invariant.verdict {
        VerdictName::NotApplicable | VerdictName::Inconclusive => {
            clean(invariant.reason.as_deref().unwrap_or("nothing was shown either way"))
        }
        VerdictName::Satisfied => {
            let tried = counted(invariant.exercised, counts.one, counts.many);
            match invariant.rate_upper_bound_95.filter(|_| counts.has_rate) {
                Some(bound) => format!("{tried}, loss < {} %", percent_up(bound)),
                None => tried,
            }
        }
        VerdictName::Violated => {
            let failed = format!(
                "{} of {exercised} {}",
                grouped(invariant.violations),
                failed_word(counts, invariant.exercised)
            );
            match (worst(invariant), interval(invariant)) {
                (Some(worst), _) => format!("{failed}; {worst}"),
                (None, Some(interval)) => format!("{failed}, {interval}"),
                (None, None) => failed,
            }
        }
    }
}

/// What the rate of a violated invariant is, with 95 % confidence: `54–100 %`. Of several signals it is
/// that of the worst.
pub(super) fn interval(invariant: &InvariantReport) -> Option<String> {
    let (lower, upper) = (invariant.rate_lower_bound_95?, invariant.rate_upper_bound_95?);
    let signal = invariant.rate_signal.map_or_else(String::new, |signal| format!("{signal}: "));
    Some(format!("{signal}{}–{} %", percent_down(lower), percent_up(upper)))
}

/// Where it fails most, if the rate is of those trials only: `most in one-request, after recv #1: 6 of
/// 6, 54–100 %`.
pub(super) fn worst(invariant: &InvariantReport) -> Option<String> {
    let (cell, interval) = (invariant.rate_cell.as_ref()?, interval(invariant)?);
    if (cell.failed, cell.exercised) == (invariant.violations, invariant.exercised) {
        return None;
    }
    // A report of an earlier version does not say how many.
    let counts = match cell.exercised {
        0 => String::new(),
        of => format!("{} of {}, ", grouped(cell.failed), grouped(of)),
    };
    let (situation, when) = (cell.situation.name(), when(&cell.moment));
    Some(format!("most in {situation}, {when}: {counts}{interval}"))
}

/// A kind of moment in words.
fn when(moment: &str) -> String {
    match (moment.split_at_checked(2), moment) {
        (Some(("< ", landmark)), _) => format!("signal before {landmark}"),
        (Some(("> ", landmark)), _) => format!("signal after {landmark}"),
        (_, "uniform") => "signal at any time".to_owned(),
        (_, "reached") => "signal once it was there".to_owned(),
        (_, moment) if moment.starts_with("held ") => format!("target {moment}"),
        (_, moment) => format!("signal {moment}"),
    }
}

/// The signals that a trial sent: of many, how many there were.
pub(super) fn sent(trial: &TrialReport) -> String {
    let signals: Vec<_> = trial.signals.iter().map(|sent| sent.signal.to_string()).collect();
    match &signals[..] {
        [first, _, _, ..] => format!("{} × {first}", signals.len()),
        few => few.join("+"),
    }
}

/// The word after `3 of 1 912`.
pub(super) fn failed_word(counts: Counts, of: u64) -> &'static str {
    if of == 1 && counts.failed == counts.many { counts.one } else { counts.failed }
}

fn warnings(report: &RunReport) -> Option<String> {
    match with(report, Severity::Warn, VerdictName::Violated).len() as u64 {
        0 => None,
        warnings => Some(counted(warnings, "warning", "warnings")),
    }
}

fn satisfied(report: &RunReport) -> String {
    let mut parts: Vec<String> = warnings(report).into_iter().collect();
    let mut without = with(report, Severity::Deny, VerdictName::NotApplicable);
    // Where the user declares no writes, that there were none is no news.
    without.retain(|it| !invariants::find(&it.id).is_some_and(|it| it.is_about_writes()));
    if !without.is_empty() {
        let ids: Vec<_> = without.iter().map(|invariant| invariant.id.as_str()).collect();
        parts.push(format!("no occasion for {}", ids.join(", ")));
    }
    let bound = report.bound.as_ref().filter(|bound| bound.reached);
    let excluded =
        bound.map_or_else(String::new, |it| format!("; losses above {} are excluded", it.rate));
    match parts.is_empty() {
        true => format!("satisfied{excluded}"),
        false => format!("satisfied, with {}{excluded}", parts.join(" and ")),
    }
}

/// What a run that was to exclude a rate of loss rests on.
pub(super) fn bound(report: &RunReport) -> Option<String> {
    let bound = report.bound.as_ref()?;
    let trials = counted(bound.trials.into(), "trial", "trials");
    let of_trials = bound.trials_upper_bound_95.map_or_else(String::new, |upper| {
        format!(
            "; the {trials} exclude that more than {} % of shutdowns lose any",
            percent_up(upper)
        )
    });
    let invariants = counted(bound.invariants.len() as u64, "invariant", "invariants");
    Some(format!(
        "{} excludes losses above {}: {} cases without one, of each of {invariants} with each \
         signal{of_trials}",
        if bound.reached { "this" } else { "what" },
        bound.rate,
        grouped(bound.cases),
    ))
}

fn violated(report: &RunReport) -> String {
    let violated = with(report, Severity::Deny, VerdictName::Violated).len() as u64;
    let violated = format!("violated: {}", counted(violated, "invariant", "invariants"));
    match warnings(report) {
        Some(warnings) => format!("{violated}, with {warnings}"),
        None => violated,
    }
}

/// Each reason once, with the invariants that it holds for.
fn inconclusive(report: &RunReport) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for invariant in with(report, Severity::Deny, VerdictName::Inconclusive) {
        let reason = invariant.reason.as_deref().unwrap_or("nothing was shown either way");
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(&invariant.id),
            None => reasons.push((reason, vec![&invariant.id])),
        }
    }
    if let Some(bound) = report.bound.as_ref().filter(|bound| reasons.is_empty() && !bound.reached)
    {
        if bound.invariants.is_empty() {
            return format!(
                "inconclusive: losses above {} are not excluded: no invariant that fails a run was \
                 exercised more than once a trial (--trials says how many trials)",
                bound.rate
            );
        }
        let lacking =
            bound.invariants.iter().filter(|it| it.rate_upper_bound_95 > bound.rate.rate());
        let lacking: Vec<_> = lacking
            .map(|it| format!("{} {} %", it.id, percent_up(it.rate_upper_bound_95)))
            .collect();
        return format!(
            "inconclusive: losses above {} are not excluded, so far above {}: give it more time \
             (--budget)",
            bound.rate,
            lacking.join(", ")
        );
    }
    if reasons.is_empty() {
        return "inconclusive: no invariant that fails a run applied: deny one (--deny ID)".into();
    }
    let reasons: Vec<_> = reasons
        .iter()
        .map(|(reason, ids)| format!("{}: {}", ids.join(", "), clean(reason)))
        .collect();
    format!("inconclusive: {}", reasons.join("; "))
}

/// What would be otherwise if the target were PID 1; nothing where that was not tried, or made no
/// difference.
pub(super) fn pid_1(report: &RunReport) -> Option<String> {
    let (first, others) = report.pid_1.as_ref()?.changes.split_first()?;
    let what = match &*first.invariant {
        NEVER_EXITS => "it never exits".to_owned(),
        id => format!("it violates {}", clean(id)),
    };
    let others: Vec<_> = others.iter().map(|it| clean(&it.invariant)).collect();
    let others = match others.is_empty() {
        true => String::new(),
        false => format!("; it also violates {}", others.join(", ")),
    };
    Some(format!(
        "as PID 1 (in a container without an init) {what}: {} (trial {}){others}; --as-pid-1 makes that \
         count",
        clean(&first.message),
        first.trial
    ))
}

/// An argument as a shell would have it.
pub fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+=.,/:@%{}".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// The target's command as it would be typed.
pub(super) fn command(report: &RunReport) -> String {
    let words: Vec<String> = report.target.command.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}
