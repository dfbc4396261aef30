//! What a run has shown so far, in words; it reads no clock, so that it can be tested.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::invariants::{BOTH_SIGNALS, REPEATED};
use crate::model::plan::Trial;
use crate::model::run::TrialReport;
use crate::model::time::human;
use crate::model::verdict::Severity;

use super::Extent;

/// What has been seen so far.
#[derive(Debug)]
pub(super) struct Seen {
    extent: Extent,
    begun: Instant,
    done: u32,
    /// In how many trials each invariant was violated, and what that does, in the order of the catalogue.
    violated: Vec<(&'static str, Severity, u32)>,
    /// The trials under way, by number.
    now: BTreeMap<u32, String>,
    /// Until when what failed is looked at again.
    again_until: Option<Instant>,
}

impl Seen {
    pub(super) fn new(extent: Extent, begun: Instant) -> Self {
        Self {
            extent,
            begun,
            done: 0,
            violated: Vec::new(),
            now: BTreeMap::new(),
            again_until: None,
        }
    }

    pub(super) fn begins(&mut self, trial: &Trial) {
        let what = format!("{} ({})", trial.situation.name(), trial.moment());
        self.now.insert(trial.number, what);
    }

    pub(super) fn ends(&mut self, number: u32) {
        self.now.remove(&number);
    }

