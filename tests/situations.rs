//! Situations are set up, seen from outside, and count only where they were there.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use harness::{BIN, User, words};
use serde_json::Value;
use shutdown_check::model::plan::Situation;
use shutdown_check::plan::ROUND_TRIALS;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

const CORRECT: [&str; 3] = [BIN, "fixture", "correct"];

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

/// Runs the program; its report.
fn report(trials: &str, options: &[&str], target: &[&str]) -> Value {
    let usual = ["--format", "json", "--deadline", "20s"];
    let ended = User::new().run(&words(&["--trials", trials], &[&usual, options].concat(), target));
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// How many trials each situation had, with and without a signal, and how many missed it.
fn tried(report: &Value) -> BTreeMap<(String, bool), (u64, u64)> {
    let mut tried: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for cell in report["coverage"].as_array().unwrap() {
        let situation = cell["situation"].as_str().unwrap().to_owned();
        let counts = tried.entry((situation, cell["signal"].is_null())).or_default();
        counts.0 += cell["trials"].as_u64().unwrap();
        counts.1 += cell["missed"].as_u64().unwrap();
    }
    tried
}

/// Every start is ended, by the default action or by the harness: neither takes a file away.
#[test]
fn a_socket_that_was_bound_before_readiness_is_found_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (target, role) = harness::roles::role("binds-before-it-is-ready");
    let control = format!("CONTROL={}/control-{{port}}.sock", folder.path().display());
    let options = ["--situation", "startup", &role, "--env", &control];
    let target: Vec<_> = target.iter().map(String::as_str).collect();
    let report = report("4", &options, &target);
    let all = report["invariants"].as_array().unwrap();
    let startup = all.iter().find(|it| it["id"] == "startup-signal-is-honoured").unwrap();
    assert_eq!(startup["verdict"], "violated", "{report:#}");
    assert!(startup.to_string().contains(".sock was still there"), "{startup:#}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn cells<'r>(report: &'r Value, situation: &str) -> impl Iterator<Item = &'r Value> {
    let all = report["coverage"].as_array().unwrap().iter();
    let situation = situation.to_owned();
    all.filter(move |cell| cell["situation"] == situation.as_str())
}

#[test]
fn one_round_reaches_every_situation() {
    let report = report(&ROUND_TRIALS.to_string(), &[], &CORRECT);
    let tried = tried(&report);
    for situation in Situation::ALL.into_iter().filter(|it| !it.needs_writes()) {
        let name = situation.name().to_owned();
        let (trials, missed) = tried[&(name.clone(), false)];
        // A start may be over before its signal, and is then missed.
        let missed = if situation == Situation::Startup { 0 } else { missed };
        let trials = if situation == Situation::Startup { 1 } else { trials };
        assert!(trials >= 1 && missed == 0, "{name}: {trials} and {missed} missed: {report}");
        let controls = tried.get(&(name.clone(), true)).copied();
        assert_eq!(controls.is_some(), situation.is_held(), "{name}");
    }
}

/// No endpoint of the target's is needed: one that is answered at once is enough.
#[test]
fn one_quick_page_is_enough_for_nearly_all() {
    let report = report(&ROUND_TRIALS.to_string(), &["--path", "/"], &CORRECT);
    let not_reached: Vec<_> = report["coverage"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| !cell["reason"].is_null() && cell["situation"] != "startup")
        .map(|cell| cell["situation"].as_str().unwrap())
        .collect();
    assert_eq!(not_reached, ["streaming", "uploading"], "{report}");
    let caught = cells(&report, "slow-handler").next().unwrap();
    assert!(caught["requests"].as_u64().unwrap() >= 1, "nothing was caught in process: {caught}");
}

#[test]
fn a_situation_that_the_target_has_no_occasion_for_says_what_it_needs() {
    let user = User::new();
    let options = ["--path", "/", "--situation", "streaming,uploading"];
    let ended = user.run(&words(&["--trials", "4"], &options, &CORRECT));
    assert_eq!(ended.code(), 3, "{ended:?}");
    let text = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("no response takes 200 ms to come"), "{text}");
}

/// A server that keeps no connection can't have a request unread on a kept one.
#[test]
fn what_can_not_be_reached_counts_for_nothing() {
    let (server, role) = harness::roles::role("closes-each-connection");
    let target: Vec<&str> = server.iter().map(String::as_str).collect();
    let options = [role.as_str(), "--path", "/", "--situation", "delivered-keepalive"];
    let report = report("1", &options, &target);
    let cell = cells(&report, "delivered-keepalive").next().unwrap();
    assert_eq!((cell["trials"].as_u64(), cell["missed"].as_u64()), (Some(0), Some(1)), "{cell}");
    assert_eq!(cell["reason"], "no kept connection had its next request unread");
    assert_eq!(report["verdict"], "inconclusive");
}

/// Every process is held still, and the signal finds the requests where they were put.
#[test]
fn several_processes_are_held_still_together() {
    let user = User::new();
    let script = "\"$0\" fixture correct & trap 'kill -TERM $!; wait $!; exit 0' TERM; wait $!";
    let target = ["/bin/sh", "-c", script, BIN];
    let options = ["--path", "/", "--situation", "delivered"];
    let ended = user.run(&words(&["--trials", "1"], &options, &target));
    ended.satisfies();
    let history = std::fs::read_to_string(user.path("r/1/trial-0001.jsonl")).unwrap();
    let events = || history.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let at = |name: &str| events().find(|event| event["event"] == name);
    let (held, thawed) = (at("held").unwrap(), at("thawed").unwrap());
    assert_eq!(held["processes"], 2, "{held}");
    let sent = at("signal-sent").unwrap()["at"].as_u64().unwrap();
    let paused = thawed["at"].as_u64().unwrap() - sent;
    assert!(paused >= 150_000_000, "held still for {paused} ns after the signal");
    let seen = events().find(|event| event["event"] == "sockets-seen").unwrap();
    let sockets = seen["sockets"].as_array().unwrap();
    assert_eq!(sockets.len(), 3);
    for socket in sockets {
        assert_eq!(socket["accepted"], true);
        assert_eq!(socket["unread"], socket["received"]);
    }
}
