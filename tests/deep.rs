//! `--deep`: signals at the boundaries of a target's system calls.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{BIN, LIMIT, User, may_trace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use shutdown_check::model::syscall::Reach;
use shutdown_check::target::trace::{News, Tracer, Watch};
use shutdown_check::target::tree::Family;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

/// Nothing but points at system calls, of a page that is answered soon.
const POINTS: [&str; 8] = [
    "--deep",
    "--situation",
    "one-request",
    "--path",
    "/sleep?ms=1",
    "--format",
    "json",
    "--no-progress",
];

fn run(options: &[&str], target: &[&str]) -> Value {
    let between: &[&str] = if target.is_empty() { &[] } else { &["--"] };
    let words: Vec<&str> =
        POINTS.iter().chain(options).chain(between).chain(target).copied().collect();
    let ended = User::new().run(&words);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn violated(report: &Value) -> Vec<&str> {
    let invariants = report["invariants"].as_array().unwrap().iter();
    let violated = invariants.filter(|invariant| invariant["verdict"] == "violated");
    violated.map(|invariant| invariant["id"].as_str().unwrap()).collect()
}

#[test]
fn a_request_that_was_read_and_lost_is_found_at_its_point() {
    if !may_trace() {
        return;
    }
    let report =
        run(&["--trials", "8", "--seed", "1"], &[BIN, "fixture", "loses-request-just-read"]);
    assert!(violated(&report).contains(&"in-flight-requests-complete"), "{report:#}");
    let cells = report["coverage"].as_array().unwrap();
    let lossy = cells.iter().filter(|cell| cell["lost"].as_u64() > Some(0));
    let moments: Vec<&str> = lossy.map(|cell| cell["moment"].as_str().unwrap()).collect();
    assert!(moments.iter().any(|moment| moment.starts_with("after recv #1")), "{moments:?}");
    assert!(moments.iter().all(|moment| moment.contains("recv #1")), "{moments:?}");
    let invariants = report["invariants"].as_array().unwrap();
    let failed = invariants.iter().find(|it| it["id"] == "in-flight-requests-complete").unwrap();
    let message = failed["evidence"][0]["message"].as_str().unwrap();
    assert!(message.contains("after recv #1"), "{message}");
}

#[test]
fn correct_servers_lose_nothing_at_any_point() {
    if !may_trace() {
        return;
    }
    let strict = ["--profile", "strict", "--trials", "90", "-j", "4", "--seed", "2"];
    // Without a target it is the reference server.
    for target in [&[BIN, "fixture", "correct"][..], &[]] {
        let report = run(&strict, target);
        assert_eq!(violated(&report), Vec::<&str>::new(), "{report:#}");
        let (points, tried) = (&report["deep"]["points"], &report["deep"]["tried"]);
        let (points, tried) = (points.as_array().unwrap().len() as u64, tried.as_u64().unwrap());
        // A third is tried with one more connection in the accept queue: where another thread takes
        // that one, there is nothing to be shown.
        assert!(points >= 30 && tried * 10 >= points.min(90) * 6, "{tried} of {points}");
    }
}

/// The variable by which the test program is told to be the harness: a process, and where it listens.
const TRACED: &str = "TRACED_BY_TEST";

/// Holds a thread of the target still, says so, and waits to be killed.
fn hold_still(pid: u32, server: SocketAddr) {
    let asked = Arc::new(Mutex::new(None));
    let seen = asked.clone();
    let watch = Watch {
        server,
        reach: Reach::Fresh,
        kept: None,
        asked: Box::new(move || *seen.lock().unwrap()),
        stop_at: Some("after accept".parse().unwrap()),
        stay: Duration::ZERO,
        limit: LIMIT,
    };
    let family = Family::new(pid, "none".into(), None);
    let (_tracer, mut told) = Tracer::start(family, watch).unwrap();
    assert!(matches!(told.blocking_recv(), Some(News::Armed)));
    let mut client = TcpStream::connect(server).unwrap();
    client.write_all(b"GET /sleep?ms=1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    *asked.lock().unwrap() = Some(client.local_addr().unwrap());
    while !matches!(told.blocking_recv().unwrap(), News::Stopped(_)) {}
    println!("\nstands still");
    std::thread::sleep(LIMIT);
}

/// The kernel lets all threads go on when the one that traces them ends, however that is.
#[test]
fn a_target_goes_on_when_the_harness_is_killed_in_the_middle() {
    if !may_trace() {
        return;
    }
    if let Ok(target) = std::env::var(TRACED) {
        let (pid, server) = target.split_once(' ').unwrap();
        return hold_still(pid.parse().unwrap(), server.parse().unwrap());
    }
    let mut target = Command::new(BIN)
        .args(["fixture", "correct"])
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(target.stdout.take().unwrap()).lines();
    let place = lines.find_map(|line| line.ok()?.strip_prefix("listening on ").map(str::to_owned));
    let server: SocketAddr = place.unwrap().parse().unwrap();
    // What the target writes must not fill its pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let name = "a_target_goes_on_when_the_harness_is_killed_in_the_middle";
    let mut harness = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(TRACED, format!("{} {server}", target.id()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(harness.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "stands still"));
    kill(Pid::from_raw(harness.id() as i32), Signal::SIGKILL).unwrap();
    harness.wait().unwrap();
    let mut client = TcpStream::connect(server).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"GET /sleep?ms=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    kill(Pid::from_raw(target.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(target.wait().unwrap().code(), Some(0));
}

/// Signals reach a target that is followed, also real-time ones, and those that stop it and let it
/// go on.
#[test]
fn a_target_that_is_followed_gets_its_signals() {
    if !may_trace() {
        return;
    }
    let script = "trap 'echo got it' 40; echo ready; while :; do sleep 0.02; done";
    let mut target =
        Command::new("/bin/bash").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(target.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let watch = Watch {
        server: "127.0.0.1:1".parse().unwrap(),
        reach: Reach::Fresh,
        kept: None,
        asked: Box::new(|| None),
        stop_at: None,
        stay: Duration::ZERO,
        limit: LIMIT,
    };
    let family = Family::new(target.id(), "none".into(), None);
    let (tracer, mut told) = Tracer::start(family, watch).unwrap();
    assert!(matches!(told.blocking_recv(), Some(News::Armed)));
    let send = |number: i32| {
        let words = [format!("-{number}"), target.id().to_string()];
        assert!(Command::new("/bin/kill").args(words).status().unwrap().success());
    };
    send(Signal::SIGSTOP as i32);
    send(Signal::SIGCONT as i32);
    send(40);
    assert_eq!(lines.next().unwrap().unwrap(), "got it");
    drop(tracer);
    send(40);
    assert_eq!(lines.next().unwrap().unwrap(), "got it");
    target.kill().unwrap();
    target.wait().unwrap();
}
