//! How progress is shown: three lines that move in a terminal, a line now and then in a log.

use std::io::{IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use terminal_size::{Width, terminal_size_of};

use super::super::ci::is_ci;
use super::super::publish::has_unicode;
use super::seen::Seen;

/// So often the view in a terminal is drawn again.
const REDRAWN_EVERY: Duration = Duration::from_millis(250);
/// So often a log gets a line: a short run writes none.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The bar's length in characters.
const BAR: usize = 24;
/// Where a terminal doesn't say how wide it is.
const USUAL_WIDTH: u16 = 80;
/// Erase in Display (ECMA-48): from the cursor to the end of the screen.
const ERASE: &str = "\r\x1b[J";

/// Whether there is a view, so that a program that ends at once takes it away.
static IS_VIEWED: Mutex<bool> = Mutex::new(false);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Not at all.
    Nothing,
    /// As lines that are drawn over again, in a terminal.
    View,
    /// As a line now and then, in a log.
    Lines,
}

impl How {
    /// What suits standard error: a view where somebody looks at a terminal that can move its cursor.
    pub(in crate::cli) fn suitable(is_wanted: bool) -> Self {
        let can_move = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match is_wanted {
            false => How::Nothing,
            true if std::io::stderr().is_terminal() && can_move && !is_ci() => How::View,
            true => How::Lines,
        }
    }
}

/// Shows what was seen until it is over, and takes the view away then.
pub(super) fn show(how: How, seen: &Mutex<Seen>, (is_over, wake): &(Mutex<bool>, Condvar)) {
    let is_view = how == How::View;
    *lock(&IS_VIEWED) = is_view;
    let period = if is_view { REDRAWN_EVERY } else { LINE_EVERY };
    loop {
        if is_view {
            draw(&lock(seen));
        }
        let ended = wake.wait_timeout_while(lock(is_over), period, |is_over| !*is_over);
        if *ended.unwrap_or_else(PoisonError::into_inner).0 {
            break;
        }
        if !is_view {
            write(&format!("shutdown-check: {}\n", lock(seen).line(Instant::now())));
        }
    }
    clear();
}

/// Takes the view away, where there is one.
pub(in crate::cli) fn clear() {
    let mut is_viewed = lock(&IS_VIEWED);
    if std::mem::take(&mut *is_viewed) {
        write(ERASE);
    }
}

/// Draws the view, unless it was taken away.
fn draw(seen: &Seen) {
    let (is_viewed, now) = (lock(&IS_VIEWED), Instant::now());
    if *is_viewed {
        let width = terminal_size_of(std::io::stderr()).map_or(USUAL_WIDTH, |(Width(it), _)| it);
        let unicode = has_unicode();
        let lines = [
            format!("  {} {}", bar(seen.share(now), unicode), seen.amount(now)),
            format!("  now       {}", seen.now()),
            format!("  violated  {}", seen.violated()),
        ];
        let frame = frame(&lines, width.into());
        write(&if unicode { frame } else { frame.replace('·', "-") });
    }
}

/// Lines that are written over those that stand there, in one piece, so that nothing flickers. The
/// cursor goes back to their beginning: whatever is typed or written meanwhile, such as `^C`, stays in
/// the first of them, and is gone with it.
fn frame(lines: &[String], width: usize) -> String {
    let mut text = String::from("\r");
    for (at, line) in lines.iter().enumerate() {
        // The last column is left free: what stands there makes some terminals begin another line.
        let line: String = line.chars().take(width.saturating_sub(1)).collect();
        // Erase in Line (ECMA-48): what is left of a longer one.
        text.push_str(&format!("{}{line}\x1b[K", if at > 0 { "\r\n" } else { "" }));
    }
    let up = lines.len().saturating_sub(1);
    text + &format!("\r\x1b[{up}A")
}

fn bar(share: f64, unicode: bool) -> String {
    let done = ((share * BAR as f64) as usize).min(BAR);
    let (full, empty) = if unicode { ("━", "─") } else { ("=", "-") };
    full.repeat(done) + &empty.repeat(BAR - done)
}

/// What can't be written takes nothing from the verdict.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_and_leaves_the_cursor_at_its_beginning() {
        let text = frame(&["one".into(), "two is too long".into()], 8);
        assert_eq!(text, "\rone\x1b[K\r\ntwo is \x1b[K\r\x1b[1A");
    }

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(0.0, false), "-".repeat(24));
        assert_eq!(bar(0.5, false), "=".repeat(12) + &"-".repeat(12));
        assert_eq!(bar(7.0, true), "━".repeat(24));
    }
}
