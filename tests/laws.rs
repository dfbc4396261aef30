//! Laws that every verdict obeys, over generated histories.

mod generated;

use std::io::Cursor;
use std::time::Duration;

use generated::{Naming, case};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use shutdown_check::invariants::{BOTH_SIGNALS, CATALOGUE, REPEATED};
use shutdown_check::judge::judge;
use shutdown_check::model::contract::{Contract, SecondSignal};
use shutdown_check::model::event::{
    BodySeen, Event, EventIndex, EventKind, ExitStatus, HeldBy, Request, RequestEnd,
};
use shutdown_check::model::header::Header;
use shutdown_check::model::history::{History, Outcome};
use shutdown_check::model::signal::Signal;
use shutdown_check::model::time::Nanos;
use shutdown_check::model::verdict::{Finding, Verdict, VerdictName};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/laws.proptest-regressions",
        ))),
        ..ProptestConfig::default()
    }
}

fn history(header: &Header, events: Vec<Event>) -> History {
    History::new(header.clone(), events).expect("the generated history is well-formed")
}

/// A finding without its wording, which names instants and ids.
#[derive(Debug, PartialEq)]
struct Shape {
    invariant: &'static str,
    verdict: VerdictName,
    exercised: u32,
    evidence: Vec<Vec<EventIndex>>,
}

fn shapes(findings: &[Finding]) -> Vec<Shape> {
    findings
        .iter()
        .map(|finding| {
            let (exercised, evidence) = match &finding.verdict {
                Verdict::Satisfied { exercised } => (exercised.get(), Vec::new()),
                Verdict::Violated { exercised, violations } => {
                    (exercised.get(), violations.iter().map(|v| v.evidence.clone()).collect())
                }
                Verdict::Inconclusive { .. } | Verdict::NotApplicable { .. } => (0, Vec::new()),
            };
            let (invariant, verdict) = (finding.invariant, finding.verdict.outcome());
            Shape { invariant, verdict, exercised, evidence }
        })
        .collect()
}

// ---- stretching ------------------------------------------------------------------------------

fn stretched(events: &[Event], k: u32) -> Vec<Event> {
    moved(events, |at| Nanos::from_ns(at.as_ns() * u64::from(k)))
}

/// The same events at other instants.
fn moved(events: &[Event], to: impl Fn(Nanos) -> Nanos) -> Vec<Event> {
    let mut events = events.to_vec();
    let stretch = |at: &mut Nanos| *at = to(*at);
    for event in &mut events {
        stretch(&mut event.at);
        match &mut event.kind {
            EventKind::SignalSending { planned, .. } => stretch(planned),
            EventKind::Connection(c) => {
                [&mut c.started, &mut c.ended].into_iter().for_each(stretch);
                c.established.iter_mut().for_each(stretch);
            }
            EventKind::Request(r) => {
                [&mut r.started, &mut r.ended].into_iter().for_each(stretch);
                [&mut r.head_sent, &mut r.sent, &mut r.first_byte, &mut r.head_received]
                    .into_iter()
                    .flatten()
                    .for_each(stretch);
                r.parts.iter_mut().for_each(stretch);
            }
            EventKind::Write(w) => {
                [&mut w.started, &mut w.ended].into_iter().for_each(stretch);
                w.sent.iter_mut().for_each(stretch);
            }
            EventKind::Probe(p) => [&mut p.started, &mut p.ended].into_iter().for_each(stretch),
            EventKind::ReadinessProbe(p) => {
                [&mut p.started, &mut p.ended].into_iter().for_each(stretch);
            }
            _ => {}
        }
    }
    events
}

fn stretched_lag(events: &mut [Event], k: u32) {
    for event in events {
        if let EventKind::HarnessLag { worst } = &mut event.kind {
            *worst *= k;
        }
    }
}

fn stretched_limits(contract: &Contract, k: u32) -> Contract {
    let mut contract = contract.clone();
    for limit in [
        &mut contract.deadline,
        &mut contract.refuse_within,
        &mut contract.jobs_stop_within,
        &mut contract.inference_margin,
        &mut contract.lag_limit,
        &mut contract.default_action_within,
        &mut contract.idle_exit_within,
        &mut contract.unready_within,
        &mut contract.reaction,
    ] {
        *limit *= k;
    }
    for limit in [&mut contract.lame_duck, &mut contract.usual_exit].into_iter().flatten() {
        *limit *= k;
    }
    contract
}

