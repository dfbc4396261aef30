//! Puts the report of a run together from its trials, whatever order they ended in.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::invariants::{BOTH_SIGNALS, NO_LISTENER};
use crate::model::bound::Bound;
use crate::model::partition::Partition;
use crate::model::plan::{Plan, Situation};
use crate::model::run::{
    DeepReport, Distribution, Environment, InvariantReport, Levels, MergedReport, PooledClients,
    RunReport, SCHEMA_VERSION, TargetReport, Timings, Tool, TrialReport,
};
use crate::model::search::SearchReport;
use crate::model::signal::Signal;
use crate::model::statistics::quantile;
use crate::model::verdict::{Profile, Severity, VerdictName};

use super::super::numbers::counted;
use super::controls::excused;
use super::coverage::coverage;
use super::interrupt::compare;
use super::notes::notes;
use super::occasions::{NO_TIME, Occasions};
use super::pid_1::pid_1;
use super::repeated::{is_about, settled};
use super::{EVIDENCE_SHOWN, Ranked, Shown, TrialSummary, most_frequent, rates, worst};

/// What a report says besides what its trials show.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The program that carried out the run.
    pub tool: Tool,
    /// The profile that set the severities.
    pub profile: Profile,
    /// What a violation does, for every invariant, in the order of the catalogue.
    pub severities: Vec<(&'static str, Severity)>,
    /// The seed of the plan.
    pub seed: u64,
    /// What was tested.
    pub target: TargetReport,
    /// What was to be done.
    pub plan: Plan,
    /// Which of its trials were chosen, where that was not fixed before.
    pub search: Option<SearchReport>,
    /// The rate of loss that was to be excluded.
    pub until_bound: Option<Bound>,
    /// The settings that were in force, as they would stand in shutdown-check.toml.
    pub configuration: serde_json::Value,
    /// The machine.
    pub environment: Environment,
    /// When the run began (RFC 3339).
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The signal that stopped the run before its plan was done.
    pub interrupted: Option<Signal>,
    /// The folder of the histories.
    pub histories: Option<String>,
    /// Starts that did not come as far as the signal, and were tried again.
    pub retries: u32,
    /// The situations that were to be tried.
    pub chosen: BTreeSet<Situation>,
    /// Those of them that the target gives no occasion for, and why.
    pub unreachable: BTreeMap<Situation, String>,
    /// What was to be tried at system calls.
    pub deep: Option<DeepReport>,
    /// Which slice of the plan it was.
    pub partition: Partition,
    /// The slices that it is put together from.
    pub merged: Option<MergedReport>,
}

/// The report of a run, from its trials in whatever order they ended.
pub fn assemble(run: RunFacts, trials: &[TrialSummary]) -> RunReport {
    let settled = settled(&excused(trials, &run.severities), &run.severities);
    let mut trials: Vec<&TrialSummary> = settled.iter().collect();
    trials.sort_by_key(|trial| trial.report.number);
    let partition = Some(run.partition).filter(|it| it.is_part());
    let is_missing = run.merged.as_ref().is_some_and(MergedReport::is_incomplete);
    let untried = match ended_by(&run, &trials) {
        Some(option) => format!("the run ended at its first violation ({option})").into(),
        None => untried(&run, trials.len(), is_missing),
    };
    let occasions = Occasions::of(&trials, (&run.chosen, &untried), &run.unreachable);
    let is_searched = run.search.is_some();
    let merge = |(id, level): &(&'static str, Severity)| {
        merged((id, *level), &trials, &occasions, is_searched)
    };
    let mut invariants: Vec<_> = run.severities.iter().map(merge).collect();
    if let Some(report) = invariants.iter_mut().find(|report| report.id == BOTH_SIGNALS) {
        compare(report, &trials);
    }
    let denied = invariants.iter().filter(|invariant| invariant.level == Severity::Deny);
    let shown = worst(denied.map(|invariant| invariant.verdict));
    let bound = run.until_bound.map(|bound| super::bound::report(bound, &invariants));
    // What was to be excluded is not.
    let lacks_bound = bound.as_ref().is_some_and(|bound| !bound.reached);
    let verdict = match shown {
        // Nor is a part of a plan all of it.
        VerdictName::Satisfied if lacks_bound || is_missing || partition.is_some() => {
            VerdictName::Inconclusive
        }
        shown => shown,
    };
    RunReport {
        schema_version: SCHEMA_VERSION.to_owned(),
        tool: run.tool,
        verdict,
        exit_code: exit_code(verdict, run.interrupted, partition),
        interrupted: run.interrupted,
        retries: run.retries,
        partition,
        merged: run.merged,
        profile: run.profile,
        seed: run.seed,
        levels: levels(&trials),
        notes: notes(&run.target.command, &invariants, &trials),
        target: run.target,
        pid_1: pid_1(&trials, &invariants),
        invariants,
        deep: run.deep.map(|deep| tried(deep, &trials)),
        bound,
        reproductions: Vec::new(),
        replayed: Vec::new(),
        snapshot: None,
        coverage: coverage(&trials, &run.unreachable),
        timings: timings(&trials),
        pooled_clients: pooled(&trials),
        outcomes: outcomes(&trials),
        trials: trials.iter().map(|trial| trial.report.clone()).collect(),
        plan: run.plan,
        search: run.search,
        configuration: run.configuration,
        environment: run.environment,
        histories: run.histories,
        started_at: run.started_at,
        duration_ms: run.duration_ms,
    }
}

