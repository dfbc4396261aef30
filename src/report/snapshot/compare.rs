//! How a run compares with a snapshot: only what can't be chance is a difference.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::model::snapshot::{Difference, Fate, Held, Share, Snapshot, Span};
use crate::model::verdict::{Severity, VerdictName};
use crate::report::numbers::{counted, time};

use super::seen::{ALL_OF, Invariant, Part, Requests, Seen, at, kept};

/// A median is outside a span if it is beyond its edge by this factor.
const MARGIN: f64 = 1.5;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many entries could be compared.
    pub compared: u32,
    /// What differs, the gravest first.
    pub differences: Vec<Difference>,
    /// What could not be compared, or is new, in sentences.
    pub notes: Vec<String>,
}

/// Compares a run with a snapshot.
///
/// What was not exercised on either side is no difference, but is said.
pub fn compare(snapshot: &Snapshot, seen: &Seen) -> Comparison {
    let mut all = Comparison::default();
    all.invariants(snapshot, seen);
    all.requests(snapshot, seen);
    all.times(snapshot, seen);
    all.exits(snapshot, seen);
    all.settings(snapshot, seen);
    let new = new(snapshot, seen);
    if !new.is_empty() {
        all.notes.push(format!("not in the snapshot before: {}", new.join(", ")));
    }
    let missing: Vec<_> =
        snapshot.situations.difference(&seen.situations).map(|it| it.name()).collect();
    if !missing.is_empty() {
        all.notes
            .push(format!("not compared, since no trial of it counts: {}", missing.join(", ")));
    }
    all
}

/// The snapshot with what the run has shown otherwise, and nothing else changed: what is equal
/// within its margins stays as it is, and what was not exercised is kept.
pub fn updated(snapshot: &Snapshot, seen: &Seen) -> Snapshot {
    let new = seen.snapshot();
    let mut updated = Snapshot { profile: new.profile, signals: new.signals, ..snapshot.clone() };
    updated.situations.extend(&seen.situations);
    updated.exits.extend(new.exits);
    // What a violation does is a setting, whatever was exercised.
    for (id, (level, _)) in &mut updated.invariants {
        *level = seen.invariants.get(id).map_or(*level, |invariant| invariant.level);
    }
    for (id, (level, held)) in new.invariants {
        let was = snapshot.invariants.get(&id).map(|(_, held)| *held);
        // What is equal within its margins stays as it is, and what is a rarity is not accepted.
        let is_taken = match standing(was, &seen.invariants[&id]) {
            Standing::Differs(_) => true,
            Standing::Same => was.is_none(),
            Standing::TooSeldom | Standing::HeldThisTime | Standing::NotShown => false,
        };
        if is_taken {
            updated.invariants.insert(id, (level, held));
        }
    }
    for (key, fate) in new.requests {
        let was = snapshot.requests.get(&key).copied().unwrap_or_default();
        let differs = fate_differs(was, &seen.requests[&key], seen.is_denied(&key.1));
        updated.requests.insert(key, if differs { fate } else { was });
    }
    for (key, span) in new.times {
        let was = snapshot.times.get(&key);
        let stays = was.filter(|was| !is_outside(**was, &seen.times[&key]));
        updated.times.insert(key, stays.copied().unwrap_or(span));
    }
    updated
}

impl Comparison {
    fn differs(&mut self, what: &str, was: Option<&dyn Display>, is: String, because: String) {
        let was = was.map(ToString::to_string);
        self.differences.push(Difference { what: what.to_owned(), was, is, because });
    }

    fn invariants(&mut self, snapshot: &Snapshot, seen: &Seen) {
        let mut lacking = Vec::new();
        let mut ids: Vec<_> = seen.invariants.iter().collect();
        ids.sort_by_key(|(_, invariant)| std::cmp::Reverse(invariant.level));
        for (id, invariant) in ids {
            let was = snapshot.invariants.get(id);
            let held = was.map(|(_, held)| *held);
            let standing = standing(held, invariant);
            let is_compared = held.is_some() && invariant.held().is_some();
            self.compared += u32::from(is_compared || matches!(standing, Standing::Differs(_)));
            match standing {
                Standing::Differs(is) => {
                    let because = because(invariant);
                    self.differs(id, held.as_ref().map(|held| held as _), is.to_string(), because);
                }
                Standing::TooSeldom => {
                    let of = counted(invariant.trials, "trial", "trials");
                    let part = invariant.violated;
                    self.notes.push(format!(
                        "{id} was violated in {part} of {of}: too seldom to tell from {}",
                        if held.is_some() { "before" } else { "none, and not kept" }
                    ));
                }
                Standing::HeldThisTime => {
                    let note = format!("{id} is violated in the snapshot, and held this time");
                    self.notes.push(note);
                }
                Standing::NotShown if held.is_some() => lacking.push(&**id),
                Standing::NotShown | Standing::Same => {}
            }
            if let Some((level, _)) = was.filter(|(level, _)| *level != invariant.level) {
                let because = "what its violation does is set otherwise".to_owned();
                let what = format!("{id} (level)");
                self.differs(&what, Some(level), invariant.level.to_string(), because);
            }
        }
        if !lacking.is_empty() {
            self.notes.push(format!("not exercised in this run: {}", lacking.join(", ")));
        }
    }

