//! A request that begins at a known instant, so that a signal can be aimed at its life.

use std::rc::Rc;
use std::time::Duration;

use crate::model::event::ConnectionEnd;
use crate::model::time::Nanos;
use crate::observe::exact::{wait_until, wake_exactly};

use super::clients::{Clients, Opened};
use super::exchange::OpenConnection;

/// So long before its instant the client's thread waits for nothing else: timers of the runtime
/// are late by up to two milliseconds.
pub(super) const ALERT: Duration = Duration::from_millis(3);

/// A request that is ready to be sent.
pub struct Timed {
    clients: Rc<Clients>,
    template: usize,
    /// The connection that has carried one request, where it is to be the second.
    kept: Option<(OpenConnection, Opened)>,
}

impl Timed {
    /// Prepares for a request; with `kept`, lets another one be answered first. None where the
    /// server keeps no connection.
    pub async fn prepare(clients: Rc<Clients>, template: usize, kept: bool) -> Option<Self> {
        let kept = match kept {
            true => {
                let (connection, opened) = clients.connect().await?;
                let first = clients.quickest();
                Some(clients.exchange(connection, opened, first).await?)
            }
            false => None,
        };
        Some(Self { clients, template, kept })
    }

    /// Begins at this instant, and follows the request to its end.
    pub async fn ask_at(self, at: Nanos) {
        let Self { clients, template, kept } = self;
        let left = at.since(clients.recorder.now());
        tokio::time::sleep(left.saturating_sub(ALERT)).await;
        wake_exactly();
        wait_until(&clients.recorder, at);
        let Some((connection, opened)) = kept else { return clients.once(template).await };
        if let Some((connection, opened)) = clients.exchange(connection, opened, template).await {
            clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
    }
}
