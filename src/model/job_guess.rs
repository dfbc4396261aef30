//! Which lines of a server look like the start and the finish of a job.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

/// Patterns for the lines of jobs, from lines that were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobGuess {
    /// For the lines that say that a job has started, with a group named `id`.
    pub start: String,
    /// For those that say that it has finished.
    pub finish: String,
    /// How many jobs were seen to start and to finish.
    pub jobs: usize,
}

static START: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(started|starting|start|began|begins?|beginning|running|processing)\b").ok()
});
static FINISH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(finished|done|completed?|ended|succeeded|failed|processed)\b").ok()
});
/// A word with a digit in it, and the word that stands before it: `job 17`, `id=17`, `"task": "a7"`.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?P<before>[A-Za-z_]+["']?(?:\s*[=:#(\[]\s*|\s+)["'#]?)(?P<id>(?:[\w-]*\d)(?:[\w.-]*\w)?)"#)
        .ok()
});
/// What stands between the verb and the id is no longer.
const GAP_MAX: usize = 40;

/// One way in which a line may tell of a job: what stands around the id and the verb.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    /// Whether the verb comes first.
    verb_first: bool,
    /// The word before the id.
    before: String,
    /// Between the two.
    between: String,
}

struct Reading {
    shape: Shape,
    verb: String,
    id: String,
}

/// The pair of patterns that most jobs were seen with: lines that differ in nothing but the verb, and
/// that name the same id, the start before the finish.
pub fn guess(lines: &[String]) -> Option<JobGuess> {
    let mut open: BTreeMap<(Shape, String), String> = BTreeMap::new();
    let mut seen: BTreeMap<(Shape, String, String), usize> = BTreeMap::new();
    for line in lines {
        for reading in readings(line, START.as_ref()?) {
            open.insert((reading.shape, reading.id), reading.verb);
        }
        for Reading { shape, verb, id } in readings(line, FINISH.as_ref()?) {
            if let Some(start) = open.remove(&(shape.clone(), id)) {
                *seen.entry((shape, start, verb)).or_default() += 1;
            }
        }
    }
    let ((shape, start, finish), jobs) = seen.into_iter().max_by_key(|(_, jobs)| *jobs)?;
    Some(JobGuess { start: shape.pattern(&start), finish: shape.pattern(&finish), jobs })
}

fn readings(line: &str, verbs: &Regex) -> Vec<Reading> {
    let Some(named) = NAMED.as_ref() else { return Vec::new() };
    let mut readings = Vec::new();
    for verb in verbs.find_iter(line) {
        for captures in named.captures_iter(line) {
            let (Some(before), Some(id)) = (captures.name("before"), captures.name("id")) else {
                continue;
            };
            let verb_first = verb.end() <= before.start();
            let between = match verb_first {
                true => line.get(verb.end()..before.start()),
                false => line.get(id.end()..verb.start()),
            };
            let Some(between) = between.filter(|it| it.len() <= GAP_MAX) else { continue };
            let (before, between) = (before.as_str().to_owned(), between.to_owned());
            let (verb, id) = (verb.as_str().to_owned(), id.as_str().to_owned());
            readings.push(Reading { shape: Shape { verb_first, before, between }, verb, id });
        }
    }
    readings
}

impl Shape {
    fn pattern(&self, verb: &str) -> String {
        let named = format!(r"\b{}(?P<id>[\w.-]*\w)", regex::escape(&self.before));
        let between = regex::escape(&self.between);
        match self.verb_first {
            true => format!(r"\b{verb}{between}{}", named.trim_start_matches(r"\b")),
            false => format!(r"{named}{between}{verb}\b"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(lines: &[&str]) -> Option<JobGuess> {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let guess = guess(&lines)?;
        // What is proposed matches what it was proposed for.
        for pattern in [&guess.start, &guess.finish] {
            let pattern = Regex::new(pattern).unwrap();
            let ids = lines.iter().filter_map(|line| pattern.captures(line));
            assert!(ids.filter(|captures| !captures["id"].is_empty()).count() >= guess.jobs);
        }
        Some(guess)
    }

    #[test]
    fn a_job_is_known_by_its_id_before_or_after_the_verb() {
        let guess = guessed(&["10:01 INFO job 17 started", "10:02 INFO job 17 finished"]).unwrap();
        assert_eq!(guess.start, r"\bjob (?P<id>[\w.-]*\w) started\b");
        assert_eq!((&*guess.finish, guess.jobs), (r"\bjob (?P<id>[\w.-]*\w) finished\b", 1));
        let guess = guessed(&["Processing task #a7", "Processed task #a7"]).unwrap();
        assert_eq!(guess.start, r"\bProcessing task \#(?P<id>[\w.-]*\w)");
    }

    #[test]
    fn fields_of_structured_logs_are_understood() {
        let lines = [
            r#"{"level":"info","msg":"job started","job":17}"#,
            r#"{"level":"info","msg":"job done","job":17}"#,
            r#"{"level":"info","msg":"job started","job":18}"#,
        ];
        let guess = guessed(&lines).unwrap();
        assert_eq!(guess.jobs, 1);
        assert!(guess.start.contains("started") && guess.finish.contains("done"), "{guess:?}");
        let guess = guessed(&["job id=a-1 began", "job id=a-1 ended"]).unwrap();
        assert_eq!(guess.start, r"\bid=(?P<id>[\w.-]*\w) began\b");
    }

    #[test]
    fn what_only_looks_alike_is_no_job() {
        let others: [&[&str]; 5] = [
            &["server started on port 8080", "request 17 done"],
            &["worker 3 started", "worker 4 finished"],
            &["job 17 finished", "job 17 started"],
            &["job 17 started"],
            &[],
        ];
        for lines in others {
            assert_eq!(guessed(lines), None, "{lines:?}");
        }
    }
}
