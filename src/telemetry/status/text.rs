//! The status as text, for a terminal. The first lines say whether all is well, and if not, where.

mod figures;
mod table;
mod wrap;

use std::fmt::Write;

pub(super) use self::figures::number;
use self::figures::{age, bytes, instant, milliseconds, plain, share};
pub(super) use self::table::Table;
use self::wrap::wrapped;
use super::{Finding, Health, ResourceStatus, RouteRates, SharedLimitStatus, Status};

/// The status at one moment; every line ends.
#[must_use]
pub fn text(status: &Status) -> String {
    let mut text = verdict(&status.health, &status.findings);
    let parts = [
        service(status),
        routes(status),
        upstreams(status),
        load(status),
        refusals(status),
        status
            .shared_limit
            .as_ref()
            .map_or_else(String::new, SharedLimitStatus::text),
        clients(status),
        resources(&status.resources),
    ];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let _ = write!(text, "\n{part}");
    }
    wrapped(&text)
}

fn verdict(health: &Health, findings: &[Finding]) -> String {
    let mut text = match health {
        Health::Well => "All well\n",
        Health::Warning => "Look at this:\n",
        Health::Trouble => "Trouble:\n",
    }
    .to_owned();
    for Finding {
        health,
        subject,
        text: sentence,
    } in findings
    {
        let mark = if *health == Health::Trouble {
            "!!"
        } else {
            "! "
        };
        let _ = writeln!(text, "{mark} {}: {}", plain(subject), plain(sentence));
    }
    text
}

fn service(status: &Status) -> String {
    let process = &status.process;
    let reload = match process.last_reload {
        Some(reload) => format!(
            "{} {} ago ({} applied, {} refused)",
            if reload.applied { "applied" } else { "REFUSED" },
            age(status.at - reload.at),
            process.reloads,
            process.reloads_failed,
        ),
        None => "none".to_owned(),
    };
    let certificate = match &status.certificate {
        Some(certificate) => format!(
            "{} {}",
            plain(&certificate.name),
            if certificate.seconds_to_valid > 0.0 {
                format!(
                    "NOT VALID for another {}",
                    age(certificate.seconds_to_valid)
                )
            } else if certificate.seconds_left < 0.0 {
                format!("EXPIRED {} ago", age(-certificate.seconds_left))
            } else {
                format!("expires in {}", age(certificate.seconds_left))
            }
        ),
        None => "not known".to_owned(),
    };
    let stopped = process
        .last_stop
        .as_deref()
        .map_or("not known".to_owned(), plain);
    format!(
        "gatherd {}, {}, at {}\n\
         started         {}, {} ago\n\
         stopped before  {stopped}\n\
         last reload     {reload}\n\
         certificate     {certificate}\n\
         since start     log lines lost {}, panics {}\n",
        process.version,
        process.state,
        instant(status.at),
        instant(process.started),
        age(status.at - process.started),
        process.log_lines_lost,
        process.panics,
    )
}

fn routes(status: &Status) -> String {
    let mut table = Table::new(
        "ROUTE, 1 min",
        &[
            "good/s", "good", "errors/s", "left/s", "p50", "p99", "deadline",
        ],
    );
    for route in &status.routes {
        let (minute, five) = (&route.minute, &route.five_minutes);
        table.row(
            &plain(&route.route),
            rates(minute, milliseconds(route.deadline_ms)),
        );
        if five.requests > 0.0 {
            table.row("  in 5 min", rates(five, String::new()));
        }
        if route.hedges_started + route.hedges_held_back > 0.0 {
            let [started, won, held] = [
                route.hedges_started,
                route.hedges_won,
                route.hedges_held_back,
            ]
            .map(number);
            table.note(format!(
                "hedges/s: started {started}, won {won}, held back {held}"
            ));
        }
        if let Some(tail) = &route.tail {
            let [p99, p999, p99_without, p999_without] = [
                tail.p99_ms,
                tail.p999_ms,
                tail.p99_without_ms,
                tail.p999_without_ms,
            ]
            .map(|time| milliseconds(Some(time)));
            table.note(format!(
                "slowest: p99 {p99}, p99.9 {p999}; without hedges {p99_without}, {p999_without}; {} more calls",
                share(Some(tail.extra_calls))
            ));
        }
    }
    table.text()
}

fn rates(rates: &RouteRates, deadline: String) -> [String; 7] {
    [
        number(rates.good),
        share(rates.good_share),
        number(rates.errors),
        number(rates.left),
        milliseconds(rates.p50_ms),
        milliseconds(rates.p99_ms),
        deadline,
    ]
}

