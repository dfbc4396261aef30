//! Which trial is next, and how many run at the same time.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::load::cast::Part;
use crate::load::request::PreparedRequest;
use crate::model::address::ServerAddress;
use crate::model::plan::{Plan, Situation, Trial};
use crate::model::search::{SearchReport, Shown};
use crate::plan::search::Search;
use crate::plan::{PlanOptions, plan};
use crate::trial::interrupt::Interrupt;
use crate::trial::lives::Lives;

use super::progress::Extent;

mod fixed;
pub(super) mod known;
mod parts;

use fixed::Fixed;
use known::Known;

/// As many trials in a row that can't be carried out, or have no time left, mean that none can.
const SKIPPED_MAX: u32 = 200;
/// Known failures are tried in this part of the budget, and the plan's trials have the rest;
const PART_OF_KNOWN: u32 = 2;
/// more than once only in this part.
const PART_OF_ROUNDS: u32 = 5;
/// Trials that only wait for their deadline, side by side with those that do something.
pub(super) const WAITING_MAX: usize = 6;

/// The trials of a run, handed out one by one.
#[derive(Debug)]
pub struct Schedule<'a> {
    options: PlanOptions,
    extent: Extent,
    begun: Instant,
    occasion: Occasion,
    /// Why it can't be PID 1 here, where it can't.
    no_pid_1: Option<&'static str>,
    /// Whether the target was running before, and is not to be held still.
    is_running: bool,
    /// Whether each situation is tried, whatever the budget.
    is_whole: bool,
    /// How many trials do something at the same time; those that wait come on top.
    workers: usize,
    interrupt: &'a Interrupt,
    state: Mutex<State>,
    freed: Condvar,
}

/// What the target gives an occasion for.
#[derive(Clone, Debug, Default)]
pub struct Occasion {
    /// Where it listens; absent where it has no listener.
    pub address: Option<ServerAddress>,
    /// What situations are made of.
    pub requests: Vec<PreparedRequest>,
    /// How people name these, and what is written down of that.
    pub names: Vec<(String, String)>,
    /// How many requests it works on at the same time, where that is few.
    pub parallelism: Option<u16>,
    /// Whether it has background jobs.
    pub has_jobs: bool,
    /// The lives of single requests that signals can be aimed at.
    pub lives: Lives,
}

impl Occasion {
    /// The request with this name, as it stands in a report.
    fn named(&self, name: &str) -> Option<usize> {
        let is_it = |(known, written): &(String, String)| known == name || written == name;
        self.names.iter().position(is_it).filter(|at| *at < self.requests.len())
    }

    /// Why there is none for a situation, as far as its jobs and its address decide.
    fn lacks(&self, situation: Situation) -> Result<(), &'static str> {
        if situation == Situation::JobRunning && !self.has_jobs {
            return Err("no line of the target's looked like a job: name the lines with \
                        --job-start and --job-finish");
        }
        match &self.address {
            None if situation.needs_connections() => Err("the target has no listener"),
            Some(ServerAddress::Unix(_)) if situation.needs_kernel() => {
                Err("the kernel shows nothing of the connections of a unix socket")
            }
            _ => Ok(()),
        }
    }
}

/// Where the trials come from.
#[derive(Debug)]
enum Source {
    /// A plan of a certain length.
    Fixed(Box<Fixed>),
    /// What is worth most at the time.
    Search(Box<Search>),
}

#[derive(Debug)]
struct State {
    source: Source,
    /// What comes before.
    known: Known,
    /// Why trials after the first round were chosen, by number.
    chosen: BTreeMap<u32, String>,
    busy: usize,
    longest: BTreeMap<Situation, Duration>,
    unreachable: BTreeMap<Situation, &'static str>,
    trials: Vec<Trial>,
    is_over: bool,
}

/// A trial's place among those that run at the same time, until it is dropped.
#[derive(Debug)]
pub struct Place<'s> {
    schedule: &'s Schedule<'s>,
    trial: Trial,
    begun: Instant,
    is_given_up: Mutex<bool>,
    shown: Mutex<Option<Shown>>,
}

