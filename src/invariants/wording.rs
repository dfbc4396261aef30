//! Facts in words: when something was, how a process ended, and the life of a request.

use std::collections::BTreeMap;

use crate::model::event::{EventIndex, EventKind, ExitStatus, Framing, Request, RequestEnd};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::Phase;
use crate::model::time::{Nanos, human};

/// When something was, seen from the signal: `4.1 ms after SIGTERM`.
pub(super) fn when(at: Nanos, signal: &SignalSent) -> String {
    let (bracket, name) = (signal.bracket, signal.signal);
    if at <= bracket.before {
        format!("{} before {name}", human(bracket.before.since(at)))
    } else if at >= bracket.after {
        format!("{} after {name}", human(at.since(bracket.after)))
    } else {
        format!("while {name} was being sent")
    }
}

/// How a process ended: `exited with status 0`, `was ended by SIGTERM`.
pub(super) fn ended(status: ExitStatus) -> String {
    match (status.code, status.signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by {signal}"),
        (None, None) => "ended".into(),
    }
}

/// A number of things: `1 request`, `7 requests`.
pub(super) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// The events that show what became of a request.
pub(super) fn evidence(
    history: &History,
    signal: &SignalSent,
    event: EventIndex,
    request: &Request,
) -> Vec<EventIndex> {
    let thawed = history.pause().and_then(|_| {
        let is = |kind: &EventKind| matches!(kind, EventKind::Thawed);
        history.first(is).map(|(event, _)| event)
    });
    let traced = history.first(|kind| matches!(kind, EventKind::Traced(_)));
    let shown = [signal.event, history.connection_of(request).0, event];
    sorted(shown.into_iter().chain(thawed).chain(traced.map(|(event, _)| event)))
}

/// Events in the order of time, each once.
pub(super) fn sorted(events: impl IntoIterator<Item = EventIndex>) -> Vec<EventIndex> {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_unstable();
    events.dedup();
    events
}

/// The life of a request in one line: when its connection began and what was sent, seen from the
/// signal; who held it at the signal, what came back, and how it ended.
pub(super) fn life(
    history: &History,
    signal: &SignalSent,
    request: &Request,
    phase: Phase,
) -> String {
    let name = &history.contract().requests[usize::from(request.template)].name;
    let (_, connection) = history.connection_of(request);
    let connected = connection.established.unwrap_or(connection.started);
    format!(
        "{name} on connection {}: connected {}, {}{}, {}; {}{}{}",
        request.connection,
        offset(connected, signal),
        sent(request, signal),
        held(history, signal, request, phase),
        response(history, request),
        end(history, signal, request),
        pause(history),
        traced(history, signal),
    )
}

/// What became of the other requests that were where this one was, as a clause to append: it tells
/// a rule from an exception.
pub(super) fn others(history: &History, event: EventIndex, phase: Phase) -> String {
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for (other, request, at) in history.phased_requests() {
        if other != event && at == phase && !request.stalled {
            *ends.entry(history.outcome(request).name()).or_default() += 1;
        }
    }
    let mut ends: Vec<(&str, usize)> = ends.into_iter().collect();
    ends.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let all: usize = ends.iter().map(|(_, number)| number).sum();
    let mut list: Vec<_> = ends.iter().map(|(name, number)| format!("{number} {name}")).collect();
    if let (Some(first), Some((name, number))) = (list.first_mut(), ends.first()) {
        *first = format!("{number} {} {name}", if *number == 1 { "was" } else { "were" });
    }
    match all {
        0 => String::new(),
        1 => format!("; 1 other at that level in this trial was {}", ends[0].0),
        _ => format!("; of {all} others at that level in this trial {}", list.join(", ")),
    }
}

/// An instant seen from the signal: `+4.1 ms`, `-412 ms`.
fn offset(at: Nanos, signal: &SignalSent) -> String {
    let bracket = signal.bracket;
    if at <= bracket.before {
        format!("-{}", human(bracket.before.since(at)))
    } else {
        format!("+{}", human(at.since(bracket.after)))
    }
}

