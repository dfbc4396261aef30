//! What every format for people says alike of a failure that was run again.

use crate::model::number::trial_name;
use crate::model::reproduction::{Reproduction, Standing};
use crate::model::run::{Evidence, InvariantReport, RunReport, TrialReport};

use super::numbers::counted;
use super::replay::{about, rate};
use super::text::clean;

/// The violation that shows an invariant's failure best, and its trial: where there is one, the least
/// that still fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best<'r> {
    pub(super) trial: Option<&'r TrialReport>,
    pub(super) evidence: &'r Evidence,
    /// Where that is what was found when the failure was run again.
    pub(super) found: Option<&'r Reproduction>,
}

/// What shows a violated invariant best.
pub(super) fn best<'r>(report: &'r RunReport, invariant: &'r InvariantReport) -> Option<Best<'r>> {
    let found = of(report, invariant);
    let shrunk = found.and_then(|it| Some((it, it.shown.as_ref()?, it.evidence.as_ref()?)));
    if let Some((found, trial, evidence)) = shrunk {
        return Some(Best { trial: Some(trial), evidence, found: Some(found) });
    }
    let evidence = invariant.evidence.first()?;
    let trial = report.trials.iter().find(|trial| trial.number == evidence.trial);
    Some(Best { trial, evidence, found: None })
}

/// What was found when the failure of an invariant was run again.
pub(super) fn of<'r>(
    report: &'r RunReport,
    invariant: &InvariantReport,
) -> Option<&'r Reproduction> {
    report.reproductions.iter().find(|it| it.invariant == invariant.id)
}

/// The command that shows an invariant's failure again.
pub(super) fn again<'r>(report: &'r RunReport, invariant: &'r InvariantReport) -> Option<&'r str> {
    let found = || of(report, invariant)?.again.as_deref();
    invariant.again.as_deref().or_else(found)
}

/// The trial: `slow-handler · SIGTERM reached · 1 connection`.
pub(super) fn smallest(found: &Reproduction) -> String {
    format!("smallest trial that shows it: {}", about(&found.trial))
}

/// Where it was found, what was taken away, and how often it was seen again.
pub(super) fn history(found: &Reproduction) -> String {
    let mut parts = vec![format!("found in {}", trial_name(found.found_in))];
    if !found.steps.is_empty() {
        parts.push(format!("shrunk ({})", found.steps.join(", ")));
    }
    parts.push(match found.rate.failed {
        0 => format!("not seen again ({})", rate(found.rate)),
        _ => format!("seen again in {}", rate(found.rate)),
    });
    let mut text = parts.join(", ");
    if let Some(stopped) = &found.stopped {
        let what = if found.rate.failed > 0 { "no more was tried" } else { "no more was run" };
        text.push_str(&format!("; {what}: {}", clean(stopped)));
    }
    text
}

/// What became of the failures that are known, in a sentence; none where none were tried.
pub(super) fn known(report: &RunReport) -> Option<String> {
    let all = &report.replayed;
    if all.is_empty() {
        return None;
    }
    let of = |standing| all.iter().filter(|it| it.standing == standing).count() as u64;
    let mut parts = Vec::new();
    let (fails, fixed) = (of(Standing::StillFails), of(Standing::Fixed));
    let lacking = all.iter().filter(|it| it.now.runs == 0).count() as u64;
    let held = of(Standing::NotShown).saturating_sub(lacking);
    parts.extend((fails > 0).then(|| match fails {
        1 => "1 still fails".to_owned(),
        _ => format!("{fails} still fail"),
    }));
    parts.extend((fixed > 0).then(|| format!("{fixed} fixed")));
    parts.extend((held > 0).then(|| format!("{held} held, in too few runs to tell")));
    parts.extend((lacking > 0).then(|| format!("{lacking} could not be tried (--verbose)")));
    let number = counted(all.len() as u64, "known failure", "known failures");
    Some(format!("{number}: {}", parts.join(", ")))
}
