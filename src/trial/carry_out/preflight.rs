//! Before the signal: what each of the target's processes would do with it, and what it finds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::address::ServerAddress;
use crate::model::event::{EventKind, Snapshot};
use crate::model::time::Nanos;
use crate::observe::dispositions::dispositions;
use crate::observe::sockets::SocketWatch;
use crate::observe::unix_sockets;
use crate::target::tree::socket_inodes;

use super::Course;

/// So long before the signal it is looked what the processes would do with it: after the clients'
/// last starts, and out of the way of the look at their connections.
const BEFORE_SIGNAL: Duration = Duration::from_millis(25);

impl Course<'_> {
    /// Writes down what each process would do with the signal: while the target runs, since one
    /// that is held still waits for nothing.
    pub(super) fn note_dispositions(&mut self) {
        let Some(planned) = self.trial.signals.first() else { return };
        let leader = self.started.launched.leader().pid;
        let alive = self.started.launched.family().alive();
        let alive: Vec<u32> = alive.iter().map(|id| id.pid).collect();
        self.started.look_at_files();
        let listeners = self.holders(&alive);
        let processes = dispositions(alive, planned.signal, leader, &listeners);
        self.recorder.record(EventKind::Dispositions { processes });
    }

    /// The same, shortly before a signal that is planned for an instant: handlers may be installed
    /// late.
    pub(super) async fn note_dispositions_before(&mut self, at: Nanos) {
        let left = at.since(self.recorder.now());
        let followed = self.followed.clone();
        tokio::select! {
            () = sleep(left.saturating_sub(BEFORE_SIGNAL)) => self.note_dispositions(),
            _ = followed.ended() => {}
        }
    }

    /// The kernel's view of the connections, where it can be asked and has one.
    pub(super) fn kernel(&mut self) -> Option<(&mut SocketWatch, SocketAddr)> {
        let server = self.found.tcp()?;
        self.watch.as_mut().ok().map(|watch| (watch, server))
    }

    /// Writes down what the kernel shows of the connections, where no signal's thread does.
    pub(super) fn note_sockets(&mut self, when: Snapshot) {
        let asked = self.clients.open_connections().asked();
        let Some((watch, server)) = self.kernel() else { return };
        if let Ok(sockets) = watch.look(server, &asked) {
            self.recorder.record(EventKind::SocketsSeen { when, sockets });
        }
    }

    /// Those of the processes that hold a socket which listens at the target's address.
    fn holders(&mut self, processes: &[u32]) -> BTreeSet<u32> {
        let inodes: BTreeSet<u32> = match self.found.address.clone() {
            Some(ServerAddress::Tcp(address)) => {
                let watch = self.watch.as_mut().ok();
                let on_port = watch.and_then(|watch| watch.listening_on(address.port()).ok());
                on_port.unwrap_or_default().iter().map(|listening| listening.inode).collect()
            }
            Some(ServerAddress::Unix(path)) => {
                let all = unix_sockets::listening().unwrap_or_default();
                all.iter().filter(|it| it.is_at(&path)).map(|it| it.inode).collect()
            }
            None => BTreeSet::new(),
        };
        let holds = |pid: &u32| !socket_inodes(*pid).is_disjoint(&inodes);
        processes.iter().copied().filter(holds).collect()
    }
}
