//! One connection as hyper sees it: a byte stream that ends when shutdown finds it idle.
//!
//! hyper's own `graceful_shutdown` closes a connection whose next request has arrived but has not
//! been read. So hyper isn't told. It serves keep-alive connections until their end, and here that
//! end is made: once shutdown has begun, reading from a connection that is between two requests,
//! and for which nothing has arrived, yields end-of-file.

use std::future::Future;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::Context;

/// A connection is idle when for this long nothing has been received or sent on it.
///
/// A client sends its first request right after the handshake, and one in a hurry its next right
/// after a response; this gives such a request time to arrive, with some for a busy client to be
/// scheduled. Connections that were quiet before the signal are not held up.
const QUIET_PERIOD: Duration = Duration::from_millis(50);

/// How long the client gets to take the end of a response and close its side.
///
/// A network round trip, with some to spare; clients that never close would hold the exit as long.
const LINGER: Duration = Duration::from_millis(300);

/// How much unsent data makes the socket count as full: a client that takes little at a time is
/// seen to make progress, tcp(7) `TCP_NOTSENT_LOWAT`. Bytes.
#[cfg(target_os = "linux")]
const UNSENT_LIMIT: u32 = 64 * 1024;

/// A socket with what has to be known about it to end it well.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Cancelled when idle connections are to end.
    drain: Context,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Received, and not yet handed to hyper.
    inbox: BytesMut,
    /// How many bytes hyper has been given.
    handed_over: u64,
    /// How many it is owed, once that has been asked.
    owed: Option<u64>,
    /// From when the head is complete until the response body has been produced.
    in_process: bool,
    head: HeadScan,
    /// Bytes of the request's content that hyper has yet to get; `u64::MAX` when it is chunked.
    unread_content: u64,
    /// When the connection was accepted, or a byte last moved in either direction.
    last_progress: Instant,
    /// Since when hyper has been waiting for the socket, if it does.
    blocked_since: Option<Instant>,
    /// hyper has been given the end-of-file of an idle connection.
    released: bool,
}

impl Connection {
    /// Takes over a connection that has just been accepted.
    pub(crate) fn new(stream: TcpStream, drain: Context) -> Self {
        // Both are improvements that the connection can do without.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_LIMIT);
        let state = State {
            inbox: BytesMut::new(),
            handed_over: 0,
            owed: None,
            in_process: false,
            head: HeadScan::default(),
            unread_content: 0,
            last_progress: Instant::now(),
            blocked_since: None,
            released: false,
        };
        Self { stream, drain, state: Mutex::new(state) }
    }