/// Why a situation that was chosen was not tried.
fn untried(run: &RunFacts, tried: usize, is_missing: bool) -> Cow<'static, str> {
    let trials = run.configuration.get("trials").and_then(serde_json::Value::as_u64);
    let slice = Some(run.partition).filter(|it| it.is_part());
    match (slice, trials) {
        (Some(slice), _) => format!("{slice} has none of it: see the others (merge)").into(),
        _ if is_missing => "a slice of the plan is missing".into(),
        _ if run.interrupted.is_some() => "the run was interrupted before that".into(),
        (None, Some(_)) if tried < run.plan.trials.len() => "the run was over before that".into(),
        (None, Some(trials)) => {
            let trials = counted(trials, "trial", "trials");
            format!("a plan of {trials} has no room for it: ask for more (--trials)").into()
        }
        (None, None) => "the run was over before that: give it more time (--budget)".into(),
    }
}

/// The option by which the run ended at its first violation, where it did.
fn ended_by(run: &RunFacts, trials: &[&TrialSummary]) -> Option<&'static str> {
    let is_fail_fast = run.configuration.get("fail-fast").and_then(serde_json::Value::as_bool);
    let option = match run.until_bound {
        _ if is_fail_fast == Some(true) => "--fail-fast",
        Some(_) => "--until-bound",
        None => return None,
    };
    let is_violated = |it: &&TrialSummary| it.report.verdict == VerdictName::Violated;
    trials.iter().any(|it| it.is_judged() && is_violated(it)).then_some(option)
}

/// Drops the evidence that no report will show, so that a long run of failures stays small.
///
/// The report is the same whether or not, and however often, this is done: each situation, moment and
/// signal keeps its own, since a control may still excuse another's.
pub fn thin(trials: &mut [TrialSummary]) {
    let mut cells: BTreeMap<_, Vec<&TrialSummary>> = BTreeMap::new();
    for trial in trials.iter() {
        let cell = (trial.report.situation, trial.report.moment.as_str(), trial.signal);
        cells.entry(cell).or_default().push(trial);
    }
    let mut kept: HashSet<(&'static str, usize, u32)> = HashSet::new();
    for trials in cells.values() {
        let failed: HashSet<_> =
            trials.iter().flat_map(|trial| &trial.evidence).map(|it| it.invariant).collect();
        let best = failed.into_iter().flat_map(|id| best_evidence(id, trials));
        kept.extend(best.map(|it| (it.invariant, it.place, it.evidence.trial)));
    }
    for trial in trials {
        trial.evidence.retain(|it| kept.contains(&(it.invariant, it.place, it.evidence.trial)));
    }
}

/// The evidence to show: first one violation of each trial, and the smallest trials first.
fn best_evidence<'t>(invariant: &str, trials: &[&'t TrialSummary]) -> Vec<&'t Ranked> {
    let of = |trial: &'t TrialSummary| {
        trial.evidence.iter().map(move |ranked| (trial.report.requests, ranked))
    };
    let mut all: Vec<_> = trials
        .iter()
        .flat_map(|trial| of(trial))
        .filter(|(_, ranked)| ranked.invariant == invariant)
        .collect();
    all.sort_by_key(|(requests, ranked)| (ranked.place, *requests, ranked.evidence.trial));
    all.into_iter().map(|(_, ranked)| ranked).take(EVIDENCE_SHOWN).collect()
}

