//! What was observed in a trial: facts only, grouped by who observed them.
//!
//! Nothing here says what a fact means. A completed handshake is recorded as such, never as an
//! accepted request: the kernel completes handshakes for servers that accept nothing.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ServerAddress;
pub use super::line::{JobSubmit, LineSource, SourceLine};
use super::near::NearLandmark;
use super::signal::Signal;
use super::syscall::{PointManner, SyscallPoint};
use super::time::{Nanos, duration_ms, optional_duration_ms};
use super::write::{ReadBack, Write};

/// The place of an event in its history, counted from 0.
pub type EventIndex = u32;
/// The number of a connection within its trial.
pub type ConnectionId = u32;
/// The number of a request within its trial.
pub type RequestId = u32;

/// One line of a history: what happened, and when it was written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When the recorder wrote it down. Records of clients carry the instants of their steps.
    pub at: Nanos,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The facts, by observer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    // ---- the target --------------------------------------------------------------------------
    /// The target's first process runs.
    Spawned {
        /// Its process id.
        pid: u32,
    },
    /// The target was running before: it is another's child, and is not ended here.
    FoundRunning {
        /// The process id of its first process.
        pid: u32,
    },
    /// The target was ready: it answered the readiness request, where it listens at all.
    Ready {
        /// Where it listens; absent where it has no listener.
        #[serde(default)]
        address: Option<ServerAddress>,
        /// The process that owns the listening socket, where the kernel could be asked.
        owner: Option<u32>,
    },
    /// The target wrote a line.
    OutputLine {
        /// Where it wrote.
        stream: Stream,
        /// The line without its end, cut when very long.
        line: String,
        /// Whether the stream ended before the line did.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// A line of the target's was found elsewhere than in its output.
    SourceLine(SourceLine),
    /// Such a place was read once more after the target's end, or could not be.
    SourceRead {
        /// Which one.
        source: LineSource,
        /// Why it could not be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// Lines that the target wrote and that were not kept, because it wrote so many.
    OutputDropped {
        /// How many.
        lines: u64,
        /// How many of them were lines of jobs, or others that the contract has a pattern for.
        #[serde(default)]
        job_lines: u64,
    },
    /// The process that the harness follows ended (waitid(2)).
    Exited {
        /// Its process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// A process of the target was still alive when the grace after the exit was over.
    ProcessLeft {
        /// Its process id.
        pid: u32,
        /// Its command line.
        command: String,
    },
    /// The target's port or socket still took connections when the grace after the exit was over.
    PortLeft {
        /// The address that took a connection.
        address: ServerAddress,
    },
    /// A file that the target had made, and that stands for its being there, was still there when
    /// the grace after the exit was over.
    FileLeft {
        /// Where.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// What the target's processes would do with the signal, shortly before it (proc(5)).
    Dispositions {
        /// Its processes.
        processes: Vec<ProcessSeen>,
    },
    /// The kernel had no listener on the target's port any more.
    ListenerClosed,
    /// Nothing waited in the accept queue any more, first seen after the signal.
    QueueEmptied,

    // ---- the harness -------------------------------------------------------------------------
    /// The clients began.
    LoadStarted,
    /// The target, all its processes, was held still.
    Held {
        /// How many processes.
        processes: u32,
        /// By what.
        by: HeldBy,
        /// From the first step to the last thread's stillness.
        #[serde(rename = "took_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        took: Duration,
    },
    /// The target was let go on.
    Thawed,
    /// A thread of the target stood still at a system call of the connection under test.
    Traced(Traced),
    /// The situation was there, as seen from outside.
    SituationReached,
    /// The situation could not be reached, so that the trial counts for nothing.
    SituationMissed {
        /// What was missing.
        what: String,
    },
    /// At the deadline the clients gave up what only they kept open: idle connections, and those on
    /// which they had stopped.
    ClientsReleased,
    /// The last clock reading before the signal was sent: S⁻.
    SignalSending {
        /// The signal.
        signal: Signal,
        /// The process it goes to.
        pid: u32,
        /// When the plan wanted it sent.
        planned: Nanos,
    },
    /// The first clock reading after the signal was sent: S⁺.
    SignalSent {
        /// The signal.
        signal: Signal,
    },
    /// A landmark that the signal was aimed at, once all was over.
    LandmarkPassed {
        /// Which one.
        landmark: NearLandmark,
        /// When it was expected, from a rehearsal.
        predicted: Nanos,
        /// How far apart it was in the rehearsal, from one request to another.
        #[serde(rename = "spread_ms", with = "duration_ms", default)]
        #[schemars(with = "f64")]
        spread: Duration,
        /// When it was first seen to have been passed; absent where it was not. After the signal the
        /// target may take another way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passed: Option<Nanos>,
    },
    /// What the kernel showed of the server's side of the open connections (sock_diag(7)).
    SocketsSeen {
        /// Whether this was just before or just after the signal.
        when: Snapshot,
        /// The connections that the kernel knew.
        sockets: Vec<SocketSeen>,
    },
    /// The deadline was over and the target still alive.
    DeadlinePassed,
    /// The harness killed what was left of the target.
    Killed {
        /// The processes that got SIGKILL.
        pids: Vec<u32>,
    },
    /// How late the harness itself was, at its worst, while the trial ran.
    HarnessLag {
        /// The longest delay of a timer in the load's own thread.
        #[serde(rename = "worst_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        worst: Duration,
    },

    /// What the harness had of the machine, so that its own lateness can be explained.
    HarnessShare {
        /// How long the trial's thread waited for a processor; absent where the kernel does not tell.
        #[serde(rename = "waited_ms", default, with = "optional_duration_ms")]
        #[schemars(with = "Option<f64>")]
        waited: Option<Duration>,
        /// In which steps the clock counts.
        #[serde(rename = "clock_step_ms", default, with = "duration_ms")]
        #[schemars(with = "f64")]
        clock_step: Duration,
    },

    // ---- the clients -------------------------------------------------------------------------
    /// The life of one connection, written when it was over.
    Connection(Connection),
    /// The life of one request, written when it was over.
    Request(Request),
    /// One attempt to connect and nothing more, made to see when connections are refused.
    Probe(Probe),
    /// One question to the readiness endpoint.
    ReadinessProbe(ReadinessProbe),
    /// A request of a pooled client (`reqwest`), as its user sees it.
    PooledRequest(PooledRequest),
    /// A request that submits a job.
    JobSubmit(JobSubmit),
    /// A write of a declared kind.
    Write(Write),

    // ---- the second start --------------------------------------------------------------------
    /// The target was started again after its exit, on the same port and state.
    StartedAgain {
        /// Its first process.
        pid: u32,
        /// The port that it was handed.
        port: u16,
    },
    /// It was ready again.
    Restarted {
        /// From its start to that.
        #[serde(rename = "after_ms", with = "duration_ms")]
        #[schemars(with = "f64")]
        after: Duration,
    },
    /// It was not ready again within its time, or ended before.
    NotRestarted {
        /// What was seen of it last.
        reason: String,
        /// The last lines that it wrote.
        #[serde(default)]
        lines: Vec<String>,
    },
    /// The second start shows nothing, for a reason that is not the target's.
    RestartMissed {
        /// What went wrong.
        what: String,
    },
    /// A key that had been written was read after the second start.
    ReadBack(ReadBack),
}

/// A thread of the target that stood still at a system call (ptrace(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traced {
    /// Where.
    pub point: SyscallPoint,
    /// What was done there besides.
    pub manner: PointManner,
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The system call, as it is called (syscalls(2)).
    pub call: String,
}

impl Traced {
    /// The point and the manner: `after recv #1, held`.
    pub fn text(&self) -> String {
        format!("{}{}", self.point, self.manner.suffix())
    }
}

/// Where a line of output came from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended (wait(2)): by one of the two; neither is known of a process whose parent
/// is another than the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitStatus {
    /// The status it exited with.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
}

/// What a file is that a target leaves.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A unix socket that one of its processes had bound.
    Socket,
    /// A pid file with the number of one of its processes.
    Pid,
    /// A lock file with the number of one of its processes, on which the kernel held no lock.
    Lock,
    /// One that the user named.
    Declared,
}