fn upstreams(status: &Status) -> String {
    let mut table = Table::new(
        "UPSTREAM, 5 min",
        &[
            "calls/s", "succeed", "p50", "p99", "run", "linger", "of", "wait",
        ],
    );
    for upstream in &status.upstreams {
        let succeeded = (upstream.branches > 0.0).then(|| upstream.succeeded / upstream.branches);
        table.row(
            &plain(&upstream.upstream),
            [
                number(upstream.calls),
                share(succeeded),
                milliseconds(upstream.p50_ms),
                milliseconds(upstream.p99_ms),
                upstream.running.to_string(),
                upstream.lingering.to_string(),
                upstream.max_calls.to_string(),
                upstream.waiting.to_string(),
            ],
        );
        if !upstream.failures.is_empty() {
            let failures: Vec<String> = upstream
                .failures
                .iter()
                .map(|failure| {
                    let part = (upstream.branches > 0.0).then(|| failure.rate / upstream.branches);
                    format!(
                        "{} {} ({})",
                        plain(&failure.kind),
                        share(part),
                        failure.count
                    )
                })
                .collect();
            table.note(format!("failures: {}", failures.join(", ")));
        }
        if let Some(state) = upstream.breaker {
            table.note(format!("breaker: {state}"));
        }
        if !upstream.addresses.is_empty() {
            let found = upstream
                .addresses_age_seconds
                .map(|seconds| format!(", unchanged for {}", age(seconds)));
            let addresses = plain(&upstream.addresses.join(", "));
            table.note(format!("address: {addresses}{}", found.unwrap_or_default()));
        }
    }
    table.text()
}

fn load(status: &Status) -> String {
    let load = &status.load;
    format!(
        "in flight    {} of {} gathers; branches waiting {}, calls lingering {}\n\
         connections  {} of {}: active {}, idle {}, in handshake {}\n\
         handshakes   {} a second failed in 5 min\n\
         replies held {} of {}; calls for each request {}; clients tracked {}\n",
        load.in_flight,
        load.max_in_flight,
        load.waiting,
        load.lingering,
        load.active + load.idle + load.handshaking,
        load.max_connections,
        load.active,
        load.idle,
        load.handshaking,
        number(load.handshakes_failed),
        bytes(load.buffered_bytes),
        bytes(load.max_buffered_bytes),
        load.calls_per_request.map_or("-".to_owned(), number),
        load.clients_tracked,
    )
}

fn refusals(status: &Status) -> String {
    let mut table = Table::new("REFUSED BY", &["1 min /s", "5 min /s", "since start"]);
    for limit in status.refusals.iter().filter(|limit| limit.total > 0) {
        let cells = [
            number(limit.minute),
            number(limit.five_minutes),
            limit.total.to_string(),
        ];
        table.row(&plain(&limit.limit), cells);
    }
    if table.is_empty() {
        return "no limit has refused a request since the start\n".to_owned();
    }
    table.text()
}

fn clients(status: &Status) -> String {
    let mut table = Table::new("BUSIEST CLIENTS, 1 to 2 min", &["requests/s"]);
    for client in &status.clients {
        table.row(&plain(&client.client), [number(client.requests)]);
    }
    if table.is_empty() {
        String::new()
    } else {
        table.text()
    }
}

fn resources(now: &ResourceStatus) -> String {
    let pressures = [
        ("CPU", now.cpu_pressure),
        ("memory", now.memory_pressure),
        ("disk", now.io_pressure),
    ];
    let pressure: Vec<String> = pressures
        .iter()
        .filter(|(_, part)| part.is_some())
        .map(|(what, part)| format!("{what} {}", share(*part)))
        .collect();
    let waits = if pressure.is_empty() {
        String::new()
    } else {
        format!("waits        for {} of the time\n", pressure.join(", "))
    };
    format!(
        "CPU          {} of a core; host {} of {}, steal {}\n\
         event loop   late by {} at most, in ten seconds\n\
         {waits}memory       {} of {}; descriptors {} of {}\n\
         listen drops {}/s, {} since the start\n",
        share(Some(now.cpu)),
        share(Some(now.host_cpu)),
        now.cores,
        share(Some(now.steal)),
        milliseconds(Some(now.loop_lag_ms)),
        bytes(now.resident_bytes),
        bytes(now.memory_limit_bytes),
        now.descriptors,
        now.max_descriptors,
        number(now.listen_drops),
        now.listen_drops_total,
    )
}

#[cfg(test)]
mod tests;
