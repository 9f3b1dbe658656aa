//! A service in a process of its own whose access log is a file.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::edge_client::{Tls, tls_within};
use crate::harness::{Answer, Upstream, config_text, route, soon, until};
use crate::programs::{Running, gatherd};

/// A service in a process of its own, whose access log is a file.
pub(crate) struct Logged {
    pub(crate) running: Running,
    pub(crate) directory: TempDir,
    pub(crate) address: String,
    /// Lines that have been read.
    pub(crate) read: usize,
}

impl Logged {
    /// Serves with more keys in `[log]`.
    pub(crate) async fn start(log: &str, routes_and_upstreams: &str) -> Self {
        Self::with("", log, routes_and_upstreams).await
    }

    /// Serves with more keys in `[server]` and `[log]`.
    pub(crate) async fn with(server: &str, log: &str, routes_and_upstreams: &str) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        Self::within(directory, server, log, routes_and_upstreams).await
    }

    /// Serves from a directory that is there.
    pub(crate) async fn within(
        directory: TempDir,
        server: &str,
        log: &str,
        routes_and_upstreams: &str,
    ) -> Self {
        let log = format!("[log]\nfile = \"access.log\"\n{log}\n");
        let text = config_text(server, &(log + routes_and_upstreams));
        fs::write(directory.path().join("config.toml"), text).expect("a file");
        let mut running = Running::start(gatherd::<&str>(directory.path(), &[]));
        let address = running.address("listening for HTTPS").await;
        Self {
            running,
            directory,
            address,
            read: 0,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) async fn ask(&self, client: &reqwest::Client, method: &str, path: &str) -> Answer {
        let method = method.parse().expect("a method");
        let request = client.request(method, self.url(path));
        Answer::of(soon(request.send()).await.expect("an answer")).await
    }

    /// A connection on which the test writes HTTP/1.1 itself.
    pub(crate) async fn tls(&self) -> Tls {
        let stream = TcpStream::connect(&self.address).await.expect("it accepts");
        let tls = tls_within(self.directory.path(), stream, "http/1.1").await;
        tls.expect("a handshake")
    }

    pub(crate) fn file(&self) -> String {
        fs::read_to_string(self.directory.path().join("access.log")).expect("the access log")
    }

    /// The next line of the access log.
    pub(crate) async fn line(&mut self) -> Value {
        let read = self.read;
        until(|| self.file().lines().count() > read && self.file().ends_with('\n')).await;
        self.read += 1;
        let line = self.file().lines().nth(read).expect("a line").to_owned();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    /// Ends the program; there are no more lines than were read.
    pub(crate) async fn end(self) {
        let file = self.directory.path().join("access.log");
        self.running.terminate();
        assert_eq!(self.running.ended().await, Some(0));
        let lines = fs::read_to_string(file).expect("the access log");
        assert_eq!(lines.lines().count(), self.read, "{lines}");
    }
}

pub(crate) const UNLIMITED: &str = "[rate_limit]\nenabled = false\n";

pub(crate) fn work(upstream: &Upstream) -> String {
    UNLIMITED.to_owned()
        + &upstream.section("work", "/")
        + &route("/all", "all", "work", "calls = 2")
        + "[[routes]]\npath = \"/half/{id}\"\npolicy = \"all\"\nbranches = [\
           { name = \"good\", upstream = \"work\", target = \"/\" }, \
           { name = \"bad\", upstream = \"work\", target = \"/fault/status/503\" }]\n"
        + "[[routes]]\npath = \"/hang\"\npolicy = \"all\"\nbranches = [\
           { name = \"good\", upstream = \"work\", target = \"/\" }, \
           { name = \"slow\", upstream = \"work\", target = \"/fault/hang/start\" }]\n"
}

/// Members of a line that must be equal.
pub(crate) fn assert_members(line: &Value, expected: &[(&str, Value)]) {
    for (member, value) in expected {
        assert_eq!(&line[*member], value, "{member} of {line}");
    }
}
