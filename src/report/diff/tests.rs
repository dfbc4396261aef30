//! Comparisons of hand-made reports: what is a change, what could be chance, what can't be compared.

use serde_json::{Value, json};

use super::*;
use crate::model::run::Environment;

const IN_FLIGHT: &str = "in-flight-requests-complete";
const IDLE_EXIT: &str = "idle-exit-is-prompt";

/// A report with these invariants, each with level and verdict, and with these trials.
fn report(invariants: &[(&str, &str, &str)], trials: Vec<Value>) -> RunReport {
    let violated = |id: &str| {
        trials.iter().filter(|it| it["violated"].as_array().unwrap().contains(&json!(id))).count()
    };
    let invariants: Vec<Value> = invariants
        .iter()
        .map(|(id, level, verdict)| {
            json!({
                "id": id, "level": level, "verdict": verdict, "trials": trials.len(),
                "trials_violated": violated(id), "exercised": 3 * trials.len(),
                "violations": violated(id), "rate_upper_bound_95": null,
                "rate_lower_bound_95": null, "reason": null, "evidence": [],
            })
        })
        .collect();
    serde_json::from_value(json!({
        "schema_version": "1.0", "tool": { "name": "shutdown-check", "version": "0.1.0" },
        "verdict": "satisfied", "exit_code": 0, "interrupted": null, "profile": "graceful",
        "seed": 7, "levels": "kernel",
        "target": { "command": ["./bin"], "url": null, "discovered": false, "requests": [] },
        "invariants": invariants, "coverage": [], "trials": trials,
        "timings": {
            "ready_ms": null, "drain_ms": null, "exit_ms": null, "refused_after_ms": null,
            "signal_error_us": null, "harness_lag_ms": null,
        },
        "pooled_clients": {
            "requests": 0, "failed_before_signal": 0, "failed_after_signal": 0, "errors": {},
        },
        "outcomes": {}, "plan": { "seed": 7, "trials": [] }, "configuration": {},
        "environment": {
            "os": "linux", "kernel": "6.12", "architecture": "x86_64", "processors": 2,
        },
        "started_at": "2026-11-22T10:01:07Z", "duration_ms": 1000.0,
    }))
    .unwrap()
}

fn trial(situation: &str, violated: &[&str], drain_ms: f64) -> Value {
    json!({
        "number": 1, "seed": 1, "situation": situation, "moment": "reached",
        "signals": [
            { "signal": "SIGTERM", "pid": 1, "at_ms": 1.0, "error_us": 0.0, "bracket_us": 1.0 },
        ],
        "verdict": "satisfied", "violated": violated,
        "exit": { "code": 0, "signal": null, "after_ms": drain_ms + 1.0 },
        "ready_ms": 1.0, "refused_after_ms": 0.5, "drain_ms": drain_ms, "ambiguous": 0,
        "harness_lag_ms": 0.1, "history": null,
    })
}

/// So many trials, of which so many fail.
fn trials(situation: &str, (failed, all): (usize, usize)) -> Vec<Value> {
    let of = |n| if n < failed { vec![IN_FLIGHT] } else { vec![] };
    // Drains differ a little from trial to trial.
    (0..all).map(|n| trial(situation, &of(n), 300.0 + (n * 7 % 11) as f64)).collect()
}

fn run(level: &str, failed: (usize, usize)) -> RunReport {
    let verdict = if failed.0 > 0 { "violated" } else { "satisfied" };
    report(&[(IN_FLIGHT, level, verdict)], trials("slow-handler", failed))
}

fn compared(before: &RunReport, after: &RunReport) -> DiffReport {
    let tool = Tool { name: "shutdown-check".into(), version: "0.1.0".into() };
    let found = diff(tool, ("a", before), ("b", after));
    for line in text(&found, true).lines() {
        assert!(line.chars().count() <= 80 && line == line.trim_end(), "{line:?}");
    }
    assert!(text(&found, false).is_ascii(), "{}", text(&found, false));
    found
}

