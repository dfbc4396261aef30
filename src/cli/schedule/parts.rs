//! What a trial consists of with the target that there is.

use crate::load::cast::{Part, cast, cast_at_syscall};
use crate::load::request::PreparedRequest;
use crate::model::plan::{Moment, Situation, Trial};
use crate::model::signal::Signal;

use super::{Occasion, Schedule};

/// Connections of a situation, or what the target, or this machine, lacks for them.
type Cast = Result<Vec<Part>, &'static str>;

impl Schedule<'_> {
    /// The connections of a trial's situation.
    ///
    /// # Errors
    /// What the target, or this machine, lacks for it.
    pub fn parts(&self, trial: &Trial) -> Result<Vec<Part>, &'static str> {
        let parts = self.cast(trial)?;
        Ok(parts.into_iter().map(|part| Part { later: trial.asks_after, ..part }).collect())
    }

    fn cast(&self, trial: &Trial) -> Result<Vec<Part>, &'static str> {
        if let Some(why) = self.no_pid_1.filter(|_| trial.as_pid_1) {
            return Err(why);
        }
        let no_hold = "a process that was not started here is not held still";
        if self.is_running && trial.situation == Situation::Startup {
            return Err("a process that runs already does not start");
        }
        let moment = trial.signals.first().map(|it| it.moment);
        if self.is_running && matches!(moment, Some(Moment::AtSyscall { .. })) {
            return Err("a process that was not started here is not traced");
        }
        if self.is_running && (trial.situation.is_held() || trial.as_pid_1) {
            return Err(no_hold);
        }
        if let Some(lacking) = lacking(trial) {
            return Err(lacking);
        }
        let landmark = trial.signals.first().and_then(|planned| match planned.moment {
            Moment::Landmark { landmark } => Some(landmark),
            _ => None,
        });
        let Occasion { address, parallelism, .. } = &self.occasion;
        self.occasion.lacks(trial.situation)?;
        let of_each = trial.load.connections.min(parallelism.unwrap_or(u16::MAX));
        let has_kernel = address.as_ref().is_some_and(|address| address.tcp().is_some());
        if trial.situation.needs_writes() && !self.options.writes {
            return Err("no write is declared (--write)");
        }
        if let Some(Moment::AtSyscall { point, .. }) = moment {
            return self.asked(trial, &|requests| cast_at_syscall(point.reach, requests));
        }
        let parts =
            self.asked(trial, &|requests| cast(trial.situation, landmark, requests, of_each));
        match parts {
            _ if trial.asks.is_some() => parts,
            // Where each request is answered at once, one is caught in process.
            Err(_) if self.is_running && trial.situation.has_requests_in_process() => Err(no_hold),
            Err(_) if trial.situation.has_requests_in_process() && has_kernel => Ok(Vec::new()),
            parts => parts,
        }
    }

    /// The parts that ask for the request that a trial asks for alone, or for whichever suits them.
    fn asked(&self, trial: &Trial, cast: &dyn Fn(&[PreparedRequest]) -> Cast) -> Cast {
        let Occasion { requests, .. } = &self.occasion;
        let Some(name) = &trial.asks else { return cast(requests) };
        let gone = "the request that it asks for is asked for no more (--path)";
        let at = self.occasion.named(name).ok_or(gone)?;
        let parts = cast(std::slice::from_ref(&requests[at]))?;
        Ok(parts.into_iter().map(|part| Part { template: at, ..part }).collect())
    }

    /// The trial with what depends on the target: how many connections of each kind there are, how
    /// many kinds where those are mixed, and the name of the request that it asks for, where that is
    /// one. Which of them suits a situation depends on how long they took in the rehearsal.
    pub fn exactly(&self, trial: &Trial) -> Trial {
        let moment = trial.signals.first().map(|first| first.moment);
        let parts = self.parts(trial).unwrap_or_default();
        let mut templates: Vec<usize> = match moment {
            // Whichever it was aimed at, whatever would suit the situation.
            Some(Moment::Near(near)) if !near.landmark.is_of_job() => {
                let aimed = self.occasion.lives.of(near, None);
                aimed.map(|(template, _)| template).into_iter().collect()
            }
            _ => parts.iter().map(|part| part.template).collect(),
        };
        templates.dedup();
        let asks = match templates[..] {
            [one] if trial.asks.is_none() => {
                self.occasion.names.get(one).map(|(name, _)| name.clone())
            }
            _ => trial.asks.clone(),
        };
        let mut exact = Trial { asks, ..trial.clone() };
        if matches!(moment, Some(Moment::AtSyscall { .. })) {
            return exact;
        }
        if let Some(most) = parts.iter().map(|part| part.nth + 1).max() {
            exact.load.connections = most;
        }
        exact.kinds = (trial.situation == Situation::Mixed).then(|| kinds(&parts));
        exact
    }

    /// What a trial that was recorded exactly has less of now, in words: were it not to fail, that
    /// would show nothing.
    pub fn has_less_of(&self, trial: &Trial) -> Option<String> {
        let parts = self.parts(trial).ok().filter(|parts| !parts.is_empty())?;
        let (now, then) = (kinds(&parts), trial.kinds.unwrap_or_default());
        if now < then {
            return Some(format!(
                "the situation has {now} of the {then} kinds of connections that it had: the \
                 requests of that time are asked for no more, or take another time (--path)"
            ));
        }
        let (now, then) = (parts.iter().map(|part| part.nth + 1).max()?, trial.load.connections);
        let is_less = now < then && self.occasion.parallelism.is_some();
        is_less.then(|| {
            format!(
                "there are {now} of its {then} connections: the target seems to work on no more \
                 requests at a time, or the machine was busy when that was found out"
            )
        })
    }
}

/// How many kinds of connections there are.
fn kinds(parts: &[Part]) -> u16 {
    let mut poses: Vec<_> = parts.iter().map(|part| part.pose).collect();
    poses.sort_unstable();
    poses.dedup();
    poses.len() as u16
}

/// Why a trial would say nothing, whatever the target does with its signals.
fn lacking(trial: &Trial) -> Option<&'static str> {
    let first = trial.signals.first()?.signal;
    match trial.situation {
        Situation::Startup if !first.ends_by_default() => {
            Some("the kernel drops such a signal as long as there is no handler: --signal TERM")
        }
        // Whatever the target does, the first milliseconds of its life would be lost.
        Situation::Startup if trial.as_pid_1 => Some(
            "the kernel drops signals to PID 1 as long as there is no handler, so that no target can \
             honour one at its start",
        ),
        // Elsewhere the second one may well mean something else, as it does to nginx.
        Situation::MixedSignals if ![Signal::TERM, Signal::INT].contains(&first) => {
            Some("it is about SIGTERM and SIGINT: --signal TERM,INT")
        }
        _ => None,
    }
}
