//! Puts the report of a run together and writes it to every place that was asked for.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ColorChoice;

use crate::model::address::ServerAddress;
use crate::model::history::History;
use crate::model::plan::{Plan, Situation};
use crate::model::run::{DeepReport, Environment, RequestReport, RunReport, TargetReport, Tool};
use crate::model::search::SearchReport;
use crate::model::secrets::Secrets;
use crate::model::signal::Signal;
use crate::model::stack::{Stack, StackReport};
use crate::model::verdict::Severity;
use crate::report::summary::{RunFacts, TrialSummary, assemble};
use crate::report::terminal::{Detail, Style, View};
use crate::report::write::OutputFile;
use crate::report::{Format, Output, html};
use crate::trial::rehearsal::Rehearsed;

use super::ci;
use super::failure::Failure;
use super::settings::{Outputs, Settings, Verbosity};
use super::store;

/// What a run has to say, before it is put together.
pub struct RunRecord<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// What each violation does.
    pub severities: Vec<(&'static str, Severity)>,
    /// What was done.
    pub plan: Plan,
    /// Which of its trials were chosen, where that was not fixed before.
    pub search: Option<SearchReport>,
    /// The folder of the histories.
    pub histories: &'a Path,
    /// Starts that did not come as far as the signal, and were tried again.
    pub retries: u32,
    /// Situations that the target gives no occasion for, and why.
    pub unreachable: BTreeMap<Situation, &'static str>,
    /// What was to be tried at system calls.
    pub deep: Option<DeepReport>,
    /// The target as it was found.
    pub rehearsed: &'a Rehearsed,
    /// What each trial showed.
    pub summaries: &'a [TrialSummary],
    /// Whether the user broke it off.
    pub interrupted: Option<Signal>,
    /// When it began (RFC 3339).
    pub started_at: String,
    /// How long it took.
    pub duration: Duration,
}

impl RunRecord<'_> {
    /// The report.
    pub fn report(self) -> RunReport {
        let facts = RunFacts {
            tool: tool(),
            profile: self.settings.rules.profile,
            severities: self.severities,
            seed: self.plan.seed,
            target: target_report(self.rehearsed, self.settings.stack),
            plan: self.plan,
            search: self.search,
            until_bound: self.settings.ending.until_bound,
            configuration: serde_json::to_value(self.settings).unwrap_or_default(),
            environment: environment(),
            started_at: self.started_at,
            duration_ms: self.duration.as_secs_f64() * 1e3,
            interrupted: self.interrupted,
            retries: self.retries,
            deep: self.deep,
            chosen: self.settings.situations.iter().copied().collect(),
            unreachable: self
                .unreachable
                .into_iter()
                .map(|(situation, why)| (situation, why.to_owned()))
                .collect(),
            partition: self.settings.partition,
            merged: None,
            histories: Some(self.histories.display().to_string()),
        };
        assemble(facts, self.summaries)
    }
}

fn target_report(rehearsed: &Rehearsed, named: Option<Stack>) -> TargetReport {
    let subject = &rehearsed.subject;
    let named = named.map(|name| StackReport { name, by: "the settings (--stack)".into() });
    TargetReport {
        command: subject.target.command.clone(),
        url: rehearsed.address.as_ref().map(ServerAddress::url),
        discovered: !subject.takes_port && subject.target.port.is_none(),
        parallelism: subject.parallelism,
        stack: named.or_else(|| rehearsed.signs.stack()),
        requests: subject.contract.requests.iter().map(RequestReport::from).collect(),
    }
}

/// This program.
pub fn tool() -> Tool {
    Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }
}

/// This machine.
pub fn environment() -> Environment {
    let kernel = nix::sys::utsname::uname().ok();
    Environment {
        os: std::env::consts::OS.into(),
        kernel: kernel.map(|uname| uname.release().to_string_lossy().into_owned()),
        architecture: std::env::consts::ARCH.into(),
        processors: std::thread::available_parallelism().ok().map(|n| n.get() as u32),
    }
}

/// Every place that a report goes to, opened before there is one.
pub struct Publication {
    files: Opened,
    stdout: Format,
    verbosity: Verbosity,
    color: ColorChoice,
    /// Where the report is that is always written, or where it was read from.
    report: Option<PathBuf>,
    /// The folder of the histories, where they are beside the report.
    folder: Option<PathBuf>,
    /// What is not written.
    pub secrets: Secrets,
    /// Whether the report is new, so that a CI server is told of it.
    is_new: bool,
}

/// The report that is always written, beside the histories.
pub const REPORT: &str = "report.json";
/// The same for people.
const PAGE: &str = "report.html";

