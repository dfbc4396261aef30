//! Laws of planning: a plan follows from its seed and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use shutdown_check::model::partition::Partition;
use shutdown_check::model::plan::{Arrivals, Moment, Plan, SignalTo, Situation};
use shutdown_check::model::search::{Kind, Shown};
use shutdown_check::model::signal::Signal;
use shutdown_check::plan::search::Search;
use shutdown_check::plan::{PlanOptions, ROUND_TRIALS, plan, round, trial};

fn options() -> impl Strategy<Value = PlanOptions> {
    let signals = prop::collection::vec((1..=64i32).prop_map(signal), 0..4);
    let to = prop_oneof![Just(SignalTo::Leader), Just(SignalTo::Listener), Just(SignalTo::Group)];
    let to = prop::option::of(to);
    let arrivals =
        prop::option::of((0.1..5000.0f64).prop_map(|rate| Arrivals::Open { per_second: rate }));
    let window = (0..2_000_000u64, 0..2_000_000u64)
        .prop_map(|(a, b)| (Duration::from_micros(a), Duration::from_micros(a + b)));
    (any::<u64>(), signals, to, 1..=10_000u16, arrivals, window).prop_map(
        |(seed, signals, signal_to, connections, arrivals, window)| PlanOptions {
            signals,
            signal_to,
            connections,
            arrivals,
            window,
            ..PlanOptions::new(seed)
        },
    )
}

/// What trials have shown: few kinds of outcome, so that some come again.
fn shown() -> impl Strategy<Value = Shown> {
    let flags = any::<(bool, bool, bool, bool)>();
    (0..4u32, flags, 0..3000u32).prop_map(|(kind, (missed, violated, denied, lost), took_ms)| {
        let outcome = kind.to_string();
        Shown { outcome, missed, violated, denied: violated && denied, lost, took_ms }
    })
}

fn signal(number: i32) -> Signal {
    Signal::from_number(number).expect("1 to 64")
}

/// Options for loads and nothing else.
fn loads(seed: u64) -> PlanOptions {
    PlanOptions { situations: vec![Situation::Load], ..PlanOptions::new(seed) }
}