/// Those whose rules have no limit in them, once the kernel says what had been read.
const WITHOUT_A_LIMIT: [&str; 5] = [
    "in-flight-requests-complete",
    "responses-are-whole",
    "delivered-requests-complete",
    "queued-connections-are-served",
    "nothing-is-left-behind",
];

/// Those whose rules have a margin in them that belongs to machines, and is in no contract.
const WITH_A_FIXED_MARGIN: [&str; 6] = [
    // It asks all of them, and has a limit of its own.
    REPEATED,
    "late-requests-are-not-swallowed",
    "serves-through-lame-duck",
    "idle-connections-are-released",
    "stalled-clients-do-not-block",
    "drain-keeps-its-latency",
];

/// Those that look only at whole responses, so that a lost one is one less to look at.
const OF_WHOLE_RESPONSES: [&str; 2] = ["close-is-announced", "drain-keeps-its-latency"];

/// Those that tell of what a client lost.
const OF_LOSSES: [&str; 5] = [
    "in-flight-requests-complete",
    "responses-are-whole",
    "delivered-requests-complete",
    "queued-connections-are-served",
    "late-requests-are-not-swallowed",
];

// ---- holding ---------------------------------------------------------------------------------

/// By the signal's clock and not by the target's: an orchestrator knows of no pause.
const BY_THE_SIGNALS_CLOCK: &str = "serves-through-lame-duck";
/// A pause is in the time that requests take.
const NOT_HELD: &str = "drain-keeps-its-latency";

/// The same events with a target that is held still for a while after the signal: all that came
/// after the signal comes so much later.
fn held(events: &[Event], sent: Nanos, pause: Duration) -> Vec<Event> {
    let mut held = moved(events, |at| if at > sent { at + pause } else { at });
    let by = HeldBy::Stop;
    let hold = EventKind::Held { processes: 1, by, took: Duration::ZERO };
    held.insert(0, Event { at: Nanos::ZERO, kind: hold });
    let after = held.partition_point(|event| event.at <= sent);
    held.insert(after, Event { at: sent + pause, kind: EventKind::Thawed });
    held
}

/// Where an event of the plain history is in the one with a pause.
fn place_in_held(event: EventIndex, events: &[Event], sent: Nanos) -> EventIndex {
    event + 1 + u32::from(events[event as usize].at > sent)
}

// ---- losing ----------------------------------------------------------------------------------

/// A response is lost: reset or closed, before its first byte or after it.
fn lose(request: &mut Request, reset: bool, begun: bool) {
    request.end = if reset { RequestEnd::Reset } else { RequestEnd::Closed };
    if !begun {
        (request.first_byte, request.head_received) = (None, None);
        (request.status, request.framing) = (None, None);
        (request.parts, request.body) = ([].into(), BodySeen::default());
    }
}

// ---- contradictions --------------------------------------------------------------------------

/// One contradiction that no history may hold, planted in a well-formed one.
#[derive(Clone, Copy, Debug)]
enum Contradiction {
    EarlierThanTheOneBefore,
    SameRequestTwice,
    SameConnectionTwice,
    RequestWithoutConnection,
    UnknownTemplate,
    AnswerAfterTheEnd,
    SentBeforeItsHead,
    CompleteWithoutStatus,
    EstablishedBeforeBegun,
    ExitByBoth,
    SentButNotBeingSent,
    SecondFirstProcess,
}

const CONTRADICTIONS: [Contradiction; 12] = [
    Contradiction::EarlierThanTheOneBefore,
    Contradiction::SameRequestTwice,
    Contradiction::SameConnectionTwice,
    Contradiction::RequestWithoutConnection,
    Contradiction::UnknownTemplate,
    Contradiction::AnswerAfterTheEnd,
    Contradiction::SentBeforeItsHead,
    Contradiction::CompleteWithoutStatus,
    Contradiction::EstablishedBeforeBegun,
    Contradiction::ExitByBoth,
    Contradiction::SentButNotBeingSent,
    Contradiction::SecondFirstProcess,
];

