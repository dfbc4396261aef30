//! What a script does who knows nothing of the server's inside: a load, and a signal at any moment.
//!
//! It counts the requests that were written before kill(2) was called and got no whole answer, and
//! of jobs those that were acknowledged and never finished.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Outcome;
use super::estimate::Finding;
use super::options::Options;
use super::servers::{Asked, Server};

/// How fast clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Four clients, a request each 20 ms.
    Paced,
    /// Sixteen clients that ask again as soon as they are answered.
    Saturating,
}

/// A request each.
const PERIOD: Duration = Duration::from_millis(20);
/// The signal comes in this part of the load.
const WINDOW: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(150));
/// Nothing that a good server does takes as long.
const LIMIT: Duration = Duration::from_secs(5);

impl Pace {
    fn clients(self) -> u32 {
        match self {
            Pace::Paced => 4,
            Pace::Saturating => 16,
        }
    }

    /// A saturating load wants a processor to itself.
    fn side_by_side(self, options: &Options) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if self == Pace::Paced { options.side_by_side } else { cores }
    }

    /// It is also dearer.
    fn trials_max(self, options: &Options) -> u64 {
        if self == Pace::Paced { options.script_trials_max } else { options.script_trials_max / 4 }
    }
}

/// A long sequence of trials: they know nothing of each other, so that it is as good as many runs.
pub(crate) fn measure(server: &Server, pace: Pace, options: &Options) -> Outcome<Finding> {
    let (trials, found) = (AtomicU64::new(0), AtomicU64::new(0));
    let (spent, failed) = (Mutex::new(Duration::ZERO), OnceLock::new());
    thread::scope(|scope| {
        for _ in 0..pace.side_by_side(options) {
            scope.spawn(|| {
                while failed.get().is_none()
                    && found.load(Ordering::SeqCst) < options.detections
                    && trials.load(Ordering::SeqCst) < pace.trials_max(options)
                {
                    let begun = Instant::now();
                    match trial(server, pace) {
                        Ok(is_lost) => found.fetch_add(is_lost.into(), Ordering::SeqCst),
                        Err(error) => return drop(failed.set(error.to_string())),
                    };
                    trials.fetch_add(1, Ordering::SeqCst);
                    *spent.lock().expect("no thread panics") += begun.elapsed();
                }
            });
        }
    });
    if let Some(error) = failed.into_inner() {
        return Err(error.into());
    }
    let seconds = spent.into_inner()?.as_secs_f64();
    Ok(Finding::of_sequence(found.into_inner(), trials.into_inner(), seconds))
}

/// A server, which does not outlive the trial.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One start, one load, one signal; whether something was lost.
fn trial(server: &Server, pace: Pace) -> Outcome<bool> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut running = Running(start(server, port)?);
    wait_until_ready(port, &mut running.0)?;
    let load =
        Load { server, pace, port, is_over: AtomicBool::new(false), killed: OnceLock::new() };
    let pid = Pid::from_raw(running.0.id() as i32);
    let fates = thread::scope(|scope| -> Outcome<Vec<Fate>> {
        let clients: Vec<_> = (0..pace.clients()).map(|_| scope.spawn(|| load.client())).collect();
        thread::sleep(WINDOW.0 + (WINDOW.1 - WINDOW.0).mul_f64(random()));
        let _ = load.killed.set(Instant::now());
        let sent = kill(pid, Signal::SIGTERM);
        load.is_over.store(true, Ordering::SeqCst);
        let fates = clients.into_iter().map(|client| client.join().expect("no client panics"));
        let fates = fates.collect();
        sent?;
        Ok(fates)
    })?;
    if fates.iter().any(|fate| fate.is_lost) {
        return Ok(true);
    }
    let output = output_until_exit(&mut running.0)?;
    let mut jobs = fates.iter().flat_map(|fate| &fate.jobs);
    Ok(jobs.any(|id| !output.contains(&format!("id={id} finished"))))
}

fn start(server: &Server, port: u16) -> io::Result<Child> {
    let port = port.to_string();
    let words: Vec<_> = server.command.iter().map(|word| word.replace("{port}", &port)).collect();
    let stdout = if server.script == Asked::Job { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("PORT", &port).env("JOB_MS", "0").stdin(Stdio::null());
    if let Some(dir) = &server.dir {
        command.current_dir(dir);
    }
    command.stdout(stdout).stderr(Stdio::null()).spawn()
}

fn wait_until_ready(port: u16, child: &mut Child) -> Outcome {
    let until = Instant::now() + LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended before it listened: {status}").into());
        }
        if Instant::now() > until {
            return Err("the server did not listen in time".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits for the exit; what the server wrote, where that is read.
fn output_until_exit(child: &mut Child) -> io::Result<String> {
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    let until = Instant::now() + LIMIT;
    while child.try_wait()?.is_none() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(text)
}

/// What the clients of a trial share.
struct Load<'a> {
    server: &'a Server,
    pace: Pace,
    port: u16,
    is_over: AtomicBool,
    /// Just before the signal was sent.
    killed: OnceLock<Instant>,
}

/// What became of a client's requests.
#[derive(Default)]
struct Fate {
    is_lost: bool,
    /// The ids of jobs that were acknowledged.
    jobs: Vec<String>,
}

impl Load<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn client(&self) -> Fate {
        let mut fate = Fate::default();
        let mut next = Instant::now() + PERIOD.mul_f64(random());
        let mut kept = None;
        while !self.is_over() {
            if self.pace == Pace::Paced {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                next = (next + PERIOD).max(Instant::now());
            }
            if self.is_over() {
                break;
            }
            let Some(mut stream) = kept.take().or_else(|| self.connect()) else { break };
            let request = match self.server.script {
                Asked::Page(path) => format!("GET {path} HTTP/1.1\r\nHost: script\r\n\r\n"),
                Asked::Job => "POST /jobs?ms=50 HTTP/1.1\r\nHost: script\r\n\
                               Content-Length: 0\r\n\r\n"
                    .to_owned(),
            };
            if stream.write_all(request.as_bytes()).is_err() {
                break;
            }
            let sent = Instant::now();
            let Some((head, body)) = answer(&mut stream) else {
                fate.is_lost = self.killed.get().is_some_and(|killed| sent < *killed);
                break;
            };
            if self.server.script == Asked::Job && head.contains(" 202 ") {
                fate.jobs.push(body.trim().to_owned());
            }
            if !head.to_ascii_lowercase().contains("connection: close") {
                kept = Some(stream);
            }
        }
        fate
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }
}

/// The head and the body of an answer with a length, if it comes whole.
fn answer(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&received);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
            if body.len() >= length?.trim().parse().ok()? {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(length) => received.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Anywhere from 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
