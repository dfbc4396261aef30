//! Lines that tell of the target: what it wrote, and what others keep of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind, Stream};
use super::ledger::{BadPattern, Books, JobLines};
use super::log::{LogLines, LogPatterns};
use super::time::Nanos;

/// Where lines come from besides the target's output.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LineSource {
    /// The file that jobs are written to.
    JobFile,
    /// The page that lists the jobs.
    JobUrl,
    /// The file that the log is written to.
    LogFile,
}

impl LineSource {
    /// What its lines are about, in a word.
    pub fn name(self) -> &'static str {
        match self {
            LineSource::JobFile | LineSource::JobUrl => "jobs",
            LineSource::LogFile => "log",
        }
    }

    /// The option that names it.
    pub fn option(self) -> &'static str {
        match self {
            LineSource::JobFile => "--job-file",
            LineSource::JobUrl => "--job-url",
            LineSource::LogFile => "--log-file",
        }
    }
}

/// A line that was read elsewhere than in the target's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceLine {
    /// Where.
    pub source: LineSource,
    /// The line without its end, cut when very long.
    pub line: String,
    /// When the source was last read without this line: it was written later than that.
    pub since: Nanos,
    /// Whether the source ended before the line did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A request that submits a job, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSubmit {
    /// What stood for `{key}` in it.
    pub key: String,
    /// Just before its first byte was sent.
    pub started: Nanos,
    /// When its last byte had been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Nanos>,
    /// When the answer was complete, or none to be had.
    pub ended: Nanos,
    /// The status of a complete answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's body where it is one short word, which may be the id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl JobSubmit {
    /// Whether the job was taken.
    pub fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// What the lines of a trial tell, and what else they may be asked for.
#[derive(Debug)]
pub struct Told {
    /// What they tell of jobs.
    pub books: Books,
    /// Whether any line was a job's.
    pub job_lines_seen: bool,
    /// The patterns of the log.
    pub log_lines: LogLines,
}

impl Told {
    /// Reads the lines among the events.
    pub(super) fn by(
        events: &[Event],
        jobs: &JobLines,
        log: &LogPatterns,
    ) -> Result<Self, BadPattern> {
        let mut of_jobs = events.iter().filter_map(|event| event.kind.job_line());
        let job_lines_seen = of_jobs.any(|line| jobs.matches(line.text));
        Ok(Self { books: jobs.books(events), job_lines_seen, log_lines: LogLines::new(log)? })
    }
}

/// Which stream or source a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The target's output.
    Output(Stream),
    /// Something else.
    Source(LineSource),
}

/// A line, wherever it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'e> {
    /// Where it was read.
    pub origin: Origin,
    /// The line without its end.
    pub text: &'e str,
    /// Whether it has no end.
    pub cut: bool,
    /// Before when it was not there yet; `None` where it is read as it is written.
    pub since: Option<Nanos>,
}

impl EventKind {
    /// The line that the event is about.
    pub fn line(&self) -> Option<Line<'_>> {
        match self {
            EventKind::OutputLine { stream, line, cut } => {
                Some(Line { origin: Origin::Output(*stream), text: line, cut: *cut, since: None })
            }
            EventKind::SourceLine(SourceLine { source, line, since, cut }) => Some(Line {
                origin: Origin::Source(*source),
                text: line,
                cut: *cut,
                since: Some(*since),
            }),
            _ => None,
        }
    }

    /// The line, where it may be one of a job's: the log's file is another matter.
    pub fn job_line(&self) -> Option<Line<'_>> {
        self.line().filter(|line| line.origin != Origin::Source(LineSource::LogFile))
    }
}
