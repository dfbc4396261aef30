//! What is simpler than a trial that failed, one step at a time: the search for the least that still
//! fails asks here what to try next.
//!
//! Steps are as large as they can be first, since a trial costs a second: one connection rather than
//! half of them, another situation before fewer connections in this one. Each step leaves all else as
//! it is, so that the order in which they succeed does not matter.

use std::time::Duration;

use crate::model::phase::Phase;
use crate::model::plan::{
    ASKED_LATER, Arrivals, Hold, JobLandmark, Landmark, Moment, SignalTo, Situation, Trial,
};
use crate::model::syscall::PointManner;

/// A simpler trial, and what was taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Simpler {
    /// The trial.
    pub trial: Trial,
    /// The difference, in words: `16 connections to 1`.
    pub step: String,
}

/// What may take several connections is tried with so many of them.
const FEW: u16 = 3;

/// What was lost in a trial: it tells which situation is left of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The phases in which requests were lost.
    pub phases: Vec<Phase>,
    /// The name of a request that was lost.
    pub request: Option<String>,
    /// Whether it is about jobs.
    pub jobs: bool,
    /// Whether it is about what a second start finds.
    pub restart: bool,
}

/// What is simpler than a trial by one step, what saves most first.
pub fn simpler(trial: &Trial, lost: &Lost) -> Vec<Simpler> {
    let mut steps = Vec::new();
    steps.extend(situations(trial, lost));
    // What takes time in every run that follows goes before what may take many runs.
    steps.extend(surroundings(trial));
    steps.extend(alone(trial, lost));
    steps.extend(connections(trial));
    steps.extend(signals(trial));
    steps.extend(pauses(trial));
    steps.retain(|step| step.trial != *trial);
    steps
}

/// Simpler situations, the simplest first: none of the connections, then one of the kinds of
/// connections that were lost, then of the others.
fn situations(trial: &Trial, lost: &Lost) -> Vec<Simpler> {
    let from = trial.situation;
    let is_of_jobs = from == Situation::JobRunning;
    if matches!(from, Situation::Startup | Situation::Writes)
        || !(from.needs_connections() || is_of_jobs)
    {
        return Vec::new();
    }
    let mut kinds = vec![(Situation::Idle, Moment::Reached)];
    if lost.jobs {
        kinds.push((Situation::JobRunning, Moment::Job { landmark: JobLandmark::HalfWay }));
    }
    let suspected: Vec<_> = lost.phases.iter().flat_map(|phase| kinds_of(*phase)).collect();
    kinds.extend(&suspected);
    kinds.extend(kinds_in(from));
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        let is_new = !seen.contains(kind);
        seen.push(*kind);
        is_new && weight(kind.0) < weight(from)
    });
    let asks = trial.asks.as_ref().or(lost.request.as_ref());
    let with = |few| kinds.iter().map(move |kind| in_situation(trial, *kind, (few, asks)));
    let mut steps: Vec<_> = with(1).collect();
    if lost.is_late() && from == Situation::Mixed {
        // One connection that asks late enough does as well as several, each later than the other.
        let late = kinds.iter().filter(|kind| asks_late(**kind)).copied();
        let at = steps.len().min(1);
        let late: Vec<_> =
            late.flat_map(|kind| later(&in_situation(trial, kind, (1, asks)))).collect();
        steps.splice(at..at, late);
    }
    // What was lost may not suit the situation, and it may take several connections at once.
    if asks.is_some() && trial.asks.is_none() {
        steps.extend(kinds.iter().map(|kind| in_situation(trial, *kind, (1, None))));
    }
    if from.is_load() {
        let is_suspect =
            |step: &Simpler| suspected.iter().any(|kind| kind.0 == step.trial.situation);
        let is_several = |step: &Simpler| step.trial.load.connections > 1;
        steps.extend(with(FEW).filter(|step| is_suspect(step) && is_several(step)));
    }
    steps.iter_mut().for_each(|step| step.trial.restart &= lost.restart);
    steps
}

impl Lost {
    fn is_late(&self) -> bool {
        self.phases.iter().any(|it| matches!(it, Phase::ReusedLate | Phase::ConnectedLate))
    }
}

/// Whether its connections ask some time after the signal.
fn asks_late((situation, moment): (Situation, Moment)) -> bool {
    let late = [at(Landmark::Answered), at(Landmark::Accepted)];
    match situation {
        Situation::QueuedSilent => true,
        Situation::OneRequest => late.contains(&moment),
        _ => false,
    }
}

