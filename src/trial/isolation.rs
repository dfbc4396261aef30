//! Whether a target that insists on its port can be tried several times at once: each in a network
//! of its own, where that is allowed and makes no difference to the target.

use std::time::Duration;

use tokio::task::{LocalSet, spawn_blocking};

use crate::model::contract::ExpectedResponse;
use crate::model::event::{Request, RequestEnd};
use crate::model::signal::Signal;
use crate::observe::recorder::Recorder;
use crate::sys;

use super::interrupt::Interrupt;
use super::rehearsal::{ask_together, seed};
use super::started::start;
use super::subject::Subject;
use super::writing::try_to_write;

/// A target that needs more than its own network waits in vain: not for longer than this.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Gives the calling thread a network of its own, and so whatever is started in it.
///
/// # Errors
/// When this account may not.
pub fn own_network() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return sys::own_network();
    #[cfg(not(target_os = "linux"))]
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Whether the target, started once more in a network of its own while another start of it lives,
/// becomes ready, answers the same, and keeps what is written to it.
pub(super) async fn runs_beside_itself(
    subject: &Subject,
    signal: Signal,
    interrupt: &Interrupt,
) -> bool {
    let (mut subject, interrupt) = (subject.clone(), interrupt.clone());
    subject.target.ready_timeout = subject.target.ready_timeout.min(READY_WITHIN);
    // A thread of its own: the network stays with it.
    let tried = spawn_blocking(move || {
        std::thread::spawn(move || {
            own_network().ok()?;
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            LocalSet::new().block_on(&runtime, answers_the_same(&subject, signal, &interrupt))
        })
        .join()
    });
    matches!(tried.await, Ok(Ok(Some(true))))
}

async fn answers_the_same(
    subject: &Subject,
    signal: Signal,
    interrupt: &Interrupt,
) -> Option<bool> {
    let recorder = Recorder::new();
    let mut started = start(subject, (seed().wrapping_add(2), subject.as_pid_1), &recorder).ok()?;
    let found = started.ready(subject, interrupt, &recorder).await.ok()?;
    let each = u16::try_from(subject.templates.len()).ok()?;
    let address = found.address.as_ref()?;
    let answers = ask_together(subject, each, address, &recorder).await;
    if let Some(mut templates) = subject.target.writes.clone() {
        try_to_write(&mut templates, address).await.ok()?;
    }
    started.end(signal).await;
    let expected = &subject.contract.requests;
    Some(answers.len() == expected.len() && answers.iter().all(|answer| is_same(expected, answer)))
}

fn is_same(expected: &[ExpectedResponse], answer: &Request) -> bool {
    let expected = &expected[usize::from(answer.template)];
    let is_body = expected.body.is_none_or(|body| {
        (body.length, body.sha256_prefix) == (answer.body.length, answer.body.sha256_prefix)
    });
    answer.end == RequestEnd::Complete && answer.status == Some(expected.status) && is_body
}
