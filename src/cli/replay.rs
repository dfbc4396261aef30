//! `replay`: what failed is run again, from the regressions file, a report or one history.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::invariants;
use crate::model::plan::{Situation, Trial};
use crate::model::reproduction::{Replayed, Standing};
use crate::report::{Format, replay as shown};
use crate::trial::interrupt::Interrupt;

use super::args::RunArgs;
use super::args::again::ReplayArgs;
use super::error::UsageError;
use super::failure::Failure;
use super::publish::{REPORT, print};
use super::regressions::Book;
use super::reproduce::bench::{Bench, Stop};
use super::reproduce::hint;
use super::run::{Ready, draw_seed};
use super::settings::Settings;
use super::{complain, here, interrupt};

mod cases;
mod recorded;
mod saved;

use cases::{Case, Cases, of_book, of_path};
use saved::settings_of;

/// A failure is run so often at least, unless it comes back before: a rate by fewer says little.
const RUNS_LEAST: u32 = 10;
/// Where nobody knows how often it fails, or it is too rare, so many show that it does not often.
const RUNS_UNKNOWN: u32 = 30;
/// What was seen less often than once in fifteen runs takes more, and the user's word (--trials).
const RUNS_MOST: u32 = 300;
/// A trial with several signals is compared with so many that have one.
const COMPARED_WITH: usize = 8;
/// It is run no more when it has failed so often.
const FAILED_ENOUGH: u32 = 5;

/// Runs them again; the exit code is 1 where one still fails, 3 where one could not be shown.
///
/// # Errors
/// When what is named can't be read, or can't be run.
pub fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let here = here()?;
    let (source, run) = source(&args.run, &here)?;
    let (settings, cases, mut book) = match source {
        Some(path) => {
            let Cases { all, recorded, none } = of_path(&path, args.trial)?;
            let settings = match recorded {
                Some(recorded) => settings_of(recorded, &run, &here)?,
                None => Settings::resolve(&run, std::env::vars_os(), &here)?,
            };
            (settings, (all, none), None)
        }
        None => {
            let settings = Settings::resolve(&run, std::env::vars_os(), &here)?;
            let book = Book::open(&settings.again)?;
            let named = run.again.regressions.as_ref().map(|path| here.join(path));
            if let Some(path) = named.filter(|path| !path.exists()) {
                return Err(refused(&path, "there is no such file"));
            }
            let Cases { all, none, .. } = of_book(book.as_ref())?;
            (settings, (all, none), book)
        }
    };
    let (cases, none) = cases;
    if cases.is_empty() {
        print(&match settings.outputs.stdout {
            Format::Json => shown::json(&[]),
            _ => format!("  nothing to replay: {none}\n"),
        });
        return Ok(0);
    }
    let interrupt = interrupt()?;
    let secrets = settings.secrets();
    let mut all = match run_all(&settings, &run, &cases, &interrupt) {
        Ok(all) => all,
        Err(failure) => {
            complain(&failure, &secrets);
            return Ok(failure.exit_code());
        }
    };
    all.iter_mut().for_each(|replayed| secrets.hide_in_replayed(replayed));
    let is_text = settings.outputs.stdout != Format::Json;
    print(&if is_text { shown::text(&all) } else { shown::json(&all) });
    if args.retire {
        let said = retire(book.as_mut(), &all)?;
        print(if is_text { &said } else { "" });
    }
    Ok(match interrupt.asked() {
        Some(signal) => u8::try_from(128 + signal.number()).unwrap_or(u8::MAX),
        None => shown::exit_code(&all),
    })
}

/// Takes what is fixed out of the file, and says so.
fn retire(book: Option<&mut Book>, all: &[Replayed]) -> Result<String, Failure> {
    let Some(book) = book else {
        return Ok("  --retire takes nothing out: no regressions file was run\n".to_owned());
    };
    let is_fixed = |(_, it): &(usize, &Replayed)| it.standing == Standing::Fixed;
    let fixed: Vec<usize> = all.iter().enumerate().filter(is_fixed).map(|it| it.0).collect();
    let path = book.shown_path();
    if fixed.is_empty() {
        return Ok(format!("  --retire takes nothing out of {path}: none is fixed\n"));
    }
    let left = book.retire(&fixed)?;
    Ok(shown::retired(fixed.len(), left, &path))
}

/// What is named first, where that is a report, its folder or a history, and the rest of the words,
/// which are the target's.
///
/// # Errors
/// When it is none of these, and no program either.
fn source(run: &RunArgs, here: &Path) -> Result<(Option<PathBuf>, RunArgs), Failure> {
    let Some(word) = &run.target else { return Ok((None, run.clone())) };
    let path = here.join(word);
    let is_recorded = path.extension().is_some_and(|it| it == "json" || it == "jsonl");
    if is_recorded && !path.exists() {
        return Err(refused(Path::new(word), "there is no such file"));
    }
    if is_recorded || path.join(REPORT).is_file() {
        let mut words = run.args.iter().cloned();
        let run = RunArgs { target: words.next(), args: words.collect(), ..run.clone() };
        return Ok((Some(path), run));
    }
    let place = run.start.cwd.as_ref().map_or_else(|| here.to_owned(), |cwd| here.join(cwd));
    match no_program(word, &place) {
        Some(reason) => Err(refused(Path::new(word), reason)),
        None => Ok((None, run.clone())),
    }
}

