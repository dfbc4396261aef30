//! The table of expectations: each defective server violates exactly what it is made to violate.
//!
//! The whole tool runs over each of them, as a user would run it, and what it reports is compared
//! for equality, whatever the severity: an accusation too many fails as surely as a miss.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use shutdown_check::cli::selftest::score;
use shutdown_check::cli::selftest::table::TABLE;
use shutdown_check::invariants::CATALOGUE;
use shutdown_check::trial::interrupt::interrupt;

const TOOL: &str = env!("CARGO_BIN_EXE_shutdown-check");

/// Declares a test for each line of the table, so that they run side by side.
macro_rules! tests {
    ($($name:ident: $($line:expr),+ => [$($violated:literal),*], exit $code:literal;)*) => {
        $(
            #[test]
            fn $name() {
                meets_expectation(stringify!($name));
            }
        )*
    };
}

shutdown_check::expectations!(tests);

/// Violated by servers that keep data, which have a table of their own (`data.rs`).
const OF_DATABASES: &str = "acknowledged-writes-survive";

/// Fixtures that lose something at a system call only (`deep.rs`).
const OF_SYSTEM_CALLS: [&str; 1] = ["loses-request-just-read"];

/// Runs the tool; its report and exit code. Where it says that the machine was too busy to tell,
/// it is asked again.
fn check(options: &[&str], target: &[&str]) -> (Value, i32) {
    for attempt in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(TOOL)
            .args([
                "--no-config",
                "--shrink-budget",
                "0s",
                "--parallel",
                "8",
                "--format",
                "json",
                "--reports-dir",
            ])
            .arg(folder.path())
            .args(options)
            .arg("--")
            .args(target)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{target:?}: no report ({error}): {said}"));
        let is_busy = report["invariants"].to_string().contains("too busy to tell");
        if !is_busy || attempt == 5 {
            return (report, output.status.code().unwrap());
        }
    }
    unreachable!("the loop has no end")
}

fn meets_expectation(name: &str) {
    let line = TABLE.iter().find(|line| line.name == name).unwrap();
    let (_interrupter, nobody) = interrupt();
    let score = score(line, Path::new(TOOL), &nobody).unwrap();
    assert!(score.is_as_expected(), "{score:#?}");
}

fn verdict_on<'r>(report: &'r Value, id: &str) -> &'r Value {
    let invariants = report["invariants"].as_array().unwrap();
    &invariants.iter().find(|invariant| invariant["id"] == id).unwrap()["verdict"]
}

/// A signal that comes while a correct server starts ends it, whatever the moment.
#[test]
fn a_correct_start_is_praised() {
    let options = ["--trials", "16", "--situation", "startup", "--profile", "strict"];
    let (report, code) = check(&options, &[TOOL, "fixture", "correct"]);
    let verdict = verdict_on(&report, "startup-signal-is-honoured");
    assert_eq!((verdict.as_str(), code), (Some("satisfied"), 0), "{}", evidence(&report));
}

/// Answers that were sent before the signal, and only read after it, are no sign of a drain.
#[test]
fn a_server_without_a_handler_is_not_praised_for_being_quick() {
    let options = ["--trials", "2", "--situation", "load", "--path", "/"];
    let (report, code) = check(&options, &[TOOL, "fixture", "default-dies"]);
    assert_ne!(verdict_on(&report, "signal-is-handled"), "satisfied", "{}", evidence(&report));
    assert_ne!(code, 0);
}

/// Lines of jobs are kept, however many others there are.
#[test]
fn an_access_log_hides_no_abandoned_job() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"GET / $i\"; i=$((i+1)); done; exec \"$@\"";
    let target = ["/bin/sh", "-c", script, "sh", TOOL, "fixture", "abandons-job"];
    let (report, code) = check(&["--trials", "2", "--situation", "load"], &target);
    assert_eq!(verdict_on(&report, "jobs-finish"), "violated", "{}", evidence(&report));
    assert_eq!(code, 1);
}

fn evidence(report: &Value) -> String {
    let invariants = report["invariants"].as_array().unwrap();
    let violated = invariants.iter().filter(|invariant| invariant["verdict"] == "violated");
    let lines = violated.map(|invariant| {
        format!("\n  {}: {}", invariant["id"], invariant["evidence"][0]["message"])
    });
    lines.collect()
}

#[test]
fn every_invariant_is_violated_by_somebody() {
    for invariant in CATALOGUE.iter().filter(|it| it.id != OF_DATABASES) {
        let is_violated = TABLE.iter().any(|line| line.violated.contains(&invariant.id));
        assert!(is_violated, "no fixture violates {}", invariant.id);
    }
}

#[test]
fn every_fixture_about_these_invariants_is_in_the_table() {
    for fixture in fixtures::all() {
        let is_about_these = fixture
            .violates
            .first()
            .is_some_and(|id| CATALOGUE.iter().any(|invariant| invariant.id == *id));
        let is_listed = TABLE.iter().any(|line| line.fixture == fixture.name);
        // It takes ptrace(2), which not every system allows.
        let is_elsewhere = OF_SYSTEM_CALLS.contains(&fixture.name);
        assert!(is_listed || is_elsewhere || !is_about_these, "{} is not there", fixture.name);
    }
}
