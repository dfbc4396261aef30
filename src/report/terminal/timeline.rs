//! A timeline of one trial, drawn to scale with the signal at 0.

use crate::model::event::{
    Connection, ConnectionEnd, Event, EventKind, ProbeOutcome, Readiness, Request, RequestEnd,
    Traced,
};
use crate::model::run::{ExitReport, TrialReport};
use crate::model::signal::Signal;
use crate::model::time::Nanos;
use crate::model::write::{ReadOutcome, WriteOutcome};

use super::super::numbers::signed_time;
use super::super::text::{columns, cut};

/// The columns before the drawing: an indent, and the name of the lane.
const LABEL_COLUMNS: usize = 11;
/// The columns after it, for what stands beside the end of a lane.
const NOTE_COLUMNS: usize = 19;
/// More lanes than these are left to the history.
const LANES_SHOWN: usize = 6;

const THIN: char = '─';
const THICK: char = '━';
const START: char = '├';
const END: char = '┤';
const LOST: char = '✗';
const POINT: char = '●';
const SIGNAL: char = '┆';
const SIGNAL_ON_THICK: char = '┿';

/// What happened to one connection, or to one side of the target, in milliseconds from the signal.
struct Lane {
    label: String,
    strokes: Vec<Stroke>,
    marks: Vec<Mark>,
}

struct Stroke {
    from: f64,
    to: f64,
    glyph: char,
}

struct Mark {
    at: f64,
    glyph: char,
    /// Stands beside the mark, where it is the last one of its lane.
    note: String,
}

/// The events of a trial as a picture; `None` when there was no signal, or nothing to draw.
pub(in crate::report) fn draw(
    trial: &TrialReport,
    events: &[Event],
    width: usize,
) -> Option<String> {
    let signal = trial.signals.first()?;
    let mut lanes = Vec::new();
    for event in events {
        add(&mut lanes, event, signal.at_ms);
    }
    lanes.truncate(LANES_SHOWN);
    let scale = Scale::over(&lanes, trial, width)?;
    lanes.extend(listener(trial).map(|(at, how)| listen(scale.left, at, how)));
    lanes.extend(trial.exit.as_ref().and_then(exit));
    let mut text = scale.axis(&signal.signal.to_string());
    for lane in &lanes {
        text.push_str(&format!("{}\n", cut(&scale.row(lane), width)));
    }
    Some(text)
}

