//! Draws plans: what each trial does is settled here, before anything is started.
//!
//! A trial is a pure function of the options and its number. A plan of `n` trials is therefore
//! the beginning of every longer one, a budget can draw trial after trial until its time is over,
//! and any trial can be drawn again alone.

use std::time::Duration;

use crate::model::partition::Partition;
use crate::model::plan::{
    Arrivals, Hold, JobLandmark, Landmark, LoadShape, Moment, OF_EACH_KIND, Plan, PlannedSignal,
    SignalTo, Situation, Trial,
};
use crate::model::signal::Signal;
use crate::model::syscall::{PointManner, SyscallPoint};

mod draw;
mod near;
pub mod points;
mod repeats;
pub mod search;
pub mod share;
pub mod shrink;
mod start;

use draw::{Purpose, draw, stratified};

/// One round over the situations: what finds most comes first, since a run may end at any time;
/// `load` comes twice, since each of its trials shows another moment, and `slow-handler`, with a
/// crowd and with a few. The first ten are as unlike as they can be, each a place of its own where
/// requests and jobs get lost.
const ROUND: &[(Situation, Part)] = &[
    (Situation::Load, Part::Signal),
    (Situation::Writes, Part::Signal),
    (Situation::SlowHandler, Part::Signal),
    (Situation::SignalBurst, Part::Signal),
    (Situation::Delivered, Part::Signal),
    (Situation::JobRunning, Part::Signal),
    (Situation::Queued, Part::Signal),
    (Situation::SlowHandler, Part::Signal),
    (Situation::SecondSignal, Part::Signal),
    (Situation::OneRequest, Part::Signal),
    (Situation::Startup, Part::Signal),
    (Situation::Load, Part::Signal),
    (Situation::DeliveredKeepalive, Part::Signal),
    (Situation::StalledSender, Part::Signal),
    (Situation::Idle, Part::Signal),
    (Situation::IdleKeepalive, Part::Signal),
    (Situation::PartialHead, Part::Signal),
    (Situation::Streaming, Part::Signal),
    (Situation::Uploading, Part::Signal),
    (Situation::Mixed, Part::Signal),
    (Situation::Fresh, Part::Signal),
    (Situation::AsPid1, Part::Signal),
    (Situation::StalledReader, Part::Signal),
    (Situation::QueuedSilent, Part::Signal),
    (Situation::MixedSignals, Part::Signal),
    (Situation::Startup, Part::Signal),
    (Situation::Delivered, Part::Control),
    (Situation::Queued, Part::Control),
    (Situation::DeliveredKeepalive, Part::Control),
    (Situation::Mixed, Part::Control),
    (Situation::QueuedSilent, Part::Control),
    (Situation::SecondSignal, Part::Once),
    (Situation::SignalBurst, Part::Once),
    (Situation::MixedSignals, Part::Once),
];

/// As many trials as one round of a run without options has: `slow-handler` stands for those of
/// `Part::Once`, and nothing is written.
pub const ROUND_TRIALS: usize = ROUND.len() - 4;

/// What a trial of a situation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// To show what the signal does.
    Signal,
    /// To show what is lost without one.
    Control,
    /// To show what a single signal does, where `slow-handler`, which shows the same, is not
    /// chosen.
    Once,
    /// To show what the signal does at a system call.
    Point,
}

/// Trials that differ in nothing but their moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    situation: Situation,
    part: Part,
    signal: Option<Signal>,
}

/// How long a target is held still after the signal, in the order of the visits. First longer than
/// servers that ask for their stop flag at intervals usually take between two looks, as those lose
/// nothing without it; then not at all; then as long as a busy machine makes a process wait.
const HOLDS: [Duration; 3] =
    [Duration::from_millis(150), Duration::ZERO, Duration::from_millis(1000)];

/// The landmarks of the one request, in the order of the visits.
const LANDMARKS: [Landmark; 5] = [
    Landmark::Sent,
    Landmark::FirstByte,
    Landmark::Answered,
    Landmark::HalfHead,
    Landmark::Accepted,
];