/// When the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// Just before the signal.
    Before,
    /// Just after the signal.
    After,
}

/// The server's side of one connection (`struct tcp_info`, `struct inet_diag_msg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SocketSeen {
    /// The connection.
    pub connection: ConnectionId,
    /// Whether a program had accepted it; otherwise it waited in the accept queue.
    pub accepted: bool,
    /// Bytes that lay unread in the receive queue.
    pub unread: u32,
    /// Bytes received since the connection was established.
    pub received: u64,
    /// Bytes sent since the connection was established.
    pub sent: u64,
    /// Bytes in the send queue: unsent, or sent and not acknowledged.
    #[serde(default)]
    pub unsent: u32,
}

/// What a process would do with the signal (signal(7)), as `/proc/PID/status` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSeen {
    /// Its process id.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// Whether it is the process that was started.
    pub leader: bool,
    /// Whether it holds the listening socket.
    pub listener: bool,
    /// What the signal would do.
    pub disposition: Disposition,
}

/// What a process would do with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// It has a handler: that says nothing of what the handler does.
    Caught,
    /// SIG_IGN.
    Ignored,
    /// Every thread blocks it, and none is seen to wait for it.
    Blocked,
    /// A thread waits for it (sigwait(3)).
    Awaited,
    /// It is blocked and read from a descriptor (signalfd(2)).
    Descriptor,
    /// The default action: the end of the process.
    Default,
}

/// How a target is held still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeldBy {
    /// SIGSTOP to every process.
    Stop,
    /// The freezer of a control group (cgroups(7), version 2).
    Cgroup,
}

/// One connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Its number in the trial.
    pub connection: ConnectionId,
    /// The client's port; `None` when it never got one, as on a unix socket.
    pub local_port: Option<u16>,
    /// Just before connect(2).
    pub started: Nanos,
    /// When the handshake was known to be complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established: Option<Nanos>,
    /// When it was over, for this client.
    pub ended: Nanos,
    /// How it was over.
    pub end: ConnectionEnd,
}

