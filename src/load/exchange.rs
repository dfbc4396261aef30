//! One request and its response over one connection, with the instant of each step.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::time::{Instant, sleep_until};

use crate::model::event::{ConnectionId, Request, RequestEnd, RequestId};
use crate::observe::recorder::Recorder;

use super::open::Traffic;
use super::request::{Bytes, PreparedRequest};
use super::response::ResponseReader;
use super::stream::Stream;

/// Pieces into which a slow upload is cut.
const UPLOAD_PIECES: usize = 20;
/// Parts of a body whose instants are kept.
const PARTS_MAX: usize = 32;

/// A connection that requests can be sent on.
#[derive(Debug)]
pub struct OpenConnection {
    /// Its number in the trial.
    pub id: ConnectionId,
    /// The connected socket.
    pub stream: Stream,
    /// Bytes that were sent on it.
    pub sent: u64,
    /// Bytes that were received on it.
    pub received: u64,
    /// The same, for whoever looks at the connection from elsewhere.
    pub traffic: Traffic,
    /// What was read from it is put here.
    pub buffer: Vec<u8>,
}

impl OpenConnection {
    /// One that is no part of what the trial's situation consists of.
    pub fn apart(stream: Stream) -> Self {
        let (traffic, buffer) = (Traffic::new(), vec![0; 16 * 1024]);
        Self { id: 0, stream, sent: 0, received: 0, traffic, buffer }
    }
}

/// A request on its way: what is known of it so far is never lost, also when it is given up.
#[derive(Debug)]
pub struct Exchange {
    /// The facts so far; its end is `Abandoned` until another is known.
    pub request: Request,
    /// Whether the connection can carry another request.
    pub reusable: bool,
    /// Whether it begins after the signal, so that it counts whether the connection is still open.
    pub is_late: bool,
    bytes: Bytes,
    pace: Pace,
    reader: ResponseReader,
    parts: Vec<crate::model::time::Nanos>,
    write_failed: Option<io::ErrorKind>,
}

/// How fast a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All of it at once.
    AtOnce,
    /// The head at once, and the body in pieces over this time.
    Spread(Duration),
    /// So many bytes at once, and the rest when the gate opens.
    Gated(usize),
}

impl Exchange {
    /// Prepares to send a request on a connection; to be sent at once, since its time begins.
    pub fn new(
        id: RequestId,
        connection: &OpenConnection,
        what: &PreparedRequest,
        recorder: &Recorder,
    ) -> Self {
        let bytes = what.bytes(|| format!("sc-{}-{id}", std::process::id()));
        let now = recorder.now();
        let request = Request {
            request: id,
            connection: connection.id,
            template: what.template,
            head_bytes: bytes.head as u32,
            total_bytes: bytes.all.len() as u32,
            stream_offset: connection.sent,
            response_offset: connection.received,
            response_bytes: 0,
            started: now,
            head_sent: None,
            sent: None,
            first_byte: None,
            head_received: None,
            parts: Box::default(),
            ended: now,
            end: RequestEnd::Abandoned,
            status: None,
            close_announced: false,
            http_1_0: false,
            sent_while_open: false,
            stalled: false,
            framing: None,
            body: crate::model::event::BodySeen::default(),
        };
        Self {
            request,
            reusable: false,
            is_late: false,
            pace: what.upload_over.map_or(Pace::AtOnce, Pace::Spread),
            reader: ResponseReader::new(&what.method),
            bytes,
            parts: Vec::new(),
            write_failed: None,
        }
    }

