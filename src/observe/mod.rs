//! What can be seen of a target from outside, and the book in which it is written down.

pub mod recorder;
pub mod sockets;
