//! The time of a trial beyond what its target and its plan take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shutdown_check::cli::store::Store;
use shutdown_check::judge::judge;
use shutdown_check::model::contract::{Contract, JobPatterns};
use shutdown_check::model::event::{Event, EventKind};
use shutdown_check::model::header::{HISTORY_VERSION, Header};
use shutdown_check::model::history::History;
use shutdown_check::model::plan::{Situation, Trial};
use shutdown_check::model::signal::Signal;
use shutdown_check::model::target::{Elsewhere, RequestTemplate, Target};
use shutdown_check::model::time::Nanos;
use shutdown_check::plan::{PlanOptions, trial};
use shutdown_check::target::tree::adopt_orphans;
use shutdown_check::trial::carry_out::carry_out;
use shutdown_check::trial::interrupt::interrupt;
use shutdown_check::trial::rehearsal::rehearse;
use shutdown_check::trial::subject::{Subject, Unguarded};

use super::Outcome;
use super::bundled::PROGRAM;
use super::samples::{Samples, row, titles};

const TRIALS: u32 = 60;
/// Short, since the load window is not what is measured.
const WINDOW: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(120));

/// The parts of a trial that are the harness's own.
///
/// A trial takes, one after the other: *launch*; the target's start, until its line
/// `listening on …` is read; *readiness*, until the load begins; the load, until S⁺; the drain,
/// until the exit of the target is seen; *wind-down*: the look for leftovers, the probe of the
/// port, the ends of clients, probers and output, and the removal of what was started; *saving*
/// the history; *judging* it. Those in italics are added up.
///
/// Two instants are the harness's where the target's own can't be known: the line counts when it
/// is read and the exit when it is seen, both by the one thread that also does everything else.
struct Overhead {
    launch: Duration,
    readiness: Duration,
    wind_down: Duration,
    saving: Duration,
    judging: Duration,
}

impl Overhead {
    fn total(&self) -> Duration {
        self.launch + self.readiness + self.wind_down + self.saving + self.judging
    }
}

/// Carries out trials of the correct fixture, which has no jobs here, under requests that take no
/// time; plan, saving and judging as in a run.
pub(crate) fn measure() -> Outcome {
    adopt_orphans();
    let (_interrupter, interrupt) = interrupt();
    let run_id = format!("bench-{}", std::process::id());
    let subject = Subject::new(target(), contract(), run_id, Arc::new(Unguarded))?;
    let options =
        PlanOptions { window: WINDOW, situations: vec![Situation::Load], ..PlanOptions::new(1) };
    let subject = rehearse(subject, options.connections, Signal::TERM, &interrupt)?.subject;
    let folder = tempfile::tempdir()?;
    let store = Store::create(folder.path().to_owned())?;
    let mut all = Vec::new();
    for number in 1..=TRIALS {
        let trial = trial(&options, number);
        let header = header(&subject, &trial);
        let begun = Instant::now();
        let (events, result) = carry_out((&trial, &[]), &subject, &interrupt, (0, &|| {}));
        let carried_out = begun.elapsed();
        result?;
        let begun = Instant::now();
        store.save(&header, &events)?;
        let saving = begun.elapsed();
        let begun = Instant::now();
        let history = History::with_job_lines(header, events, &subject.job_lines)?;
        judge(&history);
        let judging = begun.elapsed();
        let events = history.events();
        all.push(overhead(events, carried_out, saving, judging).ok_or("a step is missing")?);
    }
    let show = |what: &str, part: fn(&Overhead) -> Duration| {
        row(what, &Samples::milliseconds(all.iter().map(part)));
    };
    titles("A trial's time beyond its target's", "ms");
    show("launch", |o| o.launch);
    show("readiness, after the line", |o| o.readiness);
    show("wind-down, after the exit", |o| o.wind_down);
    show("saving", |o| o.saving);
    show("judging", |o| o.judging);
    show("all of it", Overhead::total);
    println!("  aim: p50 at most 5 ms");
    Ok(())
}

/// What remains of the time of a trial, whose recorder's clock begins with it.
fn overhead(
    events: &[Event],
    carried_out: Duration,
    saving: Duration,
    judging: Duration,
) -> Option<Overhead> {
    let at = |wanted: fn(&EventKind) -> bool| {
        events.iter().find(|event| wanted(&event.kind)).map(|event| event.at)
    };
    let launched = at(|kind| matches!(kind, EventKind::Spawned { .. }))?;
    let listening = at(
        |kind| matches!(kind, EventKind::OutputLine { line, .. } if line.contains("listening on")),
    )?;
    let load = at(|kind| matches!(kind, EventKind::LoadStarted))?;
    let exited = at(|kind| matches!(kind, EventKind::Exited { .. }))?;
    Some(Overhead {
        launch: launched.since(Nanos::ZERO),
        readiness: load.since(listening),
        wind_down: carried_out.saturating_sub(exited.since(Nanos::ZERO)),
        saving,
        judging,
    })
}

fn target() -> Target {
    Target {
        command: [PROGRAM, "fixture", "correct"].map(String::from).into(),
        cwd: None,
        env: vec![("JOB_MS".into(), "0".into())],
        port: None,
        socket: None,
        leaves_no: Vec::new(),
        has_listener: true,
        ready_line: None,
        ready_file: None,
        host: "127.0.0.1".into(),
        ready_path: None,
        ready_timeout: Duration::from_secs(10),
        requests: vec![RequestTemplate::get("/")],
        elsewhere: Elsewhere::default(),
        writes: None,
    }
}

fn contract() -> Contract {
    Contract { deadline: Duration::from_secs(5), jobs: JobPatterns::usual(), ..Contract::default() }
}

fn header(subject: &Subject, trial: &Trial) -> Header {
    Header {
        history_version: HISTORY_VERSION.into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        command: subject.target.command.clone(),
        trial: trial.clone(),
        contract: subject.contract.clone(),
    }
}
