//! The books of the jobs: which started, which finished, read from lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use regex::Regex;

use super::contract::JobPatterns;
use super::event::{Event, EventIndex};
use super::line::Origin;
use super::time::Nanos;

/// One job, as its lines tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The `id` group of its lines.
    pub id: String,
    /// When its first start line was read.
    pub started: Nanos,
    /// Before when that line was not there: the same instant, but for sources that are read at
    /// intervals.
    pub earliest: Nanos,
    /// Whether that line says that the job starts; otherwise only that it was running already
    /// (see [`JobPatterns::start`]).
    pub start_known: bool,
    /// That line.
    pub started_event: EventIndex,
    /// When its finish line was read, or that of its being handed over; `None` when there is none.
    pub finished: Option<Nanos>,
}

/// What lines tell of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The jobs, in the order of their starts.
    pub jobs: Vec<Job>,
    /// The ids of those that were refused, and so are none.
    pub refused: BTreeSet<String>,
}

/// The lines that announce jobs, ready to be matched.
#[derive(Debug)]
pub struct JobLines {
    start: Vec<Regex>,
    finish: Vec<Regex>,
    refused: Vec<Regex>,
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
        let mut finish = naming_a_job(&patterns.finish)?;
        finish.extend(naming_a_job(&patterns.handed_over)?);
        let (start, refused) = (naming_a_job(&patterns.start)?, naming_a_job(&patterns.refused)?);
        Ok(Self { start, finish, refused })
    }

    /// Whether the line tells of a job.
    pub fn matches(&self, line: &str) -> bool {
        let mut all = self.start.iter().chain(&self.finish).chain(&self.refused);
        all.any(|pattern| pattern.is_match(line))
    }

    /// What the lines among `events` tell of jobs.
    ///
    /// A job that starts again after its finish is another job with the same id; one that says
    /// again that it has started, before it has finished, is still the same; and so is one whose
    /// start two sources tell of, however far one of them lags behind.
    pub fn books(&self, events: &[Event]) -> Books {
        let mut books = Books::default();
        let mut accounts: HashMap<String, Account> = HashMap::new();
        for (index, event) in (0..).zip(events) {
            let Some(line) = event.kind.job_line() else { continue };
            if let Some((id, _)) = id_in(&self.refused, line.text) {
                books.refused.insert(id.to_owned());
                accounts.entry(id.to_owned()).or_default().running = None;
            } else if let Some((id, _)) = id_in(&self.finish, line.text) {
                let account = accounts.entry(id.to_owned()).or_default();
                if let Some(at) = account.finish_told_by(line.origin) {
                    books.jobs[at].finished = Some(event.at);
                }
            } else if let Some((id, is_turn)) = id_in(&self.start, line.text) {
                let account = accounts.entry(id.to_owned()).or_default();
                if account.start_told_by(line.origin, books.jobs.len()) {
                    books.jobs.push(Job {
                        id: id.to_owned(),
                        started: event.at,
                        earliest: line.since.unwrap_or(event.at),
                        start_known: !is_turn,
                        started_event: index,
                        finished: None,
                    });
                }
            }
        }
        let Books { jobs, refused } = &mut books;
        jobs.retain(|job| job.finished.is_some() || !refused.contains(&job.id));
        books
    }
}

/// What is known of the jobs with one id.
#[derive(Debug, Default)]
struct Account {
    /// The place of the one that runs.
    running: Option<usize>,
    started: u32,
    finished: u32,
    /// How many starts and finishes each source has told of.
    told: HashMap<Origin, (u32, u32)>,
}

impl Account {
    /// Takes note of a start line; whether it is that of another job, whose place is given.
    fn start_told_by(&mut self, origin: Origin, place: usize) -> bool {
        let (told, _) = self.told.entry(origin).or_default();
        if *told < self.started {
            *told += 1;
            return false;
        }
        if self.running.is_some() {
            return false;
        }
        *told += 1;
        self.started += 1;
        self.running = Some(place);
        true
    }

    /// Takes note of a finish line; the place of the job that it finishes.
    fn finish_told_by(&mut self, origin: Origin) -> Option<usize> {
        let (_, told) = self.told.entry(origin).or_default();
        if *told < self.finished {
            *told += 1;
            return None;
        }
        let place = self.running.take()?;
        *told += 1;
        self.finished += 1;
        Some(place)
    }
}

/// How long jobs took, the median of each kind: jobs whose ids differ only in the number at their
/// end are of one kind.
pub fn usual_durations(jobs: &[Job]) -> BTreeMap<String, Duration> {
    let mut kinds: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.start_known) {
        if let Some(finished) = job.finished {
            kinds.entry(kind(&job.id).to_owned()).or_default().push(finished.since(job.started));
        }
    }
    let median = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    kinds.into_iter().map(|(kind, all)| (kind, median(all))).collect()
}

