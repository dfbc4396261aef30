//! One trial, step by step: launch, ready, load, signal, drain, exit, leftovers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::load::clients::{Clients, Stage};
use crate::load::pooled::pooled_client;
use crate::load::prober::{ask_late, probe, probe_until_over};
use crate::model::event::{Event, EventKind, ExitStatus, ProbeOutcome, Stream};
use crate::model::ledger::{BadPattern, JobLines};
use crate::model::plan::{Moment, PlannedSignal, SignalTo, Trial};
use crate::model::target::LastWords;
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::target::launch::{Followed, LaunchError, Launched, launch};
use crate::target::output::Output;
use crate::target::port::{PortLease, is_free};
use crate::target::ready::{Found, NotReady, Search, ready};
use crate::target::tree::command_line;

use super::interrupt::Interrupt;
use super::signaller::{Order, Recipient, send_from_thread};
use super::subject::{Guard, Subject};

/// Helper processes of runtimes outlive their parent by 50 to 100 ms, longer on a busy machine;
/// what lives longer than this after the exit is left behind.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// Clients get this long after the exit to see how their connections ended.
const CLIENTS_GRACE: Duration = Duration::from_secs(2);
/// A longer command is cut in messages.
const COMMAND_CHARS_MAX: usize = 60;
/// How [`TrialError::Ended`] names the case that a launcher ended while the load was on.
pub const LEFT_ITS_SERVER: &str = "while its server goes on";
/// How often the harness looks whether it is late itself.
const LAG_TICK: Duration = Duration::from_millis(5);

/// The trial could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The target could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not become ready.
    #[error("{command} never became ready\n  waited {waited:?}: {reason}")]
    NotReady {
        /// The target.
        command: String,
        /// How long was waited.
        waited: Duration,
        /// What was seen last.
        reason: NotReady,
        /// What it wrote.
        last: LastWords,
    },
    /// It ended before it was ready, or before any signal.
    #[error("{command} {} {when}", how(.last))]
    Ended {
        /// The target.
        command: String,
        /// "before it was ready", "before any signal", [`LEFT_ITS_SERVER`].
        when: &'static str,
        /// How it ended and what it wrote.
        last: LastWords,
    },
    /// The port that the target insists on is another program's.
    #[error("port {port} is taken by another program, and {command} was to listen there")]
    PortTaken {
        /// The port.
        port: u16,
        /// The target.
        command: String,
    },
    /// The user asked for the end.
    #[error("interrupted")]
    Interrupted,
    /// A job pattern can't be used.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The harness itself could not go on.
    #[error("the harness could not {what}: {reason}")]
    Harness {
        /// What it tried.
        what: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
}

fn how(last: &LastWords) -> String {
    match last.exit {
        Some(ExitStatus { code: Some(code), .. }) => format!("exited with status {code}"),
        Some(ExitStatus { signal: Some(signal), .. }) => format!("was ended by {signal}"),
        _ => "ended".into(),
    }
}