    /// Who is at the other end, for the log.
    pub(crate) fn peer(&self) -> String {
        self.stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string())
    }

    /// Tells that hyper has parsed a head whose content is that long (`None`: chunked); the request
    /// is in process until the returned guard is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>, content_length: Option<u64>) -> InProcess {
        let mut state = self.state();
        state.in_process = true;
        state.head = HeadScan::default();
        state.unread_content = content_length.unwrap_or(u64::MAX);
        InProcess(Arc::clone(self))
    }

    /// Whether a next request is owed an answer behind the one in process.
    ///
    /// Owed is what had arrived when this was first asked, which is after the signal, be it only the
    /// beginning: a client that sends request upon request would else never be told to stop.
    ///
    /// Unknown, hence no, behind chunked content, of which hyper may have read too much. Clients
    /// should not pipeline behind a method that isn't idempotent anyway, RFC 9112 §9.3.2.
    pub(crate) fn has_next_request(&self) -> bool {
        let mut state = self.state();
        let received = state.handed_over + state.inbox.len() as u64;
        let owed = *state.owed.get_or_insert_with(|| received + self.unread_bytes() as u64);
        state.unread_content == 0 && state.handed_over < owed
    }

    /// Whether hyper was told that the connection ends, but meanwhile a request has come.
    pub(crate) fn must_reopen(&self) -> bool {
        let reopen = self.state().released && self.has_unread_bytes();
        if reopen {
            self.state().released = false;
        }
        reopen
    }

    /// Returns when, during the drain, hyper has waited for the socket for `limit` in vain.
    ///
    /// Time that a handler takes doesn't count: hyper isn't waiting for the socket then.
    pub(crate) async fn stalled(&self, limit: Duration) {
        let begin = self.drain.cancelled().await;
        loop {
            let blocked_since = self.state().blocked_since;
            if blocked_since.is_some_and(|since| since.max(begin).elapsed() >= limit) {
                return;
            }
            sleep((limit / 10).max(Duration::from_millis(1))).await;
        }
    }

    /// Closes so that the client gets all that was sent.
    ///
    /// close(2) with unread bytes, or bytes that arrive after it, make the kernel send a reset, and
    /// a reset makes the client's kernel throw away what its application has not read yet. So first
    /// say that no more will come, then read until the client has closed too, RFC 9112 §9.6.
    pub(crate) async fn close(&self) {
        if SockRef::from(&self.stream).shutdown(Shutdown::Write).is_err() {
            return; // It is gone already.
        }
        let until_closed = async {
            let mut discarded = [0; 8 * 1024];
            loop {
                self.stream.readable().await?;
                match self.stream.try_read(&mut discarded) {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        };
        // Either way it's closed now; the client has been given its time.
        let _: Result<io::Result<()>, _> = timeout(LINGER, until_closed).await;
    }

    /// Asks the kernel, recv(2) `MSG_PEEK`: what tokio knows lags behind.
    fn has_unread_bytes(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|bytes| bytes > 0)
    }

    /// The same, with how many there are.
    fn unread_bytes(&self) -> usize {
        let socket = SockRef::from(&self.stream);
        let mut peeked = Vec::with_capacity(socket.recv_buffer_size().unwrap_or(0).max(1));
        socket.peek(peeked.spare_capacity_mut()).unwrap_or(0)
    }

    /// Receives into the inbox; zero bytes are the end of the stream.
    fn poll_receive(&self, task: &mut Task<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; 8 * 1024];
        let received = loop {
            match self.stream.poll_read_ready(task)? {
                Poll::Ready(()) => match self.stream.try_read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => break received,
                },
                // tokio has not been told of anything to read, but there may be. As the answer may
                // now end the connection, ask the kernel.
                Poll::Pending if self.drain.is_cancelled() => {
                    break (&*SockRef::from(&self.stream)).read(&mut chunk);
                }
                Poll::Pending => break Err(io::ErrorKind::WouldBlock.into()),
            }
        };
        let received = self.state().note_progress(received);
        if let Poll::Ready(Ok(length)) = received {
            self.state().inbox.extend_from_slice(&chunk[..length]);
        }
        received
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives hyper what it may have of the inbox, and says whether that was anything.
    ///
    /// Never more than the request at hand, so that what follows it stays countable.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let mut length = self.inbox.len().min(buffer.remaining());
        if self.in_process {
            length = length.min(usize::try_from(self.unread_content).unwrap_or(usize::MAX));
            if self.unread_content != u64::MAX {
                self.unread_content -= length as u64;
            }
        } else {
            length = self.head.scan(&self.inbox[..length]);
        }
        buffer.put_slice(&self.inbox[..length]);
        self.handed_over += length as u64;
        self.inbox.advance(length);
        length > 0
    }

    fn is_between_requests(&self) -> bool {
        !self.in_process && !self.head.begun && self.inbox.is_empty()
    }

    /// Turns the outcome of a system call into that of a poll.
    fn note_progress(&mut self, outcome: io::Result<usize>) -> Poll<io::Result<usize>> {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            }
            Ok(_) => {
                self.last_progress = Instant::now();
                self.blocked_since = None;
            }
            Err(_) => {}
        }
        Poll::Ready(outcome)
    }
}

/// Finds the end of a request's head: the first empty line behind one that is not.
#[derive(Debug, Default)]
struct HeadScan {
    /// Something other than a line break has come.
    begun: bool,
    /// So has something in the current line.
    in_line: bool,
}

impl HeadScan {
    /// Goes on with these bytes; returns how many of them belong to the head.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.begun && !self.in_line => return index + 1,
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => (self.begun, self.in_line) = (true, true),
            }
        }
        bytes.len()
    }
}

/// A request in process on a connection, until dropped.
#[derive(Debug)]
pub(crate) struct InProcess(Arc<Connection>);

impl Drop for InProcess {
    fn drop(&mut self) {
        self.0.state().in_process = false;
    }
}

