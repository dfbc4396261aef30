//! The files that stand for a running target: its unix sockets, its pid and lock files, and what the
//! user says that it takes away again.
//!
//! A file counts only where it is this launch's beyond doubt: it was not there before, and one of the
//! launch's processes had bound it, or its content is the number of one of them. Others start the
//! same program in the same directory at the same time. Of a process that was running before, it is
//! told by what it holds, and nothing is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::model::address::ServerAddress;
use crate::model::event::FileKind;
use crate::model::target::Target;
use crate::observe::unix_sockets::{self, UnixSocket};

use super::inner_numbers::{inner_number, may_be_anothers};
use super::pid_files::{kind_by_name, locks_of, number_in};
use super::port::is_served;
use super::tree::{Family, absolute, socket_inodes};

/// The times of files come from a clock that ticks this often at least (CONFIG_HZ).
pub(super) const FILE_CLOCK_TICK: Duration = Duration::from_millis(11);
/// Where pid files usually are, besides where the command says.
const USUAL_PLACES: [&str; 6] = ["tmp", "tmp/pids", "run", "/run", "/var/run", "/tmp"];
/// The files of one launch.
#[derive(Debug)]
pub struct OwnFiles {
    since: SystemTime,
    /// Whether the target was started here: then they are taken away when it is over.
    is_ours: bool,
    /// The port that no other trial is handed.
    port: Option<u16>,
    /// The trial's own folder.
    folder: Option<PathBuf>,
    /// Sockets that its processes have bound.
    sockets: BTreeMap<PathBuf, Bound>,
    /// Where its socket is to be, and nothing was before.
    expected: Option<PathBuf>,
    /// The numbers that its processes have in a PID namespace of their own.
    inner: BTreeSet<u32>,
    /// Files that had one of these numbers in them when nobody else could have written it.
    numbered: BTreeSet<Birth>,
    /// Files on which its processes had a lock of the kernel's, which ends with them.
    locked: BTreeSet<u64>,
    /// Files that it takes away by its own word.
    declared: Vec<PathBuf>,
    places: BTreeSet<PathBuf>,
}

/// A file, told apart from another one of the same name: device and inode.
type FileId = (u64, u64);
/// The same, told apart from a later one that was given the same inode.
type Birth = (FileId, Option<SystemTime>);

/// A socket that was bound: which file that was, and the kernel's number of it.
#[derive(Clone, Copy, Debug)]
struct Bound {
    file: FileId,
    inode: u32,
}

/// A file that is named as pid and lock files are, and holds a number.
struct Numbered {
    path: PathBuf,
    kind: FileKind,
    file: Metadata,
    number: u32,
}

impl OwnFiles {
    /// To be asked for before the target is started on this port, with this folder for `{dir}`.
    pub fn before_launch(target: &Target, port: u16, folder: Option<&Path>) -> Self {
        let is_absent = |path: &PathBuf| path.symlink_metadata().is_err();
        let mut files = Self::of(target, port);
        files.is_ours = true;
        files.port = target.port.is_none().then_some(port);
        files.folder = folder.map(Path::to_owned);
        files.expected = target.socket_at(port).filter(is_absent);
        files.declared.retain(is_absent);
        files
    }

    /// Of a process that has been running, and may have made them all long ago.
    pub fn of_running(target: &Target, port: u16, pid: u32) -> Self {
        let own = || fs::read_link(format!("/proc/{pid}/cwd")).ok();
        let cwd = target.cwd.clone().or_else(own);
        Self::of(&Target { cwd, ..target.clone() }, port)
    }

    fn of(target: &Target, port: u16) -> Self {
        let here = folder_of(target);
        let placed = |text: &str| placed(target, text, port);
        let words = target.command.iter().chain(target.env.iter().map(|(_, value)| value));
        let named = words.flat_map(|word| word.split(['=', ' '])).map(Path::new);
        let named = named.filter(|path| kind_by_name(path).is_some()).filter_map(Path::parent);
        let places = named.map(|folder| placed(&folder.to_string_lossy()));
        Self {
            since: SystemTime::now(),
            is_ours: false,
            port: None,
            folder: None,
            sockets: BTreeMap::new(),
            expected: None,
            inner: BTreeSet::new(),
            numbered: BTreeSet::new(),
            locked: BTreeSet::new(),
            declared: target.leaves_no.iter().map(|path| placed(path)).collect(),
            places: places
                .chain(USUAL_PLACES.map(|it| here.join(it)))
                .chain([here.clone()])
                .collect(),
        }
    }

