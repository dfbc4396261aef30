//! From a failure to a reproduction: found, shrunk, written down, seen again, fixed, and taken out.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

const TOOL: &str = env!("CARGO_BIN_EXE_shutdown-check");
const KNOWN: &str = "shutdown-check.regressions.toml";

/// Runs the tool in a folder over one of the bundled servers; its exit code and what it printed.
fn tool(folder: &Path, words: &[&str], fixture: &str) -> (i32, String) {
    let output = Command::new(TOOL)
        .current_dir(folder)
        // A CI server's variable would keep the file from being written.
        .env_remove("CI")
        .args(words)
        .args(["--no-progress", "--deadline", "4s", "--", TOOL, "fixture", fixture])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), format!("{text}{said}"))
}

/// One server is shrunk to one connection, and is still there until it is another server.
fn goes_round(fixture: &str, situation: &str, invariant: &str) {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let words = ["--trials", "2", "--situation", situation, "--shrink-budget", "120s"];
    let asked = ["--regressions", KNOWN, "--format", "json", "--seed", "7"];
    let (code, report) = tool(here, &[&words[..], &asked[..]].concat(), fixture);
    assert_eq!(code, 1, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let found = report["reproductions"].as_array().unwrap();
    let found = found.iter().find(|it| it["invariant"] == invariant).unwrap();
    let rate = &found["rate"];
    assert!(rate["failed"].as_u64().unwrap() >= 3, "{rate}");
    assert!(found["trial"]["load"]["connections"].as_u64().unwrap() <= 1, "{found:#}");
    // Trials of the shrinking are kept, and are none of the run.
    let kept = found["shown"]["history"].as_str().unwrap();
    assert!(here.join("reports/7").join(kept).is_file(), "{kept}");
    let numbers = report["trials"].as_array().unwrap().iter().map(|it| it["number"].as_u64());
    assert!(numbers.flatten().all(|number| number < 80_000));
    let text = fs::read_to_string(here.join(KNOWN)).unwrap();
    assert!(text.contains(&format!("invariant = \"{invariant}\"")), "{text}");

    let (code, said) = tool(here, &["replay"], fixture);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("STILL FAILS") && said.contains(invariant), "{said}");
    let (code, said) = tool(here, &["replay", "reports/7", "--retire"], fixture);
    assert_eq!(code, 1, "{said}");
    assert_eq!(fs::read_to_string(here.join(KNOWN)).unwrap(), text, "nothing is fixed");

    let (code, said) = tool(here, &["replay", "--retire"], "correct");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("FIXED") && !said.contains("STILL"), "{said}");
    let text = fs::read_to_string(here.join(KNOWN)).unwrap();
    assert!(!text.contains("[[regression]]"), "{text}");
    assert!(text.starts_with('#') && said.contains("none left"), "{said}{text}");
}

#[test]
fn a_request_that_is_dropped() {
    goes_round("drops-in-flight", "slow-handler", "in-flight-requests-complete");
}

#[test]
fn a_job_that_is_abandoned() {
    goes_round("abandons-job", "load,job-running", "jobs-finish");
}

#[test]
fn a_child_that_is_left() {
    goes_round("leaves-daemon", "idle-keepalive", "nothing-is-left-behind");
}

/// Of many connections that ask late the one that is needed, and when it asks.
#[test]
fn what_is_swallowed_among_many_kinds_of_connections() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let invariant = "late-requests-are-not-swallowed";
    let asked = ["--trials", "1", "--situation", "mixed", "--seed", "7", "--deny", invariant];
    let kept = ["--shrink-budget", "120s", "--regressions", KNOWN];
    let (code, said) = tool(here, &[&asked[..], &kept[..]].concat(), "drops-late-requests");
    assert_eq!(code, 1, "{said}");
    let text = fs::read_to_string(here.join(KNOWN)).unwrap();
    for line in ["situation = \"one-request\"", "connections = 1", "asks-after = "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (code, said) = tool(here, &["replay"], "drops-late-requests");
    assert_eq!((code, said.contains("STILL FAILS")), (1, true), "{said}");
}