fn change(before: &RunReport, after: &RunReport) -> (Change, u8) {
    let found = compared(before, after);
    (found.invariants[0].change, found.exit_code)
}

#[test]
fn what_is_the_same_is_nothing_to_talk_about() {
    let found = compared(&run("deny", (0, 12)), &run("deny", (0, 12)));
    assert_eq!((found.outcome, found.exit_code), (DiffOutcome::Same, 0));
    assert_eq!(found.unfair, []);
    assert!(text(&found, true).ends_with("\n  nothing changed that is more than chance\n"));
    assert_eq!(change(&run("warn", (3, 12)), &run("warn", (3, 12))), (Change::Same, 0));
}

#[test]
fn a_rate_that_could_be_chance_is_called_so() {
    let (before, after) = (run("deny", (3, 40)), run("deny", (0, 12)));
    assert_eq!(change(&before, &after), (Change::PerhapsBetter, 0));
    let told = text(&compared(&before, &after), true).replace("\n            ", " ");
    let expected = "better?   in-flight-requests-complete: 3 of 40 → 0 of 12 trials";
    assert!(told.contains(expected), "{told}");
    assert!(told.contains("could be chance (p = 1.00)"), "{told}");
    assert_eq!(change(&run("warn", (2, 40)), &run("warn", (3, 40))), (Change::PerhapsWorse, 0));
}

#[test]
fn what_is_more_than_chance_is_better_or_worse() {
    let (bad, good) = (run("deny", (20, 40)), run("deny", (0, 40)));
    assert_eq!(change(&bad, &good), (Change::Better, 0));
    assert_eq!(change(&good, &bad), (Change::Worse, 1));
    assert_eq!(change(&run("warn", (2, 40)), &run("warn", (30, 40))), (Change::Worse, 1));
    // What is only recorded makes nothing worse.
    assert_eq!(change(&run("allow", (2, 40)), &run("allow", (30, 40))), (Change::Worse, 0));
}

/// One trial of each of six kinds, of which so many fail, and of others that have nothing to lose.
fn six_kinds(failed: usize, ms: f64, (idle, idle_ms): (usize, f64)) -> RunReport {
    let kinds = ["slow-handler", "streaming", "uploading", "load", "mixed", "one-request"];
    let violated: &[&str] = if failed > 0 { &[IN_FLIGHT] } else { &[] };
    let mut all: Vec<Value> = kinds.iter().map(|kind| trial(kind, violated, ms)).collect();
    // What several signals break is not judged by what one breaks, but it is lost.
    for n in 0..16 {
        let mut again = trial("second-signal", &[], ms + f64::from(n));
        let outcome = if failed > 0 { "reset" } else { "completed" };
        again["outcomes"] = json!({ "processing": { outcome: 1 } });
        all.push(again);
    }
    all.extend((0..idle).map(|n| trial("idle", &[], idle_ms + n as f64)));
    let verdict = if failed > 0 { "violated" } else { "satisfied" };
    report(&[(IN_FLIGHT, "deny", verdict)], all)
}

/// As in a short run: together they are a table of six against six.
#[test]
fn kinds_that_both_reports_have_as_often_are_compared_together() {
    let (bad, mended) = (six_kinds(6, 3.0, (8, 3.0)), six_kinds(0, 800.0, (8, 3.0)));
    let found = compared(&bad, &mended);
    assert_eq!(found.invariants[0].change, Change::Better);
    assert!(found.invariants[0].p.unwrap() < 0.01, "{:?}", found.invariants[0]);
    assert_eq!(change(&mended, &bad), (Change::Worse, 1));
}