/// Plants it, where the history has a place for it.
fn plant(contradiction: Contradiction, events: &mut Vec<Event>) -> Option<()> {
    let last = events.last()?.at;
    let sample = |is: fn(&EventKind) -> bool| events.iter().find(|e| is(&e.kind)).cloned();
    let request = sample(|kind| matches!(kind, EventKind::Request(_)));
    let connection = sample(|kind| matches!(kind, EventKind::Connection(_)));
    let mut appended = |kind| events.push(Event { at: last, kind });
    let exit = |code, signal| EventKind::Exited { pid: 1, status: ExitStatus { code, signal } };
    match contradiction {
        Contradiction::EarlierThanTheOneBefore => events[0].at = last + Duration::from_nanos(1),
        Contradiction::SameRequestTwice => appended(request?.kind),
        Contradiction::SameConnectionTwice => appended(connection?.kind),
        Contradiction::ExitByBoth => appended(exit(Some(0), Some(Signal::TERM))),
        Contradiction::SentButNotBeingSent => {
            appended(EventKind::SignalSent { signal: Signal::KILL });
        }
        Contradiction::SecondFirstProcess => appended(EventKind::Spawned { pid: 1 }),
        Contradiction::EstablishedBeforeBegun => {
            let EventKind::Connection(mut c) = connection?.kind else { return None };
            (c.connection, c.established) = (u32::MAX, Some(Nanos::ZERO));
            c.started = c.started + Duration::from_nanos(1);
            appended(EventKind::Connection(c));
        }
        of_a_request => {
            let EventKind::Request(mut r) = request?.kind else { return None };
            r.request = u32::MAX;
            contradict(of_a_request, &mut r);
            appended(EventKind::Request(r));
        }
    }
    Some(())
}

fn contradict(contradiction: Contradiction, request: &mut Request) {
    let later = request.ended + Duration::from_nanos(1);
    match contradiction {
        Contradiction::RequestWithoutConnection => request.connection = u32::MAX,
        Contradiction::UnknownTemplate => request.template = u16::MAX,
        Contradiction::AnswerAfterTheEnd => request.first_byte = Some(later),
        Contradiction::SentBeforeItsHead => request.head_sent = Some(later),
        _ => (request.end, request.status) = (RequestEnd::Complete, None),
    }
}

/// Any damage at all: events lost, doubled and swapped.
fn damage(events: &mut Vec<Event>, edits: &[(u8, prop::sample::Index, prop::sample::Index)]) {
    for (edit, one, other) in edits {
        if events.is_empty() {
            return;
        }
        let (one, other) = (one.index(events.len()), other.index(events.len()));
        match edit % 4 {
            0 => drop(events.remove(one)),
            1 => events.insert(other, events[one].clone()),
            2 => events.swap(one, other),
            _ => events[one].at = events[other].at,
        }
    }
}

// ---- files -----------------------------------------------------------------------------------

