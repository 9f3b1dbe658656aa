//! Which clients ask most: bounded, and right about those that matter.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Clients counted at once.
const MOST: usize = 128;
/// How long a count lasts before a new one begins beside it.
const PERIOD: Duration = Duration::from_secs(60);

/// Requests by client, in the present period and the one before.
///
/// Space-saving (Metwally, Agrawal and El Abbadi, 2005): a newcomer to a full table takes the place of
/// the least, and its count as a start. So a count is never too low, and a client with more than a
/// 128th of all requests is in the table.
#[derive(Debug)]
pub struct Busiest {
    periods: Mutex<Periods>,
}

#[derive(Debug)]
struct Periods {
    now: Counts,
    before: Counts,
    /// When the one before began.
    before_since: Instant,
    since: Instant,
}

type Counts = HashMap<IpAddr, u64>;

impl Default for Busiest {
    fn default() -> Self {
        let since = Instant::now();
        let periods = Periods {
            now: Counts::with_capacity(MOST),
            before: Counts::new(),
            before_since: since,
            since,
        };
        Self {
            periods: Mutex::new(periods),
        }
    }
}

impl Busiest {
    /// A request of `client`.
    pub fn note(&self, client: IpAddr) {
        let mut periods = self.periods.lock();
        let counts = &mut periods.now;
        if let Some(count) = counts.get_mut(&client) {
            *count += 1;
            return;
        }
        let least = if counts.len() < MOST {
            None
        } else {
            counts
                .iter()
                .min_by_key(|(_, count)| **count)
                .map(|(client, count)| (*client, *count))
        };
        let start = least.map_or(0, |(least, count)| {
            counts.remove(&least);
            count
        });
        counts.insert(client, start + 1);
    }

    /// The busiest `most` of the last minute or two, each with an upper bound of its requests a second.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<(IpAddr, f64)> {
        let mut periods = self.periods.lock();
        let now = Instant::now();
        periods.turn(now);
        let mut counts = periods.now.clone();
        for (client, count) in &periods.before {
            *counts.entry(*client).or_default() += count;
        }
        let seconds = now.duration_since(periods.before_since).as_secs_f64();
        drop(periods);
        let mut top: Vec<_> = counts.into_iter().collect();
        top.sort_unstable_by_key(|(client, count)| (std::cmp::Reverse(*count), *client));
        top.truncate(most);
        let rate = |(client, count): (IpAddr, u64)| (client, count as f64 / seconds.max(1.0));
        top.into_iter().map(rate).collect()
    }
}

impl Periods {
    /// Begins a new period when the present one is over.
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.since) < PERIOD {
            return;
        }
        let fresh = Counts::with_capacity(MOST);
        self.before = std::mem::replace(&mut self.now, fresh);
        self.before_since = self.since;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn who_asks_most_is_found_among_a_crowd_that_does_not_fit() {
        let busiest = Busiest::default();
        for round in 0..1000 {
            busiest.note(client(1));
            for stranger in 0..20 {
                busiest.note(client(1000 + round * 20 + stranger));
            }
            busiest.note(client(2));
            busiest.note(client(1));
        }
        let top = busiest.top(2);
        assert_eq!([top[0].0, top[1].0], [client(1), client(2)]);
        assert!(top[0].1 >= 2000.0, "{top:?}");
        assert!(busiest.periods.lock().now.len() <= MOST);
    }

    #[test]
    fn who_has_gone_is_forgotten_after_two_periods() {
        let busiest = Busiest::default();
        busiest.note(client(1));
        let mut periods = busiest.periods.lock();
        let start = periods.since;
        periods.turn(start + PERIOD);
        assert!(periods.now.is_empty() && !periods.before.is_empty());
        periods.turn(start + 2 * PERIOD);
        assert!(periods.now.is_empty() && periods.before.is_empty());
    }
}