/// The landmarks of a job, in the order of the visits, where nobody said how one is submitted.
const JOB_LANDMARKS: [JobLandmark; 3] =
    [JobLandmark::HalfWay, JobLandmark::Started, JobLandmark::Ending];

/// How many requests are in process together, in the order of the visits: many, which show what
/// befalls one in hundreds, few, which are easily understood, and some.
const CROWDS: [u16; 3] = [CROWD_MAX, OF_EACH_KIND, 64];
/// More would make the harness itself late.
pub const CROWD_MAX: u16 = 1024;

/// The pauses that a closed loop is tried with, where the user names no rate.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(10), Duration::from_millis(20)];

/// The number of connections up to which those pauses hold. More of them pause longer in
/// proportion, so that a trial with fast handlers has at most about 2000 requests before its
/// signal, and its history stays readable.
const UNHURRIED_CONNECTIONS: u16 = 16;

/// What a plan is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// The seed that all else follows from.
    pub seed: u64,
    /// The signals that the trials take turns with; SIGTERM where empty.
    pub signals: Vec<Signal>,
    /// Who gets them; where absent the leader, or, where there are several in a trial, in turns
    /// the leader and the group.
    pub signal_to: Option<SignalTo>,
    /// Whether the target listens; otherwise only what consists of no connection is tried.
    pub has_listener: bool,
    /// The situations that the trials take turns with; all of them where empty.
    /// Those that need writes are of no use where none are declared.
    pub situations: Vec<Situation>,
    /// Whether the target is PID 1 in all trials.
    pub as_pid_1: bool,
    /// Whether trials as PID 1 count where the others are not of that kind.
    pub pid_1_counts: bool,
    /// How many connections are in use at the same time.
    pub connections: u16,
    /// How many requests may be in process together, where they are to be many.
    pub crowd: u16,
    /// When the next request is sent; where absent, each trial draws the pause of a closed loop.
    pub arrivals: Option<Arrivals>,
    /// Of a hundred connections, how many are kept for the next request.
    pub keep_alive_percent: u8,
    /// How many pooled clients ask beside the raw ones.
    pub pooled_clients: u16,
    /// The part of the load in which the signal comes, from its beginning.
    pub window: (Duration, Duration),
    /// Whether it is known how a job is submitted.
    pub submits_jobs: bool,
    /// Whether the user has declared writes, which every trial then reads back.
    pub writes: bool,
    /// The boundaries of system calls to try, in their order.
    pub points: Vec<(SyscallPoint, PointManner)>,
    /// Which slice of the plan is wanted.
    pub partition: Partition,
}

impl PlanOptions {
    /// The defaults, with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            signals: vec![Signal::TERM],
            signal_to: None,
            has_listener: true,
            situations: Situation::ALL.into_iter().filter(|it| !it.needs_writes()).collect(),
            as_pid_1: false,
            pid_1_counts: false,
            connections: 16,
            crowd: CROWD_MAX,
            arrivals: None,
            keep_alive_percent: 50,
            pooled_clients: 1,
            window: (Duration::from_millis(200), Duration::from_millis(600)),
            submits_jobs: false,
            writes: false,
            points: Vec::new(),
            partition: Partition::WHOLE,
        }
    }
}

/// The first `trials` trials, or those of them that are in the slice that is wanted.
pub fn plan(options: &PlanOptions, trials: u32) -> Plan {
    if options.partition.is_part() {
        return share::slice(options, trials);
    }
    Plan { seed: options.seed, trials: (1..=trials).map(|number| trial(options, number)).collect() }
}

/// How many trials a round has: after so many, a plan begins again, with other moments.
pub fn round(options: &PlanOptions) -> u32 {
    cells(options).len() as u32
}

/// The trial with this number, counted from 1.
///
/// The signals take turns first, then the situations, so that even a short plan has tried each
/// signal.
pub fn trial(options: &PlanOptions, number: u32) -> Trial {
    let round = cells(options);
    let turn = number.saturating_sub(1) as usize;
    let (rounds, turn) = (turn / round.len(), turn % round.len());
    let its = round[turn];
    // Those of a round that are the same are visits of one cell.
    let same = |cells: &[_]| cells.iter().filter(|cell| **cell == its).count();
    let visit = rounds * same(&round) + same(&round[..turn]);
    let place = round.iter().position(|cell| *cell == its).unwrap_or_default();
    visited(options, (place, its), visit, number)
}

