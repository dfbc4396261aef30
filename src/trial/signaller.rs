//! Sends the signals at their planned instants, from a thread of its own, each between two clock
//! readings; then watches the listener.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use tokio::sync::oneshot;

use crate::load::open::OpenConnections;
use crate::model::event::{EventKind, Snapshot, SocketSeen};
use crate::model::signal::Signal;
use crate::model::time::Nanos;
use crate::observe::recorder::Recorder;
use crate::observe::sockets::SocketWatch;
use crate::sys;
use crate::target::tree::{ProcessId, is_alive};

use super::error::{TrialError, harness};

/// Before the instant the thread is awake and asks the clock, since a sleeping one wakes tens of
/// microseconds late.
const AWAKE: Duration = Duration::from_micros(300);
/// What one query to the kernel costs at most, usually.
const QUERY: Duration = Duration::from_micros(5);

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

/// Who gets the signal.
#[derive(Debug)]
pub enum Recipient {
    /// One process.
    Process {
        /// Its number.
        pid: u32,
        /// Its handle.
        handle: OwnedFd,
    },
    /// Every process of a group.
    Group {
        /// The number of the group.
        group: u32,
    },
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
        let first = sent.as_ref().ok().copied();
        let _ = tell.send(sent);
        let Some(first) = first else { return };
        std::thread::scope(|scope| {
            if !order.later.is_empty() {
                // Of its own, as the watch sleeps for longer than some of them wait.
                let thread = std::thread::Builder::new().name("signals".into());
                let _ = thread.spawn_scoped(scope, || send_later(&order, &recorder, first));
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

fn send(
    order: &Order,
    recorder: &Recorder,
    watch: &mut Option<SocketWatch>,
) -> std::io::Result<Nanos> {
    wake_exactly();
    sleep_until(recorder, order.at - notice(order.connections));
    let realtime = Realtime::begin();
    let before = look(watch, order);
    spin_until(recorder, order.at);
    // A process group's number may be another's by the time.
    if order.over.load(Ordering::SeqCst) {
        return Err(std::io::ErrorKind::Interrupted.into());
    }
    order.sending.store(true, Ordering::SeqCst);
    let (sending, after_sending) = bracketed(order, order.signal, recorder, realtime)?;
    let after = look(watch, order);
    if let Some(sockets) = before {
        let seen = EventKind::SocketsSeen { when: Snapshot::Before, sockets };
        recorder.record_at(sending, seen);
    }
    note(order, (order.signal, order.at), recorder, (sending, after_sending));
    if let Some(sockets) = after {
        recorder.record(EventKind::SocketsSeen { when: Snapshot::After, sockets });
    }
    Ok(after_sending)
}

/// Sends what follows the first signal, each its gap after the one before it, until the target has
/// ended or the trial is over.
fn send_later(order: &Order, recorder: &Recorder, first: Nanos) {
    wake_exactly();
    let Some(mut last) = felt(order, first) else { return };
    for Later { signal, gap } in &order.later {
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
        let Ok(bracket) = bracketed(order, *signal, recorder, realtime) else { return };
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
    order: &Order,
    signal: Signal,
    recorder: &Recorder,
    realtime: Realtime,
) -> std::io::Result<(Nanos, Nanos)> {
    let sending = recorder.now();
    let sent = order.to.send(signal);
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

/// The kernel may round wake-ups of ordinary threads by 50 microseconds (prctl(2)).
fn wake_exactly() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
}

fn spin_until(recorder: &Recorder, at: Nanos) {
    while recorder.now() < at {
        std::hint::spin_loop();
    }
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

fn look(watch: &mut Option<SocketWatch>, order: &Order) -> Option<Vec<SocketSeen>> {
    watch.as_mut()?.look(order.server?, &order.open.asked()).ok()
}

impl Recipient {
    /// The number of the process, or of the group's leader.
    pub fn number(&self) -> u32 {
        match self {
            Recipient::Process { pid, .. } => *pid,
            Recipient::Group { group } => *group,
        }
    }

    fn send(&self, signal: Signal) -> std::io::Result<()> {
        match self {
            Recipient::Process { handle, .. } => sys::pidfd_send_signal(handle, signal),
            Recipient::Group { group } => {
                let signal = nix::sys::signal::Signal::try_from(signal.number())?;
                let group = nix::unistd::Pid::from_raw(*group as i32);
                Ok(nix::sys::signal::killpg(group, signal)?)
            }
        }
    }
}

/// Sleeps to an instant of the recorder's clock (clock_nanosleep(2), TIMER_ABSTIME).
fn sleep_until(recorder: &Recorder, at: Nanos) {
    let ns = recorder.on_system_clock(at);
    let request = TimeSpec::new((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &request)
        == Err(nix::errno::Errno::EINTR)
    {}
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
