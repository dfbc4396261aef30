//! From a failure to the least that still shows it: the trial that failed is run again, and then
//! whatever is simpler, for as long as the budget lasts.

use std::time::{Duration, Instant};

use crate::model::plan::{Plan, Trial};
use crate::model::regressions::{Found, Regression};
use crate::model::reproduction::{Rate, Reproduction};
use crate::model::run::{InvariantReport, RunReport};
use crate::model::time::human;
use crate::model::verdict::{Severity, VerdictName};
use crate::plan::shrink::{Lost, simpler};

pub(super) mod bench;

use bench::{Bench, Stop};

/// So many violated invariants are looked at again.
const INVARIANTS_MAX: usize = 3;
/// A rate is known well enough after so many failures,
const FAILED_ENOUGH: u32 = 5;
/// or after so many runs.
const RUNS_ENOUGH: u32 = 10;
/// The invariant that compares trials, and that no trial alone can show.
const OF_ALL_TRIALS: &str = crate::invariants::BOTH_SIGNALS;

/// What was found so far of one invariant: each step fails no less often than the first.
struct Chain {
    first: Rate,
    links: Vec<Link>,
    stopped: Option<String>,
}

struct Link {
    trial: Trial,
    step: Option<String>,
}

/// The denied invariants that a run violates, the gravest first, each with the least that shows it.
pub(super) fn reproduce(
    bench: &Bench<'_>,
    report: &RunReport,
    plan: &Plan,
    budget: Duration,
) -> Vec<Reproduction> {
    if budget.is_zero() {
        return Vec::new();
    }
    let is_failed = |it: &&InvariantReport| {
        (it.level, it.verdict) == (Severity::Deny, VerdictName::Violated) && it.id != OF_ALL_TRIALS
    };
    let failed: Vec<_> = report.invariants.iter().filter(is_failed).take(INVARIANTS_MAX).collect();
    let end = Instant::now() + budget;
    let mut found: Vec<Reproduction> = Vec::new();
    for (at, invariant) in failed.iter().enumerate() {
        let Some(evidence) = invariant.evidence.first() else { continue };
        let Some(base) = plan.trials.iter().find(|it| it.number == evidence.trial) else {
            continue;
        };
        // What one needs less is there for the others.
        let left = end.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / (failed.len() - at) as u32;
        let search = Search { bench, invariant: &invariant.id, until };
        let (chain, steps) = match search.shown_already(&found) {
            Some(earlier) => search.continued(earlier),
            // Else nothing would be known of a target that hangs but that it did so once.
            None if at == 0 && bench.expected(base) > budget => {
                (search.in_overtime(base), Vec::new())
            }
            None => (search.begun_with(base), Vec::new()),
        };
        let today = report.started_at.get(..10).unwrap_or(&report.started_at);
        let text = &evidence.message;
        found.extend(search.reproduction((chain, steps), (base.number, text), today));
    }
    found
}

struct Search<'s> {
    bench: &'s Bench<'s>,
    invariant: &'s str,
    until: Instant,
}