/// What always fails, or never does, tells nothing, and hides nothing either.
#[test]
fn kinds_that_always_fail_hide_no_change_in_others() {
    let kinds = ["load", "mixed", "streaming", "uploading", "delivered", "queued", "partial-head"];
    let of = |failed: usize| {
        let mut all: Vec<Value> = kinds.iter().flat_map(|kind| trials(kind, (6, 6))).collect();
        for kind in ["slow-handler", "one-request", "fresh"] {
            all.extend(trials(kind, (failed, 6)));
        }
        report(&[(IN_FLIGHT, "deny", "violated")], all)
    };
    assert_eq!(change(&of(0), &of(4)), (Change::Worse, 1));
    assert_eq!(change(&of(0), &of(0)), (Change::Same, 0));
    // One trial of each: ten that fail on both sides, ten that hold, and eight that fail newly.
    let single = |newly: usize| {
        let all = (0..28).map(|n| {
            let violated: &[&str] = if n < 10 + newly { &[IN_FLIGHT] } else { &[] };
            let mut trial = trial("slow-handler", violated, 300.0);
            trial["moment"] = json!(format!("+{n} ms"));
            trial
        });
        report(&[(IN_FLIGHT, "deny", "violated")], all.collect())
    };
    assert_eq!(change(&single(0), &single(8)), (Change::Worse, 1));
    assert_eq!(change(&single(8), &single(0)), (Change::Better, 0));
}

/// Most kinds are as quick as before, and one is not: their median says nothing of it.
#[test]
fn a_kind_of_trial_that_is_slower_by_itself_is_named() {
    let of = |ms: f64| {
        let usual = (0..40).map(|n| trial("load", &[], 300.0 + f64::from(n)));
        let slow = (0..10).map(|n| trial("stalled-reader", &[], ms + f64::from(n)));
        report(&[(IN_FLIGHT, "deny", "satisfied")], usual.chain(slow).collect())
    };
    let found = compared(&of(40.0), &of(25e3));
    assert_eq!((found.outcome, found.exit_code), (DiffOutcome::Worse, 1), "{:?}", found.times);
    let told = text(&found, true).replace("\n            ", " ");
    assert!(told.contains("stalled-reader, reached: 4"), "{told}");
    assert_eq!(compared(&of(40.0), &of(45.0)).outcome, DiffOutcome::Same);
    assert_eq!(compared(&of(25e3), &of(40.0)).outcome, DiffOutcome::Same);
}

#[test]
fn what_waits_for_its_requests_takes_longer_where_it_lost_them() {
    let found = compared(&six_kinds(6, 3.0, (8, 3.0)), &six_kinds(0, 800.0, (8, 3.0)));
    assert_eq!((found.outcome, found.exit_code), (DiffOutcome::Better, 0));
    let price =
        |it: &TimeDiff| it.change == Change::Changed && it.note.as_deref() == Some(times::PRICE);
    assert!(found.times.iter().any(price), "{:?}", found.times);
    // Where nothing was lost, that explains nothing; nor where nothing was mended.
    let idle = compared(&six_kinds(6, 3.0, (8, 3.0)), &six_kinds(0, 800.0, (8, 25e3)));
    assert_eq!((idle.outcome, idle.exit_code), (DiffOutcome::Worse, 1), "{:?}", idle.times);
    // One of many that lost something does not excuse the others, nor does what is lost still.
    let rare = |lost: usize, outcome: &str, exit_ms: f64| {
        let mut all: Vec<Value> =
            six_kinds(6 * lost, 3.0, (0, 0.0)).trials.iter().map(|it| json!(it)).collect();
        for n in 0..40 {
            let mut slow = trial("mixed-signals", &[], exit_ms + n as f64);
            if n == 0 || outcome == "reset" {
                slow["outcomes"] = json!({ "processing": { outcome: 1 } });
            }
            all.push(slow);
        }
        report(&[(IN_FLIGHT, "deny", if lost > 0 { "violated" } else { "satisfied" })], all)
    };
    for (before, after) in [("truncated", "completed"), ("reset", "reset")] {
        let found = compared(&rare(1, before, 3.0), &rare(0, after, 25e3));
        assert_eq!(found.outcome, DiffOutcome::Worse, "{before}, {after}: {:?}", found.times);
    }
    let few = |failed, ms, idle_ms| six_kinds(failed, ms, (3, idle_ms));
    let found = compared(&few(6, 3.0, 3.0), &few(0, 800.0, 25e3));
    assert!(found.times.iter().any(|it| it.change == Change::PerhapsWorse), "{:?}", found.times);
    let same = compared(&six_kinds(0, 3.0, (8, 3.0)), &six_kinds(0, 800.0, (8, 3.0)));
    assert_eq!(same.outcome, DiffOutcome::Worse, "{:?}", same.times);
}

