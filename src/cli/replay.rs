//! `replay`: what failed is run again, from the regressions file, a report or one history.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::invariants;
use crate::judge::judge;
use crate::model::history::History;
use crate::model::plan::{Situation, Trial};
use crate::model::reproduction::{Rate, Replayed, Standing};
use crate::model::run::RunReport;
use crate::model::secrets::REDACTED;
use crate::model::verdict::{Severity, VerdictName};
use crate::report::{Format, replay as shown};
use crate::trial::interrupt::Interrupt;

use super::args::RunArgs;
use super::args::again::ReplayArgs;
use super::config::{self, ConfigFile};
use super::error::UsageError;
use super::failure::Failure;
use super::publish::{REPORT, print};
use super::regressions::Book;
use super::render;
use super::reproduce::bench::{Bench, Stop};
use super::run::{Ready, draw_seed};
use super::settings::Settings;
use super::store;
use super::{complain, here, interrupt};

/// A failure is run so often at least, unless it comes back before: a rate by fewer says little.
const RUNS_LEAST: u32 = 10;
/// A trial with several signals is compared with so many that have one.
const COMPARED_WITH: usize = 8;
/// It is run no more when it has failed so often.
const FAILED_ENOUGH: u32 = 5;

/// One failure that is to be run again.
struct Case {
    invariant: String,
    trial: Trial,
    recorded: Rate,
    /// Whether the trial says how many connections and kinds of them it had.
    is_exact: bool,
}

/// Runs them again; the exit code is 1 where one still fails, 3 where one could not be shown.
///
/// # Errors
/// When there is nothing to run, or it can't be run.
pub fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let here = here()?;
    let (source, run) = source(&args.run, &here);
    let (settings, cases, book) = match source {
        Some(path) => {
            let (cases, file) = of_path(&path, args.trial)?;
            let settings = match file {
                Some(file) => settings_of(file, &run, &here)?,
                None => Settings::resolve(&run, std::env::vars_os(), &here)?,
            };
            (settings, cases, None)
        }
        None => {
            let settings = Settings::resolve(&run, std::env::vars_os(), &here)?;
            let book = Book::open(&settings.again)?;
            (settings, of_book(book.as_ref())?, book)
        }
    };
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
    match settings.outputs.stdout {
        Format::Json => print(&shown::json(&all)),
        _ => print(&shown::text(&all)),
    }
    if args.retire
        && let Some(mut book) = book
    {
        let is_fixed = |(_, it): &(usize, &Replayed)| it.standing == Standing::Fixed;
        let fixed: Vec<usize> = all.iter().enumerate().filter(is_fixed).map(|it| it.0).collect();
        book.retire(&fixed)?;
    }
    Ok(match interrupt.asked() {
        Some(signal) => u8::try_from(128 + signal.number()).unwrap_or(u8::MAX),
        None => shown::exit_code(&all),
    })
}

/// What is named first, where that is a report, its folder or a history, and the rest of the words,
/// which are the target's.
fn source(run: &RunArgs, here: &Path) -> (Option<PathBuf>, RunArgs) {
    let named = run.target.as_ref().map(|target| here.join(target));
    let is_source = |path: &PathBuf| {
        let is_recorded = path.extension().is_some_and(|it| it == "json" || it == "jsonl");
        is_recorded || path.join(REPORT).is_file()
    };
    let Some(path) = named.filter(is_source) else { return (None, run.clone()) };
    let mut words = run.args.iter().cloned();
    (Some(path), RunArgs { target: words.next(), args: words.collect(), ..run.clone() })
}

fn refused(what: &Path, reason: impl Into<String>) -> Failure {
    UsageError::Replay { what: what.display().to_string(), reason: reason.into() }.into()
}