impl Search<'_> {
    /// One that was found for another invariant, and has never failed to show this one as well.
    fn shown_already<'r>(&self, found: &'r [Reproduction]) -> Option<&'r Reproduction> {
        found.iter().find(|other| {
            let rate = self.bench.rate(&other.trial, self.invariant, 0);
            rate.runs > 0 && rate.failed == rate.runs
        })
    }

    fn continued(&self, earlier: &Reproduction) -> (Chain, Vec<String>) {
        let compared = self.bench.compare(&earlier.trial, self.invariant, Some(self.until));
        let stopped = compared.err().map(|stop| stop.to_string());
        let first = self.bench.rate(&earlier.trial, self.invariant, 0);
        let links = vec![Link { trial: earlier.trial.clone(), step: None }];
        (self.shrunk(Chain { first, links, stopped }), earlier.steps.clone())
    }

    fn begun_with(&self, base: &Trial) -> Chain {
        let base = self.bench.exactly(base);
        let links = vec![Link { trial: base.clone(), step: None }];
        let (first, stopped) = self.measured(&base, 0, self.until);
        self.shrunk(Chain { first, links, stopped })
    }

    /// Where one trial takes longer than there is time: the simplest candidate is run, and only if it
    /// does not fail each time the trial itself, each as often as there is room for at the same time.
    fn in_overtime(&self, base: &Trial) -> Chain {
        let base = self.bench.exactly(base);
        let expected = self.bench.expected(&base);
        let (takes, hint) = (human(expected), hint(self.bench.hangs(expected)));
        let too_long = format!("a trial takes {takes}, longer than all of --shrink-budget{hint}");
        let mut links = vec![Link { trial: base.clone(), step: None }];
        let candidates = simpler(&base, &self.lost(&base)).into_iter();
        let mut simplest = candidates.filter(|it| self.bench.lacking(&it.trial).is_none());
        if let Some(candidate) = simplest.next() {
            let trial = self.bench.exactly(&candidate.trial);
            if let Err(stop) = self.bench.run_in_overtime(&trial) {
                return Chain { first: Rate::default(), links, stopped: Some(stop.to_string()) };
            }
            let rate = self.bench.rate(&trial, self.invariant, 0);
            // What always fails fails no less often than anything.
            if rate.failed > 0 && rate.failed == rate.runs {
                links.push(Link { trial, step: Some(candidate.step) });
                return Chain { first: Rate::default(), links, stopped: Some(too_long) };
            }
        }
        let ran = self.bench.run_in_overtime(&base);
        let stopped = ran.err().map_or(too_long, |stop| stop.to_string());
        let first = self.bench.rate(&base, self.invariant, 0);
        Chain { first, links, stopped: Some(stopped) }
    }

    /// What was lost in the runs of a trial.
    fn lost(&self, trial: &Trial) -> Lost {
        Lost {
            phases: self.bench.lost_phases(trial, self.invariant),
            request: self.bench.lost_request(trial, self.invariant),
            jobs: self.invariant.contains("job"),
            restart: ["restarts-at-once", "acknowledged-writes-survive"].contains(&self.invariant),
        }
    }

    /// Runs a trial until its rate is known well enough; beginning with the runs from `from` on.
    fn measured(&self, trial: &Trial, from: usize, until: Instant) -> (Rate, Option<String>) {
        let is_enough = |rate: Rate| rate.failed >= FAILED_ENOUGH || rate.runs >= RUNS_ENOUGH;
        self.run_until(trial, from, until, is_enough)
    }

    fn run_until(
        &self,
        trial: &Trial,
        from: usize,
        until: Instant,
        is_enough: impl Fn(Rate) -> bool,
    ) -> (Rate, Option<String>) {
        loop {
            let compared = self.bench.compare(trial, self.invariant, Some(until));
            let rate = self.bench.rate(trial, self.invariant, from);
            if let Err(stop) = compared {
                return (rate, Some(stop.to_string()));
            }
            let tries = self.bench.tries(trial) - from;
            // Where the situation is seldom reached, that has an end, too.
            if is_enough(rate) || tries >= 2 * RUNS_ENOUGH as usize || (tries > 1 && rate.runs == 0)
            {
                return (rate, None);
            }
            if let Err(stop) = self.bench.run(trial, until) {
                return (rate, Some(stop.to_string()));
            }
        }
    }

    /// Takes away what can be taken away, until nothing can or the time is over.
    fn shrunk(&self, mut chain: Chain) -> Chain {
        if chain.first.failed == 0 || chain.stopped.is_some() {
            return chain;
        }
        // The rest is for measuring what is found.
        let left = self.until.saturating_duration_since(Instant::now());
        let until = Instant::now() + left.mul_f64(0.7);
        loop {
            match self.next(&chain, until) {
                Ok(Some(link)) => chain.links.push(link),
                Ok(None) => return chain,
                Err(stop) => {
                    chain.stopped = Some(stop.to_string());
                    return chain;
                }
            }
        }
    }

    /// The first simpler trial that fails no less often.
    fn next(&self, chain: &Chain, until: Instant) -> Result<Option<Link>, Stop> {
        let Some(last) = chain.links.last() else { return Ok(None) };
        for mut candidate in simpler(&last.trial, &self.lost(&last.trial)) {
            candidate.trial = self.bench.exactly(&candidate.trial);
            let is_kept = |rate| chain.first.is_kept_by(rate);
            loop {
                self.bench.compare(&candidate.trial, self.invariant, Some(until))?;
                let rate = self.bench.rate(&candidate.trial, self.invariant, 0);
                let tries = self.bench.tries(&candidate.trial);
                let is_unreached = tries > 1 && rate.runs == 0 || tries > 2 * RUNS_ENOUGH as usize;
                match is_kept(rate) {
                    Some(true) => {
                        let step = Some(candidate.step);
                        return Ok(Some(Link { trial: candidate.trial, step }));
                    }
                    Some(false) => break,
                    None if is_unreached => break,
                    None => match self.bench.run(&candidate.trial, until) {
                        Err(Stop::NoOccasion) => break,
                        ran => ran?,
                    },
                }
            }
        }
        Ok(None)
    }

    /// What the chain ends with, measured once more by runs that did not choose it. Where it turns out
    /// to fail less often than the first, it is given up for the one before it.
    fn reproduction(
        &self,
        (mut chain, mut steps): (Chain, Vec<String>),
        (found_in, about): (u32, &str),
        today: &str,
    ) -> Option<Reproduction> {
        let mut stopped = chain.stopped.take();
        let rate = loop {
            let last = chain.links.last()?;
            if chain.links.len() == 1 {
                break chain.first;
            }
            let from = self.bench.tries(&last.trial);
            let (again, why) = self.measured(&last.trial, from, self.until);
            if again.is_lower_than(chain.first) {
                chain.links.pop();
                continue;
            }
            stopped = stopped.or(why);
            // Better those that chose it than none.
            break if again.runs > 0 {
                again
            } else {
                self.bench.rate(&last.trial, self.invariant, 0)
            };
        };
        steps.extend(chain.links.iter().filter_map(|link| link.step.clone()));
        let trial = chain.links.pop()?.trial;
        let (shown, evidence) = self.bench.failing(&trial, self.invariant).unzip();
        let about = evidence.as_ref().map_or(about, |it| &it.message);
        let found = Found { on: today.to_owned(), rate };
        let entry = Regression::of(self.invariant, &trial, found).ok()?.text(about);
        Some(Reproduction {
            invariant: self.invariant.to_owned(),
            found_in,
            first: chain.first,
            trial,
            rate,
            steps,
            stopped,
            shown,
            evidence,
            entry,
            file: None,
            again: None,
        })
    }
}

/// What makes a trial of a target that hangs shorter.
pub(super) fn hint(hangs: bool) -> &'static str {
    if hangs {
        ", since the target hangs until then: a shorter --deadline ends it sooner"
    } else {
        ""
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::NoOccasion => f.write_str("the target gives no occasion for it any more"),
            Stop::NoTime { expected, hangs } => {
                let takes = human(*expected);
                write!(
                    f,
                    "the time was over (--shrink-budget); a trial takes {takes}{}",
                    hint(*hangs)
                )
            }
            Stop::Interrupted => f.write_str("it was broken off"),
            Stop::Failed(reason) => write!(f, "a trial could not be carried out: {reason}"),
        }
    }
}
