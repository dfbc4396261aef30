//! A snapshot of the reference server: unchanged runs are as before, and what is planted into it is
//! named.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::OnceLock;

use harness::{BIN, Ended, USUAL, User, words};
use planted::{BACKGROUND_JOB, DROPS_ONE, LAME_DUCK, LATE, READY_FOR_EVER};
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;
mod planted;

const FILE: &str = "shutdown.snapshot.toml";
const OPTIONS: [&str; 12] = [
    "--snapshot",
    FILE,
    "--profile",
    "kubernetes",
    "--ready-url",
    "/readyz",
    "--lame-duck",
    "1500ms",
    "--situation",
    "slow-handler,load",
    "--path",
    "/sleep?ms=300",
];
/// Enough for a time to be kept as it is; most of it is waiting.
const TRIALS: [&str; 6] = ["--trials", "8", "--seed", "1", "--parallel", "8"];

#[test]
fn a_target_for_the_other_tests() {
    planted::play();
}

/// Runs the program outside of a CI server, or in one.
fn run_in(user: &User, is_ci: bool, options: &[&str], target: &[&str]) -> Ended {
    let mut command = user.command(BIN);
    let words = [&TRIALS, &USUAL[..], &OPTIONS, options, &["--"], target].concat();
    command.args(words).env_remove("CI");
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
    if is_ci {
        command.env("CI", "true");
    }
    harness::Running::start(command).wait()
}

fn run(user: &User, options: &[&str], target: &[&str]) -> Ended {
    run_in(user, false, options, target)
}

/// The reference server as it is.
fn unchanged() -> Vec<String> {
    let [job, lame_duck] =
        [BACKGROUND_JOB, LAME_DUCK].map(|time| format!("{}ms", time.as_millis()));
    let words = ["--background-job", &job, "--heavy-job", "0s", "--lame-duck", &lame_duck];
    let own = [BIN, "reference-server", "--stall-timeout", "1s"];
    own.into_iter().chain(words).map(String::from).collect()
}

fn reference(user: &User, options: &[&str]) -> Ended {
    let target = unchanged();
    run(user, options, &target.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a first run writes: one for all tests.
fn snapshot() -> &'static str {
    static WRITTEN: OnceLock<String> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let user = User::new();
        // Unless the machine was too busy to tell.
        let tries = (0..3).map(|_| reference(&user, &[]));
        let last = tries.take_while(|ended| ended.code() == 3).last();
        fs::read_to_string(user.path(FILE)).unwrap_or_else(|error| panic!("{error}: {last:?}"))
    })
}

/// Somebody who has committed a snapshot of the reference server.
fn with_snapshot() -> User {
    let user = User::new();
    user.file(FILE, snapshot());
    user
}

