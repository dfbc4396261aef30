//! Where trials are carried out, saved and judged, and their results kept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::judge::judge;
use crate::load::cast::Part;
use crate::model::header::{HISTORY_VERSION, Header};
use crate::model::history::History;
use crate::model::plan::{Situation, Trial};
use crate::model::search::Shown;
use crate::model::verdict::Severity;
use crate::report::summary::{TrialSummary, thin};
use crate::trial::carry_out::carry_out;
use crate::trial::error::TrialError;
use crate::trial::interrupt::Interrupt;
use crate::trial::isolation::own_network;
use crate::trial::subject::Subject;

use super::failure::{Failure, internal};
use super::progress::{Extent, Progress};
use super::schedule::Schedule;
use super::stopping::Stopping;
use super::store::{Store, again_name, file_name};

/// A trial whose target did not come as far as the signal is tried again this often.
const TRIES: u32 = 3;
/// Evidence that no report will show is dropped each time this many trials are over.
const THIN_EVERY: usize = 64;

/// Where the workers get their trials and leave their results.
pub(super) struct Desk<'a> {
    pub(super) severities: Vec<(&'static str, Severity)>,
    pub(super) results: Mutex<Results>,
    pub(super) subject: &'a Subject,
    pub(super) store: &'a Store,
    pub(super) progress: &'a Progress,
    pub(super) interrupt: &'a Interrupt,
    pub(super) extent: Extent,
    pub(super) stopping: Mutex<Stopping>,
}

/// What a trial is carried out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is one of the run's, and counts.
    OfTheRun,
    /// It only shows how often another one fails, or that a simpler one does.
    Again,
}

#[derive(Default)]
pub(super) struct Results {
    pub(super) summaries: Vec<TrialSummary>,
    /// How long the target took to exit in trials with no connection, at its longest.
    pub(super) idle_exit: Duration,
    pub(super) retries: u32,
    pub(super) failure: Option<Failure>,
}

impl Desk<'_> {
    pub(super) fn carry_out_all(&self, schedule: &Schedule<'_>) {
        std::thread::scope(|scope| {
            for _ in 0..schedule.threads() {
                scope.spawn(|| {
                    if self.subject.own_network
                        && let Err(error) = own_network()
                    {
                        let failure = internal("make a network of its own for each trial")(error);
                        lock(&self.results).failure.get_or_insert(failure);
                        schedule.stop();
                    }
                    while let Some((place, trial, parts)) = schedule.next() {
                        match self.one(&trial, &parts, &|| place.give_up()) {
                            Ok(shown) => shown.into_iter().for_each(|shown| place.shows(shown)),
                            Err(failure) => {
                                schedule.stop();
                                lock(&self.results).failure.get_or_insert(failure);
                            }
                        }
                        drop(place);
                        if self.has_answer(schedule) {
                            schedule.stop();
                        }
                    }
                    // Whoever waits for a place learns that there is nothing more to do.
                    schedule.stop();
                });
            }
        });
    }

    /// Whether what was shown is all that the user wants to know.
    fn has_answer(&self, schedule: &Schedule<'_>) -> bool {
        let stopping = lock(&self.stopping);
        stopping.is_asked_for() && {
            let results = lock(&self.results);
            stopping.has_answer(&results.summaries, &self.severities, schedule)
        }
    }

    /// What the trials have shown, how often a start was tried again, and what broke the run off.
    pub(super) fn results(&self) -> (Vec<TrialSummary>, u32, Option<Failure>) {
        let mut results = lock(&self.results);
        let Results { summaries, retries, failure, .. } = &mut *results;
        (std::mem::take(summaries), *retries, failure.take())
    }

    /// Carries out, saves and judges one trial, and keeps what it shows for the report; that, unless it
    /// was interrupted.
    pub(super) fn one(
        &self,
        trial: &Trial,
        parts: &[Part],
        waits: &dyn Fn(),
    ) -> Result<Option<Shown>, Failure> {
        let summary = self.summary((trial, parts), waits, Kind::OfTheRun)?;
        let shown = summary.as_ref().map(|summary| summary.report().shown.clone());
        summary.into_iter().for_each(|summary| self.keep(summary));
        Ok(shown)
    }

    /// Carries out, saves and judges one trial; nothing where the user broke it off.
    pub(super) fn summary(
        &self,
        (trial, parts): (&Trial, &[Part]),
        waits: &dyn Fn(),
        kind: Kind,
    ) -> Result<Option<TrialSummary>, Failure> {
        let begun = Instant::now();
        let _now = self.progress.begins(trial);
        let mut contract = self.subject.contract.clone();
        let idle_exit = lock(&self.results).idle_exit;
        contract.usual_exit = contract.usual_exit.map(|usual| usual.max(idle_exit));
        let header = Header {
            history_version: HISTORY_VERSION.into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            command: self.subject.target.command.clone(),
            trial: trial.clone(),
            contract,
        };
        let save = |header: &Header, events: &[_]| match kind {
            Kind::OfTheRun => self.store.save(header, events),
            Kind::Again => self.store.save_again(header, events),
        };
        let mut attempt = 0;
        let events = loop {
            let (events, result) =
                carry_out((trial, parts), self.subject, self.interrupt, (attempt, waits));
            attempt += 1;
            // Saved before it is judged, and also when it failed.
            match result {
                Ok(()) => {
                    save(&header, &events)?;
                    break events;
                }
                Err(TrialError::Interrupted) => {
                    save(&header, &events)?;
                    return Ok(None);
                }
                Err(error) => {
                    match kind {
                        Kind::OfTheRun => self.store.save_attempt(&header, &events, attempt)?,
                        Kind::Again => save(&header, &events)?,
                    };
                    if attempt == TRIES || self.subject.running.is_some() {
                        return Err(error.into());
                    }
                    lock(&self.results).retries += u32::from(kind == Kind::OfTheRun);
                }
            }
        };
        let lines = &self.subject.job_lines;
        let history = History::with_job_lines(header, events, lines).map_err(|malformed| {
            Failure::Internal(format!("trial {}: {malformed}", trial.number))
        })?;
        let findings = judge(&history);
        let path = match kind {
            Kind::OfTheRun => file_name(trial.number),
            Kind::Again => again_name(trial.number),
        };
        let summary = TrialSummary::of(&history, &findings, Some(path), &self.severities);
        Ok(Some(summary.took(begun.elapsed())))
    }

    fn keep(&self, summary: TrialSummary) {
        lock(&self.stopping).note(&summary, &self.severities);
        let mut results = lock(&self.results);
        if summary.report().situation == Situation::Idle && summary.report().missed.is_none() {
            let exit = summary.report().exit.as_ref().and_then(|exit| exit.after_ms);
            let exit = Duration::from_secs_f64(exit.unwrap_or_default().max(0.0) / 1e3);
            results.idle_exit = results.idle_exit.max(exit);
        }
        self.progress.trial_done(summary.report(), &self.severities);
        results.summaries.push(summary);
        if results.summaries.len().is_multiple_of(THIN_EVERY) {
            thin(&mut results.summaries);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
