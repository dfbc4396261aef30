//! The harness's role, in whatever program this library is part of.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli;
use crate::sys;
use crate::target::own;

/// Whether the function below has run in this process: only then it will in another one of the same
/// program.
static IS_PART: AtomicBool = AtomicBool::new(false);

sys::before_main!(before_main);

/// Ends the process in its role, where it was started for one; else does nothing.
extern "C" fn before_main() {
    IS_PART.store(true, Ordering::Relaxed);
    if let Some(words) = own::role() {
        sys::outlive_readers();
        own::lend();
        cli::play(words);
    }
}

/// This program, in the role of the harness.
///
/// # Errors
/// Why it can't be: started without the role, it would do whatever else it does.
pub(super) fn harness() -> Result<Command, String> {
    if !IS_PART.load(Ordering::Relaxed) {
        return Err(
            "this program can't be started in the role of the harness, since nothing of the \
                    library runs before its main: name an installed shutdown-check \
                    (Check::harness)"
                .into(),
        );
    }
    own::lent().map_err(|error| format!("this program's own file can't be found: {error}"))
}