/// What the text says of the snapshot, in one line.
fn said(ended: &Ended) -> String {
    let text = ended.stdout.split("\n  snapshot ").nth(1).unwrap_or_else(|| panic!("{ended:?}"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The snapshot of the reference server names what is planted.
fn is_named(planted: &str, parts: &[&str]) -> Ended {
    let user = with_snapshot();
    let (target, variable) = planted::words(planted);
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let ended = run(&user, &[&variable], &target);
    ended.panics_nowhere();
    assert_eq!(ended.code(), 1, "{ended:?}");
    let said = said(&ended);
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    assert_eq!(fs::read_to_string(user.path(FILE)).unwrap(), snapshot());
    ended
}

#[test]
fn an_unchanged_server_is_as_before() {
    let user = with_snapshot();
    let again = reference(&user, &["--update-snapshots"]);
    again.satisfies();
    if again.code() == 0 {
        assert!(said(&again).contains("no entry differs"), "{again:?}");
    }
    let after = fs::read_to_string(user.path(FILE)).unwrap();
    let lost = snapshot().lines().find(|line| !after.contains(line));
    assert_eq!(lost, None, "what is no difference is not rewritten: {after}");
}

#[test]
fn a_dropped_request_is_named() {
    is_named(
        DROPS_ONE,
        &[
            "in-flight-requests-complete: satisfied →",
            "slow-handler.in-process: completed → some lost",
        ],
    );
}

#[test]
fn a_drain_that_takes_longer_is_named() {
    let ended = is_named(LATE, &["exit-at-work: ", "→ 2 to ", "(the median of "]);
    // Nothing is violated: only the snapshot knows.
    assert!(ended.stdout.contains("\n  satisfied"), "{ended:?}");
}

#[test]
fn a_lost_readiness_is_named() {
    is_named(READY_FOR_EVER, &["readiness-fails-first: satisfied →"]);
}

#[test]
fn what_has_changed_can_be_accepted() {
    let user = with_snapshot();
    let (target, variable) = planted::words(READY_FOR_EVER);
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let accepted = run(&user, &[&variable, "--update-snapshots"], &target);
    assert!(said(&accepted).contains("accepted"), "{accepted:?}");
    let after = fs::read_to_string(user.path(FILE)).unwrap();
    assert!(after.contains("readiness-fails-first = \"always violated\""), "{after}");
    let again = run(&user, &[&variable], &target);
    // A violation stays one, also where it is known.
    assert_eq!(again.code(), 1, "{again:?}");
    assert!(said(&again).contains("all as before"), "{again:?}");
}

#[test]
fn on_a_ci_server_a_missing_snapshot_fails_the_run_and_shows_what_to_commit() {
    let user = User::new();
    let target = unchanged();
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let ended = run_in(&user, true, &["--output", "junit=run.xml"], &target);
    if ended.code() == 3 {
        return;
    }
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(!user.path(FILE).exists());
    let said = said(&ended);
    for part in ["on a CI server none is written", "--update-snapshots", "format = 1"] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let junit = fs::read_to_string(user.path("run.xml")).unwrap();
    assert!(
        junit.contains(r#"<testcase name="snapshot""#) && junit.contains("<failure"),
        "{junit}"
    );
}

#[test]
fn programs_read_what_differs() {
    let user = User::new();
    let trials = [
        "--trials",
        "2",
        "--format",
        "json",
        "--situation",
        "idle",
        "--deny",
        "idle-exit-is-prompt",
    ];
    let first = user.run(&words(
        &["--snapshot", FILE, "--update-snapshots"],
        &trials,
        &[BIN, "fixture", "correct"],
    ));
    let report: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(report["snapshot"]["file"], FILE);
    assert!(["written", "not-written"].contains(&report["snapshot"]["state"].as_str().unwrap()));
    let is_written = report["snapshot"]["state"] == "written";
    let exits = ["--expect-exit", "0,5"];
    let ended = user.run(&words(
        &["--snapshot", FILE],
        &[&trials[..], &exits].concat(),
        &[BIN, "fixture", "exits-nonzero"],
    ));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    // On a machine that is too busy, nothing may have been shown.
    if is_written && report["verdict"] == "satisfied" {
        assert_eq!(report["snapshot"]["state"], "differs", "{report}");
        let differences = report["snapshot"]["differences"].as_array().unwrap();
        assert!(differences.iter().any(|it| it["what"] == "exit-status"), "{report}");
        assert_eq!((&report["verdict"], &report["exit_code"]), (&"satisfied".into(), &1.into()));
    }
}

#[test]
fn what_can_not_be_compared_with_is_found_before_the_run() {
    let user = User::new();
    user.file(FILE, "<<<<<<< HEAD\n");
    let ended = user.check(&["--snapshot", FILE], &[BIN, "fixture", "correct"]);
    ended.refuses(2, &["can't compare with", FILE, "line 1: ", "--snapshot"]);
    let ended = user.check(&["--update-snapshots"], &[BIN, "fixture", "correct"]);
    ended.refuses(2, &["--update-snapshots has nothing to update", "--snapshot FILE"]);
    let ended = user.check(
        &["--snapshot", "/proc/none/x.toml", "--update-snapshots"],
        &[BIN, "fixture", "correct"],
    );
    ended.refuses(2, &["/proc/none"]);
}