/// Why a word can't be what is to be started.
fn no_program(word: &str, place: &Path) -> Option<&'static str> {
    let path = place.join(word);
    let is_on_path = || {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(word).is_file())
    };
    match () {
        () if path.is_dir() => {
            Some("no report.json is in it\n  name the folder of a run: reports/SEED")
        }
        () if path.extension().is_some_and(|it| it == "toml") => Some(
            "it is no report and no history\n  name the file of known failures with --regressions",
        ),
        () if path.is_file() || (!word.contains('/') && is_on_path()) => None,
        () => Some(
            "there is no such report, history or program\n  name the folder of a run \
             (reports/SEED), its report.json, one history, or a target",
        ),
    }
}

fn refused(what: &Path, reason: impl Into<String>) -> Failure {
    UsageError::Replay { what: what.display().to_string(), reason: reason.into() }.into()
}

fn run_all(
    settings: &Settings,
    run: &RunArgs,
    cases: &[Case],
    interrupt: &Interrupt,
) -> Result<Vec<Replayed>, Failure> {
    let seed = settings.seed.unwrap_or_else(draw_seed);
    let trials: Vec<Trial> = cases.iter().map(|case| case.trial.clone()).collect();
    // Beside what is replayed, which may have the same seed.
    let folder = settings.outputs.folder(seed).join("replay");
    let ready = Ready::new(settings, (seed, folder), &trials, interrupt)?;
    let schedule = ready.schedule(interrupt)?;
    let desk = ready.desk(interrupt);
    let bench = Bench::new(&desk, &schedule, ready.workers, Vec::new());
    let until = run.amount.budget.map(|budget| Instant::now() + budget);
    let runs = run.amount.trials.map(NonZeroU32::get);
    let all = cases.iter().map(|case| case.run(&bench, runs, until)).collect();
    ready.progress.finish();
    Ok(all)
}

/// The same with the first signal alone.
fn once(trial: &Trial) -> Trial {
    let mut once = Trial { situation: Situation::SlowHandler, ..trial.clone() };
    once.signals.truncate(1);
    once
}

impl Case {
    /// Runs it until it has failed often enough, or held so often that it is fixed.
    fn run(&self, bench: &Bench<'_>, runs: Option<u32>, until: Option<Instant>) -> Replayed {
        let needed = runs.unwrap_or_else(|| match self.recorded.runs_to_tell() {
            Some(needed) if needed <= RUNS_MOST => needed.max(RUNS_LEAST),
            // Too few would tell no more than some.
            _ => RUNS_UNKNOWN,
        });
        let compared = match self.invariant == invariants::REPEATED {
            // What one signal does as well is not the repetition's fault.
            true => bench.compare_with(&once(&self.trial), COMPARED_WITH),
            false => Ok(()),
        };
        let mut reason = compared.err().map(|stop| stop.to_string());
        while reason.is_none() {
            if let Err(stop) = bench.compare(&self.trial, &self.invariant, None) {
                reason = Some(stop.to_string());
                break;
            }
            let rate = bench.rate(&self.trial, &self.invariant, 0);
            let tries = bench.tries(&self.trial) as u32;
            let is_enough = rate.runs >= needed || (runs.is_none() && rate.failed >= FAILED_ENOUGH);
            // Where the situation is seldom reached, that has an end, too.
            if is_enough || tries >= needed.saturating_mul(2).max(RUNS_LEAST) {
                break;
            }
            let times = (needed - rate.runs) as usize;
            match bench.run_some(&self.trial, times, until) {
                Ok(()) => {}
                Err(Stop::NoTime { hangs, .. }) => {
                    reason = Some(format!("the time was over (--budget){}", hint(hangs)));
                    break;
                }
                Err(stop) => {
                    let lacking =
                        matches!(stop, Stop::NoOccasion).then(|| bench.lacking(&self.trial));
                    reason = Some(lacking.flatten().map_or(stop.to_string(), str::to_owned));
                    break;
                }
            }
        }
        let now = bench.rate(&self.trial, &self.invariant, 0);
        let less = bench.has_less_of(&self.trial).filter(|_| self.is_exact);
        // It was violated again, and nobody can say by whose fault: that is not fixed.
        let excuse = bench.excuse(&self.trial, &self.invariant);
        let has_less = less.is_some() || excuse.is_some();
        let why = || {
            let is_known = invariants::find(&self.invariant).is_some();
            let unknown = (!is_known).then(|| "no invariant has this name".to_owned());
            let missed = || bench.missed(&self.trial, &self.invariant);
            unknown.or(less).or(reason).or(excuse).or_else(missed)
        };
        Replayed::of((&self.invariant, &self.trial, self.recorded), now, has_less, why)
    }
}
