//! The library as a Rust test uses it: the bundled reference server is checked, blocking and async, and
//! nothing of the harness stays in the test's own process.
#![cfg(target_os = "linux")]

use std::fs;
use std::panic::catch_unwind;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{BIN, LIMIT, User, wait_until};
use shutdown_check::{Check, CheckError, Profile, Verdict};

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

/// Says that the test which is to be killed is played.
const KILLED: &str = "A_CHECK_THAT_IS_KILLED";

/// A server that is right in every respect, checked as quickly as it can be.
fn reference_server() -> Check {
    Check::new(BIN)
        .arg("reference-server")
        .args(["--background-job", "100ms", "--heavy-job", "0s", "--stall-timeout", "1s"])
        .ready_url("/readyz")
        .path("/sleep?ms=300")
        .situation("slow-handler")
        .trials(3)
        .seed(1)
}

fn fixture(name: &str) -> Check {
    Check::new(BIN)
        .args(["fixture", name])
        .path("/sleep?ms=300")
        .situation("slow-handler")
        .trials(2)
}

/// What of this process a harness could change for all of it.
fn process() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of_signals = status.lines().filter(|line| line.starts_with("Sig"));
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let adopts = nix::sys::prctl::get_child_subreaper().unwrap();
    format!("{}\n{limits}\n{adopts}", of_signals.collect::<Vec<_>>().join("\n"))
}

// The example: this is all that a test needs.
#[test]
fn the_reference_server_shuts_down_gracefully() -> Result<(), CheckError> {
    let checked = reference_server().run()?;
    if checked.verdict() == Verdict::Inconclusive {
        return Ok(()); // The machine was too busy to tell.
    }
    checked.assert_satisfied();

    let accepted = fs::read_to_string("tests/snapshots/library__reference_server.snap");
    insta::assert_snapshot!("reference_server", checked.snapshot(&accepted.unwrap_or_default()));
    Ok(())
}

#[test]
fn a_violation_is_told_with_its_evidence() {
    let before = process();
    let directory = tempfile::tempdir().unwrap();
    let check = fixture("drops-in-flight").option("shrink-budget", "0s");
    let checked = check.reports_dir(directory.path()).run().unwrap();
    assert_eq!(process(), before, "nothing is set for the whole process");
    assert_eq!(checked.verdict(), Verdict::Violated);
    let violations = checked.violations();
    let first = violations.iter().find(|it| it.invariant == "in-flight-requests-complete").unwrap();
    assert!(first.fails && first.messages[0].contains("GET /sleep?ms=300"), "{first:?}");
    let report: serde_json::Value = serde_json::from_str(checked.json()).unwrap();
    assert_eq!(report["verdict"], "violated");
    let folder = checked.folder().unwrap();
    assert!(folder.starts_with(directory.path()) && folder.join("report.html").exists());

    let panic = catch_unwind(|| _ = checked.assert_satisfied()).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("\n  FAIL  in-flight-requests-complete "), "{message}");
    assert!(message.contains("drops-in-flight"), "{message}");
}

#[test]
fn what_is_not_asked_for_is_kept_only_as_long_as_the_result() {
    let mut checked = fixture("correct").profile(Profile::Strict).run().unwrap();
    let folder = checked.folder().unwrap().to_owned();
    assert!(folder.join("report.json").exists());
    assert_eq!(checked.keep_folder().as_ref(), Some(&folder));
    drop(checked);
    assert!(folder.join("report.json").exists());
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    let checked = fixture("correct").run().unwrap();
    let folder = checked.folder().unwrap().to_owned();
    drop(checked);
    assert!(!folder.exists());
}

#[test]
fn what_is_wrong_is_an_error_that_says_what() {
    let usage = |check: Check, part: &str| match check.run() {
        Err(CheckError::Usage(message)) => assert!(message.contains(part), "{message}"),
        other => panic!("{other:?}"),
    };
    usage(fixture("correct").situation("slow-handlr"), "slow-handler");
    usage(fixture("correct").deny("no-such-invariant"), "no-such-invariant");
    usage(Check::new(""), "no program");
    usage(Check::new("--trials"), "no program");
    usage(Check::from_config("absent.toml"), "absent.toml");
    let error = Check::new(BIN).args(["fixture", "no-such-fixture"]).run().unwrap_err();
    assert!(matches!(&error, CheckError::Target(message) if message.contains("exited")), "{error}");
}

#[test]
fn an_installed_harness_can_carry_it_out() {
    let checked = fixture("correct").harness(BIN).run().unwrap();
    assert_ne!(checked.verdict(), Verdict::Violated, "{}", checked.text());
    let error = fixture("correct").harness("/no/such/harness").run().unwrap_err();
    assert!(matches!(error, CheckError::NotStarted(_)), "{error}");
}

#[test]
fn a_future_is_as_good_and_ends_everything_when_it_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let user = User::new();
    let [name, value] = user.mark_as_variable();
    let marked = fixture("correct").env(&name, &value);
    let checked = runtime.block_on(marked.run_async()).unwrap();
    assert_ne!(checked.verdict(), Verdict::Violated, "{}", checked.text());

    let endless = fixture("hangs-past-deadline").env(&name, &value).deadline(LIMIT * 10).trials(1);
    runtime.block_on(async {
        let check = endless.run_async();
        let has_begun = async {
            while user.processes().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = check => panic!("{ended:?}"),
            () = has_begun => {}
        }
    });
    user.wait_for_the_last_process();
}

#[test]
fn a_check_that_is_killed() {
    let Ok(mark) = std::env::var(KILLED) else { return };
    let (name, value) = mark.split_once('=').unwrap();
    let _ = fixture("hangs-past-deadline").env(name, value).deadline(LIMIT * 10).trials(1).run();
}

#[test]
fn a_test_that_is_killed_leaves_nothing() {
    let user = User::new();
    let mark = user.mark_as_variable().join("=");
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_check_that_is_killed", "--nocapture"])
        .env(KILLED, mark)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the target", || (!user.processes().is_empty()).then_some(()));
    test.kill().unwrap();
    test.wait().unwrap();
    user.wait_for_the_last_process();
}
