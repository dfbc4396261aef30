//! `run`, the default command: rehearse, then trial after trial, each judged when it is over;
//! then the report.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::model::address::ServerAddress;
use crate::model::plan::{Situation, Trial};
use crate::model::run::RunReport;
use crate::model::secrets::Secrets;
use crate::model::signal::Signal;
use crate::model::target::Target;
use crate::plan::PlanOptions;
use crate::plan::share::Share;
use crate::sys::{allow_descriptors, keep_exit_statuses};
use crate::target::kept::try_as_pid_1;
use crate::target::launch::LaunchError;
use crate::target::tree::{adopt_orphans, words};
use crate::trial::error::TrialError;
use crate::trial::interrupt::Interrupt;
use crate::trial::rehearsal::{Rehearsed, rehearse};
use crate::trial::subject::Subject;

use super::again::say_how;
use super::bundled;
use super::complain;
use super::deep::{Deep, deep};
use super::desk::Desk;
use super::error::UsageError;
use super::failure::{Failure, internal};
use super::foresight::with_wishes;
use super::guardian::Guardian;
use super::known;
use super::progress::{Extent, How, Progress};
use super::publish::{Publication, RunRecord};
use super::regressions::Book;
use super::reproduce::bench::Bench;
use super::reproduce::reproduce;
use super::running;
use super::schedule::{Occasion, Schedule};
use super::settings::{Amount, Settings};
use super::snapshot;
use super::stopping::Stopping;
use super::store::Store;

/// Trials side by side, where the user does not say; more only make each other late.
const PARALLEL_MAX: usize = 4;
/// Descriptors of a trial besides those of its clients: probes, late requests, pipes, the runtime.
pub(super) const DESCRIPTORS_BESIDES: u64 = 200;
/// The exit code of a run that violates a denied invariant.
const VIOLATED: u8 = 1;

/// Checks a target; the exit code.
///
/// # Errors
/// When there is no verdict: see [`Failure`].
pub fn run(settings: Settings, interrupt: &Interrupt) -> Result<u8, Failure> {
    let seed = settings.seed.unwrap_or_else(draw_seed);
    let folder = settings.outputs.folder(seed);
    let mut book = Book::open(&settings.again)?;
    let snapshot = snapshot::Book::open(&settings.snapshot)?;
    let mut publication = Publication::open(&settings.outputs, &folder)?;
    publication.secrets = settings.secrets();
    let entries = book.as_ref().map(|book| &*book.entries).unwrap_or_default();
    // Of several machines the first tries what is known.
    let entries = if settings.partition.index == 1 { entries } else { &[] };
    let also: Vec<Trial> = entries.iter().filter_map(|entry| entry.trial(0).ok()).collect();
    let ready = Ready::new(&settings, (seed, folder), &also, interrupt)?;
    let schedule = ready.schedule(interrupt)?;
    let desk = ready.desk(interrupt);
    let known = known::try_first(&schedule, desk.extent, entries);
    desk.carry_out_all(&schedule);
    let (summaries, retries, failure) = desk.results();
    let failure = match failure {
        Some(failure) if summaries.is_empty() && interrupt.asked().is_none() => {
            ready.progress.finish();
            return Err(failure);
        }
        failure => failure,
    };
    let mut plan = schedule.plan();
    plan.trials.extend(schedule.known());
    let record = RunRecord {
        settings: &settings,
        severities: desk.severities.clone(),
        plan: plan.clone(),
        search: schedule.search(),
        retries,
        deep: ready.deep.report.clone(),
        unreachable: schedule.unreachable(),
        histories: ready.store.folder(),
        rehearsed: &ready.rehearsed,
        summaries: &summaries,
        interrupted: interrupt.asked(),
        started_at: ready.started_at.to_string(),
        duration: ready.begun.elapsed(),
    };
    let mut report = record.report();
    report.replayed = known.iter().map(|it| it.replayed(&summaries, &desk.severities)).collect();
    if failure.is_none() && interrupt.asked().is_none() {
        ready.progress.shrinking(settings.again.shrink_budget);
        let bench = Bench::new(&desk, &schedule, ready.workers, summaries);
        report.reproductions = reproduce(&bench, &report, &plan, settings.again.shrink_budget);
        remember(&mut report, book.as_mut(), &publication.secrets);
    }
    // A process that runs already was tried for the last time.
    if settings.pid.is_none() {
        say_how(&mut report, ready.store.folder());
    }
    ready.progress.finish();
    if let Some(snapshot) = snapshot.filter(|_| failure.is_none()) {
        snapshot.compare(&mut report)?;
    }
    let code = publication.publish(report)?;
    failure.map_or(Ok(code), |failure| broke_off(failure, code, &settings.secrets()))
}

