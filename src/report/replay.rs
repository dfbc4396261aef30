//! What became of failures that were run again, for people.

use crate::model::plan::Trial;
use crate::model::reproduction::{Rate, Replayed, Standing};
use crate::model::time::human;

use super::numbers::{counted, percent_down, percent_up};
use super::text::{clean, hanging};

const WIDTH: usize = 80;

/// The word for what was shown.
pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Fixed => "FIXED",
        Standing::StillFails => "STILL FAILS",
        Standing::NotShown => "NOT SHOWN",
    }
}

/// What a trial is, in a few words: `slow-handler · reached · SIGTERM · 1 connection`.
pub fn about(trial: &Trial) -> String {
    let mut facts = vec![trial.situation.name().to_owned()];
    if let Some((first, later)) = trial.signals.split_first() {
        facts.extend(trial.hold.map(|hold| format!("held {} ms", hold.pause.as_millis())));
        facts.push(match later {
            [] => format!("{} {}", first.signal, first.moment.text()),
            [one] => format!("{}, {} {}", first.signal, one.signal, one.moment.text()),
            many => format!("{} signals", 1 + many.len()),
        });
        if first.to.name() != "leader" {
            facts.push(format!("to the {}", first.to.name()));
        }
    }
    if trial.load.connections > 0 {
        let connections = u64::from(trial.load.connections);
        facts.push(counted(connections, "connection", "connections"));
    }
    facts.extend(trial.asks.as_deref().map(clean));
    facts.extend(trial.asks_after.map(|after| format!("asked {} late", human(after))));
    facts.extend(trial.as_pid_1.then(|| "as PID 1".to_owned()));
    facts.extend(trial.restart.then(|| "started again".to_owned()));
    facts.join(" · ")
}

/// How often something failed, and what that says of its rate: `9 of 10 runs, 55–99.8 %`.
pub fn rate(rate: Rate) -> String {
    match (rate.bounds_95(), rate.failed) {
        (None, _) => "no run".to_owned(),
        (Some((_, upper)), 0) => format!("{rate}, < {} %", percent_up(upper)),
        (Some((lower, upper)), _) => {
            format!("{rate}, {}–{} %", percent_down(lower), percent_up(upper))
        }
    }
}

/// A paragraph a failure, and how many there are of each kind.
pub fn text(all: &[Replayed]) -> String {
    let mut text = String::new();
    for it in all {
        let label = format!("  {:<11}  ", word(it.standing));
        let mut what = format!("{}  {}", it.invariant, rate(it.now));
        if it.standing == Standing::NotShown {
            what.push_str(&format!(": {}", not_shown(it)));
        }
        text.push_str(&hanging(&label, &what, WIDTH));
        text.push_str(&hanging("               ", &about(&it.trial), WIDTH));
    }
    let of = |standing| all.iter().filter(|it| it.standing == standing).count();
    let (fails, fixed) = (of(Standing::StillFails), of(Standing::Fixed));
    let mut sums = vec![format!("{fails} still {}", if fails == 1 { "fails" } else { "fail" })];
    sums.push(format!("{fixed} fixed"));
    let not_shown = of(Standing::NotShown);
    sums.extend((not_shown > 0).then(|| format!("{not_shown} not shown")));
    text.push_str(&format!("\n  {}\n", sums.join(", ")));
    text
}

/// Why nothing was shown, how many runs would, and what those that there were would have shown.
fn not_shown(it: &Replayed) -> String {
    let Rate { failed, runs } = it.recorded;
    let mut parts: Vec<String> = it.reason.as_deref().map(clean).into_iter().collect();
    let needed = it.recorded.runs_to_tell();
    if needed.is_some_and(|needed| it.now.runs >= needed) {
        // Runs of something else than what was recorded.
        return parts.join("; ");
    }
    parts.push(match (needed, failed, runs) {
        (Some(needed), ..) => {
            format!("after {}, {needed} are needed to tell (--trials {needed})", it.recorded)
        }
        (None, 1.., _) => {
            format!("after {}, more are needed to tell than anybody waits for", it.recorded)
        }
        (None, 0, 0) => "how often it fails is not known".to_owned(),
        (None, 0, others) => {
            let others = counted(others.into(), "other run", "other runs");
            format!("how often it fails is not known: {others} of this kind held")
        }
    });
    if let Some((_, upper)) = it.now.bounds_95() {
        let least = percent_up(upper);
        let (runs, would) = (counted(it.now.runs.into(), "run", "runs"), "would have shown");
        parts.push(format!("{runs} {would} with p ≥ 95 % what fails in {least} % of runs or more"));
    }
    parts.join("; ")
}

/// What became of the file whose fixed entries were taken out.
pub fn retired(taken: usize, left: usize, path: &str) -> String {
    let taken = counted(taken as u64, "entry is", "entries are");
    let rest = match left {
        0 => "it has none left, and may be removed".to_owned(),
        left => format!("{left} left"),
    };
    hanging("  ", &format!("{taken} taken out of {path}: {rest}"), WIDTH)
}

/// The same for programs.
pub fn json(all: &[Replayed]) -> String {
    let text = serde_json::to_string_pretty(all).unwrap_or_default();
    format!("{text}\n")
}

/// 1 where one still fails, 3 where one could not be shown, else 0.
pub fn exit_code(all: &[Replayed]) -> u8 {
    let has = |standing| all.iter().any(|it| it.standing == standing);
    match () {
        () if has(Standing::StillFails) => 1,
        () if has(Standing::NotShown) => 3,
        () => 0,
    }
}
