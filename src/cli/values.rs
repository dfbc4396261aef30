//! How texts become values, the same on the command line, in the environment and in the file.

use std::time::Duration;

use crate::invariants::{self, CATALOGUE, Invariant};
use crate::model::contract::{JobPatterns, SecondSignal};
use crate::model::ledger::{JobLines, line_pattern};
use crate::model::partition::{BadPartition, Partition};
use crate::model::plan::{SignalTo, Situation};
use crate::model::secrets::hidden_text;
use crate::model::signal::Signal;
use crate::report::moments::{self, Topic};

/// The longest time that can be asked for: later instants are of no use to anybody.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Words that are less alike (Jaro-Winkler, from 0 to 1) are not taken for each other.
const LIKENESS: f64 = 0.8;

/// A length of time: `30s`, `500ms`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Err(_) => Err(format!("{text:?} is no length of time: write 30s or 500ms")),
        Ok(duration) if duration > LONGEST => Err("it is longer than a day".into()),
        Ok(duration) => Ok(duration),
    }
}

/// A length of time that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than zero".into()),
        duration => Ok(duration),
    }
}

/// A seed, decimal or hexadecimal.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    };
    parsed
        .ok_or_else(|| format!("{text:?} is no seed: use up to 64 bits, such as 1337 or 0x9f31c2"))
}

/// A signal that a program can handle.
pub(super) fn signal(text: &str) -> Result<Signal, String> {
    let signal: Signal = text.parse().map_err(|error| format!("{error}"))?;
    match signal.number() {
        libc::SIGKILL | libc::SIGSTOP => {
            Err(format!("no program can handle {signal}: use TERM, INT or another"))
        }
        _ => Ok(signal),
    }
}

/// Who gets the signal.
pub(super) fn signal_to(text: &str) -> Result<SignalTo, String> {
    let known = SignalTo::ALL.into_iter().find(|whom| whom.name() == text);
    known.ok_or_else(|| format!("{text:?} gets no signal: use leader, listener or group"))
}

/// What a second signal means.
pub(super) fn second_signal(text: &str) -> Result<SecondSignal, String> {
    match text {
        "ignore" => Ok(SecondSignal::Ignore),
        "force" => Ok(SecondSignal::Force),
        _ => Err(format!("{text:?} is no meaning of a second signal: use ignore or force")),
    }
}

/// The id of an invariant of the catalogue.
pub(super) fn invariant(text: &str) -> Result<&'static str, String> {
    let ids = CATALOGUE.iter().map(|invariant| invariant.id);
    invariants::find(text).map(|invariant| invariant.id).ok_or_else(|| {
        format!("no invariant is called {text:?}; {}", advice(text, ids, "shutdown-check list"))
    })
}

/// The name of a bundled server, or of a way to try one, with `-` or `_`.
pub(super) fn selftest(text: &str) -> Result<&'static str, String> {
    let names = super::selftest::names();
    let is_it = |name: &&&str| name.replace('_', "-") == text.replace('_', "-");
    names.iter().find(is_it).copied().ok_or_else(|| {
        let listed_by = "shutdown-check selftest";
        format!("nothing is planted by the name of {text:?}; {}", advice(text, names, listed_by))
    })
}

/// A situation by its name.
pub(super) fn situation(text: &str) -> Result<Situation, String> {
    let names = Situation::ALL.iter().map(|situation| situation.name());
    Situation::ALL.into_iter().find(|situation| situation.name() == text).ok_or_else(|| {
        format!("no situation is called {text:?}; {}", advice(text, names, "shutdown-check list"))
    })
}

/// What can be explained.
#[derive(Clone, Copy, Debug)]
pub enum Explained {
    /// An invariant of the catalogue.
    Invariant(&'static Invariant),
    /// A situation.
    Situation(Situation),
    /// A kind of moment.
    Moment(&'static Topic),
}

/// An invariant, a situation or a moment by its name.
pub(super) fn explained(text: &str) -> Result<Explained, String> {
    let invariant = invariants::find(text).map(Explained::Invariant);
    let named = |situation: &Situation| situation.name() == text;
    let situation = || Situation::ALL.into_iter().find(named).map(Explained::Situation);
    let found = invariant.or_else(situation);
    let found = found.or_else(|| moments::named(text).map(Explained::Moment));
    let ids = CATALOGUE.iter().map(|invariant| invariant.id);
    let names = ids.chain(Situation::ALL.iter().map(|situation| situation.name()));
    let names = names.chain(moments::TOPICS.iter().map(|topic| topic.name));
    found.ok_or_else(|| {
        let advice = advice(text, names, "shutdown-check list");
        format!("no invariant, situation or moment is called {text:?}; {advice}")
    })
}

/// The advice that names the nearest known word, and where all are listed unless it is near.
pub(super) fn advice<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    listed_by: &str,
) -> String {
    match near(word, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("see `{listed_by}`"),
    }
}

/// The known word that is most like this one, where one is so much like it that it may be meant.
pub(super) fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let likened = known.into_iter().map(|known| (known, strsim::jaro_winkler(word, known)));
    let (nearest, likeness) = likened.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (likeness > LIKENESS).then_some(nearest)
}