fn after(moment: Moment) -> Duration {
    match moment {
        Moment::Uniform { after } => after,
        other => panic!("{other:?} is at no planned time"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_same_seed_draws_the_same_plan(options in options(), trials in 0..24u32) {
        prop_assert_eq!(plan(&options, trials), plan(&options.clone(), trials));
    }

    #[test]
    fn a_plan_begins_every_longer_one(options in options(), trials in 0..24u32) {
        let longer = plan(&options, trials + 1);
        prop_assert_eq!(&plan(&options, trials).trials[..], &longer.trials[..trials as usize]);
        prop_assert_eq!(longer.trials.last(), Some(&trial(&options, trials + 1)));
    }

    /// Together they are the whole, and none has what another has.
    #[test]
    fn slices_together_are_the_whole_plan(
        options in options(), trials in 0..150u32, count in 1..12u32, situations in 0..23usize,
    ) {
        // Some plans consist of a few situations only.
        let situations = Situation::ALL.into_iter().skip(situations).collect();
        let options = PlanOptions { situations, ..options };
        let slice = |index| PlanOptions {
            partition: Partition::new(index, count).unwrap(), ..options.clone()
        };
        let mut all: Vec<_> =
            (1..=count).flat_map(|index| plan(&slice(index), trials).trials).collect();
        all.sort_by_key(|trial| trial.number);
        prop_assert_eq!(all, plan(&options, trials).trials);
    }

    /// A search divides what there is to be tried: a slice's first round is that of its plan, no two
    /// slices ever try the same, and none gives a trial a number that another one has.
    #[test]
    fn slices_search_each_a_part_of_their_own(
        options in options(), count in 1..6u32, outcomes in prop::collection::vec(shown(), 1..60),
    ) {
        let (mut numbers, mut kinds) = (HashMap::new(), HashMap::new());
        for index in 1..=count {
            let partition = Partition::new(index, count).unwrap();
            let mut search = Search::new(PlanOptions { partition, ..options.clone() });
            for shown in &outcomes {
                let Some(choice) = search.next(&|_| true) else { break };
                search.begin(&choice.trial);
                search.end(&choice.trial, shown);
                prop_assert_eq!(numbers.insert(choice.trial.number, index), None);
                let owner = *kinds.entry(format!("{:?}", Kind::of(&choice.trial))).or_insert(index);
                prop_assert_eq!(owner, index);
            }
            let slice = PlanOptions { partition, ..options.clone() };
            let (whole, own) = (round(&slice), plan(&slice, round(&slice)));
            for number in numbers.iter().filter(|it| *it.1 == index && *it.0 <= whole) {
                prop_assert!(own.trials.iter().any(|trial| trial.number == *number.0));
            }
        }
    }

    #[test]
    fn another_seed_draws_another_plan(options in options(), other in any::<u64>()) {
        prop_assume!(options.seed != other);
        let again = PlanOptions { seed: other, ..options.clone() };
        let seeds = |plan: Plan| plan.trials.iter().map(|t| t.seed).collect::<Vec<_>>();
        prop_assert_ne!(seeds(plan(&options, 2)), seeds(plan(&again, 2)));
    }

    #[test]
    fn every_moment_is_inside_the_window(options in options(), number in 1..=u32::MAX) {
        let (from, to) = options.window;
        let options = PlanOptions { situations: vec![Situation::Load], ..options };
        for planned in trial(&options, number).signals {
            let after = after(planned.moment);
            prop_assert!(from <= after && after <= to, "{after:?}");
        }
    }

    #[test]
    fn a_plan_survives_being_written_and_read(options in options()) {
        let drawn = plan(&options, 3);
        let text = serde_json::to_string(&drawn).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), drawn);
    }

    #[test]
    fn the_load_stays_bounded(seed in any::<u64>(), number in 1..1000u32, connections in 1..=10_000u16) {
        let options = PlanOptions { connections, ..loads(seed) };
        let Arrivals::Closed { pause } = trial(&options, number).load.arrivals else {
            return Err(TestCaseError::fail("no rate was asked for"));
        };
        let slowest = Duration::from_millis(5) * u32::from(connections.max(16));
        prop_assert!(pause * 16 >= slowest, "{pause:?} is more than 3200 requests a second");
    }

    /// Whatever was shown, in whatever order trials ended, and however many are still under way.
    #[test]
    fn the_same_seed_and_outcomes_give_the_same_next_trial(
        options in options(),
        outcomes in prop::collection::vec(prop::option::weighted(0.8, shown()), 0..90),
    ) {
        let (mut search, mut begun) = (Search::new(options.clone()), Vec::new());
        for outcome in &outcomes {
            let choice = search.next(&|_| true).expect("everything is open");
            search.begin(&choice.trial);
            outcome.iter().for_each(|shown| search.end(&choice.trial, shown));
            begun.push(choice.trial);
        }
        let mut again = Search::new(options);
        begun.iter().for_each(|trial| again.begin(trial));
        for (trial, outcome) in begun.iter().zip(&outcomes).rev() {
            outcome.iter().for_each(|shown| again.end(trial, shown));
        }
        prop_assert_eq!(search.next(&|_| true), again.next(&|_| true));
        prop_assert_eq!(search.standings(), again.standings());
        let mut numbers: Vec<_> = begun.iter().map(|trial| trial.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), begun.len(), "each trial has a number of its own");
    }

    #[test]
    fn a_few_trials_cover_the_window_evenly(seed in any::<u64>()) {
        let options = PlanOptions { signals: vec![Signal::TERM, Signal::INT], ..loads(seed) };
        let mut eighths: HashMap<(Signal, u128), u32> = HashMap::new();
        for trial in plan(&options, 16).trials {
            let planned = &trial.signals[0];
            let eighth = (after(planned.moment) - options.window.0).as_millis() / 50;
            *eighths.entry((planned.signal, eighth)).or_default() += 1;
        }
        prop_assert_eq!(eighths.len(), 16, "each signal in each eighth of the window");
    }
}

#[test]
fn the_signals_take_turns() {
    let options = PlanOptions { signals: vec![Signal::TERM, Signal::INT], ..PlanOptions::new(42) };
    let signals: Vec<_> = plan(&options, 5).trials.iter().map(|t| t.signals[0].signal).collect();
    assert_eq!(signals, [Signal::TERM, Signal::INT, Signal::TERM, Signal::INT, Signal::TERM]);
}