fn add(lanes: &mut Vec<Lane>, event: &Event, origin: f64) {
    let ms = |at: Nanos| at.as_ms() - origin;
    let at = ms(event.at);
    match &event.kind {
        EventKind::Connection(connection) => add_connection(lanes, connection, ms),
        EventKind::Request(request) => add_request(lanes, request, ms),
        EventKind::Probe(probe) => {
            let (glyph, note) = match probe.outcome {
                ProbeOutcome::Established => (POINT, "accepted"),
                ProbeOutcome::Refused => (LOST, "refused"),
                ProbeOutcome::TimedOut | ProbeOutcome::Failed => (LOST, "no answer"),
            };
            lane(lanes, "connect").marks.push(Mark::of(ms(probe.ended), glyph, note));
        }
        EventKind::PooledRequest(it) => {
            add_whole(lane(lanes, "pooled"), ms(it.started)..ms(it.ended), it.status, "error");
        }
        EventKind::JobSubmit(it) => {
            add_whole(lane(lanes, "submit"), ms(it.started)..ms(it.ended), it.status, "no answer");
        }
        EventKind::OutputLine { .. } => {
            lane(lanes, "output").marks.push(Mark::of(at, POINT, "line"));
        }
        EventKind::SourceLine(line) => {
            lane(lanes, line.source.name()).marks.push(Mark::of(at, POINT, "line"));
        }
        EventKind::ProcessLeft { .. } | EventKind::PortLeft { .. } | EventKind::FileLeft { .. } => {
            add_left(lanes, &event.kind, at)
        }
        EventKind::DeadlinePassed => {
            lane(lanes, "deadline").marks.push(Mark::of(at, POINT, "alive"));
        }
        EventKind::Held { .. } => lane(lanes, "target").marks.push(Mark::of(at, POINT, "held")),
        EventKind::Thawed => lane(lanes, "target").marks.push(Mark::of(at, POINT, "let go")),
        EventKind::Traced(traced) => add_traced(lanes, traced, at),
        EventKind::ListenerClosed => {
            lane(lanes, "listener").marks.push(Mark::of(at, END, "closed"));
        }
        EventKind::QueueEmptied => lane(lanes, "queue").marks.push(Mark::of(at, END, "empty")),
        EventKind::ReadinessProbe(probe) => {
            let (glyph, note) = readiness(probe.outcome);
            lane(lanes, "ready").marks.push(Mark::of(ms(probe.ended), glyph, &note));
        }
        EventKind::ClientsReleased => {
            lane(lanes, "clients").marks.push(Mark::of(at, POINT, "closed"));
        }
        EventKind::SignalSending { signal, .. } if at > 0.0 => add_again(lanes, at, *signal),
        EventKind::Write(_)
        | EventKind::StartedAgain { .. }
        | EventKind::Restarted { .. }
        | EventKind::NotRestarted { .. }
        | EventKind::ReadBack(_) => add_write_or_restart(lanes, event, ms),
        EventKind::Killed { .. } => lane(lanes, "killed").marks.push(Mark::of(at, LOST, "")),
        // They have lanes of their own, or say nothing about when.
        EventKind::Spawned { .. }
        | EventKind::FoundRunning { .. }
        | EventKind::Ready { .. }
        | EventKind::OutputDropped { .. }
        | EventKind::SourceRead { .. }
        | EventKind::Exited { .. }
        | EventKind::LoadStarted
        | EventKind::Dispositions { .. }
        | EventKind::SituationReached
        | EventKind::SituationMissed { .. }
        | EventKind::SignalSending { .. }
        | EventKind::SignalSent { .. }
        | EventKind::LandmarkPassed { .. }
        | EventKind::SocketsSeen { .. }
        | EventKind::RestartMissed { .. }
        | EventKind::HarnessLag { .. }
        | EventKind::HarnessShare { .. } => {}
    }
}

