//! The figures that shutdown-check is held to, measured on this machine.
//!
//! ```text
//! cargo bench --bench figures                     # all of them: about a minute
//! cargo bench --bench figures -- requests memory  # some: trial, signal, requests, memory, kernel
//! ```
//!
//! Medians and ranges are printed beside the aims, and the load of the machine before and after:
//! on a busy machine the figures are worse, and nothing fails because of it. Every server that is
//! measured is a process of its own, on the loopback interface, and ends with this program.

mod bundled;
mod kernel;
mod memory;
mod requests;
mod samples;
mod signal;
mod trial;

use std::process::ExitCode;

/// What goes wrong in a benchmark is shown, and nothing else is done about it.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A name on the command line, and what it measures and prints.
type Figure = (&'static str, fn() -> Outcome);

const FIGURES: [Figure; 5] = [
    ("trial", trial::measure),
    ("signal", signal::measure),
    ("requests", requests::measure),
    ("memory", memory::measure),
    ("kernel", kernel::measure),
];

fn main() -> ExitCode {
    // Cargo passes `--bench`; what begins otherwise names a figure.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!("{}", machine());
    let mut code = ExitCode::SUCCESS;
    for (name, measure) in FIGURES {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        println!();
        if let Err(error) = measure() {
            eprintln!("{name}: {error}");
            code = ExitCode::FAILURE;
        }
    }
    println!("\n{}", machine());
    code
}

/// The machine and how busy it is.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, Linux {}, load averages {}", kernel.trim(), load.join(" "))
}