/// The command on one line, short enough for a message.
fn shown(command: &[String]) -> String {
    let is_plain = |word: &str| !word.is_empty() && !word.contains([' ', '\'', '"', ';', '&', '|']);
    let words = command.iter().map(|word| match is_plain(word) {
        true => word.clone(),
        false => format!("'{word}'"),
    });
    let line = words.collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    match line.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn harness(what: &'static str) -> impl FnOnce(std::io::Error) -> TrialError {
    move |reason| TrialError::Harness { what, reason }
}

/// Carries a trial out, on the calling thread; everything that was seen, also when it failed.
pub fn carry_out(
    trial: &Trial,
    subject: &Subject,
    interrupt: &Interrupt,
) -> (Vec<Event>, Result<(), TrialError>) {
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(harness("start a runtime")).and_then(|runtime| {
        let run = run(trial, subject, interrupt, &recorder);
        LocalSet::new().block_on(&runtime, run)
    });
    (recorder.into_events(), result)
}

/// A started target, and what reads its output.
pub(super) struct Started {
    guard: Arc<dyn Guard>,
    pub(super) launched: Launched,
    pub(super) output: Output,
    pub(super) readers: JoinSet<()>,
    lease: Option<PortLease>,
    guarded: Vec<u32>,
    command: String,
}

/// Starts the target of a subject.
pub(super) fn start(
    subject: &Subject,
    seed: u64,
    recorder: &Recorder,
) -> Result<Started, TrialError> {
    let command = shown(&subject.target.command);
    let (port, lease) = match subject.target.port {
        Some(port) if !is_free(port) => return Err(TrialError::PortTaken { port, command }),
        Some(port) => (port, None),
        None => {
            let lease = PortLease::take(seed).map_err(harness("find a free port"))?;
            (lease.port(), Some(lease))
        }
    };
    let marker = format!("{}-{port}", subject.run_id);
    let jobs = Rc::new(JobLines::new(&subject.contract.jobs)?);
    let output = Output::new(recorder.clone(), jobs);
    let (launched, pipes) = launch(&subject.target, port, &marker)?;
    let pid = launched.leader().pid;
    subject.guard.launched(pid);
    recorder.record(EventKind::Spawned { pid });
    let mut readers = JoinSet::new();
    readers.spawn_local(output.clone().read(pipes.stdout, Stream::Stdout));
    readers.spawn_local(output.clone().read(pipes.stderr, Stream::Stderr));
    let guard = subject.guard.clone();
    let guarded = vec![pid];
    Ok(Started { guard, launched, output, readers, lease, guarded, command })
}

impl Drop for Started {
    fn drop(&mut self) {
        self.launched.kill_all();
        for pid in self.guarded.drain(..) {
            self.guard.ended(pid);
        }
    }
}

impl Started {
    /// Waits until it is ready, or has ended, or the user asks for the end.
    pub(super) async fn ready(
        &mut self,
        subject: &Subject,
        interrupt: &Interrupt,
        recorder: &Recorder,
    ) -> Result<Found, TrialError> {
        let target = &subject.target;
        let leased = self.lease.as_ref().map(PortLease::port);
        let search = Search {
            port: target.port.or(leased).unwrap_or_default(),
            host: &target.host,
            any_port: target.port.is_none(),
            ready_path: target.ready_path.as_deref(),
            limit: target.ready_timeout,
        };
        let outcome = tokio::select! {
            biased;
            found = ready(&search, self.launched.family()) => found,
            () = interrupt.wait() => return Err(TrialError::Interrupted),
        };
        match outcome {
            Ok(found) => {
                let Found { address, owner } = found;
                recorder.record(EventKind::Ready { address, owner });
                // Whatever its environment and session are, the guardian knows it.
                for process in self.launched.family().alive() {
                    self.guard.launched(process.pid);
                    self.guarded.push(process.pid);
                }
                Ok(found)
            }
            Err(NotReady::Gone) => Err(self.ended("before it was ready").await),
            Err(NotReady::PortTaken { port }) => {
                Err(TrialError::PortTaken { port, command: self.command.clone() })
            }
            Err(reason) => {
                let last = LastWords { exit: None, lines: self.output.last_lines() };
                let (command, waited) = (self.command.clone(), search.limit);
                Err(TrialError::NotReady { command, waited, reason, last })
            }
        }
    }

    /// Whether it listens on the port that it was handed.
    pub(super) fn was_handed(&self, port: u16) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.port() == port)
    }

    /// The error that says how the target ended, with its last words.
    pub(super) async fn ended(&mut self, when: &'static str) -> TrialError {
        let leader = self.launched.leader().clone();
        // It may be another process that ended, and the leader live on.
        let exit = timeout(Duration::from_millis(200), leader.ended()).await.ok().flatten();
        // Its last words may still be in the pipe.
        let _ = timeout(Duration::from_millis(200), async {
            while self.readers.join_next().await.is_some() {}
        })
        .await;
        let last = LastWords { exit, lines: self.output.last_lines() };
        TrialError::Ended { command: self.command.clone(), when, last }
    }
}

