//! Graceful shutdown done right, small enough to be read in one sitting.
//!
//! The design is that of the slides "Graceful Shutdown in Go": listen for the termination signal,
//! propagate it through a cancellable context, stop accepting, complete the requests in process
//! within a deadline, wait for the background jobs, exit. Read the files in this order:
//!
//! 1. `service.rs`: the slides' `NewService` and `StartServer`, the whole story on one page;
//! 2. `context.rs`: the cancellable context and the two signals;
//! 3. `jobs.rs`: background jobs that finish the turn they have begun;
//! 4. `listener.rs`: how to close a listening socket without losing who waits in its queue;
//! 5. `server.rs` and `connection.rs`: how to close connections without losing a request;
//! 6. `handlers.rs`: what the demo serves.
//!
//! # What is promised
//! A request whose bytes had reached this host when the signal came is answered, whether it was in
//! process, lay unread in an accepted connection, or waited in the accept queue. A job turn that
//! has begun is finished, and none begins any more. Exceptions, each on purpose: what takes longer
//! than `--shutdown-timeout` is abandoned, named in the log, and the exit status is 1; a client that
//! makes no progress for `--stall-timeout` is given up.
//!
//! What can't be avoided: a request sent after the signal can cross with the end of its connection,
//! which is an orderly one (FIN): a server can look at its receive queue and then say that it will
//! send no more, but not both at once. And once the server has exited, its kernel answers whatever
//! else is sent with a reset (RFC 1122 §4.2.2.13), so clients get a moment to notice the end.
//!
//! # Policy
//! New connections are refused from the signal on, or, where a load balancer has to notice first
//! that `/readyz` fails, after `--lame-duck`; job turns end at the signal in any case.
//!
//! A second SIGINT or SIGTERM during the shutdown changes nothing: the deadline already bounds the
//! wait, and who can't wait has SIGKILL. Unix only; the part that closes the accept queue without
//! a gap needs Linux.

mod config;
mod connection;
mod context;
mod handlers;
mod jobs;
mod ledger;
mod listener;
mod server;
mod service;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

pub use config::{Config, Listen, ParseListenError};
pub use context::{Context, TerminationSignals};
pub use handlers::router;
pub use jobs::Jobs;
pub use ledger::Abandoned;
pub use listener::bind;
pub use server::{Limits, serve};
pub use service::Service;

/// How many threads run the service; a demo needs few, and each costs start-up time.
const WORKER_THREADS: usize = 2;

/// The slides' `main`: runs the demo service until SIGINT or SIGTERM, on a runtime of its own.
///
/// Returns 0 when everything in process was completed, also when the signal came during start-up;
/// 1 when something had to be abandoned at the deadline, or the server could not start.
/// Must not be called from within an asynchronous runtime.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    let context = Context::new();
    // Before all else: a signal that finds no handler kills the process.
    if let Err(error) = context.note_signals() {
        return fatal("cannot install signal handlers", &error);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fatal("cannot start the runtime", &error),
    };
    let status = runtime.block_on(async {
        let signals = match TerminationSignals::listen(&context) {
            Ok(signals) => signals,
            Err(error) => return fatal("cannot install signal handlers", &error),
        };
        let service = Service::new(context, config);
        log("demo service is starting");
        service.start_server(signals).await
    });
    // What has been abandoned at the deadline must not hold the exit.
    runtime.shutdown_background();
    status
}

/// Logs what makes a start impossible, and gives the exit status for it.
fn fatal(what: &str, error: &dyn Display) -> ExitCode {
    log(format_args!("{what}: {error}"));
    ExitCode::FAILURE
}

/// Writes one line to standard error, in one write, so that lines of several threads never mix.
///
/// Errors are ignored, unlike by `eprintln!`, which panics: that nobody reads the log any more
/// (EPIPE) is no reason to lose a request.
fn log(line: impl Display) {
    let line = format!("{line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