/// The same with one connection, which asks as late as the last of several, and then less late.
fn later(simpler: &Simpler) -> Vec<Simpler> {
    let at = |after: Duration| {
        let mut trial = simpler.trial.clone();
        (trial.load.connections, trial.asks_after) = (1, Some(after));
        let step = format!("{}, asking {} ms after the signal", simpler.step, after.as_millis());
        Simpler { trial, step }
    };
    ASKED_LATER.into_iter().skip(1).rev().map(at).collect()
}

/// Of several connections that ask one after the other, the one that asks late enough.
fn alone(trial: &Trial, lost: &Lost) -> Vec<Simpler> {
    let kind = trial.signals.first().map(|first| (trial.situation, first.moment));
    let is_late = lost.is_late() && kind.is_some_and(asks_late);
    if !is_late || trial.asks_after.is_some() || trial.load.connections < 2 {
        return Vec::new();
    }
    let step = format!("{} connections to 1", trial.load.connections);
    later(&Simpler { trial: trial.clone(), step })
}

/// What a situation of many kinds of connections, or of several signals, consists of.
fn kinds_in(situation: Situation) -> Vec<(Situation, Moment)> {
    use Situation as S;
    let kinds: &[S] = match situation {
        S::Load => {
            let mut kinds = vec![(S::OneRequest, at(Landmark::Sent))];
            let held = [S::IdleKeepalive, S::SlowHandler, S::Streaming, S::Uploading];
            kinds.extend(held.map(|kind| (kind, Moment::Reached)));
            kinds.push((S::OneRequest, at(Landmark::Answered)));
            return kinds;
        }
        S::Mixed => {
            let held = [S::Delivered, S::DeliveredKeepalive, S::Queued, S::QueuedSilent];
            let kinds = [S::IdleKeepalive, S::PartialHead].into_iter().chain(held);
            let kinds = kinds.chain([S::SlowHandler]).map(|kind| (kind, Moment::Reached));
            return [(S::OneRequest, at(Landmark::Answered))].into_iter().chain(kinds).collect();
        }
        S::SignalBurst | S::MixedSignals => &[S::SecondSignal, S::SlowHandler],
        S::SecondSignal | S::AsPid1 => &[S::SlowHandler],
        _ => &[],
    };
    kinds.iter().map(|kind| (*kind, Moment::Reached)).collect()
}

fn at(landmark: Landmark) -> Moment {
    Moment::Landmark { landmark }
}

/// The situations that consist of nothing but requests in this phase.
fn kinds_of(phase: Phase) -> Vec<(Situation, Moment)> {
    use Situation as S;
    let kinds: &[S] = match phase {
        Phase::Processing => &[S::SlowHandler, S::Streaming],
        Phase::Uploading => &[S::Uploading],
        Phase::PartialHead => &[S::PartialHead],
        Phase::Delivered => &[S::DeliveredKeepalive, S::Delivered],
        Phase::Queued => &[S::Queued, S::QueuedSilent],
        Phase::ReusedLate => {
            let late = [Landmark::Answered, Landmark::Accepted];
            let late = late.map(|landmark| (S::OneRequest, at(landmark)));
            return late.into_iter().chain([(S::QueuedSilent, Moment::Reached)]).collect();
        }
        Phase::ConnectedLate => return vec![(S::OneRequest, at(Landmark::Sent))],
        Phase::Finished | Phase::Ambiguous => &[],
    };
    kinds.iter().map(|kind| (*kind, Moment::Reached)).collect()
}

/// How much has to be understood to see what a situation is: in this order they are tried.
fn weight(situation: Situation) -> u8 {
    match situation {
        Situation::Idle => 0,
        Situation::JobRunning => 1,
        Situation::OneRequest | Situation::Fresh | Situation::IdleKeepalive => 2,
        Situation::SlowHandler
        | Situation::Streaming
        | Situation::Uploading
        | Situation::PartialHead
        | Situation::Startup => 3,
        Situation::StalledReader | Situation::StalledSender => 3,
        Situation::Delivered
        | Situation::DeliveredKeepalive
        | Situation::Queued
        | Situation::QueuedSilent => 4,
        Situation::SecondSignal => 5,
        Situation::MixedSignals | Situation::AsPid1 => 6,
        Situation::SignalBurst => 7,
        Situation::Load | Situation::Mixed | Situation::Writes => 8,
    }
}

