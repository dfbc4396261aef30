//! What can be wrong with what the user asked for.

use std::path::PathBuf;

/// Wrong usage or configuration: what was attempted, what is wrong, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The clients would need more descriptors than this account may have.
    #[error(
        "the clients need {needed} open files, and the limit is {limit}\n  use fewer \
         --connections or a smaller -j, or raise the limit (ulimit -n)"
    )]
    Descriptors {
        /// How many.
        needed: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A variable of the harness has a value that can't be used.
    #[error("{variable} can't be used\n  {reason}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No setting goes by the name of a variable of the harness.
    #[error("the variable {variable} is no setting: {advice}")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// What may have been meant.
        advice: String,
    },
    /// A configuration file can't be read.
    #[error("can't read {}: {reason}\n  name another one (--config), or none (--no-config)", path.display())]
    UnreadableConfig {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A configuration file says something that can't be understood.
    #[error("{}:{line}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Reports that can't be put together.
    #[error("can't merge: {reason}")]
    Merge {
        /// Why not, and what to do next.
        reason: String,
    },
    /// `init` without a target.
    #[error(
        "init needs the command that starts your server\n  shutdown-check init ./bin --path \
         '/report?ms=900'\n  shutdown-check init -- node server.js --port {{port}}"
    )]
    NothingToInit,
    /// `init` would write over a file.
    #[error(
        "{} is there already\n  write over it (--force), write another (--output), or see what it would \
         be (--dry-run)",
        path.display()
    )]
    ConfigExists {
        /// The file.
        path: PathBuf,
    },
    /// `init` can't write its file.
    #[error("can't write {}: {reason}\n  name another one (--output), or - for standard output", path.display())]
    UnwritableConfig {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A slice of a plan that can't be done.
    #[error("can't divide the plan (--partition): {reason}")]
    Partition {
        /// Why not, and what to do next.
        reason: String,
    },
    /// The file of known failures can't be written.
    #[error(
        "can't write {}: {reason}\n  name another file (--regressions), or none \
         (--no-regressions)",
        path.display()
    )]
    UnwritableRegressions {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A snapshot can't be read.
    #[error(
        "can't compare with {}: {reason}\n  name another file (--snapshot), or remove this one, and \
         the next run writes it",
        path.display()
    )]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is to be accepted, and no file is named to accept it into.
    #[error(
        "--update-snapshots has nothing to update\n  name the file (--snapshot FILE, or snapshot in \
         shutdown-check.toml)"
    )]
    NoSnapshot,
    /// What was to be run again can't be.
    #[error("can't replay {what}: {reason}")]
    Replay {
        /// What was named.
        what: String,
        /// Why not, and what to do next.
        reason: String,
    },
    /// A write without a reading, or a reading without a write.
    #[error(
        "{given} is given and {missing} is not: a write is read back after a restart\n  give both: \
         --write 'PUT /kv/{{key}}' --read '/kv/{{key}}'"
    )]
    HalfWrites {
        /// What there is.
        given: &'static str,
        /// What there is not.
        missing: &'static str,
    },
    /// A write whose key or value is nowhere in it.
    #[error("{what} has no {missing} in it\n  {advice}")]
    Unmarked {
        /// The request as people name it.
        what: String,
        /// What is missing.
        missing: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The body of a request can't be read from its file.
    #[error("can't read the body of {request} from {}: {reason}", path.display())]
    UnreadableBody {
        /// The request as people name it.
        request: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The name of a command, where a target is expected.
    #[error(
        "{name} is a command of shutdown-check: put it first (shutdown-check {name} …)\n  \
         or, if it is a program to check, name it by its path (./{name})"
    )]
    CommandAsTarget {
        /// The command.
        name: String,
    },
    /// A word that is no program, and nearly a command.
    #[error(
        "{word} is neither a command of shutdown-check nor a program that can be found: did you mean \
         {command}?\n  if it is a program to check, name it by its path (./{word})"
    )]
    Misspelt {
        /// The word.
        word: String,
        /// The nearest command.
        command: String,
    },
    /// The target can't be started where it should be.
    #[error("can't start the target in {}: it is no directory\n  name another one (--cwd)", path.display())]
    NoDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// A target without a listener, and something that takes one.
    #[error(
        "{option}: a worker has no listener that this could be about\n  \
         leave it out, or use another profile than worker"
    )]
    WorkerIsAsked {
        /// What takes a listener.
        option: &'static str,
    },
    /// A target without a listener, and nothing by which it says that it is ready.
    #[error(
        "nothing says when a worker is ready\n  name the line that it writes then (--ready-line \
         REGEX), or the file that it makes (--ready-file)"
    )]
    WorkerIsReady,
    /// Half of a pair of patterns: without the other, every job would seem to lack its half.
    #[error("can't tell jobs by their {given} alone\n  name their {missing}, too: --job-{missing}")]
    HalfJobs {
        /// The half that is there.
        given: &'static str,
        /// The half that is not.
        missing: &'static str,
    },
    /// A URL can't be used.
    #[error("can't use the URL {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Options that describe requests, and no request that they could describe.
    #[error(
        "{options} describe the requests of --path, and there is none\n  \
         name one: --path /orders"
    )]
    NoPath {
        /// The options.
        options: String,
    },
    /// A process that can't be tried.
    #[error(
        "can't try process {pid}: {reason}\n  name the server's own process (--pid), or let it be started here"
    )]
    Process {
        /// Its number.
        pid: u32,
        /// Why not.
        reason: String,
    },
    /// A window that outlasts the deadline.
    #[error(
        "--lame-duck {lame_duck} is not shorter than --deadline {deadline}\n  \
         a target that serves for so long can't exit in time: make the deadline longer"
    )]
    LameDuck {
        /// The window.
        lame_duck: humantime::FormattedDuration,
        /// The deadline.
        deadline: humantime::FormattedDuration,
    },
    /// Trials at the same time, on one unix socket.
    #[error(
        "trials that share unix:{socket} can't run at the same time\n  \
         leave out --parallel, or put {{port}} into the path, which is another number in each trial"
    )]
    SharedSocket {
        /// Its path.
        socket: String,
    },
    /// Trials at the same time, on one port.
    #[error(
        "trials that share port {port} can't run at the same time\n  \
         leave out --parallel, or let the target listen on {{port}} or $PORT"
    )]
    SharedPort {
        /// The port.
        port: u16,
    },
}

impl UsageError {
    /// The exit code of the program.
    pub const EXIT_CODE: u8 = 2;
}
