//! From what was counted to what is shown: pure, but for the values that only are and never were.

use std::time::Duration;

use super::model::{
    CertificateStatus, ClientStatus, FailureStatus, Health, LoadStatus, Point, ProcessStatus,
    RefusalStatus, ReloadStatus, ResourceStatus, RouteRates, RouteStatus, Status, TailStatus,
    UpstreamStatus,
};
use super::shared_limit::SharedLimitStatus;
use super::verdict::{Lately, findings};
use super::window::{Sample, Samples, Window};
use crate::metrics::{
    AddressCounts, ConnectionState, Durations, Handshake, Limit, Metrics, RouteCounts, StatusClass,
    TailCounts,
};

/// Windows of the status.
const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);
/// Clients that are shown.
const BUSIEST: usize = 10;

/// What is known besides the metrics.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// Seconds since 1970.
    pub(super) at: f64,
    /// `starting`, `ready` or `draining`.
    pub(super) state: &'static str,
    /// How the process before this one ended.
    pub(super) last_stop: Option<String>,
    /// The most that timers were late in the last ten seconds.
    pub(super) loop_lag: Duration,
    /// Connections that listeners had dropped before the process began.
    pub(super) listen_drops_before: u64,
}

/// The service as it is, and was in the last minutes.
pub(super) fn status(
    metrics: &Metrics,
    samples: &Samples,
    now: &Sample,
    surroundings: &Surroundings,
) -> Status {
    let minute = samples.window(now, MINUTE);
    let five_minutes = samples.window(now, FIVE_MINUTES);
    let ten_seconds = samples.window(now, TEN_SECONDS);
    let mut status = Status {
        at: surroundings.at,
        health: Health::Well,
        findings: Vec::new(),
        process: process(metrics, surroundings, now),
        routes: routes(&minute, &five_minutes),
        upstreams: upstreams(&five_minutes),
        load: load(metrics, &minute, &five_minutes),
        refusals: refusals(&minute, &five_minutes),
        shared_limit: SharedLimitStatus::of(&minute),
        clients: clients(metrics),
        resources: resources(metrics, surroundings, &ten_seconds, &five_minutes),
        certificate: certificate(metrics, surroundings.at),
    };
    let lately = Lately {
        upstreams: &upstreams(&minute),
        seconds: minute.seconds,
        routes_now: &routes(&ten_seconds, &ten_seconds),
        upstreams_now: &upstreams(&ten_seconds),
        five_minutes: &five_minutes,
    };
    status.findings = findings(&status, &lately);
    status.health = status
        .findings
        .iter()
        .map(|finding| finding.health)
        .max()
        .unwrap_or(Health::Well);
    status
}

/// The last step of the history.
pub(super) fn point(samples: &Samples, now: &Sample, at: f64, step: Duration) -> Point {
    let window = samples.window(now, step);
    let mut durations = Durations::default();
    let [mut good, mut errors, mut left] = [0, 0, 0];
    for index in 0..window.now.routes.len() {
        let route = window.route(index);
        durations = durations.with(&route.durations);
        good += of(&route, StatusClass::Success);
        errors += of(&route, StatusClass::ServerError);
        left += of(&route, StatusClass::ClientLeft);
    }
    let refused = window.rise(|counts| counts.refusals.iter().sum());
    Point {
        at,
        good: window.rate(good),
        errors: window.rate(errors),
        refused: window.rate(refused),
        left: window.rate(left),
        p50_ms: milliseconds(durations.quantile(0.5)),
        p99_ms: milliseconds(durations.quantile(0.99)),
    }
}

fn process(metrics: &Metrics, surroundings: &Surroundings, now: &Sample) -> ProcessStatus {
    let [reloads, reloads_failed] = now.counts.reloads;
    let last_reload = metrics.service.last_reload();
    ProcessStatus {
        version: env!("CARGO_PKG_VERSION"),
        state: surroundings.state,
        started: metrics.resources.started.get(),
        last_stop: surroundings.last_stop.clone(),
        reloads,
        reloads_failed,
        last_reload: last_reload.map(|(at, applied)| ReloadStatus { at, applied }),
        log_lines_lost: now.counts.log_lines_lost,
        panics: now.counts.panics,
    }
}

