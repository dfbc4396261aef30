//! The table, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::estimate::Finding;
use super::strategy::Strategy;

/// All that was measured.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) machine: String,
    pub(crate) seconds: f64,
}

/// One server.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) loses: String,
    /// What each strategy needed, or why that is not known.
    pub(crate) cells: Vec<(Strategy, Result<Finding, String>)>,
}

impl Table {
    /// Trials to the first loss, and beside them seconds.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| server |", self.machine);
        let strategies: Vec<_> =
            self.rows.first().iter().flat_map(|row| &row.cells).map(|cell| cell.0).collect();
        for strategy in &strategies {
            let _ = write!(text, " {} |", strategy.title());
        }
        text += "\n|---|";
        text += &"---|".repeat(strategies.len());
        for row in &self.rows {
            let _ = write!(text, "\n| {} |", row.name);
            for (_, cell) in &row.cells {
                let _ = match cell {
                    Ok(found) => {
                        let more = if found.seconds.is_beyond { "> " } else { "" };
                        write!(text, " {} · {more}{:.1} s |", found.trials, found.seconds.value)
                    }
                    Err(_) => write!(text, " – |"),
                };
            }
        }
        let _ = write!(text, "\n\nMeasured in {:.0} s.", self.seconds);
        text
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let cells = row.cells.iter().map(|(strategy, cell)| match cell {
                Ok(finding) => json!({ "strategy": strategy, "finding": finding }),
                Err(error) => json!({ "strategy": strategy, "error": error }),
            });
            let cells: Vec<_> = cells.collect();
            json!({ "server": row.name, "loses": row.loses, "strategies": cells })
        });
        let rows: Vec<_> = rows.collect();
        json!({ "machine": self.machine, "seconds": self.seconds, "servers": rows })
    }
}

/// The machine and how busy it is.
pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (kernel, load) = (read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, Linux {}, load average {load}", kernel.trim())
}
