//! A plan for people, as a table, and for programs, as JSON.

use crate::model::partition::Partition;
use crate::model::plan::{Arrivals, LoadShape, Moment, Plan, SignalTo, Situation, Trial};
use crate::model::search::{Choice, Kind, Standing};

use super::numbers::counted;
use super::text::{columns, cut, hanging};

const WIDTH: usize = 80;
const TITLES: [&str; 7] = ["trial", "seed", "situation", "signal", "moment", "conns", "pace"];

/// The plan as a table, a line a trial.
pub fn table(plan: &Plan) -> String {
    let rows: Vec<[String; 7]> = plan.trials.iter().map(row).collect();
    let mut widths = TITLES.map(columns);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let trials = counted(plan.trials.len() as u64, "trial", "trials");
    let mut text =
        format!("seed {}, {trials}; instants are from the start of the load\n\n", plan.seed);
    text.push_str(&line(&TITLES.map(str::to_owned), &widths));
    for row in &rows {
        text.push_str(&line(row, &widths));
    }
    text
}

/// What a plan of a budget does not say.
pub const WHAT_FOLLOWS: &str = "
This is the first round. What a budget tries after it depends on what the trials
show: see plan --after REPORT. With --trials N, the plan is fixed.
";

/// What a plan does not say of a run with `--deep`.
pub const WHAT_IS_BETWEEN: &str = "
With --deep, a point of a system call comes after each of these trials, or instead
of them with --situation one-request: which points there are, a rehearsal finds.
";

/// Which slice of a plan of so many trials that is.
pub fn slice(partition: Partition, of: u32, is_all: bool) -> String {
    let Partition { index, count } = partition;
    let whole = counted(of.into(), "trial", "trials");
    let what = if is_all { "of a plan of" } else { "of a first round of" };
    format!(
        "\nThis is slice {index} of {count} {what} {whole}. The others have the rest:\nthe numbers are \
         those of the whole plan.\n"
    )
}

/// What the columns of a search are.
const WHAT_COLUMNS_SAY: &str = "
→          what is next: the first round, and then now and then what was never
           tried, has to be compared or has waited long, come whatever their score
score      how probably the next trial of its family shows something new, for its cost
visits     trials of the kind that were begun
outcomes   kinds of outcome that they have shown
seen once  those of them that no other trial of the situation has shown
cost       how long one takes, as a multiple of the quickest kind
";

/// Kinds of trial that are shown of a search: those that may be next.
const SHOWN: usize = 20;

/// What a search would try after so many trials, and what each kind of trial is worth.
pub fn next(trials: usize, choice: Option<&Choice>, standings: &[Standing]) -> String {
    let after = counted(trials as u64, "trial", "trials");
    let mut text = match choice {
        None => format!("after {after}, nothing is left to try\n"),
        Some(Choice { trial, why }) => {
            let why = why.as_deref().unwrap_or("it is part of the first round");
            let why = hanging("", &format!("after {after}, trial {}: {why}", trial.number), WIDTH);
            let one = Plan { seed: trial.seed, trials: vec![trial.clone()] };
            let rows = table(&one);
            // Its first line is about the whole of a plan.
            format!("{why}\n{}", rows.split_once("\n\n").map_or("", |(_, rows)| rows))
        }
    };
    text.push_str("\n    score  visits  outcomes  seen once  cost  kind of trial\n");
    let chosen = choice.map(|choice| Kind::of(&choice.trial));
    let is_chosen = |standing: &Standing| Some(&standing.kind) == chosen.as_ref();
    let (first, others) = standings.split_at(standings.len().min(SHOWN));
    for standing in first.iter().chain(others.iter().filter(|it| is_chosen(it))) {
        let Standing { kind, visits, outcomes, seen_once, cost, score } = standing;
        let mark = if is_chosen(standing) { "→" } else { " " };
        let line = format!(
            "{mark} {score:>7.2} {visits:>7} {outcomes:>9} {seen_once:>10} {cost:>5.1}  {}",
            kind.name()
        );
        text.push_str(&format!("{}\n", cut(&line, WIDTH)));
    }
    if others.len() > usize::from(others.iter().any(is_chosen)) {
        text.push_str(&format!("  … of {} kinds\n", standings.len()));
    }
    text.push_str(WHAT_COLUMNS_SAY);
    text
}

