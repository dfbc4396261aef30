//! Sends the signals at their planned instants, from a thread of its own, each between two clock
//! readings; then watches the listener.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::load::open::OpenConnections;
use crate::model::event::{EventKind, Snapshot, SocketSeen};
use crate::model::signal::Signal;
use crate::model::time::Nanos;
use crate::observe::exact::{AWAKE, sleep_until, spin_until, wake_exactly};
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;
use crate::sys;
use crate::target::tree::{ProcessId, is_alive};

use super::error::{TrialError, harness};
use super::life::Life;
use super::recipient::{Recipient, StandingStill, send_to_each};

/// What one query to the kernel costs at most, usually.
const QUERY: Duration = Duration::from_micros(5);
/// A second signal that is to follow so soon is sent by the thread that sends the first.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Tells when the signal was sent, or why it could not be.
pub type Told = oneshot::Receiver<std::io::Result<Nanos>>;
/// What it tells, unless its thread is gone.
pub type News = Result<std::io::Result<Nanos>, oneshot::error::RecvError>;

/// Whether the signal was sent; otherwise there was no such process any more (kill(2), ESRCH).
///
/// # Errors
/// When it could not be sent for another reason.
pub fn found_its_process(sent: News) -> Result<bool, TrialError> {
    match sent.unwrap_or_else(|gone| Err(std::io::Error::other(gone))) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) => Err(harness("send the signal")(error)),
    }
}

/// A signal after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later {
    /// Which one.
    pub signal: Signal,
    /// How long after the one before it was sent.
    pub gap: Duration,
}

/// A signal that is to be sent, and those that follow it.
#[derive(Debug)]
pub struct Order {
    /// Which one.
    pub signal: Signal,
    /// When.
    pub at: Nanos,
    /// To whom.
    pub to: Recipient,
    /// Whom the first signal meets, one by one, where the target stands still then; nobody where it
    /// runs.
    pub standing_still: Vec<StandingStill>,
    /// Those that go the same way after it, as long as there is somebody to get them.
    pub later: Vec<Later>,
    /// The process whose end is the target's, so that nothing more is sent.
    pub followed: Option<ProcessId>,
    /// When a target that was held still for the first signal was let go: what follows counts from
    /// there, as the kernel would take two of a kind for one meanwhile. Nothing where it was not.
    pub let_go: Option<Arc<OnceLock<Nanos>>>,
    /// The server, where it is known already, and the kernel can be asked about it.
    pub server: Option<SocketAddr>,
    /// The connections to ask the kernel about.
    pub open: OpenConnections,
    /// How many there will be, about.
    pub connections: u16,
    /// The life of the request that it is aimed at, so that its last moments are watched.
    pub life: Option<Life>,
    /// Set just before it is sent.
    pub sending: Arc<AtomicBool>,
    /// Set when the trial is over: nothing is sent or watched any more.
    pub over: Arc<AtomicBool>,
}

/// Sends it from a new thread; the answer is whether it could be sent.
///
/// # Errors
/// When no thread can be started.
pub fn send_from_thread(order: Order, recorder: Recorder) -> std::io::Result<Told> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new().name("signal".into()).spawn(move || {
        let mut watch = SocketWatch::new().ok();
        let sent = send(&order, &recorder, &mut watch);
        let so_far = sent.as_ref().ok().copied();
        let _ = tell.send(sent.map(|sent| sent.first));
        let Some(so_far) = so_far else { return };
        std::thread::scope(|scope| {
            if order.later.len() > so_far.later {
                // Of its own, as the watch sleeps for longer than some of them wait.
                let thread = std::thread::Builder::new().name("signals".into());
                let _ = thread.spawn_scoped(scope, || send_later(&order, &recorder, so_far));
            }
            if let (Some(watch), Some(server)) = (watch, order.server) {
                watch_listener(&order, &recorder, (watch, server));
            }
        });
    })?;
    Ok(told)
}