/// The trial with another situation, and what goes with that: a load's shape, a pause, signals.
fn in_situation(
    trial: &Trial,
    (to, moment): (Situation, Moment),
    (few, asks): (u16, Option<&String>),
) -> Simpler {
    let mut simpler = trial.clone();
    simpler.situation = to;
    (simpler.asks_after, simpler.kinds) = (None, None);
    simpler.asks = asks.filter(|_| to.needs_connections()).cloned();
    let load = &mut simpler.load;
    if trial.situation.is_load() {
        load.arrivals = Arrivals::Closed { pause: Duration::ZERO };
        (load.keep_alive_percent, load.pooled_clients) = (100, 0);
    }
    load.connections = match to {
        Situation::Idle | Situation::JobRunning => 0,
        Situation::OneRequest => 1,
        _ if trial.situation.is_load() => load.connections.min(few),
        _ => load.connections,
    };
    simpler.hold =
        to.is_held().then(|| trial.hold.unwrap_or(Hold { pause: Duration::from_millis(150) }));
    if !to.repeats_signal() {
        simpler.signals.truncate(1);
    } else if to == Situation::SecondSignal {
        simpler.signals.truncate(2);
    }
    if let Some(first) = simpler.signals.first_mut() {
        first.moment = moment;
    }
    if trial.situation == Situation::AsPid1 {
        simpler.as_pid_1 = false;
    }
    let mut step = format!("{} to {}", trial.situation.name(), to.name());
    if moment != Moment::Reached {
        step.push_str(&format!(" ({})", moment.name()));
    }
    if simpler.load.connections > 1 {
        step.push_str(&format!(" of {}", simpler.load.connections));
    }
    if let Some(asks) = simpler.asks.as_ref().filter(|_| simpler.asks != trial.asks) {
        step.push_str(&format!(" with {asks} alone"));
    }
    Simpler { trial: simpler, step }
}

/// Fewer connections: one, then half, then a quarter, an eighth and a sixteenth less, then one less, so
/// that what needs several is found by bisection, and the least of it by steps.
fn connections(trial: &Trial) -> Vec<Simpler> {
    let now = trial.load.connections;
    let less = [now - now / 4, now - now / 8, now - now / 16, now.saturating_sub(1)];
    let mut fewer: Vec<u16> = [1, now / 2].into_iter().chain(less).collect();
    fewer.retain(|number| *number >= 1 && *number < now);
    fewer.dedup();
    let with = |connections: u16| {
        let mut simpler = trial.clone();
        simpler.load.connections = connections;
        let word = if now == 1 { "connection" } else { "connections" };
        Simpler { trial: simpler, step: format!("{now} {word} to {connections}") }
    };
    fewer.into_iter().map(with).collect()
}

/// Fewer signals, of one kind, to one process.
fn signals(trial: &Trial) -> Vec<Simpler> {
    let now = trial.signals.len();
    let mut steps = Vec::new();
    let mut fewer = vec![2, now / 2, now.saturating_sub(1)];
    // What is left of several signals is another situation: that is tried there.
    fewer.retain(|number| *number >= 2 && *number < now);
    fewer.dedup();
    for number in fewer {
        let mut simpler = trial.clone();
        simpler.signals.truncate(number);
        steps.push(Simpler { trial: simpler, step: format!("{now} signals to {number}") });
    }
    if trial.signals.iter().any(|planned| planned.to != SignalTo::Leader) {
        let mut simpler = trial.clone();
        let whom = simpler.signals.first().map_or("others", |first| first.to.name());
        let step = format!("{whom} to leader");
        simpler.signals.iter_mut().for_each(|planned| planned.to = SignalTo::Leader);
        steps.push(Simpler { trial: simpler, step });
    }
    steps
}

/// Without what may have nothing to do with it.
fn surroundings(trial: &Trial) -> Vec<Simpler> {
    let mut steps = Vec::new();
    let mut without = |step: &str, change: &dyn Fn(&mut Trial)| {
        let mut simpler = trial.clone();
        change(&mut simpler);
        steps.push(Simpler { trial: simpler, step: step.to_owned() });
    };
    without("no restart", &|trial| trial.restart = false);
    if trial.situation != Situation::AsPid1 {
        without("not as PID 1", &|trial| trial.as_pid_1 = false);
    }
    without("no pooled clients", &|trial| trial.load.pooled_clients = 0);
    if let Some(Moment::AtSyscall { point, manner: PointManner::Held | PointManner::Extra }) =
        trial.signals.first().map(|first| first.moment)
    {
        let moment = Moment::AtSyscall { point, manner: PointManner::Plain };
        without("nothing else at the call", &|trial| {
            trial.signals.iter_mut().take(1).for_each(|first| first.moment = moment);
        });
    }
    if trial.situation == Situation::Load {
        without("all connections kept", &|trial| trial.load.keep_alive_percent = 100);
    }
    steps
}

