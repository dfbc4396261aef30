//! The bundled servers, as processes of their own.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// This package's program, built with the same optimisations as the benchmark.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_shutdown-check");

/// A running reference server without jobs; it is killed when this goes.
pub(crate) struct ReferenceServer {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl ReferenceServer {
    /// Starts it, and waits until it says that it listens.
    pub(crate) fn start() -> io::Result<Self> {
        let child = Command::new(PROGRAM)
            .args(["reference-server", "--listen", "127.0.0.1:0"])
            .args(["--background-job", "0s", "--heavy-job", "0s"])
            .env_remove("PORT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into() };
        let pipe = server.child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        for line in BufReader::new(pipe).lines() {
            if let Some((_, address)) = line?.split_once("listening on ") {
                server.address = address.trim().parse().map_err(io::Error::other)?;
                return Ok(server);
            }
        }
        Err(io::Error::other("the reference server did not listen"))
    }
}

impl Drop for ReferenceServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
