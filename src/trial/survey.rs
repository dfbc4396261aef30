//! A first look at a target: one start of it, from which its configuration can be written.

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{Event, EventKind, ExitStatus};
use crate::model::signal::Signal;
use crate::model::stack::Signs;
use crate::observe::dispositions::handles;
use crate::observe::recorder::Recorder;
use crate::target::page::page;

use super::error::TrialError;
use super::interrupt::Interrupt;
use super::rehearsal::seed;
use super::started::{Started, start};
use super::subject::Subject;

/// A page that has not answered within this time is one of those that take long.
const PAGE_LIMIT: Duration = Duration::from_secs(5);
/// For so long after readiness its lines are awaited: jobs that begin by themselves do so.
const WATCH: Duration = Duration::from_secs(2);
/// No server has this page, unless it answers to every path alike.
const NOWHERE: &str = "/shutdown-check-asks-for-what-is-not-there";

/// What one start of a target showed.
#[derive(Debug)]
pub struct Survey {
    /// Where it listened; absent where it has no listener.
    pub address: Option<ServerAddress>,
    /// Whether that is where it was told to.
    pub took_port: bool,
    /// The pages that answered, in the order in which they were asked for.
    pub pages: Vec<Page>,
    /// Whether it answers with success to a page that can't be there.
    pub answers_all: bool,
    /// The lines that it wrote.
    pub lines: Vec<String>,
    /// Jobs that the usual patterns know.
    pub usual_jobs: usize,
    /// Whether any of its processes takes the signal.
    pub handles_signal: bool,
    /// How it ended after the signal, and how long that took; absent where it did not in time.
    pub exit: Option<(ExitStatus, Duration)>,
    /// What tells what it is built with.
    pub signs: Signs,
}

/// A page that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its path.
    pub path: String,
    /// The status code.
    pub status: u16,
    /// How long that took, on a quiet target.
    pub took: Duration,
}

/// Starts the target, asks for these pages one after the other, and ends it by the signal.
///
/// # Errors
/// When it can't be started, or is never ready.
pub fn survey(
    subject: &Subject,
    paths: &[String],
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Survey, TrialError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| TrialError::Harness { what: "start a runtime", reason })?;
    LocalSet::new().block_on(&runtime, run(subject, paths, signal, interrupt))
}

async fn run(
    subject: &Subject,
    paths: &[String],
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Survey, TrialError> {
    let recorder = Recorder::new();
    let mut started = start(subject, (seed(), subject.as_pid_1), &recorder)?;
    let found = started.ready(subject, interrupt, &recorder).await?;
    let watched = Instant::now() + WATCH;
    let took_port = started.took_port(&found);
    let signs = started.signs(subject, &found).await;
    let (mut pages, mut answers_all) = (Vec::new(), false);
    if let Some(address) = &found.address {
        tokio::select! {
            asked = ask(address, paths) => pages = asked,
            () = interrupt.wait() => return Err(TrialError::Interrupted),
        }
        let nowhere = page(address, NOWHERE, PAGE_LIMIT).await;
        answers_all = nowhere.is_some_and(|it| (200..300).contains(&it.status));
    }
    tokio::select! {
        () = sleep(watched.saturating_duration_since(Instant::now())) => {}
        () = interrupt.wait() => return Err(TrialError::Interrupted),
    }
    let alive = started.launched.family().alive();
    let handles_signal = alive.into_iter().any(|process| handles(process.pid, signal));
    let exit = end(&mut started, subject, signal, interrupt).await?;
    started.close_output().await;
    let (lines, usual_jobs) =
        recorder.read(|events| (lines(events), subject.job_lines.books(events).jobs.len()));
    Ok(Survey {
        address: found.address,
        took_port,
        pages,
        answers_all,
        lines,
        usual_jobs,
        handles_signal,
        exit,
        signs,
    })
}

/// Asks for the pages, one at a time.
async fn ask(address: &ServerAddress, paths: &[String]) -> Vec<Page> {
    let mut pages = Vec::new();
    for path in paths {
        if let Some(answer) = page(address, path, PAGE_LIMIT).await {
            pages.push(Page { path: path.clone(), status: answer.status, took: answer.took });
        }
    }
    pages
}

/// Sends the signal and waits for the end, as long as the contract gives it.
async fn end(
    started: &mut Started,
    subject: &Subject,
    signal: Signal,
    interrupt: &Interrupt,
) -> Result<Option<(ExitStatus, Duration)>, TrialError> {
    let asked = Instant::now();
    started.launched.ask_to_end(signal);
    let leader = started.launched.leader().clone();
    tokio::select! {
        ended = timeout(subject.contract.deadline, leader.ended()) => {
            let status = ended.ok().flatten();
            Ok(status.map(|status| (status, asked.elapsed())))
        }
        () = interrupt.wait() => Err(TrialError::Interrupted),
    }
}

fn lines(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match &event.kind {
        EventKind::OutputLine { line, .. } => Some(line.clone()),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}
