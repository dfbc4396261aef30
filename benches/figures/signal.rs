//! The signal's error: how much later than planned it is sent.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use shutdown_check::load::open::OpenConnections;
use shutdown_check::model::event::EventKind;
use shutdown_check::observe::recorder::Recorder;
use shutdown_check::target::launch::Followed;
use shutdown_check::trial::recipient::Recipient;
use shutdown_check::trial::signaller::{Order, send_from_thread};

use super::Outcome;
use super::samples::{Samples, row, titles};

const SIGNALS: usize = 300;
/// From the order to the planned instant.
const AHEAD: Duration = Duration::from_millis(5);

/// A process that takes a signal and does nothing; it is killed when this goes.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends signals as a trial does, at moments when this process does nothing else: S⁻ − planned,
/// and the length of the bracket, S⁺ − S⁻.
pub(crate) fn measure() -> Outcome {
    let sleeper = Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Recorder::new();
    runtime.block_on(async {
        let followed = Followed::new(sleeper.0.id())?;
        for _ in 0..SIGNALS {
            let order = Order {
                signal: "SIGWINCH".parse()?,
                at: recorder.now() + AHEAD,
                to: Recipient::Process { pid: followed.pid, handle: followed.handle()? },
                standing_still: Vec::new(),
                later: Vec::new(),
                followed: None,
                let_go: None,
                server: Some(([127, 0, 0, 1], 1).into()),
                open: OpenConnections::default(),
                connections: 0,
                life: None,
                sending: Arc::default(),
                over: Arc::default(),
            };
            send_from_thread(order, recorder.clone())?.await??;
        }
        Outcome::Ok(())
    })?;
    let mut errors = Vec::new();
    let mut brackets = Vec::new();
    let mut before = None;
    for event in recorder.into_events() {
        match event.kind {
            EventKind::SignalSending { planned, .. } => {
                errors.push(event.at.since(planned));
                before = Some(event.at);
            }
            EventKind::SignalSent { .. } => brackets.extend(before.map(|b| event.at.since(b))),
            _ => {}
        }
    }
    titles("The signal, at an idle moment", "us");
    row("S- after the planned instant", &Samples::microseconds(errors));
    row("S+ after S-, around kill(2)", &Samples::microseconds(brackets));
    println!("  aim, on an idle core: p50 at most 1 us, p99 at most 50 us");
    Ok(())
}