/// The same where the signal was not named yet: `+4.1 ms after SIGTERM`.
fn ending(at: Nanos, signal: &SignalSent) -> String {
    let sign = if at >= signal.bracket.after { "+" } else { "" };
    format!("{sign}{}", when(at, signal))
}

/// That the target could not act at once, where it was held still.
fn pause(history: &History) -> String {
    history.pause().map_or_else(String::new, |pause| {
        format!(", the target held still for {} after the signal", human(pause))
    })
}

/// At which system call of the target the signal was sent, where it was at one.
fn traced(history: &History, signal: &SignalSent) -> String {
    let traced = history.events().iter().find_map(|event| match &event.kind {
        EventKind::Traced(traced) => Some(traced),
        _ => None,
    });
    traced.map_or_else(String::new, |traced| {
        let (call, pid, name) = (&traced.call, traced.pid, signal.signal);
        format!("; {name} came {} ({call}(2) of process {pid})", traced.text())
    })
}

fn sent(request: &Request, signal: &SignalSent) -> String {
    let (head, total) = (request.head_bytes, request.total_bytes);
    match (request.sent, request.head_sent) {
        (Some(at), _) => format!("sent {total} B {}", offset(at, signal)),
        (None, Some(at)) => {
            format!("sent its head of {head} B {} and not all of its body", offset(at, signal))
        }
        (None, None) => format!("begun {} and never wholly sent", offset(request.started, signal)),
    }
}

fn held(history: &History, signal: &SignalSent, request: &Request, phase: Phase) -> String {
    let who = match phase {
        Phase::Processing => "read by the server",
        Phase::Uploading => "its head read by the server",
        Phase::PartialHead => "its head read in part by the server",
        Phase::Delivered => "accepted and unread by the server",
        Phase::Queued => "not yet accepted by the server",
        Phase::Finished | Phase::ReusedLate | Phase::ConnectedLate | Phase::Ambiguous => {
            return String::new();
        }
    };
    let sight = history.around(request.connection).before;
    let how = match sight {
        _ if request.first_byte.is_some_and(|at| at <= signal.bracket.before) => {
            "it was answering".into()
        }
        _ if !history.phases_are_exact() => "inferred from time".into(),
        Some(socket) if socket.unread == 0 => {
            format!("kernel: receive queue empty, {} B received", socket.received)
        }
        Some(socket) => {
            format!("kernel: {} B of {} B received lay unread", socket.unread, socket.received)
        }
        None => "kernel".into(),
    };
    format!(", {who} ({how})")
}

fn response(history: &History, request: &Request) -> String {
    let Some(status) = request.status else {
        return match request.first_byte {
            Some(_) => "a part of a response's head".into(),
            None => "no response byte".into(),
        };
    };
    let expected = &history.contract().requests[usize::from(request.template)];
    let whole = match (request.framing, expected.body) {
        (Some(Framing::ContentLength(length)), _) => Some(length),
        (_, Some(body)) if status == expected.status => Some(body.length),
        _ => None,
    };
    match whole {
        Some(whole) => format!("{status} with {} of {whole} B of body", request.body.length),
        None => format!("{status} with {} B of body", request.body.length),
    }
}

