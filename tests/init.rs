//! `init`: what it finds out of a target, and that a run with the file that it writes works.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

use std::fs;

use harness::{BIN, User};
use serde_json::Value;

fn written(user: &User) -> String {
    fs::read_to_string(user.path("shutdown-check.toml")).unwrap()
}

/// A short run with nothing but the file; what it does not show is inconclusive.
fn run(user: &User, situation: &str) -> Value {
    let ended = user.run(&["--trials", "2", "--situation", situation, "--format", "json"]);
    assert!([0, 3].contains(&ended.code()), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn the_file_of_the_reference_server_is_one_to_run_with() {
    let user = User::new();
    let short = ["--background-job", "200ms", "--heavy-job", "300ms"];
    let words = [&["init", "--", BIN, "reference-server"][..], &short].concat();
    let ended = user.run(&words);
    assert_eq!(ended.code(), 0, "{ended:?}");
    for found in ["/readyz", "/sleep?ms=900", "seen, by the usual lines", "exited with status 0"] {
        assert!(ended.stdout.contains(found), "{found}: {}", ended.stdout);
    }
    let text = written(&user);
    assert!(text.contains("ready-url = \"/readyz\"\n"), "{text}");
    assert!(text.contains("[[request]]\npath = \"/sleep?ms=900\"\n"), "{text}");
    assert!(text.contains("[[request]]\npath = \"/\"\n"), "{text}");
    let planned = user.run(&["--dry-run"]);
    assert_eq!(planned.code(), 0, "{planned:?}");
    let report = run(&user, "slow-handler");
    assert_eq!(report["target"]["command"][1], "reference-server");
    let asked = report["target"]["requests"].as_array().unwrap();
    assert_eq!(asked.len(), 2, "those of the file: {asked:?}");

    // It is the user's now.
    fs::write(user.path("shutdown-check.toml"), "# mine\n").unwrap();
    let again = user.run(&words);
    assert_eq!(again.code(), 2, "{again:?}");
    assert!(again.stderr.contains("is there already"), "{again:?}");
    assert_eq!(written(&user), "# mine\n");
    let forced = [&["init", "--force"][..], &words[1..]].concat();
    assert_eq!(user.run(&forced).code(), 0);
    assert!(written(&user).contains("target = ["));
}

#[test]
fn a_target_that_handles_no_signal_is_told_so_and_printed_nowhere_else() {
    let user = User::new();
    let ended = user.run(&["init", "--dry-run", "--", BIN, "fixture", "default-dies"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stdout.contains("no process of it handles SIGTERM"), "{ended:?}");
    assert!(!user.path("shutdown-check.toml").exists());
    let other = user.run(&["init", "--output", "-", "--", BIN, "fixture", "correct"]);
    assert!(other.stdout.contains("target = ["), "{other:?}");
    assert!(!user.path("shutdown-check.toml").exists());
}

#[test]
fn lines_of_jobs_become_patterns_that_a_run_knows_them_by() {
    let user = User::new();
    let server = r#"
import http.server, os, signal, threading, time
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.3)
        self.send_response(200); self.send_header('Content-Length', '2'); self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page)
server.daemon_threads = False
over = threading.Event()
def jobs():
    number = 0
    while not over.wait(0.05):
        number += 1
        print(f'task t{number} picked up: processing', flush=True)
        time.sleep(0.05)
        print(f'task t{number} picked up: processed', flush=True)
worker = threading.Thread(target=jobs); worker.start()
def stop(*_):
    over.set(); threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
server.serve_forever(poll_interval=0.05)
server.server_close(); worker.join()
"#;
    let script = user.file("server.py", server);
    let ended = user.run(&["init", "--", "python3", &script]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let text = written(&user);
    assert!(text.contains("\nstart  = ") && text.contains("\nfinish = "), "{text}");
    let report = run(&user, "job-running");
    let jobs = &report["configuration"]["jobs"];
    assert!(jobs["start"][0].as_str().unwrap().ends_with(r"picked up: processing\b"), "{jobs}");
    let invariants = report["invariants"].as_array().unwrap();
    let finish = invariants.iter().find(|it| it["id"] == "jobs-finish").unwrap();
    assert_eq!(finish["verdict"], "satisfied", "{finish}");
}

#[test]
fn without_a_target_it_says_how() {
    let user = User::new();
    let ended = user.run(&["init"]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("shutdown-check init -- node server.js"), "{ended:?}");
}
