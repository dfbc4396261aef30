//! The score in 80 columns: a row a server, as soon as it is known, and the sum at the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::text::hanging;

use super::score::{Outcome, Score, Summary};
use super::table::Line;

const WIDTH: usize = 80;
/// The width of the column of names.
const NAMES: usize = 37;
/// Where the rows' own text begins.
const INDENT: &str = "          ";

/// What is planted.
pub(super) fn heading(lines: &[Line]) -> String {
    let (planted, correct): (Vec<&Line>, Vec<&Line>) =
        lines.iter().partition(|line| !line.violated.is_empty());
    let servers: BTreeSet<_> = planted.iter().map(|line| line.fixture).collect();
    let text = format!(
        "{} known defects, each in a server of its own, tried in {} ways; and {} ways to try \
         servers that do nothing wrong",
        servers.len(),
        planted.len(),
        correct.len()
    );
    hanging("  planted ", &text, WIDTH) + "\n"
}

/// A row of the table, and what is otherwise.
pub(super) fn row(score: &Score) -> String {
    let of = |word: &str, text: &str| format!("  {word:7} {:NAMES$} {text}\n", score.name);
    match &score.result {
        Outcome::AsExpected if score.is_correct_server() => {
            of("clean", &format!("accused of nothing, {} trials", score.trials))
        }
        Outcome::AsExpected => {
            let first = score.caught_in_trial.unwrap_or(score.trials);
            let named = match &score.expected[..] {
                [_] => "it alone named".to_owned(),
                several => format!("its {} alone named", several.len()),
            };
            of("caught", &format!("trial {first:<3} {named}"))
        }
        Outcome::NotShown { reason } => of("?", "not shown here") + &hanging(INDENT, reason, WIDTH),
        Outcome::Otherwise { missed, accused, undecided, exit_code } => {
            let word = if missed.is_empty() { "WRONG" } else { "MISSED" };
            let lists = [("missed", missed), ("accused of", accused), ("undecided", undecided)];
            let lists = lists.iter().filter(|(_, ids)| !ids.is_empty());
            let lists = lists.map(|(what, ids)| format!("{what}: {}", ids.join(", ")));
            let code = exit_code.iter().map(|code| format!("exit code {code}"));
            let command = format!("see: shutdown-check {}", score.command.join(" "));
            let all = lists.chain(code).chain([command]);
            let lines = all.map(|line| hanging(INDENT, &line, WIDTH)).collect::<String>();
            of(word, "not as expected") + &lines
        }
    }
}

/// The sum.
pub(super) fn sum(summary: &Summary) -> String {
    let Summary { caught, planted, correct, accused_wrongly, trials, seconds, .. } = summary;
    let mut text = format!("{caught} of {planted} caught");
    if let Some(median) = summary.median_trials_to_detection {
        text += &format!(", at the median in trial {median:.0}");
    }
    text += &match accused_wrongly {
        0 => "; nobody accused wrongly".to_owned(),
        wrongly => format!("; ACCUSED WRONGLY in {wrongly} tries"),
    };
    text += &format!(" ({correct} tries over servers that do nothing wrong); ");
    text += &format!("{trials} trials in {seconds:.0} s");
    let mut text_of_all = format!("\n{}", hanging("  ", &text, WIDTH));
    if !summary.not_planted.is_empty() {
        let ids = summary.not_planted.join(", ");
        text_of_all += &hanging("  ", &format!("nothing planted for: {ids}"), WIDTH);
    }
    let had: BTreeSet<_> = summary.scores.iter().flat_map(|score| &score.had).collect();
    let not_had: BTreeMap<_, _> = summary.scores.iter().flat_map(|score| &score.not_had).collect();
    for (situation, reason) in not_had.into_iter().filter(|(situation, _)| !had.contains(situation))
    {
        let text = format!("not to be had here: {}: {reason}", situation.name());
        text_of_all += &hanging("  ", &text, WIDTH);
    }
    text_of_all
}
