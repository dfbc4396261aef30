//! What is a difference, and what is not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::seen::{Invariant, Part, Requests};
use super::*;
use crate::model::plan::Situation;
use crate::model::snapshot::{Fate, Share, Span};
use crate::model::verdict::{Profile, Severity, VerdictName};

const ID: &str = "in-flight-requests-complete";

fn verdict(verdict: VerdictName, trials: u64, violated: u64) -> Seen {
    let invariant = Invariant { level: Severity::Deny, verdict, trials, violated };
    Seen { invariants: BTreeMap::from([(ID.into(), invariant)]), ..Seen::default() }
}

fn satisfied(trials: u64) -> Seen {
    verdict(VerdictName::Satisfied, trials, 0)
}

fn violated(trials: u64, violated: u64) -> Seen {
    verdict(VerdictName::Violated, trials, violated)
}

fn times(times: &[f64]) -> Seen {
    Seen { times: BTreeMap::from([("drain".into(), times.to_vec())]), ..Seen::default() }
}

/// Of so many trials, those in which all requests were lost, or turned away.
fn requests(trials: u64, lost: u64, turned_away: u64) -> Seen {
    let part = |trials| Part { some: trials, all: trials };
    let (lost, turned_away) = (part(lost), part(turned_away));
    let key = (Situation::SlowHandler, "in-process".to_owned());
    let requests = Requests { trials, lost, turned_away };
    Seen { requests: BTreeMap::from([(key, requests)]), ..Seen::default() }
}

/// What is said of the second run, compared with the snapshot of the first.
fn told(first: &Seen, second: &Seen) -> Vec<String> {
    let comparison = compare(&first.snapshot(), second);
    let report = SnapshotReport {
        file: "x".into(),
        state: SnapshotState::Differs,
        compared: comparison.compared,
        differences: comparison.differences,
        notes: comparison.notes,
        content: None,
    };
    lines(&report)
}

#[test]
fn a_regression_is_named_in_words() {
    insta::assert_snapshot!(told(&satisfied(9), &violated(30, 2)).join("\n"), @"in-flight-requests-complete: satisfied → violated (in 2 of 30 trials, which fails the run anyway)");
    insta::assert_snapshot!(told(&requests(40, 0, 0), &requests(40, 1, 0)).join("\n"), @"slow-handler.in-process: completed → some lost (of requests in process, some lost in 1 of 40 trials, turned away in 0)");
    let [quick, slow] = [&[0.2; 9], &[3.2; 9]].map(|it| times(it));
    insta::assert_snapshot!(told(&quick, &slow).join("\n"), @"drain: under 1 s → 2 to 5 s (the median of 9 trials is 3.20 s)");
}

#[test]
fn what_was_not_exercised_makes_no_difference_and_is_said() {
    let nothing = verdict(VerdictName::Inconclusive, 0, 0);
    let no_occasion = verdict(VerdictName::NotApplicable, 0, 0);
    for other in [&nothing, &no_occasion] {
        assert_eq!(told(&satisfied(9), other), Vec::<String>::new());
        assert_eq!(told(other, &satisfied(9)), Vec::<String>::new());
        assert_eq!(told(other, &violated(9, 9)).len(), 1);
        let notes = compare(&satisfied(9).snapshot(), other).notes;
        assert_eq!(notes, [format!("not exercised in this run: {ID}")]);
    }
    assert_eq!(compare(&satisfied(9).snapshot(), &nothing).compared, 2, "profile and signals");
}

#[test]
fn what_fails_by_chance_may_hold_by_chance() {
    assert_eq!(told(&violated(30, 3), &satisfied(9)), Vec::<String>::new());
    assert_eq!(told(&violated(30, 3), &violated(9, 9)), Vec::<String>::new());
    assert_eq!(told(&violated(4, 4), &satisfied(9)), Vec::<String>::new(), "four are few");
    assert_eq!(told(&violated(9, 9), &satisfied(4)), Vec::<String>::new(), "four are few");
    assert_eq!(told(&violated(9, 9), &satisfied(9)).len(), 1, "it was mended");
    assert_eq!(told(&requests(40, 3, 0), &requests(40, 0, 0)), Vec::<String>::new());
    assert_eq!(told(&requests(40, 3, 0), &requests(40, 40, 0)), Vec::<String>::new());
    assert_eq!(told(&requests(40, 40, 0), &requests(40, 0, 0)).len(), 1, "it was mended");
    assert_eq!(told(&requests(40, 0, 0), &requests(40, 0, 2)).len(), 1);
}

