//! The vocabulary of the project: plain data that every stage shares.
//!
//! Nothing here does input or output, reads a clock or draws a random number, and nothing here
//! depends on any other module of the crate.

pub mod address;
mod attempt;
mod baseline;
pub mod bound;
pub mod comparison;
pub mod contract;
pub mod diff;
pub mod event;
pub mod graceful_signal;
pub mod header;
pub mod history;
pub mod job_guess;
mod lateness;
pub mod ledger;
pub mod line;
pub mod log;
pub mod moment;
pub mod moment_text;
pub mod near;
pub mod number;
mod origin;
mod outcome;
pub mod partition;
pub mod phase;
pub mod plan;
mod redaction;
pub mod regressions;
pub mod reproduction;
pub mod run;
pub mod search;
pub mod secrets;
mod sent;
mod sights;
pub mod signal;
pub mod snapshot;
pub mod stack;
pub mod start;
pub mod statistics;
pub mod syscall;
pub mod target;
pub mod time;
pub mod verdict;
mod well_formed;
mod worker;
pub mod write;
