//! The harness's side of a keeper: starts it, and hears from it how its target ended.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use crate::model::event::ExitStatus;

use super::cgroup::Cgroup;
use super::keeper::Told;
use super::launch::Start;
use super::own;

/// The word of the command line that makes this program a keeper.
pub(super) const ROLE: &str = "keeper";
/// A keeper that has not said anything after this time does not.
const SAYS_WITHIN: Duration = Duration::from_secs(10);
/// What a keeper says is shorter than this.
const LINE_MAX: usize = 64;

/// The harness's end of the socket to a keeper. When it is dropped, the keeper ends the target and
/// everything that it has started.
#[derive(Debug)]
pub(super) struct Kept {
    socket: UnixStream,
    told: watch::Receiver<Option<ExitStatus>>,
}

/// Why a keeper has no target.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no namespace for it.
    Namespace(io::Error),
    /// It could not be started.
    Target(io::Error),
}

/// The command that starts a keeper of these words.
pub(super) fn command(
    program: &Path,
    start: &Start<'_>,
    group: Option<&Cgroup>,
    words: &[String],
) -> Command {
    let mut command = own::command(program);
    // Not in its environment: there it would be taken for a process of the target.
    command.args([ROLE, "--marker", start.marker]);
    if start.as_pid_1 {
        command.arg("--as-pid-1");
    }
    if let Some(group) = group {
        command.arg("--group").arg(&group.path);
    }
    command.arg("--").args(words);
    command
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Namespace(error) | Refused::Target(error) => error,
        }
    }
}

impl Kept {
    /// Starts the keeper, which starts the target: the keeper, and the target's number.
    pub(super) fn start(command: Command) -> Result<(Child, Self, u32), Refused> {
        let (mut child, socket, pid) = started(command)?;
        match listen(&socket) {
            Ok(told) => Ok((child, Self { socket, told }, pid)),
            Err(error) => {
                end(&mut child, socket);
                Err(Refused::Target(error))
            }
        }
    }

    /// Lets the keeper take the target in when it ends, now that there is a handle of it.
    pub(super) fn let_go(&self) {
        // A socket that takes no byte belongs to a keeper that has ended.
        let _ = (&self.socket).write_all(b"\n");
    }

    /// How the target ended, as soon as that is known.
    pub(super) fn told(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.told.clone()
    }
}

/// Whether a process can be PID 1 of a namespace of its own here: tried with the program itself.
///
/// # Errors
/// What the system says against it.
pub fn try_as_pid_1(program: &Path) -> io::Result<()> {
    let start = Start { port: 0, marker: "", keeper: Some(program), as_pid_1: true };
    let mut words = vec![program.display().to_string()];
    words.extend(own::words());
    words.push("--version".to_owned());
    let mut command = command(program, &start, None, &words);
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let (mut child, socket, _) = started(command)?;
    drop(socket);
    let _ = child.wait();
    Ok(())
}

/// A keeper and its target, both started: the keeper, the socket to it, and the target's number.
fn started(mut command: Command) -> Result<(Child, UnixStream, u32), Refused> {
    let (socket, theirs) = UnixStream::pair().map_err(Refused::Target)?;
    command.stdin(OwnedFd::from(theirs));
    let mut child = command.spawn().map_err(Refused::Target)?;
    // The command keeps its copy of the other end open.
    drop(command);
    let first = socket.set_read_timeout(Some(SAYS_WITHIN)).and_then(|()| line(&socket));
    let refused = match first.map(|line| line.parse()) {
        Ok(Ok(Told::Started(pid))) => return Ok((child, socket, pid)),
        Ok(Ok(Told::NotStarted(error))) => Refused::Target(io::Error::from_raw_os_error(error)),
        Ok(Ok(Told::NoNamespace(error))) => Refused::Namespace(io::Error::from_raw_os_error(error)),
        Ok(_) => Refused::Target(io::Error::other("its keeper ended before it")),
        Err(error) => Refused::Target(error),
    };
    end(&mut child, socket);
    Err(refused)
}

/// Ends a keeper that is of no use.
fn end(child: &mut Child, socket: UnixStream) {
    drop(socket);
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// The first line, byte by byte, so that nothing of the next is taken.
fn line(mut socket: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_MAX && socket.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Listens, beside everything else in this thread, for how the target ends.
fn listen(socket: &UnixStream) -> io::Result<watch::Receiver<Option<ExitStatus>>> {
    socket.set_nonblocking(true)?;
    let mut lines = BufReader::new(tokio::net::UnixStream::from_std(socket.try_clone()?)?).lines();
    let (tell, told) = watch::channel(None);
    tokio::task::spawn_local(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(Told::Ended(status)) = line.parse() {
                tell.send_replace(Some(status));
            }
        }
    });
    Ok(told)
}
