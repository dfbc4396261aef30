//! What a list of events must be to be a history; checked once, so that no judge checks again.

use std::collections::{HashMap, HashSet};

use super::event::{ConnectionId, Event, EventIndex, EventKind, Request, RequestEnd};
use super::history::Malformed;
use super::signal::Signal;
use super::time::Nanos;

/// Events come in the order of time, one process is the first, signals are sent that were being
/// sent, and an exit has one status.
pub(super) fn check_order(events: &[Event]) -> Result<(), Malformed> {
    let wrong = |event, reason| Err(Malformed::Event { event, reason });
    let mut sending: Option<Signal> = None;
    let mut spawned = false;
    for (index, pair) in (1..).zip(events.windows(2)) {
        if pair[1].at < pair[0].at {
            return wrong(index, "it is earlier than the event before it");
        }
    }
    for (index, event) in (0..).zip(events) {
        match &event.kind {
            EventKind::Spawned { .. } if spawned => return wrong(index, "a second first process"),
            EventKind::Spawned { .. } => spawned = true,
            EventKind::SignalSending { signal, .. } => sending = Some(*signal),
            EventKind::SignalSent { signal } if sending.take() != Some(*signal) => {
                return wrong(index, "a signal was sent that was not being sent");
            }
            EventKind::Exited { status, .. }
                if status.code.is_some() && status.signal.is_some() =>
            {
                return wrong(index, "an exit is by status or by signal, not by both");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where each connection's life stands, whose steps are in order.
pub(super) fn connections_of(
    events: &[Event],
) -> Result<HashMap<ConnectionId, EventIndex>, Malformed> {
    let mut connections = HashMap::new();
    for (event, e) in (0..).zip(events) {
        let EventKind::Connection(connection) = &e.kind else { continue };
        let wrong = |reason| Err(Malformed::Event { event, reason });
        let established = connection.established.unwrap_or(connection.started);
        if established < connection.started || connection.ended < established {
            return wrong("the steps of the connection are out of order");
        }
        if connections.insert(connection.connection, event).is_some() {
            return wrong("two connections have the same number");
        }
    }
    Ok(connections)
}

/// Each request is one of the contract's, has a connection and a number of its own, and its steps
/// are in order.
pub(super) fn check_requests(
    events: &[Event],
    connections: &HashMap<ConnectionId, EventIndex>,
    templates: usize,
) -> Result<(), Malformed> {
    let mut seen = HashSet::new();
    for (event, e) in (0..).zip(events) {
        let wrong = |reason| Err(Malformed::Event { event, reason });
        match &e.kind {
            EventKind::PooledRequest(pooled) if usize::from(pooled.template) >= templates => {
                return wrong("the request is none of the contract's");
            }
            EventKind::Request(request) => {
                if usize::from(request.template) >= templates {
                    return wrong("the request is none of the contract's");
                }
                if !connections.contains_key(&request.connection) {
                    return wrong("the request has no connection");
                }
                if !seen.insert(request.request) {
                    return wrong("two requests have the same number");
                }
                if !in_order(request) {
                    return wrong("the steps of the request are out of order");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A response may begin before the request is wholly sent (RFC 9112, section 9.3), so sending
/// and receiving are each in order, and both lie between start and end.
fn in_order(request: &Request) -> bool {
    let ordered = |steps: &[Option<Nanos>]| {
        let steps: Vec<Nanos> = steps.iter().copied().flatten().collect();
        steps.is_sorted()
    };
    let (start, end) = (Some(request.started), Some(request.ended));
    let complete = request.end == RequestEnd::Complete;
    ordered(&[start, request.head_sent, request.sent, end])
        && ordered(&[start, request.first_byte, request.head_received, end])
        && request.parts.is_sorted()
        && (!complete || (request.status.is_some() && request.first_byte.is_some()))
}
