//! Tiny histories for the tests of invariants, told in milliseconds from the signal.

use std::time::Duration;

use crate::model::contract::{Contract, ExpectedBody, ExpectedResponse, JobPatterns};
use crate::model::event::{
    BodySeen, Connection, ConnectionEnd, Event, EventKind, ExitStatus, Framing, HeldBy, JobSubmit,
    LineSource, Probe, ProbeOutcome, Readiness, ReadinessProbe, Request, RequestEnd, Snapshot,
    SocketSeen, SourceLine, Stream,
};
use crate::model::header::{HISTORY_VERSION, Header};
use crate::model::history::History;
use crate::model::plan::{Arrivals, LoadShape, Situation, Trial};
use crate::model::signal::Signal;
use crate::model::time::Nanos;
use crate::model::verdict::{Verdict, Violation};
use crate::model::write::{ReadBack, ReadOutcome, Write, WriteOutcome};

/// S⁻, far enough from the beginning of the trial for all that precedes it.
const BEFORE: Nanos = Nanos::from_ms(10_000);
/// S⁺.
const AFTER: Nanos = Nanos::from_ns(10_000_020_000);
/// The process that gets the signal.
const PID: u32 = 123;

/// The instant so many milliseconds after S⁺, or before S⁻ where negative.
fn instant(ms: i64) -> Nanos {
    let distance = Duration::from_millis(ms.unsigned_abs());
    if ms > 0 { AFTER + distance } else { BEFORE - distance }
}

/// A history in the making. Requests and connections are counted, each from 1, so that where each
/// request has a connection of its own, both have the same number.
pub(crate) struct Story {
    restart: bool,
    contract: Contract,
    situation: Situation,
    events: Vec<Event>,
    requests: u32,
    connections: u32,
}

impl Story {
    /// A target that runs.
    pub(crate) fn new() -> Self {
        let body = Some(ExpectedBody { length: 4, sha256_prefix: 7 });
        let usual = Duration::from_millis(900);
        let name = "GET /sleep?ms=900".into();
        let contract = Contract {
            lag_limit: Duration::from_millis(50),
            usual_exit: Some(Duration::from_millis(10)),
            requests: vec![ExpectedResponse { name, status: 200, body, usual, first_byte: usual }],
            jobs: JobPatterns::usual(),
            ..Contract::default()
        };
        let situation = Situation::Load;
        Self {
            restart: false,
            contract,
            situation,
            events: Vec::new(),
            requests: 0,
            connections: 0,
        }
        .event(-9_000, EventKind::Spawned { pid: PID })
        .line(-8_900, "listening")
    }

    /// Promises something else.
    pub(crate) fn promising(mut self, change: impl FnOnce(&mut Contract)) -> Self {
        change(&mut self.contract);
        self
    }

    /// What the trial is.
    pub(crate) fn in_situation(mut self, situation: Situation) -> Self {
        self.situation = situation;
        self
    }

    /// The target gets another signal, so long after the first.
    pub(crate) fn later(self, ms: i64, signal: Signal) -> Self {
        let at = instant(ms);
        self.stamped(at, EventKind::SignalSending { signal, pid: PID, planned: at })
            .stamped(at, EventKind::SignalSent { signal })
    }

    /// Something happens.
    pub(crate) fn event(self, ms: i64, kind: EventKind) -> Self {
        self.stamped(instant(ms), kind)
    }

    fn stamped(mut self, at: Nanos, kind: EventKind) -> Self {
        self.events.push(Event { at, kind });
        self
    }

    /// The target gets SIGTERM.
    pub(crate) fn signal(self) -> Self {
        let (signal, planned) = (Signal::TERM, BEFORE);
        self.stamped(BEFORE, EventKind::SignalSending { signal, pid: PID, planned })
            .stamped(AFTER, EventKind::SignalSent { signal })
    }

    /// The target is held still.
    pub(crate) fn held(self, ms: i64) -> Self {
        let (by, took) = (HeldBy::Stop, Duration::from_millis(1));
        self.event(ms, EventKind::Held { processes: 1, by, took })
    }

    /// The target is let go on.
    pub(crate) fn thawed(self, ms: i64) -> Self {
        self.event(ms, EventKind::Thawed)
    }

    /// The clients let go of what only they keep open.
    pub(crate) fn released(self, ms: i64) -> Self {
        self.event(ms, EventKind::ClientsReleased)
    }

    /// A connection, for requests of its own or none.
    pub(crate) fn connection(mut self, started_ms: i64, ended_ms: i64, end: ConnectionEnd) -> Self {
        self.connections += 1;
        let (started, ended) = (instant(started_ms), instant(ended_ms));
        let life = Connection {
            connection: self.connections,
            local_port: Some(40_000),
            started,
            established: Some(started),
            ended,
            end,
        };
        self.event(ended_ms, EventKind::Connection(life))
    }