    /// Takes note of what the target's processes hold now.
    pub fn look(&mut self, family: &mut Family) {
        let alive = family.alive();
        if alive.is_empty() {
            return;
        }
        let named = unix_sockets::named().unwrap_or_default();
        for process in alive.iter().filter(|_| !named.is_empty()) {
            let inodes = socket_inodes(process.pid);
            for socket in named.iter().filter(|socket| inodes.contains(&socket.inode)) {
                let path = absolute(process.pid, &socket.name);
                let file = match self.is_ours {
                    true => self.new_file(&path),
                    false => path.symlink_metadata().ok().filter(|_| has_name(socket, &named)),
                };
                if let Some(file) = file.filter(|it| it.file_type().is_socket()) {
                    self.sockets.insert(path, Bound { file: id(&file), inode: socket.inode });
                }
            }
        }
        let pids: BTreeSet<u32> = alive.iter().map(|process| process.pid).collect();
        self.locked.extend(locks_of(&pids));
        self.inner.extend(pids.iter().filter_map(|pid| inner_number(*pid)));
        self.look_for_inner_numbers(&pids);
    }

    /// Takes note of the files with a number from inside that nobody else can have written, while
    /// everybody can be asked who has that number.
    fn look_for_inner_numbers(&mut self, own: &BTreeSet<u32>) {
        if self.inner.is_empty() {
            return;
        }
        for Numbered { file, number, .. } in self.numbered_files() {
            let is_new = self.inner.contains(&number) && !self.numbered.contains(&birth(&file));
            if is_new && !may_be_anothers(number, &file, own) {
                self.numbered.insert(birth(&file));
            }
        }
    }

    /// Those that are there; to be asked when none of its processes is left.
    pub fn there(&self, family: &Family) -> Vec<(PathBuf, FileKind)> {
        let mut all: BTreeMap<PathBuf, FileKind> = BTreeMap::new();
        let declared = self.declared.iter().filter(|path| path.symlink_metadata().is_ok());
        all.extend(declared.map(|path| (path.clone(), FileKind::Declared)));
        all.extend(self.with_pids(family));
        all.extend(self.sockets_there().into_iter().map(|path| (path, FileKind::Socket)));
        all.into_iter().collect()
    }

    fn sockets_there(&self) -> Vec<PathBuf> {
        // What somebody else has handed to a process that runs is held by that one, too.
        let named =
            if self.is_ours { Vec::new() } else { unix_sockets::named().unwrap_or_default() };
        let is_held = |bound: &Bound| named.iter().any(|socket| socket.inode == bound.inode);
        let is_there = |(path, bound): &(&PathBuf, &Bound)| {
            path.symlink_metadata().is_ok_and(|it| id(&it) == bound.file) && !is_held(bound)
        };
        let there = self.sockets.iter().filter(is_there).map(|(path, _)| path.clone());
        // One that was bound and left between two looks.
        let is_left = |path: &&PathBuf| {
            let file = self.new_file(path).filter(|it| it.file_type().is_socket());
            let is_known = |file| self.sockets.values().any(|bound| bound.file == id(&file));
            file.is_some_and(|file| !is_known(file))
                && !is_served(&ServerAddress::Unix((*path).clone()))
        };
        there.chain(self.expected.iter().filter(is_left).cloned()).collect()
    }

    /// Takes them away, as it was before the launch: they would keep the next start from starting, or
    /// seem to be somebody else's in the next trial. What was not started here keeps its files.
    pub fn clear(&self, family: &Family) {
        if !self.is_ours {
            return;
        }
        for (path, _) in self.there(family) {
            // Where it may not be removed, the next start says so.
            let _ = fs::remove_file(path);
        }
    }

    /// Pid and lock files that name one of these processes.
    fn with_pids(&self, family: &Family) -> Vec<(PathBuf, FileKind)> {
        let mut found: BTreeMap<FileId, (PathBuf, FileKind)> = BTreeMap::new();
        for Numbered { path, kind, file, number } in self.numbered_files() {
            // The kernel frees such a lock with its owner, and to remove its file is a race.
            let is_freed = kind == FileKind::Lock && self.locked.contains(&file.ino());
            let is_inner = self.inner.contains(&number)
                && (self.has_own_name(&path) || self.numbered.contains(&birth(&file)));
            if !is_freed && (is_inner || family.had(number)) {
                found.insert(id(&file), (path, kind));
            }
        }
        found.into_values().collect()
    }

    /// The new files in the usual places that may be pid and lock files.
    fn numbered_files(&self) -> Vec<Numbered> {
        let mut all = Vec::new();
        for place in &self.places {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let path = place.join(entry.file_name());
                let Some(kind) = kind_by_name(&path) else { continue };
                let Some(file) = self.new_file(&path).filter(Metadata::is_file) else { continue };
                let Some(number) = number_in(&path) else { continue };
                all.push(Numbered { path, kind, file, number });
            }
        }
        all
    }

    /// Whether no other trial's file has this path: it has the port in it, or is in the trial's
    /// folder.
    fn has_own_name(&self, path: &Path) -> bool {
        self.port.is_some_and(|port| has_number(&path.to_string_lossy(), port))
            || self.folder.as_ref().is_some_and(|folder| path.starts_with(folder))
    }

    /// What a file is like that was made since the launch.
    fn new_file(&self, path: &Path) -> Option<Metadata> {
        let file = path.symlink_metadata().ok()?;
        // A file system that knows no birth knows at least when it was changed last.
        let born = file.created().or_else(|_| file.modified()).ok()?;
        (born + FILE_CLOCK_TICK >= self.since).then_some(file)
    }
}

