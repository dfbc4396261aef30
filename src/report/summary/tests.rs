//! The rules by which trials become a run.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::plan::{Plan, Situation};
use crate::model::run::{Environment, RunReport, TargetReport, Tool};
use crate::model::verdict::Profile;

const SEVERITIES: [(&str, Severity); 3] =
    [("denied", Severity::Deny), ("also-denied", Severity::Deny), ("warned", Severity::Warn)];

pub(super) fn facts() -> RunFacts {
    RunFacts {
        tool: Tool { name: "t".into(), version: "0".into() },
        profile: Profile::Graceful,
        severities: SEVERITIES.to_vec(),
        seed: 1,
        target: TargetReport {
            command: Vec::new(),
            url: None,
            discovered: false,
            parallelism: None,
            stack: None,
            requests: Vec::new(),
        },
        plan: Plan { seed: 1, trials: Vec::new() },
        search: None,
        until_bound: None,
        configuration: serde_json::Value::Null,
        environment: Environment {
            os: "linux".into(),
            kernel: None,
            architecture: "x86_64".into(),
            processors: None,
        },
        started_at: "2026-11-22T10:00:00Z".into(),
        duration_ms: 1.0,
        interrupted: None,
        retries: 0,
        deep: None,
        chosen: BTreeSet::new(),
        unreachable: BTreeMap::new(),
        partition: Default::default(),
        merged: None,
        histories: None,
    }
}

/// What a trial shows of one invariant, as the tests write it.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Held(u32),
    Failed(u32, u32),
    Nothing(&'static str),
    DoesNotApply,
}
use Says::{DoesNotApply, Failed, Held, Nothing};

pub(super) fn trial(number: u32, requests: u32, says: &[Says]) -> TrialSummary {
    let (mut shown, mut evidence) = (Vec::new(), Vec::new());
    for ((invariant, _), says) in SEVERITIES.iter().zip(says) {
        let (verdict, exercised, violations, reason) = match says {
            Held(exercised) => (VerdictName::Satisfied, *exercised, 0, None),
            Failed(violations, exercised) => (VerdictName::Violated, *exercised, *violations, None),
            Nothing(reason) => (VerdictName::Inconclusive, 0, 0, Some((*reason).to_owned())),
            DoesNotApply => (VerdictName::NotApplicable, 0, 0, Some("no occasion".to_owned())),
        };
        shown.push(Shown { invariant, verdict, exercised, violations, excused: false, reason });
        evidence.extend((0..violations.min(EVIDENCE_SHOWN as u32)).map(|place| Ranked {
            invariant,
            place: place as usize,
            evidence: Evidence {
                trial: number,
                message: format!("{invariant} {number}.{place}"),
                events: Vec::new(),
            },
        }));
    }
    TrialSummary {
        report: TrialReport {
            number,
            seed: 0,
            situation: Situation::Load,
            moment: "uniform".into(),
            control: false,
            as_pid_1: false,
            aside: false,
            missed: None,
            signals: Vec::new(),
            verdict: VerdictName::Satisfied,
            violated: Vec::new(),
            exit: None,
            ready_ms: Some(f64::from(requests)),
            refused_after_ms: None,
            listener_closed_after_ms: None,
            queue_emptied_after_ms: None,
            drain_ms: None,
            restarted_after_ms: None,
            writes_acknowledged: 0,
            requests,
            outcomes: BTreeMap::new(),
            ambiguous: 0,
            landmark_error_us: None,
            harness_lag_ms: 0.0,
            held_within_ms: None,
            shown: crate::model::search::Shown::default(),
            history: None,
        },
        exact: Some(true),
        shown,
        evidence,
        outcomes: BTreeMap::from([((Phase::Processing, "completed"), u64::from(requests))]),
        pooled: PooledClients::default(),
        repeats: false,
        to: SignalTo::Leader,
        signal: Some(Signal::TERM),
        broken: Vec::new(),
        processes: BTreeSet::new(),
        losses: BTreeMap::new(),
        asks_late: false,
    }
}

fn run(trials: &[TrialSummary]) -> RunReport {
    assemble(facts(), trials)
}

