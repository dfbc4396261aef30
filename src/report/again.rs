//! The commands that do a run, or a part of it, again: with every setting of it that is not the default,
//! from whichever place it came. What is no part of a report, since it may be secret, is left to the
//! reader.

use serde_json::{Map, Value};

use crate::model::contract::JobPatterns;
use crate::model::plan::Situation;
use crate::model::run::RunReport;
use crate::model::secrets::{REDACTED, hidden_words};

use super::phrases::quoted;

/// What stands in a command for what the report does not keep.
pub const PLACEHOLDER: &str = "…";
const TOOL: &str = "shutdown-check";

/// Settings that are one value, by their key, which is also their option's name, with what holds where
/// nobody says otherwise.
const VALUES: [(&str, &str); 17] = [
    ("profile", "graceful"),
    ("deadline", "30s"),
    ("refuse-within", "500ms"),
    ("lame-duck", ""),
    ("jobs-stop-within", "500ms"),
    ("second-signal", "ignore"),
    ("url", ""),
    ("ready-url", ""),
    ("ready-line", ""),
    ("ready-file", ""),
    ("ready-timeout", "10s"),
    ("cwd", ""),
    ("connections", "16"),
    ("rate", ""),
    ("signal-to", ""),
    ("log-file", ""),
    ("parallel", ""),
];
/// Those that are lists, of which each entry has its option.
const LISTS: [&str; 3] = ["leaves-no", "last-words", "access-log"];
/// Those that only say how much is done, and of what.
const OF_THE_PLAN: [(&str, &str); 4] =
    [("trials", ""), ("budget", "25s"), ("until-bound", ""), ("shrink-budget", "10s")];
/// How the usual value of a declared write is written down: `{value}`, by its length and its hash.
const USUAL_VALUE: &str = "(7 bytes, sha256 db9a5a9b5a4cce07)";

/// Settings as words of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The words, each as a shell would get it.
    pub words: Vec<String>,
    /// What no word can say, in words for people.
    pub lacking: Vec<String>,
}

/// Every setting of a trial that is not the default: how the target is started, asked, signalled and
/// judged, as `shutdown-check.toml` would have it.
pub fn options(configuration: &Value) -> Options {
    let mut options = Options::default();
    let Some(settings) = configuration.as_object() else { return options };
    for (key, usual) in VALUES {
        options.value(settings, (key, usual));
    }
    options.flag(settings, "as-pid-1");
    for key in LISTS {
        texts(settings.get(key)).into_iter().for_each(|text| options.say(key, text));
    }
    options.lists(settings);
    for (name, _) in settings.get("env").and_then(Value::as_object).into_iter().flatten() {
        options.say("env", format!("{name}={PLACEHOLDER}"));
        options.lacking.push(format!("the value of {name}"));
    }
    options.requests(settings.get("request").and_then(Value::as_array).map_or(&[], |it| it));
    options.writes(settings.get("writes"));
    if options.words.iter().any(|word| word.contains(REDACTED)) {
        options.lacking.push("what may be secret".to_owned());
        for word in &mut options.words {
            *word = word.replace(REDACTED, PLACEHOLDER);
        }
    }
    options
}

/// The run with the same seed.
pub fn run(report: &RunReport) -> String {
    let mut plan = Options::default();
    plan.say("seed", report.seed.to_string());
    report.partition.iter().for_each(|slice| plan.say("partition", slice.to_string()));
    if let Some(settings) = report.configuration.as_object() {
        OF_THE_PLAN.iter().for_each(|value| plan.value(settings, *value));
        let situations = texts(settings.get("situation"));
        let has_writes = settings.contains_key("writes");
        let usual = Situation::ALL.iter().filter(|it| has_writes || !it.needs_writes());
        let usual: Vec<&str> = usual.map(|it| it.name()).collect();
        if !situations.is_empty() && situations != usual {
            plan.say("situation", situations.join(","));
        }
        ["deep", "fail-fast"].iter().for_each(|flag| plan.flag(settings, flag));
    }
    let all = [plan.words, options(&report.configuration).words].concat();
    with_target(&[], &all, report)
}

/// What an entry of a file of known failures says, without the report.
pub fn entry(report: &RunReport, file: &str) -> String {
    let first = ["replay", "--regressions", file].map(str::to_owned);
    with_target(&first, &options(&report.configuration).words, report)
}

/// What a history beside its report shows: the report has its settings, except what it does not keep.
/// `has` says of a variable, or of the key of a setting, whether it is known from elsewhere.
pub fn history(report: &RunReport, path: &str, has: &dyn Fn(&str) -> bool) -> String {
    let mut words = ["replay", path].map(str::to_owned).to_vec();
    let mut unkept = Options::default();
    if let Some(settings) = report.configuration.as_object() {
        let env = settings.get("env").and_then(Value::as_object).into_iter().flatten();
        for (name, _) in env.filter(|(name, _)| !has(name)) {
            unkept.say("env", format!("{name}={PLACEHOLDER}"));
        }
        let is_unkept = |key: &str| {
            let text = settings.get(key).map(ToString::to_string).unwrap_or_default();
            (text.contains(REDACTED) || text.contains("sha256 ")) && !has(key)
        };
        if is_unkept("request") {
            let requests = settings.get("request").and_then(Value::as_array);
            unkept.requests(requests.map_or(&[], |it| it));
        }
        if is_unkept("writes") {
            unkept.writes(settings.get("writes"));
        }
        if is_unkept("target") {
            unkept.words.push("--".to_owned());
            unkept.words.extend(hidden_words(&report.target.command));
        }
    }
    words.extend(unkept.words.iter().map(|word| word.replace(REDACTED, PLACEHOLDER)));
    typed(&words)
}