fn merged(
    (id, level): (&'static str, Severity),
    trials: &[&TrialSummary],
    occasions: &Occasions,
    is_searched: bool,
) -> InvariantReport {
    // Controls have no signal, and what was missed was not there: neither shows anything.
    let has_own = trials.iter().any(|trial| is_about(trial, id));
    let judged =
        trials.iter().filter(|trial| if has_own { is_about(trial, id) } else { trial.is_judged() });
    let by_trial: Vec<(&TrialSummary, &Shown)> = judged
        .flat_map(|trial| trial.shown.iter().map(move |shown| (*trial, shown)))
        .filter(|(_, shown)| shown.invariant == id)
        .collect();
    let shown: Vec<&Shown> = by_trial.iter().map(|(_, shown)| *shown).collect();
    let number = |verdict| shown.iter().filter(|shown| shown.verdict == verdict).count() as u32;
    let violated = number(VerdictName::Violated);
    let satisfied = number(VerdictName::Satisfied);
    let not_applicable = number(VerdictName::NotApplicable);
    let is_worker =
        !shown.is_empty() && shown.iter().all(|shown| shown.reason.as_deref() == Some(NO_LISTENER));
    let without = occasions.without(id).filter(|_| !is_worker);
    let excused = shown.iter().any(|shown| shown.excused);
    let verdict = match () {
        () if violated > 0 => VerdictName::Violated,
        // Neither a failure nor a pass: a control failed as well.
        () if excused => VerdictName::Inconclusive,
        () if satisfied > 0 => VerdictName::Satisfied,
        () if not_applicable > 0 && not_applicable as usize == shown.len() => {
            VerdictName::NotApplicable
        }
        () => without.as_ref().map_or(VerdictName::Inconclusive, |(verdict, _)| *verdict),
    };
    let exercised = shown.iter().map(|shown| u64::from(shown.exercised)).sum();
    let violations = shown.iter().map(|shown| u64::from(shown.violations)).sum();
    let rate = match is_searched && violated > 0 {
        true => rates::worst_cell(&by_trial),
        false => rates::worst(by_trial.iter().map(|(trial, shown)| (trial.signal, *shown))),
    };
    let reason = match verdict {
        VerdictName::Violated | VerdictName::Satisfied => None,
        _ if excused => usual_reason(shown.iter().filter(|shown| shown.excused), verdict),
        _ => without
            .map(|(_, reason)| reason)
            .or_else(|| usual_reason(shown.iter(), verdict))
            .or_else(|| Some(NO_TIME.to_owned())),
    };
    InvariantReport {
        id: id.to_owned(),
        level,
        verdict,
        trials: satisfied + violated,
        trials_violated: violated,
        exercised,
        violations,
        rate_upper_bound_95: rate.upper,
        rate_lower_bound_95: rate.lower,
        rate_signal: rate.signal,
        rate_cell: rate.cell,
        again: None,
        reason,
        evidence: best_evidence(id, &counting(trials))
            .into_iter()
            .map(|ranked| ranked.evidence.clone())
            .collect(),
    }
}

/// The most frequent reason for this verdict; of equally frequent ones, the first trial's.
fn usual_reason<'s>(
    shown: impl Iterator<Item = &'s &'s Shown>,
    verdict: VerdictName,
) -> Option<String> {
    let mut times: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (at, shown) in shown.filter(|shown| shown.verdict == verdict).enumerate() {
        let Some(reason) = &shown.reason else { continue };
        times.entry(reason).or_insert((0, at)).0 += 1;
    }
    times
        .into_iter()
        .max_by_key(|(_, (times, first))| (*times, usize::MAX - first))
        .map(|(reason, _)| reason.to_owned())
}

