//! The report for people: the table of invariants, each failure with a timeline, the verdict.

use std::collections::{BTreeMap, BTreeSet};

use anstyle::{AnsiColor, Style as Ansi};

use crate::model::run::{Levels, RunReport};
use crate::model::verdict::{Profile, VerdictName};

use super::again;
use super::numbers::{counted, grouped, time};
use super::phrases::{self, command, sentence};
use super::reproduced::known;
use super::text::{ascii, clean, hanging, pasted};

mod deep;
mod details;
mod failures;
mod rows;
mod snapshot;
mod timeline;

pub(super) use timeline::draw as drawn;

/// Lines are never longer than this, whatever the width of the terminal.
const WIDTH_MAX: usize = 80;
/// Below this, tables and timelines say nothing any more.
const WIDTH_MIN: usize = 60;

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// What may be written besides plain text.
    pub style: Style,
    /// The columns that there are; 60 to 80 of them are used.
    pub width: usize,
    /// How much is shown.
    pub detail: Detail,
    /// Where the report was saved, when it was.
    pub report: Option<&'a str>,
    /// Whether what could be kept is written out: where nobody could write it to a file.
    pub entries: bool,
    /// The directory in which the histories were saved, when they were.
    pub histories: Option<&'a str>,
}

/// What may be written besides plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours and bold, by ANSI escapes. Nothing is said in colour alone.
    pub colour: bool,
    /// Characters besides ASCII, for lines and marks.
    pub unicode: bool,
}

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What failed, and the verdict.
    Quiet,
    /// A line an invariant, and each failure with its smallest trial.
    #[default]
    Normal,
    /// All that, and coverage, outcomes and timings.
    Verbose,
}

/// Writes the parts of a report in one view.
#[derive(Clone, Copy)]
struct Page<'a> {
    report: &'a RunReport,
    view: &'a View<'a>,
    width: usize,
}

/// The report as text, in lines of at most 80 columns.
pub fn render(report: &RunReport, view: &View<'_>) -> String {
    let page = Page { report, view, width: view.width.clamp(WIDTH_MIN, WIDTH_MAX) };
    let mut text = String::new();
    if view.detail > Detail::Quiet {
        text.push_str(&page.header());
    }
    text.push_str(&page.rows());
    if view.detail > Detail::Quiet {
        text.push_str(&page.failures());
    }
    if view.detail == Detail::Verbose {
        text.push_str(&page.details());
    }
    if view.detail > Detail::Quiet {
        let pid_1 = phrases::pid_1(report).map(|text| page.labelled("note", &text));
        text.extend(pid_1.map(|note| format!("\n{note}")));
    }
    text.push_str(&page.snapshot());
    text.push_str(&page.end());
    if view.style.unicode { text } else { ascii(&text) }
}