/// Writes down what was found and seen again.
fn remember(report: &mut RunReport, book: Option<&mut Book>, secrets: &Secrets) {
    for found in &mut report.reproductions {
        found.entry = secrets.hidden_name(&found.entry);
    }
    let written = book.map_or(Ok(()), |book| book.remember(&mut report.reproductions));
    // The verdict stands whether or not it could be written down.
    if let Err(error) = written {
        complain(&error.into(), secrets);
    }
}

/// A target that was looked at, and all that its trials need.
pub(super) struct Ready<'s> {
    settings: &'s Settings,
    seed: u64,
    begun: Instant,
    started_at: jiff::Timestamp,
    pub(super) store: Store,
    no_pid_1: Option<&'static str>,
    pub(super) progress: Progress,
    rehearsed: Rehearsed,
    deep: Deep,
    /// How many trials do something at the same time.
    pub(super) workers: usize,
}

impl<'s> Ready<'s> {
    /// Starts the target once, so that it is known what its trials are like: those of the plan, and
    /// others.
    pub(super) fn new(
        settings: &'s Settings,
        (seed, folder): (u64, PathBuf),
        also: &[Trial],
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let (begun, started_at) = (Instant::now(), jiff::Timestamp::now());
        let store = Store::create(folder)?.hiding(settings.secrets());
        adopt_orphans();
        keep_exit_statuses();
        let run_id = format!("{}-{seed:x}", std::process::id());
        let subject = with_wishes(subject(settings, run_id)?, settings, also);
        let no_pid_1 = no_pid_1(settings, &subject)?;
        let done_here = own_extent(settings.amount, &settings.plan_options(seed));
        let progress = Progress::new(How::suitable(settings.outputs.progress), done_here);
        make_room_for(subject.crowd, 1)?;
        let rehearsed = rehearsed(subject, settings, &progress, interrupt)?;
        let workers = parallelism(settings, &rehearsed.subject);
        let deep = deep(settings, &rehearsed.subject, interrupt)?;
        Ok(Self {
            settings,
            seed,
            begun,
            started_at,
            store,
            no_pid_1,
            progress,
            rehearsed,
            deep,
            workers,
        })
    }

    /// The trials that there are.
    pub(super) fn schedule<'a>(&self, interrupt: &'a Interrupt) -> Result<Schedule<'a>, Failure> {
        let Rehearsed { subject, address, .. } = &self.rehearsed;
        let crowd = subject.crowd;
        let schedule = Schedule::new(
            (self.plan_options(), extent(self.settings.amount), self.begun),
            occasion(subject, address.as_ref(), &self.settings.secrets()),
            self.workers,
            interrupt,
        )
        .without_pid_1(self.no_pid_1)
        .of_running(subject.running.is_some())
        .with_whole_round(self.settings.snapshot.file.is_some());
        make_room_for(self.settings.connections.max(crowd), schedule.threads())?;
        Ok(schedule)
    }

    /// What the plan is drawn from, now that the target is known.
    fn plan_options(&self) -> PlanOptions {
        let (points, crowd) = (self.deep.points.clone(), self.rehearsed.subject.crowd);
        PlanOptions { points, crowd, ..self.settings.plan_options(self.seed) }
    }

    /// Where they are carried out.
    pub(super) fn desk<'a>(&'a self, interrupt: &'a Interrupt) -> Desk<'a> {
        Desk {
            severities: self.settings.rules.in_order_of_catalogue(),
            results: Mutex::default(),
            subject: &self.rehearsed.subject,
            store: &self.store,
            progress: &self.progress,
            interrupt,
            extent: own_extent(self.settings.amount, &self.plan_options()),
            stopping: Mutex::new(Stopping::new(self.settings.ending)),
        }
    }
}

/// The exit code of a run that broke off: what was shown before stays shown.
fn broke_off(failure: Failure, code: u8, secrets: &Secrets) -> Result<u8, Failure> {
    if code != VIOLATED {
        return Err(failure);
    }
    complain(&failure, secrets);
    Ok(code)
}

