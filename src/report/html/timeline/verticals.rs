//! The lines of a timeline that concern all lanes: signals, the deadline, the end.

use crate::model::event::EventKind;

use super::super::figure::{Scale, units};
use super::Sketch;

/// About how wide a label is, in units of the drawing.
const LABEL_WIDTH: f64 = 60.0;

/// A vertical line through all lanes.
#[derive(Debug)]
pub(in crate::report::html) struct Line {
    pub(in crate::report::html) x: String,
    pub(in crate::report::html) at_ms: String,
    pub(in crate::report::html) label: String,
    pub(in crate::report::html) shade: &'static str,
    /// Where it begins, below its label.
    pub(in crate::report::html) top: &'static str,
    /// Its label's height, so that labels beside each other can be read.
    pub(in crate::report::html) label_y: String,
}

impl Sketch<'_> {
    /// The instants that concern all lanes.
    pub(super) fn verticals(&self) -> Vec<(f64, String, &'static str)> {
        let mut lines = Vec::new();
        let refused =
            self.history.late_connects().into_iter().find(|it| it.accepted == Some(false));
        for event in self.history.events() {
            let (label, shade) = match &event.kind {
                EventKind::SignalSent { signal } => (signal.to_string(), "signal"),
                EventKind::DeadlinePassed => ("deadline".into(), "deadline"),
                EventKind::Exited { .. } => ("exit".into(), "exit"),
                EventKind::Killed { .. } => ("killed".into(), "deadline"),
                _ => continue,
            };
            lines.push((self.ms(event.at), label, shade));
        }
        if let Some(refused) = refused {
            lines.push((self.ms(refused.ended), "refused".into(), "refusal"));
        }
        lines
    }
}

/// Labels that would stand on one another are put on two heights. Where there is no room on either,
/// that of a signal is left out: it has a mark of its own.
pub(super) fn lines(scale: Scale, mut verticals: Vec<(f64, String, &'static str)>) -> Vec<Line> {
    verticals.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut last_x = [f64::NEG_INFINITY; 2];
    verticals
        .into_iter()
        .map(|(at, label, shade)| {
            let x = scale.x(at);
            let free = last_x.iter().position(|last| x - last >= LABEL_WIDTH);
            let is_shown = free.is_some() || shade != "signal";
            let row = free.unwrap_or(1);
            if is_shown {
                last_x[row] = x;
            }
            Line {
                x: units(x),
                at_ms: units(at),
                label: if is_shown { label } else { String::new() },
                shade,
                top: if row == 0 { "15" } else { "28" },
                label_y: units(12.0 + row as f64 * 12.0),
            }
        })
        .collect()
}
