//! Runs the program as a user would: in a directory of its own, within a limit, and with a mark
//! by which every process that it brings about is found.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) mod roles;

/// The program, which is also a target by its roles `fixture` and `reference-server`.
pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_shutdown-check");
/// Whatever is waited for has come after this time, however busy the machine is.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The variable that marks all processes of one user; every child inherits it.
const MARK: &str = "TESTED_FOR";

static USERS: AtomicU32 = AtomicU32::new(0);
static FIXED_PORTS: AtomicU32 = AtomicU32::new(0);
/// A process that is forked while a program's file is open for writing keeps it open, and then
/// that program can't be executed (execve(2), ETXTBSY).
static FORKING: Mutex<()> = Mutex::new(());

/// Somebody at a shell, in an empty directory.
pub(crate) struct User {
    dir: tempfile::TempDir,
    mark: String,
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The most memory that the harness was seen to have, in KiB.
    pub(crate) memory_kib: u64,
}

/// The program at work.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl User {
    pub(crate) fn new() -> Self {
        let number = USERS.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{MARK}={}-{number}", std::process::id());
        Self { dir: tempfile::tempdir().unwrap(), mark }
    }

    /// What every process of this user has in its environment: the name and the value.
    pub(crate) fn mark_as_variable(&self) -> [String; 2] {
        let (name, value) = self.mark.split_once('=').unwrap();
        [name.to_owned(), value.to_owned()]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// A file that may be executed.
    pub(crate) fn program(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let _alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A command in this directory; of the variables only the mark is the harness's concern.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.mark.split_once('=').unwrap();
        command
            .current_dir(self.dir.path())
            .env(name, value)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SHUTDOWN_CHECK_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The program with these words.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = self.command(BIN);
        command.args(words);
        Running::start(command)
    }

    /// The program with these words, to its end, which leaves no process.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let ended = self.start(words).wait();
        assert_eq!(self.processes(), Vec::<String>::new(), "left by {words:?}: {ended:?}");
        ended
    }

    /// One quick trial of a target.
    pub(crate) fn check(&self, options: &[&str], target: &[&str]) -> Ended {
        self.run(&words(&["--trials", "1", "--situation", "load"], options, target))
    }

    /// The command lines of the processes that belong to this user and live.
    pub(crate) fn processes(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").unwrap();
        let folders = entries.flatten().map(|entry| entry.path());
        let marked = folders.filter(|folder| {
            let environment = fs::read(folder.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|v| v == self.mark.as_bytes())
        });
        let command_line = |folder: PathBuf| {
            let words = fs::read(folder.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
        };
        marked.map(command_line).collect()
    }

    /// Waits until no process of this user lives.
    pub(crate) fn wait_for_the_last_process(&self) {
        wait_until("the end of all processes", || self.processes().is_empty().then_some(()));
    }
}

/// Reads nothing but the command line, and only says what came out.
pub(crate) const USUAL: [&str; 6] =
    ["--no-config", "--no-progress", "--shrink-budget", "0s", "--reports-dir", "r"];

/// The usual options, others, and a target.
pub(crate) fn words<'w>(
    amount: &[&'w str],
    options: &[&'w str],
    target: &[&'w str],
) -> Vec<&'w str> {
    let one_at_a_time = ["--seed", "1", "-j", "1"];
    [amount, &one_at_a_time[..], &USUAL[..], options, &["--"][..], target].concat()
}

/// Asks until there is an answer.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A free port that neither a harness hands out (10000 to 31999) nor the kernel gives to clients
/// (32768 and above), so that it stays free.
pub(crate) fn fixed_port() -> u16 {
    wait_until("a free port", || {
        let step = FIXED_PORTS.fetch_add(1, Ordering::Relaxed);
        let port = 3000 + (std::process::id().wrapping_mul(31).wrapping_add(step) % 7000) as u16;
        TcpListener::bind(("0.0.0.0", port)).ok().map(|_| port)
    })
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let spawned = {
            let _alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
            // A signal to the group of the tests is not for the program.
            command.process_group(0).spawn()
        };
        let mut child = spawned.unwrap();
        let stdout = read(child.stdout.take());
        let stderr = read(child.stderr.take());
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Ended {
        let memory = format!("/proc/{}/status", self.child.id());
        let mut memory_kib = 0;
        let status = wait_until("the end of the program", || {
            memory_kib = memory_kib.max(peak_kib(&memory));
            self.child.try_wait().unwrap()
        });
        let text = |from: &Receiver<String>| from.recv_timeout(LIMIT).unwrap();
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        Ended { status, stdout, stderr, memory_kib }
    }
}

/// Reads a pipe to its end; where there is none, nothing was written.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn peak_kib(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

impl Ended {
    /// The exit code; a death by a signal is one of those that are not documented.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by {:?}: {self:?}", self.status.signal()))
    }

    /// It came to no verdict, said why in a few lines, and nothing else.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code(), code, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {}", self.stderr);
        }
        // What the target wrote is no part of the message, nor are the lines between clap's.
        let of_target = |line: &str| line.starts_with("    ") || line == "  last lines it wrote:";
        let is_own = |line: &&str| !line.is_empty() && !of_target(line);
        let lines = self.stderr.lines().filter(is_own).count();
        assert!((1..=4).contains(&lines), "{lines} lines:\n{}", self.stderr);
        self.panics_nowhere();
    }

    #[track_caller]
    pub(crate) fn panics_nowhere(&self) {
        for word in ["panicked", "backtrace", "RUST_BACKTRACE", "Error {", "Os {"] {
            assert!(!self.stderr.contains(word), "{word:?}: {}", self.stderr);
        }
    }

    /// The verdict is that of a good server, unless the machine was too busy to tell.
    #[track_caller]
    pub(crate) fn satisfies(&self) {
        self.panics_nowhere();
        let is_busy = self.code() == 3 && self.stdout.contains("too busy to tell");
        assert!(self.code() == 0 || is_busy, "{}: {}{}", self.code(), self.stdout, self.stderr);
    }

    /// Invariants are violated, and these are among them; those that are not on either list may
    /// be, too.
    #[track_caller]
    pub(crate) fn violates(&self, violated: &[&str], kept: &[&str]) {
        self.panics_nowhere();
        let is_busy = self.code() == 3 && self.stdout.contains("too busy to tell");
        if is_busy {
            return;
        }
        assert_eq!(self.code(), 1, "{}{}", self.stdout, self.stderr);
        let failed = |id: &&&str| {
            let mut lines = self.stdout.lines().map(str::split_whitespace);
            lines.any(|mut words| words.next() == Some("FAIL") && words.next() == Some(**id))
        };
        assert_eq!(violated.iter().find(|id| !failed(id)), None, "{}", self.stdout);
        assert_eq!(kept.iter().find(failed), None, "{}", self.stdout);
    }
}

/// Whether processes may be traced here; where not, it says so.
pub(crate) fn may_trace() -> bool {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let forbids = matches!(scope.trim(), "2" | "3");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_filtered = status.lines().any(|line| line.starts_with("Seccomp:\t2"));
    if forbids || is_filtered {
        eprintln!("skipped: processes may not be traced here");
    }
    !(forbids || is_filtered)
}