fn exit_code(
    verdict: VerdictName,
    interrupted: Option<Signal>,
    partition: Option<Partition>,
) -> u8 {
    match (interrupted, verdict) {
        (Some(signal), _) => u8::try_from(128 + signal.number()).unwrap_or(u8::MAX),
        (None, VerdictName::Satisfied) => 0,
        (None, VerdictName::Violated) => 1,
        // What a slice does not show, another one may: all of them together have the verdict.
        (None, VerdictName::Inconclusive | VerdictName::NotApplicable) => {
            if partition.is_some() {
                0
            } else {
                3
            }
        }
    }
}

/// From the kernel only where every trial had them from there.
fn levels(trials: &[&TrialSummary]) -> Levels {
    let mut exact = trials.iter().filter_map(|trial| trial.exact).peekable();
    match exact.peek().is_some() && exact.all(|exact| exact) {
        true => Levels::Kernel,
        false => Levels::Inferred,
    }
}

fn timings(trials: &[&TrialSummary]) -> Timings {
    // How long a start takes that is broken off, and its end, are about no shutdown.
    let counted = || {
        let is_start = |trial: &TrialSummary| trial.report.situation == Situation::Startup;
        counting(trials)
            .into_iter()
            .filter(move |trial| trial.report.missed.is_none() && !is_start(trial))
    };
    let over = |value: fn(&TrialReport) -> Option<f64>| {
        distribution(counted().filter_map(|trial| value(&trial.report)).collect())
    };
    let over_moving = |value: fn(&TrialReport) -> Option<f64>| {
        let moving = counted().filter(|trial| trial.report.held_within_ms.is_none());
        distribution(moving.filter_map(|trial| value(&trial.report)).collect())
    };
    Timings {
        ready_ms: over(|trial| trial.ready_ms),
        drain_ms: over(|trial| trial.drain_ms),
        exit_ms: over(|trial| trial.exit.as_ref()?.after_ms),
        refused_after_ms: over(|trial| {
            trial.refused_after_ms.filter(|_| trial.situation.has_late_connections())
        }),
        listener_closed_after_ms: over_moving(|trial| trial.listener_closed_after_ms),
        queue_emptied_after_ms: over_moving(|trial| trial.queue_emptied_after_ms),
        held_within_ms: over(|trial| trial.held_within_ms),
        signal_error_us: distribution(
            counted().flat_map(|t| &t.report.signals).map(|signal| signal.error_us).collect(),
        ),
        harness_lag_ms: over(|trial| Some(trial.harness_lag_ms)),
    }
}

/// The same with how many of the points were tried.
fn tried(deep: DeepReport, trials: &[&TrialSummary]) -> DeepReport {
    let points: BTreeSet<&str> = deep.points.iter().map(String::as_str).collect();
    let reached = trials.iter().filter(|trial| {
        trial.report.missed.is_none() && trial.report.situation == Situation::OneRequest
    });
    let seen: BTreeSet<&str> = reached.map(|trial| trial.report.moment.as_str()).collect();
    let tried = seen.intersection(&points).count() as u32;
    DeepReport { tried, ..deep }
}

fn distribution(mut values: Vec<f64>) -> Option<Distribution> {
    values.sort_by(f64::total_cmp);
    let at = |q| quantile(&values, q);
    Some(Distribution {
        min: *values.first()?,
        p50: at(0.5)?,
        p99: at(0.99)?,
        max: *values.last()?,
    })
}

fn pooled(trials: &[&TrialSummary]) -> PooledClients {
    let mut all = PooledClients::default();
    for PooledClients { requests, failed_before_signal, failed_after_signal, errors } in
        trials.iter().map(|trial| &trial.pooled)
    {
        all.requests += requests;
        all.failed_before_signal += failed_before_signal;
        all.failed_after_signal += failed_after_signal;
        for (text, times) in errors {
            *all.errors.entry(text.clone()).or_default() += times;
        }
    }
    all.errors = most_frequent(all.errors);
    all
}

/// The trials, without those that only show what would be otherwise.
fn counting<'t>(trials: &[&'t TrialSummary]) -> Vec<&'t TrialSummary> {
    trials.iter().copied().filter(|trial| !trial.report.aside).collect()
}

fn outcomes(trials: &[&TrialSummary]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((phase, outcome), times) in counting(trials).into_iter().flat_map(|trial| &trial.outcomes)
    {
        let of_phase = all.entry(phase.name().to_owned()).or_default();
        *of_phase.entry((*outcome).to_owned()).or_default() += times;
    }
    all
}