/// How long before the instant the thread has to know of it: for a look at so many connections.
pub fn notice(connections: u16) -> Duration {
    AWAKE + QUERY * u32::from(connections)
}

/// What was sent so far.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// When the first one had been sent.
    first: Nanos,
    /// When the last one had been.
    last: Nanos,
    /// How many had followed the first.
    later: usize,
}

fn send(
    order: &Order,
    recorder: &Recorder,
    watch: &mut Option<SocketWatch>,
) -> std::io::Result<Sent> {
    wake_exactly();
    let (realtime, before) = last_look(order, recorder, watch);
    spin_until(recorder, order.at);
    // A process group's number may be another's by the time.
    if order.over.load(Ordering::SeqCst) {
        return Err(std::io::ErrorKind::Interrupted.into());
    }
    order.sending.store(true, Ordering::SeqCst);
    let to_all = || match order.standing_still.is_empty() {
        true => order.to.send(order.signal),
        false => send_to_each(&order.standing_still, order.signal),
    };
    let first = bracketed(to_all, recorder, realtime)?;
    let second = send_at_once(order, recorder, first.1);
    let after = look(watch, order, recorder);
    if let Some(sockets) = before {
        let seen = EventKind::SocketsSeen { when: Snapshot::Before, sockets };
        recorder.record_at(first.0, seen);
    }
    note(order, (order.signal, order.at), recorder, first);
    if let Some((signal, at, bracket)) = second {
        note(order, (signal, at), recorder, bracket);
    }
    if let Some(sockets) = after {
        recorder.record(EventKind::SocketsSeen { when: Snapshot::After, sockets });
    }
    let last = second.map_or(first.1, |(.., bracket)| bracket.1);
    Ok(Sent { first: first.1, last, later: second.iter().len() })
}

/// Looks at the connections for the last time before the signal, with real-time priority from then
/// on where this thread may have it.
fn last_look(
    order: &Order,
    recorder: &Recorder,
    watch: &mut Option<SocketWatch>,
) -> (Realtime, Option<Vec<SocketSeen>>) {
    if let (Some(life), Some(watch), Some(server)) = (&order.life, watch.as_mut(), order.server) {
        // The server has its own steps to take in these microseconds, so that it is not kept off
        // the processor.
        let seen = life.follow_until(order.at, recorder, (watch, server), &order.open);
        return (Realtime::begin(), seen);
    }
    sleep_until(recorder, order.at - notice(order.connections));
    let realtime = Realtime::begin();
    (realtime, look(watch, order, recorder))
}

/// Sends the second signal, where it is to follow the first so soon that no other thread could; the
/// look at the connections then comes after both, and leaves more of them ambiguous.
fn send_at_once(
    order: &Order,
    recorder: &Recorder,
    first: Nanos,
) -> Option<(Signal, Nanos, (Nanos, Nanos))> {
    let later = order.later.first().filter(|later| later.gap < AT_ONCE)?;
    if order.let_go.is_some() {
        return None;
    }
    let at = first + later.gap;
    spin_until(recorder, at);
    let send = || order.to.send(later.signal);
    let bracket = bracketed(send, recorder, Realtime::begin()).ok()?;
    Some((later.signal, at, bracket))
}

/// Sends what follows, each its gap after the one before it, until the target has ended or the
/// trial is over.
fn send_later(order: &Order, recorder: &Recorder, so_far: Sent) {
    wake_exactly();
    let Some(mut last) = felt(order, so_far.last) else { return };
    for Later { signal, gap } in &order.later[so_far.later..] {
        let at = last + *gap;
        sleep_until(recorder, at - AWAKE);
        // Nobody takes a signal that comes to a process which has ended.
        if order.followed.is_some_and(|id| !is_alive(id)) {
            return;
        }
        let realtime = Realtime::begin();
        spin_until(recorder, at);
        if order.over.load(Ordering::SeqCst) {
            return;
        }
        let send = || order.to.send(*signal);
        let Ok(bracket) = bracketed(send, recorder, realtime) else { return };
        note(order, (*signal, at), recorder, bracket);
        last = bracket.1;
    }
}

