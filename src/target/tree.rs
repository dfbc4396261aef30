//! The processes of a target, as `/proc` shows them (proc(5)).
//!
//! Elsewhere than on Linux nothing is known but the process that was started.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::cgroup::Cgroup;

/// A process, told apart from a later one with the same number by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) id: ProcessId,
    /// Of its first thread.
    pub(super) state: char,
    parent: u32,
    group: u32,
    session: u32,
    pub(super) threads: u32,
}

/// The processes that one launch brought about: what is known of them while they live, and so
/// who is left when the first has ended.
#[derive(Clone, Debug)]
pub struct Family {
    leader: u32,
    leader_id: Option<ProcessId>,
    marker: String,
    group: Option<Arc<Cgroup>>,
    /// The process below which all of them are, and stay, where there is one.
    keeper: Option<ProcessId>,
    known: BTreeSet<ProcessId>,
}

/// The variable by which a process is known as one launch's, whatever it did to its parents,
/// its group and its session. It is no setting, hence the underscore.
pub const MARKER: &str = "_SHUTDOWN_CHECK_TRIAL";

impl Family {
    /// The family of the process `leader`, whose environment has `MARKER` set to `marker`, and
    /// which was started in the control group, where there is one.
    pub fn new(leader: u32, marker: String, group: Option<Arc<Cgroup>>) -> Self {
        let known = BTreeSet::new();
        let mut family = Self { leader, leader_id: None, marker, group, keeper: None, known };
        family.look();
        family
    }

    /// The same family below a keeper, whose descendants are all of it and nobody else.
    pub fn kept_by(self, keeper: u32) -> Self {
        Self { keeper: process_id(keeper), ..self }
    }

    /// The number of the process that was started.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// Its control group, where it has one of its own.
    pub fn group(&self) -> Option<&Arc<Cgroup>> {
        self.group.as_ref()
    }

    /// Whether the number is one of those that were ever seen to belong to it, and is nobody else's by
    /// now.
    pub fn had(&self, pid: u32) -> bool {
        self.known.iter().any(|id| id.pid == pid)
            && process_id(pid).is_none_or(|now| self.known.contains(&now))
    }

    /// Looks who belongs to it now, and remembers them.
    pub fn look(&mut self) {
        self.seen();
    }

    /// Those that are alive, the leader among them while it is.
    pub fn alive(&mut self) -> Vec<ProcessId> {
        let mut alive = self.seen();
        // Those that are known from before may have found another parent.
        alive.extend(self.known.difference(&alive.clone()).copied().filter(|id| is_alive(*id)));
        alive.extend(self.adopted());
        self.known.extend(&alive);
        alive.into_iter().collect()
    }

    /// The leader, its descendants, and those in its control group or below its keeper, as far as
    /// they are alive.
    fn seen(&mut self) -> BTreeSet<ProcessId> {
        let mut seen = BTreeSet::new();
        // Its number may be another process's by now.
        let is_own = |stat: &Stat| self.leader_id.is_none_or(|leader| leader == stat.id);
        if let Some(leader) = stat(self.leader).filter(is_own) {
            self.leader_id = Some(leader.id);
            self.known.insert(leader.id);
            seen.extend(leader.is_alive().then_some(leader.id));
            seen.extend(descendants(&leader));
        }
        seen.extend(self.keeper.map(descendants_of).unwrap_or_default());
        if let Some(group) = &self.group {
            // Whatever they did to be nobody's children, they are in the group.
            let pids: BTreeSet<u32> = seen.iter().map(|id| id.pid).collect();
            let others = group.processes().into_iter().filter(|pid| !pids.contains(pid));
            seen.extend(others.filter_map(stat).filter(Stat::is_alive).map(|stat| stat.id));
        }
        self.known.extend(&seen);
        seen
    }

    /// Orphans of the family that the harness has become the parent of, and their descendants.
    fn adopted(&self) -> Vec<ProcessId> {
        let mut found = Vec::new();
        for orphan in self.orphans().into_iter().filter(Stat::is_alive) {
            found.push(orphan.id);
            found.extend(descendants(&orphan));
        }
        found
    }

    /// Takes in those of the family's orphans that have ended, so that no zombie stays.
    pub fn reap(&self) {
        for orphan in self.orphans().into_iter().filter(|orphan| orphan.state == 'Z') {
            let pid = nix::unistd::Pid::from_raw(orphan.id.pid as i32);
            let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
        }
    }

    fn orphans(&self) -> Vec<Stat> {
        children_of_all_threads(std::process::id())
            .into_iter()
            .filter(|pid| *pid != self.leader)
            .filter_map(stat)
            .filter(|stat| self.is_related(stat))
            .collect()
    }

    fn is_related(&self, stat: &Stat) -> bool {
        stat.group == self.leader
            || stat.session == self.leader
            || self.known.contains(&stat.id)
            || has_marker(stat.id.pid, &self.marker)
    }
}

