//! Attempts to connect: of clients that meant to use the connection, and of probes.

use super::event::{ConnectionEnd, ConnectionId, EventIndex, EventKind, Probe, ProbeOutcome};
use super::time::Nanos;

/// One attempt to open a connection after the signal, by whichever client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectAttempt {
    /// Just before connect(2).
    pub started: Nanos,
    /// When it had an outcome.
    pub ended: Nanos,
    /// Whether the handshake completed (`Some(true)`), was refused (`Some(false)`), or neither.
    pub accepted: Option<bool>,
    /// The connection, where a client meant to use it.
    pub connection: Option<ConnectionId>,
    /// The event.
    pub event: EventIndex,
}

/// The attempt that an event tells of, where the harness could make one.
pub(super) fn attempt(event: EventIndex, kind: &EventKind) -> Option<ConnectAttempt> {
    match kind {
        EventKind::Probe(Probe { started, ended, outcome }) => {
            let accepted = match outcome {
                ProbeOutcome::Established => Some(true),
                ProbeOutcome::Refused => Some(false),
                ProbeOutcome::TimedOut => None,
                ProbeOutcome::Failed => return None,
            };
            let (started, ended) = (*started, *ended);
            Some(ConnectAttempt { started, ended, accepted, connection: None, event })
        }
        EventKind::Connection(c) => {
            let accepted = match c.end {
                ConnectionEnd::ConnectFailed => return None,
                ConnectionEnd::ConnectTimedOut => None,
                ConnectionEnd::Refused => Some(false),
                // A client that gave up the attempt itself knows of no handshake.
                _ => c.established.map(|_| true),
            };
            let ended = c.established.unwrap_or(c.ended);
            let connection = Some(c.connection);
            Some(ConnectAttempt { started: c.started, ended, accepted, connection, event })
        }
        _ => None,
    }
}
