//! The wish of the user that the run should end.

use tokio::sync::watch;

use crate::model::signal::Signal;

/// Can be waited for in any number of trials at the same time.
#[derive(Clone, Debug)]
pub struct Interrupt {
    wish: watch::Receiver<Option<Signal>>,
}

/// Speaks the wish.
#[derive(Debug)]
pub struct Interrupter {
    wish: watch::Sender<Option<Signal>>,
}

/// A wish that nobody has spoken yet, and the one who can.
pub fn interrupt() -> (Interrupter, Interrupt) {
    let (sender, receiver) = watch::channel(None);
    (Interrupter { wish: sender }, Interrupt { wish: receiver })
}

impl Interrupter {
    /// Speaks it; the first signal counts.
    pub fn interrupt(&self, signal: Signal) {
        self.wish.send_if_modified(|wish| {
            let is_first = wish.is_none();
            wish.get_or_insert(signal);
            is_first
        });
    }
}

impl Interrupt {
    /// The signal by which the user asked for the end.
    pub fn asked(&self) -> Option<Signal> {
        *self.wish.borrow()
    }

    /// Comes back when the user asks for the end; never when nobody can any more.
    pub async fn wait(&self) {
        let mut wish = self.wish.clone();
        if wish.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