/// Makes this process the parent of orphans among its descendants, so that a target's process
/// can be found and taken in however it left its family (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() {
    // Before Linux 3.4 there is no such thing; then they are found by their group only.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Whether the process lives: neither gone, nor a zombie, nor another one with its number.
pub fn is_alive(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|stat| stat.id == id && stat.is_alive())
}

/// The process that has this number now.
pub fn process_id(pid: u32) -> Option<ProcessId> {
    stat(pid).map(|stat| stat.id)
}

/// The command line of a process, for people.
pub fn command_line(pid: u32) -> String {
    let words = words(pid);
    if words.is_empty() { format!("process {pid}") } else { words.join(" ") }
}

/// The program and the arguments of a process; none of one that is gone.
pub fn words(pid: u32) -> Vec<String> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The processes above one: its parent, that one's parent, and so on.
pub fn ancestors(pid: u32) -> Vec<u32> {
    let parent = |pid: &u32| stat(*pid).map(|stat| stat.parent).filter(|parent| *parent != 0);
    std::iter::successors(parent(&pid), parent).collect()
}

/// The inodes of the sockets that a process holds.
pub fn socket_inodes(pid: u32) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    entries.flatten().filter_map(|entry| socket_inode(&entry.path())).collect()
}

pub(super) fn socket_inode(link: &Path) -> Option<u32> {
    let target = std::fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A path as it is reached from everywhere; an abstract name is no path.
pub(super) fn absolute(pid: u32, name: &Path) -> std::path::PathBuf {
    if name.is_absolute() || name.to_string_lossy().starts_with('@') {
        return name.to_owned();
    }
    // Where its directory can't be read, the harness's own is as good a guess as any.
    std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default().join(name)
}

/// The descendants of a process that are alive.
pub fn descendants_of(process: ProcessId) -> Vec<ProcessId> {
    let is_same = |stat: &Stat| stat.id == process;
    stat(process.pid).filter(is_same).map(|stat| descendants(&stat)).unwrap_or_default()
}

fn descendants(of: &Stat) -> Vec<ProcessId> {
    let mut found = Vec::new();
    let mut waiting = children(of);
    while let Some(pid) = waiting.pop() {
        let Some(stat) = stat(pid) else { continue };
        found.extend(stat.is_alive().then_some(stat.id));
        waiting.extend(children(&stat));
    }
    found
}

/// The children of one process (CONFIG_PROC_CHILDREN), without a look at all the others.
fn children(of: &Stat) -> Vec<u32> {
    let pid = of.id.pid;
    match of.threads {
        // Most have one thread: to list them would cost more than to read all of them.
        1 => children_of_thread(Path::new(&format!("/proc/{pid}/task/{pid}"))),
        _ => children_of_all_threads(pid),
    }
}

fn children_of_all_threads(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads.flatten().flat_map(|thread| children_of_thread(&thread.path())).collect()
}

/// The children that one thread started, by its directory in `/proc`.
pub(super) fn children_of_thread(thread: &Path) -> Vec<u32> {
    let list = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn has_marker(pid: u32, marker: &str) -> bool {
    let wanted = format!("{MARKER}={marker}");
    environment(pid).split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// The processes with a variable in their environment that begins like this.
pub fn processes_with(variable: &str) -> Vec<u32> {
    let has_it = |pid: &u32| {
        environment(*pid).split(|byte| *byte == 0).any(|v| v.starts_with(variable.as_bytes()))
    };
    processes().filter(has_it).collect()
}

/// The processes of a group, as far as they are seen from here (proc(5), `stat`).
pub fn members_of_group(group: u32) -> Vec<u32> {
    // Also one whose first thread has ended, and looks like a zombie: others may go on.
    processes().filter(|pid| stat(*pid).is_some_and(|it| it.group == group)).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn environment(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

impl Stat {
    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The name stands in parentheses and may itself hold some, so that fields count from the last.
fn parse_stat(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(' ')?;
    let fields: Vec<&str> = rest.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        id: ProcessId { pid: pid.parse().ok()?, started: number(19)? },
        state: fields.first()?.chars().next()?,
        parent: number(1)? as u32,
        group: number(2)? as u32,
        session: number(3)? as u32,
        threads: number(17)? as u32,
    })
}

/// The state of a process or thread, from its `stat`.
pub(super) fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_may_hold_spaces_and_parentheses() {
        let text = "12 (a) b (c)) S 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 777 0 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.id, stat.parent), (ProcessId { pid: 12, started: 777 }, 1));
        assert_eq!((stat.state, stat.threads), ('S', 3));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn a_family_has_children_and_grandchildren() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo; cat; true'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line says that all of them have been started but for cat(1) itself.
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let mut family = Family::new(shell.id(), "none".into(), None);
        assert!(family.alive().len() >= 2, "{family:?}");
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(!family.alive().iter().any(|id| id.pid == shell.id()));
    }
}