fn add_left(lanes: &mut Vec<Lane>, left: &EventKind, at: f64) {
    let (label, note) = match left {
        EventKind::ProcessLeft { pid, .. } => ("left", format!("pid {pid}")),
        EventKind::FileLeft { path, .. } => {
            ("file", path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
        _ => ("port", "taken".into()),
    };
    lane(lanes, label).marks.push(Mark::of(at, POINT, &note));
}

fn add_traced(lanes: &mut Vec<Lane>, traced: &Traced, at: f64) {
    lane(lanes, "thread").marks.push(Mark::of(at, POINT, &traced.text()));
}

fn readiness(outcome: Readiness) -> (char, String) {
    match outcome {
        Readiness::Ready(status) => (POINT, status.to_string()),
        Readiness::NotReady(status) => (LOST, status.to_string()),
        Readiness::Refused => (LOST, "refused".into()),
        Readiness::NoAnswer => (LOST, "no answer".into()),
    }
}

/// A request of which only its beginning and its end are known.
fn add_whole(lane: &mut Lane, time: std::ops::Range<f64>, status: Option<u16>, failed: &str) {
    let glyph = if status.is_some() { END } else { LOST };
    lane.strokes.push(Stroke { from: time.start, to: time.end, glyph: THICK });
    let note = status.map_or_else(|| failed.into(), |status| status.to_string());
    lane.marks.push(Mark::of(time.end, glyph, &note));
}

/// A signal after the first, which is the origin.
fn add_again(lanes: &mut Vec<Lane>, at: f64, signal: Signal) {
    lane(lanes, "again").marks.push(Mark::of(at, POINT, &signal.to_string()));
}

fn add_write_or_restart(lanes: &mut Vec<Lane>, event: &Event, ms: impl Fn(Nanos) -> f64) {
    let at = ms(event.at);
    match &event.kind {
        EventKind::Write(write) => {
            let (glyph, note) = match write.outcome {
                WriteOutcome::Acknowledged(status) | WriteOutcome::Refused(status) => {
                    (END, status.to_string())
                }
                WriteOutcome::Indeterminate(_) => (LOST, "no answer".into()),
            };
            let lane = lane(lanes, "write");
            let (from, to) = (ms(write.started), ms(write.ended));
            lane.strokes.push(Stroke { from, to, glyph: THICK });
            lane.marks.push(Mark::of(to, glyph, &note));
        }
        EventKind::StartedAgain { .. } => {
            lane(lanes, "restart").marks.push(Mark::of(at, POINT, "started"));
        }
        EventKind::Restarted { .. } => {
            lane(lanes, "restart").marks.push(Mark::of(at, POINT, "ready"))
        }
        EventKind::NotRestarted { .. } => {
            lane(lanes, "restart").marks.push(Mark::of(at, LOST, "not ready"));
        }
        EventKind::ReadBack(read) => {
            let (glyph, note) = match read.outcome {
                ReadOutcome::Present => (END, "there"),
                ReadOutcome::Absent => (LOST, "absent"),
                ReadOutcome::Damaged => (LOST, "damaged"),
                ReadOutcome::Unknown => (LOST, "no answer"),
            };
            lane(lanes, "read").marks.push(Mark::of(at, glyph, note));
        }
        _ => {}
    }
}

fn add_connection(lanes: &mut Vec<Lane>, connection: &Connection, ms: impl Fn(Nanos) -> f64) {
    let (from, to) = (ms(connection.started), ms(connection.ended));
    let (glyph, note) = match connection.end {
        ConnectionEnd::Refused => (LOST, "refused"),
        ConnectionEnd::ConnectTimedOut => (LOST, "no answer"),
        ConnectionEnd::ConnectFailed => (LOST, "not established"),
        ConnectionEnd::ClosedByServer => (END, "FIN"),
        ConnectionEnd::ResetByServer => (LOST, "RST"),
        ConnectionEnd::ClosedByClient => (END, "closed"),
    };
    let lane = lane(lanes, &format!("conn {}", connection.connection));
    lane.strokes.insert(0, Stroke { from, to, glyph: THIN });
    // What became of a request on it says more, and has its mark already or gets it later.
    lane.marks.insert(0, Mark::of(to, glyph, note));
}

fn add_request(lanes: &mut Vec<Lane>, request: &Request, ms: impl Fn(Nanos) -> f64) {
    let (from, to) = (ms(request.started), ms(request.ended));
    let status = request.status.map_or("complete".into(), |status| status.to_string());
    let (glyph, note) = match request.end {
        RequestEnd::Complete => (END, status.as_str()),
        RequestEnd::Closed => (LOST, "FIN"),
        RequestEnd::Reset => (LOST, "RST"),
        RequestEnd::NotHttp => (LOST, "no HTTP"),
        RequestEnd::TimedOut | RequestEnd::Abandoned => (LOST, "no answer"),
    };
    let lane = lane(lanes, &format!("conn {}", request.connection));
    lane.strokes.push(Stroke { from, to, glyph: THICK });
    lane.marks.push(Mark::of(to, glyph, note));
}

fn lane<'l>(lanes: &'l mut Vec<Lane>, label: &str) -> &'l mut Lane {
    let at = lanes.iter().position(|lane| lane.label == label).unwrap_or_else(|| {
        lanes.push(Lane::new(label));
        lanes.len() - 1
    });
    &mut lanes[at]
}

/// The listening socket, from the left edge to the first refused connection.
/// When nobody listened any more: as the kernel showed it, or as a client met it.
fn listener(trial: &TrialReport) -> Option<(f64, &'static str)> {
    let closed = trial.listener_closed_after_ms.map(|at| (at, "closed"));
    closed.or_else(|| Some((trial.refused_after_ms?, "refused")))
}

fn listen(left: f64, at: f64, how: &str) -> Lane {
    let mut lane = Lane::new("listen");
    lane.strokes.push(Stroke { from: left, to: at, glyph: THIN });
    lane.marks.push(Mark::of(at, END, how));
    lane
}

fn exit(exit: &ExitReport) -> Option<Lane> {
    let mut lane = Lane::new("exit");
    let code = exit.code.map(|code| code.to_string());
    let how = code.or_else(|| exit.signal.map(|signal| signal.to_string())).unwrap_or_default();
    lane.marks.push(Mark::of(exit.after_ms?, END, &how));
    Some(lane)
}

