//! A service, an upstream and a client for each test; every port is the kernel's choice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatherd::app::{self, LocalAddrs};
use gatherd::config::{self, Environment, MockSettings, Settings};
use gatherd::mock::{self, Counters};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything that should happen soon is waited for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A gatherd in this process.
pub(crate) struct Service {
    pub(crate) addrs: LocalAddrs,
    pub(crate) directory: TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Service {
    /// Serves `routes_and_upstreams`, with listeners on free ports and nobody limited.
    pub(crate) async fn start(routes_and_upstreams: &str) -> Self {
        Self::with("", "[rate_limit]\nenabled = false", routes_and_upstreams).await
    }

    /// Serves with more keys in `[server]`, and with sections of its own.
    pub(crate) async fn with(server: &str, sections: &str, routes_and_upstreams: &str) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        Self::within(directory, server, sections, routes_and_upstreams).await
    }

    /// Serves from a directory that holds what the configuration names.
    pub(crate) async fn within(
        directory: TempDir,
        server: &str,
        sections: &str,
        routes_and_upstreams: &str,
    ) -> Self {
        let text = config_text(server, &format!("{sections}\n{routes_and_upstreams}"));
        Self::start_in(directory, &text)
    }

    /// Serves what a whole config file says.
    pub(crate) async fn of(text: &str) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        Self::start_in(directory, text)
    }

    fn start_in(directory: TempDir, text: &str) -> Self {
        let settings = settings(directory.path(), text);
        let app = app::bind(&settings).expect("the app binds");
        let stop = CancellationToken::new();
        let addrs = app.local_addrs();
        let task = tokio::spawn(app.run_until(stop.clone().cancelled_owned()));
        Self {
            addrs,
            directory,
            stop,
            task,
        }
    }

    /// The URL of a path of this service.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addrs.https[0].port())
    }

    /// GET over whatever protocol TLS agrees on, that is HTTP/2.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&client(), "GET", path, &[]).await
    }

    /// A request with these headers, by this client.
    pub(crate) async fn ask(
        &self,
        client: &reqwest::Client,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let method = method.parse().expect("a method");
        let request = client.request(method, self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        Answer::of(soon(request.send()).await.expect("an answer")).await
    }

    /// Begins to drain.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) {
        soon(self.task).await.expect("the app does not panic");
    }
}

/// A config file's text: free ports, a self-signed certificate, no admin listener.
pub(crate) fn config_text(server: &str, rest: &str) -> String {
    format!(
        "[server]\nhttps = [\"127.0.0.1:0\"]\n{server}\n\
         [tls]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\nself_signed = true\n\
         [admin]\nenabled = false\n{rest}"
    )
}

/// What a config file in `directory` says.
pub(crate) fn settings(directory: &Path, text: &str) -> Settings {
    let file = directory.join("config.toml");
    match config::parse(&file, text, &Environment::default()) {
        Ok(config) => config.settings,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: reqwest::Version,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Reads a response to its end.
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, version) = (response.status().as_u16(), response.version());
        let headers = response.headers().clone();
        let body = response.text().await.expect("a whole body");
        Self {
            status,
            version,
            headers,
            body,
        }
    }

    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().expect("header text")
    }

    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The last part of a problem's `type`.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let urn = self.json()["type"].as_str().expect("a type").to_owned();
        urn.strip_prefix("urn:gatherd:")
            .expect("a type of ours")
            .to_owned()
    }

    /// The kinds of the branches that failed, in branch order.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let json = self.json();
        let branches = json["branches"].as_array().expect("branches");
        branches
            .iter()
            .map(|branch| branch["kind"].as_str().expect("a kind").to_owned())
            .collect()
    }
}

/// A client that trusts anybody, without a limit of its own.
pub(crate) fn client() -> reqwest::Client {
    client_builder().build().expect("a client")
}

/// The same, still to be changed.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    // The first one wins; they are all the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
}

/// One client for each protocol, which it takes to every service.
pub(crate) fn http1_and_http2() -> [reqwest::Client; 2] {
    [
        client_builder().http1_only(),
        client_builder().http2_prior_knowledge(),
    ]
    .map(|builder| builder.build().expect("a client"))
}

/// The mock upstream, in this process.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    _stop: DropGuard,
}

impl Upstream {
    /// One that answers `{"time":250}` at once.
    pub(crate) fn start() -> Self {
        Self::with(r#"{"time":250}"#, Duration::ZERO)
    }

    /// One that answers `body` after `delay`.
    pub(crate) fn with(body: &str, delay: Duration) -> Self {
        let settings = MockSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            body: body.to_owned(),
            delay: (delay..=delay).into(),
            failure_rate: 0.0,
        };
        let mock = mock::bind(&settings).expect("a free port");
        let stop = CancellationToken::new();
        let (addr, counters) = (mock.local_addr(), mock.counters());
        tokio::spawn(mock.run_until(stop.clone().cancelled_owned()));
        Self {
            addr,
            counters,
            _stop: stop.drop_guard(),
        }
    }

    /// The section of an upstream `name` whose URL is this one's with `path`.
    pub(crate) fn section(&self, name: &str, path: &str) -> String {
        format!("[upstreams.{name}]\nurl = \"http://{}{path}\"\n", self.addr)
    }
}

/// A route in the short form.
pub(crate) fn route(path: &str, policy: &str, upstream: &str, more: &str) -> String {
    format!(
        "[[routes]]\npath = \"{path}\"\npolicy = \"{policy}\"\nupstream = \"{upstream}\"\n{more}\n"
    )
}

/// Waits for what should come soon.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("it should have come by now")
}

/// Waits until `condition` holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Waits until what takes time to ask holds.
pub(crate) async fn until_async(condition: impl AsyncFn() -> bool) {
    soon(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
