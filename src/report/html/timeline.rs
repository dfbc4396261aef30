//! One trial as lanes over time, to scale, with the signal at 0.

use std::collections::BTreeSet;

use crate::model::event::{
    Connection, ConnectionEnd, ConnectionId, Event, EventIndex, EventKind, Request,
};
use crate::model::history::{History, Outcome, SignalSent};
use crate::model::phase::Phase;
use crate::model::time::Nanos;

use super::super::numbers::signed_time;
use super::super::text::{clean, cut};
use super::figure::{Scale, Tick, units};

mod marks;
mod verticals;

use verticals::{Line, lines};

/// The height of a lane, and of the space above the lanes, in units of the drawing.
const LANE: f64 = 26.0;
const TOP: f64 = 36.0;
/// Half the height of what lasted, and of a connection on which nothing goes on.
const BAR: f64 = 7.0;
const IDLE_BAR: f64 = 1.5;
/// Marks of a lane at most: those that are nearest to the signal.
const MARKS_MAX: usize = 300;
/// So many characters of a lane's name have room beside it.
const LABEL_MAX: usize = 22;
/// What lasted bears its name where there is so much room: for each character, and beside it.
const CHARACTER: f64 = 6.2;
const BESIDE: f64 = 8.0;
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
    /// What is left to the history, in words.
    pub(super) hidden: Vec<String>,
    pub(super) about: String,
    /// What the colours of what lasted stand for: those that are there.
    pub(super) legend: Vec<(&'static str, &'static str)>,
}

/// What happened to one connection, one job, or one side of the target.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) label: String,
    /// Its name, as far as there is room for it.
    pub(super) short: String,
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
    pub(super) height: String,
    /// Whether its name has room in it.
    pub(super) has_room: bool,
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
    marks: Vec<MarkDraft>,
}

/// When, the class that colours it, the sign, what it stands for, and its line of the history.
type MarkDraft = (f64, &'static str, &'static str, String, String);

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

    /// A line of the history, as it stands there.
    fn raw(&self, index: EventIndex) -> String {
        self.history.events().get(index as usize).map(as_line).unwrap_or_default()
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
        let mut all: Vec<(EventIndex, &Connection)> = history.connections().collect();
        // Attempts that were refused say in the listener's lane all that they have to say.
        all.retain(|(_, connection)| {
            connection.ended >= signalled && connection.end != ConnectionEnd::Refused
                || self.concerned.contains(&connection.connection)
        });
        all.sort_by_key(|(_, connection)| {
            let is_concerned = self.concerned.contains(&connection.connection);
            (!is_concerned, connection.started > signalled, connection.started)
        });
        let hidden = all.len().saturating_sub(CONNECTIONS_MAX);
        all.truncate(CONNECTIONS_MAX);
        for (index, connection) in all {
            self.connection(connection, self.raw(index));
            for (index, request) in history.requests() {
                if request.connection == connection.connection {
                    self.request(request, self.raw(index));
                }
            }
        }
        hidden
    }

    fn connection(&mut self, connection: &Connection, raw: String) {
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
            ConnectionEnd::ConnectFailed => ("✗", "end", "not established"),
            ConnectionEnd::ClosedByServer => ("┤", "end", "closed by the server (FIN)"),
            ConnectionEnd::ResetByServer => ("✗", "lost", "reset by the server (RST)"),
            ConnectionEnd::ClosedByClient => ("┤", "end", "closed by the client"),
        };
        lane.marks.push((end, shade, glyph, what.into(), raw));
    }

    fn request(&mut self, request: &Request, raw: String) {
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
        let outcome = self.history.outcome(request);
        let (glyph, shade) = match outcome {
            Outcome::Completed => ("●", "done"),
            Outcome::Rejected | Outcome::Unverifiable => ("●", "end"),
            _ => ("✗", "lost"),
        };
        let status = request.status.map_or(String::new(), |status| format!(" ({status})"));
        let what = format!("{name}: {}{status}; {phase} at the signal", outcome.name());
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

    fn finish(mut self, hidden: usize) -> Timeline {
        let verticals = self.verticals();
        let ends = self.lanes.iter().flat_map(|lane| {
            let spans = lane.spans.iter().map(|span| span.1);
            spans.chain(lane.marks.iter().map(|mark| mark.0))
        });
        let last = ends.chain(verticals.iter().map(|(at, ..)| *at)).fold(1.0, f64::max);
        let before = (last * BEFORE).max(BEFORE_MIN_MS);
        let scale = Scale::new(-before, last + last * 0.02);
        let is_seen = |from: f64, to: f64| to >= scale.from() && from <= scale.to();
        self.lanes.retain(|lane| {
            lane.spans.iter().any(|span| is_seen(span.0, span.1))
                || lane.marks.iter().any(|mark| is_seen(mark.0, mark.0))
        });
        let bottom = TOP + self.lanes.len() as f64 * LANE;
        let number = self.history.header().trial.number;
        Timeline {
            from_ms: units(scale.from()),
            to_ms: units(scale.to()),
            height: units(bottom + 24.0),
            bottom: units(bottom),
            ticks: scale.ticks(),
            lines: lines(scale, verticals),
            legend: legend(&self.lanes),
            hidden: hidden_words(hidden, &self.lanes),
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
        }
    }
}

