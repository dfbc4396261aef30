//! A budget is spent where most is learnt, and ends where the user has the answer.
#![cfg(target_os = "linux")]

use std::time::Duration;

use harness::{BIN, Ended, User};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

const USUAL: [&str; 10] = [
    "--no-config",
    "--no-progress",
    "--shrink-budget",
    "0s",
    "--seed",
    "1",
    "--reports-dir",
    "r",
    "--format",
    "json",
];

fn run(user: &User, options: &[&str], fixture: &str) -> (Ended, Value) {
    let target = ["--", BIN, "fixture", fixture];
    let ended = user.start(&[&USUAL[..], options, &target].concat()).wait();
    let report = serde_json::from_str(&ended.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended, report)
}

fn trials(report: &Value) -> &[Value] {
    report["trials"].as_array().unwrap()
}

#[test]
fn the_first_violation_ends_a_run_that_asks_no_more() {
    let (ended, report) = run(&User::new(), &["--fail-fast", "--trials", "60"], "drops-in-flight");
    assert_eq!(ended.code(), 1);
    assert!(trials(&report).len() < 60, "{} trials", trials(&report).len());
}

#[test]
fn a_bound_ends_a_run_when_it_holds_and_the_search_can_be_followed() {
    let user = User::new();
    let options = ["--situation", "slow-handler,delivered,idle", "--until-bound", "10%"];
    let (ended, report) = run(&user, &options, "correct");
    assert_eq!(ended.code(), 0, "{report:#}");
    assert_eq!(report["bound"]["reached"], true, "{:#}", report["bound"]);
    assert_eq!(report["bound"]["cases"], 29);
    let chosen = report["search"]["chosen"].as_object().unwrap();
    assert_eq!(chosen.len() as u64 + report["search"]["first_round"].as_u64().unwrap(), {
        report["plan"]["trials"].as_array().unwrap().len() as u64
    });
    let plan = ["plan", "--after", "r/1", "--format", "json"];
    let next: Vec<_> = (0..2).map(|_| user.start(&plan).wait()).collect();
    assert_eq!(next[0].stdout, next[1].stdout);
    let next: Value = serde_json::from_str(&next[0].stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}", next[0]));
    let numbers = trials(&report).iter().map(|trial| trial["number"].as_u64());
    assert_eq!(next["next"]["trial"]["number"].as_u64(), numbers.max().unwrap().map(|it| it + 1));
    let kinds = next["standings"].as_array().unwrap();
    let visits: u64 = kinds.iter().map(|kind| kind["visits"].as_u64().unwrap()).sum();
    assert_eq!(visits, trials(&report).len() as u64);
}

#[test]
fn a_bound_that_is_not_reached_is_no_pass() {
    let options = ["--situation", "slow-handler", "--until-bound", "0.1%", "--budget", "3s"];
    let (ended, report) = run(&User::new(), &options, "correct");
    assert_eq!(ended.code(), 3, "{report:#}");
    assert_eq!(report["bound"]["reached"], false);
    let options = ["--situation", "slow-handler", "--until-bound", "0.1%"];
    let (ended, _) = run(&User::new(), &options, "drops-in-flight");
    assert_eq!(ended.code(), 1, "a violation is the answer");
}

/// Stopped again and again for longer than its own lateness may be, the harness accuses nobody, and
/// acquits nobody.
#[test]
fn a_starved_harness_accuses_nobody() {
    let user = User::new();
    for fixture in ["drops-in-flight", "correct"] {
        let options = ["--situation", "slow-handler", "--trials", "1"];
        let target = ["--", BIN, "fixture", fixture];
        let running = user.start(&[&USUAL[..], &options, &target].concat());
        let pid = Pid::from_raw(running.pid() as i32);
        let stopper = std::thread::spawn(move || {
            // It is a child of the tests, and its number nobody else's until it was waited for.
            while kill(pid, Signal::SIGSTOP).is_ok() {
                std::thread::sleep(Duration::from_millis(700));
                let _ = kill(pid, Signal::SIGCONT);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let ended = running.wait();
        stopper.join().unwrap();
        assert_eq!(ended.code(), 3, "{ended:?}");
        assert!(ended.stdout.contains("the harness itself was"), "{}", ended.stdout);
    }
}
