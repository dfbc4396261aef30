//! Clients that write, before the signal and through it.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::model::event::EventKind;

use super::clients::{Clients, Stage};
use super::exchange::OpenConnection;
use super::writes::Writes;

/// Clients that write at the same time.
pub const WRITERS: u16 = 4;
/// Writes of a trial: each of them is read back.
const WRITES_MAX: u32 = 2000;
/// Between two writes of a client.
const PAUSE: Duration = Duration::from_millis(2);
/// Where nobody else asks for anything, there is no pause for so long before the signal, so that
/// writes are in process when it comes. Others would be slowed down by it.
const BURST: Duration = Duration::from_millis(20);
/// So long after the signal writes go on, on connections that the server keeps; longer would hold
/// up a server that finishes what it is asked.
const GO_ON: Duration = Duration::from_millis(100);

impl Clients {
    /// Begins to write, with so many clients, alone or beside others, in a trial whose signal is planned
    /// `signal_after` from now.
    pub fn start_writers(
        self: &Rc<Self>,
        tasks: &mut JoinSet<()>,
        writes: &Rc<Writes>,
        (writers, alone, signal_after): (u16, bool, Duration),
    ) {
        let signal = Instant::now() + signal_after;
        let burst = if alone { BURST } else { Duration::ZERO };
        for _ in 0..writers {
            let (clients, writes) = (self.clone(), writes.clone());
            tasks.spawn_local(async move {
                tokio::select! {
                    () = write_on(&clients, &writes, (signal, burst)) => {}
                    () = clients.until(Stage::Over) => {}
                }
            });
        }
    }
}

/// Writes key after key until the signal, and a little beyond it.
async fn write_on(clients: &Clients, writes: &Writes, (signal, burst): (Instant, Duration)) {
    let mut kept: Option<OpenConnection> = None;
    while writes.given() < WRITES_MAX {
        let is_late = clients.stage() > Stage::Load;
        // A server that ends is asked on no new connection.
        if is_late && (kept.is_none() || signal.elapsed() > GO_ON) {
            break;
        }
        let connection = match kept.take() {
            Some(connection) => Some(connection),
            None => writes.connect().await,
        };
        if let Some(connection) = connection {
            let writing = writes.write(writes.next_key(), connection, &clients.recorder);
            let (write, connection) = writing.await;
            clients.recorder.record(EventKind::Write(write));
            kept = connection;
        }
        let until_signal = signal.saturating_duration_since(Instant::now());
        if kept.is_none() || until_signal.is_zero() || until_signal > burst {
            sleep(PAUSE).await;
        }
    }
}
