//! Where trials are run again, several at a time, and what they showed is kept.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::load::cast::Part;
use crate::model::event::EventKind;
use crate::model::number::FIRST_AGAIN;
use crate::model::phase::Phase;
use crate::model::plan::{Situation, Trial};
use crate::model::reproduction::Rate;
use crate::model::run::{Evidence, TrialReport};
use crate::plan::search::{ESTABLISHED, MISSES};
use crate::report::summary::{Said, TrialSummary, beside, is_about_losses};
use crate::trial::isolation::own_network;

use super::super::desk::{Desk, Kind, lock};
use super::super::failure::{Failure, internal};
use super::super::schedule::Schedule;

/// Carries out trials beside those of the run, which they count for nothing in.
pub(in crate::cli) struct Bench<'a> {
    desk: &'a Desk<'a>,
    schedule: &'a Schedule<'a>,
    /// How many at a time.
    workers: usize,
    /// The trials of the run, which say what is excused.
    run: Mutex<Vec<TrialSummary>>,
    number: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tried: Vec<Tried>,
    /// How long a trial of a situation took at its longest.
    longest: BTreeMap<Situation, Duration>,
}

/// What was run, and what each run of it showed, alone and beside the others.
struct Tried {
    trial: Trial,
    alone: Vec<TrialSummary>,
    shown: Vec<TrialSummary>,
}

/// Why a trial is not run again.
#[derive(Debug)]
pub(in crate::cli) enum Stop {
    /// The target, or this machine, has no occasion for it.
    NoOccasion,
    /// There is no time for it.
    NoTime {
        /// How long it would take.
        expected: Duration,
        /// Whether that is as long as the target may take to exit.
        hangs: bool,
    },
    /// The user asked for the end.
    Interrupted,
    /// It could not be carried out.
    Failed(String),
}

impl<'a> Bench<'a> {
    /// A bench beside a run that is over, whose trials took so long.
    pub(in crate::cli) fn new(
        desk: &'a Desk<'a>,
        schedule: &'a Schedule<'a>,
        workers: usize,
        run: Vec<TrialSummary>,
    ) -> Self {
        let mut longest: BTreeMap<Situation, Duration> = BTreeMap::new();
        for report in run.iter().map(TrialSummary::report) {
            let took = Duration::from_millis(report.shown.took_ms.into());
            let most = longest.entry(report.situation).or_default();
            *most = took.max(*most);
        }
        let state = Mutex::new(State { longest, ..State::default() });
        let run = Mutex::new(run);
        Self { desk, schedule, workers, run, number: AtomicU32::new(FIRST_AGAIN), state }
    }

    /// How often a trial was tried.
    pub(in crate::cli) fn tries(&self, trial: &Trial) -> usize {
        let state = lock(&self.state);
        runs_of(&state, trial).map_or(0, <[_]>::len)
    }

    /// How often a trial has violated an invariant, of its runs from `from` on.
    pub(in crate::cli) fn rate(&self, trial: &Trial, invariant: &str, from: usize) -> Rate {
        let state = lock(&self.state);
        let runs = runs_of(&state, trial).unwrap_or_default().iter().skip(from);
        runs.fold(Rate::default(), |rate, run| match run.says(invariant) {
            Said::Failed => rate.and(true),
            Said::Held => rate.and(false),
            Said::Nothing => rate,
        })
    }

    /// Whether a run of a trial has violated an invariant and was excused, so that the rate of the
    /// others says less than it seems to; and by what.
    pub(in crate::cli) fn excuse(&self, trial: &Trial, invariant: &str) -> Option<String> {
        let state = lock(&self.state);
        excuse(runs_of(&state, trial).unwrap_or_default(), invariant)
    }

    /// A run of a trial that has violated an invariant, and how.
    pub(in crate::cli) fn failing(
        &self,
        trial: &Trial,
        invariant: &str,
    ) -> Option<(TrialReport, Evidence)> {
        let state = lock(&self.state);
        let mut runs = runs_of(&state, trial)?.iter();
        let failed = runs.find(|run| run.says(invariant) == Said::Failed)?;
        Some((failed.report().clone(), failed.first_evidence(invariant)?.clone()))
    }