fn routes(minute: &Window, five_minutes: &Window) -> Vec<RouteStatus> {
    let route = |index: usize| {
        let counts = five_minutes.route(index);
        let [started, won, held_back] = counts.hedges.map(|count| five_minutes.rate(count));
        RouteStatus {
            route: counts.path.to_string(),
            policy: counts.policy.to_string(),
            deadline_ms: Some(counts.timeout.as_secs_f64() * 1000.0),
            minute: rates(minute, &minute.route(index)),
            five_minutes: rates(five_minutes, &counts),
            hedges_started: started,
            hedges_won: won,
            hedges_held_back: held_back,
            tail: counts
                .tail
                .as_ref()
                .map(|tail| self::tail(tail, counts.hedges[0])),
        }
    };
    let mut routes: Vec<_> = (0..five_minutes.now.routes.len()).map(route).collect();
    routes.sort_by(|one, other| one.route.cmp(&other.route));
    routes
}

fn tail(counts: &TailCounts, hedges: u64) -> TailStatus {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let [p99, p999] = counts.answered.map(ms);
    let [p99_without, p999_without] = counts.without.map(ms);
    TailStatus {
        p99_ms: p99,
        p999_ms: p999,
        p99_without_ms: p99_without,
        p999_without_ms: p999_without,
        extra_calls: hedges as f64 / counts.branches.max(1) as f64,
    }
}

fn rates(window: &Window, counts: &RouteCounts) -> RouteRates {
    let rate = |class| window.rate(of(counts, class));
    let [good, errors] = [StatusClass::Success, StatusClass::ServerError].map(rate);
    RouteRates {
        requests: window.rate(counts.requests.iter().sum()),
        good,
        errors,
        client_errors: rate(StatusClass::ClientError),
        left: rate(StatusClass::ClientLeft),
        good_share: (good + errors > 0.0).then(|| good / (good + errors)),
        p50_ms: milliseconds(counts.durations.quantile(0.5)),
        p99_ms: milliseconds(counts.durations.quantile(0.99)),
    }
}

fn of(route: &RouteCounts, class: StatusClass) -> u64 {
    route.requests[class as usize]
}

fn milliseconds(seconds: Option<f64>) -> Option<f64> {
    seconds.map(|seconds| seconds * 1000.0)
}

fn upstreams(window: &Window) -> Vec<UpstreamStatus> {
    let upstream = |index: usize| {
        let counts = window.upstream(index);
        let failures = counts.failed.iter().filter(|(_, count)| *count > 0);
        let mut failures: Vec<_> = failures
            .map(|(kind, count)| FailureStatus {
                kind: (*kind).to_owned(),
                count: *count,
                rate: window.rate(*count),
            })
            .collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        let failed: u64 = failures.iter().map(|failure| failure.count).sum();
        let [waiting, running, lingering] = counts.calls;
        UpstreamStatus {
            upstream: counts.name.to_string(),
            addresses: counts.addresses.iter().map(address).collect(),
            addresses_age_seconds: counts.addresses_age.map(|age| age.as_secs_f64()),
            running,
            waiting,
            lingering,
            max_calls: i64::try_from(counts.max_calls).unwrap_or(i64::MAX),
            branches: window.rate(counts.succeeded + failed),
            succeeded: window.rate(counts.succeeded),
            failures,
            unfinished: window.rate(counts.unfinished),
            calls: window.rate(counts.requests),
            retries: window.rate(counts.retries),
            breaker: [None, Some("half open"), Some("open")]
                .get(usize::try_from(counts.breaker).unwrap_or_default())
                .copied()
                .flatten(),
            p50_ms: milliseconds(counts.durations.quantile(0.5)),
            p99_ms: milliseconds(counts.durations.quantile(0.99)),
        }
    };
    (0..window.now.upstreams.len()).map(upstream).collect()
}

