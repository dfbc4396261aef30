//! Background jobs, which look at the context between turns and finish the turn they have begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use crate::ledger::{Abandoned, Ledger};
use crate::{Context, log};

/// The slides' `sync.WaitGroup` with the jobs that it counts; clones share one group.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    context: Context,
    group: TaskTracker,
    running: Ledger,
    released: Arc<SetOnce<()>>,
    posted: Arc<AtomicU64>,
}

impl Jobs {
    /// A group without jobs.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, ..Self::default() }
    }

    /// Starts the slides' `BackgroundJob`; turns of zero are no job.
    pub fn start_background_job(&self, turn: Duration) {
        self.start("background", "[background job]", turn);
    }

    /// Starts the slides' `HeavyBackgroundJob`; turns of zero are no job.
    pub fn start_heavy_job(&self, turn: Duration) {
        self.start("heavy", "[heavy job]", turn);
    }

    /// Lets first turns begin. Until then a start-up that fails or is cut short leaves no turn that
    /// would have to be waited for.
    pub fn release(&self) {
        let _ = self.released.set(());
    }

    /// Starts one turn of the given length and returns its id; `None` once shutdown has begun.
    #[must_use]
    pub fn post(&self, turn: Duration) -> Option<String> {
        if self.context.is_cancelled() {
            return None;
        }
        let id = format!("posted-{}", self.posted.fetch_add(1, Ordering::Relaxed) + 1);
        let jobs = self.clone();
        let name = id.clone();
        self.group.spawn(async move { jobs.take_turn(name, turn).await });
        Some(id)
    }

    /// The ids of the turns that have begun and not finished, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        self.running.names()
    }

    /// The slides' `wg.Wait()`, but bounded: a job that never ends must not hold the exit for ever.
    ///
    /// # Errors
    /// When turns are still running at the deadline; each is logged as abandoned.
    pub async fn wait(&self, deadline: Instant, timeout: Duration) -> Result<(), Abandoned> {
        self.group.close();
        if timeout_at(deadline, self.group.wait()).await.is_ok() {
            return Ok(());
        }
        let names = self.running();
        for id in &names {
            log(format_args!("job id={id} abandoned"));
        }
        Err(Abandoned { timeout, names })
    }

    fn start(&self, kind: &'static str, prefix: &'static str, turn: Duration) {
        if turn.is_zero() {
            return;
        }
        let jobs = self.clone();
        self.group.spawn(async move {
            tokio::select! {
                _ = jobs.released.wait() => {}
                _ = jobs.context.cancelled() => {}
            }
            let mut number = 0;
            while !jobs.context.is_cancelled() {
                number += 1;
                jobs.take_turn(format!("{kind}-{number}"), turn).await;
                log(format_args!("{prefix} Done"));
            }
            log(format_args!("{prefix} ctx Done"));
        });
    }

    async fn take_turn(&self, id: String, turn: Duration) {
        let _entry = self.running.enter(id.clone());
        log(format_args!("job id={id} started"));
        sleep(turn).await; // The work. It doesn't look at the context: a turn is done as a whole.
        log(format_args!("job id={id} finished"));
    }
}