impl Lane {
    fn new(label: &str) -> Self {
        Self { label: label.to_owned(), strokes: Vec::new(), marks: Vec::new() }
    }

    fn times(&self) -> impl Iterator<Item = f64> {
        let strokes = self.strokes.iter().flat_map(|stroke| [stroke.from, stroke.to]);
        strokes.chain(self.marks.iter().map(|mark| mark.at))
    }
}

impl Mark {
    fn of(at: f64, glyph: char, what: &str) -> Self {
        let note = format!("{what} {}", signed_time(at)).trim_start().to_owned();
        Self { at, glyph, note }
    }
}

/// From milliseconds to columns.
struct Scale {
    left: f64,
    right: f64,
    columns: usize,
}

impl Scale {
    /// Wide enough for the lanes, the refusal and the exit; `None` when there is nothing to draw.
    fn over(lanes: &[Lane], trial: &TrialReport, width: usize) -> Option<Self> {
        let exit = trial.exit.as_ref().and_then(|exit| exit.after_ms);
        let times = lanes.iter().flat_map(Lane::times);
        let times: Vec<f64> = times.chain(exit).chain(listener(trial).map(|(at, _)| at)).collect();
        let right = times.iter().copied().fold(f64::NAN, f64::max).max(0.1);
        let left = times.iter().copied().fold(0.0, f64::min);
        // A little room before the signal shows that it is one.
        let left = left.min(-0.05 * right);
        let columns = width.saturating_sub(LABEL_COLUMNS + NOTE_COLUMNS);
        (!times.is_empty()).then_some(Self { left, right, columns })
    }

    fn column(&self, ms: f64) -> usize {
        let part = ((ms - self.left) / (self.right - self.left)).clamp(0.0, 1.0);
        (part * (self.columns - 1) as f64).round() as usize
    }

    /// The times of both edges and the name of the signal, above their columns.
    fn axis(&self, signal: &str) -> String {
        let (left, right) = (signed_time(self.left), signed_time(self.right));
        let at = self.column(0.0);
        let signal_start = at.saturating_sub(columns(signal) / 2);
        let right_start = self.columns.saturating_sub(columns(&right));
        let mut labels = vec![(signal_start, signal, at, SIGNAL)];
        if columns(&left) < signal_start {
            labels.insert(0, (0, left.as_str(), 0, '│'));
        }
        if signal_start + columns(signal) < right_start {
            labels.push((right_start, right.as_str(), self.columns - 1, '│'));
        }
        let (mut names, mut ticks) = (String::new(), String::new());
        for (start, name, tick, glyph) in labels {
            pad_to(&mut names, LABEL_COLUMNS + start);
            names.push_str(name);
            pad_to(&mut ticks, LABEL_COLUMNS + tick);
            ticks.push(glyph);
        }
        format!("{names}\n{ticks}\n")
    }

    fn row(&self, lane: &Lane) -> String {
        let mut row = vec![' '; self.columns];
        for stroke in &lane.strokes {
            let (from, to) = (self.column(stroke.from), self.column(stroke.to));
            row[from..=to.max(from)].fill(stroke.glyph);
        }
        for stroke in lane.strokes.iter().filter(|stroke| stroke.glyph == THIN) {
            row[self.column(stroke.from)] = START;
        }
        let signal = &mut row[self.column(0.0)];
        match *signal {
            ' ' | THIN => *signal = SIGNAL,
            THICK => *signal = SIGNAL_ON_THICK,
            _ => {}
        }
        for mark in &lane.marks {
            row[self.column(mark.at)] = mark.glyph;
        }
        let last = lane.marks.last();
        let end = last.map_or(self.columns, |mark| {
            let furthest = lane.times().map(|at| self.column(at)).max().unwrap_or(0);
            furthest.max(self.column(mark.at)) + 1
        });
        let drawn: String = row[..end].iter().collect();
        let note = last.map_or("", |mark| mark.note.as_str());
        let label = cut(&lane.label, LABEL_COLUMNS - 3);
        let label_columns = LABEL_COLUMNS - 3;
        format!("  {label:<label_columns$} {drawn} {note}").trim_end().to_owned()
    }
}

fn pad_to(text: &mut String, column: usize) {
    let missing = column.saturating_sub(columns(text));
    text.push_str(&" ".repeat(missing));
}
