//! The lanes that belong to no connection: later signals, the listener, readiness, writes, the second
//! start, what the target wrote and what it left.

use crate::model::event::{EventKind, ProbeOutcome, Readiness};
use crate::model::write::{ReadOutcome, WriteOutcome};

use super::super::super::numbers::signed_time;
use super::super::super::text::clean;
use super::{Sketch, as_line};

/// What happened before the signal is left out of these lanes, if it was earlier than this.
const EARLIEST_MS: f64 = -1000.0;

/// A mark: the class that colours it, the sign, and what it stands for.
type Sign = (&'static str, &'static str, String);

impl Sketch<'_> {
    /// The signals after the first, each with the time since the one before it.
    pub(super) fn later_signals(&mut self) {
        for pair in self.history.signals().windows(2) {
            let [earlier, later] = pair else { continue };
            let at = self.ms(later.bracket.after);
            let gap = signed_time(at - self.ms(earlier.bracket.after));
            let what =
                format!("{} to process {}, {gap} after the one before", later.signal, later.pid);
            let raw = self.raw(later.event);
            self.lane("signals".into(), false).marks.push((at, "signal", "▾", what, raw));
        }
    }

    /// When connections were accepted or refused, and when the listener and its queue were gone.
    pub(super) fn listener(&mut self) {
        for event in self.history.events() {
            let at = self.ms(event.at);
            let (at, shade, glyph, what) = match &event.kind {
                EventKind::Probe(probe) => {
                    let (shade, glyph, what) = match probe.outcome {
                        ProbeOutcome::Established => ("done", "●", "a connection was taken"),
                        ProbeOutcome::Refused => ("end", "✗", "a connection was refused"),
                        ProbeOutcome::TimedOut => ("lost", "✗", "no answer to connect"),
                        ProbeOutcome::Failed => ("end", "✗", "not tried"),
                    };
                    (self.ms(probe.ended), shade, glyph, what)
                }
                EventKind::ListenerClosed => (at, "end", "┤", "the listener was gone"),
                EventKind::QueueEmptied => (at, "end", "┤", "the accept queue was empty"),
                _ => continue,
            };
            let raw = as_line(event);
            self.lane("listener".into(), false).marks.push((at, shade, glyph, what.into(), raw));
        }
    }

    /// Readiness, writes, the second start, what the target wrote, what was left.
    pub(super) fn rest(&mut self) {
        for event in self.history.events() {
            let mut at = self.ms(event.at);
            if at < EARLIEST_MS {
                continue;
            }
            let point = |text: &str| ("end", "●", text.to_owned());
            let (label, (shade, glyph, what)) = match &event.kind {
                EventKind::ReadinessProbe(probe) => {
                    at = self.ms(probe.ended);
                    ("readiness", readiness(probe.outcome))
                }
                EventKind::Write(write) => {
                    at = self.ms(write.ended);
                    ("writes", written(&write.key, write.outcome))
                }
                EventKind::ReadBack(read) => ("read back", read_back(&read.key, read.outcome)),
                EventKind::StartedAgain { .. } => ("restart", point("started again")),
                EventKind::Restarted { .. } => ("restart", ("done", "●", "ready again".to_owned())),
                EventKind::NotRestarted { reason, .. } => ("restart", lost(clean(reason))),
                EventKind::ClientsReleased => ("clients", point("idle and stalled ones closed")),
                EventKind::OutputLine { line, .. } => ("output", point(&clean(line))),
                EventKind::ProcessLeft { pid, command } => {
                    ("left behind", lost(format!("process {pid} ({})", clean(command))))
                }
                EventKind::PortLeft { address } => {
                    ("left behind", lost(format!("{address} takes connections")))
                }
                EventKind::FileLeft { path, .. } => {
                    ("left behind", lost(clean(&path.display().to_string())))
                }
                EventKind::Held { .. } => ("target", point("held still")),
                EventKind::Traced(it) => ("thread", point(&it.text())),
                EventKind::Thawed => ("target", point("let go on")),
                _ => continue,
            };
            let raw = as_line(event);
            self.lane(label.into(), false).marks.push((at, shade, glyph, what, raw));
        }
    }
}

fn lost(what: String) -> Sign {
    ("lost", "✗", what)
}

fn readiness(outcome: Readiness) -> Sign {
    match outcome {
        Readiness::Ready(status) => ("done", "●", format!("ready ({status})")),
        Readiness::NotReady(status) => ("end", "✗", format!("not ready ({status})")),
        Readiness::Refused => ("end", "✗", "refused".into()),
        Readiness::NoAnswer => ("lost", "✗", "no answer".into()),
    }
}

fn written(key: &str, outcome: WriteOutcome) -> Sign {
    let key = clean(key);
    match outcome {
        WriteOutcome::Acknowledged(status) => {
            ("done", "●", format!("{key}: acknowledged ({status})"))
        }
        WriteOutcome::Refused(status) => ("end", "✗", format!("{key}: refused ({status})")),
        WriteOutcome::Indeterminate(_) => ("end", "✗", format!("{key}: no answer")),
    }
}

fn read_back(key: &str, outcome: ReadOutcome) -> Sign {
    let key = clean(key);
    match outcome {
        ReadOutcome::Present => ("done", "●", format!("{key} is there")),
        ReadOutcome::Absent => lost(format!("{key} is absent")),
        ReadOutcome::Damaged => lost(format!("{key} is damaged")),
        ReadOutcome::Unknown => ("end", "✗", format!("{key}: no answer")),
    }
}
