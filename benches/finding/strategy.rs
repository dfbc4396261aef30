//! How the moment is looked for.

use serde::Serialize;

use super::Outcome;
use super::estimate::Finding;
use super::options::Options;
use super::script::{self, Pace};
use super::servers::Server;
use super::tool;

/// One way to look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Strategy {
    /// What a script does: a paced load, and a signal at any moment.
    Paced,
    /// The same, as fast as it goes.
    Saturating,
    /// The tool: one request, near the landmarks of its life.
    Near,
    /// The tool: states that are set up and seen before the signal.
    Exact,
    /// The tool: at the boundaries of system calls.
    Syscall,
    /// The tool as a whole, which searches.
    Search,
}

/// The situations that are set up: all but loads, and those that are about other moments.
const EXACT: &str = "slow-handler,delivered,queued,second-signal,job-running,delivered-keepalive,\
                     mixed,signal-burst,queued-silent,mixed-signals,partial-head,idle-keepalive";

impl Strategy {
    pub(crate) const ALL: [Strategy; 6] = [
        Strategy::Paced,
        Strategy::Saturating,
        Strategy::Near,
        Strategy::Exact,
        Strategy::Syscall,
        Strategy::Search,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Strategy::Paced => "paced",
            Strategy::Saturating => "saturating",
            Strategy::Near => "near",
            Strategy::Exact => "exact",
            Strategy::Syscall => "syscall",
            Strategy::Search => "search",
        }
    }

    /// The title of its column.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Strategy::Paced => "paced load, random instant",
            Strategy::Saturating => "saturating load, random instant",
            Strategy::Near => "near a landmark",
            Strategy::Exact => "exact situations",
            Strategy::Syscall => "at a system call",
            Strategy::Search => "the planner as a whole",
        }
    }

    /// Looks for it as often as the options say.
    pub(crate) fn measure(self, server: &Server, options: &Options) -> Outcome<Finding> {
        let (trials, seconds) = (options.trials_max.to_string(), options.seconds_max);
        let (trials, budget) = (&*trials, &*format!("{seconds}s"));
        match self {
            Strategy::Paced => script::measure(server, Pace::Paced, options),
            Strategy::Saturating => script::measure(server, Pace::Saturating, options),
            Strategy::Near => {
                tool::measure(server, &["--situation", "one-request", "--trials", trials], options)
            }
            Strategy::Exact => {
                tool::measure(server, &["--situation", EXACT, "--trials", trials], options)
            }
            Strategy::Syscall => {
                let words = ["--deep", "--situation", "one-request", "--trials", trials];
                tool::measure(server, &words, options)
            }
            Strategy::Search => tool::measure(server, &["--deep", "--budget", budget], options),
        }
    }
}
