//! A control group of one target's own, where the harness may make one (cgroups(7), version 2).
//!
//! A process can leave its parent, its group and its session, and clear its environment; it stays
//! in its control group. All of a group can be found, held still and killed at once. Where there
//! is no such group (elsewhere than on Linux, or where an ordinary user was delegated none), all
//! goes on without.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::end;
use super::tree::process_id;

/// Every group's name begins like this, and the trial's marker follows.
const PREFIX: &str = "shutdown-check-";
/// A group can be busy for a moment after its last process has ended.
const REMOVAL_LIMIT: Duration = Duration::from_millis(200);
/// Freezing takes some 100 microseconds: for this long a wait is eager.
const EAGER: Duration = Duration::from_micros(500);

/// A control group, removed when it is dropped, with whatever is left in it.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) path: PathBuf,
    freeze: File,
    events: File,
}

impl Cgroup {
    /// Makes a group below the harness's own, whose name has the marker in it.
    ///
    /// `None` where that is not possible: nobody need know why, since all goes on without.
    pub fn create(marker: &str) -> Option<Self> {
        let path = own()?.join(format!("{PREFIX}{marker}"));
        let mut made = fs::create_dir(&path);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            // Of an earlier trial, whose last process was slow to go.
            let _ = remove(&path);
            made = fs::create_dir(&path);
        }
        made.ok()?;
        let opened = Self::open(&path);
        if opened.is_err() {
            let _ = fs::remove_dir(&path);
        }
        opened.ok()
    }

    /// The freezer came with Linux 5.2.
    fn open(path: &Path) -> io::Result<Self> {
        let freeze = File::options().write(true).open(path.join("cgroup.freeze"))?;
        let events = File::open(path.join("cgroup.events"))?;
        Ok(Self { path: path.to_owned(), freeze, events })
    }

    /// The file through which a process enters: it writes `0` into it.
    ///
    /// # Errors
    /// When the harness may not put processes into the group.
    pub fn entrance(&self) -> io::Result<File> {
        File::options().write(true).open(self.path.join("cgroup.procs"))
    }

    /// The processes in it and in groups that the target made below it; zombies are not among
    /// them.
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        collect(&self.path, &mut found);
        found
    }

    /// Begins to hold all its processes still, or to let them go; new ones share their fate.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        (&self.freeze).write_all(if frozen { b"1" } else { b"0" })
    }

    /// Whether every thread of every process stands still.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn is_frozen(&self) -> io::Result<bool> {
        let mut text = [0; 128];
        let length = self.events.read_at(&mut text, 0)?;
        Ok(text[..length].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1"))
    }

    /// Holds all its processes still, or lets them go, and waits until that is so.
    ///
    /// # Errors
    /// `TimedOut` when it is not so within the limit; another when the kernel refuses.
    pub fn freeze(&self, frozen: bool, limit: Duration) -> io::Result<()> {
        self.set_frozen(frozen)?;
        let begun = Instant::now();
        // The file can be polled (POLLPRI), but the kernel tells of a second change only ten
        // milliseconds after the first.
        while self.is_frozen()? != frozen {
            match begun.elapsed() {
                waited if waited > limit => return Err(io::ErrorKind::TimedOut.into()),
                waited if waited > EAGER => std::thread::sleep(Duration::from_micros(50)),
                _ => std::thread::yield_now(),
            }
        }
        Ok(())
    }

    /// Kills all its processes, also those that are just being started; before Linux 5.14, those
    /// that are there.
    pub fn kill(&self) {
        kill(&self.path);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        let _ = self.set_frozen(false);
        remove_patiently(&self.path);
    }
}

/// Removes the groups of all trials of a run, for a harness that could not do so itself.
pub fn remove_all_of_run(run_id: &str) {
    let Some(own) = own() else { return };
    let beginning = format!("{PREFIX}{run_id}-");
    for group in below(&own) {
        let name = group.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(&beginning) {
            kill(&group);
            remove_patiently(&group);
        }
    }
}

fn kill(group: &Path) {
    let file = File::options().write(true).open(group.join("cgroup.kill"));
    if file.and_then(|mut file| file.write_all(b"1")).is_ok() {
        return;
    }
    let mut processes = Vec::new();
    collect(group, &mut processes);
    for process in processes.into_iter().filter_map(process_id) {
        let _ = end::kill(process);
    }
}

fn remove_patiently(group: &Path) {
    let begun = Instant::now();
    while remove(group).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        && begun.elapsed() < REMOVAL_LIMIT
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn remove(group: &Path) -> io::Result<()> {
    for inner in below(group) {
        remove(&inner)?;
    }
    fs::remove_dir(group)
}

fn collect(group: &Path, found: &mut Vec<u32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // Zero stands for a process that this PID namespace can't see.
    found.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0));
    for inner in below(group) {
        collect(&inner, found);
    }
}

