//! Each failure of a report: what happened, the smallest trial to scale, where to read on.

use std::path::Path;

use anstyle::{AnsiColor, Style as Ansi};

use crate::model::run::{Evidence, InvariantReport, TrialReport};
use crate::model::verdict::Severity;

use super::super::numbers::{counted, grouped};
use super::super::phrases::{counts_of, failed, others, sent};
use super::super::text::{clean, hanging};
use super::{Detail, Page, timeline};

/// How many violations are told, unless the report is a long one.
const TOLD: usize = 2;

impl Page<'_> {
    /// What failed the run first, then the warnings.
    pub(super) fn failures(&self) -> String {
        let failed = failed(self.report);
        let told = failed.iter().enumerate().map(|(at, invariant)| {
            match failed[..at].iter().find(|earlier| is_shown_alike(earlier, invariant)) {
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
        ]
        .concat()
    }

    fn failure(&self, invariant: &InvariantReport) -> String {
        let mut text = format!("\n{}", self.title(invariant));
        let trial_of = |evidence: &Evidence| {
            self.report.trials.iter().find(|trial| trial.number == evidence.trial)
        };
        let Some(smallest) = invariant.evidence.first() else { return text };
        if let Some(trial) = trial_of(smallest) {
            text.push_str(&hanging("  ", &shown_in(trial), self.width));
            if let Some(drawn) = timeline::draw(trial, &smallest.events, self.width) {
                text.push_str(&format!("\n{drawn}"));
            }
            text.push('\n');
        }
        let told = match self.view.detail {
            Detail::Verbose => invariant.evidence.len(),
            _ => TOLD,
        };
        for (at, evidence) in invariant.evidence.iter().take(told).enumerate() {
            let message = match at {
                0 => evidence.message.clone(),
                _ => format!("trial {}: {}", evidence.trial, evidence.message),
            };
            text.push_str(&hanging("  ", &message, self.width));
        }
        if let Some(others) = others(invariant, told) {
            text.push_str(&hanging("  ", &others, self.width));
        }
        let explain = format!("shutdown-check explain {}", invariant.id);
        text.push_str(&self.labelled("explain", &explain));
        if let Some(history) = trial_of(smallest).and_then(|trial| trial.history.as_ref()) {
            text.push_str(&self.labelled("history", &self.beside_the_report(history)));
        }
        text
    }

    /// Reports name histories relative to themselves; people read paths from where they are.
    fn beside_the_report(&self, history: &str) -> String {
        let directory = self.view.report.and_then(|report| Path::new(report).parent());
        directory.unwrap_or(Path::new("")).join(history).display().to_string()
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

/// Whether the same violation of the same trial shows both best.
fn is_shown_alike(one: &InvariantReport, other: &InvariantReport) -> bool {
    match (one.evidence.first(), other.evidence.first()) {
        (Some(one), Some(other)) => (one.trial, &one.message) == (other.trial, &other.message),
        _ => false,
    }
}

fn shown_in(trial: &TrialReport) -> String {
    let mut facts = vec![trial.situation.name().to_owned(), trial.moment.clone()];
    facts.extend(Some(sent(trial)).filter(|signals| !signals.is_empty()));
    if trial.requests > 0 {
        facts.push(counted(trial.requests.into(), "request", "requests"));
    }
    format!("trial {}, the smallest that shows it ({})", trial.number, facts.join(" · "))
}
