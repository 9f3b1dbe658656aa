//! The admin listener: plain HTTP for operators and their probes.
//!
//! It runs on a thread with a runtime of its own, so that it answers when the serving core is full.
//! It never serves routes, and the public listeners never serve it.

mod guard;
mod page;
mod routes;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::status::Progress;
use super::status::{Feed, LastStop, Timeline, Watch};
use crate::config::AdminSettings;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::throttle::Throttle;

/// Connections at once of peers who may ask.
const MAX_CONNECTIONS: usize = 48;

/// Connections at once of peers who get a 403; apart, so that they cannot take the others' places.
const MAX_STRANGERS: usize = 16;

/// From accept to the end of the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// From accept to the last byte of the response. There is one request a connection, so that
/// no client holds one of the few places for longer, except one that follows events and takes them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after an accept that failed, most likely for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often at most a failing accept is logged.
const ACCEPT_ERRORS_LOGGED: Duration = Duration::from_secs(1);

/// How often the last hour is written to the state directory.
const SAVE: Duration = Duration::from_secs(60);

/// How long [`AdminThread::stop`] waits; what it waits for takes milliseconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// An admin listener that has its address and does not answer yet: see [`Admin::start`].
#[derive(Debug)]
pub struct Admin {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    allow: Arc<[IpNet]>,
    state_directory: Option<PathBuf>,
}

/// Takes the address that `settings` name, or a socket that is bound already.
///
/// # Errors
///
/// What the operating system says: the address is taken, is not ours, or needs privileges.
pub fn bind(
    settings: &AdminSettings,
    inherited: Option<std::net::TcpListener>,
) -> io::Result<Admin> {
    let bind = || std::net::TcpListener::bind(settings.listen);
    let listener = inherited.map_or_else(bind, Ok)?;
    listener.set_nonblocking(true)?;
    Ok(Admin {
        local_addr: listener.local_addr()?,
        listener,
        allow: settings.allow.as_slice().into(),
        state_directory: settings.state_directory.clone(),
    })
}

impl Admin {
    /// Where it listens; the real port when the settings said 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers from now on, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the operating system has no thread or no event queue left for it.
    pub fn start(self, readiness: Readiness, metrics: Arc<Metrics>) -> io::Result<AdminThread> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener)?
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let timeline = Timeline::open(self.state_directory.as_deref(), now.as_secs_f64());
        let feed = Arc::new(Feed::new(timeline));
        let last_stop = LastStop::begin(self.state_directory.as_deref());
        let before = last_stop.before().map(str::to_owned);
        let watch = Watch::new(metrics.clone(), readiness.clone(), before, feed.clone());
        let acceptor = Acceptor {
            router: routes::router(readiness, metrics, feed.clone()),
            allow: self.allow,
            welcome: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (alive, over) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let _alive: mpsc::Sender<Infallible> = alive;
                runtime.spawn(save_for_ever(feed.clone()));
                runtime.spawn(watch.run());
                // The runtime is dropped here too, and with it every connection's task.
                runtime.block_on(stopped.run_until_cancelled(acceptor.accept_for_ever(&listener)));
                drop(runtime);
                feed.save();
            })?;
        Ok(AdminThread {
            stop,
            over,
            thread: Some(thread),
            last_stop: Some(last_stop),
        })
    }
}

/// The admin listener at work; dropping it stops it.
#[derive(Debug)]
pub struct AdminThread {
    stop: CancellationToken,
    over: mpsc::Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
    last_stop: Option<LastStop>,
}

impl AdminThread {
    /// Closes the listener and cuts its connections; takes a second at most. The next process will
    /// know the reason.
    pub fn stop(mut self, reason: &'static str) {
        if let Some(last_stop) = self.last_stop.take() {
            last_stop.stops(reason);
        }
    }
}

impl Drop for AdminThread {
    fn drop(&mut self) {
        self.stop.cancel();
        // A thread that does not end in time is left behind: the process is ending anyway.
        let ended = self.over.recv_timeout(STOP_TIMEOUT);
        if ended == Err(mpsc::RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin listener had panicked");
        }
    }
}

/// What every connection gets its share of.
struct Acceptor {
    router: Router,
    allow: Arc<[IpNet]>,
    welcome: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Acceptor {
    async fn accept_for_ever(&self, listener: &TcpListener) -> Infallible {
        let told = Throttle::new(ACCEPT_ERRORS_LOGGED);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer.ip()),
                Err(error) => {
                    if told.is_due() {
                        tracing::warn!(error = %error, "the admin listener could not accept");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Serves the connection, or drops it at once when there are too many of its kind.
    fn admit(&self, stream: TcpStream, peer: IpAddr) {
        let peer = guard::Peer::of(peer, &self.allow);
        let places = match peer {
            guard::Peer::Welcome => &self.welcome,
            guard::Peer::Stranger => &self.strangers,
        };
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            let router = self.router.clone().layer(Extension(peer));
            tokio::spawn(serve(stream, router, place));
        }
    }
}

async fn save_for_ever(feed: Arc<Feed>) {
    loop {
        tokio::time::sleep(SAVE).await;
        feed.save();
    }
}

/// Answers one request.
async fn serve(stream: TcpStream, router: Router, place: OwnedSemaphorePermit) {
    let progress = Progress::default();
    let router = router.layer(Extension(progress.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How it ends is the peer's business.
    while tokio::time::timeout(REQUEST_TIMEOUT, connection.as_mut())
        .await
        .is_err()
        && progress.moved()
    {}
    drop(place);
}

#[cfg(test)]
mod tests;