/// What jobs of the same kind have in common: the id without the number at its end.
pub fn kind(id: &str) -> &str {
    id.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// A pattern for a line that is no job's.
///
/// # Errors
/// When it is no regular expression.
pub fn line_pattern(pattern: &str) -> Result<Regex, BadPattern> {
    Regex::new(pattern).map_err(|error| BadPattern::Syntax {
        pattern: pattern.to_owned(),
        reason: {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.trim_start_matches("error: ").to_owned()
        },
    })
}

/// The patterns of lines.
pub(super) fn compiled(patterns: &[String]) -> Result<Vec<Regex>, BadPattern> {
    patterns.iter().map(|pattern| line_pattern(pattern)).collect()
}

/// The patterns of lines that name a job.
fn naming_a_job(patterns: &[String]) -> Result<Vec<Regex>, BadPattern> {
    let all = compiled(patterns)?;
    match all.iter().find(|regex| regex.capture_names().flatten().all(|name| name != "id")) {
        Some(regex) => Err(BadPattern::NoId { pattern: regex.as_str().to_owned() }),
        None => Ok(all),
    }
}

/// The job that a line is about, and whether the line only says that it is running.
fn id_in<'l>(patterns: &[Regex], line: &'l str) -> Option<(&'l str, bool)> {
    let found = patterns.iter().find_map(|pattern| pattern.captures(line))?;
    found.name("id").map(|id| (id.as_str(), found.name("turn").is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::event::{EventKind, LineSource, SourceLine, Stream};
    use super::*;

    fn output(line: &str) -> EventKind {
        EventKind::OutputLine { stream: Stream::Stdout, line: line.into(), cut: false }
    }

    fn file(line: &str) -> EventKind {
        let (source, since) = (LineSource::JobFile, Nanos::from_ms(0));
        EventKind::SourceLine(SourceLine { source, line: line.into(), since, cut: false })
    }

    fn books(kinds: impl IntoIterator<Item = EventKind>, patterns: &JobPatterns) -> Books {
        let events = (1..).zip(kinds).map(|(ms, kind)| Event { at: Nanos::from_ms(ms), kind });
        JobLines::new(patterns).unwrap().books(&events.collect::<Vec<_>>())
    }

    fn jobs(lines: &[&str]) -> Vec<Job> {
        books(lines.iter().map(|line| output(line)), &JobPatterns::usual()).jobs
    }

    #[test]
    fn a_job_that_two_sources_tell_of_is_one_however_far_one_lags_behind() {
        let (started, finished) = ("job id=a started", "job id=a finished");
        let told = |lines: &[EventKind]| books(lines.to_vec(), &JobPatterns::usual()).jobs;
        let both = [output(started), output(finished), file(started), file(finished)];
        assert_eq!(told(&both).len(), 1);
        assert_eq!(told(&both)[0].finished, Some(Nanos::from_ms(2)));
        let lagging = [&both[..2], &both[..1], &both[2..]].concat();
        let jobs = told(&lagging);
        assert_eq!(jobs.len(), 2);
        assert_eq!(jobs[1].finished, None, "the file's finish is that of the first one");
        assert_eq!(told(&[output(started), file(finished)])[0].finished, Some(Nanos::from_ms(2)));
        assert_eq!(told(&[file(started)])[0].earliest, Nanos::from_ms(0));
    }

    #[test]
    fn a_job_that_was_handed_over_is_finished_and_one_that_was_refused_is_none() {
        let patterns = JobPatterns {
            handed_over: vec![r"job (?P<id>\S+) requeued".into()],
            refused: vec![r"job (?P<id>\S+) refused".into()],
            ..JobPatterns::usual()
        };
        let lines = ["job id=a started", "job id=b started", "job b refused", "job a requeued"];
        let books = books(lines.map(output), &patterns);
        assert_eq!(books.jobs.len(), 1);
        assert_eq!(books.jobs[0].finished, Some(Nanos::from_ms(4)));
        assert!(books.refused.contains("b"));
    }

    #[test]
    fn usual_durations_are_those_of_a_kind() {
        let lines = ["job id=a-1 started", "job id=b started", "job id=a-1 done", "job id=b done"];
        let usual = usual_durations(&jobs(&lines));
        let wanted = [("a-".to_owned(), 2), ("b".to_owned(), 2)];
        assert_eq!(usual, wanted.map(|(kind, ms)| (kind, Duration::from_millis(ms))).into());
        assert_eq!(kind("heavy-17"), "heavy-");
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
