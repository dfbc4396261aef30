//! Reads back what was written, when the target has been started again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, RequestEnd};
use crate::model::write::{ReadBack, ReadOutcome, Write, WriteOutcome, read_outcome};
use crate::observe::recorder::Recorder;

use super::exchange::OpenConnection;
use super::writes::{Writes, open, value_of};

/// Clients that read at the same time.
const READERS: usize = 8;
/// All must be read within this time; what was not read tells nothing.
const LIMIT: Duration = Duration::from_secs(30);
/// What is not there is asked for once more after this time: a server may answer while it is still
/// reading its log.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Tries of what tells nothing, such as a connection that the server closed.
const TRIES: u32 = 3;

impl Writes {
    /// Reads every key back whose write was acknowledged or may have been done, from a target that
    /// was started again, and writes down what is there.
    pub async fn read_back(self: &Rc<Self>, address: &ServerAddress, recorder: &Recorder) {
        let is_owed = |write: &Write| !matches!(write.outcome, WriteOutcome::Refused(_));
        let keys: Vec<String> = recorder.read(|events| {
            let writes = events.iter().filter_map(|event| match &event.kind {
                EventKind::Write(write) if is_owed(write) => Some(write.key.clone()),
                _ => None,
            });
            writes.collect()
        });
        let found: Rc<RefCell<Vec<ReadBack>>> = Rc::default();
        let _ = timeout(LIMIT, async {
            self.read_all(keys, address, &found).await;
            let is_there = |seen: &ReadBack| seen.outcome == ReadOutcome::Present;
            let (there, missing): (Vec<_>, Vec<_>) = found.take().into_iter().partition(is_there);
            let keys = missing.iter().map(|seen| seen.key.clone()).collect::<Vec<_>>();
            *found.borrow_mut() = there;
            if !keys.is_empty() {
                sleep(AGAIN_AFTER).await;
                self.read_all(keys, address, &found).await;
            }
        })
        .await;
        for seen in found.take() {
            recorder.record(EventKind::ReadBack(seen));
        }
    }

    async fn read_all(
        self: &Rc<Self>,
        keys: Vec<String>,
        address: &ServerAddress,
        found: &Rc<RefCell<Vec<ReadBack>>>,
    ) {
        let keys = Rc::new(RefCell::new(VecDeque::from(keys)));
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (writes, keys, found) = (self.clone(), keys.clone(), found.clone());
            let address = address.clone();
            readers.spawn_local(async move {
                let mut kept = None;
                loop {
                    let Some(key) = keys.borrow_mut().pop_front() else { break };
                    let (seen, connection) = writes.look_for(key, kept.take(), &address).await;
                    found.borrow_mut().push(seen);
                    kept = connection;
                }
            });
        }
        while readers.join_next().await.is_some() {}
    }

    /// Reads one key; what is there.
    pub async fn look_for(
        &self,
        key: String,
        mut kept: Option<OpenConnection>,
        address: &ServerAddress,
    ) -> (ReadBack, Option<OpenConnection>) {
        // Nobody needs to know when.
        let book = Recorder::new();
        let mut seen = ReadBack { key, status: None, outcome: ReadOutcome::Unknown };
        for _ in 0..TRIES {
            let connection = match kept.take() {
                Some(connection) => Some(connection),
                None => open(address).await,
            };
            let Some(connection) = connection else { continue };
            let sent = self.read(&seen.key, connection, &book).await;
            kept = sent.kept;
            let status = sent.request.status.filter(|_| sent.request.end == RequestEnd::Complete);
            let Some(status) = status else { continue };
            seen.status = Some(status);
            let (value, absent) = (value_of(&seen.key), self.templates.absent);
            seen.outcome = read_outcome(status, &sent.body, &value, absent);
            if seen.outcome != ReadOutcome::Unknown {
                break;
            }
        }
        (seen, kept)
    }
}