fn with_target(first: &[String], options: &[String], report: &RunReport) -> String {
    // Once they are quoted, nobody finds the secrets in them.
    let command = hidden_words(&report.target.command);
    let command = command.iter().map(|word| word.replace(REDACTED, PLACEHOLDER));
    let target: Vec<String> = ["--".to_owned()].into_iter().chain(command).collect();
    typed(&[first, options, &target].concat())
}

/// A command of this program as it would be typed.
fn typed(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("{TOOL} {}", words.join(" "))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A list of texts or numbers, or a single one.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(all)) => all.iter().map(text).collect(),
        Some(one) => vec![text(one)],
        None => Vec::new(),
    }
}

impl Options {
    fn say(&mut self, option: &str, value: String) {
        // Else a value that begins like an option would be taken for one.
        match value.starts_with('-') {
            true => self.words.push(format!("--{option}={value}")),
            false => self.words.extend([format!("--{option}"), value]),
        }
    }

    fn value(&mut self, settings: &Map<String, Value>, (key, usual): (&str, &str)) {
        let value = settings.get(key).map(text).filter(|value| value != usual);
        value.into_iter().for_each(|value| self.say(key, value));
    }

    fn flag(&mut self, settings: &Map<String, Value>, key: &str) {
        if settings.get(key) == Some(&Value::Bool(true)) {
            self.words.push(format!("--{key}"));
        }
    }

    /// Lists whose options are named or written otherwise.
    fn lists(&mut self, settings: &Map<String, Value>) {
        let signals = texts(settings.get("signal"));
        if !signals.is_empty() && signals != ["SIGTERM"] {
            self.say("signal", signals.join(","));
        }
        let exits = texts(settings.get("expect-exit"));
        if !exits.is_empty() {
            self.say("expect-exit", exits.join(","));
        }
        for (id, level) in settings.get("levels").and_then(Value::as_object).into_iter().flatten() {
            self.say(&text(level), id.clone());
        }
        let Some(jobs) = settings.get("jobs").and_then(Value::as_object) else { return };
        let usual = JobPatterns::usual();
        let patterns = ["start", "finish"].map(|key| texts(jobs.get(key)));
        if patterns != [usual.start, usual.finish] {
            for (option, patterns) in ["job-start", "job-finish"].iter().zip(patterns) {
                patterns.into_iter().for_each(|pattern| self.say(option, pattern));
            }
        }
        for key in ["handed-over", "refused", "file", "url", "submit"] {
            let option = format!("job-{key}");
            texts(jobs.get(key)).into_iter().for_each(|text| self.say(&option, text));
        }
    }

    fn requests(&mut self, requests: &[Value]) {
        for request in requests {
            self.say("path", request_line(request));
        }
        let of =
            |key: &str| -> Vec<Option<&Value>> { requests.iter().map(|it| it.get(key)).collect() };
        if of("weight").iter().flatten().any(|weight| weight.as_u64() != Some(1)) {
            self.lacking.push("how often each request is sent (weight)".to_owned());
        }
        let alike = |key: &str| {
            let mut all = of(key);
            all.dedup();
            if all.len() > 1 { None } else { Some(all.pop().flatten()) }
        };
        let (Some(headers), Some(body), Some(expect)) =
            (alike("headers"), alike("body"), alike("expect"))
        else {
            let what = "what differs between the requests (headers, bodies, statuses: [[request]])";
            self.lacking.push(what.to_owned());
            return;
        };
        for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
            self.say("header", format!("{name}: {}", text(value)));
        }
        if let Some(body) = body {
            self.say("body", PLACEHOLDER.to_owned());
            self.lacking.push(format!("the body {}", text(body)));
        }
        expect.into_iter().for_each(|status| self.say("expect-status", text(status)));
    }

    fn writes(&mut self, writes: Option<&Value>) {
        for key in ["write", "read"] {
            let Some(request) = writes.and_then(|writes| writes.get(key)) else { continue };
            self.say(key, request_line(request));
            if request.get("headers").is_some() || request.get("expect").is_some() {
                let what = format!("headers and status of the request that {key}s ([writes])");
                self.lacking.push(what);
            }
            match request.get("body").map(text) {
                Some(body) if key == "write" && body != USUAL_VALUE => {
                    self.say("write-body", PLACEHOLDER.to_owned());
                    self.lacking.push(format!("what is written {body}"));
                }
                _ => {}
            }
        }
    }
}

/// `POST /orders`, or a path alone.
fn request_line(request: &Value) -> String {
    let [method, path] =
        ["method", "path"].map(|key| request.get(key).map(text).unwrap_or_default());
    if method == "GET" && request.get("body").is_none() { path } else { format!("{method} {path}") }
}