#[test]
fn one_violation_in_any_trial_is_a_violation() {
    let trials =
        [trial(1, 1, &[Held(10)]), trial(2, 1, &[Failed(2, 5)]), trial(3, 1, &[Nothing("none")])];
    let report = run(&trials);
    let denied = &report.invariants[0];
    assert_eq!(denied.verdict, VerdictName::Violated);
    assert_eq!((denied.trials, denied.trials_violated), (2, 1));
    assert_eq!((denied.exercised, denied.violations), (15, 2));
    assert!(denied.rate_lower_bound_95.unwrap() > 0.0);
    assert!(denied.rate_upper_bound_95.unwrap() > 2.0 / 15.0);
    assert_eq!((report.verdict, report.exit_code), (VerdictName::Violated, 1));
}

#[test]
fn one_satisfied_trial_is_enough_among_those_that_show_nothing() {
    let trials = [trial(1, 1, &[Nothing("none"), DoesNotApply]), trial(2, 1, &[Held(3), Held(1)])];
    let report = run(&trials);
    assert_eq!(report.invariants[0].verdict, VerdictName::Satisfied);
    assert_eq!(report.invariants[0].reason, None);
    assert_eq!(report.invariants[0].rate_lower_bound_95, None);
    assert_eq!(report.invariants[1].verdict, VerdictName::Satisfied);
    assert_eq!((report.verdict, report.exit_code), (VerdictName::Satisfied, 0));
}

#[test]
fn what_applies_and_was_never_exercised_makes_the_run_inconclusive() {
    let trials = [
        trial(1, 1, &[Nothing("rare"), Held(1)]),
        trial(2, 1, &[Nothing("usual"), Held(1)]),
        trial(3, 1, &[Nothing("usual"), Held(1)]),
    ];
    let report = run(&trials);
    let denied = &report.invariants[0];
    assert_eq!(denied.verdict, VerdictName::Inconclusive);
    assert_eq!(denied.reason.as_deref(), Some("usual"));
    assert_eq!((denied.rate_upper_bound_95, denied.trials), (None, 0));
    assert_eq!((report.verdict, report.exit_code), (VerdictName::Inconclusive, 3));
}

#[test]
fn what_does_not_apply_is_left_out_of_the_verdict() {
    let report = run(&[trial(1, 1, &[DoesNotApply, Held(1), Nothing("none")])]);
    assert_eq!(report.invariants[0].verdict, VerdictName::NotApplicable);
    assert_eq!(report.invariants[0].reason.as_deref(), Some("no occasion"));
    assert_eq!(report.exit_code, 0, "the inconclusive one only warns");
}

#[test]
fn sometimes_inapplicable_and_never_exercised_is_inconclusive() {
    let report = run(&[trial(1, 1, &[DoesNotApply]), trial(2, 1, &[Nothing("none")])]);
    assert_eq!(report.invariants[0].verdict, VerdictName::Inconclusive);
    assert_eq!(report.invariants[0].reason.as_deref(), Some("none"));
}

#[test]
fn nothing_at_all_is_never_a_pass() {
    let nothing = run(&[]);
    assert_eq!((nothing.verdict, nothing.exit_code), (VerdictName::Inconclusive, 3));
    assert!(nothing.invariants[0].reason.as_deref().unwrap().contains("--budget"));
    let inapplicable = run(&[trial(1, 1, &[DoesNotApply, DoesNotApply, Held(1)])]);
    assert_eq!(inapplicable.exit_code, 3);
    assert_eq!(nothing.timings.ready_ms, None);
}

#[test]
fn a_warning_fails_nothing() {
    let report = run(&[trial(1, 1, &[Held(1), Held(1), Failed(1, 1)])]);
    assert_eq!((report.verdict, report.exit_code), (VerdictName::Satisfied, 0));
    assert_eq!(report.invariants[2].verdict, VerdictName::Violated);
}

