//! A started target, and what reads its output.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, Stream};
use crate::model::ledger::line_pattern;
use crate::model::signal::Signal;
use crate::model::target::{Elsewhere, LastWords, Target};
use crate::observe::recorder::Recorder;
use crate::target::announce::{Announcement, AwaitedLine};
use crate::target::files::{OwnFiles, has_number, placed};
use crate::target::folder::Folder;
use crate::target::launch::{Launched, Start, launch};
use crate::target::output::Output;
use crate::target::port::{PortLease, is_in_use, is_served, is_taken};
use crate::target::ready::{Found, NotReady, Search, ready};
use crate::target::tree::{ProcessId, process_id};

use super::error::{Early, TrialError, harness};
use super::interrupt::Interrupt;
use super::sources::Sources;
use super::subject::{Guard, Subject};

/// A longer command is cut in messages.
const COMMAND_CHARS_MAX: usize = 60;
/// A target that has not exited within this time, with nothing open, is not waited for.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// How many targets this program has started.
static STARTS: AtomicU32 = AtomicU32::new(0);

/// A started target, and what reads its output.
pub(super) struct Started {
    guard: Arc<dyn Guard>,
    pub(super) launched: Launched,
    pub(super) output: Output,
    pub(super) readers: JoinSet<()>,
    pub(super) sources: Sources,
    place: Place,
    pub(super) files: OwnFiles,
    announcement: Announcement,
    guarded: Vec<ProcessId>,
    command: String,
}

/// Where it listens, and where it keeps its state.
struct Place {
    /// The port that it was handed.
    port: u16,
    /// Whether any other port that it listens on will do.
    any_port: bool,
    /// The unix socket that it is to listen on.
    socket: Option<PathBuf>,
    as_pid_1: bool,
    lease: Option<PortLease>,
    /// Shared by both starts of a trial; it goes with the last of them.
    folder: Option<Rc<Folder>>,
}

/// Starts the target of a subject.
///
/// `seed` says where the search for a free port begins; a fixed port need only be free of
/// listeners, since servers that are bound to one set SO_REUSEADDR.
pub(super) fn start(
    subject: &Subject,
    (seed, as_pid_1): (u64, bool),
    recorder: &Recorder,
) -> Result<Started, TrialError> {
    let command = shown(&subject.target.command);
    if let Some(process) = subject.running {
        return take_hold(process, command, subject, recorder);
    }
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
    let folder = match subject.target.needs_folder() {
        true => Some(Folder::create(&subject.run_id).map_err(harness("make a temporary folder"))?),
        false => None,
    };
    let any_port = subject.target.port.is_none();
    let place = Place { port, any_port, socket, as_pid_1, lease, folder: folder.map(Rc::new) };
    let started = launch_at(place, subject, recorder, |target| target.elsewhere.clone())?;
    let (pid, age) = (started.launched.leader().pid, started.launched.age());
    // It has been running while its family was looked at.
    recorder.record_at(recorder.now() - age, EventKind::Spawned { pid });
    Ok(started)
}

/// The target, with its folder for `{dir}`.
fn target_in(subject: &Subject, folder: Option<&Folder>) -> Target {
    match folder {
        Some(folder) => subject.target.in_folder(folder.path()),
        None => subject.target.clone(),
    }
}

/// Launches the target at its place. What it writes is taken down in `recorder`, and what is found
/// of it `elsewhere`.
fn launch_at(
    place: Place,
    subject: &Subject,
    recorder: &Recorder,
    elsewhere: impl FnOnce(&Target) -> Elsewhere,
) -> Result<Started, TrialError> {
    let port = place.port;
    let folder = place.folder.as_deref();
    let target = target_in(subject, folder);
    let files = OwnFiles::before_launch(&target, port, folder.map(Folder::path));
    let (output, line) = output(subject, recorder)?;
    let sources = Sources::begin(&elsewhere(&target), port, recorder, &output);
    // One below the trial's folder, which is new; any other is the user's.
    if let Some(cwd) = target.cwd.as_ref().filter(|_| target.cwd != subject.target.cwd) {
        std::fs::create_dir_all(cwd).map_err(harness("make the folder to start it in"))?;
    }
    // In networks of their own, several trials have the same port.
    let number = STARTS.fetch_add(1, Ordering::Relaxed);
    let marker = format!("{}-{port}-{number}", subject.run_id);
    let since = SystemTime::now();
    let (keeper, as_pid_1) = (subject.keeper.as_deref(), place.as_pid_1);
    let (launched, pipes) = launch(&target, &Start { port, marker: &marker, keeper, as_pid_1 })?;
    let guarded: Vec<_> = process_id(launched.leader().pid).into_iter().collect();
    guarded.iter().for_each(|process| subject.guard.launched(*process));
    let mut readers = JoinSet::new();
    readers.spawn_local(output.clone().read(pipes.stdout, Stream::Stdout));
    readers.spawn_local(output.clone().read(pipes.stderr, Stream::Stderr));
    let file = target.ready_file.as_ref().map(|path| placed(&target, path, port));
    Ok(Started {
        guard: subject.guard.clone(),
        launched,
        output,
        readers,
        sources,
        place,
        files,
        announcement: Announcement { line, file, since },
        guarded,
        command: shown(&subject.target.command),
    })
}

