//! Random well-formed histories: what was drawn, and the events that follow from it.

use std::time::Duration;

use proptest::prelude::*;
use shutdown_check::model::address::ServerAddress;
use shutdown_check::model::contract::{
    Contract, ExpectedBody, ExpectedResponse, JobPatterns, SecondSignal,
};
use shutdown_check::model::event::{
    BodySeen, Connection, ConnectionEnd, Disposition, Event, EventKind, ExitStatus, Framing,
    HeldBy, Probe, ProbeOutcome, ProcessSeen, Readiness, ReadinessProbe, Request, RequestEnd,
    Snapshot, SocketSeen, Stream,
};
use shutdown_check::model::header::{HISTORY_VERSION, Header};
use shutdown_check::model::log::LogPatterns;
use shutdown_check::model::plan::{Arrivals, LoadShape, Situation, Trial};
use shutdown_check::model::signal::Signal;
use shutdown_check::model::time::Nanos;
use shutdown_check::model::write::{ReadBack, ReadOutcome, Write, WriteOutcome};

/// When the signal goes out, in microseconds.
const SIGNAL_US: u64 = 2_000_000;
/// The bytes of each request.
const REQUEST_BYTES: u32 = 100;

/// What one history is made of. Instants are in microseconds of the trial.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    limits_ms: [u64; 4],
    promises: Promises,
    hold: Option<Hold>,
    missed: bool,
    disposition: Option<Disposition>,
    lag_ms: u64,
    bracket_us: u64,
    signal: Option<Signal>,
    again: Option<Again>,
    starting: bool,
    kernel_asked: bool,
    jobs_declared: bool,
    body_known: bool,
    clients: Vec<Client>,
    probes: Vec<(u64, ProbeOutcome)>,
    readiness: Vec<(u64, Readiness)>,
    jobs: Vec<Job>,
    dropped: bool,
    end: End,
    second: Second,
}

/// A signal after the first, and whether it is to end the target at once.
#[derive(Clone, Copy, Debug)]
struct Again {
    gap_us: u64,
    signal: Signal,
    force: bool,
}

/// What else a contract may promise.
#[derive(Clone, Copy, Debug)]
struct Promises {
    idle_exit_ms: u64,
    unready_ms: u64,
    reaction_ms: u64,
    lame_duck_ms: Option<u64>,
    usual_exit_ms: Option<u64>,
    has_readiness: bool,
}

/// How long before and after the signal the target is held still.
#[derive(Clone, Copy, Debug)]
struct Hold {
    before_us: u64,
    pause_us: u64,
}

/// One connection: when it began, what the kernel shows of it, its exchanges, and how long it is
/// kept after them, where it is not closed with the last.
#[derive(Clone, Debug)]
struct Client {
    began_us: u64,
    sight: u8,
    exchanges: Vec<Exchange>,
    kept: Option<(u64, ConnectionEnd)>,
}

/// One request and its response.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    gap_us: u64,
    lasts_us: u64,
    end: RequestEnd,
    begun: bool,
    status: u16,
    close_announced: bool,
    framing: u8,
    body_length: u64,
    http_1_0: bool,
    sent_while_open: bool,
    stalled: bool,
}

/// One job.
#[derive(Clone, Copy, Debug)]
struct Job {
    began_us: u64,
    lasts_us: Option<u64>,
    in_turns: bool,
}

/// How the target ends.
#[derive(Clone, Copy, Debug)]
struct End {
    exit_us: Option<u64>,
    status: ExitStatus,
    process_left: bool,
    port_left: bool,
    /// Whether the clients let go at the deadline, and how much later the target then exits.
    released: Option<Option<u64>>,
}

/// What is written, and what becomes of it and of the target when that is started again.
#[derive(Clone, Debug)]
struct Second {
    planned: bool,
    declared: bool,
    writes: Vec<(u64, WriteOutcome, Option<ReadOutcome>)>,
    /// Whether it is ready again; absent where that was not seen.
    ready: Option<bool>,
}

/// Whether ids are the natural ones, or others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Naming {
    /// Counted from 0.
    Plain,
    /// In another order, from another range.
    Other,
}

impl Naming {
    fn number(self, plain: u32) -> u32 {
        match self {
            Naming::Plain => plain,
            Naming::Other => 90_000 - 7 * plain,
        }
    }
}

