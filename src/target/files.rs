//! The files that stand for a running target: its unix sockets, its pid and lock files, and what the
//! user says that it takes away again.
//!
//! A file counts only where it is this launch's beyond doubt: it was not there before, and one of the
//! launch's processes had bound it, or its content is the number of one of them. Others start the
//! same program in the same directory at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::model::event::FileKind;
use crate::model::target::Target;
use crate::observe::unix_sockets;

use super::tree::{Family, absolute, socket_inodes};

/// The times of files come from a clock that ticks this often at least (CONFIG_HZ).
pub(super) const FILE_CLOCK_TICK: Duration = Duration::from_millis(11);
/// Where pid files usually are, besides where the command says.
const USUAL_PLACES: [&str; 6] = ["tmp", "tmp/pids", "run", "/run", "/var/run", "/tmp"];
/// A pid file is not longer than this.
const PID_FILE_BYTES_MAX: u64 = 64;

/// The files of one launch.
#[derive(Debug)]
pub struct OwnFiles {
    since: SystemTime,
    /// Sockets that its processes have bound, and which file that was.
    sockets: BTreeMap<PathBuf, FileId>,
    /// Files on which its processes had a lock of the kernel's, which ends with them.
    locked: BTreeSet<u64>,
    /// Files that it takes away by its own word, and that were not there before.
    declared: Vec<PathBuf>,
    places: BTreeSet<PathBuf>,
}

/// A file, told apart from another one of the same name: device and inode.
type FileId = (u64, u64);

impl OwnFiles {
    /// To be asked for before the target is started on this port.
    pub fn before_launch(target: &Target, port: u16) -> Self {
        let here = folder_of(target);
        let placed = |text: &str| placed(target, text, port);
        let is_absent = |path: &PathBuf| path.symlink_metadata().is_err();
        let declared = target.leaves_no.iter().map(|path| placed(path)).filter(is_absent);
        let words = target.command.iter().chain(target.env.iter().map(|(_, value)| value));
        let named = words.flat_map(|word| word.split(['=', ' '])).map(Path::new);
        let named = named.filter(|path| kind_by_name(path).is_some()).filter_map(Path::parent);
        let places = named.map(|folder| placed(&folder.to_string_lossy()));
        Self {
            since: SystemTime::now(),
            sockets: BTreeMap::new(),
            locked: BTreeSet::new(),
            declared: declared.collect(),
            places: places
                .chain(USUAL_PLACES.map(|it| here.join(it)))
                .chain([here.clone()])
                .collect(),
        }
    }

    /// Takes note of what the target's processes hold now.
    pub fn look(&mut self, family: &mut Family) {
        let alive = family.alive();
        let named = unix_sockets::named().unwrap_or_default();
        for process in alive.iter().filter(|_| !named.is_empty()) {
            let inodes = socket_inodes(process.pid);
            for socket in named.iter().filter(|socket| inodes.contains(&socket.inode)) {
                let path = absolute(process.pid, &socket.name);
                if let Some(id) = self.new_file(&path).filter(|it| it.file_type().is_socket()) {
                    self.sockets.insert(path, (id.dev(), id.ino()));
                }
            }
        }
        let pids: BTreeSet<u32> = alive.iter().map(|process| process.pid).collect();
        self.locked.extend(locks_of(&pids));
    }

    /// Those that are there; to be asked when none of its processes is left.
    pub fn there(&self, family: &Family) -> Vec<(PathBuf, FileKind)> {
        let sockets = self.sockets.iter().filter(|(path, id)| {
            path.symlink_metadata().is_ok_and(|it| (it.dev(), it.ino()) == **id)
        });
        let mut all: BTreeMap<PathBuf, FileKind> = BTreeMap::new();
        let declared = self.declared.iter().filter(|path| path.symlink_metadata().is_ok());
        all.extend(declared.map(|path| (path.clone(), FileKind::Declared)));
        all.extend(self.with_pids(family));
        all.extend(sockets.map(|(path, _)| (path.clone(), FileKind::Socket)));
        all.into_iter().collect()
    }

    /// Takes them away, as it was before the launch: they would keep the next start from starting, or
    /// seem to be somebody else's in the next trial.
    pub fn clear(&self, family: &Family) {
        for (path, _) in self.there(family) {
            // Where it may not be removed, the next start says so.
            let _ = fs::remove_file(path);
        }
    }

    /// Pid and lock files that name one of these processes.
    fn with_pids(&self, family: &Family) -> Vec<(PathBuf, FileKind)> {
        let mut found: BTreeMap<FileId, (PathBuf, FileKind)> = BTreeMap::new();
        for place in &self.places {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let path = place.join(entry.file_name());
                let Some(kind) = kind_by_name(&path) else { continue };
                let Some(file) = self.new_file(&path).filter(Metadata::is_file) else { continue };
                // The kernel frees such a lock with its owner, and to remove its file is a race.
                let is_freed = kind == FileKind::Lock && self.locked.contains(&file.ino());
                if !is_freed && number_in(&path).is_some_and(|pid| family.had(pid)) {
                    found.insert((file.dev(), file.ino()), (path, kind));
                }
            }
        }
        found.into_values().collect()
    }

    /// What a file is like that was made since the launch.
    fn new_file(&self, path: &Path) -> Option<Metadata> {
        let file = path.symlink_metadata().ok()?;
        // A file system that knows no birth knows at least when it was changed last.
        let born = file.created().or_else(|_| file.modified()).ok()?;
        (born + FILE_CLOCK_TICK >= self.since).then_some(file)
    }
}

