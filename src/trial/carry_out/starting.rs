//! A trial whose signal comes while the target starts: launch, signal, and what becomes of it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::load::clients::{Clients, Stage};
use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, ExitStatus};
use crate::model::plan::{Moment, PlannedSignal, SignalTo, Trial};
use crate::model::time::Nanos;
use crate::observe::dispositions::dispositions;
use crate::observe::recorder::Recorder;
use crate::target::launch::Followed;
use crate::target::ready::{Found, NotReady, ready};
use crate::trial::error::{Early, TrialError, harness};
use crate::trial::interrupt::Interrupt;
use crate::trial::leftovers::look_for_leftovers;
use crate::trial::recipient::Recipient;
use crate::trial::signaller::{News, Order, Told, found_its_process, send_from_thread};
use crate::trial::started::{Started, search, start};
use crate::trial::subject::Subject;

use super::{wait_until, watch_lag};

/// A moment that has passed before there is a thread to send the signal is this much later.
const SOON: Duration = Duration::from_micros(100);
/// How often it is looked which files are the target's, until it is ready: what it has bound then is
/// left when the signal kills it.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The last look before the signal: timers are a millisecond late.
const LOOK_BEFORE: Duration = Duration::from_millis(2);

/// Carries it out, from the launch to the end of what was started, or to its deadline.
pub(super) async fn run(
    (trial, waits): (&Trial, &dyn Fn()),
    subject: &Subject,
    interrupt: &Interrupt,
    (recorder, port_seed): (&Recorder, u64),
) -> Result<(), TrialError> {
    let Some(planned) = trial.signals.first() else { return Ok(()) };
    let mut started = start(subject, (port_seed, trial.as_pid_1), recorder)?;
    // There are none, but for the one that looks how late this thread is.
    let clients = Clients::new(recorder.clone(), None, Vec::new());
    let mut lag = JoinSet::new();
    lag.spawn_local(watch_lag(clients.clone()));
    let over = Arc::default();
    let course = Starting { planned, waits, subject, recorder, started: &mut started };
    let result = course.follow(&over, interrupt).await;
    over.store(true, Ordering::SeqCst);
    started.kill_what_is_left(recorder);
    clients.enter(Stage::Over);
    while lag.join_next().await.is_some() {}
    started.close_output().await;
    result
}

struct Starting<'a> {
    planned: &'a PlannedSignal,
    waits: &'a dyn Fn(),
    subject: &'a Subject,
    recorder: &'a Recorder,
    started: &'a mut Started,
}

/// What the wait for the signal came to.
enum Sent {
    /// It was sent to a target that was not ready.
    InTime,
    /// It shows nothing, for this reason.
    Missed(&'static str),
}

impl Starting<'_> {
    async fn follow(
        mut self,
        over: &Arc<std::sync::atomic::AtomicBool>,
        interrupt: &Interrupt,
    ) -> Result<(), TrialError> {
        let (mut told, at) = self.order(over)?;
        let leader = self.started.launched.leader().clone();
        let (port, socket) = self.started.place();
        let search = search(self.subject, port, socket.as_deref());
        let mut family = self.started.launched.family().clone();
        let mut looking = pin!(ready(&search, &mut family));
        let mut found: Option<Result<Found, NotReady>> = None;
        let sent = loop {
            tokio::select! {
                biased;
                () = interrupt.wait() => return Err(TrialError::Interrupted),
                sent = &mut told => break self.was_sent(sent).await?,
                _ = leader.ended() => break self.ended_early(&mut told, at).await?,
                looked = &mut looking, if found.is_none() => found = Some(self.looked(looked)),
                () = sleep(self.until_look(at)), if found.is_none() => {
                    self.started.look_at_files();
                }
            }
        };
        if let Sent::Missed(what) = sent {
            self.recorder.record(EventKind::SituationMissed { what: what.into() });
            return Ok(());
        }
        self.note_dispositions();
        let signalled = Instant::now();
        let deadline = signalled + self.subject.contract.deadline;
        let mut over = pin!(wait_until(signalled, deadline, self.waits));
        let exit = loop {
            tokio::select! {
                biased;
                exit = leader.ended() => break exit,
                () = interrupt.wait() => return Err(TrialError::Interrupted),
                looked = &mut looking, if found.is_none() => found = Some(self.looked(looked)),
                () = &mut over => {
                    self.recorder.record(EventKind::DeadlinePassed);
                    return Ok(());
                }
                () = sleep(LOOK_EVERY), if found.is_none() => self.started.look_at_files(),
            }
        };
        let known = found.and_then(Result::ok).and_then(|found| found.address);
        self.note_end(&leader, exit, known.or_else(|| search.address()), deadline).await;
        Ok(())
    }

