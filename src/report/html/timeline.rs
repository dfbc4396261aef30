//! One trial as lanes over time, to scale, with the signal at 0.

use std::collections::BTreeSet;

use crate::model::event::{
    Connection, ConnectionEnd, ConnectionId, Event, EventKind, ProbeOutcome, Request, RequestEnd,
};
use crate::model::history::{History, SignalSent};
use crate::model::phase::Phase;
use crate::model::time::Nanos;

use super::super::numbers::signed_time;
use super::super::text::clean;
use super::figure::{Scale, Tick, units};

mod verticals;

use verticals::{Line, lines};

/// The height of a lane, and of the space above the lanes, in units of the drawing.
const LANE: f64 = 22.0;
const TOP: f64 = 34.0;
/// More connections than these are left to the history.
const CONNECTIONS_MAX: usize = 28;
/// Job lanes at most.
const JOBS_MAX: usize = 8;
/// So much of the time after the signal is shown before it, and at least so many milliseconds.
const BEFORE: f64 = 0.15;
const BEFORE_MIN_MS: f64 = 2.0;

/// One trial to scale.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) from_ms: String,
    pub(super) to_ms: String,
    pub(super) height: String,
    pub(super) bottom: String,
    pub(super) ticks: Vec<Tick>,
    pub(super) lanes: Vec<Lane>,
    pub(super) lines: Vec<Line>,
    /// Connections that are not shown.
    pub(super) hidden: usize,
    pub(super) about: String,
}

/// What happened to one connection, one job, or one side of the target.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) label: String,
    /// Whether the violation is about it.
    pub(super) is_evidence: bool,
    pub(super) y: String,
    pub(super) spans: Vec<Span>,
    pub(super) marks: Vec<Mark>,
}

/// Something that lasted.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: String,
    pub(super) from_ms: String,
    pub(super) to_ms: String,
    pub(super) shade: &'static str,
    pub(super) what: String,
    pub(super) raw: String,
}

/// Something that happened.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) at_ms: String,
    pub(super) shade: &'static str,
    pub(super) glyph: &'static str,
    pub(super) what: String,
    pub(super) raw: String,
}

/// The trial as a picture; `None` where no signal was sent. `evidence` are the events that the
/// violation rests on.
pub(super) fn timeline(history: &History, evidence: &[Event]) -> Option<Timeline> {
    let signal = history.signal()?;
    let mut sketch = Sketch::new(history, signal, evidence);
    let hidden = sketch.connections();
    sketch.later_signals();
    sketch.jobs();
    sketch.listener();
    sketch.rest();
    Some(sketch.finish(hidden))
}

/// What is drawn, in milliseconds from the signal, before the scale is known.
struct Sketch<'h> {
    history: &'h History,
    signal: SignalSent,
    concerned: BTreeSet<ConnectionId>,
    lanes: Vec<Draft>,
}

struct Draft {
    label: String,
    is_evidence: bool,
    spans: Vec<(f64, f64, &'static str, String, String)>,
    marks: Vec<(f64, &'static str, &'static str, String, String)>,
}

impl<'h> Sketch<'h> {
    fn new(history: &'h History, signal: SignalSent, evidence: &[Event]) -> Self {
        let concerned = evidence.iter().filter_map(|event| match &event.kind {
            EventKind::Connection(connection) => Some(connection.connection),
            EventKind::Request(request) => Some(request.connection),
            _ => None,
        });
        Self { history, signal, concerned: concerned.collect(), lanes: Vec::new() }
    }

    fn ms(&self, at: Nanos) -> f64 {
        at.as_ms() - self.signal.bracket.after.as_ms()
    }

    fn lane(&mut self, label: String, is_evidence: bool) -> &mut Draft {
        let at = self.lanes.iter().position(|lane| lane.label == label).unwrap_or(self.lanes.len());
        if at == self.lanes.len() {
            let (spans, marks) = Default::default();
            self.lanes.push(Draft { label, is_evidence, spans, marks });
        }
        &mut self.lanes[at]
    }

    /// A lane a connection: first those that the violation is about, then those that were open at
    /// the signal, then later ones. How many there was no room for.
    fn connections(&mut self) -> usize {
        let history = self.history;
        let signalled = self.signal.bracket.before;
        let mut all: Vec<&Connection> =
            history.connections().map(|(_, connection)| connection).collect();
        // Attempts that were refused say in the listener's lane all that they have to say.
        all.retain(|connection| {
            connection.ended >= signalled && connection.end != ConnectionEnd::Refused
                || self.concerned.contains(&connection.connection)
        });
        all.sort_by_key(|connection| {
            let is_concerned = self.concerned.contains(&connection.connection);
            (!is_concerned, connection.started > signalled, connection.started)
        });
        let hidden = all.len().saturating_sub(CONNECTIONS_MAX);
        all.truncate(CONNECTIONS_MAX);
        for connection in all {
            self.connection(connection);
            for (_, request) in history.requests() {
                if request.connection == connection.connection {
                    self.request(request);
                }
            }
        }
        hidden
    }

