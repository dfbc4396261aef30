//! shutdown-check: a chaos and conformance harness for how servers shut down.
//!
//! A trial is planned (pure), carried out (effects), written down as a history of facts, and
//! only then judged (pure) and reported (pure):
//!
//! ```text
//! seed + options ─▶ plan ─▶ launch ─▶ load ∥ signal ∥ observe ─▶ history.jsonl ─▶ judge ─▶ report
//!                   pure    └──────────── effects ────────────┘       saved        pure     pure
//! ```
//!
//! Every stage can be run again from what the stage before it saved. [`model`] is the vocabulary
//! that all of them share, and depends on none of them.

pub mod cli;
pub mod invariants;
pub mod judge;
pub mod load;
pub mod model;
pub mod observe;
pub mod plan;
pub mod report;
mod sys;
pub mod target;
pub mod trial;
