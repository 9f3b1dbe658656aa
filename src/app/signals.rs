//! What the process is told from outside.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry::logs::Logs;

/// Two tokens: cancelled by the first and by the second signal to stop.
pub(super) fn stop_signals() -> io::Result<(CancellationToken, CancellationToken)> {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tokens = [first.clone(), second.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((first, second))
}

/// Opens the file of access lines anew on SIGUSR1, as nginx does, and on SIGHUP.
pub(super) fn reopen_on_signals(logs: Arc<Logs>) -> io::Result<()> {
    let mut user = signal(SignalKind::user_defined1())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = user.recv() => {}
                _ = hangup.recv() => {}
            }
            logs.reopen();
        }
    });
    Ok(())
}
