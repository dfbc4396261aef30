//! Why a trial could not be carried out.

use std::fmt;
use std::time::Duration;

use crate::model::address::ServerAddress;
use crate::model::event::ExitStatus;
use crate::model::ledger::BadPattern;
use crate::model::target::LastWords;
use crate::target::launch::LaunchError;
use crate::target::ready::NotReady;

/// The trial could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The target could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It did not become ready.
    #[error("{command} never became ready\n  waited {waited:?}: {reason}")]
    NotReady {
        /// The target.
        command: String,
        /// How long was waited.
        waited: Duration,
        /// What was seen last.
        reason: NotReady,
        /// What it wrote.
        last: LastWords,
    },
    /// It ended before it was ready, or before any signal.
    #[error("{command} {} {when}", how(.last))]
    Ended {
        /// The target.
        command: String,
        /// When that was.
        when: Early,
        /// How it ended and what it wrote.
        last: LastWords,
    },
    /// The port that the target insists on is another program's.
    #[error("port {port} is taken by another program, and {command} was to listen there")]
    PortTaken {
        /// The port.
        port: u16,
        /// The target.
        command: String,
    },
    /// Another program listens on the unix socket.
    #[error("{address} is taken by another program, and {command} was to listen there")]
    SocketTaken {
        /// The socket.
        address: ServerAddress,
        /// The target.
        command: String,
    },
    /// The user asked for the end.
    #[error("interrupted")]
    Interrupted,
    /// A job pattern can't be used.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The harness itself could not go on.
    #[error("the harness could not {what}: {reason}")]
    Harness {
        /// What it tried.
        what: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// When a target ended that should have lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// While its readiness was waited for.
    BeforeReady,
    /// While it was loaded.
    BeforeSignal,
    /// While it was loaded, and it was only the launcher of a server that goes on.
    LeavingItsServer,
}

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Early::BeforeReady => "before it was ready",
            Early::BeforeSignal => "before any signal",
            Early::LeavingItsServer => "before any signal, and its server goes on",
        })
    }
}

fn how(last: &LastWords) -> String {
    match last.exit {
        Some(ExitStatus { code: Some(code), .. }) => format!("exited with status {code}"),
        Some(ExitStatus { signal: Some(signal), .. }) => format!("was ended by {signal}"),
        _ => "ended".into(),
    }
}

pub(super) fn harness(what: &'static str) -> impl FnOnce(std::io::Error) -> TrialError {
    move |reason| TrialError::Harness { what, reason }
}