/// The trial of a cell's visit, counted from 0; the cell comes with its place in the round.
///
/// The turns of one situation with one signal form a cell, and each cell spreads its own
/// moments: a load over the window (see `draw::stratified`), the others over their pauses or
/// landmarks.
fn visited(
    options: &PlanOptions,
    (place, cell): (usize, Cell),
    visit: usize,
    number: u32,
) -> Trial {
    let situation = cell.situation;
    let moment = match cell.part {
        Part::Point => points::moment(&options.points, visit),
        _ => None,
    };
    let moment = moment.unwrap_or_else(|| self::moment(options, (place, situation), visit));
    let is_pid_1 = situation == Situation::AsPid1;
    let hold = situation.is_held().then(|| Hold { pause: HOLDS[visit % HOLDS.len()] });
    let signals = cell.signal.map(|signal| match cell.part {
        Part::Signal if situation.repeats_signal() => {
            let visit = (options.seed, place as u64, visit);
            repeats::signals(situation, (signal, moment), options.signal_to, visit)
        }
        _ => {
            vec![PlannedSignal { signal, to: options.signal_to.unwrap_or_default(), moment }]
        }
    });
    let all = options.writes && situation != Situation::Startup;
    let is_restarted = all || (situation.is_followed_by_restart() && cell.part != Part::Point);
    Trial {
        number,
        // 53 bits: as many as survive in programs that read JSON's numbers as doubles.
        seed: draw(options.seed, Purpose::Trial, number.into(), 0) >> 11,
        situation,
        load: load(options, situation, (number, visit)),
        asks: None,
        asks_after: None,
        kinds: None,
        hold,
        restart: signals.is_some() && is_restarted,
        as_pid_1: options.as_pid_1 || is_pid_1,
        aside: is_pid_1 && !options.as_pid_1 && !options.pid_1_counts,
        signals: signals.unwrap_or_default(),
    }
}

/// When the first signal of a cell's visit comes.
fn moment(options: &PlanOptions, (place, situation): (usize, Situation), visit: usize) -> Moment {
    let cell = place as u64;
    let is_of_worker = situation == Situation::Idle && !options.has_listener;
    match situation {
        // What a worker is at, its jobs show: so that every moment has its turn.
        _ if situation.is_load() || is_of_worker => {
            let place = stratified(options.seed, cell, visit as u64);
            Moment::Uniform { after: within(options.window, place) }
        }
        // At its landmarks, where the state is exact, and near them, in turns.
        Situation::OneRequest if visit % 2 == 1 => {
            Moment::Near(near::of_request(options.seed, cell, visit / 2))
        }
        Situation::OneRequest => {
            Moment::Landmark { landmark: LANDMARKS[visit / 2 % LANDMARKS.len()] }
        }
        Situation::Startup => Moment::Start(start::moment(options.seed, cell, visit)),
        Situation::JobRunning if visit % 2 == 1 => {
            let is_submitted = options.submits_jobs;
            Moment::Near(near::of_job(options.seed, cell, visit / 2, is_submitted))
        }
        Situation::JobRunning => Moment::Job { landmark: job_landmark(options, visit / 2) },
        _ => Moment::Reached,
    }
}

/// After how many visits the kinds of a cell's moments ([`Trial::moment`]) come in the same order
/// again.
fn period(options: &PlanOptions, cell: Cell) -> usize {
    match cell.situation {
        situation if situation.is_held() => HOLDS.len(),
        _ if cell.part == Part::Point => options.points.len(),
        // As many as there are of the one kind are a multiple of those of the other.
        Situation::OneRequest => 2 * near::PERIOD.max(LANDMARKS.len()),
        Situation::Startup => start::PERIOD,
        Situation::SlowHandler => CROWDS.len(),
        Situation::JobRunning => 2 * job_landmarks(options).len(),
        situation if situation.repeats_signal() && cell.part == Part::Signal => repeats::PERIOD,
        _ => 1,
    }
}