/// Any case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let limits = [1_000u64..4_000, 50..600, 50..600, 20..200];
    let trial = (limits, 0u64..30, 1u64..300, signal(), any::<[bool; 3]>());
    let jobs = prop::collection::vec(job(), 0..4);
    let dropped = prop::bool::weighted(0.1);
    let moment = (prop::option::weighted(0.15, again()), prop::bool::weighted(0.05));
    let seen = (hold(), prop::bool::weighted(0.03), prop::option::of(disposition()), moment);
    let output = (jobs, dropped);
    (trial, promises(), seen, world(), output, end(), second()).prop_map(
        |(
            (limits_ms, lag_ms, bracket_us, signal, flags),
            promises,
            (hold, missed, disposition, (again, starting)),
            (clients, probes, readiness),
            (jobs, dropped),
            end,
            second,
        )| {
            let [kernel_asked, jobs_declared, body_known] = flags;
            Case {
                limits_ms,
                promises,
                hold,
                missed,
                disposition,
                lag_ms,
                bracket_us,
                signal,
                again,
                starting,
                kernel_asked,
                jobs_declared,
                body_known,
                clients,
                probes,
                readiness,
                jobs,
                dropped,
                end,
                second,
            }
        },
    )
}

type World = (Vec<Client>, Vec<(u64, ProbeOutcome)>, Vec<(u64, Readiness)>);

/// What is asked of the target: anything at all, or only what one kind of situation consists of.
fn world() -> impl Strategy<Value = World> {
    let after = || SIGNAL_US - 100_000..SIGNAL_US + 2_000_000;
    let probes = prop::collection::vec((after(), probe_outcome()), 0..6);
    let readiness = || prop::collection::vec((after(), readiness()), 0..5);
    let any = (prop::collection::vec(client(), 0..6), probes, readiness());
    let quiet = prop::collection::vec(prop_oneof![3 => idle_client(), 1 => stalled_client()], 0..3);
    prop_oneof![
        6 => any,
        3 => (quiet, Just(Vec::new()), readiness()),
        1 => (busy_client().prop_map(|client| vec![client]), Just(Vec::new()), readiness()),
    ]
}

fn again() -> impl Strategy<Value = Again> {
    let kind = prop_oneof![Just(Signal::TERM), Just(Signal::INT)];
    (1_000u64..400_000, kind, any::<bool>()).prop_map(|(gap_us, signal, force)| Again {
        gap_us,
        signal,
        force,
    })
}

fn promises() -> impl Strategy<Value = Promises> {
    let limits = (100u64..2_000, 50u64..1_500, 1u64..300);
    let lame_duck_ms = prop::option::weighted(0.3, 50u64..2_000);
    let usual_exit_ms = prop::option::weighted(0.8, 1u64..500);
    (limits, lame_duck_ms, usual_exit_ms, prop::bool::weighted(0.7)).prop_map(
        |((idle_exit_ms, unready_ms, reaction_ms), lame_duck_ms, usual_exit_ms, has_readiness)| {
            Promises {
                idle_exit_ms,
                unready_ms,
                reaction_ms,
                lame_duck_ms,
                usual_exit_ms,
                has_readiness,
            }
        },
    )
}

fn hold() -> impl Strategy<Value = Option<Hold>> {
    let hold = (0u64..50_000, 0u64..1_000_000);
    let hold = hold.prop_map(|(before_us, pause_us)| Hold { before_us, pause_us });
    prop::option::weighted(0.2, hold)
}

fn disposition() -> impl Strategy<Value = Disposition> {
    prop::sample::select(vec![
        Disposition::Caught,
        Disposition::Ignored,
        Disposition::Blocked,
        Disposition::Awaited,
        Disposition::Descriptor,
        Disposition::Default,
    ])
}

fn signal() -> impl Strategy<Value = Option<Signal>> {
    prop_oneof![
        8 => Just(Some(Signal::TERM)),
        2 => Just(Some(Signal::INT)),
        1 => Just(None),
    ]
}

fn client() -> impl Strategy<Value = Client> {
    let exchanges = prop::collection::vec(exchange(), 0..4);
    let kept = prop::option::weighted(0.3, kept());
    (0..SIGNAL_US + 2_000_000, 0u8..8, exchanges, kept)
        .prop_map(|(began_us, sight, exchanges, kept)| Client { began_us, sight, exchanges, kept })
}

