//! What would be otherwise if the target were PID 1, in a paragraph.

use super::super::summary::NEVER_EXITS;
use super::super::text::{clean, hanging};
use super::Page;

impl Page<'_> {
    /// Nothing where that was not tried, or made no difference.
    pub(super) fn pid_1(&self) -> String {
        let changes = self.report.pid_1.as_ref().map_or(&[][..], |pid_1| &pid_1.changes);
        let Some((first, others)) = changes.split_first() else { return String::new() };
        let what = match &*first.invariant {
            NEVER_EXITS => "it never exits",
            id => id,
        };
        let mut text = format!(
            "as PID 1 (in a container without an init) {}{what}: {} (trial {})",
            if first.invariant == NEVER_EXITS { "" } else { "it violates " },
            clean(&first.message),
            first.trial
        );
        let others: Vec<_> = others.iter().map(|it| it.invariant.as_str()).collect();
        if !others.is_empty() {
            text.push_str(&format!("; it also violates {}", others.join(", ")));
        }
        text.push_str("; --as-pid-1 makes that count");
        format!("\n{}", hanging("  note      ", &text, self.width))
    }
}