async fn run(
    trial: &Trial,
    subject: &Subject,
    interrupt: &Interrupt,
    recorder: &Recorder,
) -> Result<(), TrialError> {
    let mut started = start(subject, trial.seed, recorder)?;
    let found = started.ready(subject, interrupt, recorder).await?;
    let mut course = Course::begin(trial, subject, recorder, &mut started, found)?;
    let result = course.follow(interrupt).await;
    course.finish(result.is_ok()).await;
    result
}

/// A trial between readiness and its end.
struct Course<'a> {
    subject: &'a Subject,
    recorder: &'a Recorder,
    started: &'a mut Started,
    followed: Followed,
    address: SocketAddr,
    clients: Rc<Clients>,
    workers: JoinSet<()>,
    probers: JoinSet<()>,
    signal: oneshot::Receiver<std::io::Result<Nanos>>,
    /// No signal is sent before this instant.
    signal_at: Nanos,
}

impl<'a> Course<'a> {
    fn begin(
        trial: &Trial,
        subject: &'a Subject,
        recorder: &'a Recorder,
        started: &'a mut Started,
        found: Found,
    ) -> Result<Self, TrialError> {
        let address = found.address;
        started.launched.family().look();
        let clients = Clients::new(recorder.clone(), address, subject.prepared(address));
        let planned = &trial.signals[0];
        let Moment::Uniform { after } = planned.moment;
        let mut shape = trial.load.clone();
        if let Some(parallelism) = subject.parallelism {
            shape.connections = parallelism.min(shape.connections);
            // They would take the places of clients that see more.
            shape.pooled_clients = 0;
        }
        let begun = recorder.record(EventKind::LoadStarted);
        let mut workers = JoinSet::new();
        clients.start(&mut workers, trial.seed, &shape, after);
        let mut probers = JoinSet::new();
        probers.spawn_local(watch_lag(clients.clone()));
        let templates: Rc<[_]> = subject.templates.clone().into();
        for first in 0..usize::from(shape.pooled_clients) {
            probers.spawn_local(pooled_client(clients.clone(), templates.clone(), first));
        }
        let (followed, to) = recipient(planned, &started.launched, found)
            .map_err(harness("take hold of the process to signal"))?;
        let signal_at = begun + after;
        let order = Order {
            signal: planned.signal,
            at: signal_at,
            to,
            server: address,
            open: clients.open_connections(),
        };
        let signal = send_from_thread(order, recorder.clone())
            .map_err(harness("start the thread that sends the signal"))?;
        Ok(Self {
            subject,
            recorder,
            started,
            followed,
            address,
            clients,
            workers,
            probers,
            signal,
            signal_at,
        })
    }

    /// From the load to the end of the followed process, or to its deadline.
    async fn follow(&mut self, interrupt: &Interrupt) -> Result<(), TrialError> {
        self.wait_for_signal(interrupt).await?;
        let signalled = Instant::now();
        let deadline = signalled + self.subject.contract.deadline;
        self.clients.enter(Stage::Signalled);
        let refuse_within = self.subject.contract.refuse_within;
        self.probers.spawn_local(probe_until_over(self.clients.clone(), refuse_within));
        self.probers.spawn_local(ask_late(self.clients.clone()));
        let exit = tokio::select! {
            exit = self.followed.ended() => exit,
            () = sleep_until(deadline) => {
                self.recorder.record(EventKind::DeadlinePassed);
                return Ok(());
            }
            () = interrupt.wait() => return Err(TrialError::Interrupted),
        };
        let status = exit.unwrap_or(ExitStatus { code: None, signal: None });
        self.recorder.record(EventKind::Exited { pid: self.followed.pid, status });
        tokio::select! {
            () = self.look_for_leftovers(signalled, deadline) => Ok(()),
            () = interrupt.wait() => Err(TrialError::Interrupted),
        }
    }

    /// Waits until the signal is sent, to a process that has lived until then.
    async fn wait_for_signal(&mut self, interrupt: &Interrupt) -> Result<(), TrialError> {
        let followed = self.followed.clone();
        tokio::select! {
            biased;
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            sent = &mut self.signal => return self.was_sent(sent.unwrap_or(Ok(Nanos::ZERO))).await,
            _ = followed.ended() => {}
        }
        // Signals can be sent to a process that has ended, as long as its parent has not asked
        // how; so the time tells which came first.
        if self.recorder.now() < self.signal_at {
            return Err(self.ended_early().await);
        }
        let sent = (&mut self.signal).await.unwrap_or(Ok(Nanos::ZERO));
        self.was_sent(sent).await
    }

