//! The file that `init` writes: what was found out as values, all else as commented examples.

use std::path::Path;
use std::time::Duration;

use crate::cli::settings::{Address, Settings};
use crate::model::event::ExitStatus;
use crate::model::graceful_signal::KnownServer;
use crate::model::job_guess::JobGuess;
use crate::model::secrets::{hidden_text, hidden_words, is_secret};
use crate::model::signal::Signal;
use crate::model::stack::StackReport;
use crate::model::verdict::Profile;
use crate::trial::survey::{Page, Survey};

use super::READINESS;

/// A page that takes this long is met while it is in process.
const SLOW: Duration = Duration::from_millis(300);

/// What is known of the target: what the user said, and what it showed.
pub(super) struct Known<'k> {
    pub(super) settings: &'k Settings,
    /// The folder that paths are relative to.
    pub(super) here: &'k Path,
    /// The paths that the user named.
    pub(super) named: Vec<&'k str>,
    pub(super) jobs: Option<JobGuess>,
    pub(super) seen: &'k Survey,
    pub(super) signal: Signal,
}

/// The file's text.
pub(super) fn file(known: &Known<'_>) -> String {
    let parts = [
        "# What `shutdown-check` does without options. `shutdown-check schema config` has every key,\n\
         # `shutdown-check explain NAME` what an invariant or a situation means.\n"
            .to_owned(),
        known.start(),
        known.readiness(),
        known.expected(),
        known.amount(),
        known.requests(),
        known.job_lines(),
        LEVELS.to_owned(),
    ];
    parts.join("\n")
}

const LEVELS: &str = "\
# What a violation does, where it is not what the profile says: deny, warn or allow.
[levels]
# exit-status-is-clean = \"deny\"
";

/// So many exits of a slow target, two at a time, show each situation once.
const EXITS: u64 = 12;