/// What only warns, and came once in many trials, the run of the snapshot may have missed.
#[test]
fn a_rarity_that_fails_no_run_is_said_and_is_no_difference() {
    let warns = |mut seen: Seen| {
        seen.invariants.get_mut(ID).unwrap().level = Severity::Warn;
        seen
    };
    let (held, unknown) = (warns(satisfied(30)), warns(verdict(VerdictName::NotApplicable, 0, 0)));
    for (part, of, differs) in [(1, 30, false), (1, 3, false), (1, 2, true), (2, 30, true)] {
        let rare = warns(violated(of, part));
        for was in [&held, &unknown] {
            assert_eq!(told(was, &rare).len(), usize::from(differs), "{part} of {of}");
        }
        let notes = compare(&held.snapshot(), &rare).notes;
        assert_eq!(notes.iter().any(|it| it.contains("too seldom")), !differs, "{notes:?}");
        // What fails a run is a difference even once.
        assert_eq!(told(&satisfied(30), &violated(of, part)).len(), 1);
        // And a rarity is not accepted by the way.
        for was in [&held, &unknown] {
            let is_kept = updated(&was.snapshot(), &rare) != was.snapshot();
            assert_eq!(is_kept, differs, "{part} of {of}");
        }
    }
    let notes = compare(&unknown.snapshot(), &warns(violated(30, 1))).notes;
    let expected = "was violated in 1 of 30 trials: too seldom to tell from none, and not kept";
    assert_eq!(notes, [format!("{ID} {expected}")]);
}

#[test]
fn a_time_differs_only_where_it_is_clearly_outside() {
    let of = |seconds: f64| times(&[seconds; 9]);
    for (was, is) in [(0.9, 1.1), (1.1, 0.9), (0.9, 1.49), (1.9, 2.9), (2.1, 1.4), (0.0001, 0.9)] {
        assert_eq!(told(&of(was), &of(is)), Vec::<String>::new(), "{was} and {is}");
    }
    for (was, is) in [(0.9, 1.6), (0.9, 3.5), (1.9, 3.1), (2.1, 1.3), (30.0, 2.0), (2.0, 30.0)] {
        assert_eq!(told(&of(was), &of(is)).len(), 1, "{was} and {is}");
    }
    // Of a few, the longest may not have been seen.
    let few = times(&[0.9; 3]);
    assert_eq!(few.snapshot().times["drain"], Span { from: 0, to: Some(2) });
    assert_eq!(told(&few, &of(2.5)), Vec::<String>::new());
    assert_eq!(told(&few, &of(3.5)).len(), 1);
}

#[test]
fn a_time_that_is_spread_is_no_difference_by_chance() {
    // A job of 15 s that the signal meets anywhere.
    let spread: Vec<f64> = (0..20).map(|turn| f64::from(turn) * 0.75).collect();
    let snapshot = times(&spread).snapshot();
    assert_eq!(snapshot.times["drain"], Span { from: 0, to: Some(20) });
    for median in [1.0, 7.0, 14.9] {
        assert_eq!(compare(&snapshot, &times(&[median; 5])).differences, []);
    }
}

#[test]
fn another_end_and_other_settings_are_differences() {
    let ends = |ends: &[&str]| Seen {
        exits: ends.iter().map(|end| (*end).to_owned()).collect(),
        ..Seen::default()
    };
    insta::assert_snapshot!(told(&ends(&["0"]), &ends(&["0", "101"])).join("\n"), @"exit-status: 0 → 0, 101 (101 is new)");
    assert_eq!(told(&ends(&["0", "101"]), &ends(&["0"])), Vec::<String>::new());
    let strict = Seen { profile: Profile::Strict, ..Seen::default() };
    insta::assert_snapshot!(told(&Seen::default(), &strict).join("\n"), @"profile: graceful → strict (the run was set otherwise)");
    let mut warns = satisfied(9);
    warns.invariants.get_mut(ID).unwrap().level = Severity::Warn;
    insta::assert_snapshot!(told(&satisfied(9), &warns).join("\n"), @"in-flight-requests-complete (level): deny → warn (what its violation does is set otherwise)");
}

