//! What the reports of slices have in common, and what they add up to: all of a merged report but
//! what its trials show, which is judged anew from their histories.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::invariants;
use crate::model::number::FIRST_KNOWN;
use crate::model::partition::Partition;
use crate::model::plan::{Plan, Situation};
use crate::model::run::{
    DeepReport, Environment, MergedReport, RequestReport, RunReport, SliceReport, TargetReport,
};
use crate::model::search::SearchReport;
use crate::model::verdict::Severity;

use super::summary::RunFacts;

/// Settings that may differ from machine to machine.
const OF_A_MACHINE: [&str; 4] = ["cwd", "parallel", "reports-dir", "shrink-budget"];

/// Reports that don't belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// One is of a whole run.
    #[error("{name} is no slice of a plan\n  merge takes the reports of runs with --partition")]
    Whole {
        /// Which one.
        name: String,
    },
    /// One slice is there twice.
    #[error("{one} and {other} are both {slice}\n  name each slice once")]
    Twice {
        /// Which one.
        slice: Partition,
        /// The one report.
        one: String,
        /// The other.
        other: String,
    },
    /// They are of different plans or targets.
    #[error(
        "{one} and {other} are no slices of one plan: {what} is {first} and {second}\n  run all \
         slices with the same options, of the same program"
    )]
    Different {
        /// The one report.
        one: String,
        /// The other.
        other: String,
        /// What differs.
        what: String,
        /// What it is in the one.
        first: String,
        /// What it is in the other.
        second: String,
    },
    /// They were written by another version, which may judge otherwise.
    #[error("{name} was written by version {found}, and this is {own}\n  merge with that one")]
    Version {
        /// Which one.
        name: String,
        /// By which version.
        found: String,
        /// The version of this program.
        own: String,
    },
    /// It names an invariant or a setting that this program does not know.
    #[error("{name} can't be merged: {reason}")]
    Content {
        /// Which one.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A report, and the name by which its user knows it.
pub type Named = (String, RunReport);

/// What the merged report says besides what its trials show. The slices are put in their order.
///
/// # Errors
/// When they are not different slices of one plan.
pub fn facts(slices: &mut [Named], own_version: &str) -> Result<RunFacts, Unmergeable> {
    slices.sort_by_key(|(_, report)| report.partition);
    check(slices, own_version)?;
    let all = || slices.iter().map(|(_, report)| report);
    let (name, first) = &slices[0];
    let content = |reason: String| Unmergeable::Content { name: name.clone(), reason };
    let severities = first.invariants.iter().map(|it| {
        let known = invariants::find(&it.id);
        known
            .map(|known| (known.id, it.level))
            .ok_or_else(|| content(format!("{} is unknown", it.id)))
    });
    let chosen = first.configuration.get("situation").cloned().unwrap_or_default();
    let chosen: BTreeSet<Situation> = serde_json::from_value(chosen)
        .map_err(|error| content(format!("its situations are not known: {error}")))?;
    let mut trials: Vec<_> = all().flat_map(|it| it.plan.trials.iter().cloned()).collect();
    trials.sort_by_key(|trial| trial.number);
    Ok(RunFacts {
        tool: first.tool.clone(),
        profile: first.profile,
        severities: severities.collect::<Result<Vec<(&'static str, Severity)>, _>>()?,
        seed: first.seed,
        target: target(slices),
        merged: Some(merged(slices, &trials)),
        plan: Plan { seed: first.seed, trials },
        search: search(slices),
        until_bound: first.bound.as_ref().map(|bound| bound.rate),
        configuration: first.configuration.clone(),
        environment: environment(slices),
        started_at: all().map(|it| it.started_at.clone()).min().unwrap_or_default(),
        duration_ms: all().map(|it| it.duration_ms).fold(0.0, f64::max),
        // What was broken off says so itself.
        interrupted: None,
        histories: None,
        retries: all().map(|it| it.retries).sum(),
        chosen,
        unreachable: all().flat_map(unreachable).collect(),
        deep: deep(slices),
        partition: Partition::WHOLE,
    })
}

fn check(slices: &[Named], own_version: &str) -> Result<(), Unmergeable> {
    for (name, report) in slices {
        if report.partition.is_none() {
            return Err(Unmergeable::Whole { name: name.clone() });
        }
    }
    for pair in slices.windows(2) {
        let [(one, first), (other, second)] = pair else { continue };
        let different = |(what, first, second): (String, String, String)| {
            let (one, other) = (one.clone(), other.clone());
            Unmergeable::Different { one, other, what, first, second }
        };
        if let Some(differs) = difference(first, second) {
            return Err(different(differs));
        }
        if let (true, Some(slice)) = (first.partition == second.partition, first.partition) {
            let (one, other) = (one.clone(), other.clone());
            return Err(Unmergeable::Twice { slice, one, other });
        }
    }
    match slices.iter().find(|(_, report)| report.tool.version != own_version) {
        Some((name, report)) => {
            let (name, found) = (name.clone(), report.tool.version.clone());
            Err(Unmergeable::Version { name, found, own: own_version.to_owned() })
        }
        None => Ok(()),
    }
}

/// What a report says of something.
type Said<'s> = &'s dyn Fn(&RunReport) -> String;

/// The first thing in which two slices differ that slices of one plan have in common.
fn difference(one: &RunReport, other: &RunReport) -> Option<(String, String, String)> {
    let count = |it: &RunReport| it.partition.map_or(1, |partition| partition.count).to_string();
    let requests = |it: &RunReport| {
        let names = it.target.requests.iter().map(|it| format!("{} → {}", it.name, it.status));
        names.collect::<Vec<_>>().join(", ")
    };
    let levels = |it: &RunReport| {
        let levels = it.invariants.iter().map(|it| format!("{} {}", it.id, it.level));
        levels.collect::<Vec<_>>().join(", ")
    };
    let same: [(&str, Said<'_>); 8] = [
        ("the version", &|it| it.tool.version.clone()),
        ("the number of slices", &count),
        ("the seed", &|it| it.seed.to_string()),
        ("the target", &|it| it.target.command.join(" ")),
        ("the profile", &|it| it.profile.to_string()),
        ("the system", &|it| format!("{} {}", it.environment.os, it.environment.architecture)),
        ("what it is asked", &requests),
        ("the levels", &levels),
    ];
    let differs = same.iter().find_map(|(what, of)| {
        let (first, second) = (of(one), of(other));
        (first != second).then(|| ((*what).to_owned(), first, second))
    });
    differs.or_else(|| {
        let keys = settings(one).chain(settings(other)).map(|(key, _)| key);
        let key = keys.filter(|key| !OF_A_MACHINE.contains(&key.as_str())).find(|key| {
            one.configuration.get(key.as_str()) != other.configuration.get(key.as_str())
        })?;
        let value = |it: &RunReport| {
            it.configuration.get(key).map_or_else(|| "absent".into(), Value::to_string)
        };
        Some((format!("the setting {key}"), value(one), value(other)))
    })
}

fn settings(report: &RunReport) -> impl Iterator<Item = (&String, &Value)> {
    report.configuration.as_object().into_iter().flatten()
}

/// What the target lacks, by the situation.
fn unreachable(report: &RunReport) -> impl Iterator<Item = (Situation, String)> {
    let lacking = report.coverage.iter().filter(|cell| cell.trials + cell.missed == 0);
    lacking.filter_map(|cell| Some((cell.situation, cell.reason.clone()?)))
}

fn merged(slices: &[Named], planned: &[crate::model::plan::Trial]) -> MergedReport {
    let count = slices[0].1.partition.map_or(1, |partition| partition.count);
    let here: BTreeSet<u32> =
        slices.iter().filter_map(|(_, it)| Some(it.partition?.index)).collect();
    // A slice that had nothing to do is none that anybody misses.
    let numbers: BTreeSet<u64> = planned.iter().map(|trial| trial.number.into()).collect();
    let is_whole =
        trials_of(&slices[0].1).is_some_and(|all| (1..=all).all(|it| numbers.contains(&it)));
    let missing = (1..=count).filter(|index| !is_whole && !here.contains(index)).collect();
    let slices = slices.iter().filter_map(|(_, report)| {
        Some(SliceReport {
            index: report.partition?.index,
            trials: report.trials.len() as u32,
            left_out: left_out(report),
            verdict: report.verdict,
            interrupted: report.interrupted,
            environment: report.environment.clone(),
            started_at: report.started_at.clone(),
            duration_ms: report.duration_ms,
        })
    });
    MergedReport { count, slices: slices.collect(), missing }
}

/// How long the whole plan is, where it is fixed.
fn trials_of(report: &RunReport) -> Option<u64> {
    report.configuration.get("trials")?.as_u64()
}

/// Trials of a fixed plan that were not carried out, though the target gave occasion for them.
fn left_out(report: &RunReport) -> u32 {
    if trials_of(report).is_none() || report.bound.is_some() {
        return 0;
    }
    let done: BTreeSet<u32> = report.trials.iter().map(|trial| trial.number).collect();
    let lacking: BTreeSet<Situation> =
        unreachable(report).map(|(situation, _)| situation).collect();
    let own = report.plan.trials.iter().filter(|trial| trial.number < FIRST_KNOWN);
    own.filter(|it| !done.contains(&it.number) && !lacking.contains(&it.situation)).count() as u32
}

/// The target as all have found it; where they found it otherwise, what is safe to say.
fn target(slices: &[Named]) -> TargetReport {
    let all = || slices.iter().map(|(_, report)| &report.target);
    let mut target = slices[0].1.target.clone();
    target.parallelism = all().filter_map(|it| it.parallelism).min();
    for (at, request) in target.requests.iter_mut().enumerate() {
        let same: Vec<&RequestReport> = all().filter_map(|it| it.requests.get(at)).collect();
        let is_alike = same.iter().all(|it| it.body_bytes == request.body_bytes);
        request.body_bytes = request.body_bytes.filter(|_| is_alike);
        let mut usual: Vec<f64> = same.iter().map(|it| it.usual_ms).collect();
        usual.sort_by(f64::total_cmp);
        request.usual_ms = usual[(usual.len() - 1) / 2];
    }
    target
}

/// The machine, without what differs from one to the other.
fn environment(slices: &[Named]) -> Environment {
    let all = || slices.iter().map(|(_, report)| &report.environment);
    let first = slices[0].1.environment.clone();
    let has_kernel = all().all(|it| it.kernel == first.kernel);
    let has_processors = all().all(|it| it.processors == first.processors);
    Environment {
        kernel: first.kernel.filter(|_| has_kernel),
        processors: first.processors.filter(|_| has_processors),
        ..first
    }
}

fn search(slices: &[Named]) -> Option<SearchReport> {
    let all: Option<Vec<&SearchReport>> =
        slices.iter().map(|(_, report)| report.search.as_ref()).collect();
    let all = all?;
    let chosen: BTreeMap<u32, String> = all.iter().flat_map(|it| it.chosen.clone()).collect();
    Some(SearchReport {
        first_round: all.iter().map(|it| it.first_round).sum(),
        crowd: all.iter().filter_map(|it| it.crowd).max(),
        chosen,
    })
}

fn deep(slices: &[Named]) -> Option<DeepReport> {
    let all: Vec<&DeepReport> = slices.iter().filter_map(|(_, it)| it.deep.as_ref()).collect();
    let mut points: Vec<String> = Vec::new();
    for point in all.iter().flat_map(|it| &it.points) {
        if !points.contains(point) {
            points.push(point.clone());
        }
    }
    let lacking = all.iter().find_map(|it| it.lacking.clone()).filter(|_| points.is_empty());
    (!all.is_empty()).then_some(DeepReport { points, tried: 0, lacking })
}
