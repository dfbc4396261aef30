//! Which situations a run has tried, and so what it can say of an invariant that none showed.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariants;
use crate::model::plan::Situation;
use crate::model::verdict::VerdictName;

use super::TrialSummary;

/// Why nothing was judged, where nothing else is known.
pub(super) const NO_TIME: &str = "no trial was judged: give the run more time (--budget)";

/// More situations with the same reason are counted.
const NAMED_MAX: usize = 3;

/// The situations of a run, by what became of them.
#[derive(Debug)]
pub(super) struct Occasions {
    /// Those in which something was judged.
    judged: BTreeSet<Situation>,
    /// Those that were chosen and not reached, or not tried, and why.
    not_reached: BTreeMap<Situation, String>,
    /// Those of which the target lacks something, and what.
    lacking: BTreeMap<Situation, String>,
}

impl Occasions {
    pub(super) fn of(
        trials: &[&TrialSummary],
        (chosen, untried): (&BTreeSet<Situation>, &str),
        unreachable: &BTreeMap<Situation, String>,
    ) -> Self {
        let judged: BTreeSet<_> = trials
            .iter()
            .filter(|trial| trial.is_judged())
            .map(|trial| trial.report.situation)
            .collect();
        let open = chosen.iter().filter(|it| !judged.contains(it) && !unreachable.contains_key(it));
        let mut not_reached: BTreeMap<Situation, String> =
            open.map(|it| (*it, untried.to_owned())).collect();
        for trial in trials.iter().filter(|trial| !judged.contains(&trial.report.situation)) {
            if let Some(missed) = &trial.report.missed {
                not_reached.insert(trial.report.situation, missed.clone());
            }
        }
        Self { judged, not_reached, lacking: unreachable.clone() }
    }

    /// The verdict on an invariant of which no trial says anything, for want of its situations: it
    /// does not apply where none was chosen, or the target lacks what they need; otherwise nothing
    /// was shown. `None` where one of its situations was judged.
    pub(super) fn without(&self, invariant: &str) -> Option<(VerdictName, String)> {
        let all = &Situation::ALL[..];
        let occasions = invariants::find(invariant).map_or(all, |it| match it.occasions {
            [] => all,
            some => some,
        });
        if occasions.iter().any(|it| self.judged.contains(it)) {
            return None;
        }
        let not_reached = |it: &Situation| Some((*it, self.not_reached.get(it)?.as_str()));
        if let Some(reasons) = grouped(occasions.iter().filter_map(not_reached)) {
            return Some((VerdictName::Inconclusive, format!("not tried; {reasons}")));
        }
        let lacking = |it: &Situation| Some((*it, self.lacking.get(it)?.as_str()));
        if let Some(reasons) = grouped(occasions.iter().filter_map(lacking)) {
            let verdict = match self.judged.is_empty() {
                true => VerdictName::Inconclusive,
                false => VerdictName::NotApplicable,
            };
            return Some((verdict, format!("not tried; {reasons}")));
        }
        let names: Vec<_> = occasions.iter().map(|situation| situation.name()).collect();
        (!self.judged.is_empty()).then(|| {
            let reason = format!("not tried: it takes the situation {}", names.join(" or "));
            (VerdictName::NotApplicable, reason)
        })
    }
}

/// Each reason once, after the situations that it holds for; `None` without any.
fn grouped<'r>(reasons: impl Iterator<Item = (Situation, &'r str)>) -> Option<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (situation, reason) in reasons {
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(situation.name()),
            None => groups.push((reason, vec![situation.name()])),
        }
    }
    let told = |(reason, names): &(&str, Vec<&str>)| match names.len() {
        0..=NAMED_MAX => format!("{}: {reason}", names.join(", ")),
        many => {
            let named = names[..NAMED_MAX].join(", ");
            format!("{named} and {} more: {reason}", many - NAMED_MAX)
        }
    };
    let told: Vec<String> = groups.iter().map(told).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::trial;
    use super::*;

    const STALLED: &str = "stalled-clients-do-not-block";

    fn tried(situation: Situation, missed: Option<&str>) -> TrialSummary {
        let mut trial = trial(1, 1, &[]);
        trial.report.situation = situation;
        trial.report.missed = missed.map(str::to_owned);
        trial
    }

    fn without(
        trials: &[TrialSummary],
        chosen: &[Situation],
        lacking: &[Situation],
    ) -> Option<(VerdictName, String)> {
        let lacking = lacking.iter().map(|it| (*it, "it lacks something".to_owned())).collect();
        let trials: Vec<_> = trials.iter().collect();
        let chosen = chosen.iter().copied().collect();
        Occasions::of(&trials, (&chosen, "more time (--budget)"), &lacking).without(STALLED)
    }

    #[test]
    fn what_was_not_chosen_does_not_apply() {
        let load = tried(Situation::Load, None);
        let (verdict, reason) = without(&[load], &[Situation::Load], &[]).unwrap();
        assert_eq!(verdict, VerdictName::NotApplicable);
        assert!(reason.contains("it takes the situation stalled-reader or stalled-sender"));
    }

    #[test]
    fn what_the_target_gives_no_occasion_for_does_not_apply() {
        let both = [Situation::StalledReader, Situation::StalledSender];
        let (verdict, reason) = without(&[tried(Situation::Load, None)], &both, &both).unwrap();
        assert_eq!(verdict, VerdictName::NotApplicable);
        assert!(reason.contains("it lacks something"));
    }

    #[test]
    fn what_was_missed_or_had_no_time_is_inconclusive() {
        let chosen = [Situation::Load, Situation::StalledSender];
        let load = || tried(Situation::Load, None);
        let (verdict, reason) = without(&[load()], &chosen, &[]).unwrap();
        assert_eq!(verdict, VerdictName::Inconclusive);
        assert!(reason.contains("more time (--budget)"), "{reason}");
        let missed = tried(Situation::StalledSender, Some("no half of a head was read"));
        let (verdict, reason) = without(&[load(), missed], &chosen, &[]).unwrap();
        assert_eq!(verdict, VerdictName::Inconclusive);
        assert!(reason.contains("no half of a head was read"), "{reason}");
    }

    #[test]
    fn what_was_judged_speaks_for_itself() {
        let stalled = tried(Situation::StalledSender, None);
        assert_eq!(without(&[stalled], &Situation::ALL, &[]), None);
    }
}
