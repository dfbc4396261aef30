//! What a report needs of each trial, taken out when the trial is over; then the whole report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::event::{Event, EventKind, PooledRequest, ProcessSeen};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::{Bracket, Phase};
use crate::model::plan::{SignalTo, Situation};
use crate::model::run::{Evidence, ExitReport, PooledClients, SignalReport, TrialReport};
use crate::model::signal::Signal;
use crate::model::time::Nanos;
use crate::model::verdict::{Broken, Finding, Severity, Verdict, VerdictName, Violation};
use crate::model::write::WriteOutcome;

mod bound;
mod controls;
mod coverage;
mod interrupt;
mod losses;
mod notes;
mod occasions;
mod outcome;
mod pid_1;
mod rates;
mod repeated;
mod reproduced;
mod run;

pub use bound::{Cases, is_violated};
pub use controls::{is_about_losses, phases_of};
use losses::{Losses, losses};
pub(super) use pid_1::NEVER_EXITS;
pub use reproduced::{Said, beside};
pub use run::{RunFacts, assemble, thin};

/// How many violations of an invariant are shown with their events.
pub const EVIDENCE_SHOWN: usize = 5;
/// How many events of one violation are kept.
const EVENTS_SHOWN: usize = 12;
/// How many wordings of errors are kept apart.
const WORDINGS_SHOWN: usize = 20;
const OTHER_ERRORS: &str = "other errors";