fn of_book(book: Option<&Book>) -> Result<Vec<Case>, Failure> {
    let Some(book) = book else {
        let what = Path::new("known failures");
        return Err(refused(what, "no file of them is read (--no-regressions, --no-config)"));
    };
    let case = |(at, entry): (usize, &crate::model::regressions::Regression)| {
        let (invariant, recorded) = (entry.invariant.clone(), entry.found.rate);
        // Those that can't be understood were refused when the file was read.
        let trial = entry.trial(1 + at as u32).ok()?;
        Some(Case { invariant, recorded, trial, is_exact: true })
    };
    let cases: Vec<_> = book.entries.iter().enumerate().filter_map(case).collect();
    match cases.is_empty() {
        true => Err(refused(
            book.path(),
            "it has no entry\n  name a report or a history: shutdown-check replay reports/SEED",
        )),
        false => Ok(cases),
    }
}

/// What a report or a history shows to fail, and the settings of its run where they are known.
fn of_path(path: &Path, trial: Option<u32>) -> Result<(Vec<Case>, Option<Recorded>), Failure> {
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let history = store::read(path)?;
        let trial = &with_its_request(&history);
        let violated = judge(&history)
            .into_iter()
            .filter(|finding| finding.verdict.outcome() == VerdictName::Violated);
        let case = |finding: crate::model::verdict::Finding| Case {
            invariant: finding.invariant.to_owned(),
            trial: trial.clone(),
            recorded: Rate { failed: 1, runs: 1 },
            is_exact: false,
        };
        let cases: Vec<_> = violated.map(case).collect();
        if cases.is_empty() {
            return Err(refused(path, "it violates nothing that could be seen again"));
        }
        let report = path.with_file_name(REPORT);
        let beside = report.is_file().then(|| render::read(&report)).transpose()?;
        let command = history.header().command.clone();
        let recorded = beside.map(|report| Recorded { report, command });
        return Ok((cases, recorded));
    }
    let file = if path.is_dir() { path.join(REPORT) } else { path.to_owned() };
    let report = render::read(&file)?;
    let cases = of_report(&report, trial).ok_or_else(|| match trial {
        Some(trial) => refused(path, format!("its trial {trial} violates nothing, or is none")),
        None => refused(path, "nothing in it fails a run\n  name one of its trials (--trial N)"),
    })?;
    let command = report.target.command.clone();
    Ok((cases, Some(Recorded { report, command })))
}

/// The trial of a history, with the request that it asked for, where that was one: which of them suits
/// a situation is known better by what was done than by another rehearsal.
fn with_its_request(history: &History) -> Trial {
    let trial = history.header().trial.clone();
    let mut templates: Vec<u16> = history.requests().map(|(_, it)| it.template).collect();
    templates.sort_unstable();
    templates.dedup();
    let named = match templates[..] {
        [one] if !trial.situation.is_load() => history.contract().requests.get(usize::from(one)),
        _ => None,
    };
    let asks = trial.asks.clone().or_else(|| named.map(|request| request.name.clone()));
    Trial { asks, ..trial }
}

/// The shrunk failures of a report; where there are none, the smallest trial of each; or one trial.
fn of_report(report: &RunReport, trial: Option<u32>) -> Option<Vec<Case>> {
    let planned = |number: u32| report.plan.trials.iter().find(|it| it.number == number);
    let once = |invariant: &str, number: u32| {
        let trial = planned(number)?.clone();
        let (invariant, recorded) = (invariant.to_owned(), Rate { failed: 1, runs: 1 });
        Some(Case { invariant, trial, recorded, is_exact: false })
    };
    let cases: Vec<Case> = match trial {
        Some(number) => {
            let trial = report.trials.iter().find(|it| it.number == number)?;
            trial.violated.iter().filter_map(|id| once(id, number)).collect()
        }
        None => {
            let failed = report
                .invariants
                .iter()
                .filter(|it| (it.level, it.verdict) == (Severity::Deny, VerdictName::Violated));
            let shrunk = |id: &str| {
                let found = report.reproductions.iter().find(|it| it.invariant == id)?;
                let (trial, recorded) = (found.trial.clone(), found.rate);
                Some(Case { invariant: id.to_owned(), trial, recorded, is_exact: true })
            };
            failed
                .filter_map(|it| {
                    let first = || once(&it.id, it.evidence.first()?.trial);
                    shrunk(&it.id).or_else(first)
                })
                .collect()
        }
    };
    Some(cases).filter(|cases| !cases.is_empty())
}

