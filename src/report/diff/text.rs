//! A comparison for people: in a terminal, and as Markdown.

use crate::invariants;
use crate::model::diff::{
    CellDiff, Change, DiffOutcome, DiffReport, InvariantDiff, Often, Side, TimeDiff,
};
use crate::model::verdict::Severity;

use super::super::numbers::{counted, grouped, signed_time, time};
use super::super::text::{ascii, clean, hanging};

/// Lines are never longer.
const WIDTH: usize = 80;

/// One line of a comparison: how it is marked, what it is about, what became of it.
struct Line {
    change: Change,
    what: String,
    told: String,
}

/// The comparison in lines of at most 80 columns; in ASCII where the terminal has no more.
pub fn text(diff: &DiffReport, unicode: bool) -> String {
    let mut text = String::new();
    let labelled = |label: &str, told: &str| hanging(&format!("  {label:<9} "), told, WIDTH);
    text.push_str(&labelled("before", &side(&diff.before)));
    text.push_str(&labelled("after", &side(&diff.after)));
    for unfair in &diff.unfair {
        let told = format!("{}: {} → {}", unfair.what, unfair.before, unfair.after);
        text.push_str(&labelled("unfair", &clean(&told)));
    }
    text.push('\n');
    let lines = lines(diff);
    for line in &lines {
        let told = format!("{}: {}", line.what, line.told);
        text.push_str(&labelled(mark(line.change), &clean(&told)));
    }
    if !lines.is_empty() {
        text.push('\n');
    }
    text.push_str(&hanging("  ", &sentence(diff), WIDTH));
    if unicode { text } else { ascii(&text) }
}

/// The comparison as GitHub-flavoured Markdown.
pub fn markdown(diff: &DiffReport) -> String {
    let mut text = format!("## shutdown-check diff: {}\n\n", escaped(&sentence(diff)));
    for (label, it) in [("before", &diff.before), ("after", &diff.after)] {
        text.push_str(&format!("- {label}: {}\n", escaped(&side(it))));
    }
    for unfair in &diff.unfair {
        let told = format!("{}: {} → {}", unfair.what, unfair.before, unfair.after);
        text.push_str(&format!("- unfair: {}\n", escaped(&told)));
    }
    let lines = lines(diff);
    if !lines.is_empty() {
        text.push_str("\n| | what | before and after |\n|---|---|---|\n");
    }
    for line in lines {
        let (what, told) = (escaped(&line.what), escaped(&line.told));
        text.push_str(&format!("| {} | {what} | {told} |\n", mark(line.change)));
    }
    text
}

fn side(side: &Side) -> String {
    let trials = counted(side.trials.into(), "trial", "trials");
    let when = side.started_at.get(..16).unwrap_or(&side.started_at).replace('T', " ");
    format!("{} · {} · {trials} that count · seed {} · {when}", side.name, side.verdict, side.seed)
}

fn mark(change: Change) -> &'static str {
    match change {
        Change::Worse => "WORSE",
        Change::PerhapsWorse => "worse?",
        Change::Better => "better",
        Change::PerhapsBetter => "better?",
        Change::Changed => "changed",
        Change::NotComparable => "?",
        Change::Same => "same",
    }
}

/// What changed, the worst first.
fn lines(diff: &DiffReport) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for it in diff.invariants.iter().filter(|it| it.change != Change::Same) {
        let what = match it.level {
            Severity::Deny => clean(&it.id),
            level => format!("{} ({level})", clean(&it.id)),
        };
        lines.push(Line { change: it.change, what, told: invariant(it) });
    }
    for it in diff.times.iter().filter(|it| it.change != Change::Same || it.note.is_some()) {
        lines.push(Line { change: it.change, what: it.what.clone(), told: timed(it) });
    }
    for it in diff.exits.iter().filter(|it| it.change != Change::Same) {
        let told = often((it.before, it.after), "trials") + &probably(it.change, it.p);
        lines.push(Line { change: it.change, what: it.end.clone(), told });
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.change));
    lines
}

