//! Ctrl-C and its like: the first asks the run to end, the second ends it.

use nix::sys::signal::{SigSet, Signal as NixSignal};

use crate::model::signal::Signal;
use crate::sys::is_ignored;
use crate::trial::interrupt::{Interrupt, Interrupter, interrupt};

use super::progress;

/// Takes SIGINT, SIGTERM and SIGHUP in a thread of their own from now on.
///
/// Must be called before any other thread is started, so that all of them leave these signals to
/// this one. Targets are started with an empty mask again.
///
/// # Errors
/// When the mask can't be set or no thread can be started.
pub fn take_signals() -> std::io::Result<Interrupt> {
    let (interrupter, interrupt) = interrupt();
    // What whoever started this program had it ignore (nohup, a shell's &) stays ignored.
    let signals: SigSet = [NixSignal::SIGINT, NixSignal::SIGTERM, NixSignal::SIGHUP]
        .into_iter()
        .filter(|signal| !Signal::from_number(*signal as i32).is_some_and(is_ignored))
        .collect();
    signals.thread_block()?;
    std::thread::Builder::new()
        .name("interruption".into())
        .spawn(move || wait_for(&signals, &interrupter))?;
    Ok(interrupt)
}

fn wait_for(signals: &SigSet, interrupter: &Interrupter) {
    let mut was_asked = false;
    while let Ok(signal) = signals.wait() {
        if was_asked {
            progress::clear();
            // The guardian sees the end of its pipe and ends the targets.
            std::process::exit(128 + signal as i32);
        }
        was_asked = true;
        if let Some(signal) = Signal::from_number(signal as i32) {
            interrupter.interrupt(signal);
        }
    }
}
