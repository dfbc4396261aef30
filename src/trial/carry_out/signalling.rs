//! The signals, from their order to the news that the first was sent.

use std::time::Duration;

use crate::model::plan::{Moment, PlannedSignal, SignalTo};
use crate::model::time::Nanos;
use crate::target::launch::{Followed, Launched};
use crate::target::tree::process_id;
use crate::trial::error::{TrialError, harness};
use crate::trial::interrupt::Interrupt;
use crate::trial::recipient::Recipient;
use crate::trial::signaller::{
    Later, News, Order, Told, found_its_process, notice, send_from_thread,
};

use super::Course;

/// A signal that was ordered.
pub(super) struct Ordered {
    told: Told,
    /// It is not sent before this instant.
    at: Nanos,
}

impl Course<'_> {
    /// Orders the signals, the first of them for an instant; as soon as possible where none is
    /// given.
    pub(super) fn order(
        &mut self,
        planned: &PlannedSignal,
        at: Option<Nanos>,
    ) -> Result<Ordered, TrialError> {
        let to = recipient(planned.to, &self.started.launched, &self.followed)
            .map_err(harness("take hold of the process to signal"))?;
        let stands_still =
            self.let_go.is_some() || matches!(planned.moment, Moment::AtSyscall { .. });
        let standing_still =
            if stands_still { to.standing_still(planned.signal) } else { Vec::new() };
        let parts = u16::try_from(self.parts.len()).unwrap_or(u16::MAX);
        let connections = self.trial.load.connections.max(parts);
        let soon = || self.recorder.now() + notice(connections) + Duration::from_micros(200);
        let at = at.unwrap_or_else(soon);
        let later = self.trial.signals.iter().skip(1);
        let order = Order {
            signal: planned.signal,
            at,
            to,
            standing_still,
            later: later
                .map(|it| Later { signal: it.signal, gap: it.moment.gap().unwrap_or_default() })
                .collect(),
            followed: process_id(self.followed.pid),
            let_go: self.let_go.clone(),
            server: self.found.tcp(),
            open: self.clients.open_connections(),
            connections,
            life: self.near.as_ref().and_then(|near| near.life.clone()),
            sending: self.clients.signalling(),
            over: self.over.clone(),
        };
        let told = send_from_thread(order, self.recorder.clone())
            .map_err(harness("start the thread that sends the signal"))?;
        Ok(Ordered { told, at })
    }

    /// Waits until the signal is sent, to a process that has lived until then.
    pub(super) async fn wait_for_signal(
        &mut self,
        mut ordered: Ordered,
        interrupt: &Interrupt,
    ) -> Result<(), TrialError> {
        let followed = self.followed.clone();
        tokio::select! {
            biased;
            () = interrupt.wait() => return Err(TrialError::Interrupted),
            sent = &mut ordered.told => return self.was_sent(sent).await,
            _ = followed.ended() => {}
        }
        // Signals can be sent to a process that has ended, as long as its parent has not asked
        // how; so the time tells which came first.
        if self.recorder.now() < ordered.at {
            return Err(self.ended_early().await);
        }
        let sent = ordered.told.await;
        self.was_sent(sent).await
    }

    async fn was_sent(&mut self, sent: News) -> Result<(), TrialError> {
        match found_its_process(sent)? {
            true => Ok(()),
            false => Err(self.ended_early().await),
        }
    }
}

/// Who gets the signal: the followed process, or the whole group.
fn recipient(to: SignalTo, launched: &Launched, followed: &Followed) -> std::io::Result<Recipient> {
    Ok(match to {
        SignalTo::Group => Recipient::Group { group: launched.leader().pid },
        _ => Recipient::Process { pid: followed.pid, handle: followed.handle()? },
    })
}
