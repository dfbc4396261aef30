//! Facts in words: when something was, how a process ended, and the life of a request.

use crate::model::event::{EventIndex, ExitStatus, Framing, Request, RequestEnd};
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
    sorted([signal.event, history.connection_of(request).0, event])
}

/// Events in the order of time, each once.
pub(super) fn sorted(events: impl IntoIterator<Item = EventIndex>) -> Vec<EventIndex> {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_unstable();
    events.dedup();
    events
}

/// The life of a request in one line: what was sent, who held it at the signal, what came back,
/// and how it ended.
pub(super) fn life(
    history: &History,
    signal: &SignalSent,
    request: &Request,
    phase: Phase,
) -> String {
    let name = &history.contract().requests[usize::from(request.template)].name;
    format!(
        "{name} on connection {}: {}{}, {}; {}",
        request.connection,
        sent(request, signal),
        held(history, signal, request, phase),
        response(history, request),
        end(history, signal, request),
    )
}

fn sent(request: &Request, signal: &SignalSent) -> String {
    let (head, total) = (request.head_bytes, request.total_bytes);
    match (request.sent, request.head_sent) {
        (Some(at), _) => format!("sent {total} B {}", when(at, signal)),
        (None, Some(at)) => {
            format!("sent its head of {head} B {} and not all of its body", when(at, signal))
        }
        (None, None) => format!("begun {} and never wholly sent", when(request.started, signal)),
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
    let when = when(request.ended, signal);
    let expected = history.contract().requests[usize::from(request.template)].status;
    let status = request.status.unwrap_or_default();
    match outcome {
        Outcome::Completed | Outcome::Reset => format!("{name} {when}"),
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
                format!("{name} (not complete at the deadline, {})", self::when(at, signal))
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
            "GET /sleep?ms=900 on connection 1: sent 118 B 412 ms before SIGTERM, read by the \
             server (inferred from time), no response byte; reset 4.0 ms after SIGTERM"
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
        let end = "(it was answering), 200 with 1024 of 4096 B of body; truncated (FIN) 9.0 ms";
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
