//! Servers behind wrappers: what each kind of wrapper violates, and that the report says why.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::process::Command;

use harness::{BIN, Ended, User, words};
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/wrappers/");
/// What a wrapper violates that leaves its server behind: the listener stays, and so does its server.
const LEFT: &[&str] = &[
    "signal-is-handled",
    "new-connections-are-refused",
    "no-job-starts-after-signal",
    "nothing-is-left-behind",
    "close-is-announced",
];

/// The wrapper's exit is what counts, though its server drains.
const GONE_TOO_SOON: &[&str] = &["nothing-is-left-behind"];

/// Interpreter, wrapper, what it violates, and what the report says of it.
const TABLE: &[(&str, &str, &[&str], &str)] = &[
    ("sh", "exec.sh", &[], ""),
    ("sh", "forwards-and-waits.sh", &[], ""),
    ("sh", "no-exec.sh", LEFT, "never got it: start it with exec"),
    ("sh", "forwards-without-waiting.sh", GONE_TOO_SOON, "hand the signal on and wait"),
    ("python3", "forwards-and-waits.py", &[], ""),
    ("python3", "no-forward.py", LEFT, "never got it: start it with exec"),
    ("python3", "forwards-without-waiting.py", GONE_TOO_SOON, "hand the signal on and wait"),
    ("node", "forwards-and-waits.js", &[], ""),
    ("node", "no-forward.js", LEFT, "signal on"),
    ("node", "forwards-without-waiting.js", GONE_TOO_SOON, "hand the signal on and wait"),
];

fn lines_of(interpreter: &str) {
    if Command::new(interpreter).args(["-c", ""]).output().is_err() {
        println!("skipped: there is no {interpreter} here");
        return;
    }
    for (_, wrapper, violated, said) in TABLE.iter().filter(|line| line.0 == interpreter) {
        let path = format!("{FOLDER}{wrapper}");
        let report = report(&[], &[interpreter, &path, BIN, "fixture", "correct"]);
        let found = violated_by(&report);
        let wanted: BTreeSet<_> = violated.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(found, wanted, "{wrapper}: {report:#}");
        assert!(report["invariants"].to_string().contains(said), "{wrapper}: {report:#}");
    }
}

/// One trial of a target, in which requests are in process.
fn report(options: &[&str], target: &[&str]) -> Value {
    let usual = ["--format", "json", "--deadline", "5s", "--situation", "slow-handler"];
    let usual =
        [&usual[..], &["--path", "/sleep?ms=1200", "--path", "/", "--env", "JOB_MS=100"]].concat();
    let words = words(&["--trials", "1"], &[&usual, options].concat(), target);
    let ended: Ended = User::new().run(&words);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn violated_by(report: &Value) -> BTreeSet<String> {
    let invariants = report["invariants"].as_array().unwrap();
    let violated = invariants.iter().filter(|it| it["verdict"] == "violated");
    violated.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn shells() {
    lines_of("sh");
}

#[test]
fn python_scripts() {
    lines_of("python3");
}

/// A report on a server in Python; nothing where there is no Python.
fn report_of_python(script: &str, options: &[&str]) -> Option<Value> {
    if Command::new("python3").args(["-c", ""]).output().is_err() {
        println!("skipped: there is no python3 here");
        return None;
    }
    let script = format!("{FOLDER}{script}");
    let usual = ["--path", "/", "--format", "json", "--deadline", "8s"];
    let ended = User::new().run(&words(&usual, options, &["python3", &script]));
    Some(serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}")))
}

fn verdict_on<'r>(report: &'r Value, id: &str) -> &'r Value {
    let mut invariants = report["invariants"].as_array().unwrap().iter();
    &invariants.find(|it| it["id"] == id).unwrap()["verdict"]
}

/// The kernel gives the signal to the first thread, whose handler it is; also while the target is held
/// still, which is the harness's doing.
#[test]
fn a_handler_in_the_main_thread_is_met_also_when_the_target_is_held() {
    for to in ["leader", "group"] {
        let options = ["--trials", "6", "--situation", "slow-handler", "--signal-to", to];
        let Some(report) = report_of_python("main-thread-waits.py", &options) else { return };
        let violated = violated_by(&report);
        let denied = report["invariants"].as_array().unwrap().iter();
        let denied = denied.filter(|it| it["level"] == "deny").map(|it| it["id"].as_str().unwrap());
        let denied: Vec<_> = denied.filter(|id| violated.contains(*id)).collect();
        assert_eq!(denied, [""; 0], "to the {to}: {report:#}");
        for id in ["signal-is-handled", "new-connections-are-refused", "exits-before-deadline"] {
            assert_eq!(verdict_on(&report, id), "satisfied", "to the {to}, {id}: {report:#}");
        }
    }
}

/// What follows comes to a target that runs, and is not for its first thread alone.
#[test]
fn a_second_signal_is_met_by_any_thread_also_when_the_target_was_held_for_the_first() {
    let options = ["--trials", "4", "--situation", "second-signal", "--second-signal", "force"];
    let options = [&options[..], &["--profile", "strict"]].concat();
    let Some(report) = report_of_python("second-signal-in-a-thread.py", &options) else { return };
    let id = "repeated-signal-is-harmless";
    assert!(!violated_by(&report).contains(id), "{report:#}");
    // What follows at once the kernel may take for the same signal.
    let is_apart = |sent: &[Value]| match sent {
        [first, second] => second["at_ms"].as_f64() > first["at_ms"].as_f64().map(|at| at + 50.0),
        _ => false,
    };
    let trials = report["trials"].as_array().unwrap().iter();
    let apart = trials.filter(|it| is_apart(it["signals"].as_array().unwrap()));
    let codes: Vec<_> = apart.map(|it| it["exit"]["code"].clone()).collect();
    assert!(!codes.is_empty() && codes.iter().all(|it| it == 1), "{codes:?}: {report:#}");
}

#[test]
fn node_scripts() {
    lines_of("node");
}

/// The number in the file is the one that the server has inside: 1.
#[test]
fn a_pid_file_of_pid_1_is_found_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = format!("PID_FILE={}/srv-{{port}}.pid", folder.path().display());
    let options = ["--as-pid-1", "--env", &pid_file];
    let report = report(&options, &[BIN, "fixture", "leaves-pid-file"]);
    assert!(violated_by(&report).contains("nothing-is-left-behind"), "{report:#}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The shell is PID 1 and has no handler: the kernel drops the signal.
#[test]
fn a_shell_as_pid_1_never_exits() {
    let script = format!("{FOLDER}no-exec.sh");
    let report = report(&["--as-pid-1"], &["sh", &script, BIN, "fixture", "correct"]);
    let violated = violated_by(&report);
    assert!(violated.contains("exits-before-deadline"), "{violated:?}");
    let text = report["invariants"].to_string();
    assert!(text.contains("which is PID 1 and has no handler"), "{text}");
}