    /// A request of 118 bytes on a connection of its own, which ends with it.
    pub(crate) fn request(
        self,
        started_ms: i64,
        ended_ms: i64,
        end: RequestEnd,
        change: impl FnOnce(&mut Request),
    ) -> Self {
        let its_end = match end {
            RequestEnd::Reset => ConnectionEnd::ResetByServer,
            RequestEnd::Closed => ConnectionEnd::ClosedByServer,
            _ => ConnectionEnd::ClosedByClient,
        };
        let story = self.connection(started_ms, ended_ms, its_end);
        let connection = story.connections;
        story.request_on(connection, started_ms, ended_ms, end, change)
    }

    /// A request on a connection, as the caller has it; answered as expected where it is complete.
    pub(crate) fn request_on(
        mut self,
        connection: u32,
        started_ms: i64,
        ended_ms: i64,
        end: RequestEnd,
        change: impl FnOnce(&mut Request),
    ) -> Self {
        self.requests += 1;
        let (started, ended) = (instant(started_ms), instant(ended_ms));
        let answered = end == RequestEnd::Complete;
        let mut request = Request {
            request: self.requests,
            connection,
            template: 0,
            head_bytes: 118,
            total_bytes: 118,
            stream_offset: 0,
            response_offset: 0,
            response_bytes: 0,
            started,
            head_sent: Some(started),
            sent: Some(started),
            first_byte: answered.then_some(ended),
            head_received: answered.then_some(ended),
            parts: [].into(),
            ended,
            end,
            status: answered.then_some(200),
            close_announced: false,
            http_1_0: false,
            sent_while_open: false,
            stalled: false,
            framing: answered.then_some(Framing::ContentLength(4)),
            body: BodySeen::default(),
        };
        if answered {
            request.body = BodySeen { length: 4, sha256_prefix: 7, digest_matches: None };
        }
        change(&mut request);
        self.event(ended_ms, EventKind::Request(request))
    }

    /// A request that is answered as expected.
    pub(crate) fn completed_request(self, started_ms: i64, ended_ms: i64) -> Self {
        self.request(started_ms, ended_ms, RequestEnd::Complete, |_| {})
    }

    /// A request that is reset without an answer.
    pub(crate) fn reset_request(self, started_ms: i64, ended_ms: i64) -> Self {
        self.request(started_ms, ended_ms, RequestEnd::Reset, |_| {})
    }

    /// What the kernel shows of a connection, alike before and after the signal.
    pub(crate) fn seen(self, connection: u32, accepted: bool, received: u64, unread: u32) -> Self {
        let socket = SocketSeen { connection, accepted, unread, received, sent: 0, unsent: 0 };
        let before = EventKind::SocketsSeen { when: Snapshot::Before, sockets: vec![socket] };
        self.stamped(BEFORE, before).seen_after(connection, accepted, received, unread)
    }

    /// What the kernel shows of a connection after the signal.
    pub(crate) fn seen_after(
        self,
        connection: u32,
        accepted: bool,
        received: u64,
        unread: u32,
    ) -> Self {
        let socket = SocketSeen { connection, accepted, unread, received, sent: 0, unsent: 0 };
        let after = EventKind::SocketsSeen { when: Snapshot::After, sockets: vec![socket] };
        self.stamped(AFTER, after)
    }

    /// An attempt to connect, one millisecond long.
    pub(crate) fn probe(self, started_ms: i64, outcome: ProbeOutcome) -> Self {
        let (started, ended) = (instant(started_ms), instant(started_ms + 1));
        self.event(started_ms + 1, EventKind::Probe(Probe { started, ended, outcome }))
    }

    /// A question to the readiness endpoint, one millisecond long.
    pub(crate) fn readiness(self, started_ms: i64, outcome: Readiness) -> Self {
        let (started, ended) = (instant(started_ms), instant(started_ms + 1));
        let probe = ReadinessProbe { started, ended, outcome };
        self.event(started_ms + 1, EventKind::ReadinessProbe(probe))
    }

    /// The target writes a line.
    pub(crate) fn line(self, ms: i64, line: &str) -> Self {
        let (stream, line) = (Stream::Stdout, line.into());
        self.event(ms, EventKind::OutputLine { stream, line, cut: false })
    }

    /// A line is found in a file of jobs, which was last read without it.
    pub(crate) fn file_line(self, ms: i64, since_ms: i64, line: &str) -> Self {
        let (source, since) = (LineSource::JobFile, instant(since_ms));
        let line = SourceLine { source, line: line.into(), since, cut: false };
        self.event(ms, EventKind::SourceLine(line))
    }

    /// A source is read once more, or could not be.
    pub(crate) fn read_again(self, ms: i64, source: LineSource, failed: Option<&str>) -> Self {
        self.event(ms, EventKind::SourceRead { source, failed: failed.map(str::to_owned) })
    }

