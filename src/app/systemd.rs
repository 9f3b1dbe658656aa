//! What the service manager is told, and what it gives: systemd's notifications and its sockets.
//!
//! Without a service manager nothing of this does anything.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

use crate::config::{Problem, Problems};
use crate::server::Socket;

/// The sockets that take the place of configured addresses.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Instead of `server.https`.
    pub(super) https: Vec<Socket>,
    /// Instead of `server.http`.
    pub(super) http: Vec<Socket>,
    /// Instead of `admin.listen`.
    pub(super) admin: Option<std::net::TcpListener>,
}

impl Inherited {
    /// The sockets that this process was started with (`sd_listen_fds_with_names(3)`).
    ///
    /// # Errors
    /// A socket whose name says nothing, or that is none of TCP.
    pub(super) fn take() -> Result<Self, Problems> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let (mut inherited, mut problems) = (Self::default(), Vec::new());
        let names = names.split(':').chain(std::iter::repeat(""));
        for (index, name) in names.take(sockets.len()).enumerate() {
            let taken = sockets.take_tcp_listener(index);
            let taken = taken.and_then(|socket| socket.ok_or(io::ErrorKind::NotFound.into()));
            if let Err(reason) = taken
                .map_err(|error| error.to_string())
                .and_then(|socket| inherited.put(name, socket))
            {
                let subject = format!("socket {index} ({name:?}) of the service manager");
                problems.push(Problem::said(subject, reason));
            }
        }
        match problems.is_empty() {
            true => Ok(inherited),
            false => Err(problems.into_iter().collect()),
        }
    }

    fn put(&mut self, name: &str, socket: std::net::TcpListener) -> Result<(), String> {
        let inherited = |socket| Socket::inherited(socket).map_err(|error| error.to_string());
        match name {
            "https" => self.https.push(inherited(socket)?),
            "http" => self.http.push(inherited(socket)?),
            "admin" if self.admin.is_none() => self.admin = Some(socket),
            "admin" => return Err("there is one admin listener".to_owned()),
            _ => return Err("FileDescriptorName= must be https, http or admin".to_owned()),
        }
        Ok(())
    }
}

/// Waits a moment where a socket of the manager would start the process again at once, because of
/// those who wait in its queue: a file with problems must not cost a whole core.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is served yet, and there is no runtime"
)]
pub(super) fn pause_before_the_next_start() {
    if env::var_os("LISTEN_FDS").is_some() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Traffic is welcome; `status` is what `systemctl status` shows.
pub(super) fn ready(status: &str) {
    notify(&format!("READY=1\nSTATUS={status}"));
}

/// The configuration is being read again.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    notify(&format!(
        "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"
    ));
}

/// The process finishes what runs, and ends.
pub(super) fn stopping() {
    notify("STOPPING=1\nSTATUS=finishing the requests that run");
}

/// Tells that the runtime this runs on serves, as often as the service manager wants to hear it.
pub(super) async fn watchdog() {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let is_other = |id: u64| id != u64::from(std::process::id());
    let Some(microseconds) = number("WATCHDOG_USEC").filter(|it| *it > 0) else {
        return;
    };
    if number("WATCHDOG_PID").is_some_and(is_other) {
        return;
    }
    // Twice in each period, as sd_watchdog_enabled(3) advises.
    let mut interval = tokio::time::interval(Duration::from_micros(microseconds) / 2);
    loop {
        interval.tick().await;
        notify("WATCHDOG=1");
    }
}

/// Sends to `$NOTIFY_SOCKET`, if there is one (`sd_notify(3)`).
fn notify(state: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = send(&name, state) {
        tracing::warn!(%error, "the service manager does not listen");
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that is stuck must not stop the service.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}
