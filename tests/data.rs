//! What a target has written and how it starts again: databases that keep what they acknowledge, and
//! others; and a second start, in a folder that is each trial's own.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use harness::{BIN, Ended, Running, USUAL, User, wait_until, words};
use nix::sys::signal::Signal;
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

/// Says which database the program of the tests is to be.
const DATABASE: &str = "DATABASE_FIXTURE";
const WRITES: [&str; 4] = ["--write", "PUT /kv/{key}", "--read", "/kv/{key}"];

#[test]
fn a_target_for_the_other_tests() {
    if let Ok(name) = std::env::var(DATABASE) {
        database_fixtures::run(&name).unwrap();
        std::process::exit(0);
    }
}

// ---- the table -------------------------------------------------------------------------------

/// The report of some trials over a database.
fn check_database(name: &str, trials: &str) -> Value {
    let (own, _) = harness::roles::role("");
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let name = format!("--env={DATABASE}={name}");
    let options = [
        "--situation=load,writes,idle,idle-keepalive",
        "--env=DATABASE={dir}/kv.db",
        "--deadline=5s",
        "--format=json",
        &name,
    ];
    let user = User::new();
    let usual = [&["--seed", "7", "-j", "4"][..], &USUAL[..]].concat();
    let line = [&usual[..], &["--trials", trials], &options, &WRITES, &["--"], &own].concat();
    let ended = user.run(&line);
    let report = serde_json::from_str(&ended.stdout);
    report.unwrap_or_else(|error| panic!("{name}: no report ({error}): {}", ended.stderr))
}

fn with_verdict(report: &Value, verdict: &str) -> BTreeSet<String> {
    let invariants = report["invariants"].as_array().unwrap();
    let found = invariants.iter().filter(|invariant| invariant["verdict"] == verdict);
    found.map(|invariant| invariant["id"].as_str().unwrap().to_owned()).collect()
}

fn loses_exactly_its_writes(name: &str) {
    let report = check_database(name, "20");
    let mut violated = with_verdict(&report, "violated");
    // Its pages take a fraction of a millisecond, and the other tests make the machine busy.
    violated.remove("drain-keeps-its-latency");
    let wanted = BTreeSet::from(["acknowledged-writes-survive".to_owned()]);
    assert_eq!(violated, wanted, "{name}: {}", report["invariants"]);
    assert_eq!(report["exit_code"], 1);
}

#[test]
fn a_database_that_commits_first_loses_nothing() {
    let report = check_database("correct", "20");
    let mut violated = with_verdict(&report, "violated");
    violated.remove("drain-keeps-its-latency");
    assert_eq!(violated, BTreeSet::new(), "{}", report["invariants"]);
    let satisfied = with_verdict(&report, "satisfied");
    for id in ["acknowledged-writes-survive", "restarts-at-once"] {
        assert!(satisfied.contains(id), "{id}: {}", report["invariants"]);
    }
    let written = report["trials"].as_array().unwrap().iter();
    let written: u64 = written.map(|trial| trial["writes_acknowledged"].as_u64().unwrap()).sum();
    assert!(written > 100, "{written} writes");
}

#[test]
fn acknowledging_before_the_commit_is_seen() {
    loses_exactly_its_writes("acknowledges-before-commit");
}

#[test]
fn losing_the_last_batch_is_seen() {
    loses_exactly_its_writes("loses-buffered-tail");
}

#[test]
fn leaving_half_a_transaction_is_seen() {
    loses_exactly_its_writes("leaves-half-transaction");
}

#[test]
fn every_defective_database_has_its_test() {
    let defective = database_fixtures::all().iter().filter(|it| it.is_defective).count();
    assert_eq!(defective, 3);
}

// ---- declared writes -------------------------------------------------------------------------

fn check_writes(write: &str, read: &str) -> Ended {
    let options = ["--path", "/", "--write", write, "--read", read];
    User::new().check(&options, &[BIN, "fixture", "correct"])
}

#[test]
fn a_write_that_is_refused_is_no_write() {
    check_writes("PUT /kv/{key}", "/kv/{key}")
        .refuses(4, &["PUT /kv/{key} was answered with 404, before any signal", "200 to 299"]);
}

#[test]
fn what_does_not_come_back_was_not_written() {
    check_writes("POST /echo?key={key}", "/?key={key}").refuses(
        4,
        &["POST /echo?key={key} was answered with 200", "GET /?key={key} with 200, without what"],
    );
}

// ---- the second start ------------------------------------------------------------------------

/// One trial of a script of the shell in a folder of its own, in which `$0` is the program.
fn check_script(user: &User, options: &[&str], script: &str) -> Ended {
    let usual = ["--path", "/sleep?ms=200", "--cwd", "{dir}"];
    user.check(&[&usual, options].concat(), &["/bin/sh", "-c", script, BIN])
}