fn occasion(subject: &Subject, address: Option<&ServerAddress>, secrets: &Secrets) -> Occasion {
    let names = subject.contract.requests.iter().map(|it| it.name.clone());
    Occasion {
        address: address.cloned(),
        requests: address.map(|address| subject.prepared(address)).unwrap_or_default(),
        names: names.map(|it| (it.clone(), secrets.hidden_name(&it))).collect(),
        parallelism: subject.parallelism,
        has_jobs: subject.has_jobs,
        lives: subject.lives.clone(),
    }
}

/// The target, of which nothing is known yet but what the user said.
fn subject(settings: &Settings, run_id: String) -> Result<Subject, Failure> {
    let guardian = Guardian::start(&run_id).map_err(internal("start the guardian"))?;
    let running = settings.pid.map(running::process).transpose()?;
    let target = match running {
        Some(process) => {
            // A bundled one is not meant.
            Target { command: words(process.pid), ..settings.target() }
        }
        None => bundled::or_reference_server(settings.target())?,
    };
    let mut contract = settings.contract(Vec::new());
    contract.has_readiness = target.ready_path.is_some();
    let mut subject =
        Subject::new(target, contract, run_id, Arc::new(guardian)).map_err(TrialError::from)?;
    subject.keeper = Some(std::env::current_exe().map_err(internal("find its own program"))?);
    subject.as_pid_1 = settings.as_pid_1;
    subject.running = running;
    // Whatever the harness itself asks would be out of reach in another network.
    subject.own_network = running.is_none()
        && subject.target.elsewhere.ledger().is_none()
        && side_by_side(settings, &subject.target) > 1;
    Ok(subject)
}

fn extent(amount: Amount) -> Extent {
    match amount {
        Amount::Trials(trials) => Extent::Trials(trials.get()),
        Amount::Budget(budget) => Extent::Budget(budget),
    }
}

/// How much of it is this slice's.
fn own_extent(amount: Amount, options: &PlanOptions) -> Extent {
    match extent(amount) {
        Extent::Trials(trials) => Extent::Trials(Share::new(options).count(trials)),
        budget => budget,
    }
}

/// A quiet start of the target, from which follows what its trials are like.
fn rehearsed(
    subject: Subject,
    settings: &Settings,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Rehearsed, Failure> {
    let signal = settings.signals.first().copied().unwrap_or(Signal::TERM);
    rehearse(subject, settings.connections, signal, interrupt).map_err(|error| {
        progress.finish();
        interrupt.asked().map_or(Failure::from(error), Failure::Interrupted)
    })
}

/// Why the target can't be PID 1 in single trials, where it can't.
///
/// # Errors
/// The same, where it is to be PID 1 in all of them.
fn no_pid_1(settings: &Settings, subject: &Subject) -> Result<Option<&'static str>, Failure> {
    let is_wanted = settings.as_pid_1 || settings.situations.contains(&Situation::AsPid1);
    let Some(keeper) = subject.keeper.as_ref().filter(|_| is_wanted) else { return Ok(None) };
    match try_as_pid_1(keeper) {
        Ok(()) => Ok(None),
        Err(reason) if settings.as_pid_1 => {
            Err(TrialError::from(LaunchError::Namespace { reason }).into())
        }
        Err(_) => Ok(Some(
            "this account may make no PID namespace here: run as root, or allow user namespaces \
             (user.max_user_namespaces, sysctl(8))",
        )),
    }
}

/// Raises the limit of open files to what the clients will need (getrlimit(2)): without a
/// descriptor the harness could neither connect nor look at the target's processes.
fn make_room_for(connections: u16, workers: usize) -> Result<(), Failure> {
    let needed = (u64::from(connections) + DESCRIPTORS_BESIDES) * workers as u64;
    let refused = |limit| UsageError::Descriptors { needed, limit }.into();
    allow_descriptors(needed).map_err(refused)
}

/// A seed that people can read out and type.
pub(super) fn draw_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000
}

fn parallelism(settings: &Settings, subject: &Subject) -> usize {
    // On a port of its own choice, two of the target can't run at the same time.
    let shares_port = !subject.takes_port && !subject.own_network;
    if shares_port { 1 } else { side_by_side(settings, &subject.target) }
}

/// How many trials could run at the same time, were nothing to be said against their port.
pub(super) fn side_by_side(settings: &Settings, target: &Target) -> usize {
    // Where they share a file, nobody knows which of them has left it, or written to it.
    if target.shares_places() || matches!(settings.amount, Amount::Trials(it) if it.get() == 1) {
        return 1;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    settings.parallel.map_or(processors.min(PARALLEL_MAX), usize::from)
}