/// The same as JSON.
pub fn next_json(choice: Option<&Choice>, standings: &[Standing]) -> String {
    format!("{:#}\n", serde_json::json!({ "next": choice, "standings": standings }))
}

/// The plan as JSON, as it also stands in the report.
pub fn json(plan: &Plan) -> String {
    let mut text = serde_json::to_string_pretty(plan).expect("a plan has only text keys");
    text.push('\n');
    text
}

fn row(trial: &Trial) -> [String; 7] {
    [
        trial.number.to_string(),
        trial.seed.to_string(),
        trial.situation.name().to_owned(),
        signals(trial),
        moment(trial),
        trial.load.connections.to_string(),
        if trial.situation == Situation::Load { shape(&trial.load) } else { String::new() },
    ]
}

/// Which signals come; that several go to the group is said, since it is not always so.
fn signals(trial: &Trial) -> String {
    match &trial.signals[..] {
        [] => "none".into(),
        [one] => one.signal.to_string(),
        [one, .., last] => {
            let which = match one.signal == last.signal {
                true => format!("{}×{}", trial.signals.len(), one.signal),
                false => format!("{}+{}", one.signal, last.signal),
            };
            if one.to == SignalTo::Group { format!("{which} (group)") } else { which }
        }
    }
}

/// When the signal comes: an instant, or what it waits for.
fn moment(trial: &Trial) -> String {
    match trial.signals.first().map(|planned| planned.moment) {
        Some(moment @ (Moment::Uniform { .. } | Moment::Start(_) | Moment::Near(_))) => {
            moment.text()
        }
        _ if trial.signals.len() == 2 => trial.signals[1].moment.text(),
        _ => trial.moment(),
    }
}

/// How many connections a trial has, and how they ask: `16, 20 ms`.
pub(super) fn pace(trial: &Trial) -> String {
    match trial.situation {
        Situation::Load => format!("{}, {}", trial.load.connections, shape(&trial.load)),
        _ => trial.load.connections.to_string(),
    }
}

/// The pause of each client between two requests, or requests a second.
fn shape(load: &LoadShape) -> String {
    match load.arrivals {
        Arrivals::Closed { pause } => format!("{:.0} ms", pause.as_secs_f64() * 1e3),
        Arrivals::Open { per_second } => format!("{per_second:.0}/s"),
    }
}

/// Numbers to the right, words to the left.
fn line(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let mut text = String::new();
    for (at, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let gap = if at == 0 { "" } else { "  " };
        match at {
            0 | 4 | 5 => text.push_str(&format!("{gap}{cell:>width$}")),
            _ => text.push_str(&format!("{gap}{cell:<width$}")),
        }
    }
    format!("{}\n", cut(text.trim_end(), WIDTH))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::plan::PlannedSignal;
    use crate::model::signal::Signal;

    fn plan() -> Plan {
        let trial = |number, after_us, arrivals| Trial {
            number,
            seed: u64::MAX / u64::from(number),
            situation: Situation::Load,
            load: LoadShape {
                connections: 1000,
                arrivals,
                keep_alive_percent: 50,
                pooled_clients: 2,
            },
            asks: None,
            asks_after: None,
            kinds: None,
            hold: None,
            as_pid_1: false,
            aside: false,
            signals: vec![PlannedSignal {
                signal: Signal::TERM,
                to: SignalTo::Leader,
                moment: Moment::Uniform { after: Duration::from_micros(after_us) },
            }],
            restart: false,
        };
        let pause = Duration::from_micros(12_345);
        let trials = vec![
            trial(1, 12_340, Arrivals::Closed { pause }),
            trial(9999, 15_812_000, Arrivals::Open { per_second: 12_500.0 }),
        ];
        Plan { seed: 0x9f_31c2, trials }
    }

    #[test]
    fn the_table_is_aligned_and_fits() {
        insta::assert_snapshot!(table(&plan()));
        assert!(table(&plan()).lines().all(|line| columns(line) <= WIDTH));
    }

    #[test]
    fn the_json_is_the_plan() {
        assert_eq!(serde_json::from_str::<Plan>(&json(&plan())).unwrap(), plan());
    }
}