fn load(metrics: &Metrics, minute: &Window, window: &Window) -> LoadStatus {
    let load = &metrics.load;
    let connections = |state: ConnectionState| window.now.connections[state as usize];
    let failed = window.rise(|counts| {
        let all: u64 = counts.handshakes.iter().sum();
        let completed = counts.handshakes.get(Handshake::Completed as usize);
        all - completed.copied().unwrap_or_default()
    });
    let calls = |state: usize| {
        let upstreams = window.now.upstreams.iter();
        upstreams.map(|upstream| upstream.calls[state]).sum()
    };
    let sent = window.rise(|counts| counts.upstreams.iter().map(|one| one.requests).sum());
    let gathers = window.rise(|counts| {
        let routes = counts.routes.iter();
        routes.map(|route| route.durations.count()).sum()
    });
    LoadStatus {
        in_flight: load.in_flight.get(),
        max_in_flight: load.max_in_flight.get(),
        waiting: calls(0),
        lingering: calls(2),
        buffered_bytes: load.buffered.get(),
        max_buffered_bytes: load.max_buffered.get(),
        handshaking: connections(ConnectionState::Handshaking),
        idle: connections(ConnectionState::Idle),
        active: connections(ConnectionState::Active),
        max_connections: metrics.edge.max_connections.get(),
        connections_accepted: minute.rate(minute.rise(|counts| counts.accepted)),
        handshakes_failed: window.rate(failed),
        clients_tracked: load.clients_tracked.get(),
        calls_per_request: (gathers > 0).then(|| sent as f64 / gathers as f64),
    }
}

fn refusals(minute: &Window, five_minutes: &Window) -> Vec<RefusalStatus> {
    let refusal = |limit: &Limit| {
        let index = *limit as usize;
        let of = |counts: &crate::metrics::Counts| counts.refusals.get(index).copied().unwrap_or(0);
        RefusalStatus {
            limit: *limit,
            minute: minute.rate(minute.rise(of)),
            five_minutes: five_minutes.rate(five_minutes.rise(of)),
            total: of(&minute.now),
        }
    };
    Limit::ALL.iter().map(refusal).collect()
}

fn clients(metrics: &Metrics) -> Vec<ClientStatus> {
    let top = metrics.busiest.top(BUSIEST).into_iter();
    top.map(|(client, requests)| ClientStatus {
        client: client.to_string(),
        requests,
    })
    .collect()
}

fn resources(
    metrics: &Metrics,
    surroundings: &Surroundings,
    ten_seconds: &Window,
    five_minutes: &Window,
) -> ResourceStatus {
    let read = &metrics.resources;
    let host =
        |of: fn(&crate::metrics::HostCpu) -> f64| ten_seconds.share(|counts| of(&counts.host));
    let all = host(|host| host.all);
    let part = |seconds: f64| if all > 0.0 { seconds / all } else { 0.0 };
    let pressure = |index: usize| {
        let known = ten_seconds.now.pressure.is_some();
        known.then(|| ten_seconds.share(|counts| counts.pressure.map_or(0.0, |all| all[index])))
    };
    let drops = five_minutes.rise(|counts| counts.listen_drops);
    ResourceStatus {
        loop_lag_ms: surroundings.loop_lag.as_secs_f64() * 1000.0,
        cpu: ten_seconds.share(|counts| counts.cpu),
        host_cpu: part(all - host(|host| host.idle)),
        steal: part(host(|host| host.steal)),
        cores: read.cores.get(),
        resident_bytes: read.resident.get(),
        memory_limit_bytes: read.memory_limit.get(),
        descriptors: read.descriptors.get(),
        max_descriptors: read.max_descriptors.get(),
        listen_drops: five_minutes.rate(drops),
        listen_drops_total: five_minutes
            .now
            .listen_drops
            .saturating_sub(surroundings.listen_drops_before),
        cpu_pressure: pressure(0),
        memory_pressure: pressure(1),
        io_pressure: pressure(2),
    }
}

fn certificate(metrics: &Metrics, at: f64) -> Option<CertificateStatus> {
    let certificates = &metrics.service.certificates;
    let (mut name, expires) = certificates.first_to_expire()?;
    let last = certificates.last_to_be_valid();
    let early = last.filter(|(_, from)| *from > at);
    let seconds_to_valid = early.as_ref().map_or(0.0, |(_, from)| from - at);
    if let Some((early, _)) = early {
        name = early;
    }
    Some(CertificateStatus {
        name,
        expires,
        seconds_left: expires - at,
        seconds_to_valid,
        stands_in: certificates.stands_in.get() == 1,
    })
}

/// An address and its state.
fn address(counts: &AddressCounts) -> String {
    let aside = if counts.is_aside { " (set aside)" } else { "" };
    format!("{}{aside}", counts.address)
}
