//! A server process to be held still, signalled and watched, and a plain HTTP/1.1 client.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};

/// How long an event may take on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test, its log, and where it listens. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    pub(crate) log: Vec<String>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server without jobs on a free port of 127.0.0.1 and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", flags)
    }

    /// Starts a server without jobs at this address and waits until it listens.
    pub(crate) fn start_at(address: &str, flags: &[&str]) -> Self {
        let mut all = vec!["--listen", address, "--background-job", "0s", "--heavy-job", "0s"];
        all.extend(flags);
        Self::start_plain(&all)
    }

    /// Starts a server with these flags only and waits until it listens.
    pub(crate) fn start_plain(flags: &[&str]) -> Self {
        let mut server = Self::spawn(command(flags));
        let line = server.wait_for_line("listening on ");
        server.address = line["listening on ".len()..].parse().expect("an address");
        server
    }

    /// Starts a server without waiting for anything.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { child, lines, log: Vec::new(), address }
    }

    /// Waits for a log line that begins so.
    pub(crate) fn wait_for_line(&mut self, beginning: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.starts_with(beginning) {
                        return line;
                    }
                }
                Err(error) => panic!("no line `{beginning}` ({error}) in {:#?}", self.log),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the server lives");
    }

    /// Holds the server still, and waits until it is.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let begin = Instant::now();
        let tasks = format!("/proc/{}/task", self.child.id());
        loop {
            let stopped = std::fs::read_dir(&tasks).expect("tasks").all(|task| {
                let stat = std::fs::read_to_string(task.expect("a task").path().join("stat"));
                stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|s| s.starts_with(" T")))
            });
            if stopped {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Terminates a frozen server and lets it go on.
    pub(crate) fn terminate_frozen(&self) {
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
    }

    /// Waits for the exit; the log is complete then.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not exit: {:#?}", self.log);
            std::thread::sleep(Duration::from_millis(1));
        };
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return status,
                Err(RecvTimeoutError::Timeout) => panic!("standard error is still open"),
            }
        }
    }

    /// Waits for the exit and asserts that it was a graceful one.
    pub(crate) fn wait_gracefully(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}: {:#?}", self.log);
        assert_eq!(self.log.last().map(String::as_str), Some("server shut down gracefully"));
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test with these flags, and without a PORT from the environment.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-server"));
    command.args(flags).env_remove("PORT");
    command
}

/// A connection to the server.
pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("sends");
    }

    pub(crate) fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// Reads one response to its end.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("a complete response")
    }

    /// Reads one response; an error says at what point it was incomplete.
    pub(crate) fn try_response(&mut self) -> Result<Response, String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head).map_err(|e| format!("head: {e}"))?;
            if read == 0 {
                return Err(format!("end of file after {} bytes of the head", head.len()));
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head[9..12].parse().map_err(|_| format!("bad head {head}"))?;
        if status == 100 {
            return Ok(Response { status, head, body: Vec::new() });
        }
        let mut response = Response { status, head, body: Vec::new() };
        match response.header("content-length") {
            Some(length) => {
                response.body = vec![0; length.parse().map_err(|_| "bad content-length")?];
                self.reader.read_exact(&mut response.body).map_err(|e| format!("body: {e}"))?;
            }
            None => response.body = self.chunks()?,
        }
        Ok(response)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).map_err(|e| format!("chunk: {e}"))?;
            let size = usize::from_str_radix(line.trim_end(), 16)
                .map_err(|_| format!("chunk size `{line}` after {} bytes", body.len()))?;
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).map_err(|e| format!("chunk: {e}"))?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Asserts that the connection ends cleanly here: no more bytes, no reset.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("an end of file, no reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.map(str::to_owned)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// Asserts a 200 that is whole, and that announces the close.
    pub(crate) fn expect_last(&self) {
        self.expect_whole();
        assert_eq!(self.header("connection").as_deref(), Some("close"), "{}", self.head);
    }

    /// Asserts a 200 whose body has the digest that its header states.
    pub(crate) fn expect_whole(&self) {
        assert_eq!(self.status, 200, "{}", self.head);
        let digest = BASE64_STANDARD.encode(Sha256::digest(&self.body)).to_ascii_lowercase();
        assert_eq!(self.header("content-digest"), Some(format!("sha-256=:{digest}:")));
    }
}