#[test]
fn a_file_is_read_as_it_was_written_and_reviewed_line_by_line() {
    let mut seen = Seen {
        signals: BTreeSet::from(["SIGTERM".to_owned()]),
        exits: BTreeSet::from(["0".to_owned()]),
        situations: BTreeSet::from([Situation::Idle, Situation::SlowHandler]),
        requests: requests(9, 2, 9).requests,
        times: times(&[0.1; 9]).times,
        ..satisfied(9)
    };
    let level = Severity::Warn;
    let warns = Invariant { level, verdict: VerdictName::Violated, trials: 9, violated: 9 };
    seen.invariants.insert("queued-connections-are-served".into(), warns);
    let text = render(&seen.snapshot());
    assert_eq!(parse(&text), Ok(seen.snapshot()));
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_no_snapshot_says_where_and_why() {
    let text = render(&satisfied(9).snapshot());
    let error = |from: &str, to: &str| parse(&text.replace(from, to)).unwrap_err();
    insta::assert_snapshot!(error("format = 1", "format = 2"), @"its format is 2, and this program reads 1");
    insta::assert_snapshot!(error("\"satisfied\"", "\"fine\""), @r#"line 12: "fine" is no verdict: satisfied, violated, always violated"#);
    assert!(error("profile", "profil").starts_with("line 5: unknown field `profil`"));
    assert!(parse("<<<<<<< HEAD\n").unwrap_err().starts_with("line 1: "));
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let verdicts = prop::sample::select(vec![
        (VerdictName::NotApplicable, 0, 0),
        (VerdictName::Inconclusive, 0, 0),
        (VerdictName::Satisfied, 1, 0),
        (VerdictName::Satisfied, 30, 0),
        (VerdictName::Violated, 30, 1),
        (VerdictName::Violated, 30, 2),
        (VerdictName::Violated, 30, 30),
        (VerdictName::Violated, 2, 2),
    ]);
    let levels = prop::sample::select(vec![Severity::Deny, Severity::Warn]);
    let amounts = (1u64..20, 0u64..20, 0u64..20);
    let fates = prop::option::of(amounts.prop_map(|(all, lost, turned_away)| {
        requests(all, lost.min(all), turned_away.min(all - lost.min(all))).requests
    }));
    let spans = prop::option::of(prop::collection::vec(0.0..700.0, 3..20));
    let exits = prop::collection::btree_set(prop::sample::select(vec!["0", "143"]), 0..2);
    (verdicts, levels, fates, spans, exits).prop_map(|(shown, level, fates, spans, exits)| {
        let mut seen = verdict(shown.0, shown.1, shown.2);
        seen.invariants.get_mut(ID).unwrap().level = level;
        seen.requests = fates.unwrap_or_default();
        seen.exits = exits.into_iter().map(str::to_owned).collect();
        if let Some(mut spans) = spans {
            spans.sort_by(f64::total_cmp);
            seen.times = times(&spans).times;
        }
        seen
    })
}

proptest! {
    #[test]
    fn a_run_is_no_difference_to_itself(seen in any_seen()) {
        prop_assert_eq!(compare(&seen.snapshot(), &seen).differences, []);
        prop_assert_eq!(parse(&render(&seen.snapshot())), Ok(seen.snapshot()));
    }

    #[test]
    fn what_was_accepted_is_no_difference_any_more(first in any_seen(), second in any_seen()) {
        let accepted = updated(&first.snapshot(), &second);
        prop_assert_eq!(compare(&accepted, &second).differences, []);
    }

    #[test]
    fn what_is_no_difference_is_not_rewritten(first in any_seen(), second in any_seen()) {
        let known = first.snapshot();
        let Comparison { differences, .. } = compare(&known, &second);
        let accepted = updated(&known, &second);
        // Only what the first run had not shown at all comes on top.
        let mut of_known = accepted.clone();
        of_known.exits.retain(|end| known.exits.contains(end));
        of_known.invariants.retain(|id, _| known.invariants.contains_key(id));
        of_known.requests.retain(|key, _| known.requests.contains_key(key));
        of_known.times.retain(|key, _| known.times.contains_key(key));
        if differences.is_empty() {
            prop_assert_eq!(of_known, known);
        }
    }
}

#[test]
fn shares_need_enough_to_be_all() {
    let fate = |all, lost| requests(all, lost, 0).snapshot().requests.into_values().next().unwrap();
    assert_eq!(fate(4, 4), Fate { lost: Share::Some, turned_away: Share::None });
    assert_eq!(fate(5, 5), Fate { lost: Share::All, turned_away: Share::None });
    assert_eq!(fate(5, 0), Fate::default());
}
