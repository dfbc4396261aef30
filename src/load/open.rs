//! The connections that are open, for all who ask about them: the clients, those who ask the kernel,
//! and the thread of the signal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::event::ConnectionId;
use crate::observe::sockets::Asked;

/// The connections that are open. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OpenConnections(Arc<Mutex<BTreeMap<ConnectionId, Open>>>);

#[derive(Clone, Copy, Debug)]
struct Open {
    client: SocketAddr,
    outstanding: Option<Outstanding>,
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
    /// They, as questions to the kernel.
    pub fn asked(&self) -> Vec<Asked> {
        let open = self.lock();
        open.iter()
            .map(|(connection, open)| Asked { connection: *connection, client: open.client })
            .collect()
    }

    /// The request that is on its way on a connection.
    pub fn outstanding(&self, connection: ConnectionId) -> Option<Outstanding> {
        self.lock().get(&connection)?.outstanding
    }

    /// Whether a request is on its way on any.
    pub fn any_outstanding(&self) -> bool {
        self.lock().values().any(|open| open.outstanding.is_some())
    }

    pub(super) fn add(&self, connection: ConnectionId, client: SocketAddr) {
        self.lock().insert(connection, Open { client, outstanding: None });
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
