//! Why a check came to no verdict.

/// A check that came to no verdict; what it says names what was attempted and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The harness could not be started.
    #[error("the check could not be started: {0}")]
    NotStarted(String),
    /// Wrong settings (exit code 2 of the command line).
    #[error("{0}")]
    Usage(String),
    /// The target could not be tested: not started, never ready, already broken (4).
    #[error("{0}")]
    Target(String),
    /// The harness was asked to end before it was done (130, 143).
    #[error("the check was interrupted")]
    Interrupted,
    /// A defect of the harness (5), or it was killed.
    #[error("{0}")]
    Internal(String),
}

impl CheckError {
    /// What the harness said on its end with this code.
    pub(super) fn of(code: Option<i32>, message: &str) -> Self {
        let message = message.strip_prefix("error: ").unwrap_or(message).to_owned();
        match code {
            Some(2) => CheckError::Usage(message),
            Some(4) => CheckError::Target(message),
            Some(130 | 143) => CheckError::Interrupted,
            _ => CheckError::Internal(message),
        }
    }
}