    /// The phases in which a trial that violates an invariant has lost requests.
    pub(in crate::cli) fn lost_phases(&self, trial: &Trial, invariant: &str) -> Vec<Phase> {
        let state = lock(&self.state);
        let mut runs = runs_of(&state, trial).unwrap_or_default().iter();
        let failed = runs.find(|run| run.says(invariant) == Said::Failed);
        failed.map(TrialSummary::lost_phases).unwrap_or_default()
    }

    /// The trial with the one request named that it asks for.
    pub(in crate::cli) fn exactly(&self, trial: &Trial) -> Trial {
        self.schedule.exactly(trial)
    }

    /// The name of a request that a trial lost.
    pub(in crate::cli) fn lost_request(&self, trial: &Trial, invariant: &str) -> Option<String> {
        let (_, evidence) = self.failing(trial, invariant)?;
        let template = evidence.events.iter().find_map(|event| match &event.kind {
            EventKind::Request(request) => Some(request.template),
            _ => None,
        })?;
        let requests = &self.desk.subject.contract.requests;
        requests.get(usize::from(template)).map(|request| request.name.clone())
    }

    /// What the target, or this machine, lacks for a trial.
    pub(in crate::cli) fn lacking(&self, trial: &Trial) -> Option<&'static str> {
        self.schedule.parts(trial).err()
    }

    /// What a trial that was recorded exactly has less of now.
    pub(in crate::cli) fn has_less_of(&self, trial: &Trial) -> Option<String> {
        self.schedule.has_less_of(trial)
    }

    /// How long a trial of the situation took at its longest; nothing where none was tried.
    pub(in crate::cli) fn expected(&self, trial: &Trial) -> Duration {
        lock(&self.state).longest.get(&trial.situation).copied().unwrap_or_default()
    }

    /// Whether a trial that takes so long waits for a target that does not exit before its deadline.
    pub(in crate::cli) fn hangs(&self, takes: Duration) -> bool {
        takes >= self.desk.subject.contract.deadline
    }

    /// Why a run of a trial counts for nothing, or shows nothing of an invariant, where one does.
    pub(in crate::cli) fn missed(&self, trial: &Trial, invariant: &str) -> Option<String> {
        let state = lock(&self.state);
        let runs = runs_of(&state, trial).unwrap_or_default();
        let missed = runs.iter().find_map(|run| run.report().missed.clone());
        let nothing = || runs.iter().find_map(|run| run.why_nothing(invariant)).map(str::to_owned);
        missed.or_else(nothing)
    }

    /// Runs what the losses of a trial that was held still are compared with, where that was not done
    /// yet: without a control of that situation, with that pause, nobody knows whose fault they are.
    ///
    /// # Errors
    /// When it is not run, and why.
    pub(in crate::cli) fn compare(
        &self,
        trial: &Trial,
        invariant: &str,
        until: Option<Instant>,
    ) -> Result<(), Stop> {
        let failed = self.rate(trial, invariant, 0).failed.min(ESTABLISHED) as usize;
        if trial.hold.is_none() || failed == 0 || !is_about_losses(invariant) {
            return Ok(());
        }
        let control = trial.as_control();
        let is_of = |it: &&TrialSummary| {
            let report = it.report();
            let same = (report.situation, &report.moment) == (trial.situation, &control.moment());
            report.control && same && report.missed.is_none()
        };
        for _ in 0..failed + MISSES as usize {
            let lacking = failed.saturating_sub(lock(&self.run).iter().filter(is_of).count());
            if lacking == 0 {
                break;
            }
            let before = self.tries(&control);
            self.run_some(&control, lacking, until)?;
            let mut state = lock(&self.state);
            let own = state.tried.iter().find(|tried| is_same(&tried.trial, &control));
            let new = own.map(|tried| tried.alone[before..].to_vec()).unwrap_or_default();
            let mut run = lock(&self.run);
            run.extend(new);
            for tried in state.tried.iter_mut().filter(|tried| tried.trial.hold.is_some()) {
                tried.shown = beside(&run, tried.alone.clone(), &self.desk.severities);
            }
        }
        Ok(())
    }

    /// Runs a trial so often that others can be compared with it.
    ///
    /// # Errors
    /// When it is not run, and why.
    pub(in crate::cli) fn compare_with(&self, trial: &Trial, times: usize) -> Result<(), Stop> {
        for _ in 0..times.div_ceil(self.workers.max(1)) {
            self.run_some(trial, self.workers, None)?;
        }
        let state = lock(&self.state);
        let own = state.tried.iter().find(|tried| is_same(&tried.trial, trial));
        lock(&self.run).extend(own.into_iter().flat_map(|tried| tried.alone.clone()));
        Ok(())
    }

    /// Runs a trial as often as there is room for at the same time.
    ///
    /// # Errors
    /// When it is not run, and why.
    pub(in crate::cli) fn run(&self, trial: &Trial, until: Instant) -> Result<(), Stop> {
        self.run_some(trial, self.workers, Some(until))
    }

    /// The same, however long it takes.
    ///
    /// # Errors
    /// When it is not run, and why.
    pub(in crate::cli) fn run_in_overtime(&self, trial: &Trial) -> Result<(), Stop> {
        self.run_some(trial, self.workers, None)
    }

    /// Runs a trial so often, as far as there is room for at the same time.
    ///
    /// # Errors
    /// When it is not run, and why.
    pub(in crate::cli) fn run_some(
        &self,
        trial: &Trial,
        times: usize,
        until: Option<Instant>,
    ) -> Result<(), Stop> {
        let parts = self.schedule.parts(trial).map_err(|_| Stop::NoOccasion)?;
        let expected = self.expected(trial);
        if self.desk.interrupt.asked().is_some() {
            return Err(Stop::Interrupted);
        }
        if until.is_some_and(|until| Instant::now() + expected > until) {
            return Err(Stop::NoTime { expected, hangs: self.hangs(expected) });
        }
        let begun = Instant::now();
        let times = times.clamp(1, self.workers.max(1));
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..times).map(|_| scope.spawn(|| self.once(trial, &parts))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut shown = Vec::new();
        for done in done {
            shown.extend(done.map_err(|failure| Stop::Failed(failure.to_string()))?);
        }
        if shown.is_empty() {
            return Err(Stop::Interrupted);
        }
        let mut state = lock(&self.state);
        let longest = state.longest.entry(trial.situation).or_default();
        *longest = begun.elapsed().max(*longest);
        let at = state.tried.iter().position(|tried| is_same(&tried.trial, trial));
        let at = at.unwrap_or_else(|| {
            state.tried.push(Tried { trial: trial.clone(), alone: Vec::new(), shown: Vec::new() });
            state.tried.len() - 1
        });
        let tried = &mut state.tried[at];
        tried.alone.extend(shown);
        tried.shown = beside(&lock(&self.run), tried.alone.clone(), &self.desk.severities);
        Ok(())
    }

    fn once(&self, trial: &Trial, parts: &[Part]) -> Result<Option<TrialSummary>, Failure> {
        if self.desk.subject.own_network {
            own_network().map_err(internal("make a network of its own for each trial"))?;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let own = Trial { number, ..trial.clone() };
        self.desk.summary((&own, parts), &|| {}, Kind::Again)
    }
}

fn runs_of<'s>(state: &'s State, trial: &Trial) -> Option<&'s [TrialSummary]> {
    let found = state.tried.iter().find(|tried| is_same(&tried.trial, trial));
    found.map(|tried| &*tried.shown)
}

/// Numbers mean nothing.
fn is_same(one: &Trial, other: &Trial) -> bool {
    Trial { number: 0, ..one.clone() } == Trial { number: 0, ..other.clone() }
}
/// Why a violation among these counts for nothing, where there is one.
pub(in crate::cli) fn excuse(runs: &[TrialSummary], invariant: &str) -> Option<String> {
    let excused = runs.iter().find(|run| run.is_excused_of(invariant))?;
    let why = excused.why_nothing(invariant).unwrap_or("a trial without a signal loses as much");
    Some(why.to_owned())
}
