//! One trial, step by step: launch, ready, load, signal, drain, exit, leftovers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::load::clients::{Clients, Stage};
use crate::load::pooled::pooled_client;
use crate::load::prober::{ask_late, probe, probe_until_over};
use crate::model::event::{Event, EventKind, ExitStatus, ProbeOutcome};
use crate::model::plan::{Moment, PlannedSignal, SignalTo, Trial};
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::target::launch::{Followed, Launched};
use crate::target::ready::Found;
use crate::target::tree::command_line;

use super::error::{Early, TrialError, harness};
use super::interrupt::Interrupt;
use super::signaller::{Order, Recipient, send_from_thread};
use super::started::{Started, start};
use super::subject::Subject;

/// Helper processes of runtimes outlive their parent by 50 to 100 ms, longer on a busy machine;
/// what lives longer than this after the exit is left behind.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// Clients get this long after the exit to see how their connections ended.
const CLIENTS_GRACE: Duration = Duration::from_secs(2);
/// How often the harness looks whether it is late itself.
const LAG_TICK: Duration = Duration::from_millis(5);

/// Carries a trial out, on the calling thread; everything that was seen, also when it failed.
///
/// `attempt` is 0 for the first time; later ones look for another port.
pub fn carry_out(
    trial: &Trial,
    subject: &Subject,
    interrupt: &Interrupt,
    attempt: u32,
) -> (Vec<Event>, Result<(), TrialError>) {
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(harness("start a runtime")).and_then(|runtime| {
        let port_seed = trial.seed.wrapping_add(u64::from(attempt) * 4099);
        let run = run(trial, subject, interrupt, (&recorder, port_seed));
        LocalSet::new().block_on(&runtime, run)
    });
    (recorder.into_events(), result)
}

async fn run(
    trial: &Trial,
    subject: &Subject,
    interrupt: &Interrupt,
    (recorder, port_seed): (&Recorder, u64),
) -> Result<(), TrialError> {
    let mut started = start(subject, port_seed, recorder)?;
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
    /// Keeps the signal from being sent.
    cancelled: Arc<AtomicBool>,
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
        let after = match planned.moment {
            Moment::Uniform { after } => after,
            Moment::Reached | Moment::Landmark { .. } => Duration::ZERO,
        };
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
        let cancelled = Arc::new(AtomicBool::new(false));
        let order = Order {
            signal: planned.signal,
            at: signal_at,
            to,
            server: address,
            open: clients.open_connections(),
            connections: shape.connections,
            cancelled: cancelled.clone(),
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
            cancelled,
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
            // Where both have come while this thread was late, the exit came first.
            biased;
            exit = self.followed.ended() => exit,
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            () = sleep_until(deadline) => {
                self.recorder.record(EventKind::DeadlinePassed);
                return Ok(());
            }
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
            sent = &mut self.signal => return self.was_sent(sent).await,
            _ = followed.ended() => {}
        }
        // Signals can be sent to a process that has ended, as long as its parent has not asked
        // how; so the time tells which came first.
        if self.recorder.now() < self.signal_at {
            return Err(self.ended_early().await);
        }
        let sent = (&mut self.signal).await;
        self.was_sent(sent).await
    }

    async fn was_sent(
        &mut self,
        sent: Result<std::io::Result<Nanos>, oneshot::error::RecvError>,
    ) -> Result<(), TrialError> {
        match sent.unwrap_or_else(|gone| Err(std::io::Error::other(gone))) {
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
        let when = if is_launcher { Early::LeavingItsServer } else { Early::BeforeSignal };
        self.started.ended(when).await
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
        for process in &alive {
            let (pid, command) = (process.pid, command_line(process.pid));
            self.recorder.record(EventKind::ProcessLeft { pid, command });
        }
        if !alive.is_empty() {
            // What they were asked for they may still finish, and late connections must have
            // had time to show whether somebody takes them.
            let late = signalled + self.subject.contract.refuse_within + Duration::from_millis(200);
            let requests = async { while self.workers.join_next().await.is_some() {} };
            let _ = tokio::time::timeout_at(deadline, requests).await;
            sleep_until(late.min(deadline)).await;
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
        self.cancelled.store(true, Ordering::SeqCst);
        let is_left = !self.started.launched.family().alive().is_empty();
        if was_followed && !is_left {
            self.clients.enter(Stage::Gone);
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
