//! The shared rate limit: whether Redis counts, and what came of asking it.

use serde::Serialize;

use super::figures::number;
use super::model::{Finding, Health};
use super::table::{Row, Table};
use super::window::Window;
use crate::metrics::SharedCheck;

/// The shared rate limit, where hosts count together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedLimitStatus {
    /// Whether Redis counts for all hosts.
    pub up: bool,
    /// What came of asking it about requests.
    pub checks: Vec<CheckStatus>,
}

/// One thing that comes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckStatus {
    /// What came of it.
    pub result: &'static str,
    /// Requests a second, in the last minute.
    pub minute: f64,
    /// Since the start.
    pub total: u64,
}

impl SharedLimitStatus {
    /// How it stands; none where hosts do not count together.
    pub(super) fn of(minute: &Window) -> Option<Self> {
        let shared = minute.now.shared.as_ref()?;
        let check = |check: &SharedCheck| {
            let of = |counts: &crate::metrics::Counts| {
                let shared = counts.shared.as_ref();
                shared.map_or(0, |shared| shared.checks[*check as usize])
            };
            CheckStatus {
                result: check.name(),
                minute: minute.rate(minute.rise(of)),
                total: of(&minute.now),
            }
        };
        Some(Self {
            up: shared.up,
            checks: SharedCheck::ALL.iter().map(check).collect(),
        })
    }

    /// What is wrong with it.
    pub(super) fn finding(&self) -> Option<Finding> {
        (!self.up).then(|| Finding {
            health: Health::Warning,
            subject: "shared limit".to_owned(),
            text: "Redis is away, and on_error decides on this host; the log says why".to_owned(),
        })
    }

    /// It as a table.
    pub(super) fn table(&self, findings: &[Finding]) -> Table {
        let state = if self.up {
            "Redis counts for all hosts"
        } else {
            "Redis is AWAY"
        };
        let checks = self.checks.iter().map(|check| {
            let total = check.total.to_string();
            Row::new([check.result.replace('_', " "), number(check.minute), total])
        });
        let checks = checks.map(|row| row.at(findings, "shared limit"));
        let title = format!("Shared limit: {state}");
        Table::new(
            "shared-limit",
            title,
            &["CHECKS", "1 min /s", "since start"],
        )
        .rows(checks)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::{Counts, SharedCounts};

    fn counts(up: bool, admitted: u64, away: u64) -> Arc<Counts> {
        let shared = Some(SharedCounts {
            up,
            checks: vec![admitted, 0, 0, 0, 0, away],
        });
        Arc::new(Counts {
            shared,
            ..Counts::default()
        })
    }

    fn window(before: Arc<Counts>, now: Arc<Counts>) -> Window {
        let seconds = 10.0;
        Window {
            seconds,
            before,
            now,
        }
    }

    #[test]
    fn it_is_shown_where_hosts_count_together_only() {
        let nothing = Arc::new(Counts::default());
        assert_eq!(
            SharedLimitStatus::of(&window(nothing.clone(), nothing)),
            None
        );
    }

    #[test]
    fn a_redis_that_is_away_is_found_and_what_was_decided_without_it_is_counted() {
        let well = SharedLimitStatus::of(&window(counts(true, 5, 0), counts(true, 25, 0)));
        let well = well.expect("it is there");
        assert_eq!(well.finding(), None);
        assert_eq!((well.checks[0].minute, well.checks[0].total), (2.0, 25));
        let away = SharedLimitStatus::of(&window(counts(true, 25, 0), counts(false, 25, 70)));
        let away = away.expect("it is there");
        assert_eq!(
            away.finding().map(|found| found.health),
            Some(Health::Warning)
        );
        assert_eq!(
            (away.checks[5].result, away.checks[5].minute),
            ("away", 7.0)
        );
        assert_eq!(away.table(&[]).title, "Shared limit: Redis is AWAY");
    }
}
