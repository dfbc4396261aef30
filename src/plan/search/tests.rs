//! What the search owes its user.

use std::collections::BTreeMap;

use super::*;
use crate::plan::plan;

fn search(situations: &[Situation]) -> Search {
    let situations = situations.to_vec();
    Search::new(PlanOptions { situations, ..PlanOptions::new(7) })
}

/// Carries out so many trials, each of which shows what `shows` says.
fn carry_out(search: &mut Search, trials: usize, shows: impl Fn(&Trial) -> Shown) -> Vec<Choice> {
    let mut all = Vec::new();
    for _ in 0..trials {
        let choice = search.next(&|_| true).expect("something is open");
        search.begin(&choice.trial);
        search.end(&choice.trial, &shows(&choice.trial));
        all.push(choice);
    }
    all
}

fn usual(trial: &Trial) -> Shown {
    Shown { outcome: trial.situation.name().into(), took_ms: 100, ..Shown::default() }
}

fn times(choices: &[Choice]) -> BTreeMap<Kind, usize> {
    let mut times = BTreeMap::new();
    choices.iter().for_each(|choice| *times.entry(Kind::of(&choice.trial)).or_default() += 1);
    times
}

fn of(choices: &[Choice], situation: Situation) -> usize {
    choices.iter().filter(|choice| choice.trial.situation == situation).count()
}

#[test]
fn the_first_round_is_that_of_the_plan() {
    let mut search = search(&[]);
    let round = search.round;
    let tried = carry_out(&mut search, round as usize, usual);
    assert!(tried.iter().all(|choice| choice.why.is_none()));
    let tried: Vec<_> = tried.into_iter().map(|choice| choice.trial).collect();
    assert_eq!(tried, plan(&search.options, round).trials);
}

#[test]
fn every_kind_is_tried_again_and_again() {
    let mut search = search(&[]);
    let news = |trial: &Trial| Shown {
        // One kind of trial shows something new each time, and would have all of the budget.
        outcome: if trial.situation == Situation::Load {
            trial.number.to_string()
        } else {
            "".into()
        },
        ..usual(trial)
    };
    let patience = (PATIENCE + 1) * search.cells.len();
    let tried = carry_out(&mut search, 3 * patience, news);
    for some in tried.chunks_exact(patience) {
        assert_eq!(times(some).len(), search.cells.len());
    }
    let (loads, idle) = (of(&tried, Situation::Load), of(&tried, Situation::Idle));
    assert!(loads > 5 * idle, "{loads} with news, {idle} without");
}

#[test]
fn what_takes_long_is_tried_less() {
    let slow = |trial: &Trial| Shown {
        took_ms: if trial.situation == Situation::Idle { 100 } else { 5000 },
        ..usual(trial)
    };
    let tried = carry_out(&mut search(&[Situation::Idle, Situation::Fresh]), 40, slow);
    let (cheap, dear) = (of(&tried, Situation::Idle), of(&tried, Situation::Fresh));
    assert!(cheap > 2 * dear && dear > 2, "{cheap} cheap, {dear} dear");
}

#[test]
fn what_is_known_to_fail_has_its_share_and_no_more() {
    let fails = |trial: &Trial| Shown {
        // Each of its failures is another, as far as the outcome goes.
        outcome: if trial.situation == Situation::Fresh {
            trial.number.to_string()
        } else {
            "".into()
        },
        denied: trial.situation == Situation::Fresh,
        violated: trial.situation == Situation::Fresh,
        ..usual(trial)
    };
    let chosen = [Situation::Idle, Situation::Fresh, Situation::IdleKeepalive];
    let tried = carry_out(&mut search(&chosen), 90, fails);
    assert!((28..=32).contains(&of(&tried, Situation::Fresh)), "{:?}", times(&tried));
}

#[test]
fn losses_are_compared_with_what_happens_without_a_signal() {
    let loses = |trial: &Trial| Shown { lost: !trial.is_control(), ..usual(trial) };
    let mut search = search(&[Situation::Delivered, Situation::Idle]);
    let lost = carry_out(&mut search, 1, loses).remove(0);
    let next = search.next(&|_| true).unwrap();
    assert!(next.trial.is_control());
    assert_eq!(next.trial.hold, lost.trial.hold);
    let why = next.why.unwrap();
    assert!(why.starts_with("compared with delivered (held 150 ms"), "{why}");
    let tried = carry_out(&mut search, 60, loses);
    let controls = tried.iter().filter(|choice| choice.trial.is_control()).count();
    assert!((15..=18).contains(&controls), "{controls} controls, five of each pause");
}

#[test]
fn a_control_that_was_missed_compares_nothing_and_is_asked_again() {
    let mut search = search(&[Situation::Delivered, Situation::Idle]);
    let shows = |trial: &Trial| Shown { lost: !trial.is_control(), ..usual(trial) };
    let lost = carry_out(&mut search, 1, shows).remove(0);
    assert!(!search.has_compared());
    let missed = |trial: &Trial| Shown { missed: true, ..usual(trial) };
    for shows in [&missed as &dyn Fn(&Trial) -> Shown, &shows] {
        let control = carry_out(&mut search, 1, shows).remove(0);
        assert!(control.trial.is_control() && control.trial.hold == lost.trial.hold);
    }
    assert!(search.has_compared());
}

