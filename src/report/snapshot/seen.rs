//! What one run has to say of the things that a snapshot keeps.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::number::FIRST_KNOWN;
use crate::model::plan::Situation;
use crate::model::run::{RunReport, TrialReport};
use crate::model::snapshot::{Fate, Held, Share, Snapshot, Span};
use crate::model::statistics::quantile;
use crate::model::verdict::{Profile, Severity, VerdictName};

/// So many of so many are no chance.
pub(super) const ALL_OF: u64 = 5;
/// Of fewer trials no time is kept, nor compared.
const TIMES_MIN: usize = 3;
/// Of fewer, the longest may not have been seen: the span then ends an edge later.
const TIMES_ENOUGH: usize = 8;
/// How the harness names an end that it had to bring about.
const KILLED: &str = "killed at the deadline";

/// Outcomes of a request that got no whole response, and of one that was answered otherwise.
const LOST: [&str; 5] = ["truncated", "corrupt", "closed-without-response", "reset", "timed-out"];
const TURNED_AWAY: [&str; 2] = ["rejected", "wrong-status"];

/// What a run has shown of what a snapshot keeps, with the counts that it rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub(super) profile: Profile,
    pub(super) signals: BTreeSet<String>,
    pub(super) exits: BTreeSet<String>,
    /// The situations of which there was a trial that counts.
    pub(super) situations: BTreeSet<Situation>,
    pub(super) invariants: BTreeMap<String, Invariant>,
    pub(super) requests: BTreeMap<(Situation, String), Requests>,
    /// Seconds from the signal, in order.
    pub(super) times: BTreeMap<String, Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Invariant {
    pub(super) level: Severity,
    pub(super) verdict: VerdictName,
    pub(super) trials: u64,
    pub(super) violated: u64,
}

/// What became of the requests that somebody held, in trials: what a trial loses, it may lose at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Requests {
    pub(super) trials: u64,
    pub(super) lost: Part,
    pub(super) turned_away: Part,
}

/// In how many trials that befell some of them, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) some: u64,
    pub(super) all: u64,
}

impl Part {
    fn note(&mut self, part: u64, of: u64) {
        self.some += u64::from(part > 0);
        self.all += u64::from(part == of);
    }
}

impl Seen {
    /// What the report of a run says.
    pub fn of(report: &RunReport) -> Self {
        let mut seen =
            Self { profile: report.profile, signals: signals(report), ..Self::default() };
        for invariant in &report.invariants {
            let shown = Invariant {
                level: invariant.level,
                verdict: invariant.verdict,
                trials: invariant.trials.into(),
                violated: invariant.trials_violated.into(),
            };
            seen.invariants.insert(invariant.id.clone(), shown);
        }
        let counts = |trial: &&TrialReport| {
            let is_of_plan = trial.number < FIRST_KNOWN && !trial.aside && trial.missed.is_none();
            is_of_plan && !trial.control && !trial.signals.is_empty()
        };
        for trial in report.trials.iter().filter(counts) {
            seen.add(trial);
        }
        // What is lost without a signal as well is not the shutdown's doing.
        for control in report.trials.iter().filter(|it| it.control && it.missed.is_none()) {
            for (holder, outcomes) in &control.outcomes {
                let Some(holder) = holder_of(holder) else { continue };
                if outcomes.keys().any(|it| LOST.contains(&&**it) || TURNED_AWAY.contains(&&**it)) {
                    seen.requests.remove(&(control.situation, holder.to_owned()));
                }
            }
        }
        seen.times.values_mut().for_each(|times| times.sort_by(f64::total_cmp));
        seen.times.retain(|_, times| times.len() >= TIMES_MIN);
        seen
    }

    /// Whether the loss of a request that was there held fails a run.
    pub(super) fn is_denied(&self, holder: &str) -> bool {
        let id = match holder {
            "in-process" => "in-flight-requests-complete",
            "unread" => "delivered-requests-complete",
            _ => "queued-connections-are-served",
        };
        self.invariants.get(id).is_none_or(|invariant| invariant.level == Severity::Deny)
    }

    fn add(&mut self, trial: &TrialReport) {
        let situation = trial.situation;
        self.situations.insert(situation);
        let mut of_trial: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
        for (holder, outcomes) in &trial.outcomes {
            let holder = holder_of(holder).filter(|holder| brings_about(situation, holder));
            let Some(holder) = holder else { continue };
            let [all, lost, turned_away] = of_trial.entry(holder).or_default();
            for (outcome, times) in outcomes {
                let among = |names: &[&str]| if names.contains(&&**outcome) { *times } else { 0 };
                *all += times;
                *lost += among(&LOST);
                *turned_away += among(&TURNED_AWAY);
            }
        }
        for (holder, [all, lost, turned_away]) in of_trial.into_iter().filter(|(_, it)| it[0] > 0) {
            let requests = self.requests.entry((situation, holder.to_owned())).or_default();
            requests.trials += 1;
            requests.lost.note(lost, all);
            requests.turned_away.note(turned_away, all);
        }
        // How a start ends, or who was signalled again, depends on the moment.
        if situation == Situation::Startup || situation.repeats_signal() {
            return;
        }
        self.exits.extend(exit(trial));
        // What was held still took longer for the harness's sake.
        if situation.is_held() {
            return;
        }
        let exit = trial.exit.as_ref().and_then(|exit| exit.after_ms);
        self.time(exit_of(situation), exit);
        if exit_of(situation) == AT_WORK {
            self.time("drain", trial.drain_ms);
        }
        if situation.has_late_connections() {
            self.time("refusal", trial.refused_after_ms);
        }
    }