fn below(group: &Path) -> Vec<PathBuf> {
    // Of the links to a directory, two are its own and one is each inner directory's; that is
    // asked sooner than all the files of the group are read through.
    if fs::metadata(group).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The directory of the group that this process is in.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    place(&groups, &mounts)
}

/// Where the group of version 2 in `/proc/PID/cgroup` is, by `/proc/PID/mountinfo`.
///
/// Where version 1 is mounted as well, its own line begins with another number, and the mount is
/// at another place.
fn place(groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if !kind.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ');
        let (root, at) = (unescaped(fields.nth(3)?), unescaped(fields.next()?));
        let below = Path::new(own).strip_prefix(root).ok()?;
        // A group outside this namespace is shown as one above its root.
        (!below.starts_with("..")).then(|| Path::new(&at).join(below))
    })
}

/// Blanks and the like are written as three octal digits in mountinfo (proc(5)).
fn unescaped(field: &str) -> String {
    let mut pieces = field.split('\\');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&piece[3..]);
            }
            None => text.push_str(piece),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::sys;

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn the_own_group_is_found_by_mount_and_namespace() {
        let hybrid = "12:freezer:/\n1:name=systemd:/x\n0::/user.slice\n";
        let mounts = "38 31 0:35 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 none rw\n";
        let expected = PathBuf::from("/sys/fs/cgroup/unified/user.slice");
        assert_eq!(place(hybrid, mounts), Some(expected));
        let container = "41 31 0:38 /docker/ab /sys/fs/c\\040g ro - cgroup2 cgroup2 rw\n";
        assert_eq!(place("0::/docker/ab\n", container), Some("/sys/fs/c g".into()));
        assert_eq!(place("0::/docker/cd\n", container), None, "it is not below the mount");
        assert_eq!(place("0::/../other\n", mounts), None, "it is outside the namespace");
        assert_eq!(place("3:cpu:/\n", mounts), None, "there is only version 1");
        assert_eq!(place("0::/\n", ""), None, "nothing is mounted");
    }

    /// A shell in a group of its own; `None` where no group can be made.
    fn shell(marker: &str, script: &str) -> Option<(Cgroup, Child)> {
        let marker = format!("test-{}-{marker}", std::process::id());
        let group = Cgroup::create(&marker)?;
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        sys::enter_cgroup(&mut command, group.entrance().unwrap());
        let child = command.spawn().unwrap();
        Some((group, child))
    }

    fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < LIMIT, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_group_has_its_processes_whatever_they_did_and_is_gone_after_them() {
        let script = "(env -i setsid sh -c 'sleep 600 & sleep 600' &) & sleep 600";
        let Some((group, mut child)) = shell("all", script) else { return };
        wait_until("four processes", || group.processes().len() >= 4);
        assert!(group.processes().contains(&child.id()));
        group.kill();
        child.wait().unwrap();
        wait_until("the end of all", || group.processes().is_empty());
        let path = group.path.clone();
        assert!(path.exists());
        drop(group);
        assert!(!path.exists());
    }

    #[test]
    fn a_frozen_group_stands_still_until_it_is_let_go() {
        let Some((group, mut child)) = shell("still", "while :; do echo; done") else { return };
        let mut output = child.stdout.take().unwrap();
        let mut read = |n| io::Read::read_exact(&mut output, &mut vec![0; n]).unwrap();
        read(1);
        for _ in 0..20 {
            group.freeze(true, LIMIT).unwrap();
            assert!(group.is_frozen().unwrap());
            group.freeze(false, LIMIT).unwrap();
            assert!(!group.is_frozen().unwrap());
        }
        // More than a pipe holds: it runs again.
        read(100_000);
        drop(group);
        assert!(!child.wait().unwrap().success(), "what is left of a dropped group is killed");
    }

    #[test]
    fn groups_that_a_target_made_are_counted_and_removed() {
        let Some((group, mut child)) = shell("inner", "exec sleep 600") else { return };
        let inner = group.path.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(group.processes(), [child.id()]);
        let path = group.path.clone();
        drop(group);
        child.wait().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn groups_of_a_run_are_removed_by_its_name() {
        let run_id = format!("test-{}-run", std::process::id());
        let Some((group, mut child)) = shell("run-1", "exec sleep 600") else { return };
        let other = Cgroup::create(&format!("{run_id}2-1")).unwrap();
        remove_all_of_run(&run_id);
        child.wait().unwrap();
        assert!(!group.path.exists());
        assert!(other.path.exists(), "it is another run's");
    }
}