#[test]
fn a_second_signal_that_harms_is_compared_with_a_single_one() {
    for single in [Situation::SlowHandler, Situation::SecondSignal] {
        let mut search = search(&[Situation::SecondSignal, single, Situation::Idle]);
        let harmed = |trial: &Trial| Shown { violated: trial.signals.len() > 1, ..usual(trial) };
        let tried = carry_out(&mut search, 20, harmed);
        let is_single = |trial: &Trial| trial.situation == single && trial.signals.len() == 1;
        let singles = tried.iter().filter(|choice| is_single(&choice.trial)).count();
        assert!(singles >= 5, "{singles} of {}", single.name());
    }
}

#[test]
fn trials_that_run_at_the_same_time_are_unlike() {
    let mut search = search(&[]);
    let round = search.round as usize;
    carry_out(&mut search, round, usual);
    let mut at_once = Vec::new();
    for _ in 0..4 {
        let choice = search.next(&|_| true).unwrap();
        search.begin(&choice.trial);
        at_once.push(choice);
    }
    assert_eq!(times(&at_once).len(), 4);
    let numbers: BTreeSet<_> = at_once.iter().map(|choice| choice.trial.number).collect();
    assert_eq!(numbers.len(), 4);
}

#[test]
fn what_was_missed_is_tried_again_soon_and_not_for_ever() {
    let missed = |trial: &Trial| {
        let is_missed = trial.situation == Situation::Fresh;
        Shown { missed: is_missed, ..usual(trial) }
    };
    let chosen = [Situation::Idle, Situation::Fresh, Situation::IdleKeepalive, Situation::Load];
    let mut search = search(&chosen);
    let tried = carry_out(&mut search, 12, missed);
    assert!(of(&tried, Situation::Fresh) >= 3, "{:?}", times(&tried));
    let tried = carry_out(&mut search, 100, missed);
    assert!(of(&tried, Situation::Fresh) < 40, "{:?}", times(&tried));
}

#[test]
fn visits_of_a_kind_have_other_moments_each_time() {
    let mut search = search(&[Situation::Startup, Situation::Load]);
    let tried = carry_out(&mut search, 60, usual);
    let moments: BTreeSet<_> =
        tried.iter().map(|choice| choice.trial.signals[0].moment.text()).collect();
    assert!(moments.len() > 50, "{} moments in 60 trials", moments.len());
}

#[test]
fn what_can_not_be_is_not_tried_and_nothing_open_is_the_end() {
    let mut search = search(&[Situation::Idle, Situation::Fresh]);
    let first = search.next(&|_| true).unwrap();
    search.close(&first.trial);
    let tried = carry_out(&mut search, 10, usual);
    assert_eq!(of(&tried, first.trial.situation), 0);
    assert_eq!(search.standings().len(), 1);
    assert_eq!(search.next(&|situation| situation == first.trial.situation), None);
}

#[test]
fn ten_thousand_trials_are_no_burden() {
    let noisy = |trial: &Trial| Shown {
        outcome: format!("{} {}", trial.situation.name(), trial.seed % 7),
        took_ms: (trial.seed % 1000) as u32,
        ..Shown::default()
    };
    let mut search = search(&[]);
    let tried = carry_out(&mut search, 10_000, noisy);
    let numbers: BTreeSet<_> = tried.iter().map(|choice| choice.trial.number).collect();
    assert_eq!(numbers.len(), 10_000, "each number once");
    assert_eq!(times(&tried).len(), search.cells.len());
}

#[test]
fn a_repeated_signal_that_harms_is_seen_again_at_once() {
    let mut search = search(&[]);
    let harmed = |trial: &Trial| Shown { violated: trial.signals.len() > 1, ..usual(trial) };
    let tried = carry_out(&mut search, 20, harmed);
    let is_repeated = |choice: &&Choice| choice.trial.signals.len() > 1;
    let first = tried.iter().position(|choice| is_repeated(&choice)).expect("one among twenty");
    let kind = Kind::of(&tried[first].trial);
    let again = &tried[first..first + REPEATED_AT_ONCE as usize];
    assert!(again.iter().all(|choice| Kind::of(&choice.trial) == kind), "{again:?}");
    assert!(!Kind::of(&tried[first + again.len()].trial).eq(&kind));
}

#[test]
fn kinds_that_differ_in_their_moments_alone_share_what_their_situation_is_worth() {
    let mut search = search(&[]);
    let round = search.cells.len();
    carry_out(&mut search, 3 * round, usual);
    let tried = carry_out(&mut search, round, usual);
    let is_crowd = |trial: &&Choice| trial.trial.is_crowded();
    let crowds = tried.iter().filter(is_crowd).count();
    assert!(crowds > 2, "{crowds} crowds in {round} trials");
    assert!(of(&tried, Situation::Startup) < round / 4, "{:?}", times(&tried));
}
