//! What the process is told from outside; the one place that hears signals.
//!
//! Heard by a thread of its own from the first moment on: a signal that comes before the start is
//! complete waits for its reader, and one that comes while the serving core is full is still heard.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What has been heard. Several signals of a kind that were not read yet are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// The first SIGTERM, SIGINT or SIGQUIT: finish what runs and end.
    pub(super) stop: CancellationToken,
    /// The second one: end.
    pub(super) stop_at_once: CancellationToken,
    /// SIGHUP: read the configuration again.
    pub(super) reload: Arc<Notify>,
    /// SIGHUP and SIGUSR1: open the log file anew.
    pub(super) reopen: Arc<Notify>,
}

/// The signals whose default would end the process without a drain.
struct Heard {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    /// Means nothing here. An nginx of its operator's habits would upgrade; nothing must happen.
    user2: Signal,
}

impl Signals {
    /// Hears signals from now on, until the process ends.
    ///
    /// # Errors
    /// When the operating system has no thread or no event queue for it.
    pub(super) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let told = signals.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let heard = {
            let _inside = runtime.enter();
            Heard::new()?
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(told.tell(heard)))?;
        Ok(signals)
    }

    async fn tell(self, mut heard: Heard) {
        loop {
            tokio::select! {
                _ = heard.terminate.recv() => self.stop(),
                _ = heard.interrupt.recv() => self.stop(),
                _ = heard.quit.recv() => self.stop(),
                _ = heard.user1.recv() => self.reopen.notify_one(),
                _ = heard.user2.recv() => {}
                _ = heard.hangup.recv() => {
                    self.reopen.notify_one();
                    self.reload.notify_one();
                }
            }
        }
    }

    fn stop(&self) {
        if self.stop.is_cancelled() {
            self.stop_at_once.cancel();
        }
        self.stop.cancel();
    }
}

impl Heard {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }
}