    fn time(&mut self, what: &str, ms: Option<f64>) {
        let seconds = ms.map(|ms| ms / 1e3);
        self.times.entry(what.to_owned()).or_default().extend(seconds);
    }

    /// The snapshot of this run alone.
    pub fn snapshot(&self) -> Snapshot {
        let invariants = self
            .invariants
            .iter()
            .filter_map(|(id, invariant)| Some((id.clone(), (invariant.level, invariant.held()?))));
        Snapshot {
            profile: self.profile,
            signals: self.signals.clone(),
            exits: self.exits.clone(),
            situations: self.situations.clone(),
            invariants: invariants.collect(),
            requests: self.requests.iter().map(|(key, it)| (key.clone(), it.fate())).collect(),
            times: self.times.iter().map(|(key, it)| (key.clone(), kept(it))).collect(),
        }
    }
}

impl Invariant {
    /// What is kept of it; nothing of what was not shown.
    pub(super) fn held(&self) -> Option<Held> {
        Some(match self.verdict {
            VerdictName::Satisfied => Held::Satisfied,
            VerdictName::Violated if self.violated == self.trials && self.trials >= ALL_OF => {
                Held::AlwaysViolated
            }
            VerdictName::Violated => Held::Violated,
            VerdictName::Inconclusive | VerdictName::NotApplicable => return None,
        })
    }
}

impl Requests {
    pub(super) fn fate(&self) -> Fate {
        let share = |part: Part| match part {
            Part { some: 0, .. } => Share::None,
            Part { all, .. } if all == self.trials && all >= ALL_OF => Share::All,
            _ => Share::Some,
        };
        Fate { lost: share(self.lost), turned_away: share(self.turned_away) }
    }
}

const AT_WORK: &str = "exit-at-work";

/// Under which name the exit of a situation is kept: at rest there is nothing to wait for, and
/// clients that have stopped are given up after a time of its own.
fn exit_of(situation: Situation) -> &'static str {
    match situation {
        Situation::Idle | Situation::IdleKeepalive | Situation::Fresh => "exit-at-rest",
        Situation::StalledReader | Situation::StalledSender => "exit-with-stalled-clients",
        _ => AT_WORK,
    }
}

/// Who held requests of this phase; nothing where their fate is left to the server, or to chance.
///
/// A head of which half was read is no request yet, and what comes after the signal crosses with
/// the end of its connection.
fn holder_of(phase: &str) -> Option<&'static str> {
    match phase {
        "processing" | "uploading" => Some("in-process"),
        "delivered" => Some("unread"),
        "queued" => Some("queued"),
        _ => None,
    }
}

/// Whether a situation brings about that somebody holds requests; elsewhere it is chance.
fn brings_about(situation: Situation, holder: &str) -> bool {
    match situation {
        Situation::Mixed => true,
        Situation::Delivered | Situation::DeliveredKeepalive => holder == "unread",
        Situation::Queued => holder == "queued",
        _ => situation.has_late_connections() && holder == "in-process",
    }
}

fn exit(trial: &TrialReport) -> Option<String> {
    let Some(exit) = &trial.exit else { return Some(KILLED.to_owned()) };
    match (exit.code, exit.signal) {
        (_, Some(signal)) => Some(signal.to_string()),
        (code, None) => code.map(|code| code.to_string()),
    }
}

/// Those that were asked for; where a report doesn't tell, those that were sent first.
fn signals(report: &RunReport) -> BTreeSet<String> {
    let asked = report.configuration.get("signal").and_then(|it| it.as_array());
    match asked {
        Some(asked) => asked.iter().filter_map(|it| it.as_str()).map(str::to_owned).collect(),
        None => {
            report.coverage.iter().filter_map(|it| it.signal).map(|it| it.to_string()).collect()
        }
    }
}

/// The span that most of these lie in.
fn span(times: &[f64]) -> Span {
    let upper = |time: f64| Span::EDGES.into_iter().find(|edge| time < f64::from(*edge));
    let lower = |time: f64| Span::EDGES.into_iter().rfind(|edge| time >= f64::from(*edge));
    Span { from: lower(at(times, 0.1)).unwrap_or_default(), to: upper(at(times, 0.9)) }
}

/// The time below which this fraction lies; there is at least one.
pub(super) fn at(times: &[f64], fraction: f64) -> f64 {
    quantile(times, fraction).unwrap_or_default()
}

/// The span that is kept: where there are few, the longest may not be among them.
pub(super) fn kept(times: &[f64]) -> Span {
    let span = span(times);
    if times.len() >= TIMES_ENOUGH {
        return span;
    }
    let next = |edge: u32| Span::EDGES.into_iter().find(|next| *next > edge);
    Span { to: span.to.and_then(next), ..span }
}