#[test]
fn an_interrupted_run_has_the_exit_code_of_its_signal() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let facts = RunFacts { interrupted: Some(signal), ..facts() };
        let report = assemble(facts, &[trial(1, 1, &[Failed(1, 1)])]);
        assert_eq!((report.exit_code, report.verdict), (code, VerdictName::Violated));
    }
}

#[test]
fn an_invariant_without_a_severity_is_denied() {
    assert_eq!(severity(&SEVERITIES, "warned"), Severity::Warn);
    assert_eq!(severity(&SEVERITIES, "unknown"), Severity::Deny);
}

#[test]
fn evidence_is_of_many_trials_and_of_the_smallest_first() {
    let messages = |report: &RunReport| -> Vec<String> {
        report.invariants[0].evidence.iter().map(|evidence| evidence.message.clone()).collect()
    };
    let few = [trial(1, 90, &[Failed(9, 9)]), trial(2, 10, &[Failed(2, 9)])];
    let expected = ["denied 2.0", "denied 1.0", "denied 2.1", "denied 1.1", "denied 1.2"];
    assert_eq!(messages(&run(&few)), expected);
    let many: Vec<_> = (1..=8).map(|n| trial(n, 100 - n, &[Failed(3, 3)])).collect();
    let expected = ["denied 8.0", "denied 7.0", "denied 6.0", "denied 5.0", "denied 4.0"];
    assert_eq!(messages(&run(&many)), expected);
}

#[test]
fn thinning_keeps_only_what_is_shown() {
    let mut trials: Vec<_> = (1..=100).map(|n| trial(n, n, &[Failed(5, 5)])).collect();
    let report = run(&trials);
    thin(&mut trials);
    assert_eq!(trials.iter().map(|trial| trial.evidence.len()).sum::<usize>(), EVIDENCE_SHOWN);
    assert_eq!(run(&trials), report);
}

#[test]
fn levels_are_the_kernel_s_only_where_all_are() {
    let mut trials = [trial(1, 1, &[]), trial(2, 1, &[]), trial(3, 1, &[])];
    trials[2].exact = None;
    assert_eq!(run(&trials).levels, crate::model::run::Levels::Kernel);
    trials[1].exact = Some(false);
    assert_eq!(run(&trials).levels, crate::model::run::Levels::Inferred);
    assert_eq!(run(&[]).levels, crate::model::run::Levels::Inferred);
}

#[test]
fn many_wordings_of_errors_are_put_together() {
    let errors: BTreeMap<_, _> = (1..=30u64).map(|n| (format!("error {n:02}"), n)).collect();
    let kept = most_frequent(errors);
    assert_eq!(kept.len(), WORDINGS_SHOWN + 1);
    assert_eq!((kept["error 30"], kept[OTHER_ERRORS]), (30, (1..=10).sum()));
    assert_eq!(most_frequent(kept.clone()).values().sum::<u64>(), kept.values().sum::<u64>());
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        (1u32..50).prop_map(Held),
        (1u32..9, 9u32..50).prop_map(|(violations, exercised)| Failed(violations, exercised)),
        prop_oneof![Just("one reason"), Just("another")].prop_map(Nothing),
        Just(DoesNotApply),
    ]
}

fn trials() -> impl Strategy<Value = Vec<TrialSummary>> {
    let one = (0u32..5, prop::collection::vec(says(), 3));
    prop::collection::vec(one, 0..12).prop_map(|trials| {
        let numbered = (1..).zip(trials);
        numbered.map(|(number, (requests, says))| trial(number, requests, &says)).collect()
    })
}

proptest! {
    #[test]
    fn the_order_in_which_trials_end_does_not_matter(
        (planned, ended) in trials().prop_flat_map(|t| (Just(t.clone()), Just(t).prop_shuffle())),
    ) {
        prop_assert_eq!(run(&planned), run(&ended));
    }

    #[test]
    fn thinning_at_any_time_changes_nothing(
        (planned, mut ended) in
            trials().prop_flat_map(|t| (Just(t.clone()), Just(t).prop_shuffle())),
        at in 0usize..12,
    ) {
        let at = at.min(ended.len());
        thin(&mut ended[..at]);
        prop_assert_eq!(run(&planned), run(&ended));
    }
}
