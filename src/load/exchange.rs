//! One request and its response over one connection, with the instant of each step.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::model::event::{ConnectionId, Request, RequestEnd, RequestId};
use crate::observe::recorder::Recorder;

use super::request::{Bytes, PreparedRequest};
use super::response::ResponseReader;

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
    pub stream: TcpStream,
    /// Bytes that were sent on it.
    pub sent: u64,
    /// Bytes that were received on it.
    pub received: u64,
    /// What was read from it is put here.
    pub buffer: Vec<u8>,
}

/// A request on its way: what is known of it so far is never lost, also when it is given up.
#[derive(Debug)]
pub struct Exchange {
    /// The facts so far; its end is `Abandoned` until another is known.
    pub request: Request,
    /// Whether the connection can carry another request.
    pub reusable: bool,
    bytes: Bytes,
    upload_over: Option<Duration>,
    reader: ResponseReader,
    parts: Vec<crate::model::time::Nanos>,
    write_failed: bool,
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
            upload_over: what.upload_over,
            reader: ResponseReader::new(&what.method),
            bytes,
            parts: Vec::new(),
            write_failed: false,
        }
    }

    /// Sends the request and reads the response, to whichever end it comes.
    ///
    /// May be dropped at any time: [`Exchange::finish`] then tells how far it came.
    pub async fn run(&mut self, connection: &mut OpenConnection, recorder: &Recorder) {
        let OpenConnection { stream, sent, received, buffer, .. } = connection;
        let (mut read, mut write) = stream.split();
        let mut upload = Upload::new(&self.bytes, self.upload_over);
        let bytes = self.bytes.all.clone();
        let end = loop {
            // Reading goes on while a body is being sent: a server may answer before it has all
            // of it, and one that sends it back would wait for ever to get rid of it.
            tokio::select! {
                biased;
                written = write.write(upload.due_bytes(&bytes)), if upload.is_due() => {
                    *sent += self.wrote(written, &mut upload, recorder);
                }
                length = read.read(buffer) => {
                    let before = self.request.response_bytes;
                    let end = self.take(length, buffer, recorder);
                    *received += self.request.response_bytes - before;
                    if let Some(end) = end {
                        break end;
                    }
                }
                () = upload.wait() => upload.release(),
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
        let Ok(length) = written else {
            self.write_failed = true;
            upload.give_up();
            return 0;
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
            Ok(0) if self.write_failed => return Some(RequestEnd::Reset),
            Ok(0) => return Some(RequestEnd::Closed),
            Ok(length) => length,
            Err(_) => return Some(RequestEnd::Reset),
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
}

impl Upload {
    fn new(bytes: &Bytes, over: Option<Duration>) -> Self {
        let total = bytes.all.len();
        let body = total - bytes.head;
        let every = over.unwrap_or_default() / UPLOAD_PIECES as u32;
        let due = if over.is_some() { bytes.head } else { total };
        let next = (due < total).then(|| Instant::now() + every);
        Self { at: 0, due, total, piece: body.div_ceil(UPLOAD_PIECES).max(1), every, next }
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
    }
}
