//! How settings are written out: as in `shutdown-check.toml`, and without secrets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::bound::Bound;
use crate::model::contract::JobPatterns;
use crate::model::secrets::{REDACTED, hidden_text, hidden_words, is_secret};
use crate::model::target::{RequestTemplate, WriteTemplates};

pub(super) fn duration<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*time))
}

pub(super) fn some_duration<S: Serializer>(
    time: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => duration(time, to),
        None => to.serialize_none(),
    }
}

/// As a text, since TOML's integers are too short for it.
pub(super) fn seed<S: Serializer>(seed: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    match seed {
        Some(seed) => to.collect_str(&seed),
        None => to.serialize_none(),
    }
}

pub(super) fn bound<S: Serializer>(bound: &Option<Bound>, to: S) -> Result<S::Ok, S::Error> {
    match bound {
        Some(bound) => to.collect_str(bound),
        None => to.serialize_none(),
    }
}

pub(super) fn path<S: Serializer>(path: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(hidden_text).serialize(to)
}

pub(super) fn command<S: Serializer>(words: &[String], to: S) -> Result<S::Ok, S::Error> {
    hidden_words(words).serialize(to)
}

/// Any variable may hold a secret, whatever its name.
pub(super) fn variables<S>(variables: &BTreeMap<String, String>, to: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
{
    to.collect_map(variables.keys().map(|name| (name, REDACTED)))
}

pub(super) fn jobs<S: Serializer>(jobs: &JobPatterns, to: S) -> Result<S::Ok, S::Error> {
    WrittenJobs {
        start: &jobs.start,
        finish: &jobs.finish,
        handed_over: &jobs.handed_over,
        refused: &jobs.refused,
        file: jobs.file.as_deref(),
        url: jobs.url.as_deref().map(hidden_text),
        submit: jobs.submit.as_deref().map(hidden_text),
    }
    .serialize(to)
}

/// The patterns of jobs as `[jobs]` has them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenJobs<'j> {
    start: &'j [String],
    finish: &'j [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    handed_over: &'j [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'j [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submit: Option<String>,
}

pub(super) fn requests<S>(requests: &[RequestTemplate], to: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
{
    to.collect_seq(requests.iter().map(Written::of))
}

pub(super) fn writes<S: Serializer>(
    writes: &Option<WriteTemplates>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let written = |request| Written { weight: None, ..Written::of(request) };
    match writes {
        Some(writes) => {
            to.collect_map([("write", written(&writes.write)), ("read", written(&writes.read))])
        }
        None => to.serialize_none(),
    }
}

/// A request as `[[request]]` has it.
#[derive(Serialize)]
struct Written<'r> {
    method: &'r str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'r str, &'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<u16>,
}

impl<'r> Written<'r> {
    fn of(request: &'r RequestTemplate) -> Self {
        let header = |(name, value): &'r (String, String)| {
            (name.as_str(), if is_secret(name) { REDACTED } else { value.as_str() })
        };
        Self {
            method: &request.method,
            path: hidden_text(&request.path),
            weight: Some(request.weight),
            headers: request.headers.iter().map(header).collect(),
            body: (!request.body.is_empty()).then(|| fingerprint(&request.body)),
            expect: request.expect,
        }
    }
}

/// The length of a body and the beginning of its hash: bodies are never written.
fn fingerprint(body: &[u8]) -> String {
    let mut text = format!("({} bytes, sha256 ", body.len());
    for byte in Sha256::digest(body).iter().take(8) {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text + ")"
}
