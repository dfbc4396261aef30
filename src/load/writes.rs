//! Declared writes: their keys and values, and how one of them is sent.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::model::address::ServerAddress;
use crate::model::event::{Request, RequestEnd};
use crate::model::target::{RequestTemplate, WriteTemplates};
use crate::model::write::{Write, WriteOutcome};
use crate::observe::recorder::Recorder;

use super::connect::connect;
use super::exchange::{Exchange, OpenConnection};
use super::request::PreparedRequest;

/// An answer that takes longer is none.
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);
/// So much of an answer is searched for the value.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The writes of one trial, on keys that no other trial has.
#[derive(Debug)]
pub struct Writes {
    pub(super) templates: WriteTemplates,
    /// Where the first start listens.
    pub(super) server: ServerAddress,
    /// What all keys begin with.
    family: String,
    next: Cell<u32>,
}

/// What came of one request.
pub(super) struct Sent {
    pub(super) request: Request,
    /// The beginning of the response's body.
    pub(super) body: Vec<u8>,
    /// The connection, where it can carry another request.
    pub(super) kept: Option<OpenConnection>,
}

impl Writes {
    /// Writes of these kinds. The state may outlive this run, so that the time is in the keys.
    pub fn new(templates: WriteTemplates, server: ServerAddress) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let family = format!("sc-{:x}-{:x}", std::process::id(), now.as_nanos());
        Self { templates, server, family, next: Cell::new(0) }
    }

    /// A key that was not used yet.
    pub fn next_key(&self) -> String {
        let number = self.next.replace(self.next.get() + 1);
        format!("{}-{number}", self.family)
    }

    /// How many keys were given.
    pub(super) fn given(&self) -> u32 {
        self.next.get()
    }

    /// Opens a connection to write on.
    pub async fn connect(&self) -> Option<OpenConnection> {
        open(&self.server).await
    }

    /// Writes one key on a connection; what came of it, and the connection where it was kept.
    pub async fn write(
        &self,
        key: String,
        open: OpenConnection,
        recorder: &Recorder,
    ) -> (Write, Option<OpenConnection>) {
        let local_port = open.stream.client().map(|client| client.port());
        let template = filled(&self.templates.write, &key);
        let Sent { request, kept, .. } = send((&template, &self.server), open, recorder, 0).await;
        let is_right = |status: u16| match template.expect {
            Some(expected) => status == expected,
            None => (200..300).contains(&status),
        };
        let outcome = match (request.end, request.status) {
            (RequestEnd::Complete, Some(status)) if is_right(status) => {
                WriteOutcome::Acknowledged(status)
            }
            (RequestEnd::Complete, Some(status)) => WriteOutcome::Refused(status),
            (end, _) => WriteOutcome::Indeterminate(end),
        };
        let Request { started, sent, ended, .. } = request;
        (Write { key, local_port, started, sent, ended, outcome }, kept)
    }

    /// Asks for a key on a connection.
    pub(super) async fn read(&self, key: &str, open: OpenConnection, recorder: &Recorder) -> Sent {
        let template = filled(&self.templates.read, key);
        send((&template, &self.server), open, recorder, BODY_BYTES_MAX).await
    }
}

/// What is written for a key: nothing that could be there by chance, in characters that stand for
/// themselves in a path and in JSON.
pub(super) fn value_of(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a connection of its own: it is no part of what the trial's situation consists of.
pub(super) async fn open(server: &ServerAddress) -> Option<OpenConnection> {
    let stream = timeout(ANSWER_LIMIT, connect(server)).await.ok()?.ok()?;
    Some(OpenConnection::apart(stream))
}

/// The request for one key.
fn filled(template: &RequestTemplate, key: &str) -> RequestTemplate {
    let value = value_of(key);
    let fill = |text: &str| text.replace("{key}", key).replace("{value}", &value);
    let fill_field = |(name, text): &(String, String)| (name.clone(), fill(text));
    let body = match std::str::from_utf8(&template.body) {
        Ok(text) => fill(text).into_bytes(),
        Err(_) => template.body.clone(),
    };
    RequestTemplate {
        path: fill(&template.path),
        headers: template.headers.iter().map(fill_field).collect(),
        body,
        ..template.clone()
    }
}

/// Sends a request and reads the answer, within a limit.
async fn send(
    (template, server): (&RequestTemplate, &ServerAddress),
    mut open: OpenConnection,
    recorder: &Recorder,
    keeping: usize,
) -> Sent {
    let prepared = PreparedRequest::new(0, template, server);
    let mut exchange = Exchange::new(0, &open, &prepared, recorder).keeping(keeping);
    let running = exchange.run(&mut open, recorder, std::future::pending());
    let in_time = timeout(ANSWER_LIMIT, running).await.is_ok();
    let kept = (in_time && exchange.reusable).then_some(open);
    let body = exchange.kept();
    let mut request = exchange.finish(recorder);
    if !in_time {
        request.end = RequestEnd::TimedOut;
    }
    Sent { request, body, kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_value_of_its_own_that_stands_in_path_and_body() {
        let mut write = RequestTemplate::get("/set/{key}?v={value}");
        write.body = br#"{"{key}": "{value}"}"#.to_vec();
        write.headers = vec![("Idempotency-Key".into(), "{key}".into())];
        let (one, other) = (filled(&write, "k1"), filled(&write, "k2"));
        let value = value_of("k1");
        assert_eq!(value.len(), 64);
        assert_eq!(one.path, format!("/set/k1?v={value}"));
        assert_eq!(one.body, format!("{{\"k1\": \"{value}\"}}").into_bytes());
        assert_eq!(one.headers[0].1, "k1");
        assert_ne!(one.path, other.path);
        assert_ne!(value, value_of("k2"));
    }
}
