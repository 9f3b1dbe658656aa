//! What the machine under the service lacks.

use super::thresholds::{FULL, LAG_TROUBLE, LAG_WARNING, STEAL_WARNING};
use super::{finding, is_close, percent, trouble, warning};
use crate::telemetry::status::model::{Finding, Health, ResourceStatus};

/// Each with a subject of its own, so that it can be pointed at.
pub(super) fn resources(resources: &ResourceStatus, found: &mut Vec<Finding>) {
    event_loop(resources, found);
    if resources.steal >= STEAL_WARNING {
        let text = format!(
            "the hypervisor gives {} of the CPU to others",
            percent(resources.steal)
        );
        found.push(warning("steal", text));
    }
    if is_close(resources.resident_bytes, resources.memory_limit_bytes) {
        found.push(trouble("memory", "is nearly used up"));
    }
    if is_close(resources.descriptors, resources.max_descriptors) {
        found.push(trouble("descriptors", "are nearly used up"));
    }
    if resources.listen_drops > 0.0 {
        let text = format!(
            "queues are full: {:.1} connections a second dropped on this host (last five minutes)",
            resources.listen_drops
        );
        found.push(warning("listeners", text));
    }
}

fn event_loop(resources: &ResourceStatus, found: &mut Vec<Finding>) {
    let lag = resources.loop_lag_ms;
    if lag < LAG_WARNING {
        return;
    }
    let health = if lag < LAG_TROUBLE {
        Health::Warning
    } else {
        Health::Trouble
    };
    let why = if resources.cpu >= FULL {
        "gatherd fills its core".to_owned()
    } else {
        format!(
            "gatherd uses {} of a core, so others take it",
            percent(resources.cpu)
        )
    };
    let text = format!("timers were up to {lag:.0} ms late in the last ten seconds: {why}");
    found.push(finding(health, "event loop", text));
}
