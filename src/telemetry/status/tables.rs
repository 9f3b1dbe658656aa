//! What of a status is shown, and in which words: fields become tables here, and nowhere else.
//!
//! A new figure touches four files: the metric in `metrics`, its field in `model.rs`, how it is
//! computed in `compute.rs`, and its row here or in `tables/`.

mod glance;
mod traffic;

use serde::Serialize;

use super::figures::{age, bytes, expiry, instant, milliseconds, number, share};
use super::model::{CertificateStatus, RouteStatus, Status};
use super::table::{Row, Table};

/// A status as it is sent: its fields, and the same as tables.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// One sentence about the traffic.
    summary: String,
    /// The shortest deadline of the routes that are asked, for the chart of latencies.
    deadline_ms: Option<f64>,
    /// The last minute at a glance: a name, a value, and what it means.
    glance: Table,
    tables: Vec<Table>,
}

impl<'a> Shown<'a> {
    /// This status.
    #[must_use]
    pub fn new(status: &'a Status) -> Self {
        let asked = |route: &&RouteStatus| route.five_minutes.requests > 0.0;
        let is_quiet = !status.routes.iter().any(|route| asked(&route));
        let routes = status
            .routes
            .iter()
            .filter(|route| is_quiet || asked(route));
        Self {
            summary: glance::summary(status),
            deadline_ms: routes
                .filter_map(|route| route.deadline_ms)
                .reduce(f64::min),
            glance: glance::glance(status),
            tables: tables(status),
            status,
        }
    }
}

