//! After the exit: is the target ready again at once, and is what it had acknowledged still there?

use std::time::Duration;

use tokio::time::Instant;

use crate::load::writer::WRITERS;
use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, ExitStatus};
use crate::model::plan::LoadShape;
use crate::model::signal::Signal;
use crate::observe::recorder::Recorder;
use crate::target::port::is_in_use;
use crate::trial::error::TrialError;
use crate::trial::interrupt::Interrupt;

use super::Course;

impl Course<'_> {
    /// Begins to write, where writes are declared, beside the load or instead of it.
    pub(super) fn begin_writes(&mut self, shape: &mut LoadShape, signal_after: Duration) {
        let Some(writes) = &self.writes else { return };
        // A target that works on few requests at the same time has no more to do than without.
        let writers = match self.subject.parallelism {
            Some(_) => {
                shape.connections -= u16::from(shape.connections > 1);
                1
            }
            None => WRITERS,
        };
        let how = (writers, shape.connections == 0, signal_after);
        self.clients.start_writers(&mut self.workers, writes, how);
    }

    /// Starts the target again, where that is planned and the first start has ended by itself and
    /// left nothing: the same command on the same port and state.
    pub(super) async fn start_again(&mut self, interrupt: &Interrupt) -> Result<(), TrialError> {
        // A process that was found running is somebody's: how it was started is not known.
        let is_own = self.started.launched.is_own();
        if !is_own || !self.trial.restart || !self.recorder.read(has_gone_by_itself) {
            return Ok(());
        }
        let recorder = self.recorder;
        let mut again = match self.started.again(self.subject, &self.found) {
            Ok(again) => again,
            Err(error) => {
                recorder.record(EventKind::RestartMissed { what: error.to_string() });
                return Ok(());
            }
        };
        let (pid, port) = (again.launched.leader().pid, again.place().0);
        recorder.record(EventKind::StartedAgain { pid, port });
        let begun = Instant::now();
        match again.ready(self.subject, interrupt, &Recorder::new()).await {
            Ok(found) => {
                recorder.record(EventKind::Restarted { after: begun.elapsed() });
                if let (Some(writes), Some(address)) = (&self.writes, &found.address) {
                    tokio::select! {
                        () = writes.read_back(address, recorder) => {}
                        () = interrupt.wait() => return Err(TrialError::Interrupted),
                    }
                }
            }
            Err(TrialError::Interrupted) => return Err(TrialError::Interrupted),
            Err(error) => _ = recorder.record(self.not_restarted(&error)),
        }
        let signal = self.trial.signals.first().map_or(Signal::TERM, |planned| planned.signal);
        tokio::select! {
            _ = again.end(signal) => Ok(()),
            () = interrupt.wait() => Err(TrialError::Interrupted),
        }
    }

    /// Whose fault it is that it was not ready again, as far as can be seen.
    fn not_restarted(&self, error: &TrialError) -> EventKind {
        let port = self.found.address.as_ref().and_then(ServerAddress::tcp).map(|it| it.port());
        // Connections that wait for their end (TIME_WAIT) are the target's own; any other socket on
        // the port is somebody else's.
        let is_free = port.is_none_or(|port| matches!(is_in_use(port), Ok(false)));
        let (reason, last) = match error {
            TrialError::NotReady { reason, last, .. } => (reason.to_string(), last),
            TrialError::Ended { last, .. } if is_free => (ended(last.exit), last),
            other => return EventKind::RestartMissed { what: other.to_string() },
        };
        EventKind::NotRestarted { reason, lines: last.lines.clone() }
    }
}

/// Whether the followed process has exited, and nothing of the target was left or killed.
fn has_gone_by_itself(events: &[crate::model::event::Event]) -> bool {
    let has_exited = events.iter().any(|event| matches!(event.kind, EventKind::Exited { .. }));
    let is_left = events.iter().any(|event| {
        matches!(
            event.kind,
            EventKind::ProcessLeft { .. }
                | EventKind::FileLeft { .. }
                | EventKind::PortLeft { .. }
                | EventKind::Killed { .. }
        )
    });
    has_exited && !is_left
}

fn ended(exit: Option<ExitStatus>) -> String {
    let how = match exit {
        Some(ExitStatus { code: Some(code), .. }) => format!("exited with status {code}"),
        Some(ExitStatus { signal: Some(signal), .. }) => format!("was ended by {signal}"),
        _ => "ended".into(),
    };
    format!("it {how} before it was ready")
}
