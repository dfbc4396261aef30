//! A snapshot as a file: TOML, a line an entry, so that a difference is a line in a review.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::model::plan::Situation;
use crate::model::snapshot::{Fate, Held, SNAPSHOT_VERSION, Share, Snapshot, Span};
use crate::model::verdict::{Profile, Severity};

const HEADER: &str = "\
# How this server shuts down, without what changes from run to run. Made to be committed:
# `shutdown-check --snapshot FILE` compares each run with it and fails where they differ.
# To accept what has changed: add --update-snapshots, and review what that does here.
";
const REQUESTS: &str = "\n# Requests on their way at the signal: situation.holder
[requests]\n";
const TIMES: &str = "\n# From the signal, in most trials
[times]\n";

/// The text of the file.
pub fn render(snapshot: &Snapshot) -> String {
    let listed = |items: Vec<String>| items.join(", ");
    let quoted = |item: &String| format!("\"{item}\"");
    let mut text = format!(
        "{HEADER}format = {SNAPSHOT_VERSION}\nprofile = \"{}\"\nsignal = [{}]\nexit-status = [{}]\n",
        snapshot.profile,
        listed(snapshot.signals.iter().map(quoted).collect()),
        listed(snapshot.exits.iter().map(quoted).collect()),
    );
    text.push_str("situations = [\n");
    for situation in &snapshot.situations {
        text.push_str(&format!("    \"{}\",\n", situation.name()));
    }
    text.push_str("]\n");
    for level in [Severity::Deny, Severity::Warn, Severity::Allow] {
        let of_level = snapshot.invariants.iter().filter(|(_, (at, _))| *at == level);
        let lines: String =
            of_level.map(|(id, (_, held))| format!("{id} = \"{held}\"\n")).collect();
        if !lines.is_empty() {
            text.push_str(&format!("\n[{level}]\n{lines}"));
        }
    }
    let lines = snapshot
        .requests
        .iter()
        .map(|((situation, holder), fate)| format!("{}.{holder} = \"{fate}\"\n", situation.name()));
    text.push_str(&section(REQUESTS, lines.collect()));
    let lines = snapshot.times.iter().map(|(what, span)| format!("{what} = \"{span}\"\n"));
    text.push_str(&section(TIMES, lines.collect()));
    text
}

fn section(title: &str, lines: String) -> String {
    if lines.is_empty() { lines } else { format!("{title}{lines}") }
}

/// What a file says.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str) -> Result<Snapshot, String> {
    let wrong = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    };
    let Version { format } = toml::from_str(text).map_err(wrong)?;
    if format != SNAPSHOT_VERSION {
        return Err(format!("its format is {format}, and this program reads {SNAPSHOT_VERSION}"));
    }
    let file: Written = toml::from_str(text).map_err(wrong)?;
    let levels = [(Severity::Deny, file.deny), (Severity::Warn, file.warn)];
    let levels = levels.into_iter().chain([(Severity::Allow, file.allow)]);
    let with_level = |(level, invariants): (Severity, BTreeMap<String, Held>)| {
        invariants.into_iter().map(move |(id, held)| (id, (level, held)))
    };
    let of_situation = |(situation, holders): (Situation, BTreeMap<String, Fate>)| {
        holders.into_iter().map(move |(holder, fate)| ((situation, holder), fate))
    };
    Ok(Snapshot {
        profile: file.profile,
        signals: file.signal,
        exits: file.exit_status,
        situations: file.situations,
        invariants: levels.flat_map(with_level).collect(),
        requests: file.requests.into_iter().flat_map(of_situation).collect(),
        times: file.times,
    })
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    #[serde(rename = "format")]
    _format: u32,
    profile: Profile,
    signal: BTreeSet<String>,
    exit_status: BTreeSet<String>,
    situations: BTreeSet<Situation>,
    #[serde(default)]
    deny: BTreeMap<String, Held>,
    #[serde(default)]
    warn: BTreeMap<String, Held>,
    #[serde(default)]
    allow: BTreeMap<String, Held>,
    #[serde(default)]
    requests: BTreeMap<Situation, BTreeMap<String, Fate>>,
    #[serde(default)]
    times: BTreeMap<String, Span>,
}

const HELD: [(Held, &str); 3] = [
    (Held::Satisfied, "satisfied"),
    (Held::Violated, "violated"),
    (Held::AlwaysViolated, "always violated"),
];

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = HELD.iter().find(|(held, _)| held == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for Held {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = HELD.iter().find(|(_, name)| *name == text);
        found.map(|(held, _)| *held).ok_or_else(|| {
            format!("{text:?} is no verdict: {}", HELD.map(|(_, name)| name).join(", "))
        })
    }
}

const COMPLETED: &str = "completed";
const LOST: [(Share, &str); 2] = [(Share::Some, "some lost"), (Share::All, "all lost")];
const TURNED_AWAY: [(Share, &str); 2] =
    [(Share::Some, "some turned away"), (Share::All, "all turned away")];

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |share: Share, names: [(Share, &'static str); 2]| {
            names.into_iter().find(|(it, _)| *it == share).map(|(_, name)| name)
        };
        let parts = [of(self.lost, LOST), of(self.turned_away, TURNED_AWAY)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(&if parts.is_empty() { COMPLETED.to_owned() } else { parts.join(", ") })
    }
}

impl FromStr for Fate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut fate = Fate::default();
        for part in text.split(", ").filter(|part| *part != COMPLETED) {
            let of = |names: [(Share, &str); 2]| {
                names.into_iter().find(|(_, name)| *name == part).map(|(share, _)| share)
            };
            match (of(LOST), of(TURNED_AWAY)) {
                (Some(share), _) => fate.lost = share,
                (_, Some(share)) => fate.turned_away = share,
                _ => {
                    return Err(format!(
                        "{part:?} is none of completed, some lost, all lost, some turned away and all turned away"
                    ));
                }
            }
        }
        Ok(fate)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (from, None) => write!(f, "over {from} s"),
            (0, Some(to)) => write!(f, "under {to} s"),
            (from, Some(to)) => write!(f, "{from} to {to} s"),
        }
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split(' ').collect();
        let span = match words[..] {
            ["under", to, "s"] => to.parse().ok().map(|to| Span { from: 0, to: Some(to) }),
            ["over", from, "s"] => from.parse().ok().map(|from| Span { from, to: None }),
            [from, "to", to, "s"] => {
                from.parse().ok().zip(to.parse().ok()).map(|(from, to)| Span { from, to: Some(to) })
            }
            _ => None,
        };
        span.filter(|span| span.to.is_none_or(|to| to > span.from))
            .ok_or_else(|| format!("{text:?} is no time such as \"under 2 s\" or \"2 to 5 s\""))
    }
}

/// Values that are written as texts.
macro_rules! deserialized_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialized_from_text!(Held, Fate, Span);
