//! What the process and its host use; read from the kernel by [`crate::telemetry`].

use prometheus::core::Collector;
use prometheus::{Counter, CounterVec, Gauge, IntCounter, IntGauge, Registry};

use super::counts::HostCpu;
use super::register;

/// Names without our prefix are those of Prometheus' own client libraries.
#[derive(Debug)]
pub struct ResourceMetrics {
    /// CPU time of the process.
    pub cpu: Counter,
    /// Memory of the process that is in RAM.
    pub resident: IntGauge,
    /// The most it may be.
    pub memory_limit: IntGauge,
    /// Open descriptors.
    pub descriptors: IntGauge,
    /// The most there may be.
    pub max_descriptors: IntGauge,
    /// When the process started.
    pub started: Gauge,
    /// CPU time of the host by `mode`.
    pub host_cpu: CounterVec,
    /// Cores of the host.
    pub cores: IntGauge,
    /// Connections that found the queue of a listener full.
    pub listen_overflows: IntCounter,
    /// Connections that a listener dropped, for whatever reason.
    pub listen_drops: IntCounter,
    /// Time in which tasks waited for a `resource`; `kind` is some or full.
    pub pressure: CounterVec,
}

impl ResourceMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register::gauge(registry, name, help);
        let counter = |name, help| register::counter(registry, name, help);
        Self {
            cpu: register::seconds_counter(
                registry,
                "process_cpu_seconds_total",
                "CPU time of the process, user and system, in seconds.",
            ),
            resident: gauge(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
            ),
            memory_limit: gauge(
                "gatherd_memory_limit_bytes",
                "The most memory that the process may have: of its control group, else of the host.",
            ),
            descriptors: gauge("process_open_fds", "Open descriptors."),
            max_descriptors: gauge("process_max_fds", "Descriptors that may be open at once."),
            started: register::float_gauge(
                registry,
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
            ),
            host_cpu: register::seconds_counters(
                registry,
                "gatherd_host_cpu_seconds_total",
                "CPU time of the host by mode; steal is what the hypervisor gave to others.",
                &["mode"],
            ),
            cores: gauge("gatherd_host_cores", "Cores that the host has."),
            listen_overflows: counter(
                "gatherd_listen_overflows_total",
                "Connections that found a listener's queue full, of all programs in this network namespace.",
            ),
            listen_drops: counter(
                "gatherd_listen_drops_total",
                "Connections that a listener dropped, of all programs in this network namespace.",
            ),
            pressure: register::seconds_counters(
                registry,
                "gatherd_host_pressure_seconds_total",
                "Time in which some or all tasks of the host waited for a resource (PSI), in seconds.",
                &["resource", "kind"],
            ),
        }
    }

    /// CPU time of the host.
    pub(super) fn host(&self) -> HostCpu {
        let of = |mode: &str| self.host_cpu.with_label_values(&[mode]).get();
        let modes = [
            "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
        ];
        HostCpu {
            all: modes.into_iter().map(of).sum(),
            idle: of("idle") + of("iowait"),
            steal: of("steal"),
        }
    }

    /// Seconds in which some task waited for a CPU, for memory, for a disk; none where the kernel does
    /// not say.
    pub(super) fn pressure(&self) -> Option<[f64; 3]> {
        let families = self.pressure.collect();
        let is_known = families
            .iter()
            .any(|family| !family.get_metric().is_empty());
        let some = |resource| self.pressure.with_label_values(&[resource, "some"]).get();
        is_known.then(|| ["cpu", "memory", "io"].map(some))
    }
}