fn id(file: &Metadata) -> FileId {
    (file.dev(), file.ino())
}

fn birth(file: &Metadata) -> Birth {
    (id(file), file.created().ok())
}

/// Whether the file of this name is this socket's, which listens: a later server may have taken the
/// name over, and connections have the name of what they were accepted from.
fn has_name(socket: &UnixSocket, all: &[UnixSocket]) -> bool {
    let is_rival = |other: &UnixSocket| {
        other.listens && other.inode != socket.inode && other.name == socket.name
    };
    socket.listens && !all.iter().any(is_rival)
}

/// Whether a path has the number in it, not as a part of a longer one.
pub fn has_number(path: &str, number: u16) -> bool {
    path.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number.to_string())
}

/// The directory that a target is started in.
fn folder_of(target: &Target) -> PathBuf {
    target.cwd.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default()
}

/// A path of the user's, as a target with this port has it.
pub fn placed(target: &Target, path: &str, port: u16) -> PathBuf {
    folder_of(target).join(path.replace("{port}", &port.to_string()))
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
        let mut files = OwnFiles::before_launch(&target(folder.path(), &[]), 1, None);
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
        let files = OwnFiles::before_launch(&target(folder.path(), &[]), 1, None);
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
        let mut files = OwnFiles::before_launch(&target(folder.path(), &[]), 1, None);
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
        let files =
            OwnFiles::before_launch(&target(folder.path(), &["before", "own-{port}"]), 9, None);
        assert_eq!(there(&files, folder.path()), []);
        fs::write(folder.path().join("own-9"), "").unwrap();
        assert_eq!(there(&files, folder.path()), [("own-9".into(), FileKind::Declared)]);
        files.clear(&own());
        assert!(!folder.path().join("own-9").exists() && folder.path().join("before").exists());
    }

    #[test]
    fn a_socket_that_no_look_has_met_counts_where_it_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let socket = folder.path().join(name).to_str().map(str::to_owned);
            Target { socket, ..target(folder.path(), &[]) }
        };
        let _before = UnixListener::bind(folder.path().join("before")).unwrap();
        let before = OwnFiles::before_launch(&at("before"), 1, None);
        let files = OwnFiles::before_launch(&at("own-{port}"), 1, None);
        assert_eq!(there(&files, folder.path()), []);
        let listener = UnixListener::bind(folder.path().join("own-1")).unwrap();
        assert_eq!(there(&files, folder.path()), [], "somebody serves there");
        nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&listener),
            nix::sys::socket::Shutdown::Both,
        )
        .unwrap();
        assert_eq!(there(&files, folder.path()), [("own-1".into(), FileKind::Socket)]);
        assert_eq!(there(&before, folder.path()), []);
        files.clear(&own());
        assert_eq!(there(&files, folder.path()), []);
    }

    #[test]
    fn a_running_process_is_asked_for_what_it_had_before_and_nothing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state"), "").unwrap();
        let path = folder.path().join("own.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::sleep(FILE_CLOCK_TICK * 4);
        let target = target(folder.path(), &["state"]);
        let mut files = OwnFiles::of_running(&target, 1, std::process::id());
        files.look(&mut own());
        let declared = ("state".into(), FileKind::Declared);
        assert_eq!(there(&files, folder.path()), [declared], "somebody still has the socket");
        drop(listener);
        // What another test is just starting has a copy of it until its execve(2).
        while there(&files, folder.path()).len() < 2 {
            std::thread::yield_now();
        }
        files.clear(&own());
        assert_eq!(there(&files, folder.path()).len(), 2);
    }

    #[test]
    fn a_number_from_inside_counts_where_nobody_else_can_have_written_it() {
        let folder = tempfile::tempdir().unwrap();
        let own_folder = folder.path().join("folder");
        fs::create_dir(&own_folder).unwrap();
        let target = target(folder.path(), &[]);
        let mut files = OwnFiles::before_launch(&target, 77, Some(&own_folder));
        files.places.insert(own_folder.clone());
        for name in ["srv-77.pid", "srv-770.pid", "other.pid", "folder/srv.pid"] {
            fs::write(folder.path().join(name), "1").unwrap();
        }
        fs::write(folder.path().join("seen.pid"), "1").unwrap();
        assert_eq!(there(&files, folder.path()), [], "it has no such number");
        files.inner.insert(1);
        let seen = folder.path().join("seen.pid").metadata().unwrap();
        files.numbered.insert(birth(&seen));
        let names: Vec<_> = there(&files, folder.path()).into_iter().map(|it| it.0).collect();
        assert_eq!(names, ["folder/srv.pid", "seen.pid", "srv-77.pid"]);
        files.clear(&own());
        assert!(folder.path().join("other.pid").exists());
    }
}
