//! `selftest`: plants known defects, and shows that each is found and that nobody else is accused.
//!
//! Whoever doubts a pass can see here that this very build, on this very machine, would have
//! failed. Each bundled server is tried by the program itself, started as a user would start it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::trial::interrupt::Interrupt;

use super::args::{ListFormat, SelftestArgs};
use super::failure::{Failure, internal};
use super::publish::print;

pub mod child;
pub mod score;
pub mod table;
mod text;

use child::{Tried, try_once};
use score::{Score, Summary};
use table::{Line, TABLE};

/// Servers tried at the same time for each processor: most of the time they are waited for.
const SIDE_BY_SIDE: usize = 5;
/// Trials at the same time of each server.
const TRIALS_SIDE_BY_SIDE: u16 = 4;
/// As many runs at most, each longer than the one before it, where one was not enough to tell.
const TRIES: usize = 3;

/// Tries the servers and prints the score; the exit code.
///
/// # Errors
/// When this program can't be started, or the user asks for the end.
pub fn selftest(args: &SelftestArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let begun = Instant::now();
    let program = std::env::current_exe().map_err(internal("find its own program"))?;
    let chosen = chosen(&args.names);
    let is_text = args.format == ListFormat::Text;
    if is_text {
        print(&text::heading(&chosen));
    }
    let show = |score: &Score| {
        if is_text {
            print(&text::row(score));
        }
    };
    let workers = args.parallel.map_or_else(default_workers, usize::from);
    let scores = score_all(&chosen, &program, workers, interrupt, show)
        .map_err(internal("try a bundled server"))?;
    if let Some(signal) = interrupt.asked() {
        return Err(Failure::Interrupted(signal));
    }
    let summary = Summary::of(scores, begun.elapsed());
    print(&match args.format {
        ListFormat::Text => text::sum(&summary),
        ListFormat::Json => format!("{:#}\n", serde_json::json!(summary)),
    });
    Ok(summary.exit_code())
}

/// The lines of the table that go by these names, or are about these fixtures; all without names.
fn chosen(names: &[&'static str]) -> Vec<Line> {
    let is_chosen = |line: &&Line| {
        names.is_empty() || names.iter().any(|name| [line.name, line.fixture].contains(name))
    };
    TABLE.iter().filter(is_chosen).copied().collect()
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * SIDE_BY_SIDE
}

/// Tries each line's server, so many at the same time, and hands out each score in the order of the
/// lines as soon as it is known; those that were not begun before an interrupt are left out.
///
/// # Errors
/// When the program can't be started.
pub fn score_all(
    lines: &[Line],
    program: &Path,
    workers: usize,
    interrupt: &Interrupt,
    mut show: impl FnMut(&Score),
) -> io::Result<Vec<Score>> {
    let (next, (sender, receiver)) = (AtomicUsize::new(0), channel());
    std::thread::scope(|scope| {
        for _ in 0..workers.min(lines.len()) {
            let sender = sender.clone();
            // A child ends with the thread that started it: this one waits for its own.
            scope.spawn(|| {
                let sender = sender;
                loop {
                    let place = next.fetch_add(1, Ordering::SeqCst);
                    let Some(line) = lines.get(place) else { return };
                    let score = score(line, program, interrupt);
                    if interrupt.asked().is_some() || sender.send((place, score)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut scores: Vec<Option<Score>> = lines.iter().map(|_| None).collect();
        let mut shown = 0;
        for (place, score) in receiver {
            scores[place] = Some(score?);
            while let Some(Some(score)) = scores.get(shown) {
                show(score);
                shown += 1;
            }
        }
        Ok(scores.into_iter().flatten().collect())
    })
}

/// Tries one line's server: again where the machine was too busy to tell, and for longer where
/// something was missed, since chance decides what a round meets.
///
/// # Errors
/// When the program can't be started.
pub fn score(line: &Line, program: &Path, interrupt: &Interrupt) -> io::Result<Score> {
    let mut missed: Option<Score> = None;
    for attempt in 1.. {
        let tried = try_once(line, program, (attempt, TRIALS_SIDE_BY_SIDE), interrupt)?;
        let is_last = attempt == TRIES || interrupt.asked().is_some();
        let is_busy = matches!(&tried, Tried::Report(report) if child::busy(report).is_some());
        if is_busy && !is_last {
            continue;
        }
        let next = Score::of(line, &tried);
        let score = match missed.take() {
            Some(before) => before.again(next),
            None => next,
        };
        if is_last || !score.is_missed() {
            return Ok(score);
        }
        missed = Some(score);
    }
    unreachable!("the last attempt returns")
}

/// Every name that can be chosen: lines, and fixtures that have several.
pub(super) fn names() -> BTreeSet<&'static str> {
    TABLE.iter().flat_map(|line| [line.name, line.fixture]).collect()
}