/// A length of time for people.
pub(super) fn time(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn array(texts: &[String]) -> String {
    let all: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", all.join(", "))
}

/// Text that the target chose, in a comment: on one line.
fn comment(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn is_good(page: &Page) -> bool {
    (200..300).contains(&page.status)
}

impl Known<'_> {
    pub(super) fn stack(&self) -> Option<StackReport> {
        let named = self.settings.stack;
        let named = named.map(|name| StackReport { name, by: "as you say".into() });
        named.or_else(|| self.seen.signs.stack())
    }

    pub(super) fn listens(&self) -> String {
        let Some(address) = &self.seen.address else { return "on nothing".into() };
        match self.seen.took_port {
            true => format!("{}, where it was told to (PORT or {{port}})", address.url()),
            false => format!("{}, whatever PORT says", address.url()),
        }
    }

    pub(super) fn jobs_seen(&self) -> String {
        match (&self.jobs, self.seen.usual_jobs) {
            (_, 1..) => format!("{} seen, by the usual lines", self.seen.usual_jobs),
            (Some(guess), 0) => {
                format!("{} seen, by lines such as {}", guess.jobs, guess.start)
            }
            (None, 0) => "no lines that look like a job's start and finish".into(),
        }
    }

    /// How it ended after the signal.
    pub(super) fn end(&self) -> String {
        let signal = self.signal;
        let how = match self.seen.exit {
            Some((ExitStatus { signal: Some(by), .. }, took)) => {
                format!("{by} ended it after {}", time(took))
            }
            Some((ExitStatus { code, .. }, took)) => {
                let code = code.map_or("unknown".to_owned(), |code| code.to_string());
                format!("it exited with status {code} after {}", time(took))
            }
            None => format!("it did not exit within {:?}", self.settings.deadline),
        };
        match self.seen.handles_signal {
            true => format!("{how}, with no request in process"),
            false => format!("no process of it handles {signal}: {how}"),
        }
    }

    fn start(&self) -> String {
        let settings = self.settings;
        let command = hidden_words(&settings.command);
        let mut text = String::from(
            "# The program and its arguments. {port} becomes the port of a trial, which it also gets in\n\
             # PORT; {dir} a fresh folder of each trial.\n",
        );
        if command != settings.command {
            text.push_str(
                "# A secret was left out: hand it over by a variable of your own environment.\n",
            );
        }
        text.push_str(&format!("target = {}\n", array(&command)));
        text.push_str(&format!("# It listens on {}.\n", comment(&self.listens())));
        if settings.address != Address::default() {
            let url = toml::Value::try_from(&settings.address);
            text.extend(url.map(|url| format!("url = {url}\n")));
        } else if !self.seen.took_port && self.seen.address.is_some() {
            text.push_str(
                "# That is found each time. Trials run side by side if it listens on {port}.\n",
            );
        }
        if let Some(cwd) = &settings.cwd {
            let cwd = cwd.strip_prefix(self.here).unwrap_or(cwd);
            text.push_str(&format!("cwd = {}\n", quoted(&cwd.display().to_string())));
        } else {
            text.push_str(
                "# cwd = \"service\"    # the directory to start it in, relative to this file\n",
            );
        }
        let shown: Vec<String> =
            settings.env.iter().map(|(name, value)| variable(name, value)).collect();
        match shown.is_empty() {
            true => text.push_str("# env = { LOG = \"info\" }    # variables to set for it\n"),
            false => text.push_str(&format!("env = {{ {} }}\n", shown.join(", "))),
        }
        if settings.as_pid_1 {
            text.push_str("as-pid-1 = true\n");
        }
        text.push_str(&self.built_with());
        text
    }

    /// What hints are for: found out each time, unless the user says it.
    fn built_with(&self) -> String {
        match (self.settings.stack, self.stack()) {
            (Some(named), _) => format!("stack = {}\n", quoted(named.name())),
            (None, Some(found)) => format!(
                "# stack = {}    # what hints are for; found out each time, here by {}\n",
                quoted(found.name.name()),
                found.by
            ),
            (None, None) => "# stack = \"go\"    # what it is built with, for hints\n".into(),
        }
    }

    /// A page of health may be one of liveness, which must not fail while it drains.
    fn readiness_to_choose(&self) -> String {
        let pages = self.seen.pages.iter().filter(|page| is_good(page));
        match pages.map(|page| &*page.path).find(|path| ["/health", "/healthz"].contains(path)) {
            Some(path) if !self.seen.answers_all => {
                format!("# ready-url = {}    # if it fails while the server drains\n", quoted(path))
            }
            _ => "# ready-url = \"/readyz\"    # none of the usual ones was found\n".into(),
        }
    }

    fn readiness(&self) -> String {
        let settings = self.settings;
        let answering =
            |path: &&&str| self.seen.pages.iter().any(|page| page.path == ***path && is_good(page));
        let found = READINESS.iter().find(answering).filter(|_| !self.seen.answers_all);
        let mut text = String::from(
            "# The page that answers 2xx when it is ready, and fails when it drains.\n",
        );
        match (&settings.ready_path, found) {
            (Some(path), _) => {
                text.push_str(&format!("ready-url = {}\n", quoted(&hidden_text(path))))
            }
            (None, Some(path)) => text.push_str(&format!("ready-url = {}\n", quoted(path))),
            (None, None) => text.push_str(&self.readiness_to_choose()),
        }
        match &settings.ready_line {
            Some(line) => text.push_str(&format!("ready-line = {}\n", quoted(line))),
            None => text.push_str("# ready-line = \"^ready\"    # a line that it writes then\n"),
        }
        if let Some(file) = &settings.ready_file {
            text.push_str(&format!("ready-file = {}\n", quoted(file)));
        }
        let timeout = humantime::format_duration(settings.ready_timeout).to_string();
        text.push_str(&format!("ready-timeout = {}\n", quoted(&timeout)));
        text
    }

    fn expected(&self) -> String {
        let settings = self.settings;
        let deadline = humantime::format_duration(settings.deadline).to_string();
        let mut text = format!(
            "# graceful; strict, where nothing at all may be lost; kubernetes, where a load balancer is\n\
             # told late; worker, where it listens on nothing.\nprofile = {}\n",
            quoted(settings.rules.profile.name())
        );
        if settings.rules.profile != Profile::Kubernetes {
            text.push_str(
                "# lame-duck = \"5s\"    # new connections are served until then (kubernetes)\n",
            );
        }
        text.push_str(&format!("# Here {}.\n", comment(&self.end())));
        let known = KnownServer::of(&settings.command, []);
        match known.filter(|known| known.advice(self.signal).is_some()) {
            Some(known) => {
                text.push_str(&format!(
                    "# {} drains at {}.\nsignal = {}\n",
                    known.name,
                    known.graceful,
                    quoted(known.graceful)
                ));
            }
            None => text.push_str(&format!(
                "signal = {}    # or [\"TERM\", \"INT\"], in turns\n",
                quoted(self.signal.to_string().trim_start_matches("SIG"))
            )),
        }
        text.push_str(&format!(
            "# It has exited so long after the signal: what your platform gives it\n\
             # (terminationGracePeriodSeconds, TimeoutStopSec).\ndeadline = {}\n",
            quoted(&deadline)
        ));
        text.push_str(
            "# refuse-within = \"500ms\"    # after that it takes no new connections\n\
             # expect-exit = [0, 143]       # its right ends, where 0 or the signal is not all\n",
        );
        text
    }

    fn amount(&self) -> String {
        let took = self.seen.exit.map_or(Duration::ZERO, |(_, took)| took);
        let (why, budget) = match took.as_secs() {
            0..2 => ("60s shows more".to_owned(), 25),
            seconds => {
                (format!("each of them takes {}", time(took)), (seconds * EXITS).div_ceil(30) * 30)
            }
        };
        format!(
            "# How long to do trials; {why}. Or trials = 100, a fixed plan.\n\
             budget = \"{budget}s\"\n\
             # until-bound = \"1%\"    # go on until losses above this rate are excluded\n\
             # reports-dir = \"reports\"\n"
        )
    }

    fn requests(&self) -> String {
        let mut text = String::from(
            "# What is asked for. One that takes about a second shows most, since late connections then\n\
             # meet a server that still drains. {key} becomes another text each time.\n",
        );
        let there = self.seen.pages.iter();
        let there = there.filter(|it| it.status != 404 || self.named.contains(&&*it.path));
        let line = |page: &Page| {
            let path = comment(&hidden_text(&page.path));
            format!("#   {} {path}, {}\n", page.status, time(page.took))
        };
        let answered: Vec<String> = there.map(line).collect();
        if !answered.is_empty() {
            text.push_str(&format!("# It answered:\n{}", answered.concat()));
        }
        if self.seen.answers_all {
            text.push_str("# It answers every path with success, so that none of these need be a page of its own.\n");
        }
        let chosen = self.chosen();
        for page in &chosen {
            text.push_str(&format!("[[request]]\npath = {}\n", quoted(&hidden_text(&page.path))));
        }
        if !chosen.iter().any(|page| page.took >= SLOW) {
            text.push_str(
                "# [[request]]\n# path = \"/report?ms=900\"    # a slow one, please: none of these is\n",
            );
        }
        text.push_str(
            "# [[request]]\n# method = \"POST\"\n# path = \"/orders\"\n# body = '{\"item\": \"{key}\"}'\n\
             # expect = 201\n# weight = 4\n",
        );
        text
    }

    /// The pages that are asked for: those that the user named, else those that take long, and `/` or
    /// another that is no page for machines.
    fn chosen(&self) -> Vec<&Page> {
        let good = || self.seen.pages.iter().filter(|page| is_good(page));
        let named: Vec<&Page> = good().filter(|page| self.named.contains(&&*page.path)).collect();
        if !named.is_empty() {
            return named;
        }
        let slow = good().filter(|page| page.took >= SLOW && !self.seen.answers_all);
        let quick = good().find(|page| page.path == "/");
        let quick = quick.or_else(|| good().find(|page| page.path != "/metrics"));
        slow.chain(quick.filter(|page| page.took < SLOW || self.seen.answers_all)).collect()
    }

    fn job_lines(&self) -> String {
        let about =
            "# Lines that tell of background jobs, with a group named id around the job's name.\n";
        let seen = format!("# Here: {}.\n", comment(&self.jobs_seen()));
        let patterns = match &self.jobs {
            Some(guess) if self.seen.usual_jobs == 0 => {
                format!("start  = {}\nfinish = {}\n", quoted(&guess.start), quoted(&guess.finish))
            }
            _ => {
                "# start  = 'job (?P<id>\\S+) started'\n# finish = 'job (?P<id>\\S+) done'\n".into()
            }
        };
        format!(
            "{about}{seen}[jobs]\n{patterns}# submit = \"POST /jobs?id={{key}}\"    # the request that submits one\n"
        )
    }
}

/// A variable as it is written. Any may hold a secret, whatever its name: only what can be none, a
/// number or a plain word of a few letters, is written, and the others are to be filled in elsewhere.
fn variable(name: &str, value: &str) -> String {
    let is_plain = |text: &str| text.len() <= 12 && text.chars().all(|it| it.is_ascii_lowercase());
    let is_harmless = value.parse::<f64>().is_ok() || is_plain(value) || value == "{port}";
    let value = if is_harmless && !is_secret(name) { value } else { "" };
    format!("{} = {}", quoted(name), quoted(value))
}