/// The byte stream that hyper reads from and writes to.
pub(crate) struct Stream {
    connection: Arc<Connection>,
    cancelled: Pin<Box<dyn Future<Output = ()> + Send>>,
    quiet: Pin<Box<Sleep>>,
}

impl Stream {
    /// hyper's view of the connection.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let cancelled = Box::pin(connection.drain.wait());
        let quiet = Box::pin(sleep_until(Instant::now()));
        Self { connection, cancelled, quiet }
    }

    /// Whether this connection, for which nothing has arrived, ends here; else wakes up for it.
    fn ends_as_idle(&mut self, task: &mut Task<'_>) -> bool {
        let draining = self.connection.drain.is_cancelled();
        if !draining && self.cancelled.as_mut().poll(task).is_pending() {
            return false;
        }
        let mut state = self.connection.state();
        if !state.is_between_requests() {
            return false;
        }
        let idle_at = state.last_progress + QUIET_PERIOD;
        if Instant::now() < idle_at {
            self.quiet.as_mut().reset(idle_at);
            if self.quiet.as_mut().poll(task).is_pending() {
                return false;
            }
        }
        state.released = true;
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.connection.state().hand_over(buffer) {
                return Poll::Ready(Ok(()));
            }
            match this.connection.poll_receive(task)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {}
                Poll::Pending if this.ends_as_idle(task) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &self.connection.stream;
        let written = loop {
            match stream.poll_write_ready(task)? {
                Poll::Ready(()) => match stream.try_write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => break written,
                },
                Poll::Pending => break Err(io::ErrorKind::WouldBlock.into()),
            }
        };
        self.connection.state().note_progress(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: hyper may believe it's over, [`Connection::close`] decides.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_the_segments_are_cut() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let rest = b"GET /next HTTP/1.1\r\n";
        for cut in 0..head.len() {
            let mut scan = HeadScan::default();
            assert_eq!(scan.scan(&head[..cut]), cut);
            let behind = [&head[cut..], rest].concat();
            assert_eq!(scan.scan(&behind), head.len() - cut);
        }
    }

    /// An accepted connection on which nothing has come for longer than the quiet period, the
    /// client's end, and a context that has just been cancelled.
    async fn quiet_connection() -> io::Result<(Stream, std::net::TcpStream)> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let client = std::net::TcpStream::connect(listener.local_addr()?)?;
        let context = Context::new();
        let connection = Arc::new(Connection::new(listener.accept().await?.0, context.clone()));
        let mut stream = Stream::new(connection);
        assert!(poll_once(&mut stream).await.is_pending());
        std::thread::sleep(QUIET_PERIOD);
        context.cancel();
        Ok((stream, client))
    }

    /// The number of bytes that hyper would get now.
    async fn poll_once(stream: &mut Stream) -> Poll<usize> {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        std::future::poll_fn(|task| {
            let polled = Pin::new(&mut *stream).poll_read(task, &mut buffer);
            Poll::Ready(polled.map(|_| buffer.filled().len()))
        })
        .await
    }

    #[tokio::test]
    async fn bytes_that_tokio_has_not_noticed_keep_a_connection_from_being_idle() -> io::Result<()>
    {
        let (mut stream, mut client) = quiet_connection().await?;
        // On a runtime of one thread nothing is noticed before this test awaits something.
        std::io::Write::write_all(&mut client, b"GET /")?;
        assert_eq!(poll_once(&mut stream).await, Poll::Ready(5));
        Ok(())
    }

    #[tokio::test]
    async fn bytes_that_come_after_the_release_reopen_the_connection() -> io::Result<()> {
        let (mut stream, mut client) = quiet_connection().await?;
        assert_eq!(poll_once(&mut stream).await, Poll::Ready(0));
        assert!(!stream.connection.must_reopen());
        std::io::Write::write_all(&mut client, b"GET /")?;
        assert!(stream.connection.must_reopen());
        assert!(!stream.connection.must_reopen());
        Ok(())
    }

    #[test]
    fn empty_lines_do_not_begin_a_head() {
        let mut scan = HeadScan::default();
        assert_eq!(scan.scan(b"\r\n\r\n\n"), 5);
        assert!(!scan.begun);
    }
}
