//! A history: the events of one trial, checked once and indexed, so that no judge checks again.

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Duration;

pub use super::attempt::ConnectAttempt;
use super::attempt::attempt;
use super::baseline::Baseline;
use super::contract::ExpectedResponse;
use super::event::{
    Connection, ConnectionId, Event, EventIndex, EventKind, ExitStatus, Framing, Request,
    RequestEnd, Snapshot,
};
use super::header::{HISTORY_VERSION, Header};
use super::ledger::{Job, JobLines};
use super::line::Told;
pub use super::outcome::Outcome;
use super::phase::{Around, Bracket, Phase, Source, phase};
use super::sent::signals_sent;
use super::sights::sights_of;
use super::signal::Signal;
use super::time::Nanos;
use super::well_formed::{check_order, check_requests, connections_of};

/// The well-formed events of one trial, and what was expected of it.
#[derive(Debug)]
pub struct History {
    header: Header,
    events: Vec<Event>,
    told: Told,
    connections: HashMap<ConnectionId, EventIndex>,
    around: HashMap<ConnectionId, Around>,
    kernel_asked: bool,
    // Asked for each request of a history, which may hold a million.
    signal: Option<SignalSent>,
    signals: Vec<SignalSent>,
    killed: Option<(EventIndex, Nanos)>,
    deadline_passed: Option<(EventIndex, Nanos)>,
    clients_released: Option<(EventIndex, Nanos)>,
    baseline: Baseline,
}

/// A signal that was sent; verdicts are about the first one, but for those about several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSent {
    /// Which one.
    pub signal: Signal,
    /// The process it went to.
    pub pid: u32,
    /// When the plan wanted it sent.
    pub planned: Nanos,
    /// When.
    pub bracket: Bracket,
    /// The first instant at which the target could act on it: S⁺, or when it was let go on. What
    /// it has to do within a time is measured from here.
    pub felt: Nanos,
    /// The event of its sending.
    pub event: EventIndex,
}

/// The end of the followed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// When the harness noticed.
    pub at: Nanos,
    /// The event.
    pub event: EventIndex,
}

/// Why a list of events is no history.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A line is not what it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file can't be read.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// The file was written by a program of another major version.
    #[error("format {found} is not the format {HISTORY_VERSION} that this program reads")]
    Version {
        /// The version in the file.
        found: String,
    },
    /// The events contradict each other.
    #[error("event {event}: {reason}")]
    Event {
        /// The event, from 0.
        event: EventIndex,
        /// The contradiction.
        reason: &'static str,
    },
    /// The contract in the header can't be used.
    #[error("the contract: {0}")]
    Contract(#[from] super::ledger::BadPattern),
}

impl History {
    /// Checks and indexes the events of a trial.
    ///
    /// # Errors
    /// When the events contradict each other, or a pattern of the contract can't be used.
    pub fn new(header: Header, events: Vec<Event>) -> Result<Self, Malformed> {
        let lines = JobLines::new(&header.contract.jobs)?;
        Self::with_job_lines(header, events, &lines)
    }

    /// The same, with the contract's job patterns already compiled: that takes longer than all the
    /// rest.
    ///
    /// # Errors
    /// When the events contradict each other, or a pattern of the log can't be used.
    pub fn with_job_lines(
        header: Header,
        events: Vec<Event>,
        lines: &JobLines,
    ) -> Result<Self, Malformed> {
        check_order(&events)?;
        let connections = connections_of(&events)?;
        check_requests(&events, &connections, header.contract.requests.len())?;
        let told = Told::by(&events, lines, &header.contract.log)?;
        let (around, kernel_asked) = sights_of(&events);
        let signals = signals_sent(&events);
        let signal = signals.first().copied();
        let before = signal.map(|signal| signal.bracket.before);
        let requests = events.iter().filter_map(request_in);
        let baseline = Baseline::of_bodies(requests, &header.contract.requests, before);
        let mut history = Self {
            header,
            told,
            connections,
            around,
            kernel_asked,
            signal,
            signals,
            killed: first(&events, |kind| matches!(kind, EventKind::Killed { .. })),
            deadline_passed: first(&events, |kind| matches!(kind, EventKind::DeadlinePassed)),
            clients_released: first(&events, |kind| matches!(kind, EventKind::ClientsReleased)),
            baseline,
            events,
        };
        history.note_ends_before_signal();
        Ok(history)
    }

    fn note_ends_before_signal(&mut self) {
        let Some(signal) = self.signal else { return };
        let ends: Vec<_> = self
            .requests()
            .filter(|(_, request)| request.ended <= signal.bracket.before)
            .map(|(_, request)| (request.template, self.outcome(request)))
            .collect();
        for (template, outcome) in ends {
            self.baseline.ended(template, outcome);
        }
    }

