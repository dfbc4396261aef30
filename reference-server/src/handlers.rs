//! What the demo serves: deterministic texts, whose size and digest are stated in their headers.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Context, Jobs};

/// The longest that a request or a posted job may be told to take. Milliseconds, one hour.
const MAX_MS: u64 = 3_600_000;
/// The most chunks that a response may be told to have.
const MAX_CHUNKS: usize = 10_000;
/// The longest chunk. Bytes.
const MAX_CHUNK_SIZE: usize = 64 * 1024;
/// The largest body that is streamed or echoed. Bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

#[derive(Clone, Debug)]
struct App {
    context: Context,
    jobs: Jobs,
}

/// The demo's endpoints: `/`, `/healthz`, `/readyz`, `/sleep`, `/stream`, `/echo` and `/jobs`.
pub fn router(context: Context, jobs: Jobs) -> Router {
    Router::new()
        .route("/", get(async || text(StatusCode::OK, "hello from the demo service\n")))
        .route("/healthz", get(async || text(StatusCode::OK, "ok\n")))
        .route("/readyz", get(ready))
        .route("/sleep", get(sleep_then_answer))
        .route("/stream", get(stream_chunks))
        .route("/echo", post(echo))
        .route("/jobs", get(list_jobs).post(post_job))
        .fallback(async |uri: Uri| {
            text(StatusCode::NOT_FOUND, format!("nothing at {}\n", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method| {
            text(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here\n"))
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(App { context, jobs })
}

/// 503 from the signal on, so that load balancers look elsewhere.
async fn ready(State(app): State<App>) -> Response {
    if app.context.is_cancelled() {
        text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else {
        text(StatusCode::OK, "ready\n")
    }
}

#[derive(Debug, Deserialize)]
struct Work {
    #[serde(default)]
    ms: u64,
}

impl Work {
    fn duration(&self) -> Result<Duration, Refusal> {
        within("ms", self.ms, 0, MAX_MS).map(Duration::from_millis)
    }
}

async fn sleep_then_answer(work: Result<Query<Work>, QueryRejection>) -> Result<Response, Refusal> {
    let duration = work?.duration()?;
    sleep(duration).await;
    Ok(text(StatusCode::OK, format!("slept {} ms\n", duration.as_millis())))
}

#[derive(Debug, Deserialize)]
struct Chunks {
    #[serde(default = "default_chunks")]
    chunks: usize,
    #[serde(default)]
    ms: u64,
    #[serde(default = "default_chunk_size")]
    size: usize,
}

fn default_chunks() -> usize {
    10
}

fn default_chunk_size() -> usize {
    64
}

/// A body sent in chunks of `size` bytes, the last of them `ms` milliseconds after the request.
async fn stream_chunks(query: Result<Query<Chunks>, QueryRejection>) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let chunks = within("chunks", query.chunks, 1, MAX_CHUNKS)?;
    let size = within("size", query.size, 1, MAX_CHUNK_SIZE)?;
    let length = within("chunks times size", chunks * size, 1, MAX_BODY)?;
    let total = Duration::from_millis(within("ms", query.ms, 0, MAX_MS)?);

    let mut digest = Sha256::new();
    (0..chunks).for_each(|index| digest.update(chunk(index, size)));
    let begin = Instant::now();
    let body = stream::unfold(0, move |index| async move {
        if index == chunks {
            return None;
        }
        sleep_until(begin + total.mul_f64((index + 1) as f64 / chunks as f64)).await;
        Some((Ok::<_, std::convert::Infallible>(chunk(index, size)), index + 1))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8".to_owned()),
        ("content-digest", content_digest(digest)),
        ("x-content-length", length.to_string()),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The chunk with this index: its number, filled up with dots, and a line break.
fn chunk(index: usize, size: usize) -> Bytes {
    let mut chunk = format!("chunk {}", index + 1).into_bytes();
    chunk.resize(size - 1, b'.');
    chunk.push(b'\n');
    chunk.into()
}

/// The request's content, once all of it has come; 413 when it is longer than 64 MiB.
async fn echo(content: Result<Bytes, BytesRejection>) -> Result<Response, Refusal> {
    Ok(text(StatusCode::OK, content?))
}

/// The jobs whose turns are running, a line each.
async fn list_jobs(State(app): State<App>) -> Response {
    let lines: String = app.jobs.running().iter().map(|id| format!("{id}\n")).collect();
    text(StatusCode::OK, lines)
}

/// Starts a job of `ms` milliseconds, which is then waited for as the others are.
async fn post_job(
    State(app): State<App>,
    work: Result<Query<Work>, QueryRejection>,
) -> Result<Response, Refusal> {
    match app.jobs.post(work?.duration()?) {
        Some(id) => Ok(text(StatusCode::ACCEPTED, format!("{id}\n"))),
        None => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "shutting down".to_owned())),
    }
}

/// Why a request isn't done: a status and a sentence.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        text(self.0, format!("{}\n", self.1))
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

fn within<T>(name: &str, value: T, least: T, most: T) -> Result<T, Refusal>
where
    T: PartialOrd + std::fmt::Display,
{
    if value < least || value > most {
        let message = format!("{name} is {value}, but must be from {least} to {most}");
        return Err(Refusal(StatusCode::BAD_REQUEST, message));
    }
    Ok(value)
}

/// A response with a known text; hyper adds `Content-Length`.
fn text(status: StatusCode, content: impl Into<Bytes>) -> Response {
    let content = content.into();
    let headers = [
        (CONTENT_TYPE.as_str(), "text/plain; charset=utf-8".to_owned()),
        ("content-digest", content_digest(Sha256::new_with_prefix(&content))),
    ];
    (status, headers, Body::from(content)).into_response()
}

/// The value of `Content-Digest`, RFC 9530 §2.
fn content_digest(digest: Sha256) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(digest.finalize()))
}
