//! The connections that are open, for all who ask about them: the clients, those who ask the kernel,
//! and the thread of the signal.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::event::{ConnectionId, SocketSeen};
use crate::observe::sockets::Asked;

/// The connections that are open. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OpenConnections(Arc<Mutex<BTreeMap<ConnectionId, Open>>>);

#[derive(Clone, Debug)]
struct Open {
    client: Option<SocketAddr>,
    outstanding: Option<Outstanding>,
    traffic: Traffic,
}

impl Open {
    fn is_wholly_asked(&self) -> bool {
        let sent = self.traffic.lock().sent.back().map_or(0, |(_, sent)| *sent);
        self.outstanding.is_some_and(|asked| sent >= asked.sent_before + asked.total)
    }
}

/// What a client has sent and received on one connection, and when. Clones are the same.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Mutex<Counted>>);

#[derive(Debug)]
struct Counted {
    established: Instant,
    received: u64,
    /// How much had been sent by when; the older ones are forgotten.
    sent: VecDeque<(Instant, u64)>,
}

/// As many sendings are remembered; a slow upload has fewer.
const SENDINGS_MAX: usize = 64;

impl Traffic {
    /// Of a connection that is established now.
    pub fn new() -> Self {
        let (established, sent) = (Instant::now(), VecDeque::new());
        Self(Arc::new(Mutex::new(Counted { established, received: 0, sent })))
    }

    /// So many bytes have been sent on it by now.
    pub fn note_sent(&self, all: u64) {
        let mut counted = self.lock();
        if counted.sent.len() == SENDINGS_MAX {
            counted.sent.pop_front();
        }
        counted.sent.push_back((Instant::now(), all));
    }

    /// So many bytes have been received on it by now.
    pub fn note_received(&self, all: u64) {
        self.lock().received = all;
    }

    /// What the server's side looks like if the server has taken whatever is older than `margin`;
    /// for where the kernel can't be asked.
    fn inferred(&self, connection: ConnectionId, margin: Duration) -> SocketSeen {
        let counted = self.lock();
        let old = |at: Instant| at.elapsed() >= margin;
        let sent = counted.sent.back().map_or(0, |(_, sent)| *sent);
        let taken = counted.sent.iter().rfind(|(at, _)| old(*at)).map_or(0, |(_, sent)| *sent);
        SocketSeen {
            connection,
            accepted: old(counted.established),
            unread: u32::try_from(sent - taken).unwrap_or(u32::MAX),
            received: sent,
            sent: counted.received,
            unsent: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self::new()
    }
}

/// A request on its way, by its place in the two streams of bytes of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// Bytes that were sent before it.
    pub sent_before: u64,
    /// Its head's length.
    pub head: u64,
    /// Its whole length.
    pub total: u64,
    /// Bytes that were received before the response to it.
    pub received_before: u64,
}

impl OpenConnections {
    /// They, as questions to the kernel, as far as it knows them by an address.
    pub fn asked(&self) -> Vec<Asked> {
        let open = self.lock();
        let asked = |(connection, open): (&ConnectionId, &Open)| {
            Some(Asked { connection: *connection, client: open.client? })
        };
        open.iter().filter_map(asked).collect()
    }

    /// What the server's side of them looks like if the server has taken whatever is older than
    /// `margin`; for where the kernel can't be asked.
    pub fn inferred(&self, margin: Duration) -> Vec<SocketSeen> {
        let open = self.lock();
        open.iter().map(|(connection, open)| open.traffic.inferred(*connection, margin)).collect()
    }

    /// The request that is on its way on a connection.
    pub fn outstanding(&self, connection: ConnectionId) -> Option<Outstanding> {
        self.lock().get(&connection)?.outstanding
    }

    /// The clients' ends of the connections whose request on its way was sent wholly, in the order
    /// of their opening.
    pub fn wholly_asked(&self) -> Vec<SocketAddr> {
        let open = self.lock();
        let asked = open.values().filter(|open| open.is_wholly_asked());
        asked.filter_map(|open| open.client).collect()
    }

    /// Whether a request is on its way on any.
    pub fn any_outstanding(&self) -> bool {
        self.lock().values().any(|open| open.outstanding.is_some())
    }

    pub(super) fn add(
        &self,
        connection: ConnectionId,
        client: Option<SocketAddr>,
        traffic: &Traffic,
    ) {
        let open = Open { client, outstanding: None, traffic: traffic.clone() };
        self.lock().insert(connection, open);
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    pub(super) fn note(&self, connection: ConnectionId, outstanding: Option<Outstanding>) {
        if let Some(open) = self.lock().get_mut(&connection) {
            open.outstanding = outstanding;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