fn end(history: &History, signal: &SignalSent, request: &Request) -> String {
    let outcome = history.outcome(request);
    let name = outcome.name();
    let when = ending(request.ended, signal);
    let expected = history.contract().requests[usize::from(request.template)].status;
    let status = request.status.unwrap_or_default();
    match outcome {
        Outcome::Completed => format!("{name} {when}"),
        Outcome::Reset => format!("RST {when}"),
        Outcome::ClosedWithoutResponse => format!("{name} (FIN) {when}"),
        Outcome::Rejected => format!("{name} with {status} {when}"),
        Outcome::Unverifiable => {
            format!("{name} (nothing tells a whole body from a cut one) {when}")
        }
        Outcome::WrongStatus => format!("{name} {status} instead of {expected} {when}"),
        Outcome::Truncated if request.end == RequestEnd::Closed => {
            format!("{name} (FIN) {when}")
        }
        Outcome::Truncated => {
            let body = history.contract().requests[usize::from(request.template)].body;
            let usual = body.map_or(0, |body| body.length);
            format!("{name} {when}: it looks whole, and {usual} B are usual")
        }
        Outcome::Corrupt if request.end == RequestEnd::NotHttp => {
            format!("{name} {when}: these bytes are no HTTP/1.1 response")
        }
        Outcome::Corrupt => format!("{name} {when}: the body is not the usual one"),
        Outcome::TimedOut => match history.deadline_passed() {
            Some((_, at)) if request.ended >= at => {
                format!("{name} (not complete at the deadline, {})", ending(at, signal))
            }
            _ if request.end == RequestEnd::TimedOut => {
                format!("{name} (the client waited no longer) {when}")
            }
            _ => format!("{name} (cut short by the harness) {when}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;

    fn life_of(story: Story) -> String {
        let history = story.history();
        let signal = history.signal().unwrap();
        let (_, request, phase) = history.phased_requests().next().unwrap();
        life(&history, &signal, request, phase)
    }

    #[test]
    fn a_life_is_told_from_its_sending_to_its_end() {
        let story = Story::new().signal().reset_request(-412, 4);
        assert_eq!(
            life_of(story),
            "GET /sleep?ms=900 on connection 1: connected -412 ms, sent 118 B -412 ms, read by \
             the server (inferred from time), no response byte; RST +4.0 ms after SIGTERM"
        );
    }

    #[test]
    fn a_late_life_begins_after_the_signal() {
        let life = life_of(Story::new().signal().reset_request(2, 4));
        assert!(life.contains("connected +2.0 ms, sent 118 B +2.0 ms, no response"), "{life}");
    }

    #[test]
    fn that_the_target_was_held_still_is_told() {
        let held = Story::new().held(-5).reset_request(-412, 154).signal().thawed(150);
        let end = "RST +154 ms after SIGTERM, the target held still for 150 ms after the signal";
        assert!(life_of(held).ends_with(end));
    }

    #[test]
    fn what_others_did_is_counted_the_most_frequent_first() {
        let one = || Story::new().signal().reset_request(-400, 4);
        let others_of = |story: Story| {
            let history = story.history();
            let (event, _, phase) = history.phased_requests().next().unwrap();
            others(&history, event, phase)
        };
        assert_eq!(others_of(one()), "");
        assert_eq!(others_of(one().reset_request(5, 9)), "", "it was at another level");
        let two = one().completed_request(-300, 500);
        assert_eq!(others_of(two), "; 1 other at that level in this trial was completed");
        let four = one().completed_request(-300, 500).completed_request(-300, 500);
        assert_eq!(
            others_of(four.reset_request(-300, 9)),
            "; of 3 others at that level in this trial 2 were completed, 1 reset"
        );
    }

    #[test]
    fn the_kernels_word_is_quoted() {
        let story = Story::new().signal().reset_request(-2, 4).seen(1, true, 118, 0);
        let life = life_of(story);
        assert!(life.contains("(kernel: receive queue empty, 118 B received)"), "{life}");
        let part = Story::new().signal().reset_request(-2, 4).seen(1, true, 118, 10);
        let life = life_of(part);
        assert!(life.contains("head read in part by the server (kernel: 10 B of 118 B received"));
    }

    #[test]
    fn a_part_of_a_response_is_measured() {
        let cut = Story::new().signal().request(-412, 9, RequestEnd::Closed, |request| {
            request.first_byte = Some(request.started);
            request.status = Some(200);
            request.framing = Some(Framing::ContentLength(4096));
            request.body.length = 1024;
        });
        let life = life_of(cut);
        let end = "(it was answering), 200 with 1024 of 4096 B of body; truncated (FIN) +9.0 ms";
        assert!(life.contains(end), "{life}");
    }

    #[test]
    fn instants_are_told_from_the_near_edge_of_the_bracket() {
        let signal = Story::new().signal().history().signal().unwrap();
        let inside = Nanos::from_ns(signal.bracket.before.as_ns() + 1);
        assert_eq!(when(inside, &signal), "while SIGTERM was being sent");
        assert_eq!(when(signal.bracket.after, &signal), "0.0 ms after SIGTERM");
    }
}
