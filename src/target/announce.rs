//! A target that says itself that it is ready: by a line that it writes, or by a file that it makes.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::files::FILE_CLOCK_TICK;
use super::ready::NotReady;
use super::tree::Family;

/// How often the file is looked for, and the target's end.
const TICK: Duration = Duration::from_millis(2);

/// The pattern of a line, and whether one was read that matches.
pub type AwaitedLine = (String, watch::Receiver<bool>);

/// What a target says when it is ready; where it is to say nothing, it has said all.
#[derive(Debug)]
pub struct Announcement {
    /// The line.
    pub line: Option<AwaitedLine>,
    /// The file.
    pub file: Option<PathBuf>,
    /// When the target was launched: an older file is another one's.
    pub since: SystemTime,
}

impl Announcement {
    /// Waits until all of it has come.
    ///
    /// # Errors
    /// When the time is over first, or all processes of the target end before.
    pub async fn come(&self, until: Instant, family: &mut Family) -> Result<(), NotReady> {
        let mut was_gone = false;
        loop {
            let Some(missing) = self.missing() else { return Ok(()) };
            let is_gone = family.alive().is_empty();
            if is_gone && was_gone {
                return Err(NotReady::Gone);
            }
            was_gone = is_gone;
            if Instant::now() >= until {
                return Err(missing);
            }
            sleep(TICK).await;
        }
    }

    fn missing(&self) -> Option<NotReady> {
        if let Some((pattern, read)) = &self.line
            && !*read.borrow()
        {
            return Some(NotReady::NoLine { pattern: pattern.clone() });
        }
        let path = self.file.as_ref()?;
        let changed = path.metadata().and_then(|file| file.modified());
        let is_new = changed.is_ok_and(|at| at + FILE_CLOCK_TICK >= self.since);
        (!is_new).then(|| NotReady::NoFile { path: path.clone() })
    }
}