    fn connection(&mut self, connection: &Connection) {
        let raw = raw(EventKind::Connection(*connection));
        let (start, end) = (self.ms(connection.started), self.ms(connection.ended));
        let established = connection.established.map(|at| self.ms(at));
        let is_concerned = self.concerned.contains(&connection.connection);
        let lane = self.lane(format!("connection {}", connection.connection), is_concerned);
        let connected = established.unwrap_or(end);
        lane.spans.push((start, connected, "connecting", "connecting".into(), raw.clone()));
        if let Some(established) = established {
            lane.spans.push((established, end, "idle", "connected".into(), raw.clone()));
        }
        let (glyph, shade, what) = match connection.end {
            ConnectionEnd::Refused => ("✗", "end", "refused"),
            ConnectionEnd::ConnectTimedOut => ("✗", "lost", "no answer to connect"),
            ConnectionEnd::ConnectFailed => ("✗", "end", "not tried"),
            ConnectionEnd::ClosedByServer => ("┤", "end", "closed by the server (FIN)"),
            ConnectionEnd::ResetByServer => ("✗", "lost", "reset by the server (RST)"),
            ConnectionEnd::ClosedByClient => ("┤", "end", "closed by the client"),
        };
        lane.marks.push((end, shade, glyph, what.into(), raw));
    }

    fn request(&mut self, request: &Request) {
        let raw = raw(EventKind::Request(request.clone()));
        let phase = self.history.phase(request, self.signal.bracket);
        let name = &self.history.contract().requests[usize::from(request.template)].name;
        let name = clean(name);
        let ended = self.ms(request.ended);
        let sent = request.sent.map_or(ended, |at| self.ms(at));
        let first_byte = request.first_byte.map_or(ended, |at| self.ms(at));
        let start = self.ms(request.started);
        let label = format!("connection {}", request.connection);
        let is_concerned = self.concerned.contains(&request.connection);
        let lane = self.lane(label, is_concerned);
        let mut span = |from: f64, to: f64, shade: &'static str, what: &str| {
            if to > from {
                lane.spans.push((from, to, shade, format!("{name}: {what}"), raw.clone()));
            }
        };
        span(start, sent.min(first_byte), "sending", "being sent");
        match phase {
            // The kernel showed that nobody had read it when the signal came.
            Phase::Queued if sent < 0.0 => span(sent, first_byte, "queued", "in the accept queue"),
            Phase::Delivered if sent < 0.0 => {
                span(sent, first_byte, "unread", "delivered, and unread at the signal");
            }
            _ => span(sent, first_byte, "processing", "waiting for the response"),
        }
        span(first_byte, ended, "responding", "response being received");
        let outcome = self.history.outcome(request).name();
        let (glyph, shade) = match request.end {
            RequestEnd::Complete => ("●", "done"),
            _ => ("✗", "lost"),
        };
        let status = request.status.map_or(String::new(), |status| format!(" ({status})"));
        let what = format!("{name}: {outcome}{status}; {phase} at the signal");
        self.lane(format!("connection {}", request.connection), is_concerned)
            .marks
            .push((ended, shade, glyph, what, raw));
    }

    fn jobs(&mut self) {
        let (history, signalled) = (self.history, self.signal.bracket.before);
        let end = history.exit().map(|exit| self.ms(exit.at));
        let at_signal = |at: Option<Nanos>| at.is_none_or(|at| at >= signalled);
        let jobs = history.jobs().iter().filter(|job| at_signal(job.finished));
        for job in jobs.take(JOBS_MAX) {
            let line = history.events().get(job.started_event as usize).map(as_line);
            let (start, finish) = (self.ms(job.started), job.finished.map(|at| self.ms(at)));
            let until = finish.or(end).unwrap_or(start);
            let lane = self.lane(format!("job {}", clean(&job.id)), finish.is_none());
            let raw = line.unwrap_or_default();
            lane.spans.push((start, until, "job", "the job runs".into(), raw.clone()));
            let (shade, glyph, what) = match finish {
                Some(_) => ("done", "●", "finished"),
                None => ("lost", "✗", "never finished"),
            };
            lane.marks.push((until, shade, glyph, what.into(), raw));
        }
    }