/// The plan of a run with writes: every situation soon, each held one with each pause, and its
/// controls with the same pauses.
#[test]
fn three_rounds_try_everything() {
    let situations = Situation::ALL.to_vec();
    let options = PlanOptions { situations, writes: true, ..PlanOptions::new(42) };
    let mut tried: HashMap<(Situation, bool, String), u32> = HashMap::new();
    for trial in plan(&options, 3 * (ROUND_TRIALS as u32 + 1)).trials {
        let cell = (trial.situation, trial.is_control(), trial.moment());
        *tried.entry(cell).or_default() += 1;
    }
    for situation in Situation::ALL {
        let of = |control| tried.keys().filter(|c| (c.0, c.1) == (situation, control)).count();
        let (moments, controls) = match situation {
            Situation::OneRequest | Situation::JobRunning => (3, 0),
            // Visited twice a round.
            Situation::Startup => (5, 0),
            // Each with another number of requests.
            Situation::SlowHandler => (3, 0),
            // The first of their gaps, and those that are drawn.
            Situation::SecondSignal | Situation::SignalBurst | Situation::MixedSignals => (2, 0),
            held if held.is_held() => (3, 3),
            _ => (1, 0),
        };
        assert_eq!((of(false), of(true)), (moments, controls), "{}", situation.name());
    }
}

/// What comes while the target starts, and what comes again, is drawn before anything is started.
#[test]
fn moments_of_the_start_and_of_later_signals_are_in_the_plan() {
    let situations = vec![Situation::Startup, Situation::SecondSignal];
    let options = PlanOptions { situations, ..PlanOptions::new(42) };
    let drawn: Vec<_> = plan(&options, 8)
        .trials
        .iter()
        .map(|trial| {
            let moments: Vec<_> = trial.signals.iter().map(|it| it.moment.text()).collect();
            format!("{}: {}", trial.situation.name(), moments.join(", "))
        })
        .collect();
    insta::assert_debug_snapshot!(drawn, @r#"
    [
        "second-signal: reached, again +100 ms",
        "startup: handler +0.057 ms",
        "startup: start 5.2 %",
        "second-signal: reached",
        "second-signal: reached, again +60 µs",
        "startup: listening +0.038 ms",
        "startup: ready -0.07 ms",
        "second-signal: reached",
    ]
    "#);
}

/// Where writes are declared, each of them is to be there after a second start; otherwise a few
/// starts show whether there can be one.
#[test]
fn some_trials_start_the_target_again_and_with_writes_all_do() {
    let round = |writes| {
        let options = PlanOptions { situations: vec![], writes, ..PlanOptions::new(42) };
        plan(&options, ROUND_TRIALS as u32 + 1).trials
    };
    let few = round(false).into_iter().filter(|it| it.restart).map(|it| it.situation);
    let few: Vec<_> = few.collect();
    assert!(few.iter().filter(|it| **it == Situation::Load).count() >= 2, "{few:?}");
    assert!(!few.contains(&Situation::Writes) && !few.contains(&Situation::SlowHandler));
    for trial in round(true) {
        let is_ready = trial.situation != Situation::Startup;
        assert_eq!(trial.restart, is_ready && !trial.is_control(), "{trial:?}");
    }
}

#[test]
fn nothing_chosen_means_the_usual() {
    let options = PlanOptions { signals: vec![], situations: vec![], ..PlanOptions::new(42) };
    assert_eq!(trial(&options, 1).signals[0].signal, Signal::TERM);
    assert_eq!(trial(&options, 1).situation, Situation::Load);
}

/// Plans are printed, committed and run again: a change of these lines changes everybody's.
#[test]
fn a_plan_is_the_same_in_every_version() {
    insta::assert_json_snapshot!(trial(&PlanOptions::new(42), 1), @r#"
    {
      "number": 1,
      "seed": 7548353771587863,
      "situation": "load",
      "load": {
        "connections": 16,
        "arrivals": {
          "loop": "closed",
          "pause_ms": 5.0
        },
        "keep_alive_percent": 50,
        "pooled_clients": 1
      },
      "signals": [
        {
          "signal": "SIGTERM",
          "to": "leader",
          "moment": {
            "kind": "uniform",
            "after_ms": 548.728
          }
        }
      ],
      "restart": true
    }
    "#);
}