    async fn was_sent(&mut self, sent: std::io::Result<Nanos>) -> Result<(), TrialError> {
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Err(self.ended_early().await)
            }
            Err(error) => Err(harness("send the signal")(error)),
        }
    }

    async fn ended_early(&mut self) -> TrialError {
        let is_launcher = !self.started.launched.family().alive().is_empty()
            && self.started.launched.leader().has_ended();
        self.started.ended(if is_launcher { LEFT_ITS_SERVER } else { "before any signal" }).await
    }

    /// After the exit: does anything of the target go on?
    async fn look_for_leftovers(&mut self, signalled: Instant, deadline: Instant) {
        let exited = Instant::now();
        let alive = loop {
            let alive = self.started.launched.family().alive();
            if alive.is_empty() || exited.elapsed() > LEFTOVER_GRACE {
                break alive;
            }
            sleep(Duration::from_millis(5)).await;
        };
        if !alive.is_empty() {
            // What they were asked for they may still finish, and late connections must have
            // had time to show whether somebody takes them.
            let late = signalled + self.subject.contract.refuse_within + Duration::from_millis(200);
            let requests = async { while self.workers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout_at(deadline, requests).await;
            sleep_until(late.min(deadline)).await;
        }
        for process in self.started.launched.family().alive() {
            let (pid, command) = (process.pid, command_line(process.pid));
            self.recorder.record(EventKind::ProcessLeft { pid, command });
        }
        while probe(self.address, self.recorder).await == ProbeOutcome::Established {
            if exited.elapsed() > LEFTOVER_GRACE {
                self.recorder.record(EventKind::PortLeft { address: self.address });
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets the clients see the end, ends what is left, and closes the book.
    async fn finish(&mut self, was_followed: bool) {
        let is_left = !self.started.launched.family().alive().is_empty();
        if was_followed && !is_left {
            let workers = async { while self.workers.join_next().await.is_some() {} };
            let _ = timeout(CLIENTS_GRACE, workers).await;
        }
        if is_left {
            let recorder = self.recorder;
            // Written first, so that whatever the kill destroys is later than it.
            let pids = self.started.launched.family().alive();
            recorder.record(EventKind::Killed { pids: pids.iter().map(|id| id.pid).collect() });
            self.started.launched.kill_all();
        }
        self.clients.enter(Stage::Over);
        while self.workers.join_next().await.is_some() {}
        while self.probers.join_next().await.is_some() {}
        let readers = &mut self.started.readers;
        let drained = async { while readers.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(500), drained).await;
        self.started.output.finish();
    }
}

/// Who gets the signal: the leader while it lives, else the owner of the listening socket, as an
/// orchestrator would have it; or whoever the plan names.
fn recipient(
    planned: &PlannedSignal,
    launched: &Launched,
    found: Found,
) -> std::io::Result<(Followed, Recipient)> {
    let leader = launched.leader().pid;
    let owner = found.owner.unwrap_or(leader);
    let followed = match planned.to {
        SignalTo::Listener => owner,
        SignalTo::Leader | SignalTo::Group if launched.leader().has_ended() => owner,
        SignalTo::Leader | SignalTo::Group => leader,
    };
    let followed = Followed::new(followed)?;
    let to = match planned.to {
        SignalTo::Group => Recipient::Group { group: leader },
        _ => Recipient::Process { pid: followed.pid, handle: followed.handle()? },
    };
    Ok((followed, to))
}

/// Measures how late this thread is, as long as the trial goes on.
async fn watch_lag(clients: Rc<Clients>) {
    let mut worst = Duration::ZERO;
    while clients.stage() != Stage::Over {
        let due = Instant::now() + LAG_TICK;
        tokio::select! {
            () = sleep_until(due) => worst = worst.max(due.elapsed()),
            () = clients.until(Stage::Over) => {}
        }
    }
    clients.recorder.record(EventKind::HarnessLag { worst });
}
