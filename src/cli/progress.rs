//! What is shown while a run goes on: a view that moves in a terminal, a line now and then elsewhere.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::model::plan::Trial;
use crate::model::run::TrialReport;
use crate::model::verdict::Severity;

mod seen;
mod shown;

use seen::Seen;
pub(super) use shown::{How, clear};

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many trials.
    Trials(u32),
    /// As many as fit into this time.
    Budget(Duration),
}

/// What has been seen so far, and who shows it.
#[derive(Debug)]
pub struct Progress {
    seen: Arc<Mutex<Seen>>,
    shower: Option<Shower>,
}

/// A thread that shows it, from time to time.
#[derive(Debug)]
struct Shower {
    is_over: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A trial that is under way.
#[derive(Debug)]
pub(super) struct Now<'p>(&'p Progress, u32);

impl Progress {
    /// Begins to show it on standard error.
    pub fn new(how: How, extent: Extent) -> Self {
        let seen = Arc::new(Mutex::new(Seen::new(extent, Instant::now())));
        let shower = (how != How::Nothing).then(|| Shower::start(how, Arc::clone(&seen)));
        Self { seen, shower }
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A trial begins; it is under way until what is answered is dropped.
    pub(super) fn begins(&self, trial: &Trial) -> Now<'_> {
        self.change(|seen| seen.begins(trial));
        Now(self, trial.number)
    }

    /// A trial of the run is done.
    pub(super) fn trial_done(&self, trial: &TrialReport, severities: &[(&'static str, Severity)]) {
        self.change(|seen| seen.done(trial, severities));
    }

    /// What failed is looked at again, for no longer than this.
    pub fn shrinking(&self, budget: Duration) {
        self.change(|seen| seen.looks_again(Instant::now() + budget));
    }

    /// Takes the view away.
    pub fn finish(&self) {
        self.shower.iter().for_each(Shower::end);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Drop for Now<'_> {
    fn drop(&mut self) {
        self.0.change(|seen| seen.ends(self.1));
    }
}

impl Shower {
    fn start(how: How, seen: Arc<Mutex<Seen>>) -> Self {
        let is_over = Arc::new((Mutex::new(false), Condvar::new()));
        let ended = Arc::clone(&is_over);
        let thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(move || shown::show(how, &seen, &ended));
        // Without a thread nothing is shown, and all the rest goes on.
        Self { is_over, thread: Mutex::new(thread.ok()) }
    }

    fn end(&self) {
        let (is_over, wake) = &*self.is_over;
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that has panicked has nothing more to take away.
        let _ = thread.map(JoinHandle::join);
    }
}
