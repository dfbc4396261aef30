//! Carries out one trial: from a plan to a list of events, whatever the target does.

pub mod carry_out;
mod crowd;
pub mod deep;
pub mod error;
pub mod interrupt;
pub mod isolation;
mod job_scene;
mod landmarks;
mod leftovers;
pub mod life;
pub mod lives;
mod near_job;
mod near_scene;
mod outward;
pub mod recipient;
pub mod rehearsal;
pub mod signaller;
mod signs;
mod situation;
mod sources;
mod started;
pub mod subject;
pub mod survey;
mod writing;