    pub(super) fn done(&mut self, trial: &TrialReport, severities: &[(&'static str, Severity)]) {
        self.done += 1;
        // What counts for nothing is no loss.
        if trial.missed.is_some() || trial.control || trial.aside {
            return;
        }
        for (id, severity) in severities {
            // What takes several trials to tell is not known yet.
            let is_told = ![REPEATED, BOTH_SIGNALS].contains(id);
            if !is_told || *severity == Severity::Allow || !trial.violated.iter().any(|it| it == id)
            {
                continue;
            }
            match self.violated.iter_mut().find(|(known, ..)| known == id) {
                Some((.., times)) => *times += 1,
                None => self.violated.push((id, *severity, 1)),
            }
        }
    }

    pub(super) fn looks_again(&mut self, until: Instant) {
        self.again_until = Some(until);
    }

    /// How much of it is done, from 0 to 1.
    pub(super) fn share(&self, now: Instant) -> f64 {
        if self.again_until.is_some() {
            return 1.0;
        }
        let elapsed = now.saturating_duration_since(self.begun);
        let share = match self.extent {
            Extent::Trials(trials) => f64::from(self.done) / f64::from(trials.max(1)),
            Extent::Budget(budget) => elapsed.as_secs_f64() / budget.as_secs_f64().max(1e-3),
        };
        share.min(1.0)
    }

    /// How many trials are done, and how long the rest will take.
    pub(super) fn amount(&self, now: Instant) -> String {
        let trials = match (self.extent, self.done) {
            (Extent::Trials(all), done) => format!("{done} of {all} trials"),
            (Extent::Budget(_), 1) => "1 trial".to_owned(),
            (Extent::Budget(_), done) => format!("{done} trials"),
        };
        match self.left(now) {
            Some(left) => format!("{trials} · {} left", seconds(left)),
            None => trials,
        }
    }

    /// How long it will take, as far as can be told.
    fn left(&self, now: Instant) -> Option<Duration> {
        if let Some(until) = self.again_until {
            return Some(until.saturating_duration_since(now));
        }
        let elapsed = now.saturating_duration_since(self.begun);
        match self.extent {
            Extent::Budget(budget) => Some(budget.saturating_sub(elapsed)),
            Extent::Trials(_) if self.done == 0 => None,
            Extent::Trials(all) => Some(elapsed / self.done * all.saturating_sub(self.done)),
        }
    }

    /// What is being done.
    pub(super) fn now(&self) -> String {
        let what: Vec<&str> = self.now.values().map(String::as_str).collect();
        match (self.again_until, &what[..]) {
            (Some(_), []) => "what failed is run again".into(),
            (Some(_), what) => format!("again: {}", what.join(", ")),
            (None, []) if self.done == 0 => {
                "rehearsal: what the target does without a signal".into()
            }
            (None, []) => "the next trial".into(),
            (None, what) => what.join(", "),
        }
    }

    /// What was violated so far, what fails the run first.
    pub(super) fn violated(&self) -> String {
        let mut violated = self.violated.clone();
        violated.sort_by_key(|(_, severity, _)| *severity != Severity::Deny);
        let words = |(id, severity, times): &(&str, Severity, u32)| {
            let trials = if *times == 1 { "trial" } else { "trials" };
            let warns = if *severity == Severity::Warn { ", warns" } else { "" };
            format!("{id} ({times} {trials}{warns})")
        };
        match violated.is_empty() {
            true => "nothing so far".into(),
            false => violated.iter().map(words).collect::<Vec<_>>().join(", "),
        }
    }

    /// All of it in one line, for a log.
    pub(super) fn line(&self, now: Instant) -> String {
        let violated = match self.violated.is_empty() {
            true => "nothing violated".to_owned(),
            false => format!("violated: {}", self.violated()),
        };
        match (self.again_until, self.done) {
            (None, 0) => "the target is looked at without a signal".into(),
            (None, _) => format!("{}; {violated}", self.amount(now)),
            (Some(_), _) => format!("what failed is run again; {violated}"),
        }
    }
}

/// Whole seconds: a clock that runs down.
fn seconds(time: Duration) -> String {
    human(Duration::from_secs(time.as_secs_f64().round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVERITIES: [(&str, Severity); 3] =
        [("a-warns", Severity::Warn), ("b-fails", Severity::Deny), ("c-allowed", Severity::Allow)];

    fn trial(violated: &[&str]) -> TrialReport {
        serde_json::from_value(serde_json::json!({
            "number": 1, "seed": 1, "situation": "load", "moment": "uniform", "signals": [],
            "verdict": "violated", "violated": violated, "ambiguous": 0, "harness_lag_ms": 0.0,
            "exit": null, "ready_ms": null, "refused_after_ms": null, "drain_ms": null,
            "history": null,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_left_follows_from_the_budget_or_from_the_pace() {
        let begun = Instant::now();
        let later = begun + Duration::from_secs(10);
        let of_budget = Seen::new(Extent::Budget(Duration::from_secs(25)), begun);
        assert_eq!(of_budget.amount(later), "0 trials · 15.0 s left");
        assert_eq!(of_budget.share(later), 0.4);
        let mut of_trials = Seen::new(Extent::Trials(8), begun);
        assert_eq!(of_trials.amount(later), "0 of 8 trials");
        for _ in 0..2 {
            of_trials.done(&trial(&[]), &SEVERITIES);
        }
        assert_eq!(of_trials.amount(later), "2 of 8 trials · 30.0 s left");
    }

    #[test]
    fn losses_are_told_by_invariant_what_fails_the_run_first() {
        let begun = Instant::now();
        let mut seen = Seen::new(Extent::Trials(8), begun);
        assert_eq!(seen.violated(), "nothing so far");
        seen.done(&trial(&["a-warns", "c-allowed"]), &SEVERITIES);
        seen.done(&trial(&["a-warns", "b-fails"]), &SEVERITIES);
        assert_eq!(seen.violated(), "b-fails (1 trial), a-warns (2 trials, warns)");
        assert!(
            seen.line(begun).ends_with("violated: b-fails (1 trial), a-warns (2 trials, warns)")
        );
        let mut missed = trial(&["b-fails"]);
        missed.missed = Some("too late".into());
        seen.done(&missed, &SEVERITIES);
        assert!(seen.violated().starts_with("b-fails (1 trial)"), "{}", seen.violated());
    }

    #[test]
    fn what_is_looked_at_again_is_said() {
        let begun = Instant::now();
        let mut seen = Seen::new(Extent::Trials(8), begun);
        seen.looks_again(begun + Duration::from_secs(10));
        assert_eq!(seen.now(), "what failed is run again");
        assert!(seen.amount(begun).ends_with("10.0 s left"), "{}", seen.amount(begun));
        assert_eq!(seen.share(begun), 1.0);
    }
}