fn kept() -> impl Strategy<Value = (u64, ConnectionEnd)> {
    let end = prop_oneof![
        3 => Just(ConnectionEnd::ClosedByServer),
        2 => Just(ConnectionEnd::ClosedByClient),
        1 => Just(ConnectionEnd::ResetByServer),
    ];
    (0u64..5_000_000, end)
}

/// A connection with nothing outstanding at the signal.
fn idle_client() -> impl Strategy<Value = Client> {
    let answered = exchange().prop_map(|exchange| Exchange {
        gap_us: 1_000,
        lasts_us: 1 + exchange.lasts_us % 100_000,
        end: RequestEnd::Complete,
        stalled: false,
        ..exchange
    });
    let began_us = SIGNAL_US - 1_000_000..SIGNAL_US - 300_000;
    (began_us, 4u8..8, prop::collection::vec(answered, 0..2), kept()).prop_map(
        |(began_us, sight, exchanges, (lasts_us, end))| Client {
            began_us,
            sight,
            exchanges,
            kept: Some((1_000_000 + lasts_us, end)),
        },
    )
}

/// A client that stops in the middle of its one request.
fn stalled_client() -> impl Strategy<Value = Client> {
    (1_500_000u64..5_000_000, exchange(), 0u8..8).prop_map(|(lasts_us, exchange, sight)| Client {
        began_us: SIGNAL_US - 1_000_000,
        sight,
        exchanges: vec![Exchange { gap_us: 1_000, lasts_us, stalled: true, ..exchange }],
        kept: None,
    })
}

/// A client with enough requests to tell how long they take, before the signal and after it.
fn busy_client() -> impl Strategy<Value = Client> {
    let slowest_us = prop_oneof![Just(12_000u64), 100_000u64..400_000];
    (slowest_us, any::<bool>()).prop_map(|(slowest_us, close_announced)| {
        let exchange = |number| Exchange {
            gap_us: 0,
            lasts_us: if number < 28 { 10_000 } else { slowest_us },
            end: RequestEnd::Complete,
            begun: true,
            status: 200,
            close_announced,
            framing: 0,
            body_length: 10,
            http_1_0: false,
            sent_while_open: true,
            stalled: false,
        };
        let exchanges = (0..36).map(exchange).collect();
        Client { began_us: SIGNAL_US - 300_000, sight: 4, exchanges, kept: None }
    })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let end = prop_oneof![
        8 => Just(RequestEnd::Complete),
        1 => Just(RequestEnd::Closed),
        1 => Just(RequestEnd::Reset),
        1 => Just(RequestEnd::NotHttp),
        1 => Just(RequestEnd::TimedOut),
        1 => Just(RequestEnd::Abandoned),
    ];
    let status = prop_oneof![8 => Just(200u16), 1 => Just(500), 1 => Just(503)];
    let body_length = prop_oneof![8 => Just(10u64), 1 => Just(3), 1 => Just(11)];
    let flags = (any::<[bool; 3]>(), 0u8..3);
    let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.08));
    (0u64..300_000, 1u64..1_500_000, end, status, body_length, flags, rare).prop_map(
        |(gap_us, lasts_us, end, status, body_length, (flags, framing), (http_1_0, stalled))| {
            let [begun, close_announced, sent_while_open] = flags;
            Exchange {
                gap_us,
                lasts_us,
                end,
                begun,
                status,
                close_announced,
                framing,
                body_length,
                http_1_0,
                sent_while_open,
                stalled,
            }
        },
    )
}

fn readiness() -> impl Strategy<Value = Readiness> {
    prop_oneof![
        2 => Just(Readiness::Ready(200)),
        3 => Just(Readiness::NotReady(503)),
        1 => Just(Readiness::Refused),
        1 => Just(Readiness::NoAnswer),
    ]
}

fn probe_outcome() -> impl Strategy<Value = ProbeOutcome> {
    prop_oneof![
        3 => Just(ProbeOutcome::Refused),
        2 => Just(ProbeOutcome::Established),
        1 => Just(ProbeOutcome::TimedOut),
        1 => Just(ProbeOutcome::Failed),
    ]
}