#[test]
fn a_denied_invariant_that_is_newly_violated_is_worse_whatever_the_numbers_say() {
    let (before, after) = (run("deny", (0, 12)), run("deny", (1, 12)));
    let found = compared(&before, &after);
    assert_eq!((found.invariants[0].change, found.exit_code), (Change::Worse, 1));
    let told = text(&found, true).replace("\n            ", " ");
    assert!(told.contains("it held before, and one violation fails a run"), "{told}");
    assert_eq!(change(&run("warn", (0, 12)), &run("warn", (1, 12))), (Change::PerhapsWorse, 0));
}

#[test]
fn another_mixture_of_trials_is_no_change() {
    let mixed = |slow, idle| {
        let all = [trials("slow-handler", (slow / 2, slow)), trials("load", (0, idle))].concat();
        report(&[(IN_FLIGHT, "deny", "violated")], all)
    };
    assert_eq!(change(&mixed(40, 4), &mixed(4, 40)), (Change::Same, 0));
}

#[test]
fn a_kind_of_trial_that_got_worse_is_not_hidden_by_one_that_got_better() {
    let mixed = |slow, load| {
        let all = [trials("slow-handler", (slow, 20)), trials("load", (load, 20))].concat();
        report(&[(IN_FLIGHT, "deny", "violated")], all)
    };
    let found = compared(&mixed(2, 18), &mixed(18, 2));
    assert_eq!(found.invariants[0].change, Change::Worse);
    assert_eq!(found.invariants[0].cells.len(), 2);
    assert!(text(&found, true).contains("slow-handler (reached, SIGTERM)"));
}

#[test]
fn what_only_one_of_them_shows_is_not_compared() {
    let of = |verdict| report(&[(IN_FLIGHT, "deny", verdict)], trials("slow-handler", (0, 9)));
    assert_eq!(change(&of("satisfied"), &of("inconclusive")), (Change::NotComparable, 3));
    assert_eq!(change(&of("not-applicable"), &of("satisfied")), (Change::NotComparable, 3));
    // It is violated, whether or not it was before.
    let violated = run("deny", (3, 9));
    assert_eq!(change(&of("inconclusive"), &violated).0, Change::Worse);
    let elsewhere = report(&[(IN_FLIGHT, "warn", "violated")], trials("load", (3, 9)));
    let found = compared(&run("warn", (0, 9)), &elsewhere);
    assert_eq!((found.invariants[0].change, found.invariants[0].p), (Change::PerhapsWorse, None));
    let told = text(&found, true).replace("\n            ", " ");
    assert!(told.contains("no trial of that kind was there before"), "{told}");
}

#[test]
fn many_comparisons_are_corrected_for() {
    let ids: Vec<&str> = crate::invariants::CATALOGUE.iter().map(|it| it.id).take(12).collect();
    let of = |failed: usize| {
        let violated = |n| if n < failed { ids.clone() } else { vec![] };
        let all = (0..10).map(|n| trial("slow-handler", &violated(n), 1.0)).collect();
        let each: Vec<_> = ids.iter().map(|id| (*id, "warn", "violated")).collect();
        report(&each, all)
    };
    // Alone, 1 of 10 against 6 of 10 is not quite chance (p = 0.057); 7 of 10 is 0.02.
    let found = compared(&of(1), &of(7));
    assert!(found.invariants.iter().all(|it| it.change == Change::PerhapsWorse), "{found:#?}");
    assert_eq!(found.outcome, DiffOutcome::Same);
    let alone = compared(&run("warn", (1, 10)), &run("warn", (7, 10)));
    assert_eq!(alone.invariants[0].change, Change::Worse);
}