    /// A job is submitted, and answered or not; `answer` is the status and the body.
    pub(crate) fn submit(
        self,
        started_ms: i64,
        ended_ms: i64,
        key: &str,
        answer: Option<(u16, &str)>,
    ) -> Self {
        let started = instant(started_ms);
        let submit = JobSubmit {
            key: key.into(),
            started,
            sent: Some(started),
            ended: instant(ended_ms),
            status: answer.map(|(status, _)| status),
            answer: answer.map(|(_, body)| body.into()),
        };
        self.event(ended_ms, EventKind::JobSubmit(submit))
    }

    /// The target exits.
    pub(crate) fn exit_code(self, ms: i64, code: i32) -> Self {
        let status = ExitStatus { code: Some(code), signal: None };
        self.event(ms, EventKind::Exited { pid: PID, status })
    }

    /// A signal ends the target.
    pub(crate) fn exit_signal(self, ms: i64, signal: Signal) -> Self {
        let status = ExitStatus { code: None, signal: Some(signal) };
        self.event(ms, EventKind::Exited { pid: PID, status })
    }

    /// The harness kills what is left of the target.
    pub(crate) fn killed(self, ms: i64) -> Self {
        self.event(ms, EventKind::Killed { pids: vec![PID] })
    }

    /// The deadline of 30 s is over with the target alive, and the harness kills it.
    pub(crate) fn killed_at_deadline(self) -> Self {
        self.event(30_000, EventKind::DeadlinePassed)
            .killed(30_001)
            .exit_signal(30_002, Signal::KILL)
    }

    /// It is planned to start the target again.
    pub(crate) fn with_restart(self) -> Self {
        Self { restart: true, ..self }
    }

    /// The target is started again, and ready 10 ms later.
    pub(crate) fn restarted(self, ms: i64) -> Self {
        let after = Duration::from_millis(10);
        self.event(ms, EventKind::StartedAgain { pid: PID + 77, port: 8080 })
            .event(ms + 10, EventKind::Restarted { after })
    }

    /// A write that took a millisecond and ended like this.
    pub(crate) fn write(self, ended_ms: i64, key: &str, outcome: WriteOutcome) -> Self {
        let (started, ended) = (instant(ended_ms - 1), instant(ended_ms));
        let (key, sent) = (key.to_owned(), Some(started));
        let write = Write { key, local_port: None, started, sent, ended, outcome };
        self.event(ended_ms, EventKind::Write(write))
    }

    /// A key is read after the second start, late enough.
    pub(crate) fn read_back(self, key: &str, outcome: ReadOutcome) -> Self {
        let status = match outcome {
            ReadOutcome::Present | ReadOutcome::Damaged => Some(200),
            ReadOutcome::Absent => Some(404),
            ReadOutcome::Unknown => None,
        };
        self.event(900, EventKind::ReadBack(ReadBack { key: key.to_owned(), status, outcome }))
    }

    /// A child of the target's is still there.
    pub(crate) fn process_left(self, ms: i64) -> Self {
        self.event(ms, EventKind::ProcessLeft { pid: PID + 1, command: "node worker.js".into() })
    }

    /// The history, in the order of time.
    pub(crate) fn history(mut self) -> History {
        self.events.sort_by_key(|event| event.at);
        let load = LoadShape {
            connections: 1,
            arrivals: Arrivals::Closed { pause: Duration::ZERO },
            keep_alive_percent: 0,
            pooled_clients: 0,
        };
        let trial = Trial {
            number: 1,
            seed: 1,
            situation: self.situation,
            load,
            asks: None,
            asks_after: None,
            kinds: None,
            hold: None,
            as_pid_1: false,
            aside: false,
            signals: Vec::new(),
            restart: self.restart,
        };
        let header = Header {
            history_version: HISTORY_VERSION.into(),
            tool_version: "0".into(),
            command: vec!["./bin".into()],
            trial,
            contract: self.contract,
        };
        History::new(header, self.events).expect("the story is well-formed")
    }
}

/// How often a satisfied invariant was exercised.
#[track_caller]
pub(crate) fn satisfied(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Satisfied { exercised } => exercised.get(),
        other => panic!("not satisfied: {other:?}"),
    }
}

/// The violations of a violated invariant.
#[track_caller]
pub(crate) fn violated(verdict: Verdict) -> Vec<Violation> {
    match verdict {
        Verdict::Violated { violations, .. } => violations,
        other => panic!("not violated: {other:?}"),
    }
}

/// Why nothing was shown of an invariant.
#[track_caller]
pub(crate) fn inconclusive(verdict: Verdict) -> String {
    match verdict {
        Verdict::Inconclusive { reason } => reason,
        other => panic!("not inconclusive: {other:?}"),
    }
}
