//! What a long report adds: full reasons, coverage, outcomes, timings, pooled clients.

use std::collections::BTreeMap;

use anstyle::Style as Ansi;

use crate::model::run::Distribution;

use super::super::numbers::{counted, grouped, time};
use super::super::phrases::unreached;
use super::super::replay;
use super::super::text::{cut, hanging};
use super::Page;

impl Page<'_> {
    pub(super) fn details(&self) -> String {
        let parts = [
            ("reasons", self.reasons()),
            ("known failures", self.known()),
            ("coverage", self.coverage()),
            ("search", self.search()),
            ("outcomes by phase at the signal", self.outcomes()),
            ("timings", self.timings()),
            ("pooled clients (they accuse nobody)", self.pooled()),
        ];
        parts
            .into_iter()
            .filter(|(_, body)| !body.is_empty())
            .map(|(title, body)| format!("\n  {}\n{body}", self.paint(Ansi::new().bold(), title)))
            .collect()
    }

    fn known(&self) -> String {
        match &self.report.replayed[..] {
            [] => String::new(),
            all => replay::text(all),
        }
    }

    fn reasons(&self) -> String {
        let with_reason =
            self.report.invariants.iter().filter_map(|i| Some((&i.id, i.reason.as_ref()?)));
        with_reason
            .map(|(id, reason)| hanging("    ", &format!("{id}: {reason}"), self.width))
            .collect()
    }

    /// What was tried how often, a line a cell; then what could not be reached, and why.
    fn coverage(&self) -> String {
        let tried = self.report.coverage.iter().filter(|cell| cell.trials > 0);
        let mut text = String::new();
        for cell in tried {
            let signal = cell.signal.map_or("control".into(), |s| s.to_string());
            let lost = match (cell.requests, cell.lost) {
                (0, _) => String::new(),
                (requests, lost) => format!("  {} of {} lost", grouped(lost), grouped(requests)),
            };
            // A report of an earlier version does not say.
            let kinds = match cell.outcomes {
                0 => String::new(),
                1 => "1 kind".into(),
                kinds => format!("{kinds} kinds"),
            };
            let (situation, moment, trials) = (cell.situation.name(), &cell.moment, cell.trials);
            let line = format!(
                "    {situation:<20} {moment:<13} {trials:>5} × {signal:<8} {kinds:<8}{lost}"
            );
            text.push_str(&format!("{}\n", cut(line.trim_end(), self.width)));
            for (id, violations) in &cell.violations {
                let line = format!("{} × {id}", grouped(*violations));
                text.push_str(&hanging("        ", &line, self.width));
            }
        }
        for (what, why) in unreached(self.report) {
            text.push_str(&hanging("    ", &format!("{what}: {why}"), self.width));
        }
        text
    }

    /// How many trials were chosen by what others had shown, and what most of them were.
    fn search(&self) -> String {
        let Some(search) = &self.report.search else { return String::new() };
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        for trial in self.report.trials.iter().filter(|it| search.chosen.contains_key(&it.number)) {
            *times.entry(trial.situation.name()).or_default() += 1;
        }
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_by_key(|(name, times)| (std::cmp::Reverse(*times), *name));
        let most: Vec<_> = times.iter().map(|(name, times)| format!("{times} {name}")).collect();
        let text = format!(
            "{} of the first round, {} chosen by what was shown: {} (why: plan --after REPORT, and \
             report.json)",
            grouped(search.first_round.into()),
            grouped(search.chosen.len() as u64),
            if most.is_empty() { "none".to_owned() } else { most.join(", ") },
        );
        hanging("    ", &text, self.width)
    }

    fn outcomes(&self) -> String {
        let phases = self.report.outcomes.iter().map(|(phase, outcomes)| {
            let outcomes: Vec<_> =
                outcomes.iter().map(|(name, n)| format!("{} {name}", grouped(*n))).collect();
            hanging(&format!("    {phase:<16}"), &outcomes.join(", "), self.width)
        });
        phases.collect()
    }

    fn timings(&self) -> String {
        let timings = &self.report.timings;
        let in_us = |ms: f64| format!("{ms:.0} µs");
        let rows = [
            ("spawn to ready", &timings.ready_ms, time as fn(f64) -> String),
            ("signal to refusal", &timings.refused_after_ms, time),
            ("signal to listener gone", &timings.listener_closed_after_ms, time),
            ("signal to queue empty", &timings.queue_emptied_after_ms, time),
            ("holding it still", &timings.held_within_ms, time),
            ("signal to last answer", &timings.drain_ms, time),
            ("signal to exit", &timings.exit_ms, time),
            ("signal from its plan", &timings.signal_error_us, in_us),
            ("harness late by", &timings.harness_lag_ms, time),
        ];
        let line = |(name, figures, show): (&str, &Option<Distribution>, fn(f64) -> String)| {
            let Distribution { min, p50, p99, max } = figures.as_ref()?;
            let [min, p50, p99, max] = [min, p50, p99, max].map(|value| show(*value));
            let figures = format!("min {min} · p50 {p50} · p99 {p99} · max {max}");
            Some(format!("{}\n", cut(&format!("    {name:<23} {figures}"), self.width)))
        };
        rows.into_iter().filter_map(line).collect()
    }

    fn pooled(&self) -> String {
        let pooled = &self.report.pooled_clients;
        if pooled.requests == 0 {
            return String::new();
        }
        let counts = format!(
            "{}; of those begun before the signal {} failed, of those after it {}",
            counted(pooled.requests, "request", "requests"),
            grouped(pooled.failed_before_signal),
            grouped(pooled.failed_after_signal),
        );
        let mut text = hanging("    ", &counts, self.width);
        for (error, times) in &pooled.errors {
            text.push_str(&hanging(&format!("    {:>6} × ", grouped(*times)), error, self.width));
        }
        text
    }
}
