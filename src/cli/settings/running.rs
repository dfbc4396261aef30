//! `--pid`: a process that runs already, which can be tried only once.

use std::num::NonZeroU32;

use super::Amount;
use crate::cli::error::UsageError;
use crate::model::plan::{SignalTo, Situation};

/// How much is done, where a process may be named that is not started again.
pub(super) fn amount(pid: Option<u32>, amount: Amount) -> Result<Amount, UsageError> {
    match (pid, amount) {
        (None, amount) => Ok(amount),
        (Some(pid), Amount::Trials(trials)) if trials.get() > 1 => Err(UsageError::Process {
            pid,
            reason: format!("it is not started again, so that there is one trial, not {trials}"),
        }),
        (Some(_), _) => Ok(Amount::Trials(NonZeroU32::MIN)),
    }
}

/// What can't be done with a process that was not started here.
pub(super) fn check(
    pid: Option<u32>,
    signal_to: Option<SignalTo>,
    has_writes: bool,
) -> Result<(), UsageError> {
    let Some(pid) = pid else { return Ok(()) };
    let reason = match signal_to {
        Some(SignalTo::Group) => "its group may have others in it: leave --signal-to group out",
        _ if has_writes => {
            "it is not started again, so that no write is read back: leave --write out, or have the \
             command started"
        }
        _ => return Ok(()),
    };
    Err(UsageError::Process { pid, reason: reason.into() })
}

/// What is tried where nothing is named: of a process that is tried once, the load.
pub(super) fn situations(pid: Option<u32>, usual: Vec<Situation>) -> Vec<Situation> {
    if pid.is_some() { vec![Situation::Load] } else { usual }
}
