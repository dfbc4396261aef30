//! The signals of a history that were really sent, and when the target could act on them.

use super::event::{Event, EventKind};
use super::history::SignalSent;
use super::phase::Bracket;
use super::time::Nanos;

/// The signals that were really sent: one that was being sent may have found no process.
pub(super) fn signals_sent(events: &[Event]) -> Vec<SignalSent> {
    let (mut sending, mut sent) = (None, Vec::new());
    for (event, e) in (0..).zip(events) {
        match e.kind {
            EventKind::SignalSending { signal, pid, planned } => {
                sending = Some((event, signal, pid, planned, e.at));
            }
            EventKind::SignalSent { .. } => {
                let Some((event, signal, pid, planned, before)) = sending.take() else { continue };
                let (bracket, felt) = (Bracket { before, after: e.at }, felt(events, e.at));
                sent.push(SignalSent { signal, pid, planned, bracket, felt, event });
            }
            _ => {}
        }
    }
    sent
}

/// When a target that got a signal at `sent` could act on it: at once, or when it was let go on.
fn felt(events: &[Event], sent: Nanos) -> Nanos {
    let (mut held, mut felt) = (false, sent);
    for event in events {
        match event.kind {
            EventKind::Held { .. } if event.at <= sent => held = true,
            EventKind::Thawed if event.at <= sent => held = false,
            EventKind::Thawed if held => {
                felt = event.at;
                break;
            }
            _ => {}
        }
    }
    felt
}
