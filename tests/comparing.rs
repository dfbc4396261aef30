//! `diff` as a user runs it: over the reports of runs, over older ones, and over what is none.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};
use shutdown_check::report::schema;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

use harness::{BIN, User};

const USUAL: [&str; 8] =
    ["--no-config", "-q", "--shrink-budget", "0s", "--seed", "7", "--trials", "6"];

/// Runs a fixture into this folder.
fn run(user: &User, folder: &str, fixture: &str) {
    let what =
        ["--situation", "slow-handler", "--reports-dir", folder, "--", BIN, "fixture", fixture];
    user.run(&[&USUAL[..], &what].concat());
}

#[test]
fn what_became_worse_is_told_and_fails() {
    let user = User::new();
    run(&user, "good", "correct");
    run(&user, "bad", "drops-in-flight");
    let worse = user.run(&["diff", "good/7", "bad/7/report.json"]);
    assert_eq!(worse.status.code(), Some(1), "{worse:?}");
    assert!(worse.stdout.contains("WORSE     in-flight-requests-complete: 0 of 6"), "{worse:?}");
    assert!(worse.stdout.contains("unfair    target: "), "{worse:?}");
    let better = user.run(&["diff", "bad/7", "good/7", "--format", "json"]);
    assert_eq!(better.status.code(), Some(0), "{better:?}");
    let found: Value = serde_json::from_str(&better.stdout).unwrap();
    assert_eq!(found["outcome"], "better");
    let validator = jsonschema::validator_for(&schema::diff()).unwrap();
    for line in [found.clone(), json!({ "added_later": 1 })] {
        let mut whole = found.clone();
        whole.as_object_mut().unwrap().extend(line.as_object().unwrap().clone());
        let errors: Vec<_> = validator.iter_errors(&whole).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    assert!(!validator.is_valid(&json!({ "schema_version": "1.0" })));
    let markdown = user.run(&["diff", "good/7", "bad/7", "--format", "markdown"]);
    assert!(markdown.stdout.contains("| WORSE | in-flight-requests-complete |"), "{markdown:?}");
}

#[test]
fn the_same_report_is_the_same_also_where_an_older_or_a_newer_version_wrote_it() {
    let user = User::new();
    run(&user, "r", "correct");
    let same = user.run(&["diff", "r/7", "r/7"]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert!(same.stdout.contains("nothing changed that is more than chance"), "{same:?}");
    let mut report: Value =
        serde_json::from_slice(&std::fs::read(user.path("r/7/report.json")).unwrap()).unwrap();
    // What was added later is not there; what will be added is.
    for key in ["partition", "merged", "notes", "replayed", "search", "bound", "deep", "pid_1"] {
        report.as_object_mut().unwrap().remove(key);
    }
    report["will_be_added"] = json!(true);
    for version in ["1.0", "1.9"] {
        report["schema_version"] = json!(version);
        user.file("other.json", report.to_string());
        let same = user.run(&["diff", "other.json", "r/7"]);
        assert_eq!(same.status.code(), Some(0), "{same:?}");
    }
    report["schema_version"] = json!("2.0");
    user.file("other.json", report.to_string());
    let refused = user.run(&["diff", "other.json", "r/7"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("its schema is 2.0, and this program reads 1."), "{refused:?}");
}

#[test]
fn what_is_no_report_is_refused_and_says_what_would_be_one() {
    let user = User::new();
    user.file("text.json", "this is none");
    user.file("other.json", "{\"a\": 1}");
    user.file("list.json", "[]");
    for (name, told) in [
        ("text.json", "text.json is no report of this program"),
        ("other.json", "it has no schema_version"),
        ("list.json", "it has no schema_version"),
        ("none.json", "cannot read"),
        (".", "report.json"),
    ] {
        for words in [["diff", name, name], ["merge", name, name]] {
            let refused = user.run(&words);
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            assert!(refused.stderr.contains(told), "{words:?}: {refused:?}");
        }
    }
}