/// A regular expression for lines.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    line_pattern(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A regular expression for lines that name a job.
pub(super) fn job_pattern(text: &str) -> Result<String, String> {
    let patterns = JobPatterns { start: vec![text.to_owned()], ..JobPatterns::default() };
    JobLines::new(&patterns).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A slice of the plan as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// This one.
    Named(Partition),
    /// The one that the surroundings tell, of so many where that is said.
    Auto(Option<u32>),
}

/// `slice:1/3`, `auto` or `auto/3`.
pub(super) fn slice(text: &str) -> Result<Slice, String> {
    let bad = || BadPartition::Text(text.to_owned()).to_string();
    let Some(of) = text.strip_prefix("auto") else {
        return text.parse().map(Slice::Named).map_err(|error: BadPartition| error.to_string());
    };
    match of.strip_prefix('/') {
        None if of.is_empty() => Ok(Slice::Auto(None)),
        None => Err(bad()),
        Some(count) => {
            let count: u32 = count.parse().map_err(|_| bad())?;
            let last = Partition::new(count.max(1), count).map_err(|error| error.to_string())?;
            Ok(Slice::Auto(Some(last.count)))
        }
    }
}

/// Requests a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err(format!("{text:?} is no rate: use requests a second, more than 0 and up to 1e6")),
    }
}

/// A request as people write it: `/orders`, or `POST /orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSpec {
    /// The method, where one was written.
    pub method: Option<String>,
    /// Path and query.
    pub path: String,
}

/// A path, with or without a method before it.
pub(super) fn path_spec(text: &str) -> Result<PathSpec, String> {
    match text.trim().split_once(' ') {
        Some((verb, rest)) if !verb.starts_with('/') => {
            Ok(PathSpec { method: Some(method(verb)?), path: path(rest.trim_start())? })
        }
        _ => Ok(PathSpec { method: None, path: path(text.trim())? }),
    }
}

/// Where a list of jobs is asked for: a path of the target's, or the URL of something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUrl(pub String);

/// A path, or an absolute URL.
pub(super) fn job_url(text: &str) -> Result<JobUrl, String> {
    if text.starts_with('/') {
        return path(text).map(JobUrl);
    }
    // The port of a trial may stand in it.
    match reqwest::Url::parse(&text.replace("{port}", "1")) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(JobUrl(text.to_owned())),
        _ => Err(format!(
            "{:?} is no page: use /jobs for one of the target's, or http://…",
            hidden_text(text)
        )),
    }
}

/// The path and query of a request target in origin form (RFC 9112, section 3.2.1).
pub(super) fn path(text: &str) -> Result<String, String> {
    let sendable = |c: char| c.is_ascii_graphic() && c != '#';
    match text.chars().find(|&c| !sendable(c)) {
        _ if !text.starts_with('/') => {
            Err(format!("{text:?} is no path: begin it with /, as in /orders or 'POST /orders'"))
        }
        Some(bad) => Err(format!("a path can't hold {bad:?}: percent-encode it")),
        None => Ok(text.to_owned()),
    }
}

/// A method (RFC 9110, section 9.1).
pub(super) fn method(text: &str) -> Result<String, String> {
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no method: use GET, POST or another")),
    }
}

/// A header field: `Name: value`.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("a header field has a colon: write 'Name: value'")?;
    header_field(name, value.trim())
}

/// A header field from its parts (RFC 9110, section 5).
pub(super) fn header_field(name: &str, value: &str) -> Result<(String, String), String> {
    const OWN: [&str; 4] = ["Host", "Content-Length", "Transfer-Encoding", "Connection"];
    if !is_token(name) {
        return Err(format!("{name:?} is no name of a header field"));
    }
    if let Some(own) = OWN.iter().find(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("the harness sets {own} itself: leave it out"));
    }
    // The value may be a secret: no message repeats it.
    match value.chars().any(|c| c.is_control() && c != '\t') {
        true => Err(format!("the value of {name} holds a control character")),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

fn is_token(text: &str) -> bool {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_tchar)
}

/// A variable for the target: `KEY=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}