/// The directory that a target is started in.
fn folder_of(target: &Target) -> PathBuf {
    target.cwd.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default()
}

/// A path of the user's, as a target with this port has it.
pub fn placed(target: &Target, path: &str, port: u16) -> PathBuf {
    folder_of(target).join(path.replace("{port}", &port.to_string()))
}

/// What a file is by the usual names.
fn kind_by_name(path: &Path) -> Option<FileKind> {
    match path.extension()?.to_str()? {
        "pid" => Some(FileKind::Pid),
        "lock" | "lck" => Some(FileKind::Lock),
        _ => None,
    }
}

/// The number that is all of a file, or its first line.
fn number_in(path: &Path) -> Option<u32> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The inodes of the files that these processes have locked (proc(5), `/proc/locks`).
fn locks_of(pids: &BTreeSet<u32>) -> Vec<u64> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = |line: &str| {
        let mut fields = line.split_whitespace().skip_while(|field| *field != "->").peekable();
        // A line with an arrow is of somebody who waits for the lock.
        if fields.peek().is_some() {
            return None;
        }
        let mut fields = line.split_whitespace().skip(4);
        let pid: u32 = fields.next()?.parse().ok()?;
        let inode = fields.next()?.rsplit(':').next()?.parse().ok()?;
        pids.contains(&pid).then_some(inode)
    };
    text.lines().filter_map(inode).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn target(folder: &Path, leaves_no: &[&str]) -> Target {
        Target {
            command: vec!["./bin".into(), "--pid=deep/own.pid".into()],
            cwd: Some(folder.to_owned()),
            leaves_no: leaves_no.iter().map(|path| (*path).to_owned()).collect(),
            ..Target::default()
        }
    }

    fn own() -> Family {
        Family::new(std::process::id(), "none".into(), None)
    }

    /// Those of the files that are below the folder, by their names in it.
    fn there(files: &OwnFiles, folder: &Path) -> Vec<(String, FileKind)> {
        let all = files.there(&own()).into_iter();
        let name = |path: &Path| Some(path.strip_prefix(folder).ok()?.display().to_string());
        all.filter_map(|(path, kind)| Some((name(&path)?, kind))).collect()
    }

    #[test]
    fn a_socket_counts_while_it_is_the_one_that_was_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.sock");
        let before = folder.path().join("before.sock");
        let _before = UnixListener::bind(&before).unwrap();
        std::thread::sleep(FILE_CLOCK_TICK * 4);
        let mut files = OwnFiles::before_launch(&target(folder.path(), &[]), 1);
        let listener = UnixListener::bind(&path).unwrap();
        files.look(&mut own());
        assert_eq!(there(&files, folder.path()), [("own.sock".into(), FileKind::Socket)]);
        drop(listener);
        assert_eq!(there(&files, folder.path()).len(), 1, "closed, and not removed");
        fs::remove_file(&path).unwrap();
        assert_eq!(there(&files, folder.path()), []);
    }

    #[test]
    fn a_pid_file_counts_that_names_one_of_the_processes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let own_pid = std::process::id().to_string();
        write("old.pid", &own_pid);
        std::thread::sleep(FILE_CLOCK_TICK * 4);
        let files = OwnFiles::before_launch(&target(folder.path(), &[]), 1);
        write("deep/own.pid", &format!("{own_pid}\n"));
        write("own.lock", &own_pid);
        write("other.pid", "1");
        write("data", &own_pid);
        write("log.pid", "what is this");
        let found = there(&files, folder.path());
        let wanted = [("deep/own.pid", FileKind::Pid), ("own.lock", FileKind::Lock)];
        let names: BTreeSet<_> = found.iter().map(|(name, kind)| (&**name, *kind)).collect();
        assert_eq!(names, wanted.into());
        files.clear(&own());
        assert_eq!(there(&files, folder.path()), []);
        assert!(folder.path().join("old.pid").exists());
    }

    #[test]
    fn a_lock_that_the_kernel_frees_is_not_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = OwnFiles::before_launch(&target(folder.path(), &[]), 1);
        let path = folder.path().join("own.lock");
        fs::write(&path, std::process::id().to_string()).unwrap();
        let file = fs::File::open(&path).unwrap();
        file.lock().unwrap();
        files.look(&mut own());
        assert_eq!(there(&files, folder.path()), []);
    }

    #[test]
    fn a_declared_file_counts_unless_it_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("before"), "").unwrap();
        let files = OwnFiles::before_launch(&target(folder.path(), &["before", "own-{port}"]), 9);
        assert_eq!(there(&files, folder.path()), []);
        fs::write(folder.path().join("own-9"), "").unwrap();
        assert_eq!(there(&files, folder.path()), [("own-9".into(), FileKind::Declared)]);
        files.clear(&own());
        assert!(!folder.path().join("own-9").exists() && folder.path().join("before").exists());
    }
}