/// A run that was, whose settings hold again.
struct Recorded {
    report: RunReport,
    command: Vec<String>,
}

/// The settings of a run that was, with what is said now on top. What its report does not keep, since
/// it may be secret, comes from the file of the repository, or has to be said again.
fn settings_of(recorded: Recorded, run: &RunArgs, here: &Path) -> Result<Settings, Failure> {
    let mut table = recorded.report.configuration;
    let found = match run.source.no_config {
        true => None,
        false => config::read(&here.join(config::DEFAULT_NAME), false)?,
    };
    let found = found.unwrap_or_default();
    let Some(keys) = table.as_object_mut() else {
        return Ok(Settings::resolve(run, std::env::vars_os(), here)?);
    };
    for key in ["pid", "seed", "trials", "budget", "reports-dir", "shrink-budget"] {
        keys.remove(key);
    }
    if run.target.is_some() || recorded.command.is_empty() {
        keys.remove("target");
    } else if !keys.contains_key("target") {
        keys.insert("target".into(), recorded.command.into());
    }
    let is_said = |(key, value): (&String, &serde_json::Value)| {
        let is_kept =
            !value.to_string().contains(REDACTED) && !value.to_string().contains("sha256 ");
        is_kept || key == "env"
    };
    let unsaid: Vec<String> =
        keys.iter().filter(|it| !is_said(*it)).map(|(key, _)| key.clone()).collect();
    for key in unsaid {
        let is_known = match key.as_str() {
            "request" => !run.load.path.is_empty() || !found.request.is_empty(),
            "target" => !found.target.is_empty(),
            "writes" => run.load.write.is_some() || found.writes.is_some(),
            _ => false,
        };
        if !is_known {
            let reason = format!(
                "the report does not keep all of {key}, since it may be secret\n  say it again on \
                 the command line, or in {}",
                config::DEFAULT_NAME
            );
            return Err(UsageError::Replay { what: "the run".into(), reason }.into());
        }
        keys.remove(&key);
    }
    let named = keys.remove("env").and_then(|env| env.as_object().cloned()).unwrap_or_default();
    let given = |name: &String| {
        found.env.contains_key(name) || run.start.env.iter().any(|(key, _)| key == name)
    };
    if let Some(name) = named.keys().find(|name| !given(name)) {
        let reason =
            format!("the report does not keep the variable {name}: give it (--env {name}=…)");
        return Err(UsageError::Replay { what: "the run".into(), reason }.into());
    }
    let mut file: ConfigFile = config::of_report(&table, Path::new(REPORT))?;
    file.env = found.env;
    if file.target.is_empty() {
        file.target = found.target;
    }
    if file.request.is_empty() {
        file.request = found.request;
    }
    file.writes = file.writes.or(found.writes);
    Ok(Settings::of_file(run, std::env::vars_os(), (&file, here))?)
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
        let needed = runs.unwrap_or_else(|| self.recorded.runs_to_tell().max(RUNS_LEAST));
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
                Err(Stop::NoTime { .. }) => {
                    reason = Some("the time was over (--budget)".to_owned());
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
        let standing = Replayed::standing(self.recorded, now).unless_less(less.is_some());
        let reason = less.or(reason).or_else(|| bench.missed(&self.trial, &self.invariant));
        let is_known = invariants::find(&self.invariant).is_some();
        Replayed {
            invariant: self.invariant.clone(),
            trial: self.trial.clone(),
            recorded: self.recorded,
            now,
            standing,
            reason: match standing {
                Standing::NotShown if !is_known => Some("no invariant has this name".into()),
                Standing::NotShown => reason,
                _ => None,
            },
        }
    }
}