/// A job that is being submitted comes first, where it is known how: it shows most.
fn job_landmarks(options: &PlanOptions) -> Vec<JobLandmark> {
    let submitted = options.submits_jobs.then_some(JobLandmark::Submitted);
    submitted.into_iter().chain(JOB_LANDMARKS).collect()
}

fn job_landmark(options: &PlanOptions, visit: usize) -> JobLandmark {
    let landmarks = job_landmarks(options);
    landmarks[visit % landmarks.len()]
}

/// What a round consists of: the chosen situations, each with each signal, and the controls.
fn cells(options: &PlanOptions) -> Vec<Cell> {
    let signals = or_default(&options.signals, &[Signal::TERM]);
    let is_chosen = |situation: &Situation| match &options.situations[..] {
        [] => options.writes || !situation.needs_writes(),
        some => some.contains(situation),
    };
    let has_once = !is_chosen(&Situation::SlowHandler);
    let chosen = ROUND.iter().filter(|(situation, part)| {
        let is_possible = options.has_listener || !situation.needs_connections();
        is_chosen(situation) && is_possible && (has_once || *part != Part::Once)
    });
    let mut cells: Vec<_> = chosen
        .flat_map(|&(situation, part)| match part {
            Part::Signal | Part::Once | Part::Point => {
                let cell = |signal: &Signal| Cell { situation, part, signal: Some(*signal) };
                signals.iter().map(cell).collect()
            }
            Part::Control => vec![Cell { situation, part, signal: None }],
        })
        .collect();
    if cells.is_empty() {
        let (situation, part) = (Situation::Idle, Part::Signal);
        cells.extend(signals.iter().map(|signal| Cell { situation, part, signal: Some(*signal) }));
    }
    match options.points.is_empty() || !is_chosen(&Situation::OneRequest) {
        true => cells,
        false => with_points(options, signals, cells),
    }
}

/// The same with a point of a system call after each trial, so that a short run has some of both;
/// nothing else where nothing but one request is to be tried.
fn with_points(options: &PlanOptions, signals: &[Signal], cells: Vec<Cell>) -> Vec<Cell> {
    let point =
        |signal| Cell { situation: Situation::OneRequest, part: Part::Point, signal: Some(signal) };
    if options.situations == [Situation::OneRequest] {
        return signals.iter().copied().map(point).collect();
    }
    let points = signals.iter().copied().map(point).cycle();
    cells.into_iter().zip(points).flat_map(|(cell, point)| [cell, point]).collect()
}

fn load(options: &PlanOptions, situation: Situation, (number, visit): (u32, usize)) -> LoadShape {
    match situation {
        Situation::Load => LoadShape {
            connections: options.connections,
            arrivals: options.arrivals.unwrap_or_else(|| closed_loop(options, number)),
            keep_alive_percent: options.keep_alive_percent,
            pooled_clients: options.pooled_clients,
        },
        _ => LoadShape {
            connections: match situation {
                Situation::Idle
                | Situation::Startup
                | Situation::JobRunning
                | Situation::Writes => 0,
                Situation::OneRequest => 1,
                Situation::SlowHandler => {
                    let few = options.connections.min(OF_EACH_KIND);
                    CROWDS[visit % CROWDS.len()].min(options.crowd).max(few)
                }
                _ => options.connections.min(OF_EACH_KIND),
            },
            arrivals: Arrivals::Closed { pause: Duration::ZERO },
            keep_alive_percent: 100,
            pooled_clients: 0,
        },
    }
}

fn or_default<'o, T>(chosen: &'o [T], default: &'o [T]) -> &'o [T] {
    if chosen.is_empty() { default } else { chosen }
}

fn closed_loop(options: &PlanOptions, number: u32) -> Arrivals {
    let drawn = draw(options.seed, Purpose::Pause, number.into(), 0) % PAUSES.len() as u64;
    let crowd = options.connections.max(UNHURRIED_CONNECTIONS);
    let pause = PAUSES[drawn as usize] * u32::from(crowd) / u32::from(UNHURRIED_CONNECTIONS);
    Arrivals::Closed { pause }
}

