//! One question to a target, and what it answers.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::model::address::ServerAddress;

use super::ready::ask;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(String, String)>,
    /// The time from the connection to the last byte that was read.
    pub took: Duration,
}

/// Asks for a page once, on a connection of its own; nothing where no HTTP came within `patience`.
pub async fn page(address: &ServerAddress, path: &str, patience: Duration) -> Option<Answer> {
    let (begun, mut answer) = (Instant::now(), Vec::new());
    // What came in time counts, also where the connection stays open.
    let _ = timeout(patience, ask(address, path, &mut answer)).await;
    let took = begun.elapsed();
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(_)) = response.parse(&answer) else { return None };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = response.headers.iter().map(|it| (it.name.to_owned(), text(it.value))).collect();
    Some(Answer { status: response.code?, headers, took })
}