    /// Reads a saved history: the header, then an event a line.
    ///
    /// A last line that was cut short (the harness was killed while it wrote) is left out.
    ///
    /// # Errors
    /// When it can't be read, is of another major version, or is malformed.
    pub fn read(input: impl BufRead) -> Result<Self, Malformed> {
        let bad = |line: usize| move |reason: String| Malformed::Line { line, reason };
        let mut lines = input.split(b'\n');
        let first = lines.next().ok_or_else(|| bad(1)("the file is empty".into()))??;
        let header: Header = serde_json::from_slice(&first).map_err(|e| bad(1)(e.to_string()))?;
        if header.history_version.split('.').next() != HISTORY_VERSION.split('.').next() {
            return Err(Malformed::Version { found: header.history_version });
        }
        let rest = lines.collect::<Result<Vec<_>, _>>()?;
        let mut events = Vec::with_capacity(rest.len());
        for (at, line) in rest.iter().enumerate() {
            match serde_json::from_slice(line) {
                Ok(event) => events.push(event),
                Err(error) if at + 1 == rest.len() && error.is_eof() => break,
                Err(error) => return Err(bad(at + 2)(error.to_string())),
            }
        }
        Self::new(header, events)
    }

    /// The header and the events, to make another history of.
    pub fn into_parts(self) -> (Header, Vec<Event>) {
        (self.header, self.events)
    }

    /// What the history says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was expected of the target.
    pub fn contract(&self) -> &super::contract::Contract {
        &self.header.contract
    }

    /// Every event, in the order of time.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The first signal that was sent.
    pub fn signal(&self) -> Option<SignalSent> {
        self.signal
    }

    /// All signals that were sent, in their order.
    pub fn signals(&self) -> &[SignalSent] {
        &self.signals
    }

    /// Whether more than one was sent, so that the ordinary rules for one do not hold.
    pub fn has_repeated_signals(&self) -> bool {
        self.signals.len() > 1
    }

    /// Whether more than one was meant for it: also where it had ended before the second one, the
    /// first may have gone to others than an ordinary signal does.
    pub fn is_of_repeated_signals(&self) -> bool {
        self.has_repeated_signals() || self.header.trial.signals.len() > 1
    }

    /// The exit of the followed process, unless the harness had killed it.
    pub fn exit(&self) -> Option<Exit> {
        let killed = self.killed().map_or(Nanos::from_ns(u64::MAX), |(_, at)| at);
        self.indexed().find_map(|(event, e)| match e.kind {
            EventKind::Exited { pid, status } if e.at < killed => {
                Some(Exit { pid, status, at: e.at, event })
            }
            _ => None,
        })
    }

    /// When the harness killed what was left of the target.
    pub fn killed(&self) -> Option<(EventIndex, Nanos)> {
        self.killed
    }

    /// When the deadline was over with the target alive.
    pub fn deadline_passed(&self) -> Option<(EventIndex, Nanos)> {
        self.deadline_passed
    }

    /// When the clients gave up what only they kept open, the target having outlived its deadline.
    pub fn clients_released(&self) -> Option<(EventIndex, Nanos)> {
        self.clients_released
    }

    /// The first event of a kind.
    pub fn first(&self, is: impl Fn(&EventKind) -> bool) -> Option<(EventIndex, Nanos)> {
        first(&self.events, is)
    }

    /// Every request, with the event that holds it.
    pub fn requests(&self) -> impl Iterator<Item = (EventIndex, &Request)> {
        self.indexed().filter_map(|(index, event)| Some((index, request_in(event)?)))
    }

    /// Every request with its phase at the signal; none when there was no signal.
    pub fn phased_requests(&self) -> impl Iterator<Item = (EventIndex, &Request, Phase)> {
        let signal = self.signal();
        self.requests().filter_map(move |(index, request)| {
            Some((index, request, self.phase(request, signal?.bracket)))
        })
    }

    /// Every connection, with the event that holds it.
    pub fn connections(&self) -> impl Iterator<Item = (EventIndex, &Connection)> {
        self.indexed().filter_map(|(index, event)| match &event.kind {
            EventKind::Connection(connection) => Some((index, connection)),
            _ => None,
        })
    }

    /// The connection that carried a request, and the event that holds it.
    pub fn connection_of(&self, request: &Request) -> (EventIndex, &Connection) {
        let event = self.connections[&request.connection];
        match &self.events[event as usize].kind {
            EventKind::Connection(connection) => (event, connection),
            _ => unreachable!("the index was made from connections"),
        }
    }

    /// What the kernel showed of a connection around the signal.
    pub fn around(&self, connection: ConnectionId) -> Around {
        self.around.get(&connection).copied().unwrap_or_default()
    }

    /// Whether phases come from the kernel; otherwise they are inferred from time.
    pub fn phases_are_exact(&self) -> bool {
        self.kernel_asked
    }

    /// The phase of a request at a signal.
    pub fn phase(&self, request: &Request, at: Bracket) -> Phase {
        let source = match self.kernel_asked {
            true => Source::Kernel(self.around(request.connection)),
            false => Source::Time(self.contract().inference_margin),
        };
        phase(request, self.connection_of(request).1, at, source)
    }