impl<'a> Schedule<'a> {
    /// The plan's trials, none of which has begun, for so many workers.
    pub fn new(
        (options, extent, begun): (PlanOptions, Extent, Instant),
        occasion: Occasion,
        workers: usize,
        interrupt: &'a Interrupt,
    ) -> Self {
        // What a unix socket never shows is known before the first trial. Without a listener nothing of
        // that kind is planned.
        let chosen = options.situations.iter().filter(|_| occasion.address.is_some());
        let lacking = chosen.filter_map(|it| Some((*it, occasion.lacks(*it).err()?)));
        let source = match extent {
            Extent::Trials(trials) => Source::Fixed(Box::new(Fixed::new(options.clone(), trials))),
            Extent::Budget(_) => Source::Search(Box::new(Search::new(options.clone()))),
        };
        let state = State {
            source,
            known: Known::default(),
            chosen: BTreeMap::new(),
            busy: 0,
            longest: BTreeMap::new(),
            unreachable: lacking.collect(),
            trials: Vec::new(),
            is_over: false,
        };
        let (state, freed) = (Mutex::new(state), Condvar::new());
        let (no_pid_1, is_running, is_whole) = (None, false, false);
        Self {
            options,
            extent,
            begun,
            occasion,
            no_pid_1,
            is_running,
            is_whole,
            workers,
            interrupt,
            state,
            freed,
        }
    }

    /// The same, of a target that was running before: were the harness killed while it holds it
    /// still, nobody would let it go.
    pub fn of_running(self, is_running: bool) -> Self {
        Self { is_running, ..self }
    }

    /// The same with a trial of each situation, also where the budget is too short for it: what is
    /// compared with other runs has to be tried.
    pub fn with_whole_round(self, is_whole: bool) -> Self {
        Self { is_whole, ..self }
    }

    /// The same, without trials as PID 1, for this reason.
    pub fn without_pid_1(self, why: Option<&'static str>) -> Self {
        Self { no_pid_1: why, ..self }
    }

    /// Tries these before the plan's trials, each so often.
    pub fn first(&self, known: Vec<(Trial, Vec<Part>, u32)>) {
        self.lock().known = Known::new(known);
    }

    /// The trials of known failures that were begun.
    pub fn known(&self) -> Vec<Trial> {
        self.lock().known.begun.clone()
    }

    /// How many threads can have a trial at the same time.
    pub fn threads(&self) -> usize {
        // A single worker has the target's only port to itself, also while it waits.
        if self.workers == 1 { 1 } else { self.workers + WAITING_MAX }
    }

