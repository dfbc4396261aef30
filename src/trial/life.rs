//! How far the server has come with the one request, as the kernel shows it: while a rehearsal
//! measures its life, and around a signal that is aimed at it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::load::open::OpenConnections;
use crate::model::event::{ConnectionId, SocketSeen};
use crate::model::time::Nanos;
use crate::observe::exact::{AWAKE, sleep_until};
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;

/// A quick request is over within this time, and is looked at without a pause, as in the rehearsal.
const QUICK: Duration = Duration::from_millis(2);
/// How often the kernel is asked while nothing is near: often enough for what takes a server tens
/// of microseconds, and seldom enough to leave it a processor.
const TICK: Duration = Duration::from_micros(20);
/// The last look before a signal begins so long before it: about as long as a look takes.
const LAST_LOOK: Duration = Duration::from_micros(15);

/// The connection that is looked at: the first of its clients.
pub(super) const OWN: ConnectionId = 0;

/// When the kernel first showed what the server had done; absent as long as it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sights {
    /// It had accepted the connection.
    pub accepted: Option<Nanos>,
    /// It had read something of the request.
    pub first_read: Option<Nanos>,
    /// It had read all of it.
    pub read: Option<Nanos>,
}

/// Looks at the one connection that has a request on its way. Clones are the same.
#[derive(Clone, Debug)]
pub struct Life {
    /// When the request begins: it is not looked at before.
    pub begin: Nanos,
    sights: Arc<Mutex<Sights>>,
}

impl Life {
    /// Of a request that will begin then.
    pub fn new(begin: Nanos) -> Self {
        Self { begin, sights: Arc::default() }
    }

    /// What has been seen so far.
    pub fn sights(&self) -> Sights {
        *self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the kernel once; what it shows of the open connections.
    pub fn look(
        &self,
        recorder: &Recorder,
        (watch, server): (&mut SocketWatch, SocketAddr),
        open: &OpenConnections,
    ) -> Option<Vec<SocketSeen>> {
        let sockets = watch.look(server, &open.asked()).ok()?;
        let now = recorder.now();
        let mut sights = self.sights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = sockets.iter().find(|socket| socket.connection == OWN) {
            sights.note(now, own, open);
        }
        Some(sockets)
    }

    /// Looks from the request's beginning until just before `at`; the last sight.
    pub fn follow_until(
        &self,
        at: Nanos,
        recorder: &Recorder,
        (watch, server): (&mut SocketWatch, SocketAddr),
        open: &OpenConnections,
    ) -> Option<Vec<SocketSeen>> {
        sleep_until(recorder, self.begin.min(at - AWAKE));
        loop {
            let begun = recorder.now();
            let seen = self.look(recorder, (&mut *watch, server), open);
            let now = recorder.now();
            // As long as this one took, unless it was held up.
            let next = now.since(begun).min(LAST_LOOK * 2).max(LAST_LOOK);
            if now + next >= at {
                return seen;
            }
            if now + AWAKE < at && self.sights().are_complete() {
                sleep_until(recorder, at - AWAKE);
            } else if now + AWAKE < at && now > self.begin + QUICK {
                sleep_until(recorder, now + TICK);
            }
        }
    }
}

impl Sights {
    /// Nothing more is to be seen.
    pub fn are_complete(&self) -> bool {
        self.read.is_some()
    }

    fn note(&mut self, now: Nanos, socket: &SocketSeen, open: &OpenConnections) {
        if socket.accepted {
            self.accepted.get_or_insert(now);
        }
        let Some(asked) = open.outstanding(socket.connection) else { return };
        let read = socket.received.saturating_sub(socket.unread.into());
        if read > asked.sent_before {
            self.first_read.get_or_insert(now);
        }
        if read >= asked.sent_before + asked.total {
            self.read.get_or_insert(now);
        }
    }
}
