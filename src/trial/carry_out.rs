//! One trial, step by step: launch, ready, situation, signal, drain, exit, leftovers.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::load::actor::ASKED_WITHIN;
use crate::load::cast::Part;
use crate::load::clients::{Clients, Stage};
use crate::load::pooled::pooled_client;
use crate::load::prober::{ask_late, ask_readiness, probe_until_over};
use crate::load::writes::Writes;
use crate::model::event::{Event, EventKind, ExitStatus, Snapshot};
use crate::model::plan::{Moment, SignalTo, Situation, Trial};
use crate::model::time::Nanos;
use crate::observe::own_thread::OwnThread;
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;
use crate::target::hold::Hold;
use crate::target::launch::{Followed, Launched};
use crate::target::ready::Found;

use super::error::{Early, TrialError, harness};
use super::interrupt::Interrupt;
use super::leftovers::look_for_leftovers;
use super::near_scene::Near;
use super::situation::{Scene, Stagehand};
use super::started::{Started, start};
use super::subject::Subject;

mod at_syscall;
mod preflight;
mod restart;
mod signalling;
mod starting;

/// Clients get this long after the exit to see how their connections ended.
const CLIENTS_GRACE: Duration = Duration::from_secs(2);
/// So long after the last limit but the deadline, a target that still lives is only waited for.
const BUSY: Duration = Duration::from_secs(2);
/// At the deadline the clients close what only they kept open, and a target that waited for that
/// gets this long to show it by its exit.
const RELEASE_GRACE: Duration = Duration::from_secs(1);
/// A situation of no connections is one of none for this long: those of the readiness search end.
const QUIET: Duration = Duration::from_millis(50);
/// How often the harness looks whether it is late itself.
const LAG_TICK: Duration = Duration::from_millis(5);

/// Carries a trial out, on the calling thread; everything that was seen, also when it failed.
///
/// `parts` are the connections that its situation consists of. `attempt` is 0 for the first time;
/// later ones look for another port. `waits` is called when all that is left is to wait for the
/// target's end, or for its deadline.
pub fn carry_out(
    (trial, parts): (&Trial, &[Part]),
    subject: &Subject,
    interrupt: &Interrupt,
    (attempt, waits): (u32, &dyn Fn()),
) -> (Vec<Event>, Result<(), TrialError>) {
    let recorder = Recorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(harness("start a runtime")).and_then(|runtime| {
        let port_seed = trial.seed.wrapping_add(u64::from(attempt) * 4099);
        let own = OwnThread::begin();
        let run = run((trial, parts, waits), subject, interrupt, (&recorder, port_seed));
        let result = LocalSet::new().block_on(&runtime, run);
        recorder.record(own.share());
        result
    });
    (recorder.into_events(), result)
}

async fn run(
    (trial, parts, waits): (&Trial, &[Part], &dyn Fn()),
    subject: &Subject,
    interrupt: &Interrupt,
    (recorder, port_seed): (&Recorder, u64),
) -> Result<(), TrialError> {
    if trial.situation == Situation::Startup {
        return starting::run((trial, waits), subject, interrupt, (recorder, port_seed)).await;
    }
    let mut started = start(subject, (port_seed, trial.as_pid_1), recorder)?;
    let found = started.ready(subject, interrupt, recorder).await?;
    let mut course = Course::begin((trial, parts, waits), subject, recorder, &mut started, found)?;
    let result = course.follow(interrupt).await;
    course.finish(result.is_ok()).await;
    result?;
    course.start_again(interrupt).await
}

/// A trial between readiness and its end.
pub(super) struct Course<'a> {
    pub(super) trial: &'a Trial,
    pub(super) parts: &'a [Part],
    waits: &'a dyn Fn(),
    pub(super) subject: &'a Subject,
    pub(super) recorder: &'a Recorder,
    started: &'a mut Started,
    found: Found,
    followed: Followed,
    pub(super) clients: Rc<Clients>,
    /// What is written, where that is declared.
    writes: Option<Rc<Writes>>,
    /// Those whose requests and connections are judged.
    pub(super) workers: JoinSet<()>,
    /// The others: those who try, ask and measure.
    probers: JoinSet<()>,
    /// Asks the kernel, where it can be asked; the signal's thread has its own.
    watch: std::io::Result<SocketWatch>,
    /// What the signal is aimed at, where that is a landmark.
    pub(super) near: Option<Near>,
    /// When a target that is held still is let go.
    let_go: Option<Arc<OnceLock<Nanos>>>,
    /// Ends what the signal's thread does.
    over: Arc<AtomicBool>,
}

