//! `--pid`: a process that runs already is tried once, and never ended but by its signal.
#![cfg(target_os = "linux")]

use std::process::{Child, Command, Stdio};

use harness::{BIN, Ended, User, fixed_port, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

/// A server that somebody else has started, until the test is over.
struct Server(Child, u16);

impl Server {
    fn start(fixture: &str) -> Self {
        let port = fixed_port();
        let mut command = Command::new(BIN);
        command.args(["fixture", fixture]).env("PORT", port.to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self(child, port);
        wait_until("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const USUAL: [&str; 8] =
    ["--shrink-budget", "0s", "--no-config", "--no-progress", "--seed", "1", "--reports-dir", "r"];

fn try_process(pid: u32, options: &[&str]) -> Ended {
    let pid = pid.to_string();
    User::new().start(&[&USUAL[..], &["--pid", &pid], options].concat()).wait()
}

fn verdict(report: &Value, id: &str) -> Value {
    let all = report["invariants"].as_array().unwrap();
    all.iter().find(|it| it["id"] == id).unwrap()["verdict"].clone()
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_server_that_runs_is_found_tried_and_judged() {
    let mut server = Server::start("correct");
    let ended = try_process(server.0.id(), &["--format", "json"]);
    let report = report(&ended);
    assert_eq!(report["target"]["url"], format!("http://127.0.0.1:{}/", server.1));
    assert_eq!(verdict(&report, "in-flight-requests-complete"), "satisfied", "{report:#}");
    assert_eq!(verdict(&report, "signal-is-handled"), "satisfied");
    assert_eq!(verdict(&report, "exit-status-is-clean"), "not-applicable");
    assert_eq!(verdict(&report, "restarts-at-once"), "not-applicable");
    assert_eq!(report["trials"].as_array().unwrap().len(), 1);
    wait_until("its end", || (!server.is_alive()).then_some(()));
}

#[test]
fn a_server_without_a_handler_is_told_by_what_it_would_have_done() {
    let server = Server::start("default-dies");
    let report = report(&try_process(server.0.id(), &["--format", "json"]));
    assert_eq!(verdict(&report, "signal-is-handled"), "violated", "{report:#}");
}

#[test]
fn what_it_leaves_is_reported_and_not_removed() {
    let server = Server::start("correct");
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::write(&state, "").unwrap();
    let options = ["--leaves-no", state.to_str().unwrap(), "--format", "json"];
    let report = report(&try_process(server.0.id(), &options));
    assert_eq!(verdict(&report, "nothing-is-left-behind"), "violated", "{report:#}");
    assert!(state.exists());
}

#[test]
fn a_server_that_outlives_its_deadline_is_left_alive() {
    let mut server = Server::start("ignores-signal");
    let options = ["--deadline", "1s", "--format", "json"];
    let report = report(&try_process(server.0.id(), &options));
    assert_eq!(verdict(&report, "exits-before-deadline"), "violated", "{report:#}");
    assert!(report["invariants"].to_string().contains("is left alive"));
    assert!(server.is_alive());
}

#[test]
fn an_interruption_leaves_it_alive() {
    let mut server = Server::start("ignores-signal");
    let (user, pid) = (User::new(), server.0.id().to_string());
    let running = user.start(&[&USUAL[..], &["--pid", &pid, "--deadline", "10m"]].concat());
    // Before or after the signal: either way it ends what it does, and not the server.
    wait_until("the run", || user.path("r/1").exists().then_some(()));
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code(), 130);
    assert!(server.is_alive());
}

#[test]
fn what_is_not_to_be_tried_is_refused() {
    let own = std::process::id();
    try_process(1, &[]).refuses(2, &["process 1", "first of all"]);
    try_process(own, &[]).refuses(2, &["has started it"]);
    try_process(u32::MAX, &[]).refuses(2, &["there is no such number"]);
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    try_process(child.id(), &[]).refuses(2, &["there is no such process"]);
    try_process(own, &["--trials", "2"]).refuses(2, &["there is one trial, not 2"]);
    assert_eq!(try_process(own, &["--as-pid-1"]).code(), 2);
    assert_eq!(try_process(own, &["--", "./bin"]).code(), 2);
}
