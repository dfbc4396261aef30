//! When a start passes its landmarks: its handler for the signal, its listener, its first answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::model::event::EventKind;
use crate::model::signal::Signal;
use crate::model::start::StartTimes;
use crate::model::time::Nanos;
use crate::observe::dispositions::handles;
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;
use crate::target::tree::Family;

use super::started::Started;

/// How often `/proc` and the kernel are asked: often enough for starts of a few milliseconds, and
/// seldom enough not to slow them down.
const TICK: Duration = Duration::from_micros(200);

/// Watches a start from a thread of its own, until it is told that the target is ready.
pub(super) struct Landmarks {
    is_over: Arc<AtomicBool>,
    watching: Option<JoinHandle<(Option<Nanos>, Option<Nanos>)>>,
    recorder: Recorder,
}

impl Landmarks {
    /// Begins with a target that has just been started, to listen on `port`, where that is known.
    pub(super) fn watch(
        family: Family,
        port: Option<u16>,
        signal: Signal,
        recorder: &Recorder,
    ) -> Self {
        let is_over: Arc<AtomicBool> = Arc::default();
        let (over, own) = (is_over.clone(), recorder.clone());
        let thread = std::thread::Builder::new().name("landmarks".into());
        // Without a thread nothing is known but when it was ready.
        let watching = thread.spawn(move || look((family, port, signal), &own, &over)).ok();
        Self { is_over, watching, recorder: recorder.clone() }
    }

    /// The times of the start, where the target became ready.
    pub(super) fn passed(mut self) -> Option<StartTimes> {
        self.is_over.store(true, Ordering::SeqCst);
        let (handler, listening) = self.watching.take()?.join().unwrap_or_default();
        let at = |is: fn(&EventKind) -> bool| {
            self.recorder.read(|all| all.iter().find(|event| is(&event.kind)).map(|it| it.at))
        };
        let spawned = at(|kind| matches!(kind, EventKind::Spawned { .. }))?;
        let ready = at(|kind| matches!(kind, EventKind::Ready { .. }))?;
        let since = |at: Option<Nanos>| Some(at?.since(spawned)).filter(|_| at <= Some(ready));
        Some(StartTimes {
            handler: since(handler),
            listening: since(listening),
            ready: ready.since(spawned),
        })
    }
}

impl Drop for Landmarks {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

fn look(
    (mut family, port, signal): (Family, Option<u16>, Signal),
    recorder: &Recorder,
    over: &AtomicBool,
) -> (Option<Nanos>, Option<Nanos>) {
    let mut watch = SocketWatch::new().ok();
    let (mut handler, mut listening) = (None, None);
    while !over.load(Ordering::SeqCst) && (handler.is_none() || listening.is_none()) {
        if handler.is_none() && family.alive().iter().any(|id| handles(id.pid, signal)) {
            handler = Some(recorder.now());
        }
        let on_port = watch.as_mut().zip(port).and_then(|(w, port)| w.listening_on(port).ok());
        if listening.is_none() && on_port.is_some_and(|found| !found.is_empty()) {
            listening = Some(recorder.now());
        }
        std::thread::sleep(TICK);
    }
    (handler, listening)
}

impl Started {
    /// Begins to watch the landmarks of its start.
    pub(super) fn landmarks(&mut self, signal: Signal, recorder: &Recorder) -> Landmarks {
        let (port, socket) = self.place();
        let port = Some(port).filter(|port| *port != 0 && socket.is_none());
        Landmarks::watch(self.launched.family().clone(), port, signal, recorder)
    }
}