    /// How long until the next look at its files: the last one is just before the signal.
    fn until_look(&self, at: Nanos) -> Duration {
        let left = at.since(self.recorder.now()).saturating_sub(LOOK_BEFORE);
        if left.is_zero() { LOOK_EVERY } else { left.min(LOOK_EVERY) }
    }

    /// Orders the signal for its instant, which counts from the first process.
    fn order(
        &mut self,
        over: &Arc<std::sync::atomic::AtomicBool>,
    ) -> Result<(Told, Nanos), TrialError> {
        let is_spawned = |kind: &EventKind| matches!(kind, EventKind::Spawned { .. });
        let spawned =
            self.recorder.read(|all| all.iter().find(|it| is_spawned(&it.kind)).map(|it| it.at));
        let after = match self.planned.moment {
            Moment::Start(moment) => self.subject.start.instant(moment),
            _ => Duration::ZERO,
        };
        let at = spawned.unwrap_or(Nanos::ZERO) + after;
        let at = at.max(self.recorder.now() + SOON);
        let leader = self.started.launched.leader();
        let to = match self.planned.to {
            SignalTo::Group => Recipient::Group { group: leader.pid },
            // Nobody listens yet.
            SignalTo::Leader | SignalTo::Listener => Recipient::Process {
                pid: leader.pid,
                handle: leader.handle().map_err(harness("take hold of the process to signal"))?,
            },
        };
        let order = Order {
            signal: self.planned.signal,
            at,
            to,
            standing_still: Vec::new(),
            later: Vec::new(),
            followed: None,
            let_go: None,
            server: None,
            open: Default::default(),
            connections: 0,
            life: None,
            sending: Arc::default(),
            over: over.clone(),
        };
        let told = send_from_thread(order, self.recorder.clone())
            .map_err(harness("start the thread that sends the signal"))?;
        Ok((told, at))
    }

    async fn was_sent(&mut self, sent: News) -> Result<Sent, TrialError> {
        match found_its_process(sent)? {
            true if self.was_ready_before() => {
                Ok(Sent::Missed("it was ready before the signal was sent"))
            }
            true => Ok(Sent::InTime),
            false => Err(self.started.ended(Early::BeforeReady).await),
        }
    }

    /// The leader has ended: before the signal, or by it.
    async fn ended_early(&mut self, told: &mut Told, at: Nanos) -> Result<Sent, TrialError> {
        if self.recorder.now() >= at {
            let sent = told.await;
            return self.was_sent(sent).await;
        }
        match self.started.launched.family().alive().is_empty() {
            true => Err(self.started.ended(Early::BeforeReady).await),
            false => Ok(Sent::Missed(
                "the process that was started had ended before the signal, and left its server",
            )),
        }
    }

    fn was_ready_before(&self) -> bool {
        let first = self.recorder.read(|all| {
            let is = |kind: &EventKind| {
                matches!(kind, EventKind::Ready { .. } | EventKind::SignalSending { .. })
            };
            all.iter().find(|event| is(&event.kind)).map(|event| event.kind.clone())
        });
        matches!(first, Some(EventKind::Ready { .. }))
    }

    fn looked(&mut self, looked: Result<Found, NotReady>) -> Result<Found, NotReady> {
        if let Ok(found) = &looked {
            self.started.note_ready(found.clone(), self.recorder);
        }
        looked
    }

    /// Writes down what each process would do with the signal just after it was sent, while its
    /// effect can hardly be seen yet.
    fn note_dispositions(&mut self) {
        let leader = self.started.launched.leader().pid;
        let alive: Vec<u32> =
            self.started.launched.family().alive().iter().map(|id| id.pid).collect();
        let processes = dispositions(alive, self.planned.signal, leader, &Default::default());
        self.recorder.record(EventKind::Dispositions { processes });
    }

    /// Writes down how it ended, and what it left.
    async fn note_end(
        &mut self,
        leader: &Followed,
        exit: Option<ExitStatus>,
        address: Option<ServerAddress>,
        deadline: Instant,
    ) {
        let status = exit.unwrap_or(ExitStatus { code: None, signal: None });
        self.recorder.record(EventKind::Exited { pid: leader.pid, status });
        let mut none = JoinSet::new();
        let limits = (Instant::now(), deadline.max(Instant::now()), SignalTo::Leader);
        look_for_leftovers(self.started, address.as_ref(), &mut none, self.recorder, limits).await;
    }
}