impl Page<'_> {
    fn paint(&self, style: Ansi, text: &str) -> String {
        match self.view.style.colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }

    /// A text after its label, indented as a paragraph.
    fn labelled(&self, label: &str, text: &str) -> String {
        hanging(&format!("  {label:<9} "), text, self.width)
    }

    /// A command after its label, in lines that can be pasted.
    fn command(&self, label: &str, command: &str) -> String {
        pasted(&format!("  {label:<9} "), command, self.width)
    }

    fn header(&self) -> String {
        let report = self.report;
        let mut target = command(report);
        if let Some(url) = &report.target.url {
            target.push_str(&format!(" → {url}"));
        }
        if report.target.discovered {
            target.push_str(" (port found)");
        }
        let mut profile = vec![report.profile.to_string()];
        let signals: BTreeSet<_> = report.coverage.iter().filter_map(|cell| cell.signal).collect();
        let signals: Vec<_> = signals.iter().map(ToString::to_string).collect();
        profile.extend(Some(signals.join(", ")).filter(|signals| !signals.is_empty()));
        if let Some(deadline) = report.configuration.get("deadline").and_then(|d| d.as_str()) {
            profile.push(format!("deadline {deadline}"));
        }
        // Histories that are judged again don't tell the seed of their plan, nor how long it took.
        let is_run = report.duration_ms > 0.0;
        profile.extend(is_run.then(|| format!("seed {}", report.seed)));
        let situations: BTreeSet<_> = report.trials.iter().map(|trial| trial.situation).collect();
        let number = grouped(report.trials.len() as u64);
        let is_worker = report.profile == Profile::Worker;
        let trials = [
            Some(match is_run {
                true => format!("{number} in {}", time(report.duration_ms)),
                false => number,
            }),
            Some(counted(situations.len() as u64, "situation", "situations")),
            (!report.trials.is_empty() && !is_worker).then(|| match report.levels {
                Levels::Kernel => "levels from the kernel".into(),
                Levels::Inferred => "levels inferred from time".into(),
            }),
            self.not_counted(),
        ];
        let trials: Vec<String> = trials.into_iter().flatten().collect();
        [
            self.labelled("target", &target),
            self.labelled("profile", &profile.join(" · ")),
            if is_worker { String::new() } else { self.labelled("requests", &self.requests()) },
            self.labelled("trials", &trials.join(" · ")),
            self.deep(),
            known(report).map(|known| self.labelled("known", &known)).unwrap_or_default(),
            "\n".into(),
        ]
        .concat()
    }

    /// How many trials count for nothing, and why, or why most of them do.
    fn not_counted(&self) -> Option<String> {
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        for reason in self.report.trials.iter().filter_map(|trial| trial.missed.as_deref()) {
            *reasons.entry(reason).or_default() += 1;
        }
        let all: u32 = reasons.values().sum();
        let (reason, times) = reasons.into_iter().max_by_key(|(_, times)| *times)?;
        let reason = clean(reason);
        Some(match times == all {
            true => format!("{all} of them not counted: {reason}"),
            false => format!("{all} of them not counted, {times} since {reason}"),
        })
    }

    /// What was asked, and what a quiet target answers.
    fn requests(&self) -> String {
        let requests = self.report.target.requests.iter().map(|request| {
            let name = clean(&request.name);
            format!("{name} → {}, {}", request.status, time(request.usual_ms))
        });
        let mut text = requests.collect::<Vec<_>>().join(" · ");
        if let Some(parallelism) = self.report.target.parallelism {
            text.push_str(&format!(" · {parallelism} at a time"));
        }
        text
    }

    /// The verdict in words, and where the files are.
    fn end(&self) -> String {
        let colour = match self.report.verdict {
            VerdictName::Satisfied => AnsiColor::Green,
            VerdictName::Violated => AnsiColor::Red,
            VerdictName::Inconclusive | VerdictName::NotApplicable => AnsiColor::Yellow,
        };
        let verdict = sentence(self.report);
        let mut text =
            if self.view.detail > Detail::Quiet { "\n".to_owned() } else { String::new() };
        if let Some(signal) = self.report.interrupted {
            let stopped = format!(
                "interrupted by {signal} after {} of {}: what stands here holds for those",
                grouped(self.report.trials.len() as u64),
                counted(self.report.plan.trials.len() as u64, "trial", "trials"),
            );
            text.push_str(&hanging("  ", &stopped, self.width));
        }
        for line in hanging("  ", &verdict, self.width).lines() {
            let words = line.trim_start();
            text.push_str(&format!("  {}\n", self.paint(colour.on_default().bold(), words)));
        }
        if let Some(bound) = phrases::bound(self.report) {
            text.push_str(&self.labelled("bound", &bound));
        }
        for note in &self.report.notes {
            text.push_str(&self.labelled("note", &clean(note)));
        }
        if self.view.detail > Detail::Quiet {
            let report = self.view.report.map(|path| self.labelled("report", path));
            let histories = self.view.histories.map(|path| self.labelled("histories", path));
            text.extend(report.into_iter().chain(histories));
            if self.report.duration_ms > 0.0 {
                text.push_str(&self.command("same plan", &again::run(self.report)));
            }
        }
        text
    }
}
