//! `selftest` says what is so: what it calls caught was caught, and a table that is wrong fails.
#![cfg(target_os = "linux")]

use std::path::Path;

use harness::{BIN, User, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use shutdown_check::cli::selftest::child::{Tried, try_once};
use shutdown_check::cli::selftest::score::{Outcome, Score};
use shutdown_check::cli::selftest::table::{Line, TABLE};
use shutdown_check::trial::interrupt::interrupt;

#[allow(dead_code, reason = "each file of tests uses its part")]
mod harness;

#[test]
fn a_target_for_the_other_tests() {
    harness::roles::play();
}

fn line(name: &str) -> Line {
    *TABLE.iter().find(|line| line.name == name).unwrap()
}

#[test]
fn a_defect_is_caught_and_a_correct_server_accused_of_nothing() {
    let ended = User::new().run(&["selftest", "exits-nonzero", "worker", "--format", "json"]);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(ended.code(), 0, "{said:#}");
    let of = |key: &str| said[key].as_u64().unwrap();
    assert_eq!((of("planted"), of("caught"), of("correct")), (1, 1, 1), "{said:#}");
    assert_eq!((of("accused_wrongly"), of("not_shown")), (0, 0), "{said:#}");
    let first = said["scores"].as_array().unwrap().iter();
    let first = first.map(|score| score["caught_in_trial"].as_u64().is_some());
    // In the order of the table.
    assert_eq!(first.collect::<Vec<_>>(), [false, true], "{said:#}");
}

/// One run over a real server, held against its own line and against lines that are wrong.
#[test]
fn a_line_that_is_wrong_is_not_met() {
    let (_interrupter, nobody) = interrupt();
    let right = Line {
        options: &["--deadline", "4s", "--situation", "load,streaming", "--trials", "4"],
        ..line("drops_in_flight")
    };
    let tried = try_once(&right, Path::new(BIN), (1, 2), &nobody).unwrap();
    let scored = |line: Line| Score::of(&line, &tried);
    assert!(scored(right).is_as_expected(), "{:?}", scored(right));
    let missed = scored(Line { violated: &["no-job-starts-after-signal"], ..right });
    let Outcome::Otherwise { missed, accused, .. } = &missed.result else {
        panic!("{missed:?}");
    };
    assert_eq!(missed, &["no-job-starts-after-signal"]);
    assert_eq!(accused, &right.violated);
    let accused = scored(Line { violated: &["in-flight-requests-complete"], ..right });
    assert!(accused.is_accused_wrongly() && !accused.is_as_expected(), "{accused:?}");
    let clean = scored(Line { violated: &[], exit_code: 0, ..right });
    assert!(clean.is_accused_wrongly(), "{clean:?}");
    let other_code = scored(Line { exit_code: 0, ..right });
    assert!(!other_code.is_as_expected(), "{other_code:?}");
}

#[test]
fn a_server_that_does_not_start_is_no_success() {
    let (_interrupter, nobody) = interrupt();
    let missing = Line { fixture: "no-such-fixture", ..line("correct") };
    let tried = try_once(&missing, Path::new(BIN), (1, 2), &nobody).unwrap();
    assert!(matches!(tried, Tried::Nothing(_)), "{tried:?}");
    let score = Score::of(&missing, &tried);
    assert!(matches!(score.result, Outcome::NotShown { .. }), "{score:?}");
}

#[test]
fn an_unknown_name_is_refused() {
    let ended = User::new().run(&["selftest", "drops-in-fligth"]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("did you mean \"drops-in-flight\"?"), "{}", ended.stderr);
}

/// `hangs-past-deadline` is one that would go on for long.
#[test]
fn an_interrupted_selftest_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let user = User::new();
        let running = user.start(&["selftest", "hangs-past-deadline", "correct"]);
        wait_until("a bundled server", || {
            let all = user.processes();
            all.iter().any(|it| it.ends_with("fixture hangs-past-deadline")).then_some(())
        });
        running.signal(signal);
        let ended = running.wait();
        user.wait_for_the_last_process();
        let is_told = signal == Signal::SIGKILL || ended.code() == 130;
        assert!(is_told, "{ended:?}");
    }
}