/// A shorter pause, none first.
fn pauses(trial: &Trial) -> Vec<Simpler> {
    let Some(Hold { pause }) = trial.hold else { return Vec::new() };
    let shorter = [0, 150].map(Duration::from_millis).into_iter().filter(|it| *it < pause);
    let with = |to: Duration| {
        let step = format!("{} ms of pause to {}", pause.as_millis(), to.as_millis());
        Simpler { trial: Trial { hold: Some(Hold { pause: to }), ..trial.clone() }, step }
    };
    shorter.map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanOptions, plan};

    fn first(situation: Situation) -> Trial {
        let options = PlanOptions { situations: vec![situation], ..PlanOptions::new(3) };
        plan(&options, 1).trials.remove(0)
    }

    fn of(phase: Phase) -> Lost {
        Lost { phases: vec![phase], ..Lost::default() }
    }

    fn names(trial: &Trial, lost: &Lost) -> Vec<String> {
        simpler(trial, lost).into_iter().map(|simpler| simpler.step).collect()
    }

    #[test]
    fn what_was_lost_tells_what_is_left_of_a_load() {
        let steps = names(&first(Situation::Load), &of(Phase::Queued));
        assert_eq!(steps[..2], ["load to idle", "load to queued"]);
        assert!(steps.contains(&"16 connections to 1".to_owned()), "{steps:?}");
        let queued = simpler(&first(Situation::Load), &of(Phase::Queued)).remove(1).trial;
        assert_eq!((queued.load.connections, queued.load.pooled_clients), (1, 0));
        assert_eq!(queued.hold, Some(Hold { pause: Duration::from_millis(150) }));
    }

    #[test]
    fn each_kind_of_what_is_mixed_is_tried() {
        let steps = names(&first(Situation::Mixed), &Lost::default());
        for kind in ["delivered", "delivered-keepalive", "queued", "partial-head"] {
            assert!(steps.contains(&format!("mixed to {kind} of 3")), "{kind}: {steps:?}");
        }
    }

    #[test]
    fn what_is_swallowed_late_is_tried_with_one_connection_that_asks_as_late() {
        let steps = simpler(&first(Situation::Mixed), &of(Phase::ReusedLate));
        let alone = &steps[1].trial;
        let shape = (alone.situation, alone.load.connections, alone.asks_after);
        assert_eq!(shape, (Situation::OneRequest, 1, Some(ASKED_LATER[2])));
        let mut several = first(Situation::QueuedSilent);
        several.load.connections = 3;
        let has_late = |lost| {
            simpler(&several, &lost).iter().any(|it| {
                (it.trial.load.connections, it.trial.asks_after) == (1, Some(ASKED_LATER[2]))
            })
        };
        assert!(has_late(of(Phase::ReusedLate)));
        assert!(!has_late(of(Phase::Queued)), "nothing late was lost");
    }

    #[test]
    fn without_its_job_a_target_is_simpler() {
        assert_eq!(names(&first(Situation::JobRunning), &Lost::default()), ["job-running to idle"]);
    }

    #[test]
    fn repeated_signals_become_two_and_then_one() {
        let burst = first(Situation::SignalBurst);
        let steps = simpler(&burst, &Lost::default());
        let second = steps.iter().find(|it| it.trial.situation == Situation::SecondSignal).unwrap();
        assert_eq!(second.trial.signals.len(), 2);
        let last = simpler(&second.trial, &Lost::default());
        let one = last.iter().find(|it| it.trial.situation == Situation::SlowHandler).unwrap();
        assert_eq!(one.trial.signals.len(), 1);
    }

    #[test]
    fn the_least_of_what_needs_several_connections_is_found() {
        for least in 1..=16 {
            let mut trial = first(Situation::Load);
            let fails = |trial: &Trial| {
                trial.situation == Situation::Load && trial.load.connections >= least
            };
            while let Some(next) =
                simpler(&trial, &Lost::default()).into_iter().find(|it| fails(&it.trial))
            {
                trial = next.trial;
            }
            assert_eq!((trial.load.connections, trial.load.pooled_clients), (least, 0));
        }
    }

    /// Each step takes something away, so that the search for the least ends.
    #[test]
    fn whatever_is_accepted_there_is_an_end() {
        for situation in Situation::ALL {
            let mut trial = first(situation);
            let mut steps = 0;
            while let Some(next) = simpler(&trial, &of(Phase::Delivered)).pop() {
                trial = next.trial;
                steps += 1;
                assert!(steps < 2 * crate::plan::CROWD_MAX, "{situation:?} {trial:?}");
            }
        }
    }

    #[test]
    fn a_trial_without_connections_has_nothing_to_lose() {
        assert_eq!(names(&first(Situation::Idle), &Lost::default()), Vec::<String>::new());
    }
}