/// When the target could act on its first signal; nothing where the trial is over before.
fn felt(order: &Order, sent: Nanos) -> Option<Nanos> {
    let Some(let_go) = &order.let_go else { return Some(sent) };
    while !order.over.load(Ordering::SeqCst) {
        if let Some(at) = let_go.get() {
            return Some(*at);
        }
        std::thread::sleep(AWAKE);
    }
    None
}

/// Sends a signal; the clock readings just before and just after.
fn bracketed(
    send: impl FnOnce() -> std::io::Result<()>,
    recorder: &Recorder,
    realtime: Realtime,
) -> std::io::Result<(Nanos, Nanos)> {
    let sending = recorder.now();
    let sent = send();
    let after_sending = recorder.now();
    // Real-time priority is given back at once: kept, it would keep the target off the processor.
    drop(realtime);
    sent.map(|()| (sending, after_sending))
}

fn note(
    order: &Order,
    (signal, planned): (Signal, Nanos),
    recorder: &Recorder,
    (sending, after_sending): (Nanos, Nanos),
) {
    let pid = order.to.number();
    recorder.record_at(sending, EventKind::SignalSending { signal, pid, planned });
    recorder.record_at(after_sending, EventKind::SignalSent { signal });
}

/// Writes down when the accept queue was empty and when the listener was gone, as the kernel shows
/// it; until the trial is over.
fn watch_listener(
    order: &Order,
    recorder: &Recorder,
    (mut watch, server): (SocketWatch, SocketAddr),
) {
    let begun = recorder.now();
    let mut is_empty = false;
    while !order.over.load(Ordering::SeqCst) {
        if let Some(life) = order.life.as_ref().filter(|life| !life.sights().are_complete()) {
            let _ = life.look(recorder, (&mut watch, server), &order.open);
        }
        let Ok(listener) = watch.listener(server) else { return };
        let may_be_empty = listener.is_none_or(|listener| listener.queued == 0);
        if !is_empty && may_be_empty && queued(&mut watch, server) == 0 {
            is_empty = true;
            recorder.record(EventKind::QueueEmptied);
        }
        if listener.is_none() {
            recorder.record(EventKind::ListenerClosed);
            return;
        }
        std::thread::sleep(pause(recorder.now().since(begun)));
    }
}

/// Connections in the accept queues of all who listen on the port (SO_REUSEPORT, socket(7)).
fn queued(watch: &mut SocketWatch, server: SocketAddr) -> u32 {
    let listening = watch.listening_on(server.port()).unwrap_or_default();
    listening.iter().map(|listening| listening.queued).sum()
}

/// Looks often at first, when most listeners close, and seldom where one stays open.
fn pause(elapsed: Duration) -> Duration {
    match elapsed {
        early if early < Duration::from_millis(10) => Duration::from_micros(100),
        soon if soon < Duration::from_millis(500) => Duration::from_millis(1),
        _ => Duration::from_millis(10),
    }
}

fn look(
    watch: &mut Option<SocketWatch>,
    order: &Order,
    recorder: &Recorder,
) -> Option<Vec<SocketSeen>> {
    let (watch, server) = (watch.as_mut()?, order.server?);
    match &order.life {
        Some(life) => life.look(recorder, (watch, server), &order.open),
        None => watch.look(server, &order.open.asked()).ok(),
    }
}

/// Real-time priority of this thread, where it may have it, until dropped.
struct Realtime {
    had: bool,
}

impl Realtime {
    fn begin() -> Self {
        Self { had: sys::set_realtime(true).is_ok() }
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        if self.had {
            let _ = sys::set_realtime(false);
        }
    }
}
