//! Jobs that are told of elsewhere than in the output, met at each landmark of their lives.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use harness::{BIN, Ended, User, words};
use serde_json::Value;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

/// Runs a fixture whose jobs are written to `jobs.log`.
fn check(user: &User, fixture: &str, options: &[&str]) -> Value {
    let usual = ["--format", "json", "--deadline", "20s", "--env", "JOB_LOG=jobs.log"];
    let situation = ["--situation", "job-running"];
    let options = [&usual, &situation[..], options].concat();
    let ended = user.run(&words(&["--trials", "3"], &options, &[BIN, "fixture", fixture]));
    report(&ended)
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn jobs_finish(report: &Value) -> &Value {
    let mut invariants = report["invariants"].as_array().unwrap().iter();
    invariants.find(|invariant| invariant["id"] == "jobs-finish").unwrap()
}

/// Those of the coverage's cells that were missed or not tried, with the reason.
fn reasons(report: &Value) -> Vec<&str> {
    let cells = report["coverage"].as_array().unwrap().iter();
    cells.filter_map(|cell| cell["reason"].as_str()).collect()
}

#[test]
fn jobs_are_read_from_a_file() {
    let user = User::new();
    user.file("jobs.log", "job id=of-yesterday started\n");
    let right = check(&user, "correct", &["--job-file", "jobs.log"]);
    assert_eq!(jobs_finish(&right)["verdict"], "satisfied", "{right}");
    assert_eq!(reasons(&right), Vec::<&str>::new());
    let wrong = check(&user, "abandons-job", &["--job-file", "jobs.log"]);
    assert_eq!(jobs_finish(&wrong)["verdict"], "violated", "{wrong}");
    let message = jobs_finish(&wrong)["evidence"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("job background-"), "{message}");
}

/// Serves a file as a broker serves its books; where.
fn ledger(path: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = std::fs::read_to_string(&path).unwrap_or_default();
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn jobs_are_read_from_a_page_of_something_that_outlives_the_target() {
    let user = User::new();
    let url = format!("http://{}/", ledger(user.path("jobs.log")));
    let right = check(&user, "correct", &["--job-url", &url]);
    assert_eq!(jobs_finish(&right)["verdict"], "satisfied", "{right}");
    let wrong = check(&user, "abandons-job", &["--job-url", &url]);
    assert_eq!(jobs_finish(&wrong)["verdict"], "violated", "{wrong}");
}

/// Its end ends the list, too: what became of a job that it listed nobody can say.
#[test]
fn a_list_that_the_target_keeps_itself_accuses_it_of_nothing() {
    let start = r"^(?P<id>background-\d+)$";
    let finish = "^(?P<id>nothing) finished";
    let options = ["--job-url", "/jobs", "--job-start", start, "--job-finish", finish];
    let amount = ["--trials", "3", "--format", "json", "--situation", "job-running"];
    let target = [BIN, "reference-server", "--background-job", "150ms", "--heavy-job", "0s"];
    let report = report(&User::new().run(&words(&amount, &options, &target)));
    let finish = jobs_finish(&report);
    assert_eq!(finish["verdict"], "inconclusive", "{report}");
    assert!(finish["reason"].as_str().unwrap().contains("can't be asked any more"), "{finish}");
}

#[test]
fn where_there_are_no_jobs_none_is_waited_for() {
    let options = ["--format", "json", "--env", "JOB_MS=0", "--situation", "job-running,idle"];
    let target = [BIN, "fixture", "correct"];
    let report = report(&User::new().run(&words(&["--trials", "4"], &options, &target)));
    assert_eq!(jobs_finish(&report)["verdict"], "not-applicable", "{report}");
    assert!(reasons(&report)[0].contains("looked like a job"), "{report}");
}

/// A page that takes no job is said to, and nothing is concluded from it.
#[test]
fn a_page_that_takes_no_job_is_named() {
    let report = check(&User::new(), "correct", &["--job-submit", "POST /nowhere"]);
    let reasons = reasons(&report).join("; ");
    assert!(reasons.contains("POST /nowhere was answered with 404"), "{report}");
}
