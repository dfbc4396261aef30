//! A trial whose signal is sent while a thread of the target stands still at a system call.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use crate::load::actor::Actor;
use crate::load::cast::{Part, Pose};
use crate::load::clients::Stage;
use crate::model::event::{EventKind, Traced};
use crate::model::syscall::{Call, PointManner, Reach, Side, SyscallPoint};
use crate::target::trace::{News, Standstill, Tracer, Watch, why_forbidden};
use crate::trial::error::TrialError;
use crate::trial::interrupt::Interrupt;
use crate::trial::situation::Stagehand;

use super::Course;

/// The connections of the readiness search end within this time, and the target waits for what comes
/// next.
const QUIET: Duration = Duration::from_millis(15);
/// A target that does not come to the point within this time does not come there.
const LIMIT: Duration = Duration::from_secs(2);
/// After this time all threads go on, whatever the harness does meanwhile.
const TRACED_AT_MOST: Duration = Duration::from_secs(5);
/// So much longer than the others a held thread stands still.
const HELD: Duration = Duration::from_millis(30);
/// The kernel takes a connection and a request within this time, or not at all.
const EXTRA_WITHIN: Duration = Duration::from_millis(300);
/// Where a process has closed the connection, others that have it come to the point within this time.
const CLOSED_WITHIN: Duration = Duration::from_millis(200);
/// How often it is asked.
const TICK: Duration = Duration::from_micros(200);

impl Course<'_> {
    /// From the arming of the point to the end of the followed process, or to its deadline.
    pub(super) async fn follow_from_syscall(
        &mut self,
        (point, manner): (SyscallPoint, PointManner),
        interrupt: &Interrupt,
    ) -> Result<(), TrialError> {
        let followed = self.followed.clone();
        let reached = tokio::select! {
            biased;
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            reached = self.reach((point, manner)) => reached,
            _ = followed.ended() => return Err(self.ended_early().await),
        };
        let tracer = match reached {
            Ok(tracer) => tracer,
            Err(what) => {
                self.recorder.record(EventKind::SituationMissed { what });
                return Ok(());
            }
        };
        let Some(planned) = self.trial.signals.first() else { return Ok(()) };
        let ordered = self.order(planned, None)?;
        self.wait_for_signal(ordered, interrupt).await?;
        // The thread stays for as long as its tracer does. Who asks late does so later than that: a
        // target with one thread could not have closed its listener before.
        if manner == PointManner::Held {
            tracer.let_go_after(HELD);
            tokio::select! {
                () = sleep(HELD) => {}
                _ = followed.ended() => {}
                () = interrupt.wait() => return Err(TrialError::Interrupted),
            }
        }
        drop(tracer);
        self.clients.enter(Stage::Signalled);
        self.follow_to_the_end(interrupt).await
    }

    /// Lets the target come to the point; what keeps its thread there, or why it is not there.
    async fn reach(
        &mut self,
        (point, manner): (SyscallPoint, PointManner),
    ) -> Result<Tracer, String> {
        let (tracer, mut told) = self.armed(point).await?;
        self.clients.enter(Stage::Held);
        let standstill = standstill(point, &mut told).await?;
        let Standstill { pid, tid, call, .. } = standstill;
        let call = call.to_owned();
        self.recorder.record(EventKind::Traced(Traced { point, manner, pid, tid, call }));
        if manner == PointManner::Extra {
            self.queue_another().await?;
        }
        self.recorder.record(EventKind::SituationReached);
        Ok(tracer)
    }

    /// Follows the target's threads, with a connection kept open where the point is of one.
    async fn armed(
        &mut self,
        point: SyscallPoint,
    ) -> Result<(Tracer, UnboundedReceiver<News>), String> {
        let server = self.found.tcp().ok_or("only a TCP connection can be followed")?;
        let mut stagehand = Stagehand {
            clients: &self.clients,
            launched: &mut self.started.launched,
            tasks: &mut self.workers,
            kernel: self.watch.as_mut().ok().map(|watch| (watch, server)),
            margin: self.subject.contract.inference_margin,
        };
        stagehand.prepare(self.parts).await?;
        sleep(QUIET).await;
        let open = self.clients.open_connections();
        let kept = open.asked().first().map(|asked| asked.client);
        let watch = Watch {
            server,
            reach: point.reach,
            kept: kept.filter(|_| point.reach == Reach::Kept),
            asked: Box::new(move || open.wholly_asked().first().copied()),
            stop_at: Some(point),
            stay: Duration::ZERO,
            limit: TRACED_AT_MOST,
        };
        let family = self.started.launched.family().clone();
        let (tracer, mut told) = Tracer::start(family, watch).map_err(|it| it.to_string())?;
        match told.recv().await {
            Some(News::Armed) => Ok((tracer, told)),
            Some(News::Refused(error)) => Err(why_forbidden(&error)),
            _ => Err("the target's threads could not be followed".into()),
        }
    }

    /// Puts one more connection into the accept queue, with its request.
    async fn queue_another(&mut self) -> Result<(), String> {
        let template = self.parts.first().map_or(0, |part| part.template);
        let part = Part { pose: Pose::Queued, template, nth: 1, later: None };
        let open = self.clients.open_connections();
        let others = open.wholly_asked();
        let actor = Actor::start(part, &self.clients, &mut self.workers);
        let until = Instant::now() + EXTRA_WITHIN;
        loop {
            let asked = open.wholly_asked();
            if let Some(other) = asked.into_iter().find(|one| !others.contains(one)) {
                return self.waits(other);
            }
            if Instant::now() > until || actor.is_over() {
                return Err("no other connection could be put into the accept queue".into());
            }
            sleep(TICK).await;
        }
    }

    /// Sees that a connection waits in the accept queue: another thread may have taken it.
    fn waits(&mut self, client: SocketAddr) -> Result<(), String> {
        let watch = self.watch.as_mut().map_err(|error| error.to_string())?;
        let server = self.found.tcp().ok_or("only a TCP connection can be followed")?;
        match watch.inode(server, client) {
            Ok(Some(0)) => Ok(()),
            Ok(_) => {
                Err("the connection that was to wait in the accept queue was taken at once".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Waits until a thread stands still at the point, or the connection is closed without that.
async fn standstill(
    point: SyscallPoint,
    told: &mut UnboundedReceiver<News>,
) -> Result<Standstill, String> {
    let mut until = Instant::now() + LIMIT;
    while let Ok(Some(news)) = timeout_at(until, told.recv()).await {
        match news {
            News::Stopped(standstill) => return Ok(standstill),
            News::Seen(other) if (other.call, other.side) == (Call::Close, Side::After) => {
                // Another process may still have the connection, and answer.
                until = until.min(Instant::now() + CLOSED_WITHIN);
            }
            News::Seen(_) | News::Armed | News::Refused(_) => {}
        }
    }
    Err(format!("the target did not come to `{point}` this time"))
}
