//! What the kernel showed of connections around the signal.

use std::collections::HashMap;

use super::event::{ConnectionId, Event, EventKind, Snapshot};
use super::phase::Around;

/// What was seen of each connection; and whether the kernel was asked at all.
pub(super) fn sights_of(events: &[Event]) -> (HashMap<ConnectionId, Around>, bool) {
    let mut around: HashMap<ConnectionId, Around> = HashMap::new();
    let mut asked = false;
    for event in events {
        let EventKind::SocketsSeen { when, sockets } = &event.kind else { continue };
        asked = true;
        for socket in sockets {
            let sight = around.entry(socket.connection).or_default();
            // The verdict is about the first signal, and so are the sights around it.
            match when {
                Snapshot::Before => sight.before.get_or_insert(*socket),
                Snapshot::After => sight.after.get_or_insert(*socket),
            };
        }
    }
    (around, asked)
}
