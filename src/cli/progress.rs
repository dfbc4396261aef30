//! What is shown while a run goes on: a line that moves in a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::verdict::VerdictName;

/// The line that moves.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    violated: std::sync::atomic::AtomicU32,
}

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many trials.
    Trials(u32),
    /// As many as fit into this time.
    Budget(Duration),
}

impl Progress {
    /// A line on standard error, where that is a terminal and the user wants one.
    pub fn new(is_wanted: bool, extent: Extent) -> Self {
        let is_shown = is_wanted && std::io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let (length, unit) = match extent {
            Extent::Trials(trials) => (u64::from(trials), "{pos}/{len} trials"),
            Extent::Budget(budget) => (budget.as_millis() as u64, "{percent} % of the budget"),
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let template = format!("  {{bar:24}} {unit} · {{msg}} · {{elapsed}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message("rehearsal");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, violated: std::sync::atomic::AtomicU32::new(0) }
    }

    /// A trial is done.
    pub fn trial_done(&self, extent: Extent, done: u32, elapsed: Duration, verdict: VerdictName) {
        use std::sync::atomic::Ordering::Relaxed;
        let is_violated = u32::from(verdict == VerdictName::Violated);
        let violated = self.violated.fetch_add(is_violated, Relaxed) + is_violated;
        self.bar.set_position(match extent {
            Extent::Trials(_) => u64::from(done),
            Extent::Budget(_) => elapsed.as_millis() as u64,
        });
        self.bar.set_message(format!("{done} done, {violated} violated"));
    }

    /// What failed is looked at again.
    pub fn shrinking(&self) {
        self.bar.set_message("what failed is run again");
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