    /// Keeps so many bytes of the response's body.
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.reader.keep(bytes);
        self
    }

    /// The bytes of the body that were kept.
    pub fn kept(&mut self) -> Vec<u8> {
        self.reader.kept()
    }

    /// Sends it at another pace.
    pub fn at_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Sends the request and reads the response, to whichever end it comes; what a gated pace
    /// holds back is sent when `gate` has come.
    ///
    /// May be dropped at any time: [`Exchange::finish`] then tells how far it came.
    pub async fn run(
        &mut self,
        connection: &mut OpenConnection,
        recorder: &Recorder,
        gate: impl Future<Output = ()>,
    ) {
        let OpenConnection { stream, sent, received, buffer, traffic, .. } = connection;
        let mut upload = Upload::new(&self.bytes, self.pace);
        let mut gate = std::pin::pin!(gate);
        let bytes = self.bytes.all.clone();
        let end = loop {
            // Reading goes on while a body is being sent: a server may answer before it has all
            // of it, and one that sends it back would wait for ever to get rid of it.
            tokio::select! {
                biased;
                written = stream.write(upload.due_bytes(&bytes)), if upload.is_due() => {
                    *sent += self.wrote(written, &mut upload, recorder);
                    traffic.note_sent(*sent);
                    if self.is_late && upload.is_complete() && self.write_failed.is_none() {
                        self.request.sent_while_open = is_open(stream);
                    }
                }
                length = stream.read(buffer) => {
                    let before = self.request.response_bytes;
                    let end = self.take(length, buffer, recorder);
                    *received += self.request.response_bytes - before;
                    traffic.note_received(*received);
                    if let Some(end) = end {
                        break end;
                    }
                }
                () = upload.wait() => upload.release(),
                () = &mut gate, if upload.is_gated() => upload.open(),
            }
        };
        self.request.end = end;
        let whole = self.request.sent.is_some() && end == RequestEnd::Complete;
        self.reusable = whole && !self.reader.closes;
    }

    /// The facts, as far as the exchange came.
    pub fn finish(mut self, recorder: &Recorder) -> Request {
        self.request.ended = recorder.now();
        self.request.parts = self.parts.into();
        self.request.status = self.reader.status;
        self.request.framing = self.reader.framing;
        self.request.close_announced = self.reader.close_announced;
        self.request.http_1_0 = self.reader.http_1_0;
        self.request.body = self.reader.body();
        self.request
    }

    /// Takes note of what a write gave; how many bytes it took.
    fn wrote(
        &mut self,
        written: io::Result<usize>,
        upload: &mut Upload,
        recorder: &Recorder,
    ) -> u64 {
        let now = recorder.now();
        // A server that has closed makes writing fail, and may have answered before that, so that
        // reading goes on.
        let length = match written {
            Ok(length) => length,
            Err(error) => {
                self.write_failed = Some(error.kind());
                upload.give_up();
                return 0;
            }
        };
        upload.at += length;
        if upload.at >= self.bytes.head {
            self.request.head_sent.get_or_insert(now);
        }
        if upload.at == self.bytes.all.len() {
            self.request.sent.get_or_insert(now);
        }
        length as u64
    }

    /// Takes what a read gave; the end, if that is one.
    fn take(
        &mut self,
        received: io::Result<usize>,
        buffer: &[u8],
        recorder: &Recorder,
    ) -> Option<RequestEnd> {
        let now = recorder.now();
        let length = match received {
            Ok(0) if self.reader.end_of_stream() => return Some(RequestEnd::Complete),
            // The first error is the truth: after a write that failed by RST, read(2) says EOF.
            Ok(0) if self.write_failed.is_some_and(is_reset) => return Some(RequestEnd::Reset),
            Ok(0) => return Some(RequestEnd::Closed),
            Ok(length) => length,
            Err(error) if is_reset(error.kind()) => return Some(RequestEnd::Reset),
            Err(_) => return Some(RequestEnd::Closed),
        };
        self.request.first_byte.get_or_insert(now);
        let had_head = self.reader.has_head();
        match self.reader.push(&buffer[..length]) {
            Ok(taken) => self.request.response_bytes += taken as u64,
            Err(_) => return Some(RequestEnd::NotHttp),
        }
        if self.reader.has_head() && !had_head {
            self.request.head_received = Some(now);
        }
        if had_head && self.parts.len() < PARTS_MAX {
            self.parts.push(now);
        }
        self.reader.is_complete().then_some(RequestEnd::Complete)
    }
}

/// Whether an error means that the server reset a connection that it had not closed before: after a
/// FIN, an RST shows as EPIPE (tcp(7)), and then the server had closed in good order.
fn is_reset(error: io::ErrorKind) -> bool {
    error != io::ErrorKind::BrokenPipe
}

/// Whether the server has neither closed nor reset the connection (poll(2); unlike a read, it leaves
/// the error to be read).
fn is_open(stream: &Stream) -> bool {
    let closed =
        PollFlags::from_bits_retain(libc::POLLRDHUP) | PollFlags::POLLHUP | PollFlags::POLLERR;
    let mut fds = [PollFd::new(stream.as_fd(), closed)];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0].revents().is_some_and(|seen| !seen.intersects(closed))
}

/// How far a request is sent: all of it is due at once, unless its upload is spread out.
#[derive(Debug)]
struct Upload {
    /// Bytes that were written.
    at: usize,
    /// Bytes that may be written by now.
    due: usize,
    total: usize,
    piece: usize,
    every: Duration,
    /// When the next piece is due, where there is one.
    next: Option<Instant>,
    /// Whether the rest waits for the gate.
    gated: bool,
}

impl Upload {
    fn new(bytes: &Bytes, pace: Pace) -> Self {
        let total = bytes.all.len();
        let (due, over) = match pace {
            Pace::AtOnce => (total, Duration::ZERO),
            Pace::Spread(over) => (bytes.head, over),
            Pace::Gated(first) => (first.min(total), Duration::ZERO),
        };
        let every = over / UPLOAD_PIECES as u32;
        let is_spread = matches!(pace, Pace::Spread(_)) && due < total;
        let next = is_spread.then(|| Instant::now() + every);
        let piece = (total - bytes.head).div_ceil(UPLOAD_PIECES).max(1);
        let gated = matches!(pace, Pace::Gated(_)) && due < total;
        Self { at: 0, due, total, piece, every, next, gated }
    }

    fn is_complete(&self) -> bool {
        self.at == self.total
    }

    fn is_gated(&self) -> bool {
        self.gated
    }

    /// The gate has come: all of the rest is due.
    fn open(&mut self) {
        self.gated = false;
        self.due = self.total;
    }

    fn is_due(&self) -> bool {
        self.at < self.due
    }

    fn due_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.at..self.due]
    }

    /// Waits until the next piece is due; for ever where there is none.
    async fn wait(&self) {
        match self.next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    fn release(&mut self) {
        self.due = (self.due + self.piece).min(self.total);
        let more = self.next.filter(|_| self.due < self.total);
        self.next = more.map(|next| next + self.every);
    }

    /// No more of it can be sent.
    fn give_up(&mut self) {
        self.due = self.at;
        self.next = None;
        self.gated = false;
    }
}
