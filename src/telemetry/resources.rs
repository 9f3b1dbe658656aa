//! What the process and its host use, read from the kernel's files in `/proc` and `/sys`.
//!
//! For the admin thread only: some of these files take the kernel a while. What a file does not say,
//! or a kernel does not have, stays as it was.

mod parse;

use std::fs;
use std::path::Path;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use self::parse::Ticks;
use crate::metrics::{ResourceMetrics, whole};

/// Reads anew into `metrics` what the process and its host use.
pub(super) fn sample(metrics: &ResourceMetrics) {
    process(metrics);
    host(metrics);
    descriptors(metrics);
    memory_limit(metrics);
    listen_queues(metrics);
    pressure(metrics);
}

fn process(metrics: &ResourceMetrics) -> Option<()> {
    let stat = parse::process(&text("/proc/self/stat")?)?;
    raise(&metrics.cpu, seconds(stat.cpu));
    let pages = i64::try_from(page_size()).unwrap_or(i64::MAX);
    metrics
        .resident
        .set(stat.resident_pages.saturating_mul(pages));
    let boot = text("/proc/stat").and_then(|stat| parse::boot_time(&stat));
    let started = boot.unwrap_or_else(boot_by_clocks) + seconds(stat.started);
    // Two clocks are never read at the same instant: only what is another start is another value.
    if (started - metrics.started.get()).abs() >= 1.0 {
        metrics.started.set(started);
    }
    Some(())
}

/// When the host was started, where a sandbox hides `/proc/stat` (`ProcSubset=pid` of systemd).
fn boot_by_clocks() -> f64 {
    let read = |clock| {
        let now = clock_gettime(clock);
        #[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
        let seconds = now.tv_sec as f64;
        seconds + f64::from(i32::try_from(now.tv_nsec).unwrap_or(0)) / 1e9
    };
    read(ClockId::Realtime) - read(ClockId::Boottime)
}

fn host(metrics: &ResourceMetrics) -> Option<()> {
    let stat = text("/proc/stat")?;
    for (mode, ticks) in parse::host_cpu(&stat) {
        raise(&metrics.host_cpu.with_label_values(&[mode]), seconds(ticks));
    }
    metrics.cores.set(parse::cores(&stat));
    Some(())
}

fn descriptors(metrics: &ResourceMetrics) -> Option<()> {
    // Linux 6.2 and later tell by the size (proc_pid_fd(5)); before, it is 0, and they are counted,
    // the one that reads the directory among them.
    let directory = "/proc/self/fd";
    let open = match fs::metadata(directory).ok()?.len() {
        0 => fs::read_dir(directory).ok()?.count().saturating_sub(1),
        told => usize::try_from(told).ok()?,
    };
    metrics.descriptors.set(whole(open));
    let most = getrlimit(Resource::Nofile).current?;
    metrics.max_descriptors.set(i64::try_from(most).ok()?);
    Some(())
}

/// Of the control group or one above it (cgroup v2), and never more than the host has.
fn memory_limit(metrics: &ResourceMetrics) -> Option<()> {
    let host = parse::memory_total(&text("/proc/meminfo")?)?;
    let groups = text("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(parse::control_group(&groups).unwrap_or_default());
    let groups = group
        .ancestors()
        .take_while(|above| above.starts_with(root));
    // "max" is no number, and no limit.
    let limit = |group: &Path| text(group.join("memory.max"))?.trim().parse::<i64>().ok();
    let least = groups.filter_map(limit).fold(host, i64::min);
    metrics.memory_limit.set(least);
    Some(())
}

fn listen_queues(metrics: &ResourceMetrics) -> Option<()> {
    let netstat = text("/proc/self/net/netstat")?;
    let counter = |name| parse::tcp_counter(&netstat, name);
    if let Some(overflows) = counter("ListenOverflows") {
        let more = overflows.saturating_sub(metrics.listen_overflows.get());
        metrics.listen_overflows.inc_by(more);
    }
    if let Some(drops) = counter("ListenDrops") {
        let more = drops.saturating_sub(metrics.listen_drops.get());
        metrics.listen_drops.inc_by(more);
    }
    Some(())
}

fn pressure(metrics: &ResourceMetrics) {
    for resource in ["cpu", "memory", "io"] {
        let Some(text) = text(Path::new("/proc/pressure").join(resource)) else {
            continue;
        };
        for (kind, stalled) in parse::pressure(&text) {
            let counter = metrics.pressure.with_label_values(&[resource, kind]);
            raise(&counter, stalled.as_secs_f64());
        }
    }
}

/// Sets a counter to what the kernel has counted.
fn raise(counter: &prometheus::Counter, to: f64) {
    counter.inc_by((to - counter.get()).max(0.0));
}

#[expect(clippy::cast_precision_loss, reason = "exact for millions of years")]
fn seconds(ticks: Ticks) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn this_process_and_its_host_are_seen() {
        let metrics = Metrics::new();
        sample(&metrics.resources);
        let resources = &metrics.resources;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap().as_secs_f64();
        assert!((now - 86_400.0..=now + 2.0).contains(&resources.started.get()));
        assert!(resources.resident.get() > 1024 * 1024);
        assert!(resources.memory_limit.get() > resources.resident.get());
        assert!(resources.descriptors.get() >= 3);
        assert!(resources.max_descriptors.get() >= resources.descriptors.get());
        assert!(resources.cores.get() >= 1);
        assert!(resources.host_cpu.with_label_values(&["idle"]).get() > 0.0);
    }

    #[test]
    fn the_clocks_know_when_the_host_was_started_as_well_as_the_kernel_does() {
        let told = parse::boot_time(&text("/proc/stat").unwrap()).unwrap();
        assert!((told - boot_by_clocks()).abs() <= 2.0, "{told}");
    }
}
