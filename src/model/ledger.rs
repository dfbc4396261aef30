//! The books of the jobs: which started, which finished, read from the target's lines.

use std::collections::HashMap;

use regex::Regex;

use super::contract::JobPatterns;
use super::event::{Event, EventIndex, EventKind};
use super::time::Nanos;

/// One job, as its lines tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The `id` group of its lines.
    pub id: String,
    /// When its first start line was read.
    pub started: Nanos,
    /// Whether that line says that the job starts; otherwise only that it was running already
    /// (see [`JobPatterns::start`]).
    pub start_known: bool,
    /// That line.
    pub started_event: EventIndex,
    /// When its finish line was read; `None` when there is none.
    pub finished: Option<Nanos>,
}

/// The lines that announce jobs, ready to be matched.
#[derive(Debug)]
pub struct JobLines {
    start: Vec<Regex>,
    finish: Vec<Regex>,
}

/// A pattern can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// It is no regular expression.
    #[error("{pattern:?} is no regular expression: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What the parser says.
        reason: String,
    },
    /// It has no group named `id`.
    #[error(
        "{pattern:?} has no group named id: write (?P<id>…) around the part that names the job"
    )]
    NoId {
        /// The pattern.
        pattern: String,
    },
}

impl JobLines {
    /// Prepares the patterns.
    pub fn new(patterns: &JobPatterns) -> Result<Self, BadPattern> {
        Ok(Self { start: compiled(&patterns.start)?, finish: compiled(&patterns.finish)? })
    }

    /// Whether the line announces the start or the finish of a job.
    pub fn matches(&self, line: &str) -> bool {
        self.start.iter().chain(&self.finish).any(|pattern| pattern.is_match(line))
    }

    /// The jobs that the lines among `events` tell of, in the order of their starts.
    ///
    /// A job that starts again after its finish is another job with the same id; one that says
    /// again that it has started, before it has finished, is still the same.
    pub fn jobs(&self, events: &[Event]) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut running: HashMap<String, usize> = HashMap::new();
        for (index, event) in (0..).zip(events) {
            let EventKind::OutputLine { line, .. } = &event.kind else { continue };
            if let Some((id, _)) = id_in(&self.finish, line) {
                if let Some(at) = running.remove(id) {
                    jobs[at].finished = Some(event.at);
                }
            } else if let Some((id, is_turn)) = id_in(&self.start, line)
                && !running.contains_key(id)
            {
                running.insert(id.to_owned(), jobs.len());
                jobs.push(Job {
                    id: id.to_owned(),
                    started: event.at,
                    start_known: !is_turn,
                    started_event: index,
                    finished: None,
                });
            }
        }
        jobs
    }
}

/// A pattern for a line that is no job's.
///
/// # Errors
/// When it is no regular expression.
pub fn line_pattern(pattern: &str) -> Result<Regex, BadPattern> {
    Regex::new(pattern).map_err(|error| BadPattern::Syntax {
        pattern: pattern.to_owned(),
        reason: error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })
}

fn compiled(patterns: &[String]) -> Result<Vec<Regex>, BadPattern> {
    let compile = |pattern: &String| {
        let regex = line_pattern(pattern)?;
        match regex.capture_names().flatten().any(|name| name == "id") {
            true => Ok(regex),
            false => Err(BadPattern::NoId { pattern: pattern.clone() }),
        }
    };
    patterns.iter().map(compile).collect()
}

/// The job that a line is about, and whether the line only says that it is running.
fn id_in<'l>(patterns: &[Regex], line: &'l str) -> Option<(&'l str, bool)> {
    let found = patterns.iter().find_map(|pattern| pattern.captures(line))?;
    found.name("id").map(|id| (id.as_str(), found.name("turn").is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::event::Stream;
    use super::*;

    fn jobs(lines: &[&str]) -> Vec<Job> {
        let events: Vec<Event> = (1..)
            .zip(lines)
            .map(|(ms, line)| Event {
                at: Nanos::from_ms(ms),
                kind: EventKind::OutputLine { stream: Stream::Stdout, line: (*line).to_owned() },
            })
            .collect();
        JobLines::new(&JobPatterns::usual()).unwrap().jobs(&events)
    }

    #[test]
    fn a_job_without_a_finish_line_is_unfinished() {
        let jobs = jobs(&["job id=a-1 started", "job id=a-2 started", "job id=a-1 finished"]);
        assert_eq!(jobs[0].finished, Some(Nanos::from_ms(3)));
        assert_eq!(jobs[1].finished, None);
    }

    #[test]
    fn the_slides_own_lines_are_understood() {
        let turns = ["[heavy job] Done", "2026/11/22 10:00:00 [heavy job] Done"];
        let unfinished = jobs(&turns);
        assert_eq!((unfinished.len(), unfinished[0].finished), (1, None));
        assert_eq!(unfinished[0].id, "heavy job");
        assert!(!unfinished[0].start_known, "a finished turn began some time before its line");
        let finished = jobs(&[turns[0], "[heavy job] ctx Done"]);
        assert_eq!(finished[0].finished, Some(Nanos::from_ms(2)));
    }

    #[test]
    fn a_pattern_must_be_one_and_must_name_its_job() {
        let with = |start: &str| JobPatterns { start: vec![start.into()], ..Default::default() };
        assert!(matches!(JobLines::new(&with("(")), Err(BadPattern::Syntax { .. })));
        assert!(matches!(JobLines::new(&with("started")), Err(BadPattern::NoId { .. })));
    }
}
