//! What the limiter costs a request, from one known client to a million: under a microsecond, and flat.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use gatherd::config::{Environment, parse};
use gatherd::http::Snapshot;
use gatherd::metrics::Metrics;
use gatherd::names::Names;
use gatherd::upstream::{Buffers, SharedByUpstreams};
use tokio_util::task::TaskTracker;

const CONFIG: &str = r#"
[server]
https = ["127.0.0.1:443"]
[tls]
certificate = "cert.pem"
private_key = "key.pem"
self_signed = true
[rate_limit]
requests_per_second = 1000000
burst = 1000000
max_clients = 2000000
[upstreams.work]
url = "http://127.0.0.1:1234/"
[[routes]]
path = "/api/all"
policy = "all"
upstream = "work"
"#;

fn snapshot() -> Snapshot {
    let config = parse(Path::new("config.toml"), CONFIG, &Environment::default());
    let settings = config.expect("the configuration above is valid").settings;
    let metrics = Metrics::new();
    let common = SharedByUpstreams {
        buffers: Buffers::new(1 << 20, metrics.load.clone()),
        names: Names::default(),
        lingering: TaskTracker::new(),
        metrics,
    };
    Snapshot::new(&settings, &common, None).expect("it names no files")
}

fn limiter(criterion: &mut Criterion) {
    for clients in [1_u32, 1000, 1_000_000] {
        let snapshot = snapshot();
        let admits = |number: u32| {
            let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
            let admitted = snapshot.admits("/api/all", black_box(client));
            admitted.now_or_never() == Some(true)
        };
        assert!((0..clients).all(admits), "every client is within its rate");
        // Clients in no order, as they come.
        let mut number = 0_u32;
        criterion.bench_function(&format!("of {clients} clients"), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                admits(number % clients)
            });
        });
    }
}

criterion_group!(benches, limiter);
criterion_main!(benches);
