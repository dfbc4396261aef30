//! What can be seen of a target from outside, and the book in which it is written down.

pub mod dispositions;
pub mod exact;
pub mod own_thread;
pub mod recorder;
#[cfg(target_os = "linux")]
mod sock_diag;
pub mod sockets;
pub mod tail;
pub mod unix_sockets;