    fn requests(&mut self, snapshot: &Snapshot, seen: &Seen) {
        for (key, requests) in &seen.requests {
            let Some(was) = snapshot.requests.get(key) else { continue };
            self.compared += 1;
            if fate_differs(*was, requests, seen.is_denied(&key.1)) {
                let (situation, holder) = (key.0.name(), &key.1);
                let because = format!(
                    "{} some lost in {} of {}, turned away in {}",
                    match &**holder {
                        "in-process" => "of requests in process,",
                        "unread" => "of requests unread on accepted connections,",
                        _ => "of requests in the accept queue,",
                    },
                    requests.lost.some,
                    counted(requests.trials, "trial", "trials"),
                    requests.turned_away.some
                );
                let what = format!("{situation}.{holder}");
                self.differs(&what, Some(was), requests.fate().to_string(), because);
            }
        }
    }

    fn times(&mut self, snapshot: &Snapshot, seen: &Seen) {
        for (what, times) in &seen.times {
            let Some(was) = snapshot.times.get(what) else { continue };
            self.compared += 1;
            if is_outside(*was, times) {
                let median = time(at(times, 0.5) * 1e3);
                let trials = counted(times.len() as u64, "trial", "trials");
                let because = format!("the median of {trials} is {median}");
                self.differs(what, Some(was), kept(times).to_string(), because);
            }
        }
    }

    fn exits(&mut self, snapshot: &Snapshot, seen: &Seen) {
        if seen.exits.is_empty() || snapshot.exits.is_empty() {
            return;
        }
        self.compared += 1;
        let new: Vec<_> = seen.exits.difference(&snapshot.exits).map(String::as_str).collect();
        if !new.is_empty() {
            let because = format!("{} is new", new.join(", "));
            let was = listed(&snapshot.exits);
            self.differs("exit-status", Some(&was), listed(&seen.exits), because);
        }
    }

    fn settings(&mut self, snapshot: &Snapshot, seen: &Seen) {
        self.compared += 2;
        let because = || "the run was set otherwise".to_owned();
        if snapshot.profile != seen.profile {
            self.differs("profile", Some(&snapshot.profile), seen.profile.to_string(), because());
        }
        if snapshot.signals != seen.signals {
            let was = listed(&snapshot.signals);
            self.differs("signal", Some(&was), listed(&seen.signals), because());
        }
    }
}

/// What was compared with nothing, by name: invariants that held, requests, times.
fn new(snapshot: &Snapshot, seen: &Seen) -> Vec<String> {
    let is_new = |id: &&String| !snapshot.invariants.contains_key(*id);
    let held = seen.invariants.iter().filter(|(_, it)| it.held() == Some(Held::Satisfied));
    let invariants = held.map(|(id, _)| id).filter(is_new).cloned();
    let requests = seen.requests.iter().filter(|(key, _)| !snapshot.requests.contains_key(*key));
    let requests = requests.map(|((situation, holder), requests)| {
        let fate = match requests.fate() {
            fate if fate == Fate::default() => String::new(),
            fate => format!(" ({fate})"),
        };
        format!("{}.{holder}{fate}", situation.name())
    });
    let times = seen.times.keys().filter(|what| !snapshot.times.contains_key(*what)).cloned();
    invariants.chain(requests).chain(times).collect()
}

fn listed(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// How an invariant stands to what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is something else, and not by chance.
    Differs(Held),
    /// It is violated so seldom that it may have been so before.
    TooSeldom,
    /// What is violated sometimes was not this time.
    HeldThisTime,
    /// The same, or it held and is new.
    Same,
    /// This run shows nothing of it.
    NotShown,
}

fn standing(was: Option<Held>, now: &Invariant) -> Standing {
    use Held::{AlwaysViolated, Satisfied, Violated};
    let is_usual = now.level == Severity::Deny || is_usual(now.violated, now.trials);
    match (was, now.held()) {
        (_, None) => Standing::NotShown,
        (Some(Violated | AlwaysViolated), Some(Violated | AlwaysViolated)) => Standing::Same,
        // What was not accepted.
        (_, Some(is @ (Violated | AlwaysViolated))) if is_usual => Standing::Differs(is),
        (_, Some(Violated | AlwaysViolated)) => Standing::TooSeldom,
        (Some(AlwaysViolated), Some(is)) if now.trials >= ALL_OF => Standing::Differs(is),
        (Some(Violated), Some(Satisfied)) => Standing::HeldThisTime,
        (_, Some(Satisfied)) => Standing::Same,
    }
}

/// Whether so many of the trials are more than a rarity that the run of the snapshot may have missed:
/// how many trials that had is not kept, since it is another number each time.
fn is_usual(some: u64, of: u64) -> bool {
    some >= 2 || 2 * some >= of
}

fn because(invariant: &Invariant) -> String {
    let trials = counted(invariant.trials, "trial", "trials");
    match (invariant.verdict, invariant.level) {
        (VerdictName::Violated, level) => format!(
            "in {} of {trials}, which {}",
            invariant.violated,
            match level {
                Severity::Deny => "fails the run anyway",
                Severity::Warn => "warns",
                Severity::Allow => "is recorded only",
            }
        ),
        _ => format!("in all of {trials}"),
    }
}

fn fate_differs(was: Fate, now: &Requests, is_denied: bool) -> bool {
    let differs = |was: Share, part: Part| match was {
        Share::None => part.some > 0 && (is_denied || is_usual(part.some, now.trials)),
        Share::Some => false,
        Share::All => part.some == 0 && now.trials >= ALL_OF,
    };
    differs(was.lost, now.lost) || differs(was.turned_away, now.turned_away)
}

/// Whether most of these are clearly outside the span.
fn is_outside(span: Span, times: &[f64]) -> bool {
    let median = at(times, 0.5);
    let is_beyond = span.to.is_some_and(|to| median > f64::from(to) * MARGIN);
    is_beyond || median < f64::from(span.from) / MARGIN
}
