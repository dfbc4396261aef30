//! `axum::serve` with its own graceful shutdown, as its documentation has it.

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Deserialize)]
struct Time {
    #[serde(default)]
    ms: u64,
}

async fn sleep(Query(time): Query<Time>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(time.ms)).await;
    "slept\n"
}

async fn signalled() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
    terminate.recv().await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let app = Router::new().route("/", get(|| async { "hello\n" })).route("/sleep", get(sleep));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).with_graceful_shutdown(signalled()).await?;
    Ok(())
}