    /// Waits for a place, and takes the next trial and its connections; none when the plan or the
    /// budget is done.
    pub fn next(&self) -> Option<(Place<'_>, Trial, Vec<Part>)> {
        let mut state = self.lock();
        let (trial, parts) = loop {
            while state.busy >= self.workers && !state.is_over {
                state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            match self.draw(&mut state) {
                Some(drawn) => break drawn,
                // What a known failure shows may have to be compared with more.
                None if state.known.is_under_way() && !state.is_over => {
                    state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => return None,
            }
        };
        state.busy += 1;
        if !state.known.has(&trial) {
            state.trials.push(trial.clone());
            if let Source::Search(search) = &mut state.source {
                search.begin(&trial);
            }
        }
        let place = Place {
            schedule: self,
            trial: trial.clone(),
            begun: Instant::now(),
            is_given_up: Mutex::new(false),
            shown: Mutex::new(None),
        };
        Some((place, trial, parts))
    }

    /// Hands out no more.
    pub fn stop(&self) {
        self.lock().is_over = true;
        self.freed.notify_all();
    }

    /// Whether all that was lost was compared with what is lost without a signal.
    pub fn has_compared(&self) -> bool {
        let state = self.lock();
        let has_compared = match &state.source {
            Source::Fixed(fixed) => fixed.has_compared(),
            Source::Search(search) => search.has_compared(),
        };
        has_compared && state.known.has_compared()
    }

    /// Whether every situation had its turn.
    pub fn has_tried_all(&self) -> bool {
        match &self.lock().source {
            Source::Fixed(fixed) => fixed.has_tried_all(),
            Source::Search(search) => search.has_tried_all(),
        }
    }

    /// A situation of which more trials are wanted, where the plan is not fixed.
    pub fn favour(&self, situation: Option<Situation>) {
        if let Source::Search(search) = &mut self.lock().source {
            search.favour(situation);
        }
    }

    /// Situations that the target gives no occasion for, and why.
    pub fn unreachable(&self) -> BTreeMap<Situation, &'static str> {
        self.lock().unreachable.clone()
    }

    /// The plan: with a budget, the trials that were begun.
    pub fn plan(&self) -> Plan {
        match self.extent {
            Extent::Trials(trials) => plan(&self.options, trials),
            Extent::Budget(_) => {
                Plan { seed: self.options.seed, trials: self.lock().trials.clone() }
            }
        }
    }

    /// Which trials were chosen by what others had shown, where the plan was not fixed.
    pub fn search(&self) -> Option<SearchReport> {
        let state = self.lock();
        let chosen = match &state.source {
            Source::Fixed(_) => return None,
            Source::Search(_) => state.chosen.clone(),
        };
        let first_round = (state.trials.len() - chosen.len()) as u32;
        Some(SearchReport { first_round, crowd: Some(self.options.crowd), chosen })
    }

    fn draw(&self, state: &mut State) -> Option<(Trial, Vec<Part>)> {
        if state.is_over || self.interrupt.asked().is_some() {
            return None;
        }
        let known = state.known.next(&|round, longest| self.has_time_for_known(round, longest));
        if known.is_some() {
            return known;
        }
        for _ in 0..SKIPPED_MAX {
            let (trial, why) = match &mut state.source {
                Source::Fixed(fixed) => (fixed.next()?, None),
                Source::Search(_) => self.searched(state)?,
            };
            match self.parts(&trial) {
                Ok(parts) => {
                    state.chosen.extend(why.map(|why| (trial.number, why)));
                    return Some((trial, parts));
                }
                Err(lacking) => _ = state.unreachable.insert(trial.situation, lacking),
            }
            if let Source::Search(search) = &mut state.source {
                search.close(&trial);
            }
        }
        None
    }

    fn has_time_for_known(&self, round: u32, longest: Duration) -> bool {
        let Extent::Budget(budget) = self.extent else { return true };
        let part = if round == 0 { PART_OF_KNOWN } else { PART_OF_ROUNDS };
        self.begun.elapsed() + longest < budget / part
    }

    /// What the search would try now.
    fn searched(&self, state: &State) -> Option<(Trial, Option<String>)> {
        let Source::Search(search) = &state.source else { return None };
        let choice = search.next(&|situation| self.fits(state, situation))?;
        Some((choice.trial, choice.why))
    }

    /// Whether there is time for a trial of the situation; of one that was not tried yet, for as
    /// much as the shortest took.
    fn fits(&self, state: &State, situation: Situation) -> bool {
        let Extent::Budget(budget) = self.extent else { return true };
        let shortest = state.longest.values().min();
        let expected = state.longest.get(&situation).or(shortest).copied().unwrap_or_default();
        let is_new = || !state.trials.iter().any(|trial| trial.situation == situation);
        if self.is_whole && is_new() {
            return true;
        }
        // Whatever the budget, one trial is carried out.
        state.trials.is_empty() || self.begun.elapsed() + expected < budget
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// What the trial has shown, so that the next ones are chosen by it.
    pub fn shows(&self, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    }

    /// The trial only waits from now on, and another one may do something.
    pub fn give_up(&self) {
        let mut is_given_up = self.is_given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_given_up, true) {
            self.schedule.lock().busy -= 1;
            self.schedule.freed.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.give_up();
        let took = self.begun.elapsed();
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut state = self.schedule.lock();
        if state.known.has(&self.trial) {
            state.known.end(&self.trial, shown.as_ref(), took);
            self.schedule.freed.notify_all();
            return;
        }
        let longest = state.longest.entry(self.trial.situation).or_default();
        *longest = took.max(*longest);
        let Some(shown) = shown else { return };
        match &mut state.source {
            Source::Search(search) => search.end(&self.trial, &shown),
            Source::Fixed(fixed) => fixed.end(&self.trial, &shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::target::RequestTemplate;
    use crate::plan::trial;
    use crate::trial::interrupt::interrupt;

    fn occasion(address: &str) -> Occasion {
        let address = address.parse().unwrap();
        let requests = vec![PreparedRequest::new(0, &RequestTemplate::get("/"), &address)];
        Occasion { address: Some(address), requests, ..Occasion::default() }
    }

    fn schedule(extent: Extent, workers: usize, interrupt: &Interrupt) -> Schedule<'_> {
        let (options, occasion) = (PlanOptions::new(1), occasion("127.0.0.1:80"));
        Schedule::new((options, extent, Instant::now()), occasion, workers, interrupt)
    }

    #[test]
    fn what_a_recorded_trial_has_less_of_is_told() {
        let (_interrupter, interrupt) = interrupt();
        let schedule = schedule(Extent::Trials(1), 1, &interrupt);
        let mixed = PlanOptions { situations: vec![Situation::Mixed], ..PlanOptions::new(1) };
        let trial = schedule.exactly(&plan(&mixed, 1).trials[0]);
        assert_eq!(trial.kinds, Some(7), "no request is slow");
        assert_eq!(schedule.has_less_of(&trial), None);
        let more = Trial { kinds: Some(8), ..trial };
        let less = schedule.has_less_of(&more).unwrap();
        assert!(less.contains("7 of the 8 kinds"), "{less}");
    }

    #[test]
    fn on_a_unix_socket_what_only_the_kernel_shows_is_not_tried() {
        let (_interrupter, interrupt) = interrupt();
        let plan = (PlanOptions::new(1), Extent::Trials(44), Instant::now());
        let schedule = Schedule::new(plan, occasion("unix:/run/x.sock"), 1, &interrupt);
        let tried: BTreeSet<_> =
            std::iter::from_fn(|| schedule.next().map(|(_, trial, _)| trial.situation)).collect();
        assert!(tried.contains(&Situation::Load) && tried.contains(&Situation::IdleKeepalive));
        assert!(!tried.iter().any(|it| it.is_held()), "{tried:?}");
        assert!(schedule.unreachable()[&Situation::Delivered].contains("unix socket"));
    }

    #[test]
    fn every_trial_is_given_once_and_no_more_do_something_than_there_are_workers() {
        let (_interrupter, interrupt) = interrupt();
        let schedule = schedule(Extent::Trials(66), 3, &interrupt);
        let (busy, given) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..schedule.threads() {
                scope.spawn(|| {
                    while let Some((place, trial, _)) = schedule.next() {
                        assert!(busy.fetch_add(1, Ordering::SeqCst) < 3);
                        given.lock().unwrap().push(trial.number);
                        if trial.hold.is_some() && !trial.is_control() {
                            place.shows(Shown { lost: true, ..Shown::default() });
                        }
                        busy.fetch_sub(1, Ordering::SeqCst);
                        if trial.number % 2 == 0 {
                            place.give_up();
                            std::thread::yield_now();
                        }
                    }
                    schedule.stop();
                });
            }
        });
        let mut given = given.into_inner().unwrap();
        given.sort_unstable();
        let lacking = [Situation::Streaming, Situation::Uploading, Situation::JobRunning];
        let all = plan(&schedule.options, 66).trials;
        let wanted: Vec<_> = all.iter().filter(|it| !lacking.contains(&it.situation)).collect();
        assert_eq!(given, wanted.iter().map(|it| it.number).collect::<Vec<_>>());
        assert_eq!(schedule.unreachable().into_keys().collect::<Vec<_>>(), lacking);
    }

    #[test]
    fn a_loss_brings_its_control_forward() {
        let (_interrupter, interrupt) = interrupt();
        let schedule = schedule(Extent::Budget(Duration::from_secs(600)), 1, &interrupt);
        let lost = loop {
            let (place, trial, _) = schedule.next().unwrap();
            if trial.situation == Situation::Delivered {
                place.shows(Shown { lost: true, ..Shown::default() });
                break trial;
            }
        };
        let (_, control, _) = schedule.next().unwrap();
        assert!(control.is_control());
        assert_eq!((control.situation, control.hold), (lost.situation, lost.hold));
        let mut rest = std::iter::from_fn(|| schedule.next().map(|(_, trial, _)| trial.number));
        assert!(!rest.by_ref().take(40).any(|number| number == control.number), "given twice");
    }

    #[test]
    fn what_is_run_again_at_a_system_call_asks_for_the_same_request() {
        let (_interrupter, interrupt) = interrupt();
        let address: ServerAddress = "127.0.0.1:80".parse().unwrap();
        let request = |n, path| PreparedRequest::new(n, &RequestTemplate::get(path), &address);
        let occasion = Occasion {
            requests: vec![request(0, "/"), request(1, "/other")],
            names: ["GET /", "GET /other"].map(|name| (name.into(), name.into())).to_vec(),
            address: Some(address.clone()),
            ..Occasion::default()
        };
        let plan = (PlanOptions::new(1), Extent::Trials(1), Instant::now());
        let schedule = Schedule::new(plan, occasion, 1, &interrupt);
        let at_syscall = "before accept".parse().unwrap();
        let mut trial = trial(&PlanOptions::new(1), 1);
        trial.situation = Situation::OneRequest;
        trial.signals.truncate(1);
        trial.signals[0].moment = at_syscall;
        assert_eq!(schedule.exactly(&trial).asks.as_deref(), Some("GET /"));
        trial.asks = Some("GET /other".into());
        assert_eq!(schedule.parts(&trial).unwrap()[0].template, 1);
        trial.asks = Some("GET /gone".into());
        assert!(schedule.parts(&trial).unwrap_err().contains("asked for no more"));
    }

    #[test]
    fn a_budget_skips_what_would_not_end_in_it() {
        let (_interrupter, interrupt) = interrupt();
        let schedule = schedule(Extent::Budget(Duration::from_secs(600)), 1, &interrupt);
        schedule.next();
        schedule.lock().longest.insert(Situation::SlowHandler, Duration::from_secs(601));
        let (_, next, _) = schedule.next().unwrap();
        assert_ne!(next.situation, Situation::SlowHandler);
        schedule.stop();
        assert!(schedule.next().is_none());
    }
}