/// How a connection ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionEnd {
    /// connect(2) failed with ECONNREFUSED or ECONNRESET, or with ENOENT on a unix socket: nobody
    /// listened any more.
    Refused,
    /// connect(2) did not come to an end within the client's limit.
    ConnectTimedOut,
    /// None came about: nothing answered until the target was gone, or the harness had no port or
    /// descriptor free.
    ConnectFailed,
    /// The server closed it (FIN).
    ClosedByServer,
    /// The server reset it (RST).
    ResetByServer,
    /// The client had no more use for it.
    ClosedByClient,
}

/// One HTTP/1.1 request and its response, step by step (RFC 9112).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Its number in the trial.
    pub request: RequestId,
    /// The connection that carried it.
    pub connection: ConnectionId,
    /// Which of the contract's requests it is, counted from 0.
    pub template: u16,
    /// Bytes of the head, up to and including the empty line.
    pub head_bytes: u32,
    /// Bytes of head and body that were to be sent.
    pub total_bytes: u32,
    /// Bytes that the client had sent on this connection before this request.
    pub stream_offset: u64,
    /// Bytes that the client had received on this connection before this response.
    #[serde(default)]
    pub response_offset: u64,
    /// Bytes of the response that were received, head and framing included.
    #[serde(default)]
    pub response_bytes: u64,
    /// Just before the first write(2).
    pub started: Nanos,
    /// When the write(2) of the last byte of the head returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_sent: Option<Nanos>,
    /// When the write(2) of the last byte returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Nanos>,
    /// When the first byte of the response was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Nanos>,
    /// When the response's head was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_received: Option<Nanos>,
    /// When parts of the body were read, the first few of them.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub parts: Box<[Nanos]>,
    /// When it was over, for this client.
    pub ended: Nanos,
    /// How it was over.
    pub end: RequestEnd,
    /// The status code of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the response said `Connection: close`.
    #[serde(default)]
    pub close_announced: bool,
    /// Whether the response speaks HTTP/1.0, which closes unless it says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http_1_0: bool,
    /// Whether the connection was still open in both directions when all of the request had been
    /// sent: then the server's kernel had it before the server closed. Looked at in requests that
    /// begin after the signal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent_while_open: bool,
    /// Whether the client stopped on purpose, so that the response can't be complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
    /// How the end of the response's body is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<Framing>,
    /// The body that was received; its bytes are never kept.
    pub body: BodySeen,
}

/// How a request ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestEnd {
    /// The response was complete by its own framing.
    Complete,
    /// The server closed the connection before that (FIN).
    Closed,
    /// The server reset the connection before that (RST).
    Reset,
    /// The bytes that came are no HTTP/1.1 response.
    NotHttp,
    /// The client's limit was over.
    TimedOut,
    /// The trial was over, or the harness killed the target.
    Abandoned,
}

/// How the length of a response's body is known (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// The status or the method allows no body.
    NoBody,
    /// `Content-Length`.
    ContentLength(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The body ends where the connection does, so that a cut body looks complete.
    CloseDelimited,
}

/// The length and hash of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BodySeen {
    /// Its length in bytes, without the framing of chunks.
    pub length: u64,
    /// The first eight bytes of its SHA-256.
    #[serde(with = "hex")]
    #[schemars(with = "String")]
    pub sha256_prefix: u64,
    /// Whether it is the one that the response's `Content-Digest` names (RFC 9530).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_matches: Option<bool>,
}

/// One attempt to connect, closed again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Just before connect(2).
    pub started: Nanos,
    /// When connect(2) had an outcome.
    pub ended: Nanos,
    /// The outcome.
    pub outcome: ProbeOutcome,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// The handshake was completed: somebody listens.
    Established,
    /// ECONNREFUSED or ECONNRESET, or ENOENT on a unix socket: nobody listens.
    Refused,
    /// No answer within the probe's limit.
    TimedOut,
    /// The harness could not try.
    Failed,
}

/// One question to the readiness endpoint, on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessProbe {
    /// Just before connect(2).
    pub started: Nanos,
    /// When there was an answer, or none to be had.
    pub ended: Nanos,
    /// What it was.
    pub outcome: Readiness,
}

/// What a question to the readiness endpoint gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// A status from 200 to 399, which orchestrators take for success.
    Ready(u16),
    /// Another status.
    NotReady(u16),
    /// Nobody listens.
    Refused,
    /// A connection, and no answer on it.
    NoAnswer,
}

/// A request as the user of a pooled client sees it: no connection, no single steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PooledRequest {
    /// Which of the contract's requests it is, counted from 0.
    pub template: u16,
    /// Just before the client was asked.
    pub started: Nanos,
    /// When the client had an answer.
    pub ended: Nanos,
    /// The status code; `None` when the client returned an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The client's error, as it words it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub(super) mod hex {
    //! Hashes in saved files, as sixteen hexadecimal digits.

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::model) fn serialize<S: Serializer>(
        hash: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{hash:016x}"))
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}