#[test]
fn a_slower_drain_is_worse_where_it_matters_and_the_machine_is_the_same() {
    let with = |more: f64| {
        let all = (0..12).map(|n| trial("slow-handler", &[], 300.0 + f64::from(n) + more));
        report(&[(IDLE_EXIT, "deny", "satisfied")], all.collect())
    };
    let drain = |before: &RunReport, after: &RunReport| {
        let found = compared(before, after);
        let drain = found.times.iter().find(|it| it.what == "drain").unwrap();
        (drain.change, found.exit_code)
    };
    assert_eq!(drain(&with(0.0), &with(3000.0)), (Change::Worse, 1));
    assert_eq!(drain(&with(3000.0), &with(0.0)), (Change::Better, 0));
    assert_eq!(drain(&with(0.0), &with(9.0)), (Change::Same, 0), "so little does not matter");
    let mut elsewhere = with(3000.0);
    elsewhere.environment = Environment { processors: Some(64), ..elsewhere.environment };
    assert_eq!(drain(&with(0.0), &elsewhere), (Change::PerhapsWorse, 0));
    let told = text(&compared(&with(0.0), &with(3000.0)), true).replace("\n            ", " ");
    assert!(told.contains("WORSE     drain: 305 ms → 3.31 s (medians), +3.00 s"), "{told}");
}

#[test]
fn a_process_that_hangs_now_is_worse_and_another_status_is_only_another() {
    let ends = |exit: Value| {
        let all = trials("slow-handler", (0, 12)).into_iter().map(|mut it| {
            it["exit"] = exit.clone();
            it
        });
        report(&[(IDLE_EXIT, "deny", "satisfied")], all.collect())
    };
    let clean = ends(json!({ "code": 0, "signal": null, "after_ms": 1.0 }));
    let other = ends(json!({ "code": 143, "signal": null, "after_ms": 1.0 }));
    let found = compared(&clean, &other);
    assert!(found.exits.iter().all(|it| it.change == Change::Changed), "{:#?}", found.exits);
    assert!(text(&found, true).contains("changed   exit 143: 0 of 12 → 12 of 12 trials"));
    assert_eq!(found.exit_code, 0);
    let hangs = compared(&clean, &ends(Value::Null)).exits;
    assert!(hangs.iter().any(|it| (&*it.end, it.change) == (ALIVE, Change::Worse)), "{hangs:#?}");
}

#[test]
fn what_makes_it_unfair_is_said_first() {
    let before = run("deny", (0, 12));
    let mut after = run("warn", (0, 12));
    after.target.command = vec!["./other".into()];
    after.tool.version = "0.2.0".into();
    after.configuration = json!({ "deadline": "10s", "seed": "8" });
    after.environment.kernel = Some("6.13".into());
    let found = compared(&before, &after);
    let what: Vec<_> = found.unfair.iter().map(|it| it.what.as_str()).collect();
    let level = "level of in-flight-requests-complete";
    assert_eq!(what, ["target", "version", "machine", level, "setting deadline"]);
    let text = text(&found, true);
    assert!(
        text.find("unfair    target: ./bin → ./other").unwrap() < text.find("nothing").unwrap()
    );
    assert!(markdown(&found).contains("- unfair: setting deadline: absent → \"10s\"\n"));
}

#[test]
fn what_a_target_wrote_is_no_markup() {
    let mut before = run("deny", (0, 12));
    before.target.command = vec!["<b>|@all".into()];
    let found = compared(&before, &run("deny", (0, 12)));
    assert!(markdown(&found).contains("&lt;b&gt;\\|@\u{200b}all"), "{}", markdown(&found));
}

#[test]
fn who_loses_requests_no_more_may_take_longer() {
    let quick = run("deny", (12, 12));
    let all = (0..12).map(|n| trial("slow-handler", &[], 3000.0 + f64::from(n)));
    let slow = report(&[(IN_FLIGHT, "deny", "satisfied")], all.collect());
    let found = compared(&quick, &slow);
    assert_eq!((found.outcome, found.exit_code), (DiffOutcome::Better, 0));
    assert!(found.times.is_empty(), "{:#?}", found.times);
}
