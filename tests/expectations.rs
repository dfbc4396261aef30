//! The table of expectations: each defective server violates exactly what it is made to violate.
//!
//! The whole tool runs over each of them, as a user would run it, and what it reports is compared
//! for equality, whatever the severity: an accusation too many fails as surely as a miss.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use shutdown_check::invariants::CATALOGUE;

const TOOL: &str = env!("CARGO_BIN_EXE_shutdown-check");

/// One line of the table.
struct Expectation {
    fixture: &'static str,
    signal: &'static str,
    violated: &'static [&'static str],
    exit_code: i32,
}

/// Declares the table, and a test for each of its lines, so that they run side by side.
macro_rules! expectations {
    ($($test:ident: $fixture:literal, $signal:literal => [$($violated:literal),*], exit $code:literal;)*) => {
        const TABLE: &[Expectation] = &[$(
            Expectation {
                fixture: $fixture,
                signal: $signal,
                violated: &[$($violated),*],
                exit_code: $code,
            }
        ),*];
        $(
            #[test]
            fn $test() {
                meets_expectation(stringify!($test), $fixture, $signal);
            }
        )*
    };
}

expectations! {
    correct: "correct", "TERM" => [], exit 0;
    correct_under_interrupt: "correct", "INT" => [], exit 0;
    ignores_signal: "ignores-signal", "TERM" => [
        "signal-is-handled", "new-connections-are-refused", "no-job-starts-after-signal",
        "exits-before-deadline"
    ], exit 1;
    default_dies: "default-dies", "TERM" => [
        "signal-is-handled", "in-flight-requests-complete", "responses-are-whole", "jobs-finish",
        "exit-status-is-clean"
    ], exit 1;
    exits_at_once: "exits-at-once", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole", "jobs-finish"
    ], exit 1;
    drops_in_flight: "drops-in-flight", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole"
    ], exit 1;
    truncates_content_length: "truncates-content-length", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole"
    ], exit 1;
    truncates_chunked: "truncates-chunked", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole"
    ], exit 1;
    loses_stream_tail: "loses-stream-tail", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole"
    ], exit 1;
    cancels_handlers: "cancels-handlers", "TERM" => ["in-flight-requests-complete"], exit 1;
    keeps_accepting: "keeps-accepting", "TERM" => ["new-connections-are-refused"], exit 1;
    accepts_never_answers: "accepts-never-answers", "TERM" => [
        "new-connections-are-refused"
    ], exit 1;
    refuses_then_accepts: "refuses-then-accepts", "TERM" => [
        "new-connections-are-refused"
    ], exit 1;
    hangs_past_deadline: "hangs-past-deadline", "TERM" => ["exits-before-deadline"], exit 1;
    sleeps_fixed_time: "sleeps-fixed-time", "TERM" => [
        "in-flight-requests-complete", "responses-are-whole"
    ], exit 1;
    abandons_job: "abandons-job", "TERM" => ["jobs-finish"], exit 1;
    starts_job_after_signal: "starts-job-after-signal", "TERM" => [
        "no-job-starts-after-signal"
    ], exit 0;
    exits_nonzero: "exits-nonzero", "TERM" => ["exit-status-is-clean"], exit 0;
    leaves_child: "leaves-child", "TERM" => [
        "new-connections-are-refused", "nothing-is-left-behind"
    ], exit 1;
    leaves_helper: "leaves-helper", "TERM" => ["nothing-is-left-behind"], exit 1;
    handles_term: "handles-term-not-int", "TERM" => [], exit 0;
    handles_not_int: "handles-term-not-int", "INT" => [
        "signal-is-handled", "in-flight-requests-complete", "responses-are-whole", "jobs-finish",
        "exit-status-is-clean"
    ], exit 1;
    needs_second_signal: "needs-second-signal", "TERM" => [
        "signal-is-handled", "new-connections-are-refused", "no-job-starts-after-signal",
        "exits-before-deadline"
    ], exit 1;
}

/// Runs the tool; its report and exit code. Where it says that the machine was too busy to tell,
/// it is asked again.
fn check(options: &[&str], target: &[&str]) -> (Value, i32) {
    for attempt in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(TOOL)
            .args(["--no-config", "--trials", "2", "--parallel", "2", "--deadline", "3s"])
            .args(["--format", "json", "--reports-dir"])
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

fn meets_expectation(test: &str, fixture: &str, signal: &str) {
    let expected = TABLE.iter().find(|e| (e.fixture, e.signal) == (fixture, signal)).unwrap();
    let (report, code) = check(&["--signal", signal], &[TOOL, "fixture", fixture]);
    let found: BTreeSet<&str> = with_verdict(&report, "violated").collect();
    let wanted: BTreeSet<&str> = expected.violated.iter().copied().collect();
    assert_eq!(found, wanted, "{test}: {}", evidence(&report));
    let undecided: Vec<&str> = with_verdict(&report, "inconclusive").collect();
    let may_be_undecided = ["exit-status-is-clean", "nothing-is-left-behind"];
    let outlives = wanted.contains("exits-before-deadline");
    assert!(
        undecided.iter().all(|id| outlives && may_be_undecided.contains(id)),
        "{test}: undecided about {undecided:?}"
    );
    assert_eq!(code, expected.exit_code, "{test}");
}

fn verdict_on<'r>(report: &'r Value, id: &str) -> &'r Value {
    let invariants = report["invariants"].as_array().unwrap();
    &invariants.iter().find(|invariant| invariant["id"] == id).unwrap()["verdict"]
}

/// Answers that were sent before the signal, and only read after it, are no sign of a drain.
#[test]
fn a_server_without_a_handler_is_not_praised_for_being_quick() {
    let (report, code) = check(&["--path", "/"], &[TOOL, "fixture", "default-dies"]);
    assert_ne!(verdict_on(&report, "signal-is-handled"), "satisfied", "{}", evidence(&report));
    assert_ne!(code, 0);
}

/// Lines of jobs are kept, however many others there are.
#[test]
fn an_access_log_hides_no_abandoned_job() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"GET / $i\"; i=$((i+1)); done; exec \"$@\"";
    let target = ["/bin/sh", "-c", script, "sh", TOOL, "fixture", "abandons-job"];
    let (report, code) = check(&[], &target);
    assert_eq!(verdict_on(&report, "jobs-finish"), "violated", "{}", evidence(&report));
    assert_eq!(code, 1);
}

fn with_verdict<'r>(report: &'r Value, verdict: &'static str) -> impl Iterator<Item = &'r str> {
    let invariants = report["invariants"].as_array().unwrap();
    let found = invariants.iter().filter(move |invariant| invariant["verdict"] == verdict);
    found.map(|invariant| invariant["id"].as_str().unwrap())
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
    for invariant in CATALOGUE {
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
        assert!(is_listed || !is_about_these, "{} is not in the table", fixture.name);
    }
}
