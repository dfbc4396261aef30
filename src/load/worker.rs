//! The clients of a load: one worker loop, whose shape is data.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::model::event::ConnectionEnd;
use crate::model::plan::{Arrivals, LoadShape};

use super::clients::{Clients, Opened, Stage, end_of};
use super::exchange::OpenConnection;
use super::script::{Script, scripts};

/// Where handlers are so fast that a paced load would have nothing in flight: the time before
/// the signal in which clients ask without a pause.
const BURST: Duration = Duration::from_millis(20);

impl Clients {
    /// Begins the load of a trial whose signal is planned `signal_after` from now.
    pub fn start(
        self: &Rc<Self>,
        tasks: &mut JoinSet<()>,
        seed: u64,
        shape: &LoadShape,
        signal_after: Duration,
    ) {
        let begun = Instant::now();
        let weights: Vec<u32> = self.requests.iter().map(|request| request.weight).collect();
        for script in scripts(seed, shape, &weights, signal_after) {
            let worker = Worker { clients: self.clone(), script, begun, signal_after };
            match shape.arrivals {
                Arrivals::Closed { .. } => tasks.spawn_local(worker.closed_loop()),
                Arrivals::Open { per_second } => {
                    // One worker paces; the others only lend their scripts to a closed loop.
                    tasks.spawn_local(worker.open_loop(per_second));
                    break;
                }
            };
        }
    }
}

/// One client.
struct Worker {
    clients: Rc<Clients>,
    script: Script,
    begun: Instant,
    signal_after: Duration,
}

impl Worker {
    /// Asks, waits for the answer, pauses, and asks again; after the signal once more at most, and
    /// only on a connection that was kept.
    async fn closed_loop(mut self) {
        let clients = self.clients.clone();
        sleep_until(self.begun + self.script.start).await;
        let mut kept: Option<(OpenConnection, Opened)> = None;
        loop {
            let is_last = clients.stage() != Stage::Load;
            let open = match kept.take() {
                Some(open) if is_last && !self.reuses_late() => {
                    kept = Some(open);
                    break;
                }
                Some(open) => Some(open),
                // New connections after the signal are the prober's concern.
                None if is_last => break,
                None => clients.connect().await,
            };
            let Some((connection, opened)) = open else { break };
            let template = if is_last { clients.quickest() } else { self.script.next_template() };
            let after = clients.exchange(connection, opened, template).await;
            kept = match after {
                Some((connection, opened)) if is_last || !self.script.keeps_alive => {
                    clients.close(connection, opened, ConnectionEnd::ClosedByClient);
                    None
                }
                open => open,
            };
            if is_last || clients.stage() == Stage::Over {
                break;
            }
            if clients.stage() == Stage::Load {
                kept = self.pause(kept).await;
            }
        }
        if let Some((connection, opened)) = kept {
            clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
    }

    /// Whether this client uses its kept connection once more after the signal.
    ///
    /// Where even the quickest request is long, one client is enough: each of them would make the
    /// target drain for as long again.
    fn reuses_late(&self) -> bool {
        let quickest = self.clients.requests[self.clients.quickest()].usual;
        self.script.client == 0 || quickest < Duration::from_millis(100)
    }

    /// Waits until the next request is due, and closes the connection meanwhile if the server
    /// does.
    async fn pause(
        &self,
        kept: Option<(OpenConnection, Opened)>,
    ) -> Option<(OpenConnection, Opened)> {
        let pause = self.pause_length();
        let Some((connection, opened)) = kept else {
            // The signal ends it: without a connection there is nothing left to ask.
            tokio::select! {
                () = sleep(pause) => {}
                () = self.clients.until(Stage::Signalled) => {}
            }
            return None;
        };
        if pause.is_zero() {
            return Some((connection, opened));
        }
        let ended = tokio::select! {
            () = sleep(pause) => None,
            () = self.clients.until(Stage::Signalled) => None,
            end = end_of(&connection.stream) => Some(end),
        };
        let Some(end) = ended else { return Some((connection, opened)) };
        self.clients.close(connection, opened, end);
        None
    }

    /// Fast handlers leave nothing in flight at a random instant, so that the pause gives way
    /// just before the signal.
    fn pause_length(&self) -> Duration {
        let pause = self.script.pause.unwrap_or_default();
        if pause.is_zero() {
            return pause;
        }
        let elapsed = self.begun.elapsed();
        let is_burst = elapsed + BURST > self.signal_after && elapsed < self.signal_after;
        let slowest = self.clients.requests.iter().map(|request| request.usual).max();
        let is_fast = slowest.is_some_and(|usual| usual < Duration::from_millis(50));
        if is_burst && is_fast { Duration::ZERO } else { pause }
    }

    /// Asks by the clock, whether or not earlier requests are answered.
    async fn open_loop(mut self, per_second: f64) {
        let every = Duration::from_secs_f64(1.0 / per_second);
        let clients = self.clients.clone();
        let mut asked = JoinSet::new();
        let mut due = self.begun;
        while clients.stage() == Stage::Load {
            tokio::select! {
                () = sleep_until(due) => {}
                () = clients.until(Stage::Signalled) => break,
            }
            clients.was_due(due);
            // A late wake-up is made up for: the rate holds on the average.
            due += every;
            let template = self.script.next_template();
            let keeps_alive = self.script.next_keeps_alive();
            asked.spawn_local(one_arrival(clients.clone(), template, keeps_alive));
            while asked.try_join_next().is_some() {}
        }
        // Closed now, not when the last answer has come: idle clients must not hold the exit.
        let idle = std::mem::take(&mut *clients.idle.borrow_mut());
        for (connection, opened) in idle {
            clients.close(connection, opened, ConnectionEnd::ClosedByClient);
        }
        asked.join_all().await;
    }
}

/// One request of an open loop: on an idle connection, where there is one.
async fn one_arrival(clients: Rc<Clients>, template: usize, keeps_alive: bool) {
    let idle = clients.idle.borrow_mut().pop();
    let open = match idle {
        Some(open) => Some(open),
        None => clients.connect().await,
    };
    let Some((connection, opened)) = open else { return };
    let Some((connection, opened)) = clients.exchange(connection, opened, template).await else {
        return;
    };
    if keeps_alive && clients.stage() == Stage::Load {
        clients.idle.borrow_mut().push((connection, opened));
    } else {
        clients.close(connection, opened, ConnectionEnd::ClosedByClient);
    }
}
