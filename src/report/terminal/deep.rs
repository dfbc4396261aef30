//! How many of the target's system calls were met, in a line.

use super::super::numbers::counted;
use super::super::text::clean;
use super::Page;

impl Page<'_> {
    /// Nothing where that was not asked for.
    pub(super) fn deep(&self) -> String {
        let Some(deep) = &self.report.deep else { return String::new() };
        let text = match &deep.lacking {
            Some(why) => format!("nothing was tried at a system call: {}", clean(why)),
            None => {
                let all = counted(deep.points.len() as u64, "point", "points");
                format!("{} of {all} at system calls tried", deep.tried)
            }
        };
        self.labelled("deep", &text)
    }
}