impl Publication {
    /// Opens them: what was asked for, and `report.json` in the run's folder.
    ///
    /// # Errors
    /// When one of them can't be written.
    pub fn open(outputs: &Outputs, folder: &Path) -> Result<Self, Failure> {
        let mut publication = Self::again(outputs)?;
        let report = OutputFile::open(&folder.join(REPORT))?;
        publication.files.0.push((Format::Json, report));
        publication.files.0.push((Format::Html, OutputFile::open(&folder.join(PAGE))?));
        publication.report = Some(folder.join(REPORT));
        publication.folder = Some(folder.to_owned());
        Ok(publication)
    }

    /// Opens what was asked for, for a report that was read from `path`.
    ///
    /// # Errors
    /// When one of them can't be written.
    pub fn of_saved(outputs: &Outputs, path: &Path) -> Result<Self, Failure> {
        Ok(Self { report: Some(path.to_owned()), is_new: false, ..Self::again(outputs)? })
    }

    /// Opens what was asked for, where histories lie already: only those places.
    ///
    /// # Errors
    /// When one of them can't be written.
    pub fn again(outputs: &Outputs) -> Result<Self, Failure> {
        let mut files = Opened::default();
        for Output { format, path } in &outputs.reports {
            files.0.push((*format, OutputFile::open(path)?));
        }
        let Outputs { stdout, verbosity, color, .. } = *outputs;
        let secrets = Secrets::default();
        Ok(Self {
            files,
            stdout,
            verbosity,
            color,
            report: None,
            folder: None,
            secrets,
            is_new: true,
        })
    }

    /// The same, with histories whose names count from this report's folder.
    pub fn beside(self, report: Option<PathBuf>) -> Self {
        Self { report, ..self }
    }

    /// Writes the report to all of them and to standard output; the exit code it gives.
    ///
    /// # Errors
    /// When one of them can't be written.
    pub fn publish(mut self, mut report: RunReport) -> Result<u8, Failure> {
        self.secrets.hide_in_report(&mut report);
        let report = &report;
        let here = std::env::current_dir().unwrap_or_default();
        let shown = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
        let report_path = self.report.as_deref().map(shown);
        let histories = self.folder.as_deref().map(shown);
        let view = View {
            entries: ci::is_ci(),
            style: style(self.color),
            width: width(),
            detail: match self.verbosity {
                Verbosity::Quiet => Detail::Quiet,
                Verbosity::Usual => Detail::Normal,
                Verbosity::Verbose => Detail::Verbose,
            },
            report: report_path.as_deref(),
            histories: histories.as_deref(),
        };
        let shows_histories = |format: Format| matches!(format, Format::Html | Format::Issue);
        let needs_histories = self
            .files
            .0
            .iter()
            .map(|(format, _)| *format)
            .chain([self.stdout])
            .any(shows_histories);
        let told = if needs_histories { self.histories_of(report) } else { Vec::new() };
        let plain = View { style: Style { colour: false, ..view.style }, ..view };
        for (format, file) in std::mem::take(&mut self.files.0) {
            file.commit(format.render(report, &plain, &told).as_bytes())?;
        }
        let is_for_people = self.stdout == Format::Text;
        let view = if is_for_people { &view } else { &plain };
        print(&self.stdout.render(report, view, &told));
        if self.is_new {
            ci::tell(report, is_for_people);
        }
        Ok(report.exit_code)
    }
}

impl Publication {
    /// The histories that the page wants, as far as they can be read: without them it has no
    /// timelines, and all the rest.
    fn histories_of(&self, report: &RunReport) -> Vec<History> {
        let beside = self.report.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let paths = html::wanted(report).into_iter().filter_map(|trial| trial.history.as_ref());
        paths.filter_map(|path| store::read(&beside.join(path)).ok()).collect()
    }
}

/// Files that are open for their reports.
#[derive(Default)]
struct Opened(Vec<(Format, OutputFile)>);

impl Drop for Opened {
    fn drop(&mut self) {
        // Each takes the folders with it that were made for it, once nothing is in them any more: the
        // first one made those of the others.
        while self.0.pop().is_some() {}
    }
}

/// Writes to standard output; a reader that has gone away has seen enough.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Colour in a terminal, unless the user or `NO_COLOR` says otherwise; ASCII in the C locale.
fn style(color: ColorChoice) -> Style {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::io::stdout().is_terminal() && !is_dumb && !no_color,
    };
    Style { colour, unicode: has_unicode() }
}

/// The columns of the terminal; where there is none, as many as a report has at most.
fn width() -> usize {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| terminal_size::terminal_size_of(stdout)).flatten();
    size.map_or(80, |(width, _)| usize::from(width.0))
}

/// Whether the terminal shows more than ASCII.
pub fn has_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    !locale.is_some_and(|locale| locale == "C" || locale == "POSIX")
}