/// A point at a system call is kept with its words.
#[test]
#[cfg(target_os = "linux")]
fn a_request_that_is_lost_at_a_system_call() {
    if !harness::may_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (invariant, fixture) = ("in-flight-requests-complete", "loses-request-just-read");
    let asked = ["--deep", "--situation", "one-request", "--trials", "8", "--seed", "1"];
    let kept = ["--path", "/sleep?ms=1", "--shrink-budget", "120s", "--regressions", KNOWN];
    let (code, said) = tool(here, &[&asked[..], &kept[..]].concat(), fixture);
    assert_eq!(code, 1, "{said}");
    let text = fs::read_to_string(here.join(KNOWN)).unwrap();
    for line in [invariant, "moment = \"after recv #1", "connections = 1"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let words = ["replay", "--path", "/sleep?ms=1"];
    let (code, said) = tool(here, &words, fixture);
    assert_eq!((code, said.contains("STILL FAILS")), (1, true), "{said}");
    let (code, said) = tool(here, &words, "correct");
    assert_eq!((code, said.contains("FIXED")), (0, true), "{said}");
}

/// Where one trial takes longer than there is time, something is known nonetheless.
#[test]
fn a_target_that_hangs_is_seen_again_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--trials", "1", "--situation", "idle-keepalive", "--shrink-budget", "1s"];
    let json = [&words[..], &["--format", "json"]].concat();
    let (code, report) = tool(folder.path(), &json, "hangs-past-deadline");
    assert_eq!(code, 1, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let found = &report["reproductions"][0];
    assert_eq!(found["trial"]["situation"], "idle", "{found:#}");
    assert!(found["rate"]["failed"].as_u64().unwrap() >= 1, "{found:#}");
    assert!(found["stopped"].as_str().unwrap().contains("--shrink-budget"), "{found:#}");
}

/// What is known is tried before anything else, and counts.
#[test]
fn known_failures_are_tried_first_on_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let entry = "# Ours.\n[[regression]]\ninvariant = 'in-flight-requests-complete'\n\
                 situation = 'slow-handler'\nmoment = 'reached'\nsignal = 'TERM'\nconnections = 1\n\
                 seed = '1f'\nfound = '2026-11-22, 9 of 10 runs'\n";
    fs::write(here.join(KNOWN), entry).unwrap();
    let words = ["--trials", "1", "--situation", "idle", "--shrink-budget", "0s", "--seed", "7"];
    let json = [&words[..], &["--format", "json"]].concat();
    let (code, report) = tool(here, &json, "drops-in-flight");
    assert_eq!(code, 1, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["replayed"][0]["standing"], "still-fails", "{}", report["replayed"]);
    let trials = report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 2, "the plan's, and the one that is known");
    assert!(trials.iter().any(|it| it["situation"] == "slow-handler"));
    assert_eq!(fs::read_to_string(here.join(KNOWN)).unwrap(), entry, "nothing was shrunk");

    let (_, text) = tool(here, &words, "drops-in-flight");
    assert!(text.contains("1 known failure: 1 still fails"), "{text}");
    let (_, text) = tool(here, &words, "correct");
    assert!(text.contains("1 known failure: 1 held") || text.contains("1 fixed"), "{text}");
    let (code, text) = tool(here, &[&words[..], &["--no-regressions"]].concat(), "correct");
    assert!(!text.contains("known"), "{code} {text}");
}

#[test]
fn what_can_not_be_shown_is_neither_fixed_nor_failing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let entry = "[[regression]]\ninvariant = 'jobs-finish'\nsituation = 'writes'\n\
                 moment = '300 ms'\nsignal = 'TERM'\nconnections = 0\nseed = '1f'\n\
                 found = '2026-11-22, 9 of 10 runs'\n";
    fs::write(here.join(KNOWN), entry).unwrap();
    let (code, said) = tool(here, &["replay"], "correct");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("NOT SHOWN") && said.contains("--write"), "{said}");
    let entry = entry.replace("writes", "slow-handler").replace("300 ms", "reached");
    let entry = entry.replace("jobs-finish", "in-flight-requests-complete");
    let rare = entry.replace("9 of 10", "1 of 100").replace("connections = 0", "connections = 1");
    fs::write(here.join(KNOWN), rare).unwrap();
    let (code, said) = tool(here, &["replay", "--trials", "2"], "correct");
    assert_eq!(code, 3, "two runs show nothing of what comes once in a hundred: {said}");
    assert!(said.contains("1901 are needed"), "{said}");
}