fn history(user: &User) -> Vec<Value> {
    let text = fs::read_to_string(user.path("r/1/trial-0001.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_target_that_stumbles_over_its_lock_does_not_restart() {
    let script = "[ -e lock ] && { echo locked >&2; exit 3; }; touch lock; \
                  exec \"$0\" fixture correct";
    let user = User::new();
    let ended = check_script(&user, &["--deny", "restarts-at-once"], script);
    ended.violates(&["restarts-at-once"], &["nothing-is-left-behind"]);
    assert!(ended.stdout.contains("locked"), "{}", ended.stdout);
    let missed = history(&user).into_iter().find(|event| event["event"] == "not-restarted");
    let reason = missed.unwrap()["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "it exited with status 3 before it was ready");
}

#[test]
fn a_target_that_never_gets_ready_again_does_not_restart() {
    let script = "[ -e seen ] && exec sleep 600; touch seen; exec \"$0\" fixture correct";
    let user = User::new();
    let options = ["--deny", "restarts-at-once", "--ready-timeout", "2s"];
    let ended = check_script(&user, &options, script);
    ended.violates(&["restarts-at-once"], &[]);
}

/// What the second start writes is none of the trial's: its jobs would be unfinished for ever.
#[test]
fn a_second_start_is_no_part_of_the_first() {
    let user = User::new();
    let script = "echo start >> starts; exec \"$0\" fixture correct";
    check_script(&user, &[], script).satisfies();
    let kinds: Vec<_> =
        history(&user).iter().map(|it| it["event"].as_str().unwrap().to_owned()).collect();
    let again = kinds.iter().position(|kind| kind == "started-again").unwrap();
    // At the very end the harness says how it fared itself.
    let of_target: Vec<_> = kinds[again..].iter().filter(|kind| *kind != "harness-share").collect();
    assert_eq!(of_target, ["started-again", "restarted"]);
}

/// Each start of the rehearsal and each trial has its own, its second start the same; afterwards
/// there are none.
#[test]
fn a_folder_belongs_to_one_trial() {
    let user = User::new();
    let log = user.path("folders").display().to_string();
    let script =
        "echo \"$PWD $(ls | wc -l)\" >> \"$STARTS\"; touch file; exec \"$0\" fixture correct";
    check_script(&user, &["--env", &format!("STARTS={log}")], script).satisfies();
    let lines = fs::read_to_string(&log).unwrap();
    let starts: Vec<(&str, &str)> = lines.lines().filter_map(|it| it.split_once(' ')).collect();
    let [one, two, first, second] = starts[..] else { panic!("{starts:?}") };
    let folders: BTreeSet<_> = [one.0, two.0, first.0].into();
    assert_eq!(folders.len(), 3, "{starts:?}");
    assert_eq!((one.1, two.1, first.1), ("0", "0", "0"));
    assert_eq!(second, (first.0, "1"), "the second start finds what the first has left");
    assert!(folders.iter().all(|folder| !fs::exists(folder).unwrap()), "{folders:?}");
}

/// A second start that hangs, and the folder that it hangs in.
fn hang_again(user: &User) -> (Running, String) {
    let log = user.path("folder").display().to_string();
    let script = "[ -e seen ] && { echo \"$PWD\" > \"$STARTS.new\"; mv \"$STARTS.new\" \"$STARTS\"; \
                  sleep 600; exit 1; }; touch seen; exec \"$0\" fixture correct";
    let variable = format!("--env=STARTS={log}");
    let options = ["--path=/", "--cwd={dir}", "--situation=load", "--ready-timeout=60s", &variable];
    let target = ["/bin/sh", "-c", script, BIN];
    let running = user.start(&words(&["--trials", "1"], &options, &target));
    let folder = wait_until("the second start", || fs::read_to_string(&log).ok());
    (running, folder.trim().to_owned())
}

#[test]
fn an_interrupt_ends_a_second_start_and_its_folder() {
    let user = User::new();
    let (running, folder) = hang_again(&user);
    assert!(fs::exists(&folder).unwrap());
    let begun = Instant::now();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), 143);
    assert!(begun.elapsed().as_secs() < 30, "it waits for nothing but the end");
    assert_eq!(user.processes(), Vec::<String>::new());
    assert!(!fs::exists(&folder).unwrap());
}

#[test]
fn a_harness_that_is_killed_leaves_no_second_start_and_no_folder() {
    let user = User::new();
    let (running, folder) = hang_again(&user);
    running.signal(Signal::SIGKILL);
    running.wait();
    user.wait_for_the_last_process();
    wait_until("the end of the folder", || (!fs::exists(&folder).unwrap()).then_some(()));
}
