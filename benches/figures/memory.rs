//! What a million recorded requests take, in memory and in a saved history.

use std::io::{self, Write};
use std::time::Duration;

use shutdown_check::model::event::{Event, EventKind};
use shutdown_check::observe::recorder::Recorder;

use super::Outcome;
use super::bundled::ReferenceServer;
use super::requests::load;

const REQUESTS: u32 = 1_000_000;

/// Records a million requests that the load engine has made, over and over, and writes them out
/// as the store does, an event a line.
pub(crate) fn measure() -> Outcome {
    let server = ReferenceServer::start()?;
    let made: Vec<_> = load(&server, Duration::from_millis(500))?
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Request(request) => Some(request),
            _ => None,
        })
        .collect();
    drop(server);
    let recorder = Recorder::new();
    let before = resident_bytes()?;
    for (number, request) in (0..REQUESTS).zip(made.iter().cycle()) {
        let mut request = request.clone();
        request.request = number;
        recorder.record(EventKind::Request(request));
    }
    let resident = resident_bytes()?.saturating_sub(before);
    let mut saved = Counted(0);
    for event in recorder.into_events() {
        serde_json::to_writer(&mut saved, &event)?;
        saved.write_all(b"\n")?;
    }
    println!("A million recorded requests (GET /, {} of them distinct)", made.len());
    println!("  {:<33}{:>10} B", "size of one event", size_of::<Event>());
    println!("  {:<33}{:>10.1} MB", "resident memory, grown by", resident as f64 / 1e6);
    println!("  {:<33}{:>10.1} MB", "saved history (JSON Lines)", saved.0 as f64 / 1e6);
    Ok(())
}

/// Counts what is written to it.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// VmRSS of this process (proc(5)).
fn resident_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or(io::ErrorKind::InvalidData)? * 1024)
}
