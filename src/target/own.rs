//! This program's own file, to be started once more in another role.
//!
//! A program that only links this library, such as a test, has no such roles on its command line. It is
//! lent to them instead: started with one word first (`ROLE`), it plays the role before its own `main`
//! begins, and never comes to that.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first word of a program that is lent.
const ROLE: &str = "shutdown-check:role";

/// Whether this process is such a program.
static IS_LENT: AtomicBool = AtomicBool::new(false);

/// The words of the role that this process was started for, where it was.
///
/// Not from `std::env`: before `main` some C libraries have told it nothing.
pub fn role() -> Option<Vec<OsString>> {
    let line = std::fs::read("/proc/self/cmdline").ok()?;
    let mut words = line.strip_suffix(b"\0")?.split(|byte| *byte == 0).skip(1);
    let is_role = words.next() == Some(ROLE.as_bytes());
    is_role.then(|| words.map(|word| OsString::from_vec(word.to_vec())).collect())
}

/// From now on, whatever this process starts of its own file is lent as well.
pub fn lend() {
    IS_LENT.store(true, Ordering::Relaxed);
}

/// The words that come before a role: none in the program whose command line has them.
pub fn words() -> Vec<String> {
    let is_lent = IS_LENT.load(Ordering::Relaxed);
    is_lent.then(|| ROLE.to_owned()).into_iter().collect()
}

/// The command that starts `program`, this one's own file, in a role that is still to be named.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words());
    command
}

/// The command that starts this process's own file as this program, whatever it is.
///
/// # Errors
/// When the file can't be found.
pub fn lent() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE);
    Ok(command)
}