/// A target that was running before, of which neither output nor exit status will be seen.
fn take_hold(
    process: ProcessId,
    command: String,
    subject: &Subject,
    recorder: &Recorder,
) -> Result<Started, TrialError> {
    let launched = Launched::running(process)
        .map_err(harness("take hold of the process of --pid: it may have ended"))?;
    recorder.record(EventKind::FoundRunning { pid: process.pid });
    let target = &subject.target;
    let port = target.port.unwrap_or_default();
    let (output, _) = output(subject, recorder)?;
    let sources = Sources::begin(&target.elsewhere, port, recorder, &output);
    let (any_port, socket) = (target.port.is_none(), target.socket.as_ref().map(PathBuf::from));
    Ok(Started {
        guard: subject.guard.clone(),
        launched,
        output,
        readers: JoinSet::new(),
        sources,
        place: Place { port, any_port, socket, as_pid_1: false, lease: None, folder: None },
        files: OwnFiles::of_running(target, port, process.pid),
        announcement: Announcement { line: None, file: None, since: SystemTime::now() },
        guarded: Vec::new(),
        command,
    })
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.launched.is_own() {
            // A start that ends here may never have been ready.
            self.look_at_files();
        }
        self.launched.kill_all();
        self.files.clear(self.launched.family());
        for process in self.guarded.drain(..) {
            self.guard.ended(process);
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
        let (port, socket) = self.place();
        let any_port = self.place.any_port;
        let search = Search { any_port, ..search(subject, port, socket.as_deref()) };
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
    pub(super) fn place(&self) -> (u16, Option<PathBuf>) {
        (self.place.port, self.place.socket.clone())
    }

    /// Writes down that it is ready, and tells the guardian who lives then.
    pub(super) fn note_ready(&mut self, found: Found, recorder: &Recorder) {
        let Found { address, owner } = found;
        recorder.record(EventKind::Ready { address, owner });
        self.look_at_files();
        // Whatever its environment and session are, the guardian knows it.
        let alive = self.launched.family().alive();
        for process in alive.into_iter().filter(|_| self.launched.is_own()) {
            self.guard.launched(process);
            self.guarded.push(process);
        }
    }

    /// Takes note of which files are its own, as far as it holds them now.
    pub(super) fn look_at_files(&mut self) {
        self.files.look(self.launched.family());
    }

    /// Kills what is left of it, and writes that down.
    pub(super) fn kill_what_is_left(&mut self, recorder: &Recorder) {
        let alive = self.launched.family().alive();
        if !alive.is_empty() && self.launched.is_own() {
            self.look_at_files();
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
        let Some(port) = self.place.lease.as_ref().map(PortLease::port) else { return false };
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
        let (Some(port), Some(path)) =
            (self.place.lease.as_ref().map(PortLease::port), path.to_str())
        else {
            return;
        };
        if has_number(path, port) {
            subject.target.socket = Some(path.replace(&port.to_string(), "{port}"));
        }
    }

    /// Starts the target once more, on the port and in the folder of this start, which has ended.
    /// What it writes goes into a book of its own. One that had listened where it was told to must
    /// do so again.
    pub(super) fn again(&self, subject: &Subject, found: &Found) -> Result<Started, TrialError> {
        let (port, command) = (self.place.port, self.command.clone());
        let listened = found.address.as_ref().and_then(ServerAddress::tcp).map(|it| it.port());
        let used = listened.map_or(Ok(false), is_in_use).map_err(harness("look who uses the port"));
        if let (Some(port), true) = (listened, used?) {
            return Err(TrialError::PortTaken { port, command });
        }
        if let Some(address) =
            found.address.clone().filter(|it| it.tcp().is_none() && is_served(it))
        {
            return Err(TrialError::SocketTaken { address, command });
        }
        let place = Place {
            any_port: self.place.any_port && listened != Some(port),
            socket: self.place.socket.clone(),
            folder: self.place.folder.clone(),
            lease: None,
            ..self.place
        };
        launch_at(place, subject, &Recorder::new(), |_| Elsewhere::default())
    }

    /// Ends the target without judging how: it is asked first, so that it can clean up; what is
    /// left of it when it is dropped is killed. Gives how long its exit took, with nothing open.
    pub(super) async fn end(self, signal: Signal) -> Option<Duration> {
        let asked = Instant::now();
        self.launched.ask_to_end(signal);
        timeout(EXIT_LIMIT, self.launched.leader().ended()).await.ok()?;
        Some(asked.elapsed())
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