fn job() -> impl Strategy<Value = Job> {
    let lasts = prop::option::weighted(0.7, 1u64..2_000_000);
    (0..SIGNAL_US + 1_500_000, lasts, prop::bool::weighted(0.2))
        .prop_map(|(began_us, lasts_us, in_turns)| Job { began_us, lasts_us, in_turns })
}

fn end() -> impl Strategy<Value = End> {
    let code = |code| ExitStatus { code: Some(code), signal: None };
    let signal = |signal| ExitStatus { code: None, signal: Some(signal) };
    let status = prop_oneof![
        3 => Just(code(0)),
        1 => Just(code(1)),
        1 => Just(code(143)),
        3 => Just(signal(Signal::TERM)),
        1 => Just(signal(Signal::INT)),
    ];
    let exit = prop_oneof![
        4 => Just(None),
        20 => (SIGNAL_US + 400..SIGNAL_US + 3_000_000).prop_map(Some),
        1 => (SIGNAL_US - 500..SIGNAL_US + 400).prop_map(Some),
    ];
    let left = (prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    let released = prop::option::weighted(0.7, prop::option::weighted(0.6, 6u64..50_000));
    (exit, status, left, released).prop_map(
        |(exit_us, status, (process_left, port_left), released)| End {
            exit_us,
            status,
            process_left,
            port_left,
            released,
        },
    )
}

fn second() -> impl Strategy<Value = Second> {
    let outcome = prop_oneof![
        6 => Just(WriteOutcome::Acknowledged(200)),
        1 => Just(WriteOutcome::Refused(503)),
        2 => Just(WriteOutcome::Indeterminate(RequestEnd::Closed)),
    ];
    let read = prop_oneof![
        12 => Just(Some(ReadOutcome::Present)),
        1 => Just(Some(ReadOutcome::Absent)),
        1 => Just(Some(ReadOutcome::Damaged)),
        1 => Just(Some(ReadOutcome::Unknown)),
        1 => Just(None),
    ];
    let ended = SIGNAL_US - 500_000..SIGNAL_US + 300_000;
    let writes = prop::collection::vec((ended, outcome, read), 0..4);
    let writes = prop_oneof![2 => Just(Vec::new()), 1 => writes];
    let ready = prop_oneof![1 => Just(None), 4 => Just(Some(true)), 2 => Just(Some(false))];
    (prop::bool::weighted(0.7), prop::bool::weighted(0.7), writes, ready)
        .prop_map(|(planned, declared, writes, ready)| Second { planned, declared, writes, ready })
}

fn instant(us: u64) -> Nanos {
    Nanos::from_ns(us * 1_000)
}

/// Events in the making.
struct Recorder {
    events: Vec<Event>,
    naming: Naming,
}

impl Recorder {
    fn record(&mut self, us: u64, kind: EventKind) {
        self.events.push(Event { at: instant(us), kind });
    }
}

impl Case {
    /// The same, with phases that come from the kernel.
    pub(crate) fn with_the_kernel_asked(self) -> Self {
        Self { kernel_asked: true, ..self }
    }

    /// The same, with a target that runs all the time.
    pub(crate) fn without_a_hold(self) -> Self {
        Self { hold: None, ..self }
    }

    /// The same, with clients that all stop on purpose.
    pub(crate) fn with_stalled_clients(mut self) -> Self {
        for exchange in self.clients.iter_mut().flat_map(|client| &mut client.exchanges) {
            exchange.stalled = true;
        }
        self
    }

    /// The header and the events, in the order of time.
    pub(crate) fn built(&self, naming: Naming) -> (Header, Vec<Event>) {
        let mut recorder = Recorder { events: Vec::new(), naming };
        let leader = naming.number(1);
        recorder.record(0, EventKind::Spawned { pid: leader });
        let ready =
            EventKind::OutputLine { stream: Stream::Stdout, line: "ready".into(), cut: false };
        recorder.record(1, ready);
        let lag = EventKind::HarnessLag { worst: Duration::from_millis(self.lag_ms) };
        recorder.record(SIGNAL_US, lag);
        self.set_up(&mut recorder, leader);
        if let Some(signal) = self.signal {
            let planned = instant(SIGNAL_US);
            let sending = EventKind::SignalSending { signal, pid: leader, planned };
            recorder.record(SIGNAL_US, sending);
            recorder.record(SIGNAL_US + self.bracket_us, EventKind::SignalSent { signal });
        }
        if let (Some(_), Some(Again { gap_us, signal, .. })) = (self.signal, self.again) {
            let at = SIGNAL_US + self.bracket_us + gap_us;
            let planned = instant(at);
            recorder.record(at, EventKind::SignalSending { signal, pid: leader, planned });
            recorder.record(at + 20, EventKind::SignalSent { signal });
        }
        let mut sights = Vec::new();
        let mut requests = 0;
        for (number, client) in (0..).zip(&self.clients) {
            let id = naming.number(number);
            let sent = client.play(&mut recorder, id, &mut requests);
            sights.extend(client.sight(id, sent));
        }
        if self.kernel_asked {
            for when in [Snapshot::Before, Snapshot::After] {
                let sockets = sights.clone();
                recorder.record(SIGNAL_US, EventKind::SocketsSeen { when, sockets });
            }
        }
        for (began_us, outcome) in &self.probes {
            let (started, ended) = (instant(*began_us), instant(began_us + 50));
            recorder.record(
                began_us + 50,
                EventKind::Probe(Probe { started, ended, outcome: *outcome }),
            );
        }
        for (began_us, outcome) in &self.readiness {
            let (started, ended) = (instant(*began_us), instant(began_us + 900));
            let probe = ReadinessProbe { started, ended, outcome: *outcome };
            recorder.record(began_us + 900, EventKind::ReadinessProbe(probe));
        }
        for (number, job) in (0..).zip(&self.jobs) {
            job.play(&mut recorder, number);
        }
        if self.dropped {
            recorder.record(SIGNAL_US, EventKind::OutputDropped { lines: 5, job_lines: 5 });
        }
        let felt_us = SIGNAL_US + self.bracket_us + self.hold.map_or(0, |hold| hold.pause_us);
        self.end.play(&mut recorder, felt_us + self.limits_ms[0] * 1_000);
        self.second.play(&mut recorder, self.end.exit_us);
        // Events at the same instant keep the order in which they were played.
        recorder.events.sort_by_key(|event| event.at);
        (self.header(), recorder.events)
    }

    /// Records what precedes the signal, and the end of the pause after it.
    fn set_up(&self, recorder: &mut Recorder, leader: u32) {
        if let Some(hold) = self.hold {
            let took = Duration::from_micros(90);
            let held = EventKind::Held { processes: 1, by: HeldBy::Stop, took };
            recorder.record(SIGNAL_US - hold.before_us, held);
            recorder.record(SIGNAL_US + self.bracket_us + hold.pause_us, EventKind::Thawed);
        }
        if let Some(disposition) = self.disposition {
            let name = "server".into();
            let process =
                ProcessSeen { pid: leader, name, leader: true, listener: true, disposition };
            recorder.record(SIGNAL_US, EventKind::Dispositions { processes: vec![process] });
        }
        if self.missed {
            recorder.record(SIGNAL_US, EventKind::SituationMissed { what: "a request".into() });
        }
    }

    fn header(&self) -> Header {
        let [deadline, refuse_within, jobs_stop_within, inference_margin] =
            self.limits_ms.map(Duration::from_millis);
        let known = ExpectedBody { length: 10, sha256_prefix: 7 };
        let response = ExpectedResponse {
            name: "GET /a".into(),
            status: 200,
            body: self.body_known.then_some(known),
            usual: Duration::from_millis(300),
            first_byte: Duration::from_millis(300),
        };
        let contract = Contract {
            deadline,
            refuse_within,
            jobs_stop_within,
            inference_margin,
            lag_limit: Duration::from_millis(28),
            idle_exit_within: Duration::from_millis(self.promises.idle_exit_ms),
            unready_within: Duration::from_millis(self.promises.unready_ms),
            reaction: Duration::from_millis(self.promises.reaction_ms),
            lame_duck: self.promises.lame_duck_ms.map(Duration::from_millis),
            usual_exit: self.promises.usual_exit_ms.map(Duration::from_millis),
            has_readiness: self.promises.has_readiness,
            has_writes: self.second.declared,
            requests: vec![response],
            second_signal: match self.again {
                Some(Again { force: true, .. }) => SecondSignal::Force,
                _ => SecondSignal::Ignore,
            },
            jobs: JobPatterns { declared: self.jobs_declared, ..JobPatterns::usual() },
            log: LogPatterns {
                last_words: vec!["(finished|ctx Done)$".into()],
                ..LogPatterns::default()
            },
            ..Contract::default()
        };
        let load = LoadShape {
            connections: 6,
            arrivals: Arrivals::Closed { pause: Duration::ZERO },
            keep_alive_percent: 50,
            pooled_clients: 0,
        };
        let trial = Trial {
            number: 1,
            seed: 1,
            situation: if self.starting { Situation::Startup } else { Situation::Load },
            load,
            asks: None,
            asks_after: None,
            kinds: None,
            hold: None,
            as_pid_1: false,
            aside: false,
            signals: Vec::new(),
            restart: self.second.planned,
        };
        Header {
            history_version: HISTORY_VERSION.into(),
            tool_version: "0.1.0".into(),
            command: vec!["./bin".into()],
            trial,
            contract,
        }
    }
}

impl Client {
    /// Records the exchanges up to the first that fails, and the connection; returns the bytes
    /// that had been sent before the signal.
    fn play(&self, recorder: &mut Recorder, connection: u32, requests: &mut u32) -> u64 {
        let mut now = self.began_us + 40;
        let mut sent = 0;
        let mut offset = 0;
        let mut end = ConnectionEnd::ClosedByClient;
        for exchange in &self.exchanges {
            now += exchange.gap_us;
            let mut request = exchange.request(now);
            request.connection = connection;
            request.request = recorder.naming.number(*requests);
            request.stream_offset = offset;
            *requests += 1;
            if now < SIGNAL_US {
                sent += u64::from(REQUEST_BYTES);
            }
            offset += u64::from(REQUEST_BYTES);
            now += exchange.lasts_us;
            recorder.record(now, EventKind::Request(request));
            if exchange.end != RequestEnd::Complete {
                end = match exchange.end {
                    RequestEnd::Closed => ConnectionEnd::ClosedByServer,
                    RequestEnd::Reset => ConnectionEnd::ResetByServer,
                    _ => ConnectionEnd::ClosedByClient,
                };
                break;
            }
        }
        let is_whole = self.exchanges.iter().all(|e| e.end == RequestEnd::Complete);
        if let Some((kept_us, kept_end)) = self.kept.filter(|_| is_whole) {
            (now, end) = (now + kept_us, kept_end);
        }
        let connection = Connection {
            connection,
            local_port: Some(40_000),
            started: instant(self.began_us),
            established: Some(instant(self.began_us + 40)),
            ended: instant(now),
            end,
        };
        recorder.record(now, EventKind::Connection(connection));
        sent
    }

    /// What the kernel shows: mostly everything read, else unread, in part, queued or unknown.
    fn sight(&self, connection: u32, sent: u64) -> Option<SocketSeen> {
        let sent_bytes = u32::try_from(sent).unwrap_or_default();
        let (accepted, unread) = match self.sight {
            0 => return None,
            1 => (false, sent_bytes),
            2 => (true, sent_bytes.min(REQUEST_BYTES)),
            3 => (true, sent_bytes.min(10)),
            _ => (true, 0),
        };
        (self.began_us < SIGNAL_US).then_some(SocketSeen {
            connection,
            accepted,
            unread,
            received: sent,
            sent: 0,
            unsent: 0,
        })
    }
}

impl Exchange {
    fn request(self, started_us: u64) -> Request {
        let answered = self.end == RequestEnd::Complete || self.begun;
        let first_byte = started_us + 1 + self.lasts_us / 2;
        let ended = started_us + self.lasts_us;
        let first_byte = answered.then_some(instant(first_byte.min(ended)));
        let framing = match self.framing {
            0 => Framing::ContentLength(self.body_length),
            1 => Framing::Chunked,
            _ => Framing::CloseDelimited,
        };
        let sent = Some(instant(started_us + 1));
        Request {
            request: 0,
            connection: 0,
            template: 0,
            head_bytes: 60,
            total_bytes: REQUEST_BYTES,
            stream_offset: 0,
            response_offset: 0,
            response_bytes: 0,
            started: instant(started_us),
            head_sent: sent,
            sent,
            first_byte,
            head_received: first_byte,
            parts: first_byte.into_iter().collect(),
            ended: instant(ended),
            end: self.end,
            status: answered.then_some(self.status),
            close_announced: self.close_announced,
            http_1_0: self.http_1_0,
            sent_while_open: self.sent_while_open,
            stalled: self.stalled,
            framing: answered.then_some(framing),
            body: match answered {
                true => {
                    BodySeen { length: self.body_length, sha256_prefix: 7, digest_matches: None }
                }
                false => BodySeen::default(),
            },
        }
    }
}

impl Job {
    fn play(&self, recorder: &mut Recorder, number: u32) {
        let id = match recorder.naming {
            Naming::Plain => format!("a{number}"),
            Naming::Other => format!("other-{}", 9 - number),
        };
        let (start, finish) = match self.in_turns {
            true => (format!("[{id} job] Done"), format!("[{id} job] ctx Done")),
            false => (format!("job id={id} started"), format!("job id={id} finished")),
        };
        let line = |line| EventKind::OutputLine { stream: Stream::Stdout, line, cut: false };
        recorder.record(self.began_us, line(start));
        if let Some(lasts_us) = self.lasts_us {
            recorder.record(self.began_us + lasts_us, line(finish));
        }
    }
}

impl Second {
    fn play(&self, recorder: &mut Recorder, exit_us: Option<u64>) {
        let key = |number: usize| match recorder.naming {
            Naming::Plain => format!("k{number}"),
            Naming::Other => format!("other-{}", 9 - number),
        };
        let keys: Vec<String> = (0..self.writes.len()).map(key).collect();
        for ((ended_us, outcome, _), key) in self.writes.iter().zip(&keys) {
            let (started, ended) = (instant(ended_us - 300), instant(*ended_us));
            let (key, local_port, sent) = (key.clone(), None, None);
            let write = Write { key, local_port, started, sent, ended, outcome: *outcome };
            recorder.record(*ended_us, EventKind::Write(write));
        }
        let Some(exit_us) = exit_us.filter(|_| self.planned) else { return };
        let again_us = exit_us.max(SIGNAL_US) + 6_000_000;
        let pid = recorder.naming.number(3);
        recorder.record(again_us, EventKind::StartedAgain { pid, port: 8080 });
        let after = Duration::from_millis(1);
        let (reason, lines) = ("it ended".into(), Vec::new());
        match self.ready {
            None => {
                let what = "the port is taken".into();
                return recorder.record(again_us + 9, EventKind::RestartMissed { what });
            }
            Some(false) => {
                return recorder.record(again_us + 9, EventKind::NotRestarted { reason, lines });
            }
            Some(true) => recorder.record(again_us + 9, EventKind::Restarted { after }),
        }
        for ((_, _, read), key) in self.writes.iter().zip(keys) {
            let Some(outcome) = *read else { continue };
            let read = ReadBack { key, status: Some(200), outcome };
            recorder.record(again_us + 20, EventKind::ReadBack(read));
        }
    }
}

impl End {
    fn play(&self, recorder: &mut Recorder, deadline_us: u64) {
        let pid = recorder.naming.number(1);
        let status = self.status;
        let child = recorder.naming.number(2);
        match self.exit_us.filter(|exit_us| *exit_us < deadline_us) {
            None => {
                recorder.record(deadline_us, EventKind::DeadlinePassed);
                if self.released.is_some() {
                    recorder.record(deadline_us + 1, EventKind::ClientsReleased);
                }
                if let Some(Some(after_us)) = self.released {
                    recorder.record(deadline_us + after_us, EventKind::Exited { pid, status });
                    return;
                }
                recorder.record(deadline_us + 5, EventKind::Killed { pids: vec![pid] });
                let status = ExitStatus { code: None, signal: Some(Signal::KILL) };
                recorder.record(deadline_us + 9, EventKind::Exited { pid, status });
            }
            Some(exit_us) => {
                recorder.record(exit_us, EventKind::Exited { pid, status });
                let grace_us = exit_us + 1_000_000;
                if self.process_left {
                    let command = "worker".into();
                    recorder.record(grace_us, EventKind::ProcessLeft { pid: child, command });
                    recorder.record(grace_us + 5, EventKind::Killed { pids: vec![child] });
                }
                if self.port_left {
                    let address = ServerAddress::Tcp(([127, 0, 0, 1], 8080).into());
                    recorder.record(grace_us, EventKind::PortLeft { address });
                }
            }
        }
    }
}