/// What a violation of each invariant does to the run, in the order of the catalogue.
pub type SeverityTable = [(&'static str, Severity)];

/// What a report needs of one trial; the history can be dropped.
#[derive(Clone, Debug)]
pub struct TrialSummary {
    report: TrialReport,
    /// Whether the phases came from the kernel; `None` when there was no signal.
    exact: Option<bool>,
    shown: Vec<Shown>,
    evidence: Vec<Ranked>,
    outcomes: BTreeMap<(Phase, &'static str), u64>,
    pooled: PooledClients,
    signal: Option<Signal>,
    /// Whether several were planned, of which the target may have ended before the second.
    repeats: bool,
    /// To whom the first went: a group in which the leader is alone is the leader.
    to: SignalTo,
    /// Whether it is about a request that comes late on a connection that is there.
    asks_late: bool,
    /// Where several signals were sent: what one could have been accused of, with its events.
    broken: Vec<(Broken, Vec<Event>)>,
    /// The names of its processes.
    processes: BTreeSet<String>,
    /// What became of the requests, by their phase at the signal, or where it would have been.
    losses: BTreeMap<Phase, Losses>,
}

/// What a trial shows of one invariant.
#[derive(Clone, Debug)]
struct Shown {
    invariant: &'static str,
    verdict: VerdictName,
    exercised: u32,
    violations: u32,
    /// Whether it was violated, and no more than a control.
    excused: bool,
    reason: Option<String>,
}

/// One violation, and its place among those of its trial.
#[derive(Clone, Debug)]
struct Ranked {
    invariant: &'static str,
    place: usize,
    evidence: Evidence,
}

impl TrialSummary {
    /// Everything that the report needs of a trial that is over.
    ///
    /// `history_path` is where its history was saved, relative to the report.
    pub fn of(
        history: &History,
        findings: &[Finding],
        history_path: Option<String>,
        severities: &SeverityTable,
    ) -> Self {
        let trial = &history.header().trial;
        let shown: Vec<_> = findings.iter().map(Shown::of).collect();
        let denied = shown.iter().filter(|s| severity(severities, s.invariant) == Severity::Deny);
        let mut report = measured(history);
        report.verdict = worst(denied.map(|s| s.verdict));
        report.violated = shown
            .iter()
            .filter(|s| s.verdict == VerdictName::Violated)
            .map(|s| s.invariant.to_owned())
            .collect();
        report.history = history_path;
        let losses = losses(history);
        let mut outcomes = BTreeMap::new();
        for (_, request, phase) in history.phased_requests().filter(|(_, r, _)| !r.stalled) {
            *outcomes.entry((phase, history.outcome(request).name())).or_default() += 1;
        }
        let broken = repeated::broken(history, findings);
        report.shown = outcome::shown(&report, &outcomes, &losses, &broken);
        Self {
            report,
            losses,
            // A target that is not ready has no requests.
            exact: history
                .signal()
                .filter(|_| trial.situation != Situation::Startup)
                .map(|_| history.phases_are_exact()),
            broken,
            processes: processes(history.events()),
            shown,
            evidence: evidence(history, findings),
            outcomes,
            pooled: pooled(history),
            signal: trial.signals.first().map(|planned| planned.signal),
            repeats: history.is_of_repeated_signals(),
            to: match trial.signals.first() {
                Some(planned) if !is_alone(history.events()) => planned.to,
                _ => SignalTo::Leader,
            },
            asks_late: trial.asks_after.is_some(),
        }
    }

    /// Whether it says something about the invariants: it had a signal, its situation was
    /// there, and it was not made to show something else.
    fn is_judged(&self) -> bool {
        !self.report.control && !self.report.aside && self.report.missed.is_none()
    }

    /// The same, of a trial that took so long.
    pub fn took(mut self, time: Duration) -> Self {
        self.report.shown.took_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// The trial as it stands in the report.
    pub fn report(&self) -> &TrialReport {
        &self.report
    }
}

impl Shown {
    fn of(finding: &Finding) -> Self {
        let (exercised, violations, reason) = match &finding.verdict {
            Verdict::Satisfied { exercised } => (exercised.get(), 0, None),
            Verdict::Violated { exercised, violations } => {
                (exercised.get(), u32::try_from(violations.len()).unwrap_or(u32::MAX), None)
            }
            Verdict::NotApplicable { reason } | Verdict::Inconclusive { reason } => {
                (0, 0, Some(reason.clone()))
            }
        };
        let verdict = finding.verdict.outcome();
        let excused = false;
        Self { invariant: finding.invariant, verdict, exercised, violations, excused, reason }
    }
}

/// The severity of an invariant; one that is not listed fails the run, as silence must not pass.
fn severity(severities: &SeverityTable, invariant: &str) -> Severity {
    let listed = severities.iter().find(|(id, _)| *id == invariant);
    listed.map_or(Severity::Deny, |(_, severity)| *severity)
}

/// The worst verdict; what does not apply says nothing, and nothing said is inconclusive.
fn worst(verdicts: impl Iterator<Item = VerdictName>) -> VerdictName {
    verdicts
        .filter(|verdict| *verdict != VerdictName::NotApplicable)
        .max()
        .unwrap_or(VerdictName::Inconclusive)
}

/// What the history itself says of its trial, before any verdict.
fn measured(history: &History) -> TrialReport {
    let trial = &history.header().trial;
    let first = |is: fn(&EventKind) -> bool| history.first(is).map(|(_, at)| at);
    let spawned = first(|kind| matches!(kind, EventKind::Spawned { .. }));
    let ready = first(|kind| matches!(kind, EventKind::Ready { .. }));
    let bracket = history.signal().map(|signal| signal.bracket);
    let after = |at| bracket.map(|bracket| ms_between(bracket.after, at));
    // Not the first to begin: its SYN may have been dropped, and the answer come a second later.
    let late = history.late_connects().into_iter();
    let refused = late.filter(|c| c.accepted == Some(false)).map(|c| c.ended).min();
    let drained = history
        .phased_requests()
        .filter(|(_, _, phase)| phase.is_in_process())
        .filter(|(_, request, _)| history.outcome(request) == Outcome::Completed)
        .map(|(_, request, _)| request.ended)
        .max();
    let held_within = history.events().iter().find_map(|event| match event.kind {
        EventKind::Held { took, .. } => Some(took.as_secs_f64() * 1e3),
        _ => None,
    });
    let restarted_after_ms = history.events().iter().find_map(|event| match event.kind {
        EventKind::Restarted { after } => Some(after.as_secs_f64() * 1e3),
        _ => None,
    });
    let acknowledged = history.events().iter().filter(|event| {
        let EventKind::Write(write) = &event.kind else { return false };
        matches!(write.outcome, WriteOutcome::Acknowledged(_))
    });
    let ambiguous = history.phased_requests().filter(|(_, _, phase)| *phase == Phase::Ambiguous);
    TrialReport {
        number: trial.number,
        seed: trial.seed,
        situation: trial.situation,
        moment: history.moment(),
        control: trial.is_control(),
        as_pid_1: trial.as_pid_1,
        aside: trial.aside,
        missed: history.missed().map(str::to_owned).or_else(|| history.too_late()),
        signals: history.signals().iter().map(sent).collect(),
        verdict: VerdictName::Inconclusive,
        violated: Vec::new(),
        exit: history.exit().map(|exit| ExitReport {
            code: exit.status.code,
            signal: exit.status.signal,
            after_ms: after(exit.at).filter(|_| bracket.is_some_and(|b| exit.at >= b.before)),
        }),
        ready_ms: spawned.zip(ready).map(|(spawned, ready)| ms_between(spawned, ready)),
        refused_after_ms: refused.and_then(after),
        listener_closed_after_ms: first(|kind| matches!(kind, EventKind::ListenerClosed))
            .and_then(after),
        queue_emptied_after_ms: first(|kind| matches!(kind, EventKind::QueueEmptied))
            .and_then(after),
        drain_ms: drained.and_then(after),
        restarted_after_ms,
        writes_acknowledged: count(acknowledged.count()),
        requests: count(history.requests().count()),
        outcomes: outcome::by_phase(history),
        ambiguous: count(ambiguous.count()),
        landmark_error_us: landmark_error_us(history),
        harness_lag_ms: history.lag().as_secs_f64() * 1e3,
        held_within_ms: held_within,
        shown: crate::model::search::Shown::default(),
        history: None,
    }
}

/// How much later than expected the landmark was that the signal was aimed at, in microseconds.
fn landmark_error_us(history: &History) -> Option<f64> {
    history.events().iter().find_map(|event| match event.kind {
        EventKind::LandmarkPassed { predicted, passed, .. } => {
            passed.map(|at| at.ms_from(predicted) * 1e3)
        }
        _ => None,
    })
}

/// Milliseconds from one instant to the next; what came within the signal's bracket is 0.
fn ms_between(earlier: Nanos, later: Nanos) -> f64 {
    later.ms_from(earlier).max(0.0)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn sent(signal: &SignalSent) -> SignalReport {
    let Bracket { before, after } = signal.bracket;
    SignalReport {
        signal: signal.signal,
        pid: signal.pid,
        at_ms: before.as_ms(),
        error_us: before.ms_from(signal.planned) * 1e3,
        bracket_us: after.ms_from(before) * 1e3,
    }
}

fn evidence(history: &History, findings: &[Finding]) -> Vec<Ranked> {
    let mut kept = Vec::new();
    for finding in findings {
        let Verdict::Violated { violations, .. } = &finding.verdict else { continue };
        for (place, violation) in violations.iter().take(EVIDENCE_SHOWN).enumerate() {
            let evidence = shown_of(history, violation);
            kept.push(Ranked { invariant: finding.invariant, place, evidence });
        }
    }
    kept
}

fn processes(events: &[Event]) -> BTreeSet<String> {
    seen(events).flatten().map(|process| process.name.clone()).collect()
}

/// Whether the process that was started is all that the target consisted of at the signal.
fn is_alone(events: &[Event]) -> bool {
    seen(events).last().is_some_and(|all| matches!(&all[..], [only] if only.leader))
}

fn seen(events: &[Event]) -> impl Iterator<Item = &Vec<ProcessSeen>> {
    events.iter().filter_map(|event| match &event.kind {
        EventKind::Dispositions { processes } => Some(processes),
        _ => None,
    })
}

fn shown_of(history: &History, violation: &Violation) -> Evidence {
    let events = violation.evidence.iter().filter_map(|at| history.events().get(*at as usize));
    Evidence {
        trial: history.header().trial.number,
        message: violation.message.clone(),
        events: events.take(EVENTS_SHOWN).cloned().collect(),
    }
}

fn pooled(history: &History) -> PooledClients {
    let mut seen = PooledClients::default();
    let signal = history.signal().map(|signal| signal.bracket.after);
    for event in history.events() {
        let EventKind::PooledRequest(request) = &event.kind else { continue };
        seen.requests += 1;
        if is_as_expected(history, request) {
            continue;
        }
        match signal.is_some_and(|after| request.started >= after) {
            true => seen.failed_after_signal += 1,
            false => seen.failed_before_signal += 1,
        }
        if let Some(error) = &request.error {
            *seen.errors.entry(error.clone()).or_default() += 1;
        }
    }
    seen.errors = most_frequent(seen.errors);
    seen
}

fn is_as_expected(history: &History, request: &PooledRequest) -> bool {
    let expected = history.contract().requests[usize::from(request.template)].status;
    request.status == Some(expected)
}

/// The most frequent wordings, and the others under one name: some hold a port or a key each.
fn most_frequent(errors: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut by_count: Vec<_> = errors.into_iter().collect();
    by_count.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut kept = BTreeMap::new();
    for (at, (text, times)) in by_count.into_iter().enumerate() {
        let text = if at < WORDINGS_SHOWN { text } else { OTHER_ERRORS.to_owned() };
        *kept.entry(text).or_default() += times;
    }
    kept
}

#[cfg(test)]
mod tests;
