//! How soon a rare loss is found: trials and seconds until the first one, by strategy and server.
//!
//! ```text
//! cargo bench --bench finding                        # the whole table: about half an hour
//! cargo bench --bench finding -- --short             # a glance at it: a few minutes
//! cargo bench --bench finding -- --only window,go    # servers whose name has one of these in it
//! cargo bench --bench finding -- --strategy search   # and strategies
//! ```
//!
//! `docs/FINDING.md` says what is compared and how. Nothing fails because of a slow machine.

mod estimate;
mod options;
mod script;
mod servers;
mod strategy;
mod table;
mod tool;

use std::process::ExitCode;
use std::time::Instant;

use options::Options;
use strategy::Strategy;
use table::{Row, Table};

/// What goes wrong in a benchmark is shown, and nothing else is done about it.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let begun = Instant::now();
    let mut rows = Vec::new();
    for server in servers::all()? {
        if !options.wants_server(&server.name) {
            continue;
        }
        let mut row = Row { name: server.name.clone(), loses: server.loses.clone(), cells: vec![] };
        for strategy in Strategy::ALL {
            if !options.wants_strategy(strategy) {
                continue;
            }
            let finding = strategy.measure(&server, &options);
            match &finding {
                Ok(found) => eprintln!("{:28} {:12} {found}", server.name, strategy.name()),
                Err(error) => eprintln!("{:28} {:12} {error}", server.name, strategy.name()),
            }
            row.cells.push((strategy, finding.map_err(|error| error.to_string())));
        }
        rows.push(row);
    }
    let table = Table { rows, machine: table::machine(), seconds: begun.elapsed().as_secs_f64() };
    println!("{}", table.markdown());
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", table.json()))?;
    }
    Ok(())
}
