//! The connections on which nothing was outstanding when the signal came.

use std::collections::{HashMap, HashSet};

use crate::model::event::{Connection, ConnectionId, EventIndex};
use crate::model::history::{History, SignalSent};
use crate::model::time::Nanos;

/// A connection that was open at the signal, and on which the server owed nothing.
pub(super) struct Idle<'h> {
    /// The event that holds it.
    pub(super) event: EventIndex,
    /// The connection.
    pub(super) connection: &'h Connection,
    /// When its last response was over; `None` where nothing had been sent on it.
    pub(super) since: Option<Nanos>,
}

/// Finds them.
pub(super) fn idle<'h>(history: &'h History, signal: &SignalSent) -> Vec<Idle<'h>> {
    let bracket = signal.bracket;
    let is_open = |c: &Connection| {
        c.established.is_some_and(|at| at <= bracket.before) && c.ended > bracket.after
    };
    let mut open: Vec<Idle<'h>> = history
        .connections()
        .filter(|(_, c)| is_open(c) && is_accepted(history, c.connection))
        .map(|(event, connection)| Idle { event, connection, since: None })
        .collect();
    if open.is_empty() {
        return open;
    }
    let place: HashMap<ConnectionId, usize> =
        open.iter().enumerate().map(|(place, idle)| (idle.connection.connection, place)).collect();
    let mut in_use = HashSet::new();
    for (_, request) in history.requests() {
        let Some(place) = place.get(&request.connection) else { continue };
        if request.ended <= bracket.before {
            open[*place].since = open[*place].since.max(Some(request.ended));
        } else if request.started < bracket.after {
            in_use.insert(request.connection);
        }
    }
    open.retain(|idle| !in_use.contains(&idle.connection.connection));
    open
}

/// Whether a program had accepted a connection. One that the kernel does not know, or has in its
/// queue, is none of the program's; where it can't be asked, what is established counts.
fn is_accepted(history: &History, connection: ConnectionId) -> bool {
    let around = history.around(connection);
    match around.before {
        Some(before) => before.accepted && around.after.is_none_or(|after| after.accepted),
        None => !history.phases_are_exact(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;
    use crate::model::event::ConnectionEnd::ClosedByServer;
    use crate::model::event::RequestEnd;

    /// For each idle connection, its number and whether anything was ever sent on it.
    fn found(story: Story) -> Vec<(u32, bool)> {
        let history = story.history();
        let found = idle(&history, &history.signal().unwrap());
        found.iter().map(|idle| (idle.connection.connection, idle.since.is_some())).collect()
    }

    fn open() -> Story {
        Story::new().signal().connection(-400, 9, ClosedByServer)
    }

    fn asked(story: Story, from_ms: i64, to_ms: i64) -> Story {
        story.request_on(1, from_ms, to_ms, RequestEnd::Complete, |_| {})
    }

    #[test]
    fn a_connection_is_idle_between_its_requests_and_fresh_before_the_first() {
        assert_eq!(found(open()), [(1, false)]);
        assert_eq!(found(asked(open(), -300, -200)), [(1, true)]);
        assert_eq!(found(asked(asked(open(), -300, -200), 3, 9)), [(1, true)]);
        assert_eq!(found(asked(open(), -300, 9)), []);
    }

    #[test]
    fn one_that_was_over_or_came_later_was_not_idle_at_the_signal() {
        let over = Story::new().signal().connection(-400, -1, ClosedByServer);
        assert_eq!(found(over.connection(1, 9, ClosedByServer)), []);
    }

    #[test]
    fn one_that_no_program_had_accepted_is_none() {
        assert_eq!(found(open().seen(1, true, 0, 0)), [(1, false)]);
        assert_eq!(found(open().seen(1, false, 0, 0)), []);
        assert_eq!(found(open().seen(2, true, 0, 0)), []);
        assert_eq!(found(open().seen_after(1, false, 0, 0).seen(1, true, 0, 0)), []);
    }
}
