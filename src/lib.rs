//! shutdown-check: a chaos and conformance harness for how servers shut down.
//!
//! As a library it checks a server from a Rust test, as the command line does:
//!
//! ```no_run
//! use shutdown_check::Check;
//!
//! # fn main() -> Result<(), shutdown_check::CheckError> {
//! // In a test of the package that has the server: env!("CARGO_BIN_EXE_my-server").
//! let my_server = "target/debug/my-server";
//! let checked = Check::new(my_server).ready_url("/healthz").path("/report?ms=300").run()?;
//! checked.assert_satisfied();
//! # Ok(()) }
//! ```
//!
//! With [`Check::run_async`] the check runs beside other tasks, of any runtime. With insta,
//! what does not change from run to run is kept and reviewed ([`Checked::snapshot`]):
//!
//! ```no_run
//! # let checked = shutdown_check::Check::new("x").run().unwrap();
//! # mod insta { macro_rules! assert_snapshot { ($name:expr, $text:expr) => { let _ = ($name, $text); } } pub(crate) use assert_snapshot; }
//! checked.assert_satisfied();
//! let accepted = std::fs::read_to_string("tests/snapshots/shutdown__server.snap");
//! insta::assert_snapshot!("server", checked.snapshot(&accepted.unwrap_or_default()));
//! ```
//!
//! A check of a server that does not exist says so, and starts nothing:
//!
//! ```
//! use shutdown_check::{Check, CheckError};
//!
//! let error = Check::new("./no-such-server").run().unwrap_err();
//! assert!(matches!(error, CheckError::Target(_)), "{error}");
//! ```
//!
//! The harness runs in a process of its own, which is the test's program once more; it ends with
//! the test. It measures times, so let it be optimised: `[profile.dev.package.shutdown-check]` with
//! `opt-level = 1`.
//!
//! # What is promised
//! [`Check`], what it gives back ([`Checked`], [`Violation`], [`CheckError`]), [`Profile`] and
//! [`Verdict`]. All other modules are the program's own, and may change with any version.
//!
//! # How it works
//! A trial is planned (pure), carried out (effects), written down as a history of facts, and
//! only then judged (pure) and reported (pure):
//!
//! ```text
//! seed + options ─▶ plan ─▶ launch ─▶ load ∥ signal ∥ observe ─▶ history.jsonl ─▶ judge ─▶ report
//!                   pure    └──────────── effects ────────────┘       saved        pure     pure
//! ```
//!
//! Every stage can be run again from what the stage before it saved.

mod check;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod invariants;
#[doc(hidden)]
pub mod judge;
#[doc(hidden)]
pub mod load;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod observe;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod report;
mod sys;
#[doc(hidden)]
pub mod target;
#[doc(hidden)]
pub mod trial;

pub use check::{Check, CheckError, Checked, Violation};
pub use model::verdict::{Profile, VerdictName as Verdict};