    /// The signals after the first, each with the time since the one before it.
    fn later_signals(&mut self) {
        for pair in self.history.signals().windows(2) {
            let [earlier, later] = pair else { continue };
            let at = self.ms(later.bracket.after);
            let gap = signed_time(at - self.ms(earlier.bracket.after));
            let what =
                format!("{} to process {}, {gap} after the one before", later.signal, later.pid);
            let event = self.history.events().get(later.event as usize);
            let raw = event.map(as_line).unwrap_or_default();
            self.lane("signals".into(), false).marks.push((at, "signal", "▾", what, raw));
        }
    }

    /// When connections were accepted or refused, and when the listener and its queue were gone.
    fn listener(&mut self) {
        for event in self.history.events() {
            let raw = as_line(event);
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
            self.lane("listener".into(), false).marks.push((at, shade, glyph, what.into(), raw));
        }
    }

    /// Readiness, what the target wrote, what was left.
    fn rest(&mut self) {
        let left = |what| ("left behind", "lost", "✗", what);
        for event in self.history.events() {
            let at = self.ms(event.at);
            if at < -1000.0 {
                continue;
            }
            let (label, shade, glyph, what) = match &event.kind {
                EventKind::ReadinessProbe(probe) => {
                    ("readiness", "done", "●", format!("{:?}", probe.outcome))
                }
                EventKind::OutputLine { line, .. } => ("output", "end", "●", clean(line)),
                EventKind::ProcessLeft { pid, command } => {
                    left(format!("process {pid} ({})", clean(command)))
                }
                EventKind::PortLeft { address } => left(format!("{address} takes connections")),
                EventKind::FileLeft { path, .. } => left(clean(&path.display().to_string())),
                EventKind::Held { .. } => ("target", "end", "●", "held still".into()),
                EventKind::Traced(it) => ("thread", "end", "●", it.text()),
                EventKind::Thawed => ("target", "end", "●", "let go on".into()),
                _ => continue,
            };
            let raw = as_line(event);
            self.lane(label.into(), false).marks.push((at, shade, glyph, what, raw));
        }
    }

    fn finish(self, hidden: usize) -> Timeline {
        let verticals = self.verticals();
        let ends = self.lanes.iter().flat_map(|lane| {
            let spans = lane.spans.iter().map(|span| span.1);
            spans.chain(lane.marks.iter().map(|mark| mark.0))
        });
        let last = ends.chain(verticals.iter().map(|(at, ..)| *at)).fold(1.0, f64::max);
        let before = (last * BEFORE).max(BEFORE_MIN_MS);
        let scale = Scale::new(-before, last + last * 0.02);
        let bottom = TOP + self.lanes.len() as f64 * LANE;
        let number = self.history.header().trial.number;
        Timeline {
            from_ms: units(scale.from()),
            to_ms: units(scale.to()),
            height: units(bottom + 24.0),
            bottom: units(bottom),
            ticks: scale.ticks(),
            lines: lines(scale, verticals),
            about: format!(
                "Timeline of trial {number}, {} to {} from the signal, {} lanes",
                signed_time(scale.from()),
                signed_time(scale.to()),
                self.lanes.len(),
            ),
            lanes: self
                .lanes
                .into_iter()
                .enumerate()
                .map(|(at, draft)| draft.placed(scale, TOP + (at as f64 + 0.5) * LANE))
                .collect(),
            hidden,
        }
    }
}

impl Draft {
    fn placed(self, scale: Scale, y: f64) -> Lane {
        let is_seen = |from: f64, to: f64| to >= scale.from() && from <= scale.to();
        let spans = self.spans.into_iter().filter(|span| is_seen(span.0, span.1));
        let marks = self.marks.into_iter().filter(|mark| is_seen(mark.0, mark.0));
        Lane {
            label: self.label,
            is_evidence: self.is_evidence,
            y: units(y),
            spans: spans
                .map(|(from, to, shade, what, raw)| {
                    let (left, right) = (scale.x(from), scale.x(to));
                    let what = format!("{what}, {} to {}", signed_time(from), signed_time(to));
                    Span {
                        x: units(left),
                        width: units((right - left).max(0.8)),
                        y: units(y - if shade == "idle" { 1.5 } else { 5.0 }),
                        from_ms: format!("{from:.4}"),
                        to_ms: format!("{to:.4}"),
                        shade,
                        what,
                        raw,
                    }
                })
                .collect(),
            marks: marks
                .map(|(at, shade, glyph, what, raw)| Mark {
                    x: units(scale.x(at)),
                    y: units(y + 4.0),
                    at_ms: format!("{at:.4}"),
                    shade,
                    glyph,
                    what: format!("{what}, {}", signed_time(at)),
                    raw,
                })
                .collect(),
        }
    }
}

/// The event as it stands in the history.
fn as_line(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

fn raw(kind: EventKind) -> String {
    serde_json::to_string(&kind).unwrap_or_default()
}
