//! Every connection there is, and which of them gives way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::client::ClientKey;
use crate::metrics::{EdgeMetrics, Ending};
use crate::server::activity::Activity;

/// Handshakes at once. They cost most of what a connection costs, and a stalled one lasts long.
/// As many as the kernel queues, so that a burst of honest newcomers is let in whole.
const MOST_HANDSHAKES: usize = 4096;
/// As many there may be however few connections there may be.
const LEAST_HANDSHAKES: usize = 64;
/// Idle connections that are picked in one pass over the table.
const PICKED_AT_ONCE: usize = 256;

/// The connections of the process, by number.
pub(super) struct Table {
    metrics: Arc<EdgeMetrics>,
    pub(super) open: HashMap<u64, Arc<Activity>>,
    next: u64,
    pub(super) per_client: HashMap<ClientKey, usize>,
    /// Idle ones to give way, the longest idle first, each with since when it was when picked.
    picked: VecDeque<(Instant, Arc<Activity>)>,
    /// In the order of accept; those that are past their handshake are skipped.
    handshakes: VecDeque<Arc<Activity>>,
    /// Whether the process is to end.
    draining: bool,
}

impl Table {
    /// An empty table.
    pub(super) fn new(metrics: Arc<EdgeMetrics>) -> Self {
        Self {
            metrics,
            open: HashMap::new(),
            next: 0,
            per_client: HashMap::new(),
            picked: VecDeque::new(),
            handshakes: VecDeque::new(),
            draining: false,
        }
    }

    /// A place among `most` for a new connection; none when all are taken and none is idle.
    pub(super) fn enter(&mut self, most: usize) -> Option<Arc<Activity>> {
        if self.open.len() >= most {
            self.close_longest_idle()?;
        }
        // Stalled handshakes must not keep everybody out: they are never idle.
        self.bound_handshakes((most / 2).clamp(LEAST_HANDSHAKES, MOST_HANDSHAKES));
        let activity = Arc::new(Activity::new(self.next, self.metrics.connection()));
        if self.draining {
            activity.end_soon();
        }
        self.next += 1;
        self.open.insert(activity.id, activity.clone());
        self.handshakes.push_back(activity.clone());
        Some(activity)
    }

    /// Has every connection end with its next response, those included that are still to come.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.open.values().for_each(|one| one.end_soon());
    }

    /// Whether `condition` holds for every connection.
    pub(super) fn all(&self, condition: impl Fn(&Activity) -> bool) -> bool {
        self.open.values().all(|one| condition(one))
    }

    /// Closes the connection that has been idle for longest, if any is.
    pub(super) fn close_longest_idle(&mut self) -> Option<()> {
        let idle = self.next_picked().or_else(|| self.pick())?;
        self.close(&idle);
        Some(())
    }

    /// Closes the handshake that has lasted for longest, if there is any.
    pub(super) fn close_oldest_handshake(&mut self) -> Option<()> {
        while let Some(oldest) = self.handshakes.pop_front() {
            if !is_over(&oldest) {
                self.close(&oldest);
                return Some(());
            }
        }
        None
    }

    /// Looks for idle connections, and gives the one that has been idle for longest.
    fn pick(&mut self) -> Option<Arc<Activity>> {
        // One pass picks several, so that a full table is not searched for every newcomer.
        let idle = self
            .open
            .values()
            .filter_map(|one| Some((one.idle_since()?, one.clone())));
        let mut idle: Vec<_> = idle.collect();
        let key = |(since, one): &(Instant, Arc<Activity>)| (*since, one.id);
        if idle.len() > PICKED_AT_ONCE {
            idle.select_nth_unstable_by_key(PICKED_AT_ONCE, key);
            idle.truncate(PICKED_AT_ONCE);
        }
        idle.sort_unstable_by_key(key);
        self.picked = idle.into();
        self.next_picked()
    }

    /// The next that is still idle since when it was picked.
    fn next_picked(&mut self) -> Option<Arc<Activity>> {
        while let Some((since, one)) = self.picked.pop_front() {
            if self.open.contains_key(&one.id) && one.idle_since() == Some(since) {
                return Some(one);
            }
        }
        None
    }

    /// Its place is free at once; its task ends it as soon as it runs.
    fn close(&mut self, activity: &Activity) {
        self.open.remove(&activity.id);
        activity.ends(Ending::Displaced);
        activity.close();
    }

    /// The oldest handshakes give way when there are more than `most`.
    fn bound_handshakes(&mut self, most: usize) {
        while self.handshakes.front().is_some_and(is_over) {
            self.handshakes.pop_front();
        }
        // Some more than there may be, so that not every newcomer has the list searched.
        if self.handshakes.len() >= most + most / 4 {
            self.handshakes.retain(|one| !is_over(one));
            let surplus = self.handshakes.len().saturating_sub(most);
            let oldest: Vec<_> = self.handshakes.drain(..surplus).collect();
            oldest.iter().for_each(|one| self.close(one));
        }
    }
}

fn is_over(handshake: &Arc<Activity>) -> bool {
    !handshake.is_handshaking() || handshake.is_closing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::server::activity::Protocol;

    fn table() -> Table {
        Table::new(Metrics::new().edge.clone())
    }

    #[tokio::test]
    async fn a_burst_of_newcomers_is_let_in_and_a_flood_of_them_costs_the_oldest_handshakes() {
        let mut table = table();
        let mut enter = || table.enter(10_000).expect("there is room");
        let burst: Vec<_> = (0..MOST_HANDSHAKES).map(|_| enter()).collect();
        assert!(burst.iter().all(|one| !one.is_closing()));
        let flood: Vec<_> = (0..=MOST_HANDSHAKES / 4).map(|_| enter()).collect();
        assert!(burst[0].is_closing());
        assert!(
            burst[MOST_HANDSHAKES / 2..]
                .iter()
                .all(|one| !one.is_closing())
        );
        assert!(flood.iter().all(|one| !one.is_closing()));
    }

    #[tokio::test]
    async fn stalled_handshakes_never_fill_the_table() {
        let mut table = table();
        let stalled: Vec<_> = (0..1000).map(|_| table.enter(200)).collect();
        assert!(stalled.iter().all(Option::is_some), "newcomers are let in");
    }

    #[tokio::test]
    async fn where_none_is_idle_the_oldest_handshake_gives_way_and_no_request() {
        let mut table = table();
        let mut enter = || table.enter(10).expect("there is room");
        let (busy, oldest, newest) = (enter(), enter(), enter());
        busy.connected(Protocol::Http1);
        busy.begin(Protocol::Http1);
        assert!(table.close_longest_idle().is_none());
        assert!(table.close_oldest_handshake().is_some());
        assert!(oldest.is_closing() && !newest.is_closing());
        assert!(table.close_oldest_handshake().is_some());
        assert!(table.close_oldest_handshake().is_none());
        assert!(!busy.is_closing());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_idle_connections_the_longest_idle_go_in_order() {
        let mut table = table();
        let mut open = Vec::new();
        for _ in 0..3 * PICKED_AT_ONCE {
            let one = table.enter(usize::MAX).expect("there is room");
            one.connected(Protocol::Http1);
            open.push(one);
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        for going in 0..2 * PICKED_AT_ONCE {
            assert!(table.close_longest_idle().is_some());
            assert!(
                open[going].is_closing() && !open[going + 1].is_closing(),
                "{going}"
            );
        }
    }
}