/// The instant at this fraction (of 2⁶⁴) of the window, to the microsecond: finer than any timer,
/// and short enough to be read in a printed plan.
fn within((from, to): (Duration, Duration), fraction: u64) -> Duration {
    let width_us = to.saturating_sub(from).as_micros();
    let offset_us = (width_us * u128::from(fraction)) >> 64;
    from + Duration::from_micros(u64::try_from(offset_us).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_window_belong_to_it() {
        let window = (Duration::from_millis(200), Duration::from_millis(600));
        assert_eq!(within(window, 0), window.0);
        assert!(within(window, u64::MAX) < window.1);
        assert_eq!(within((window.1, window.0), u64::MAX), window.1);
    }

    #[test]
    fn a_round_has_every_situation_and_a_control_of_each_that_is_held() {
        for situation in Situation::ALL {
            let count = |part| ROUND.iter().filter(|cell| **cell == (situation, part)).count();
            assert!(count(Part::Signal) >= 1, "{}", situation.name());
            assert_eq!(count(Part::Control), usize::from(situation.is_held()));
            assert_eq!(count(Part::Once), usize::from(situation.repeats_signal()));
        }
        assert_eq!(cells(&PlanOptions::new(1)).len(), ROUND_TRIALS);
    }

    #[test]
    fn the_kinds_of_a_cells_moments_come_in_the_same_order_again() {
        let options = PlanOptions { submits_jobs: true, ..PlanOptions::new(1) };
        for (place, cell) in cells(&options).into_iter().enumerate() {
            let kinds = period(&options, cell);
            let kind = |visit| visited(&options, (place, cell), visit, 1).moment();
            for visit in 0..3 * kinds {
                assert_eq!(kind(visit), kind(visit + kinds), "{cell:?}, visit {visit}");
            }
        }
    }

    #[test]
    fn repeated_signals_are_compared_with_a_single_one() {
        let once = |situations: Vec<Situation>| {
            let options = PlanOptions { situations, ..PlanOptions::new(1) };
            let trials = plan(&options, 12).trials;
            trials.iter().filter(|t| t.situation.repeats_signal() && t.signals.len() == 1).count()
        };
        assert_eq!(once(vec![Situation::SecondSignal]), 6);
        assert_eq!(once(vec![Situation::SecondSignal, Situation::SlowHandler]), 0);
    }

    #[test]
    fn a_worker_is_met_at_any_moment_and_without_connections() {
        let options = PlanOptions { has_listener: false, ..PlanOptions::new(1) };
        let moments: Vec<_> = (1..=8).map(|number| trial(&options, number)).collect();
        for trial in &moments {
            assert!(!trial.situation.needs_connections(), "{trial:?}");
        }
        let of_idle = moments.iter().filter(|trial| trial.situation == Situation::Idle);
        let places: std::collections::BTreeSet<_> =
            of_idle.map(|trial| format!("{:?}", trial.signals[0].moment)).collect();
        assert!(places.len() > 1 && places.iter().all(|it| it.contains("Uniform")), "{places:?}");
    }

    #[test]
    fn visits_have_many_requests_in_process_where_they_may() {
        let crowds = |options: PlanOptions| {
            let options = PlanOptions { situations: vec![Situation::SlowHandler], ..options };
            (1..=4).map(|number| trial(&options, number).load.connections).collect::<Vec<_>>()
        };
        assert_eq!(crowds(PlanOptions::new(1)), [1024, 3, 64, 1024]);
        assert_eq!(crowds(PlanOptions { crowd: 100, ..PlanOptions::new(1) }), [100, 3, 64, 100]);
        let few = PlanOptions { connections: 2, crowd: 0, ..PlanOptions::new(1) };
        assert_eq!(crowds(few), [2, 2, 2, 2]);
    }

    #[test]
    fn more_connections_pause_longer() {
        let pause = |connections| {
            let situations = vec![Situation::Load];
            let options = PlanOptions { connections, situations, ..PlanOptions::new(1) };
            match trial(&options, 1).load.arrivals {
                Arrivals::Closed { pause } => pause,
                Arrivals::Open { .. } => unreachable!("no rate was asked for"),
            }
        };
        assert_eq!(pause(1), pause(16));
        assert_eq!(pause(160), pause(16) * 10);
    }
}