impl<'a> Course<'a> {
    fn begin(
        (trial, parts, waits): (&'a Trial, &'a [Part], &'a dyn Fn()),
        subject: &'a Subject,
        recorder: &'a Recorder,
        started: &'a mut Started,
        found: Found,
    ) -> Result<Self, TrialError> {
        started.launched.family().look();
        let address = found.address.clone();
        let prepared = address.as_ref().map(|address| subject.prepared(address));
        let writes = subject.target.writes.clone().zip(address.clone());
        let clients = Clients::new(recorder.clone(), address, prepared.unwrap_or_default());
        let to = trial.signals.first().map_or(SignalTo::Leader, |planned| planned.to);
        let followed = followed(to, &started.launched, &found)
            .map_err(harness("take hold of the process to signal"))?;
        let mut probers = JoinSet::new();
        probers.spawn_local(watch_lag(clients.clone()));
        Ok(Self {
            trial,
            parts,
            waits,
            subject,
            recorder,
            started,
            found,
            followed,
            clients,
            writes: writes.map(|(templates, server)| Rc::new(Writes::new(templates, server))),
            workers: JoinSet::new(),
            probers,
            watch: SocketWatch::new(),
            near: None,
            let_go: None,
            over: Arc::default(),
        })
    }

    /// From the situation to the end of the followed process, or to its deadline.
    async fn follow(&mut self, interrupt: &Interrupt) -> Result<(), TrialError> {
        if self.planned_after().is_none() {
            self.note_dispositions();
        }
        if let Some(Moment::AtSyscall { point, manner }) = self.moment() {
            return self.follow_from_syscall((point, manner), interrupt).await;
        }
        self.ask_for_jobs();
        let followed = self.followed.clone();
        let scene = tokio::select! {
            biased;
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            scene = self.set_the_scene() => scene?,
            _ = followed.ended() => return Err(self.ended_early().await),
        };
        let (at, hold) = match scene {
            (at, Scene::There(hold)) => (at, hold),
            (_, Scene::Missed(what)) => {
                self.recorder.record(EventKind::SituationMissed { what });
                return Ok(());
            }
        };
        let Some(planned) = self.trial.signals.first() else {
            return self.go_on_without_signal(hold, interrupt).await;
        };
        self.let_go = hold.as_ref().map(|_| Arc::default());
        let ordered = self.order(planned, at)?;
        // Between the beginning of a request and its signal, this thread has other things to do.
        if let Some(at) = at.filter(|_| self.near.as_ref().is_none_or(|near| near.life.is_none())) {
            tokio::select! {
                () = self.note_dispositions_before(at) => {}
                () = interrupt.wait() => return Err(TrialError::Interrupted),
            }
        }
        self.wait_for_signal(ordered, interrupt).await?;
        self.clients.enter(Stage::Signalled);
        self.let_go(hold, interrupt).await?;
        self.follow_to_the_end(interrupt).await
    }

    /// Brings about what the signal is to meet; and when it is to be sent, where that is planned.
    async fn set_the_scene(&mut self) -> Result<(Option<Nanos>, Scene), TrialError> {
        if self.trial.situation.is_load() {
            return Ok((Some(self.begin_load()), Scene::There(None)));
        }
        self.ask_for_readiness();
        if let Some(set_up) = self.set_up_life().await {
            return Ok(set_up);
        }
        let server = self.found.tcp();
        let is_caught = self.trial.situation == Situation::SlowHandler && self.parts.is_empty();
        if let Err(error) = &self.watch
            && (self.trial.situation.needs_kernel() || is_caught)
        {
            let what = format!("the kernel can't be asked about connections here ({error})");
            return Ok((None, Scene::Missed(what)));
        }
        let mut stagehand = Stagehand {
            clients: &self.clients,
            launched: &mut self.started.launched,
            tasks: &mut self.workers,
            kernel: self.watch.as_mut().ok().zip(server),
            margin: self.subject.contract.inference_margin,
        };
        let scene = match (self.trial.situation, self.parts) {
            (situation, []) if situation.has_requests_in_process() => {
                stagehand.catch_in_process(self.trial.seed).await
            }
            (_, parts) => stagehand.set_up(parts, self.trial.hold.is_some()).await,
        };
        if self.trial.situation == Situation::Idle {
            sleep(QUIET).await;
        }
        let mut at = None;
        if let Scene::There(_) = scene {
            let reached = self.recorder.record(EventKind::SituationReached);
            at = self.planned_after().map(|after| reached + after);
        }
        Ok((at, scene))
    }

    /// How long after its beginning the signal is planned, where that is by the clock.
    fn planned_after(&self) -> Option<Duration> {
        match self.trial.signals.first()?.moment {
            Moment::Uniform { after } => Some(after),
            _ => None,
        }
    }

    pub(super) fn moment(&self) -> Option<Moment> {
        self.trial.signals.first().map(|planned| planned.moment)
    }

    /// Begins the load; the instant of its signal.
    fn begin_load(&mut self) -> Nanos {
        let after = self.planned_after().unwrap_or_default();
        let mut shape = self.trial.load.clone();
        if let Some(parallelism) = self.subject.parallelism {
            shape.connections = parallelism.min(shape.connections);
            // They would take the places of clients that see more.
            shape.pooled_clients = 0;
        }
        let begun = self.recorder.record(EventKind::LoadStarted);
        self.begin_writes(&mut shape, after);
        if shape.connections > 0 {
            self.clients.start(&mut self.workers, self.trial.seed, &shape, after);
        }
        self.ask_for_readiness();
        let templates: Rc<[_]> = self.subject.templates.clone().into();
        for first in 0..usize::from(shape.pooled_clients) {
            self.probers.spawn_local(pooled_client(self.clients.clone(), templates.clone(), first));
        }
        begun + after
    }

    /// As an orchestrator does all the time, where the user named the endpoint.
    fn ask_for_readiness(&mut self) {
        let contract = &self.subject.contract;
        if contract.has_readiness
            && self.trial.situation.has_late_connections()
            && let Some(path) = &self.subject.target.ready_path
        {
            self.probers.spawn_local(ask_readiness(self.clients.clone(), path.clone()));
        }
    }

    /// Where it lists its jobs itself, and one connection more changes nothing.
    fn ask_for_jobs(&mut self) {
        let situation = self.trial.situation;
        if situation == Situation::JobRunning || situation.has_late_connections() {
            self.started.sources.ask_target(self.found.address.as_ref());
        }
    }

    /// Lets a target that is held still go on, after its pause.
    async fn let_go(
        &mut self,
        hold: Option<Hold>,
        interrupt: &Interrupt,
    ) -> Result<(), TrialError> {
        let Some(hold) = hold else { return Ok(()) };
        let pause = self.trial.hold.map_or(Duration::ZERO, |hold| hold.pause);
        tokio::select! {
            () = sleep(pause) => {}
            () = interrupt.wait() => return Err(TrialError::Interrupted),
        }
        hold.release();
        let at = self.recorder.record(EventKind::Thawed);
        if let Some(let_go) = &self.let_go {
            let _ = let_go.set(at);
        }
        Ok(())
    }

    /// A control: the same, and no signal. What is lost then is not the shutdown's fault.
    async fn go_on_without_signal(
        &mut self,
        hold: Option<Hold>,
        interrupt: &Interrupt,
    ) -> Result<(), TrialError> {
        self.note_sockets(Snapshot::Before);
        self.note_sockets(Snapshot::After);
        self.clients.enter(Stage::Signalled);
        self.let_go(hold, interrupt).await?;
        let slowest = self.clients.requests.iter().map(|request| request.usual).max();
        let limit = CLIENTS_GRACE + slowest.unwrap_or_default() * 2;
        let answers = async {
            while self.clients.open_connections().any_outstanding() {
                sleep(LAG_TICK).await;
            }
        };
        tokio::select! {
            _ = timeout(limit, async { sleep(ASKED_WITHIN).await; answers.await }) => Ok(()),
            () = interrupt.wait() => Err(TrialError::Interrupted),
        }
    }

    /// From the signal to the exit, or to the deadline; and what is left then.
    async fn follow_to_the_end(&mut self, interrupt: &Interrupt) -> Result<(), TrialError> {
        let signalled = Instant::now();
        let contract = &self.subject.contract;
        let deadline = signalled + contract.deadline;
        if self.trial.situation.has_late_connections() {
            let refused_after = contract.refused_after();
            self.probers.spawn_local(probe_until_over(self.clients.clone(), refused_after));
            self.probers.spawn_local(ask_late(self.clients.clone()));
        }
        let followed = self.followed.clone();
        let exit = tokio::select! {
            // Where both have come while this thread was late, the exit came first.
            biased;
            exit = followed.ended() => exit,
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            () = wait_until(signalled + contract.refused_after(), deadline, self.waits) => {
                self.recorder.record(EventKind::DeadlinePassed);
                match self.release().await {
                    Some(exit) => exit,
                    None => return Ok(()),
                }
            }
        };
        let status = exit.unwrap_or(ExitStatus { code: None, signal: None });
        self.recorder.record(EventKind::Exited { pid: self.followed.pid, status });
        let to = self.trial.signals.first().map(|planned| planned.to).unwrap_or_default();
        let limits = (signalled + contract.refused_after(), deadline.max(Instant::now()), to);
        let address = self.found.address.as_ref();
        let looked =
            look_for_leftovers(self.started, address, &mut self.workers, self.recorder, limits);
        tokio::select! {
            () = looked => Ok(()),
            () = interrupt.wait() => Err(TrialError::Interrupted),
        }
    }

    /// The deadline is over, and the clients close what only they keep open. A target that then
    /// exits was waiting for them.
    async fn release(&mut self) -> Option<Option<ExitStatus>> {
        self.recorder.record(EventKind::ClientsReleased);
        self.clients.enter(Stage::Released);
        timeout(RELEASE_GRACE, self.followed.ended()).await.ok()
    }

    async fn ended_early(&mut self) -> TrialError {
        let is_launcher = !self.started.launched.family().alive().is_empty()
            && self.started.launched.leader().has_ended();
        let when = if is_launcher { Early::LeavingItsServer } else { Early::BeforeSignal };
        self.started.ended(when).await
    }

    /// Lets the clients see the end, ends what is left, and closes the book.
    async fn finish(&mut self, was_followed: bool) {
        self.over.store(true, Ordering::SeqCst);
        let is_left = !self.started.launched.family().alive().is_empty();
        if was_followed && !is_left {
            self.clients.enter(Stage::Gone);
            let workers = async { while self.workers.join_next().await.is_some() {} };
            let _ = timeout(CLIENTS_GRACE, workers).await;
        }
        self.started.kill_what_is_left(self.recorder);
        self.clients.enter(Stage::Over);
        while self.workers.join_next().await.is_some() {}
        while self.probers.join_next().await.is_some() {}
        self.started.close_output().await;
        self.note_landmark();
    }
}

/// The process whose end is the target's: the leader while it lives, else the owner of the
/// listening socket, as an orchestrator would have it; or whoever the plan names.
fn followed(to: SignalTo, launched: &Launched, found: &Found) -> std::io::Result<Followed> {
    let leader = launched.leader();
    let owner = found.owner.unwrap_or(leader.pid);
    let is_owner = to == SignalTo::Listener || leader.has_ended();
    if is_owner && owner != leader.pid { Followed::new(owner) } else { Ok(leader.clone()) }
}

/// Waits for the deadline; some time after the last limit before it, makes room for another trial.
async fn wait_until(last_limit: Instant, deadline: Instant, waits: &dyn Fn()) {
    sleep_until((last_limit + BUSY).min(deadline)).await;
    waits();
    sleep_until(deadline).await;
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
    let worst = worst.max(clients.latest());
    clients.recorder.record(EventKind::HarnessLag { worst });
}