    /// How a request ended, compared with the expected answer to it.
    pub fn outcome(&self, request: &Request) -> Outcome {
        let expected = &self.contract().requests[usize::from(request.template)];
        let killed = self.killed().is_some_and(|(_, at)| request.ended >= at);
        match request.end {
            RequestEnd::Complete => match self.outcome_of_response(request, expected) {
                // The kernel ends the connections of a killed process in good order, so the
                // harness can cut a body that only the end of its connection delimits.
                Outcome::Truncated
                    if killed && request.framing == Some(Framing::CloseDelimited) =>
                {
                    Outcome::TimedOut
                }
                outcome => outcome,
            },
            // What the harness destroyed had not been answered in time.
            _ if killed => Outcome::TimedOut,
            RequestEnd::Abandoned | RequestEnd::TimedOut => Outcome::TimedOut,
            RequestEnd::Reset => Outcome::Reset,
            RequestEnd::NotHttp => Outcome::Corrupt,
            RequestEnd::Closed if request.first_byte.is_none() => Outcome::ClosedWithoutResponse,
            RequestEnd::Closed => Outcome::Truncated,
        }
    }

    fn outcome_of_response(&self, request: &Request, expected: &ExpectedResponse) -> Outcome {
        let status = request.status.unwrap_or_default();
        if status != expected.status {
            let draining = status == self.contract().draining_status && request.close_announced;
            return if draining { Outcome::Rejected } else { Outcome::WrongStatus };
        }
        self.baseline.outcome_by_body(request, expected)
    }

    /// Whether as many as `failed` of `all` requests of this kind could have ended like this
    /// without the signal as well, as others did in the same trial before it came: then their end
    /// accuses nobody.
    pub fn fails_anyway(&self, template: u16, outcome: Outcome, failed: u64, all: u64) -> bool {
        self.baseline.is_usual((template, outcome), failed, all)
    }

    /// Whether it was the harness that ended a request: before the deadline, where it killed what
    /// an exited process had left behind or the trial was broken off; or at the deadline, where
    /// its client had stopped on purpose and then let go. How the target would have ended it is
    /// then unknown, and accuses nobody.
    pub fn cut_by_harness(&self, request: &Request) -> bool {
        let abandoned = request.end == RequestEnd::Abandoned;
        let killed = self.killed().is_some_and(|(_, at)| request.ended >= at);
        if !(abandoned || killed) || self.outcome(request) != Outcome::TimedOut {
            return false;
        }
        // Only what the clients themselves kept open is released.
        if request.stalled && self.clients_released().is_some_and(|(_, at)| request.ended >= at) {
            return true;
        }
        let deadline = self.signal().map(|sent| sent.felt + self.contract().deadline);
        let passed = self.deadline_passed().map(|(_, at)| at);
        !deadline.into_iter().chain(passed).any(|end_of_its_time| request.ended >= end_of_its_time)
    }

    /// Where a control's signal would have been: between two looks at its connections.
    pub fn instead_of_signal(&self) -> Option<Bracket> {
        if self.signal.is_some() {
            return None;
        }
        let seen = |wanted| {
            let is = move |kind: &EventKind| matches!(kind, EventKind::SocketsSeen { when, .. } if *when == wanted);
            self.first(is).map(|(_, at)| at)
        };
        Some(Bracket { before: seen(Snapshot::Before)?, after: seen(Snapshot::After)? })
    }

    /// Why the situation could not be reached, where it could not: the trial counts for nothing.
    pub fn missed(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.kind {
            EventKind::SituationMissed { what } => Some(what.as_str()),
            _ => None,
        })
    }

    /// How long the target was held still after the signal.
    pub fn pause(&self) -> Option<Duration> {
        let signal = self.signal.filter(|signal| signal.felt > signal.bracket.after)?;
        Some(signal.felt.since(signal.bracket.after))
    }

    /// Every attempt to connect that began after the signal, in the order of beginning.
    pub fn late_connects(&self) -> Vec<ConnectAttempt> {
        let Some(signal) = self.signal() else { return Vec::new() };
        let killed = self.killed().map_or(Nanos::from_ns(u64::MAX), |(_, at)| at);
        let is_late = |attempt: &ConnectAttempt| {
            attempt.started >= signal.bracket.after && attempt.ended < killed
        };
        let all = self.indexed().filter_map(|(index, event)| attempt(index, &event.kind));
        let mut attempts: Vec<_> = all.filter(is_late).collect();
        attempts.sort_by_key(|attempt| attempt.started);
        attempts
    }

    /// What lines tell of the target.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// The jobs that lines tell of.
    pub fn jobs(&self) -> &[Job] {
        &self.told.books.jobs
    }

    fn indexed(&self) -> impl Iterator<Item = (EventIndex, &Event)> {
        (0..).zip(&self.events)
    }
}

fn request_in(event: &Event) -> Option<&Request> {
    match &event.kind {
        EventKind::Request(request) => Some(request),
        _ => None,
    }
}

fn first(events: &[Event], is: impl Fn(&EventKind) -> bool) -> Option<(EventIndex, Nanos)> {
    (0..).zip(events).find(|(_, event)| is(&event.kind)).map(|(index, event)| (index, event.at))
}
