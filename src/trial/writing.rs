//! The rehearsal of declared writes: one is written and read back before anything is tried.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::load::writes::Writes;
use crate::model::address::ServerAddress;
use crate::model::event::RequestEnd;
use crate::model::target::WriteTemplates;
use crate::model::write::{ReadBack, ReadOutcome, WriteOutcome};
use crate::observe::recorder::Recorder;

/// What was written may be seen only after this time.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// What is written can't be read back, with nothing wrong yet.
#[derive(Debug, thiserror::Error)]
pub enum UnusableWrites {
    /// The write is not acknowledged.
    #[error(
        "{name} {how}, before any signal\n  a write must be acknowledged by a status from 200 to 299, or by the one in expect"
    )]
    NotAcknowledged {
        /// The request.
        name: String,
        /// What came instead.
        how: String,
    },
    /// The value does not come back.
    #[error(
        "{write} was answered with {status}, and then {read} {how}, before any signal\n  the answer must have {{value}} in its body"
    )]
    NotReadBack {
        /// The request that wrote.
        write: String,
        /// Its answer.
        status: u16,
        /// The request that read.
        read: String,
        /// What came instead.
        how: String,
    },
}

/// Writes one key and reads it back; learns what the answer is where there is nothing.
pub(super) async fn try_to_write(
    templates: &mut WriteTemplates,
    address: &ServerAddress,
) -> Result<(), UnusableWrites> {
    let writes = Writes::new(templates.clone(), address.clone());
    let (nothing, _) = writes.look_for(writes.next_key(), None, address).await;
    templates.absent = nothing.status;
    let (write, read) = (templates.write.name(), templates.read.name());
    let (key, recorder) = (writes.next_key(), Recorder::new());
    let not_acknowledged = |how| UnusableWrites::NotAcknowledged { name: write.clone(), how };
    let Some(connection) = writes.connect().await else {
        return Err(not_acknowledged("was not sent: no connection".into()));
    };
    let status = match writes.write(key.clone(), connection, &recorder).await.0.outcome {
        WriteOutcome::Acknowledged(status) => status,
        WriteOutcome::Refused(status) => {
            return Err(not_acknowledged(format!("was answered with {status}")));
        }
        WriteOutcome::Indeterminate(end) => return Err(not_acknowledged(no_answer(end).into())),
    };
    let end = Instant::now() + SEEN_WITHIN;
    loop {
        let (seen, _) = writes.look_for(key.clone(), None, address).await;
        if seen.outcome == ReadOutcome::Present {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(UnusableWrites::NotReadBack { write, status, read, how: shown(&seen) });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn no_answer(end: RequestEnd) -> &'static str {
    match end {
        RequestEnd::Closed => "was not answered: the connection was closed",
        RequestEnd::Reset => "was not answered: the connection was reset",
        RequestEnd::NotHttp => "was answered with something that is not HTTP/1.1",
        RequestEnd::TimedOut | RequestEnd::Abandoned | RequestEnd::Complete => {
            "was not answered in time"
        }
    }
}

fn shown(seen: &ReadBack) -> String {
    match seen.status {
        None => "was not answered".into(),
        Some(status @ 200..300) => format!("with {status}, without what was written"),
        Some(status) => format!("with {status}"),
    }
}
