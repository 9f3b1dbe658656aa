//! What a reload keeps, and what is counted, of a shared limit whose Redis is not there.

use std::path::Path;

use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{Environment, parse};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::upstream::Buffers;

const BASE: &str = "[server]\nhttps = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"absent/cert.pem\"\n\
    private_key = \"absent/key.pem\"\nself_signed = true\n[upstreams.work]\nurl = \"http://127.0.0.1:1\"\n\
    [[routes]]\npath = \"/x\"\npolicy = \"all\"\nupstream = \"work\"\n";

/// Limiters with this in `[rate_limit]` and what stands below.
fn limiters(common: &SharedByUpstreams, sections: &str, before: Option<&Limiters>) -> Limiters {
    let text = format!("{BASE}[rate_limit]\n{sections}");
    let config = parse(Path::new("config.toml"), &text, &Environment::default());
    let settings = config.unwrap_or_else(|told| panic!("{told}")).settings;
    Limiters::new(&settings, common, before).unwrap_or_else(|told| panic!("{told}"))
}

fn common() -> SharedByUpstreams {
    let metrics = Metrics::new();
    SharedByUpstreams {
        buffers: Buffers::new(1 << 20, metrics.load.clone()),
        names: Names::default(),
        lingering: TaskTracker::new(),
        metrics,
    }
}

fn redis_of(limiters: &Limiters) -> &Arc<SharedCount> {
    limiters.redis.as_ref().expect("there is one")
}

#[test]
fn a_reload_keeps_the_connection_to_redis_unless_its_table_changes() {
    let common = common();
    let shared = "[rate_limit.shared]\nurl = \"redis://127.0.0.1:1\"\n";
    let first = limiters(&common, shared, None);
    let other_quota = limiters(&common, &format!("burst = 7\n{shared}"), Some(&first));
    assert!(Arc::ptr_eq(redis_of(&first), redis_of(&other_quota)));
    let deny = format!("{shared}on_error = \"deny\"");
    let changed = limiters(&common, &deny, Some(&other_quota));
    assert!(!Arc::ptr_eq(redis_of(&first), redis_of(&changed)));
    assert!(limiters(&common, "", Some(&changed)).redis.is_none());
}

#[tokio::test]
async fn what_is_decided_without_redis_is_counted() {
    let common = common();
    let shared = "burst = 1\n[rate_limit.shared]\nurl = \"redis://127.0.0.1:1\"\n";
    let limiters = limiters(&common, shared, None);
    let client = "192.0.2.1".parse().unwrap();
    let limiter = limiters.shared();
    let limiter = limiter.expect("there is one");
    assert!(limiter.admit(client).await.is_ok());
    assert!(limiter.admit(client).await.is_err());
    let families = common.metrics.families();
    let checks = families
        .iter()
        .find(|family| family.name() == "gatherd_shared_limit_checks_total")
        .expect("it is there");
    let counted = checks.get_metric().iter().map(|metric| {
        let result = metric.get_label()[0].value().to_owned();
        (result, metric.get_counter().get_value())
    });
    let counted: Vec<_> = counted.filter(|(_, count)| *count > 0.0).collect();
    assert_eq!(counted, [("away".to_owned(), 2.0)]);
}

#[test]
fn an_emptied_bucket_has_no_token_left_and_others_have_all() {
    let settings = "burst = 77\nrequests_per_second = 0.01\n";
    let limiters = limiters(&common(), settings, None);
    let limiter = limiters.shared();
    let buckets = &limiter.expect("there is one").buckets;
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| buckets.of(it.parse().unwrap(), 9));
    (0..30).for_each(|_| assert_eq!(buckets.take(one), Verdict::Admitted));
    buckets.empty(one);
    assert!(matches!(buckets.take(one), Verdict::Refused(_)));
    assert_eq!(buckets.take(other), Verdict::Admitted);
}
