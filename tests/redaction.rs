//! Secrets that are handed over to a run stand in nothing that it writes or says.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use shutdown_check::report::schema;

use harness::{BIN, Ended, Running, User};

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

const FORMATS: [&str; 8] =
    ["json", "text", "junit", "markdown", "github", "sarif", "badge", "html"];

/// None of these may turn up anywhere.
const PLANTED: [&str; 9] = [
    "planted-option",
    "planted-equals",
    "planted-variable",
    "planted-url",
    "planted-bearer",
    "planted-cookie",
    "planted-header",
    "planted-query",
    "planted-argument",
];

/// What a run is handed over, and what it may say of that.
const OPTIONS: [&str; 14] = [
    "--no-config",
    "--env=API_TOKEN=planted-variable",
    "--env=DATABASE_URL=postgres://me:planted-url@db/x",
    "--header=Authorization: Bearer planted-bearer",
    "--header=Cookie: session=planted-cookie",
    "--header=X-Signing-Key-Secret: planted-header",
    "--path=/sleep?ms=200&access_token=planted-query",
    "--access-log=no line is like this",
    "--last-words=planted-nothing",
    "--trials=2",
    "--situation=load,slow-handler",
    "--seed=1",
    "--reports-dir=r",
    "--verbose",
];

/// A server that tells its secrets, leaves a process that has one in its command line, and drops what
/// is in flight, so that there is something to report.
const SCRIPT: &str = r#"
echo "connecting to $DATABASE_URL with $API_TOKEN, $*"
sh -c 'sleep 30; : "$1"' helper --password=planted-argument &
exec "$0" fixture drops-in-flight
"#;

fn target() -> [&'static str; 8] {
    let words = ["sh", "-c", SCRIPT, BIN, "--token", "planted-option"];
    let [a, b, c, d, e, f] = words;
    [a, b, c, d, e, f, "--db-password=planted-equals", "--password=planted-argument"]
}

fn assert_hidden(what: &str, text: &str) {
    for secret in PLANTED {
        let at = text.find(secret);
        let around = at.map(|at| &text[at.saturating_sub(80)..text.len().min(at + 40)]);
        assert_eq!(around, None, "{secret} in {what}");
    }
}

fn assert_hidden_in_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => assert_hidden_in_files(&path),
        false => {
            assert_hidden(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
            1
        }
    };
    entries.map(count).sum()
}

fn assert_said_without(ended: &Ended) {
    assert_hidden("the standard output", &ended.stdout);
    assert_hidden("the standard error", &ended.stderr);
}

fn run(user: &User, words: &[&str]) -> Ended {
    let mut command = user.command(BIN);
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY").args(words);
    Running::start(command).wait()
}

#[test]
fn no_report_and_no_history_has_a_secret() {
    let user = User::new();
    let outputs = FORMATS.map(|format| format!("--output={format}=out/{format}"));
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let ended = run(&user, &[&OPTIONS[..], &outputs, &["--"], &target()].concat());
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert_said_without(&ended);
    // What could be hidden was there.
    let history = fs::read_to_string(user.path("r/1/trial-0001.jsonl")).unwrap();
    assert!(history.contains("connecting to postgres://(redacted)@db/x with (redacted)"));
    assert!(history.contains("access_token=(redacted)"), "the name of the request");
    let left = fs::read_to_string(user.path("out/json")).unwrap();
    assert!(left.contains("--password=(redacted)"), "the command of what it leaves");
    assert!(assert_hidden_in_files(user.path("").as_path()) >= FORMATS.len() + 4);

    // And they are still histories and a report.
    let validator = jsonschema::validator_for(&schema::history()).unwrap();
    for line in history.lines() {
        let line = serde_json::from_str(line).unwrap();
        let errors: Vec<_> = validator.iter_errors(&line).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:#?}");
    }
    for format in FORMATS {
        assert_said_without(&run(&user, &["report", "r/1", "--format", format]));
    }
    let again = run(&user, &["judge", "--no-config", "r/1", "--format", "json"]);
    assert_eq!(again.code(), 1, "{again:?}");
    assert_said_without(&again);
}

#[test]
fn no_plan_and_no_message_has_a_secret() {
    let user = User::new();
    for format in ["text", "json"] {
        let words = [&["plan", "--format", format], &OPTIONS[..], &["--"], &target()].concat();
        let ended = run(&user, &words);
        assert_eq!(ended.code(), 0, "{ended:?}");
        assert_said_without(&ended);
    }
    let script = ["sh", "-c", "echo \"$API_TOKEN $0\"; exit 1", "--token=planted-option"];
    let ended = run(&user, &[&OPTIONS[..], &["--"], &script].concat());
    assert_eq!(ended.code(), 4, "{ended:?}");
    assert!(ended.stderr.contains("(redacted) --token=(redacted)"), "{}", ended.stderr);
    assert_said_without(&ended);
    let wrong: [&[&str]; 5] = [
        &["--header", "Authorization Bearer planted-bearer"],
        &["--header", "Host: planted-bearer"],
        &["--env", "=planted-variable"],
        &["--url", "http://me:planted-url@example.org"],
        &["--job-url", "https://me:planted-url@127.0.0.1/jobs"],
    ];
    for words in wrong {
        let ended = run(&user, &[words, &["--no-config", "./bin"]].concat());
        assert_eq!(ended.code(), 2, "{ended:?}");
        assert_said_without(&ended);
    }
    let mut command = user.command(BIN);
    command.env("SHUTDOWN_CHECK_HEADER", "Authorization Bearer planted-bearer").arg("./bin");
    assert_said_without(&Running::start(command).wait());
}