/// All tables, in the order to show them.
pub(super) fn tables(status: &Status) -> Vec<Table> {
    let shared = status.shared_limit.as_ref();
    [
        Some(service(status)),
        Some(traffic::routes(status)),
        Some(traffic::upstreams(status)),
        Some(load(status)),
        Some(refusals(status)),
        shared.map(|shared| shared.table(&status.findings)),
        Some(clients(status)),
        Some(machine(status)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn per_second(value: f64) -> String {
    format!("{} /s", number(value))
}

fn service(status: &Status) -> Table {
    let (process, findings) = (&status.process, &status.findings);
    let title = format!(
        "gatherd {}, {}, at {}",
        process.version,
        process.state,
        instant(status.at)
    );
    let reload = process.last_reload.map_or("none".to_owned(), |reload| {
        format!(
            "{} {} ago ({} applied, {} refused)",
            if reload.applied { "applied" } else { "REFUSED" },
            age(status.at - reload.at),
            process.reloads,
            process.reloads_failed,
        )
    });
    let started = format!(
        "{}, {} ago",
        instant(process.started),
        age(status.at - process.started)
    );
    let stopped = process.last_stop.as_deref().unwrap_or("not known");
    let certificate = status.certificate.as_ref();
    let certificate = certificate.map_or("not known".to_owned(), self::certificate);
    let lost = format!(
        "log lines lost {}, panics {}",
        process.log_lines_lost, process.panics
    );
    Table::new("service", title, &[]).rows([
        Row::fact("started", started).at(findings, "service"),
        Row::fact("stopped before", stopped),
        Row::fact("last reload", reload).at(findings, "configuration"),
        Row::fact("certificate", certificate).at(findings, "certificate"),
        Row::fact("since start", lost).at(findings, "log"),
    ])
}

fn certificate(certificate: &CertificateStatus) -> String {
    let when = if certificate.seconds_to_valid > 0.0 {
        format!(
            "NOT VALID for another {}",
            age(certificate.seconds_to_valid)
        )
    } else if certificate.seconds_left < 0.0 {
        format!("EXPIRED {} ago", age(-certificate.seconds_left))
    } else {
        expiry(certificate.expires, certificate.seconds_left)
    };
    format!("{} {when}", certificate.name)
}

fn load(status: &Status) -> Table {
    let (load, findings) = (&status.load, &status.findings);
    let connections = load.active + load.idle + load.handshaking;
    let calls: i64 = status
        .upstreams
        .iter()
        .map(|upstream| upstream.max_calls)
        .sum();
    let [held, most] = [load.buffered_bytes, load.max_buffered_bytes].map(bytes);
    Table::new("load", "At once, of what is allowed", &[]).rows([
        Row::fact(
            "gathers in flight",
            format!("{} of {}", load.in_flight, load.max_in_flight),
        )
        .of(load.in_flight, load.max_in_flight)
        .at(findings, "limit max_in_flight"),
        Row::fact(
            "connections",
            format!("{connections} of {}", load.max_connections),
        )
        .of(connections, load.max_connections)
        .at(findings, "limit max_connections"),
        Row::fact(
            "connections by state",
            format!(
                "active {}, idle {}, in handshake {}",
                load.active, load.idle, load.handshaking
            ),
        ),
        Row::fact("branches waiting", load.waiting.to_string()).at(findings, "limit max_wait"),
        Row::fact("calls lingering", format!("{} of {calls}", load.lingering))
            .of(load.lingering, calls),
        Row::fact("replies held", format!("{held} of {most}"))
            .of(load.buffered_bytes, load.max_buffered_bytes)
            .at(findings, "limit max_buffered"),
        Row::fact(
            "handshakes failed",
            format!("{} in 5 min", per_second(load.handshakes_failed)),
        )
        .at(findings, "handshakes"),
        Row::fact(
            "calls for a request",
            load.calls_per_request.map_or("-".to_owned(), number),
        ),
        Row::fact("clients tracked", load.clients_tracked.to_string()),
    ])
}

fn refusals(status: &Status) -> Table {
    let columns = ["LIMIT", "1 min /s", "5 min /s", "since start"];
    let some = status.refusals.iter().filter(|limit| limit.total > 0);
    let rows = some.map(|limit| {
        let (minute, five_minutes) = (number(limit.minute), number(limit.five_minutes));
        Row::new([
            limit.limit.name().to_owned(),
            minute,
            five_minutes,
            limit.total.to_string(),
        ])
        .at(&status.findings, &format!("limit {}", limit.limit.name()))
    });
    let mut table = Table::new("refusals", "Refusals, by limit", &columns).rows(rows);
    if table.rows.is_empty() {
        table.note = Some("No limit has refused a request since the start.".to_owned());
    }
    table
}

fn clients(status: &Status) -> Table {
    let rows = status.clients.iter();
    let rows = rows.map(|client| Row::new([client.client.clone(), number(client.requests)]));
    let columns = ["CLIENT, 1 to 2 min", "requests/s"];
    let mut table = Table::new("clients", "Busiest clients", &columns).rows(rows);
    if table.rows.is_empty() {
        table.note = Some("No requests in the last two minutes.".to_owned());
    }
    table
}

fn machine(status: &Status) -> Table {
    let (now, findings) = (&status.resources, &status.findings);
    let pressures = [
        ("CPU", now.cpu_pressure),
        ("memory", now.memory_pressure),
        ("disk", now.io_pressure),
    ];
    let known = pressures.iter().filter(|(_, part)| part.is_some());
    let waits: Vec<String> = known
        .map(|(what, part)| format!("{what} {}", share(*part)))
        .collect();
    let waits = (!waits.is_empty()).then(|| format!("for {} of the time", waits.join(", ")));
    let [resident, most] = [now.resident_bytes, now.memory_limit_bytes].map(bytes);
    let mut rows = vec![
        Row::fact(
            "CPU of gatherd",
            format!("{} of a core", share(Some(now.cpu))),
        ),
        Row {
            used: Some(now.host_cpu),
            ..Row::fact(
                "CPU of the host",
                format!("{} of {}", share(Some(now.host_cpu)), now.cores),
            )
        },
        Row::fact("steal", share(Some(now.steal))).at(findings, "steal"),
        Row::fact(
            "event loop",
            format!(
                "late by {} at most, in ten seconds",
                milliseconds(Some(now.loop_lag_ms))
            ),
        )
        .at(findings, "event loop"),
    ];
    rows.extend(waits.map(|waits| Row::fact("waits", waits)));
    rows.extend([
        Row::fact("memory", format!("{resident} of {most}"))
            .of(now.resident_bytes, now.memory_limit_bytes)
            .at(findings, "memory"),
        Row::fact(
            "descriptors",
            format!("{} of {}", now.descriptors, now.max_descriptors),
        )
        .of(now.descriptors, now.max_descriptors)
        .at(findings, "descriptors"),
        Row::fact(
            "listen drops",
            format!(
                "{}, {} since the start",
                per_second(now.listen_drops),
                now.listen_drops_total
            ),
        )
        .at(findings, "listeners"),
    ]);
    Table::new("machine", "Machine", &[]).rows(rows)
}
