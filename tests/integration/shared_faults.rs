//! Redis is away, in many ways: the service goes on, nobody waits long, and the shared quota is back
//! soon after Redis is.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::until_async;
use crate::programs::free_port;
use crate::redis::Redis;
use crate::shared_limits::{Fleet, get};

/// Refills so seldom that no test sees it.
const LIMIT: &str = "requests_per_second = 0.01\nburst = 6";

/// What goes wrong with a Redis that was there, and how it is mended.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Paused,
    Killed,
    Full,
    Replica,
    SilentFor(&'static str),
    Locked,
}

impl Fault {
    async fn begin(self, redis: &mut Redis) {
        match self {
            Self::Paused => redis.pause(),
            Self::Killed => redis.kill().await,
            Self::Full => said(redis, "CONFIG SET maxmemory 1").await,
            Self::Replica => said(redis, "REPLICAOF 127.0.0.1 1").await,
            Self::SilentFor(pause) => said(redis, &format!("CLIENT PAUSE {pause} ALL")).await,
            Self::Locked => {
                // Those who are in stay in, and the second command is theirs too.
                said(
                    redis,
                    "CONFIG SET requirepass hush\r\nCLIENT KILL TYPE normal",
                )
                .await;
            }
        }
    }

    async fn end(self, redis: &mut Redis) {
        match self {
            Self::Paused => redis.resume(),
            Self::Killed => redis.begin().await,
            Self::Full => said(redis, "CONFIG SET maxmemory 0").await,
            Self::Replica => said(redis, "REPLICAOF NO ONE").await,
            Self::SilentFor(_) => {}
            Self::Locked => {
                redis.kill().await;
                redis.begin().await;
            }
        }
    }
}

async fn said(redis: &Redis, command: &str) {
    assert_eq!(redis.ask(command).await, "+OK", "{command}");
}

#[tokio::test]
async fn without_redis_each_host_limits_by_itself_and_the_shared_quota_comes_back() {
    let faults = [
        Fault::Paused,
        Fault::Killed,
        Fault::Full,
        Fault::Replica,
        Fault::SilentFor("4000"),
        Fault::Locked,
    ];
    join_all(faults.map(goes_on_without_redis)).await;
}

async fn goes_on_without_redis(fault: Fault) {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    // Longer than the default, since other tests keep the machine busy.
    let fleet = Fleet::start(2, &url, LIMIT, "timeout = \"300ms\"", "").await;
    fleet.joined(&redis).await;
    fault.begin(&mut redis).await;
    for instance in &fleet.instances {
        let mut statuses = Vec::new();
        for _ in 0..8 {
            statuses.push(get(instance, "/one", "192.0.2.1").await);
        }
        let (good, refused) = statuses.split_at(6);
        assert!(
            good.iter().all(|status| *status == 200),
            "{fault:?}: {statuses:?}"
        );
        assert!(
            refused.iter().all(|status| *status == 429),
            "{fault:?}: {statuses:?}"
        );
    }
    fault.end(&mut redis).await;
    fleet.joined(&redis).await;
    // Both hosts together admit the quota once, where each by itself would.
    until_async(async || admitted(&fleet).await == 6).await;
}

#[tokio::test]
async fn a_silent_redis_costs_three_requests_their_wait_and_no_more() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    // So long that it cannot be mistaken for anything else.
    let fleet = Fleet::start(1, &url, LIMIT, "timeout = \"1s\"", "").await;
    fleet.joined(&redis).await;
    redis.pause();
    let began = Instant::now();
    for client in 1..=20 {
        assert_eq!(
            get(&fleet.instances[0], "/one", &format!("192.0.2.{client}")).await,
            200
        );
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(3), "three waited: {waited:?}");
    assert!(
        waited < Duration::from_secs(10),
        "so many waited: {waited:?}"
    );
    redis.resume();
    fleet.joined(&redis).await;
}

#[tokio::test]
async fn the_local_limiter_is_warm_when_redis_goes() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let fleet = Fleet::start(1, &url, LIMIT, "timeout = \"1s\"", "").await;
    fleet.joined(&redis).await;
    for _ in 0..6 {
        assert_eq!(get(&fleet.instances[0], "/one", "192.0.2.1").await, 200);
    }
    redis.kill().await;
    assert_eq!(get(&fleet.instances[0], "/one", "192.0.2.1").await, 429);
}

