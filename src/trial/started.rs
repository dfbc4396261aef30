//! A started target, and what reads its output.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, Stream};
use crate::model::ledger::line_pattern;
use crate::model::target::LastWords;
use crate::observe::recorder::Recorder;
use crate::target::announce::{Announcement, AwaitedLine};
use crate::target::files::{OwnFiles, placed};
use crate::target::launch::{Launched, launch};
use crate::target::output::Output;
use crate::target::port::{PortLease, is_served, is_taken};
use crate::target::ready::{Found, NotReady, Search, ready};

use super::error::{Early, TrialError, harness};
use super::interrupt::Interrupt;
use super::sources::Sources;
use super::subject::{Guard, Subject};

/// A longer command is cut in messages.
const COMMAND_CHARS_MAX: usize = 60;

/// A started target, and what reads its output.
pub(super) struct Started {
    guard: Arc<dyn Guard>,
    pub(super) launched: Launched,
    pub(super) output: Output,
    pub(super) readers: JoinSet<()>,
    pub(super) sources: Sources,
    lease: Option<PortLease>,
    /// The unix socket that it is to listen on.
    socket: Option<PathBuf>,
    pub(super) files: OwnFiles,
    announcement: Announcement,
    guarded: Vec<u32>,
    command: String,
}

/// Starts the target of a subject.
///
/// `seed` says where the search for a free port begins; a fixed port need only be free of
/// listeners, since servers that are bound to one set SO_REUSEADDR.
pub(super) fn start(
    subject: &Subject,
    seed: u64,
    recorder: &Recorder,
) -> Result<Started, TrialError> {
    let command = shown(&subject.target.command);
    let (port, lease) = match subject.target.port {
        Some(port) if is_taken(port) => return Err(TrialError::PortTaken { port, command }),
        Some(port) => (port, None),
        None => {
            let lease = PortLease::take(seed).map_err(harness("find a free port"))?;
            (lease.port(), Some(lease))
        }
    };
    let socket = subject.target.socket_at(port);
    if let Some(address) = socket.clone().map(ServerAddress::Unix).filter(is_served) {
        return Err(TrialError::SocketTaken { address, command });
    }
    let files = OwnFiles::before_launch(&subject.target, port);
    let marker = format!("{}-{port}", subject.run_id);
    let since = SystemTime::now();
    let (output, line) = output(subject, recorder)?;
    let sources = Sources::begin(&subject.target.elsewhere, port, recorder, &output);
    let (launched, pipes) = launch(&subject.target, port, &marker)?;
    let pid = launched.leader().pid;
    subject.guard.launched(pid);
    // It has been running while its family was looked at.
    recorder.record_at(recorder.now() - launched.age(), EventKind::Spawned { pid });
    let mut readers = JoinSet::new();
    readers.spawn_local(output.clone().read(pipes.stdout, Stream::Stdout));
    readers.spawn_local(output.clone().read(pipes.stderr, Stream::Stderr));
    let file = subject.target.ready_file.as_ref().map(|path| placed(&subject.target, path, port));
    let announcement = Announcement { line, file, since };
    let guard = subject.guard.clone();
    let guarded = vec![pid];
    Ok(Started {
        guard,
        launched,
        output,
        readers,
        sources,
        lease,
        socket,
        files,
        announcement,
        guarded,
        command,
    })
}

impl Drop for Started {
    fn drop(&mut self) {
        self.launched.kill_all();
        self.files.clear(self.launched.family());
        for pid in self.guarded.drain(..) {
            self.guard.ended(pid);
        }
    }
}

impl Started {
    /// Waits until it is ready, or has ended, or the user asks for the end.
    pub(super) async fn ready(
        &mut self,
        subject: &Subject,
        interrupt: &Interrupt,
        recorder: &Recorder,
    ) -> Result<Found, TrialError> {
        let (port, socket) = self.place(subject);
        let search = search(subject, port, socket.as_deref());
        let until = Instant::now() + search.limit;
        let family = self.launched.family();
        let become_ready = async {
            let nowhere = Found { address: None, owner: None };
            let listens = subject.target.has_listener;
            let found = if listens { ready(&search, family).await? } else { nowhere };
            self.announcement.come(until, family).await.map(|()| found)
        };
        let outcome = tokio::select! {
            biased;
            found = become_ready => found,
            () = interrupt.wait() => return Err(TrialError::Interrupted),
        };
        match outcome {
            Ok(found) => {
                self.note_ready(found.clone(), recorder);
                Ok(found)
            }
            Err(NotReady::Gone) => Err(self.ended(Early::BeforeReady).await),
            Err(NotReady::PortTaken { port }) => {
                Err(TrialError::PortTaken { port, command: self.command.clone() })
            }
            Err(reason) => {
                let last = LastWords { exit: None, lines: self.output.last_lines() };
                let (command, waited) = (self.command.clone(), search.limit);
                Err(TrialError::NotReady { command, waited, reason, last })
            }
        }
    }

