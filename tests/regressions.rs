//! Laws of what is written for people and read again: moments, and the entries of the regressions
//! file.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use shutdown_check::model::moment::{JobLandmark, Landmark, Moment};
use shutdown_check::model::plan::{
    Arrivals, Hold, LoadShape, PlannedSignal, SignalTo, Situation, Trial,
};
use shutdown_check::model::regressions::{Found, Regression, Regressions};
use shutdown_check::model::reproduction::Rate;
use shutdown_check::model::signal::Signal;
use shutdown_check::model::start::{StartLandmark, StartMoment};
use shutdown_check::plan::{PlanOptions, plan};

fn time() -> impl Strategy<Value = Duration> {
    let any = (0..100_000u64, 0..1_000_000_000u32).prop_map(|(s, ns)| Duration::new(s, ns));
    let round = (0..100_000u64).prop_map(Duration::from_millis);
    let fine = (0..2_000_000u64).prop_map(Duration::from_micros);
    prop_oneof![any, round, fine]
}

fn moment() -> impl Strategy<Value = Moment> {
    let near = (select(&StartLandmark::ALL[..]), any::<i32>()).prop_map(|(landmark, us)| {
        Moment::Start(StartMoment::Near { landmark, offset_us: us.into() })
    });
    prop_oneof![
        time().prop_map(|after| Moment::Uniform { after }),
        Just(Moment::Reached),
        select(&Landmark::ALL[..]).prop_map(|landmark| Moment::Landmark { landmark }),
        time().prop_map(|gap| Moment::AfterPrevious { gap }),
        near,
        (0..=1000u16).prop_map(|permille| Moment::Start(StartMoment::Within { permille })),
        select(&JobLandmark::ALL[..]).prop_map(|landmark| Moment::Job { landmark }),
    ]
}

fn signal() -> impl Strategy<Value = PlannedSignal> {
    let number = (1..=64).prop_map(|number| Signal::from_number(number).unwrap());
    (number, select(&SignalTo::ALL[..]), moment()).prop_map(|(signal, to, moment)| PlannedSignal {
        signal,
        to,
        moment,
    })
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        time().prop_map(|pause| Arrivals::Closed { pause }),
        (0.001..100_000.0).prop_map(|per_second| Arrivals::Open { per_second }),
    ]
}

fn trial() -> impl Strategy<Value = Trial> {
    let load = (any::<u16>(), arrivals(), 0..=100u8, any::<u16>());
    let load = load.prop_map(|(connections, arrivals, keep_alive_percent, pooled_clients)| {
        LoadShape { connections, arrivals, keep_alive_percent, pooled_clients }
    });
    let hold = prop::option::of(time().prop_map(|pause| Hold { pause }));
    let asks = prop::option::of("[A-Z]{3,7} /\\PC{0,12}");
    let late = (prop::option::of(time()), prop::option::of(any::<u16>()));
    let rest = (any::<u64>(), select(&Situation::ALL[..]), any::<bool>(), any::<bool>(), asks);
    let signals = prop::collection::vec((signal(), 1..4usize), 1..4).prop_map(|runs| {
        runs.into_iter().flat_map(|(one, times)| std::iter::repeat_n(one, times)).collect()
    });
    (rest, late, load, hold, signals).prop_map(
        |((seed, situation, as_pid_1, restart, asks), (asks_after, kinds), load, hold, s)| Trial {
            number: 7,
            seed,
            situation,
            asks,
            asks_after,
            kinds,
            load,
            hold,
            as_pid_1,
            aside: false,
            signals: s,
            restart,
        },
    )
}

fn found() -> Found {
    Found { on: "2026-11-22".into(), rate: Rate { failed: 9, runs: 10 } }
}

fn through_a_file(trial: &Trial) -> Trial {
    let entry = Regression::of("responses-are-whole", trial, found()).unwrap();
    let text = entry.text("A response was cut off.");
    let read: Regressions = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read.regression, [entry]);
    read.regression[0].trial(trial.number).unwrap()
}

proptest! {
    #[test]
    fn a_moment_is_read_as_it_was_written(moment in moment()) {
        prop_assert_eq!(moment.to_string().parse::<Moment>(), Ok(moment));
    }

    #[test]
    fn a_trial_survives_the_file(trial in trial()) {
        prop_assert_eq!(through_a_file(&trial), trial);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,24}") {
        let _ = text.parse::<Moment>();
        let _ = text.parse::<Rate>();
    }
}

#[test]
fn every_trial_that_is_planned_survives_the_file() {
    let options = PlanOptions { situations: Vec::new(), writes: true, ..PlanOptions::new(5) };
    let trials = plan(&options, 400).trials;
    for trial in trials.iter().filter(|trial| !trial.is_control() && !trial.aside) {
        assert_eq!(through_a_file(trial), *trial);
    }
}
