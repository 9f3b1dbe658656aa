//! A service manager of the test's own: it holds the socket, hears what the service says of itself,
//! and starts it again and again under load.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram as BlockingDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;

use crate::harness::{Upstream, config_text, route, soon, until};
use crate::programs::{Running, Said};
use crate::traffic::Traffic;

/// The manager's end of `$NOTIFY_SOCKET`.
struct Notices(UnixDatagram);

impl Notices {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("a socket"))
    }

    /// The next notice that has this line.
    async fn wait(&self, line: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = soon(self.0.recv(&mut bytes)).await.expect("a notice");
            let notice = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if notice.lines().any(|one| one == line) {
                return notice;
            }
        }
    }
}

/// `gatherd` with a socket as descriptor 3, as systemd would start it.
fn activated(directory: &Path, socket: &TcpListener, name: &str, notify: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = "exec 3<&0 0</dev/null; exec env LISTEN_PID=$$ \"$0\" \"$@\"";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_gatherd")])
        .current_dir(directory)
        .env_clear()
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .env("NOTIFY_SOCKET", notify);
    let socket: OwnedFd = socket.try_clone().expect("a copy").into();
    command.stdin(Stdio::from(socket));
    command
}

fn directory(upstream: &Upstream) -> TempDir {
    let directory = TempDir::new().expect("a directory for this test");
    let rest = [
        "[rate_limit]\nenabled = false\n[log]\naccess = \"off\"\n".to_owned(),
        upstream.section("work", "/"),
        route("/a", "all", "work", "calls = 2"),
    ];
    let text = config_text("", &rest.concat());
    fs::write(directory.path().join("config.toml"), text).expect("a file");
    directory
}

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// How often the service is started again; more by hand.
fn rounds() -> usize {
    let said = std::env::var("GATHERD_TEST_ROUNDS").ok();
    said.and_then(|rounds| rounds.parse().ok()).unwrap_or(6)
}

#[tokio::test]
async fn restarts_under_load_refuse_and_lose_nothing() {
    let upstream = Upstream::with("1", Duration::from_millis(10));
    let directory = directory(&upstream);
    let (socket, address) = socket();
    let path = directory.path().join("notify");
    let (notices, notify) = (Notices::at(&path), path.to_str().expect("text"));
    let start = || Running::start_with(activated(directory.path(), &socket, "https", notify));
    let mut service = start();
    notices.wait("READY=1").await;
    let traffic = Traffic::start(address, "/a", directory.path(), true);
    let mut gaps = Vec::new();
    for _ in 0..rounds() {
        let before = traffic.answered();
        until(|| traffic.answered() > before + 50).await;
        service.terminate();
        notices.wait("STOPPING=1").await;
        let begun = Instant::now();
        assert_eq!(service.ended().await, Some(0));
        service = start();
        notices.wait("READY=1").await;
        gaps.push(begun.elapsed());
    }
    traffic.stop();
    let (lost, refused) = traffic.ended().await;
    assert_eq!((lost, refused), (Vec::new(), 0), "{gaps:?}");
    eprintln!("from STOPPING to READY: {gaps:?}");
    service.terminate();
    assert_eq!(service.ended().await, Some(0));
}

#[tokio::test]
async fn a_reload_is_told_to_the_manager_by_an_abstract_socket_too() {
    let upstream = Upstream::start();
    let directory = directory(&upstream);
    let (socket, _) = socket();
    let name = format!("gatherd-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let listening = BlockingDatagram::bind_addr(&address).expect("a socket");
    listening.set_nonblocking(true).expect("a mode");
    let notices = Notices(UnixDatagram::from_std(listening).expect("a socket"));
    let mut command = activated(directory.path(), &socket, "https", &format!("@{name}"));
    command.env("WATCHDOG_USEC", "200000");
    let service = Running::start_with(command);
    let ready = notices.wait("READY=1").await;
    assert!(ready.contains("STATUS=serving"), "{ready}");
    notices.wait("WATCHDOG=1").await;
    service.signal(Signal::HUP);
    let reloading = notices.wait("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    notices.wait("READY=1").await;
    fs::write(directory.path().join("config.toml"), "nonsense").expect("a file");
    service.signal(Signal::HUP);
    notices.wait("RELOADING=1").await;
    let refused = notices.wait("READY=1").await;
    assert!(refused.contains("refused"), "{refused}");
    service.terminate();
    notices.wait("STOPPING=1").await;
    assert_eq!(service.ended().await, Some(0));
}

#[tokio::test]
async fn a_socket_of_no_known_name_is_refused_with_what_is_allowed() {
    let upstream = Upstream::start();
    let directory = directory(&upstream);
    let (socket, _) = socket();
    let said = Said::of_given(activated(directory.path(), &socket, "web", "")).await;
    assert_eq!(said.code, Some(64), "{said:?}");
    assert!(said.error.contains("https, http or admin"), "{said:?}");
}
