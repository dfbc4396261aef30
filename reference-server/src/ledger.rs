//! The list of what is in process, so that what has to be abandoned can be named.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Names of what is in process; clones share one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    names: BTreeMap<u64, String>,
}

impl Ledger {
    /// Enters a name; it stays until the entry is dropped.
    pub(crate) fn enter(&self, name: String) -> Entry {
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        entries.names.insert(number, name);
        Entry { ledger: self.clone(), number }
    }

    /// What is in process now, oldest first.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries().names.values().cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something in process, until dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    ledger: Ledger,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ledger.entries().names.remove(&self.number);
    }
}

/// The deadline passed before everything in process was completed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Abandoned {
    /// How long was waited.
    pub timeout: Duration,
    /// What was not completed: requests by method and target, connections, jobs by id.
    pub names: Vec<String>,
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = humantime::format_duration(self.timeout);
        write!(f, "deadline of {timeout} exceeded, abandoned: {}", self.names.join(", "))
    }
}

impl std::error::Error for Abandoned {}
