//! What it costs to ask the kernel about every open connection.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shutdown_check::observe::sockets::{Asked, SocketWatch};

use super::Outcome;
use super::bundled::ReferenceServer;
use super::samples::{Samples, row, titles};

/// Numbers of connections, and how often the kernel is asked about them.
const ROUNDS: [(usize, usize); 3] = [(16, 500), (256, 200), (10_000, 20)];
/// Descriptors that this process and the server need besides those of the connections.
const SPARE: u64 = 100;

/// Opens connections to a server, which holds its own ends, and asks the kernel about all of them.
pub(crate) fn measure() -> Outcome {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let server = ReferenceServer::start()?;
    let mut watch = SocketWatch::new()?;
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut asked = Vec::new();
    titles("One look at all connections", "us");
    for (connections, rounds) in ROUNDS {
        if connections as u64 + SPARE > hard {
            println!("  {connections} connections: only {hard} descriptors are allowed");
            break;
        }
        while streams.len() < connections {
            let stream = TcpStream::connect(server.address)?;
            asked.push(Asked { connection: streams.len() as u32, client: stream.local_addr()? });
            streams.push(stream);
            // The accept queue is short: a pause lets the server empty it.
            if streams.len().is_multiple_of(100) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            let seen = watch.look(server.address, &asked)?;
            times.push(begun.elapsed());
            if seen.len() != connections {
                return Err(format!("{} of {connections} were seen", seen.len()).into());
            }
        }
        let times = Samples::microseconds(times);
        row(&format!("{connections} connections"), &times);
        let each = times.median() / connections as f64;
        println!("    {each:.2} us a connection");
    }
    Ok(())
}
