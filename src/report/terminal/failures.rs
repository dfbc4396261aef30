//! Each failure of a report: what happened, the smallest trial to scale, where to read on.

use std::path::Path;

use anstyle::{AnsiColor, Style as Ansi};

use crate::invariants;
use crate::model::number::trial_name;
use crate::model::reproduction::Reproduction;
use crate::model::run::{InvariantReport, TrialReport};
use crate::model::verdict::Severity;

use super::super::hints;
use super::super::numbers::{counted, grouped};
use super::super::phrases::{counts_of, failed, others, sent};
use super::super::reproduced::{self, Best, best, history, smallest};
use super::super::text::{clean, hanging};
use super::{Detail, Page, timeline};

/// How many violations are told, unless the report is a long one.
const TOLD: usize = 2;

impl Page<'_> {
    /// What failed the run first, then the warnings.
    pub(super) fn failures(&self) -> String {
        let failed = failed(self.report);
        let told = failed.iter().enumerate().map(|(at, invariant)| {
            match failed[..at].iter().find(|earlier| self.is_shown_alike(earlier, invariant)) {
                Some(earlier) => self.same_failure(invariant, earlier),
                None => self.failure(invariant),
            }
        });
        told.collect()
    }

    /// What one drawing shows of two invariants is drawn once.
    fn same_failure(&self, invariant: &InvariantReport, earlier: &InvariantReport) -> String {
        let same = format!("shown by what stands under {}", clean(&earlier.id));
        [
            format!("\n{}", self.title(invariant)),
            hanging("  ", &same, self.width),
            self.labelled("explain", &format!("shutdown-check explain {}", invariant.id)),
            self.again(invariant),
        ]
        .concat()
    }

    fn failure(&self, invariant: &InvariantReport) -> String {
        let mut text = format!("\n{}", self.title(invariant));
        let Some(best) = best(self.report, invariant) else { return text };
        text.push_str(&self.shown(invariant, &best));
        text.push_str(&self.messages(invariant, &best));
        if let Some(known) = invariants::find(&invariant.id) {
            text.push_str(&self.labelled("fix", &hints::of_target(self.report, known)));
        }
        let explain = format!("shutdown-check explain {}", invariant.id);
        text.push_str(&self.labelled("explain", &explain));
        if let Some(history) = best.trial.and_then(|trial| trial.history.as_ref()) {
            text.push_str(&self.labelled("history", &self.beside_the_report(history)));
        }
        text.push_str(&self.again(invariant));
        text.push_str(&best.found.map_or_else(String::new, |found| self.kept(found)));
        text
    }

    /// What happened there, and in the trials of the run.
    fn messages(&self, invariant: &InvariantReport, best: &Best<'_>) -> String {
        let mut text = hanging("  ", &best.evidence.message, self.width);
        let told = match self.view.detail {
            Detail::Verbose => invariant.evidence.len(),
            _ => TOLD,
        };
        // What was run again is none of those that are counted.
        let (skipped, told) = if best.found.is_some() { (0, told - 1) } else { (1, told) };
        for evidence in invariant.evidence.iter().take(told).skip(skipped) {
            let message = format!("{}: {}", trial_name(evidence.trial), evidence.message);
            text.push_str(&hanging("  ", &message, self.width));
        }
        if let Some(others) = others(invariant, told) {
            text.push_str(&hanging("  ", &others, self.width));
        }
        text
    }

    /// Which trial it is, how it was found, and its timeline.
    fn shown(&self, invariant: &InvariantReport, best: &Best<'_>) -> String {
        let mut text = String::new();
        let Some(trial) = best.trial else { return text };
        match best.found {
            Some(found) => {
                text.push_str(&hanging("  ", &smallest(found), self.width));
                text.push_str(&hanging("  ", &history(found), self.width));
            }
            None => {
                text.push_str(&hanging("  ", &shown_in(trial), self.width));
                let again = reproduced::of(self.report, invariant).map(history);
                text.extend(again.map(|again| hanging("  ", &again, self.width)));
            }
        }
        if let Some(drawn) = timeline::draw(trial, &best.evidence.events, self.width) {
            text.push_str(&format!("\n{drawn}"));
        }
        text.push('\n');
        text
    }

    /// How to see it again.
    fn again(&self, invariant: &InvariantReport) -> String {
        let again = reproduced::again(self.report, invariant);
        again.map_or_else(String::new, |again| self.command("again", again))
    }

    /// Where it is kept.
    fn kept(&self, found: &Reproduction) -> String {
        match &found.file {
            Some(file) => self.labelled("kept", file),
            None if self.view.entries || self.view.detail == Detail::Verbose => {
                let entry: String = found.entry.lines().map(|it| format!("    {it}\n")).collect();
                let file = "in shutdown-check.regressions.toml this would be tried first:";
                format!("{}{entry}", self.labelled("keep", file))
            }
            None => self.labelled("keep", "--regressions FILE writes it down, to be tried first"),
        }
    }

    /// Reports name histories relative to themselves; people read paths from where they are.
    fn beside_the_report(&self, history: &str) -> String {
        let directory = self.view.report.and_then(|report| Path::new(report).parent());
        directory.unwrap_or(Path::new("")).join(history).display().to_string()
    }

    /// Whether the same violation of the same trial shows both best.
    fn is_shown_alike(&self, one: &InvariantReport, other: &InvariantReport) -> bool {
        match (best(self.report, one), best(self.report, other)) {
            (Some(one), Some(other)) => {
                let of = |best: &Best<'_>| (best.evidence.trial, best.evidence.message.clone());
                of(&one) == of(&other)
            }
            _ => false,
        }
    }

    fn title(&self, invariant: &InvariantReport) -> String {
        let (mark, style) = match invariant.level {
            Severity::Deny => ("FAIL", AnsiColor::Red.on_default().bold()),
            _ => ("warn", AnsiColor::Yellow.on_default()),
        };
        let summary = format!(
            "{}: {} of {} {}",
            clean(&invariant.id),
            grouped(invariant.violations),
            grouped(invariant.exercised),
            counts_of(&invariant.id).failed,
        );
        let bold = Ansi::new().bold();
        hanging("  ####  ", &summary, self.width)
            .lines()
            .map(|line| match line.strip_prefix("  ####  ") {
                Some(rest) => {
                    format!("  {}  {}\n", self.paint(style, mark), self.paint(bold, rest))
                }
                None => format!("{line}\n"),
            })
            .collect()
    }
}

fn shown_in(trial: &TrialReport) -> String {
    let mut facts = vec![trial.situation.name().to_owned(), trial.moment.clone()];
    facts.extend(Some(sent(trial)).filter(|signals| !signals.is_empty()));
    if trial.requests > 0 {
        facts.push(counted(trial.requests.into(), "request", "requests"));
    }
    format!("{}, the smallest that shows it ({})", trial_name(trial.number), facts.join(" · "))
}