/// One trial that failed, of which nobody knows how often it does, says nothing when it holds.
#[test]
fn what_failed_once_is_not_called_fixed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let words = [
        "--trials",
        "1",
        "--connections",
        "3",
        "--situation",
        "slow-handler",
        "--shrink-budget",
        "0s",
    ];
    let (code, said) = tool(here, &[&words[..], &["--seed", "7"]].concat(), "drops-in-flight");
    assert_eq!(code, 1, "{said}");
    let words = ["replay", "reports/7/trial-0001.jsonl", "--trials", "4"];
    let (code, said) = tool(here, &words, "correct");
    assert_eq!(code, 3, "{said}");
    for part in ["NOT SHOWN", "is not known", "p ≥ 95 %"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = tool(here, &words, "drops-in-flight");
    assert_eq!((code, said.contains("STILL FAILS")), (1, true), "{said}");
}

#[test]
fn nothing_to_replay_is_no_mistake_and_a_wrong_path_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let replay = |words: &[&str]| {
        let mut tool = Command::new(TOOL);
        let output = tool.current_dir(folder.path()).arg("replay").args(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, said) = replay(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing to replay"), "{said}");
    fs::write(folder.path().join(KNOWN), "").unwrap();
    let (code, said) = replay(&["--format", "json"]);
    assert_eq!((code, said.trim()), (0, "[]"));
    for wrong in ["reports/8", "trial-0001.jsonl", ".", KNOWN] {
        let (code, said) = replay(&[wrong]);
        assert_eq!(code, 2, "{wrong}: {said}");
        assert!(said.contains("can't replay"), "{wrong}: {said}");
    }
}

#[test]
fn a_file_of_known_failures_that_is_wrong_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(KNOWN), "\n[[regression]]\ninvariant = 'x'\n").unwrap();
    let (code, said) = tool(folder.path(), &["--trials", "1"], "correct");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(KNOWN) && said.contains("situation"), "{said}");
}

#[test]
fn a_failure_is_a_text_for_an_issue_tracker() {
    let folder = tempfile::tempdir().unwrap();
    let words =
        ["--trials", "1", "--connections", "3", "--situation", "slow-handler", "--format", "issue"];
    let own = ["--path", "/sleep?ms=300", "--env", "TOKEN=abcdefgh", "--shrink-budget", "0s"];
    let (code, text) = tool(folder.path(), &[&words[..], &own].concat(), "drops-in-flight");
    assert_eq!(code, 1, "{text}");
    for part in [
        "### in-flight-requests-complete",
        "| target |",
        "| request |",
        "[[regression]]",
        "--deadline 4s",
        "--path '/sleep?ms=300'",
        "--env 'TOKEN=…'",
        "the value of TOKEN",
        "\"event\":\"signal-sending\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("abcdefgh"), "{text}");
    assert!(!folder.path().join(KNOWN).exists(), "nobody has asked for a file");
}

/// Also what was not run again has the command that does so.
#[test]
fn each_failure_has_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let words = [
        "--trials",
        "1",
        "--connections",
        "3",
        "--situation",
        "slow-handler",
        "--seed",
        "7",
        "--format",
        "json",
    ];
    let own = ["--shrink-budget", "0s", "--path", "/sleep?ms=300"];
    let (code, report) = tool(here, &[&words[..], &own].concat(), "drops-in-flight");
    assert_eq!(code, 1, "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let invariants = report["invariants"].as_array().unwrap();
    let again = |it: &&Value| it["verdict"] == "violated" && it["again"].is_null();
    assert_eq!(invariants.iter().find(again), None);
    let lost = invariants.iter().find(|it| it["id"] == "in-flight-requests-complete").unwrap();
    let again = "shutdown-check replay reports/7/trial-0001.jsonl";
    assert_eq!(lost["again"], again, "{lost:#}");
    let output =
        Command::new(TOOL).current_dir(here).args(again.split(' ').skip(1)).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "it has all settings of the run: {output:?}");
}