fn invariant(it: &InvariantDiff) -> String {
    let verdict = |verdict: Option<_>| {
        verdict
            .map_or("unknown".to_owned(), |it: crate::model::verdict::VerdictName| it.to_string())
    };
    let mut told = match it.change {
        Change::NotComparable => {
            format!("{} → {}", verdict(it.verdict_before), verdict(it.verdict_after))
        }
        _ => often((it.trials_before, it.trials_after), "trials"),
    };
    let counts = invariants::find(&it.id).map(|it| it.counts).filter(|it| it.has_rate);
    if let Some(counts) = counts.filter(|_| it.change != Change::NotComparable) {
        told.push_str(&format!(" ({})", often((it.cases_before, it.cases_after), counts.many)));
    }
    told.push_str(&probably(it.change, it.p));
    for cell in &it.cells {
        told.push_str(&format!("; {}", of_cell(cell)));
    }
    if let Some(note) = &it.note {
        told.push_str(&format!("; {}", clean(note)));
    }
    told
}

fn of_cell(cell: &CellDiff) -> String {
    let signal = cell.signal.map_or_else(String::new, |signal| format!(", {signal}"));
    format!(
        "{} ({}{signal}) {} (p = {})",
        cell.situation.name(),
        clean(&cell.moment),
        often((cell.before, cell.after), "trials"),
        probability(cell.p)
    )
}

fn often((before, after): (Often, Often), noun: &str) -> String {
    let of = |it: Often| format!("{} of {}", grouped(it.times), grouped(it.of));
    format!("{} → {} {noun}", of(before), of(after))
}

fn timed(it: &TimeDiff) -> String {
    let mut told = format!(
        "{} → {} (medians), {} for trials of a kind",
        time(it.median_before_ms),
        time(it.median_after_ms),
        signed_time(it.shift_ms),
    );
    told.push_str(&probably(it.change, Some(it.p)));
    if let Some(note) = &it.note {
        told.push_str(&format!("; {note}"));
    }
    told
}

fn probably(change: Change, p: Option<f64>) -> String {
    let Some(p) = p else { return String::new() };
    match change {
        _ if p <= crate::model::diff::CHANCE => format!(" (p = {})", probability(p)),
        Change::NotComparable => String::new(),
        _ => format!(": could be chance (p = {})", probability(p)),
    }
}

/// Two digits, and never 0.
fn probability(p: f64) -> String {
    match p {
        p if p < 0.0001 => "less than 0.0001".to_owned(),
        p if p < 0.01 => format!("{p:.4}"),
        p => format!("{p:.2}"),
    }
}

fn sentence(diff: &DiffReport) -> String {
    let of = |change| {
        let invariants = diff.invariants.iter().filter(|it| it.change == change);
        let ids = invariants.map(|it| clean(&it.id));
        let times = diff.times.iter().filter(|it| it.change == change).map(|it| it.what.clone());
        let exits = diff.exits.iter().filter(|it| it.change == change).map(|it| it.end.clone());
        ids.chain(times).chain(exits).collect::<Vec<_>>().join(", ")
    };
    let chance =
        diff.invariants.iter().map(|it| it.change).chain(diff.times.iter().map(|it| it.change));
    let chance =
        chance.filter(|it| matches!(it, Change::PerhapsWorse | Change::PerhapsBetter)).count();
    let more = match (chance, diff.outcome) {
        (0, _) => String::new(),
        (number, _) => format!(
            "; {} could be chance: more trials would tell (--budget)",
            counted(number as u64, "other difference", "other differences")
        ),
    };
    match diff.outcome {
        DiffOutcome::Worse => format!("worse: {}{more}", of(Change::Worse)),
        DiffOutcome::Better => format!("better: {}, and nothing worse{more}", of(Change::Better)),
        DiffOutcome::Same => {
            format!("nothing changed that is more than chance{}", more.replace("other ", ""))
        }
        DiffOutcome::NotComparable => {
            "not comparable: no invariant was shown by both, one way or the other".to_owned()
        }
    }
}

/// Text in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '@' => escaped.push_str("@\u{200b}"),
            c => escaped.push(c),
        }
    }
    escaped
}
