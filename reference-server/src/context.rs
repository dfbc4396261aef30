//! The cancellable context that carries the termination signal to every part of the service.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The slides' `context.WithCancel`: clones share one state, which goes from running to cancelled.
#[derive(Clone, Debug, Default)]
pub struct Context {
    token: CancellationToken,
    cancelled_at: Arc<OnceLock<Instant>>,
    /// Set by the signal handler itself, see [`Context::note_signals`].
    signalled: Arc<AtomicBool>,
}

impl Context {
    /// A context that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on SIGINT and SIGTERM make [`is_cancelled`](Self::is_cancelled) true at once.
    ///
    /// A task that waits for the signal learns of it some wake-ups later; what other threads begin
    /// in that time (a job's turn, a response that promises to keep the connection) would begin
    /// after the signal unknowingly. The flag is set by the handler, sigaction(2).
    ///
    /// # Errors
    /// When the handler can't be installed.
    pub fn note_signals(&self) -> io::Result<()> {
        // The library installs its handler a little before it knows what to do on a signal. One
        // that came in between would be swallowed, so it has to wait, sigprocmask(2).
        let both = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        let before = both.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = [Signal::SIGINT, Signal::SIGTERM].into_iter().try_for_each(|signal| {
            signal_hook::flag::register(signal as i32, Arc::clone(&self.signalled)).map(drop)
        });
        before.thread_set_mask()?;
        registered
    }

    /// Cancels the context and wakes all who wait for that; a second call changes nothing.
    pub fn cancel(&self) {
        self.cancelled_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Whether shutdown has begun: no new work may be started.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst) || self.token.is_cancelled()
    }

    /// Waits for the cancellation and returns when it came: deadlines are counted from there.
    pub async fn cancelled(&self) -> Instant {
        self.token.cancelled().await;
        *self.cancelled_at.get_or_init(Instant::now)
    }

    /// [`cancelled`](Self::cancelled) to be kept and polled by hand.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        self.token.clone().cancelled_owned()
    }
}

/// The slides' `signal.Notify(quitSignal, syscall.SIGINT, syscall.SIGTERM)`.
#[derive(Debug)]
pub struct TerminationSignals {
    context: Context,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl TerminationSignals {
    /// Begins to listen; to be called before there is anything that a signal could interrupt.
    ///
    /// # Errors
    /// When a handler can't be installed.
    pub fn listen(context: &Context) -> io::Result<Self> {
        Ok(Self {
            context: context.clone(),
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The slides' `<-quitSignal`: waits for a signal, or finds that one has come already.
    pub async fn recv(&mut self) {
        // One may have come after `note_signals` and before `listen`.
        if !self.context.is_cancelled() {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}
