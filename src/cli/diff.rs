//! `diff`: what became better and what worse from one report to another.

use crate::model::diff::DiffReport;
use crate::report::diff::{self, diff as compared};

use super::args::{DiffArgs, DiffFormat};
use super::failure::Failure;
use super::publish::{has_unicode, print, tool};
use super::render::{named, read};

/// Compares two reports and prints what changed; the exit code.
///
/// # Errors
/// When one of them can't be read.
pub(super) fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let [before, after] = [&args.before, &args.after].map(|path| named(path));
    let (first, second) = (read(&before)?, read(&after)?);
    let names = [&args.before, &args.after].map(|path| path.display().to_string());
    let found = compared(tool(), (&names[0], &first), (&names[1], &second));
    print(&match args.format {
        DiffFormat::Text => diff::text(&found, has_unicode()),
        DiffFormat::Markdown => diff::markdown(&found),
        DiffFormat::Json => json(&found),
    });
    Ok(found.exit_code)
}

fn json(found: &DiffReport) -> String {
    format!("{}\n", serde_json::to_string_pretty(found).unwrap_or_default())
}