/// The colours of what lasted, in the order in which a request goes through them.
const LEGEND: [(&str, &str); 8] = [
    ("connecting", "connecting"),
    ("queued", "queued: in the accept queue"),
    ("sending", "sending"),
    ("unread", "unread: delivered, not read"),
    ("processing", "processing: waiting for the response"),
    ("responding", "responding"),
    ("idle", "open, nothing under way"),
    ("job", "job"),
];

/// Those of them that are drawn.
fn legend(lanes: &[Draft]) -> Vec<(&'static str, &'static str)> {
    let is_drawn = |shade| lanes.iter().any(|lane| lane.spans.iter().any(|span| span.2 == shade));
    LEGEND.into_iter().filter(|(shade, _)| is_drawn(*shade)).collect()
}

/// What there was no room for: connections, and marks of single lanes.
fn hidden_words(connections: usize, lanes: &[Draft]) -> Vec<String> {
    let connections = (connections > 0).then(|| format!("{connections} more connections"));
    let marks = lanes.iter().filter(|lane| lane.marks.len() > MARKS_MAX);
    let marks =
        marks.map(|lane| format!("{} more marks of {}", lane.marks.len() - MARKS_MAX, lane.label));
    connections.into_iter().chain(marks).collect()
}

impl Draft {
    fn placed(mut self, scale: Scale, y: f64) -> Lane {
        self.marks.sort_by(|one, other| one.0.abs().total_cmp(&other.0.abs()));
        self.marks.truncate(MARKS_MAX);
        // What was lost is drawn last, so that no other mark hides it.
        let order = |mark: &MarkDraft| (mark.1 == "lost", mark.0);
        self.marks.sort_by(|one, other| {
            let (one, other) = (order(one), order(other));
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
        });
        let is_seen = |from: f64, to: f64| to >= scale.from() && from <= scale.to();
        let spans = self.spans.into_iter().filter(|span| is_seen(span.0, span.1));
        let marks = self.marks.into_iter().filter(|mark| is_seen(mark.0, mark.0));
        Lane {
            short: cut(&self.label, LABEL_MAX),
            label: self.label,
            is_evidence: self.is_evidence,
            y: units(y),
            spans: spans
                .map(|(from, to, shade, what, raw)| {
                    let (left, right) = (scale.x(from), scale.x(to));
                    let what = format!("{what}, {} to {}", signed_time(from), signed_time(to));
                    let half = if shade == "idle" { IDLE_BAR } else { BAR };
                    let text = shade.len() as f64 * CHARACTER + BESIDE;
                    Span {
                        x: units(left),
                        width: units((right - left).max(0.8)),
                        y: units(y - half),
                        height: units(2.0 * half),
                        has_room: shade != "idle" && right - left >= text,
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
                    y: units(y + 4.5),
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