fn file(header: &Header, events: &[Event]) -> Vec<u8> {
    let mut file = serde_json::to_vec(header).unwrap();
    file.push(b'\n');
    for event in events {
        serde_json::to_writer(&mut file, event).unwrap();
        file.push(b'\n');
    }
    file
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn stretching_the_instants_and_the_limits_changes_nothing(case in case(), k in 2u32..50) {
        let (header, events) = case.built(Naming::Plain);
        let mut slow = stretched(&events, k);
        stretched_lag(&mut slow, k);
        let contract = stretched_limits(&header.contract, k);
        let slow = history(&Header { contract, ..header.clone() }, slow);
        let (slow, usual) = (judge(&slow), judge(&history(&header, events)));
        for (slow, usual) in shapes(&slow).into_iter().zip(shapes(&usual)) {
            if !WITH_A_FIXED_MARGIN.contains(&usual.invariant) {
                prop_assert_eq!(slow, usual);
            }
        }
    }

    #[test]
    fn the_time_in_which_the_target_was_held_still_counts_for_nothing(
        case in case(),
        pause_ms in 0u64..3_000,
    ) {
        let (header, events) = case.with_the_kernel_asked().without_a_hold().built(Naming::Plain);
        let plain = history(&header, events.clone());
        let Some(signal) = plain.signal() else { return Ok(()) };
        let sent = signal.bracket.after;
        let paused = held(&events, sent, Duration::from_millis(pause_ms));
        let is_thawed = |event: &EventIndex| {
            matches!(paused[*event as usize].kind, EventKind::Thawed)
        };
        let held = judge(&history(&header, paused.clone()));
        for (mut plain, mut paused) in shapes(&judge(&plain)).into_iter().zip(shapes(&held)) {
            for event in plain.evidence.iter_mut().flatten() {
                *event = place_in_held(*event, &events, sent);
            }
            // The end of the pause is shown with what came after it.
            paused.evidence.iter_mut().for_each(|events| events.retain(|it| !is_thawed(it)));
            // With several signals, one invariant speaks for all, these among them.
            if ![BY_THE_SIGNALS_CLOCK, NOT_HELD, REPEATED].contains(&plain.invariant) {
                prop_assert_eq!(plain, paused);
            }
        }
    }

    #[test]
    fn clients_that_stop_on_purpose_show_no_losses(case in case()) {
        let (header, events) = case.with_stalled_clients().built(Naming::Plain);
        for finding in judge(&history(&header, events)) {
            let is_violated = finding.verdict.outcome() == VerdictName::Violated;
            prop_assert!(!is_violated || !OF_LOSSES.contains(&finding.invariant), "{:?}", finding);
        }
    }

    #[test]
    fn what_explains_a_failure_decides_nothing(case in case()) {
        let (header, events) = case.built(Naming::Plain);
        let is_look = |event: &Event| matches!(event.kind, EventKind::Dispositions { .. });
        let blind: Vec<_> = events.iter().filter(|event| !is_look(event)).cloned().collect();
        let (seen, blind) = (judge(&history(&header, events)), judge(&history(&header, blind)));
        for (seen, blind) in shapes(&seen).into_iter().zip(shapes(&blind)) {
            prop_assert_eq!((seen.verdict, seen.exercised), (blind.verdict, blind.exercised));
        }
    }

    #[test]
    fn stretching_the_instants_changes_nothing_that_has_no_limit(case in case(), k in 2u32..50) {
        let (header, events) = case.with_the_kernel_asked().built(Naming::Plain);
        let slow = history(&header, stretched(&events, k));
        let usual = history(&header, events);
        if usual.requests().any(|(_, request)| usual.cut_by_harness(request)) {
            // Whether the harness cut it short is told by the deadline, which is a limit.
            return Ok(());
        }
        let (before, after) = (judge(&usual), judge(&slow));
        for (before, after) in shapes(&before).into_iter().zip(shapes(&after)) {
            if WITHOUT_A_LIMIT.contains(&before.invariant) {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn names_and_numbers_mean_nothing(case in case()) {
        let (header, events) = case.built(Naming::Plain);
        let (_, renamed) = case.built(Naming::Other);
        let (plain, other) = (history(&header, events), history(&header, renamed));
        prop_assert_eq!(shapes(&judge(&plain)), shapes(&judge(&other)));
    }

    #[test]
    fn losing_one_more_response_improves_no_verdict(
        case in case(),
        which in any::<prop::sample::Index>(),
        reset in any::<bool>(),
        begun in any::<bool>(),
    ) {
        let (header, mut events) = case.built(Naming::Plain);
        let before = history(&header, events.clone());
        let is_completed = |request: &Request| before.outcome(request) == Outcome::Completed;
        let alike = |template| {
            let others = before.requests().map(|(_, other)| other);
            others.filter(|other| other.template == template && is_completed(other)).count()
        };
        let completed: Vec<_> = before
            .requests()
            .filter(|(_, request)| is_completed(request))
            // The only whole answer of its kind also shows what a whole answer looks like.
            .filter(|(_, request)| alike(request.template) > 1)
            // What is lost before the signal is a control, and excuses others.
            .filter(|(_, request)| before.signal().is_none_or(|s| request.ended > s.bracket.before))
            .map(|(event, request)| (event, before.signal().map(|s| before.phase(request, s.bracket))))
            .collect();
        if completed.is_empty() {
            return Ok(());
        }
        let (event, phase) = completed[which.index(completed.len())];
        if let EventKind::Request(request) = &mut events[event as usize].kind {
            lose(request, reset, begun);
        }
        let after = judge(&history(&header, events));
        for (before, after) in judge(&before).iter().zip(&after) {
            // That a request was served long after the signal is what shows that the signal was
            // not handled: there, and only there, a lost response is less of an accusation.
            let in_process = phase.is_some_and(|phase| phase.is_in_process());
            if before.invariant == "signal-is-handled" && !in_process {
                continue;
            }
            if OF_WHOLE_RESPONSES.contains(&before.invariant) {
                continue;
            }
            // Where the second signal is to cut everything short, a lost response shows that it does.
            let is_cut_short = header.contract.second_signal == SecondSignal::Force;
            if before.invariant == "repeated-signal-is-harmless" && is_cut_short {
                continue;
            }
            let (was, is) = (before.verdict.outcome(), after.verdict.outcome());
            let id = before.invariant;
            match was {
                VerdictName::Violated => prop_assert_eq!(is, VerdictName::Violated, "{}", id),
                VerdictName::Inconclusive => {
                    prop_assert_ne!(is, VerdictName::Satisfied, "{}", id);
                }
                VerdictName::Satisfied | VerdictName::NotApplicable => {}
            }
        }
    }

    #[test]
    fn contradictions_are_refused(case in case(), which in 0..CONTRADICTIONS.len()) {
        let (header, mut events) = case.built(Naming::Plain);
        let planted = plant(CONTRADICTIONS[which], &mut events);
        if planted.is_none() {
            return Ok(());
        }
        let refused = History::new(header, events).is_err();
        prop_assert!(refused, "{:?} was accepted", CONTRADICTIONS[which]);
    }

    #[test]
    fn damaged_histories_are_refused_or_judged_and_nothing_panics(
        case in case(),
        edits in prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index)>(), 1..5),
    ) {
        let (header, mut events) = case.built(Naming::Plain);
        damage(&mut events, &edits);
        let Ok(history) = History::new(header, events) else { return Ok(()) };
        for finding in judge(&history) {
            if let Verdict::Inconclusive { reason } = finding.verdict {
                prop_assert!(!reason.contains("check itself failed"), "{}", finding.invariant);
            }
        }
    }

    #[test]
    fn a_saved_history_reads_back_as_it_was(case in case()) {
        let (header, events) = case.built(Naming::Plain);
        let saved = file(&header, &events);
        let read = History::read(Cursor::new(saved)).expect("it was just written");
        prop_assert_eq!(read.header(), &header);
        prop_assert_eq!(read.events(), &events[..]);
        prop_assert_eq!(judge(&read), judge(&history(&header, events)));
    }

    #[test]
    fn a_file_that_is_cut_reads_as_a_prefix_or_gives_an_error(
        case in case(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        let (header, events) = case.built(Naming::Plain);
        let saved = file(&header, &events);
        for cut in cuts {
            let cut = cut.index(saved.len());
            let rest = &saved[..cut];
            // A line is whole without its end, too.
            let ends = rest.iter().filter(|byte| **byte == b'\n').count();
            let whole_lines = ends + usize::from(saved[cut] == b'\n');
            match History::read(Cursor::new(rest)) {
                Ok(read) => {
                    prop_assert!(events.starts_with(read.events()));
                    prop_assert!(read.events().len() + 1 >= whole_lines);
                }
                Err(error) => {
                    prop_assert!(!error.to_string().is_empty());
                    // What is left was no history: its header is cut, or requests were written
                    // down whose connection was not yet.
                    let left = whole_lines.checked_sub(1).map(|whole| events[..whole].to_vec());
                    let is_history =
                        left.is_some_and(|left| History::new(header.clone(), left).is_ok());
                    prop_assert!(!is_history, "{}", error);
                }
            }
        }
    }

    #[test]
    fn judging_twice_gives_the_same_findings(case in case()) {
        let (header, events) = case.built(Naming::Plain);
        let (one, other) = (history(&header, events.clone()), history(&header, events));
        prop_assert_eq!(judge(&one), judge(&one));
        prop_assert_eq!(judge(&one), judge(&other));
    }
}

/// Laws over histories that never violate anything would hold of any judge.
#[test]
fn the_generated_histories_reach_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..6000 {
        let (header, events) = case().new_tree(&mut runner).unwrap().current().built(Naming::Plain);
        for finding in judge(&history(&header, events)) {
            reached.insert((finding.invariant, finding.verdict.outcome()));
        }
    }
    // One history has no other signal to compare with.
    let alone = |id| id != BOTH_SIGNALS;
    for invariant in CATALOGUE.iter().filter(|it| alone(it.id)) {
        for verdict in [VerdictName::Satisfied, VerdictName::Inconclusive, VerdictName::Violated] {
            assert!(reached.contains(&(invariant.id, verdict)), "{}: no {verdict}", invariant.id);
        }
    }
}
