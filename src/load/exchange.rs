//! One request and its response over one connection, with the instant of each step.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
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
    /// Prepares to send a request on a connection.
    pub fn new(
        id: RequestId,
        connection: &OpenConnection,
        what: &PreparedRequest,
        recorder: &Recorder,
    ) -> Self {
        let bytes = what.bytes(&format!("sc-{}-{id}", std::process::id()));
        let now = recorder.now();
        let request = Request {
            request: id,
            connection: connection.id,
            template: what.template,
            head_bytes: bytes.head as u32,
            total_bytes: bytes.all.len() as u32,
            stream_offset: connection.sent,
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
        let OpenConnection { stream, sent, buffer, .. } = connection;
        let (mut read, mut write) = stream.split();
        let mut upload = Upload::new(&self.bytes, self.upload_over);
        self.request.started = recorder.now();
        self.write_piece(&mut upload, &mut write, sent, recorder).await;
        let end = loop {
            let received = tokio::select! {
                biased;
                received = read.read(buffer) => received,
                () = upload.due(), if !upload.is_done() && !self.write_failed => {
                    self.write_piece(&mut upload, &mut write, sent, recorder).await;
                    continue;
                }
            };
            if let Some(end) = self.take(received, buffer, recorder) {
                break end;
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

    async fn write_piece(
        &mut self,
        upload: &mut Upload,
        write: &mut WriteHalf<'_>,
        sent: &mut u64,
        recorder: &Recorder,
    ) {
        let piece = upload.next();
        // write(2) may take a part only; a server that has closed already makes it fail, and may
        // have answered before that, so that reading goes on.
        let written = write.write_all(&self.bytes.all[piece.clone()]).await;
        let now = recorder.now();
        if written.is_err() {
            self.write_failed = true;
            return;
        }
        *sent += piece.len() as u64;
        if piece.end >= self.bytes.head && self.request.head_sent.is_none() {
            self.request.head_sent = Some(now);
        }
        if upload.is_done() {
            self.request.sent = Some(now);
        }
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
        if self.reader.push(&buffer[..length]).is_err() {
            return Some(RequestEnd::NotHttp);
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

/// The pieces in which a request is sent: one, unless its upload is spread out.
#[derive(Debug)]
struct Upload {
    head: usize,
    total: usize,
    at: usize,
    piece: usize,
    every: Duration,
    due: Instant,
}

impl Upload {
    fn new(bytes: &Bytes, over: Option<Duration>) -> Self {
        let total = bytes.all.len();
        let body = total - bytes.head;
        let (piece, every) = match over {
            Some(over) => (body.div_ceil(UPLOAD_PIECES).max(1), over / UPLOAD_PIECES as u32),
            None => (total, Duration::ZERO),
        };
        let head = if over.is_some() { bytes.head } else { total };
        Self { head, total, at: 0, piece, every, due: Instant::now() }
    }

    fn is_done(&self) -> bool {
        self.at >= self.total
    }

    /// The next piece; a spread-out upload begins with the head alone.
    fn next(&mut self) -> std::ops::Range<usize> {
        let start = self.at;
        self.at = match start {
            0 => self.head,
            _ => (start + self.piece).min(self.total),
        };
        self.due += self.every;
        start..self.at
    }

    async fn due(&self) {
        sleep_until(self.due).await;
    }
}
