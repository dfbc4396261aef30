//! Why a command came to no verdict, and the exit code that says so.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::model::header::HISTORY_VERSION;
use crate::model::signal::Signal;
use crate::report::write::OutputError;
use crate::trial::error::{Early, TrialError};
use crate::trial::rehearsal::RehearsalError;

use super::error::UsageError;
use super::render::ReportError;
use super::store::StoreError;

/// A command that came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage or configuration.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A report can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Histories can't be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A saved report can't be read.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The target could not be tested.
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    /// A trial could not be carried out, however often it was tried.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// Nothing but points at system calls was to be tried, and there is none.
    #[error(
        "no signal can be sent at a system call: {0}\n  leave out --deep, or try other situations, too"
    )]
    NoPoint(String),
    /// The user asked for the end before there was anything to report.
    #[error("interrupted by {0} before the end of the first trial, so that there is no report")]
    Interrupted(Signal),
    /// A defect of this program.
    #[error("internal error: {0} (history format {HISTORY_VERSION})\n  please report it")]
    Internal(String),
}

impl Failure {
    /// The exit code, as documented.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Output(_) | Failure::Store(_) | Failure::Report(_) => {
                UsageError::EXIT_CODE
            }
            Failure::Rehearsal(RehearsalError::Trial(error)) | Failure::Trial(error) => match error
            {
                TrialError::Harness { .. } => 5,
                TrialError::Pattern(_) => UsageError::EXIT_CODE,
                _ => 4,
            },
            Failure::Rehearsal(_) | Failure::NoPoint(_) => 4,
            Failure::Interrupted(signal) => {
                u8::try_from(128 + signal.number()).unwrap_or(UsageError::EXIT_CODE)
            }
            Failure::Internal(_) => 5,
        }
    }

    /// The message, with what the target wrote and what to do next where that is known.
    pub fn message(&self) -> String {
        let mut text = format!("error: {self}\n");
        if let Failure::Rehearsal(RehearsalError::Trial(error)) | Failure::Trial(error) = self {
            let lines = match error {
                TrialError::NotReady { last, .. } | TrialError::Ended { last, .. } => &*last.lines,
                _ => &[],
            };
            if !lines.is_empty() {
                text.push_str("  last lines it wrote:\n");
            }
            for line in lines {
                let _ = writeln!(text, "    {}", line.replace(|c: char| c.is_control(), " "));
            }
            let _ = writeln!(text, "  {}", advice(error));
        }
        text
    }
}

/// What to do next.
fn advice(error: &TrialError) -> Cow<'static, str> {
    use crate::target::ready::NotReady;
    let advice = match error {
        TrialError::NotReady { reason: NotReady::NeverListened { others }, .. }
            if !others.is_empty() =>
        {
            let port = others[0];
            return format!("name that port (--port {port}), or none, to have it found").into();
        }
        TrialError::NotReady { reason: NotReady::NeverListened { .. }, .. } => {
            "it is given a port in PORT and for {port}: name a fixed one (--port), give it longer\n  \
             (--ready-timeout), or say that it has no listener at all (--profile worker)"
        }
        TrialError::NotReady { reason: NotReady::NotHttp { .. }, .. } => {
            "only servers that speak HTTP/1.1 can be loaded; name the right port (--port)"
        }
        TrialError::NotReady {
            reason: NotReady::NoLine { .. } | NotReady::NoFile { .. }, ..
        } => {
            "check the pattern or the path, whether its output is held back in a buffer, or\n  give \
             it longer (--ready-timeout)"
        }
        TrialError::NotReady { .. } => {
            "give it longer (--ready-timeout), or name another page (--ready-url)"
        }
        TrialError::Ended { when: Early::LeavingItsServer, .. } => {
            "to signal the server and not what launches it: --signal-to listener"
        }
        TrialError::Ended { .. } => "start it by hand, with PORT set, to see why",
        TrialError::PortTaken { .. } => {
            "end the other program, or let the target listen on the port in PORT"
        }
        TrialError::SocketTaken { .. } => {
            "end the other program, or give each trial a socket of its own (--url unix:/…/{port}.sock)"
        }
        TrialError::Launch(_) => "nothing was started",
        TrialError::Harness { .. } => "see the limits of this account (ulimit -a)",
        TrialError::Interrupted | TrialError::Pattern(_) => "nothing was judged",
    };
    advice.into()
}

/// A failure of the harness itself, while it tried to do this.
pub(super) fn internal(what: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    move |reason| TrialError::Harness { what, reason }.into()
}
