//! The target as a set of processes: starting it, finding it, signalling it, cleaning up after it.

pub mod announce;
pub mod cgroup;
pub mod end;
pub mod files;
pub mod folder;
pub mod hold;
mod inner_numbers;
#[cfg(target_os = "linux")]
pub mod keeper;
pub mod kept;
pub mod launch;
pub mod marks;
pub mod output;
pub mod own;
pub mod page;
mod pid_files;
pub mod port;
pub mod ready;
mod stop;
pub mod trace;
pub mod tree;