    /// The port that it was handed, or has, and its unix socket.
    pub(super) fn place(&self, subject: &Subject) -> (u16, Option<PathBuf>) {
        let leased = self.lease.as_ref().map(PortLease::port);
        (subject.target.port.or(leased).unwrap_or_default(), self.socket.clone())
    }

    /// Writes down that it is ready, and tells the guardian who lives then.
    pub(super) fn note_ready(&mut self, found: Found, recorder: &Recorder) {
        let Found { address, owner } = found;
        recorder.record(EventKind::Ready { address, owner });
        self.files.look(self.launched.family());
        // Whatever its environment and session are, the guardian knows it.
        for process in self.launched.family().alive() {
            self.guard.launched(process.pid);
            self.guarded.push(process.pid);
        }
    }

    /// Kills what is left of it, and writes that down.
    pub(super) fn kill_what_is_left(&mut self, recorder: &Recorder) {
        let alive = self.launched.family().alive();
        if !alive.is_empty() {
            // Written first, so that whatever the kill destroys is later than it.
            recorder.record(EventKind::Killed { pids: alive.iter().map(|id| id.pid).collect() });
            self.launched.kill_all();
        }
    }

    /// Reads what is left of its output, and of what it wrote elsewhere.
    pub(super) async fn close_output(&mut self) {
        let readers = &mut self.readers;
        let drained = async { while readers.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(500), drained).await;
        self.sources.read_once_more().await;
        self.output.finish();
    }

    /// Whether another start would listen elsewhere: on the port that it is handed, or on a unix
    /// socket that has its number in its path.
    pub(super) fn took_port(&self, found: &Found) -> bool {
        let Some(port) = self.lease.as_ref().map(PortLease::port) else { return false };
        match &found.address {
            Some(ServerAddress::Tcp(address)) => address.port() == port,
            Some(ServerAddress::Unix(path)) => has_number(&path.to_string_lossy(), port),
            None => true,
        }
    }

    /// Keeps where a unix socket was found, so that no trial has to look for it: where it listens on
    /// another one each time, it is to be found each time.
    pub(super) fn learn_socket(&self, subject: &mut Subject, found: &Found) {
        let Some(ServerAddress::Unix(path)) = &found.address else { return };
        let (Some(port), Some(path)) = (self.lease.as_ref().map(PortLease::port), path.to_str())
        else {
            return;
        };
        if has_number(path, port) {
            subject.target.socket = Some(path.replace(&port.to_string(), "{port}"));
        }
    }

    /// The error that says how the target ended, with its last words.
    pub(super) async fn ended(&mut self, when: Early) -> TrialError {
        let leader = self.launched.leader().clone();
        // It may be another process that ended, and the leader live on.
        let exit = timeout(Duration::from_millis(200), leader.ended()).await.ok().flatten();
        // Its last words may still be in the pipe.
        let _ = timeout(Duration::from_millis(200), async {
            while self.readers.join_next().await.is_some() {}
        })
        .await;
        let last = LastWords { exit, lines: self.output.last_lines() };
        TrialError::Ended { command: self.command.clone(), when, last }
    }
}

/// What reads the target's output, and the line by which it says that it is ready.
fn output(
    subject: &Subject,
    recorder: &Recorder,
) -> Result<(Output, Option<AwaitedLine>), TrialError> {
    let output =
        Output::new(recorder.clone(), subject.job_lines.clone(), subject.log_lines.clone());
    let Some(pattern) = &subject.target.ready_line else { return Ok((output, None)) };
    let (output, told) = output.telling(line_pattern(pattern)?);
    Ok((output, Some((pattern.clone(), told))))
}

/// Whether a path has the number in it, not as a part of a longer one.
fn has_number(path: &str, number: u16) -> bool {
    path.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number.to_string())
}

/// Where a target is looked for.
pub(super) fn search<'s>(subject: &'s Subject, port: u16, socket: Option<&'s Path>) -> Search<'s> {
    let target = &subject.target;
    Search {
        port,
        host: &target.host,
        socket,
        any_port: target.port.is_none(),
        ready_path: target.ready_path.as_deref(),
        limit: target.ready_timeout,
    }
}

/// The command on one line, short enough for a message.
fn shown(command: &[String]) -> String {
    let is_plain = |word: &str| !word.is_empty() && !word.contains([' ', '\'', '"', ';', '&', '|']);
    let words = command.iter().map(|word| match is_plain(word) {
        true => word.clone(),
        false => format!("'{word}'"),
    });
    let line = words.collect::<Vec<_>>().join(" ").replace(char::is_control, " ");
    match line.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