#[tokio::test]
async fn who_was_refused_for_all_hosts_has_no_burst_left_at_any_when_redis_goes() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let limit = "requests_per_second = 2\nburst = 20";
    let fleet = Fleet::start(2, &url, limit, "timeout = \"1s\"", "").await;
    fleet.joined(&redis).await;
    let (one, other) = (&fleet.instances[0], &fleet.instances[1]);
    while get(one, "/one", "192.0.2.1").await == 200 {}
    // It has seen nothing of that client but this.
    until_async(async || get(other, "/one", "192.0.2.1").await == 429).await;
    let refused = Instant::now();
    redis.kill().await;
    let mut good = 0;
    for _ in 0..20 {
        good += u32::from(get(other, "/one", "192.0.2.1").await == 200);
    }
    let most = 1.0 + 2.0 * refused.elapsed().as_secs_f64();
    assert!(f64::from(good) <= most, "{good} of at most {most}");
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_given_to_it_again() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let fleet = Fleet::start(2, &url, LIMIT, "timeout = \"1s\"", "").await;
    fleet.joined(&redis).await;
    let mut good = 0;
    for _ in 0..6 {
        said(&redis, "SCRIPT FLUSH").await;
        for instance in &fleet.instances {
            good += u32::from(get(instance, "/one", "192.0.2.1").await == 200);
        }
    }
    assert_eq!(good, 6);
}

#[tokio::test]
async fn a_start_does_not_wait_for_redis_and_finds_it_when_it_comes() {
    let Some(mut redis) = Redis::absent(&[]) else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let fleet = Fleet::start(2, &url, LIMIT, "", "").await;
    for instance in &fleet.instances {
        assert_eq!(get(instance, "/one", "192.0.2.1").await, 200);
    }
    redis.begin().await;
    fleet.joined(&redis).await;
}

#[tokio::test]
async fn what_is_done_without_redis_is_what_the_settings_say() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let allow = Fleet::start(1, &url, LIMIT, "on_error = \"allow\"", "").await;
    for _ in 0..12 {
        assert_eq!(get(&allow.instances[0], "/one", "192.0.2.1").await, 200);
    }
    let deny = Fleet::start(1, &url, LIMIT, "on_error = \"deny\"", "").await;
    let answer = deny.instances[0].get("/one").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded")
    );
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(deny.upstream.counters.requests(), 0);
}

#[tokio::test]
async fn whatever_answers_in_the_place_of_redis_the_local_limiter_decides() {
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    for answer in [
        "",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        loading,
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-BUSY Redis is busy running a script\r\n",
        "+OK\r\n",
        "$5\r\nab",
        ":1\r\n",
        "*2147483647\r\n",
        "\0\u{1}\u{2}",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let fake = tokio::spawn(pretend(listener, answer));
        let url = format!("redis://:hush@127.0.0.1:{port}/1");
        let fleet = Fleet::start(1, &url, LIMIT, "", "").await;
        for round in 0..9 {
            let expected = if round < 6 { 200 } else { 429 };
            let status = get(&fleet.instances[0], "/one", "192.0.2.1").await;
            assert_eq!(status, expected, "{answer:?}, {round}");
        }
        fake.abort();
    }
}

/// Accepts everybody, and gives the same answer to every command.
async fn pretend(listener: TcpListener, answer: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let commands = buffer[..length]
                    .iter()
                    .filter(|byte| **byte == b'*')
                    .count();
                if stream
                    .write_all(answer.repeat(commands).as_bytes())
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn redis_over_tls_is_believed_if_its_authority_is_ours() {
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(authority, key);
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let server = server
        .signed_by(&server_key, &issuer)
        .expect("a certificate");
    let directory = TempDir::new().expect("a directory for this test");
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("redis.pem", server.pem()),
        ("redis.key", server_key.serialize_pem()),
    ] {
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    let path = |name: &str| directory.path().join(name).display().to_string();
    let tls_port = free_port().to_string();
    let (certificate, key, ca) = (path("redis.pem"), path("redis.key"), path("ca.pem"));
    let Some(mut redis) = Redis::absent(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "h@sh",
    ]) else {
        return;
    };
    redis.begin().await;
    let url = format!("rediss://:h%40sh@localhost:{tls_port}");
    let trusting = Fleet::start(2, &url, LIMIT, &format!("ca = \"{ca}\""), "").await;
    until_async(async || admitted(&trusting).await == 6).await;
    // It is not asked, and each host counts for itself.
    let stranger = Fleet::start(2, &url, LIMIT, "ca = \"bundled\"", "").await;
    assert_eq!(admitted(&stranger).await, 12);
}

/// How many requests of a new client two hosts admit, which limit it to six.
async fn admitted(fleet: &Fleet) -> u32 {
    let client = format!("192.0.{}.{}", fastrand::u8(..), fastrand::u8(..));
    let mut good = 0;
    for _ in 0..8 {
        for instance in &fleet.instances {
            good += u32::from(get(instance, "/one", &client).await == 200);
        }
    }
    good
}
