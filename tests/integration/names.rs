//! Where names lead: the hosts file first, then the name servers of a resolv.conf, as these files are now.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatherd::http::Snapshot;
use gatherd::metrics::Metrics;
use gatherd::names::Names;
use gatherd::upstream::{Buffers, Request, SharedByUpstreams, Upstream as Called};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::harness::{Upstream, config_text, route, settings, soon, until_async};
use crate::name_server::{NameServer, Said as Says};
use crate::programs::said;

/// Names by files of this test.
struct Scene {
    directory: TempDir,
    names: Names,
}

impl Scene {
    /// With this hosts file, and `server` in resolv.conf.
    fn new(hosts: &str, server: &NameServer) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        let [file, resolv_conf] = ["hosts", "resolv.conf"].map(|it| directory.path().join(it));
        let names = Names::of_files(file, resolv_conf, server.addr.port());
        let scene = Self { directory, names };
        scene.write("hosts", hosts);
        scene.resolv_conf(server.addr.ip(), "");
        scene
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.directory.path().join(file), text).expect("a file");
    }

    fn resolv_conf(&self, server: IpAddr, more: &str) {
        self.write("resolv.conf", format!("nameserver {server}\n{more}"));
    }

    /// The addresses of a name, or the error.
    async fn found(&self, name: &str) -> String {
        match soon(self.names.lookup(name)).await {
            Ok(addresses) => format!("{addresses:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// Waits until the addresses of a name are these, without being told that a file has changed.
    async fn noticed(&self, name: &str, found: &str) {
        until_async(async || self.found(name).await == found).await;
    }
}

fn says(address: &str, seconds: u32) -> Says {
    Says::Addresses(vec![address.parse().expect("an address")], seconds)
}

#[tokio::test]
async fn a_name_in_the_hosts_file_is_asked_for_nowhere_else_in_any_family() {
    let server = NameServer::start(says("2001:db8::1", 60)).await;
    let hosts = "127.0.0.2 Over.Test my_service\n::1 six.test\n";
    let scene = Scene::new(hosts, &server);
    assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
    assert_eq!(scene.found("OVER.test.").await, "[127.0.0.2]");
    assert_eq!(scene.found("my_service").await, "[127.0.0.2]");
    assert_eq!(scene.found("six.test").await, "[::1]");
    assert_eq!(server.asked(), Vec::<String>::new());
    assert_eq!(scene.found("dns.test").await, "[2001:db8::1]");
    assert_eq!(server.asked().len(), 2, "both families");
}

#[tokio::test]
async fn a_name_server_that_is_silent_costs_a_name_in_the_hosts_file_nothing() {
    let server = NameServer::start(Says::Silence).await;
    let scene = Scene::new("127.0.0.2 over.test\n", &server);
    let names = scene.names.clone();
    // One that is waited for holds up nobody.
    let waiting = tokio::spawn(async move { names.lookup("dns.test").await.is_err() });
    until_async(async || !server.asked().is_empty()).await;
    for _ in 0..1000 {
        assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
    }
    assert!(server.asked().iter().all(|it| it.starts_with("dns.test.")));
    assert!(!waiting.is_finished(), "a thousand answers took seconds");
    waiting.abort();
}

#[tokio::test]
async fn a_changed_hosts_file_is_noticed() {
    let server = NameServer::start(says("192.0.2.1", 60)).await;
    let scene = Scene::new("127.0.0.2 over.test\n", &server);
    assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
    scene.write("hosts", "127.0.0.3 over.test\n");
    scene.noticed("over.test", "[127.0.0.3]").await;
    assert_eq!(server.asked(), Vec::<String>::new());
    scene.write("hosts", "");
    scene.noticed("over.test", "[192.0.2.1]").await;
    // As editors do it.
    scene.write("new", "127.0.0.4 over.test\n");
    let [new, old] = ["new", "hosts"].map(|it| scene.directory.path().join(it));
    fs::rename(new, old).expect("a new name");
    scene.noticed("over.test", "[127.0.0.4]").await;
}

#[tokio::test]
async fn a_resolv_conf_that_is_missing_or_wrong_and_is_corrected_is_noticed() {
    let server = NameServer::start(says("192.0.2.1", 60)).await;
    let scene = Scene::new("127.0.0.2 over.test\n", &server);
    for wrong in ["", "nameserver 127.0.0.1.1\n"] {
        scene.write("resolv.conf", wrong);
        scene.names.reread();
        assert!(!scene.found("dns.test").await.starts_with('['), "{wrong}");
        assert_eq!(scene.found("over.test").await, "[127.0.0.2]");
        scene.resolv_conf(server.addr.ip(), "");
        scene.noticed("dns.test", "[192.0.2.1]").await;
        server.say(Says::Nothing);
        scene.names.reread();
        assert_eq!(scene.found("dns.test").await, "no such name");
        server.say(says("192.0.2.1", 60));
    }
    fs::remove_file(scene.directory.path().join("resolv.conf")).expect("it was there");
    scene.names.reread();
    let error = scene.found("dns.test").await;
    assert!(error.contains("no name server"), "{error}");
    scene.resolv_conf(server.addr.ip(), "");
    scene.noticed("dns.test", "[192.0.2.1]").await;
}

#[tokio::test]
async fn who_waits_for_a_wrong_name_server_holds_up_nobody_who_asks_the_right_one() {
    let [wrong, right] = [Says::Silence, says("192.0.2.1", 60)];
    let wrong = NameServer::start(wrong).await;
    let scene = Scene::new("", &wrong);
    let same_port = ([127, 0, 0, 2], wrong.addr.port()).into();
    let right = NameServer::at(same_port, right).await;
    let names = scene.names.clone();
    let waiting = tokio::spawn(async move { names.lookup("dns.test").await.is_err() });
    until_async(async || !wrong.asked().is_empty()).await;
    scene.resolv_conf(right.addr.ip(), "");
    scene.names.reread();
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    assert!(!waiting.is_finished(), "it waits for seconds");
    waiting.abort();
}

#[tokio::test]
async fn other_name_servers_are_asked_anew_and_believed() {
    let old = NameServer::start(says("192.0.2.1", 3600)).await;
    let scene = Scene::new("", &old);
    let same_port = ([127, 0, 0, 2], old.addr.port()).into();
    let new = NameServer::at(same_port, says("192.0.2.2", 3600)).await;
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    assert_eq!(scene.found("gone.test").await, "[192.0.2.1]");
    let asked = old.asked().len();
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    assert_eq!(old.asked().len(), asked, "an answer is kept while it holds");
    scene.resolv_conf(new.addr.ip(), "");
    scene.noticed("dns.test", "[192.0.2.2]").await;
    // What the old servers knew counts only while the new ones are silent.
    new.say(Says::Nothing);
    assert_eq!(scene.found("gone.test").await, "no such name");
    assert_eq!(old.asked().len(), asked);
}

#[tokio::test]
async fn what_is_told_to_be_read_again_is_asked_again() {
    let server = NameServer::start(says("192.0.2.1", 3600)).await;
    let scene = Scene::new("", &server);
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    server.say(says("192.0.2.2", 3600));
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    scene.names.reread();
    assert_eq!(scene.found("dns.test").await, "[192.0.2.2]");
}

#[tokio::test]
async fn the_last_good_answer_is_used_while_no_name_server_answers() {
    let server = NameServer::start(says("192.0.2.1", 0)).await;
    let scene = Scene::new("", &server);
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    server.say(Says::Silence);
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    // It rests now, and answers at once.
    let begun = Instant::now();
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
    assert!(begun.elapsed() < Duration::from_millis(500));
    // A broken resolv.conf is no reason to lose it.
    scene.write("resolv.conf", "");
    scene.names.reread();
    assert_eq!(scene.found("dns.test").await, "[192.0.2.1]");
}

#[tokio::test]
async fn names_with_underscores_and_search_domains_go_to_the_name_server_as_they_are() {
    let server = NameServer::start(says("192.0.2.1", 60)).await;
    let scene = Scene::new("", &server);
    for (name, question) in [
        ("my_service", "my_service."),
        ("a_.b_c.test", "a_.b_c.test."),
        ("-x-.test.", "-x-.test."),
    ] {
        assert_eq!(scene.found(name).await, "[192.0.2.1]", "{name}");
        let [a, aaaa] = ["A", "AAAA"].map(|family| format!("{question} {family}"));
        let asked = server.asked();
        assert!(asked.contains(&a) && asked.contains(&aaaa), "{asked:?}");
    }
    scene.resolv_conf(
        server.addr.ip(),
        "search my_zone.test\noptions ndots:2 timeout:1\n",
    );
    scene.names.reread();
    let before = server.asked().len();
    assert_eq!(scene.found("my_service.x").await, "[192.0.2.1]");
    assert_eq!(scene.found("my_service.x.").await, "[192.0.2.1]");
    let asked = server.asked().split_off(before);
    assert!(
        asked[0].starts_with("my_service.x.my_zone.test."),
        "{asked:?}"
    );
    assert!(asked[2].starts_with("my_service.x. "), "{asked:?}");
}

#[tokio::test]
async fn a_name_with_an_underscore_is_called_and_leads_to_redis() {
    let server = NameServer::start(Says::Silence).await;
    let scene = Scene::new("127.0.0.1 my_service my_redis\n", &server);
    let upstream = Upstream::start();
    let redis = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = |addr: std::net::SocketAddr| addr.port();
    let text = config_text(
        "",
        &format!(
            "[rate_limit.shared]\nurl = \"redis://my_redis:{}\"\n\
             [upstreams.work]\nurl = \"http://my_service:{}/\"\n{}",
            port(redis.local_addr().expect("its address")),
            port(upstream.addr),
            route("/x", "all", "work", "")
        ),
    );
    fs::write(scene.directory.path().join("config.toml"), &text).expect("a file");
    let check = said(scene.directory.path(), &["check"]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    let settings = settings(scene.directory.path(), &text);
    let metrics = Metrics::new();
    let common = SharedByUpstreams {
        buffers: Buffers::new(1 << 20, metrics.load.clone()),
        names: scene.names.clone(),
        lingering: TaskTracker::new(),
        metrics,
    };
    let called = Called::new(&settings.upstreams[0], common.clone());
    let called: Arc<Called> = called.expect("it is made");
    let reply = soon(called.call(Request {
        target: "/".into(),
        headers: Vec::new(),
        select: None,
        deadline: Instant::now() + Duration::from_secs(10),
        expected: Duration::from_secs(10),
        latencies: None,
        stages: None,
        share: None,
    }));
    assert_eq!(reply.await.expect("a reply").status, 200);
    let snapshot = Snapshot::new(&settings, &common, None).expect("it is made");
    snapshot.sweep();
    soon(redis.accept()).await.expect("a connection");
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn check_takes_names_with_underscores() {
    let directory = TempDir::new().expect("a directory for this test");
    for (url, redis) in [
        ("http://my_service:8080/", "redis://my_redis"),
        ("https://my_service.a_b.test/", "rediss://my_redis.a_b.test"),
    ] {
        let text = config_text(
            "",
            &format!(
                "[rate_limit.shared]\nurl = \"{redis}\"\n[upstreams.work]\nurl = \"{url}\"\n{}",
                route("/x", "all", "work", "")
            ),
        );
        let file: &Path = &directory.path().join("config.toml");
        fs::write(file, text).expect("a file");
        let said = said(directory.path(), &["check"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}
