//! The clients: raw HTTP/1.1 with an instant for each step, a prober, and a pooled client.

pub mod actor;
pub mod cast;
pub mod clients;
mod connect;
pub mod exchange;
pub mod job_list;
pub mod open;
pub mod pooled;
pub mod prober;
pub mod read_back;
pub mod request;
pub mod response;
pub mod script;
pub mod stream;
pub mod submit;
pub mod timed;
mod worker;
pub mod writer;
pub mod writes;
