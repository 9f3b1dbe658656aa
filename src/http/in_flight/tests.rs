use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::metrics::Metrics;
use crate::upstream::Reservation;

const MANY: Most = Most {
    gathers: 100,
    of_client: 1000,
};

/// A service of one limit or another, with a client for each number.
struct Stage {
    in_flight: Arc<InFlight>,
    buffers: Arc<Buffers>,
    metrics: Arc<Metrics>,
    most: Most,
}

fn stage(most: Most, buffered: usize) -> Stage {
    let metrics = Metrics::new();
    let buffers = Buffers::new(buffered, metrics.load.clone());
    Stage {
        in_flight: InFlight::new(&buffers),
        buffers,
        metrics,
        most,
    }
}

impl Stage {
    fn enter(&self, client: u8) -> Result<Places, Full> {
        self.enter_over(client, Some(Arc::default()))
    }

    fn enter_over(&self, client: u8, cut: Option<Arc<Cut>>) -> Result<Places, Full> {
        let client = Some(ClientKey::new([192, 0, 2, client].into(), 64));
        self.enter_as(Newcomer { client, cut })
    }

    fn enter_as(&self, newcomer: Newcomer) -> Result<Places, Full> {
        let counted = || Held::new(&self.metrics.load.in_flight);
        self.in_flight.enter(newcomer, self.most, counted)
    }

    fn enter_often(&self, client: u8, times: usize) -> Vec<Places> {
        let places = (0..times).map(|_| self.enter(client));
        places.collect::<Result<_, _>>().unwrap()
    }

    /// A gather that is answered with so many bytes.
    fn answered(&self, client: u8, bytes: usize) -> Places {
        let places = self.enter(client).unwrap();
        let mut reservation = Reservation::new(&self.buffers, places.client.share());
        assert!(reservation.grow(bytes));
        answer(&places, bytes, vec![reservation]);
        places
    }
}

fn answer(places: &Places, bytes: usize, reservations: Vec<Reservation>) {
    let pieces = VecDeque::from([Bytes::from(vec![b' '; bytes])]);
    let own = |_reservation| Holding::Own { _reservation };
    let holdings = reservations.into_iter().map(own).collect();
    places.gather.answer(pieces, holdings);
}

fn gave_way(places: &Places) -> bool {
    places.gather.waits_since().is_none()
}

async fn later(milliseconds: u64) {
    tokio::time::advance(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn there_are_as_many_gathers_as_there_may_be_and_places_are_given_back() {
    let most = Most {
        gathers: 3,
        of_client: 9,
    };
    let stage = stage(most, 0);
    let held: Vec<_> = (1..=3).map(|client| stage.enter(client).unwrap()).collect();
    assert_eq!(stage.metrics.load.in_flight.get(), 3);
    assert_eq!(stage.enter(4).unwrap_err(), Full::Service);
    drop(held);
    assert_eq!(stage.metrics.load.in_flight.get(), 0);
    assert!(stage.enter(4).is_ok());
}

#[tokio::test]
async fn a_client_has_its_own_count_and_is_forgotten_at_zero() {
    let most = Most {
        gathers: 9,
        of_client: 1,
    };
    let stage = stage(most, 0);
    let one = stage.enter(1).unwrap();
    assert_eq!(stage.enter(1).unwrap_err(), Full::Client);
    assert!(stage.enter(2).is_ok());
    drop(one);
    assert!(stage.in_flight.table.lock().clients.is_empty());
}

#[tokio::test]
async fn a_client_that_is_alone_may_have_all_and_one_of_several_leaves_the_last_part() {
    let stage = stage(MANY, 0);
    let all = stage.enter_often(1, 100);
    assert_eq!(stage.enter(1).unwrap_err(), Full::Service);
    drop(all);
    let _first = stage.enter(2).unwrap();
    let _most = stage.enter_often(1, 74);
    assert_eq!(stage.enter(1).unwrap_err(), Full::Service);
    let _others: Vec<_> = (3..28).map(|client| stage.enter(client).unwrap()).collect();
    assert_eq!(stage.enter(28).unwrap_err(), Full::Service);
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_that_is_not_taken_for_a_second_gives_way() {
    let most = Most {
        gathers: 3,
        of_client: 9,
    };
    let stage = stage(most, 100);
    let (untaken, taken) = (stage.answered(1, 10), stage.answered(2, 10));
    let running = stage.enter(3).unwrap();
    later(999).await;
    assert!(taken.gather.next_bytes(1).is_ok());
    assert_eq!(stage.enter(4).unwrap_err(), Full::Service);
    // All there was has been looked at; that is not done at every refusal.
    later(1).await;
    assert_eq!(stage.enter(4).unwrap_err(), Full::Service);
    later(49).await;
    let newcomer = stage.enter(4).unwrap();
    assert!(gave_way(&untaken) && !gave_way(&taken));
    assert_eq!(stage.buffers.held(), 10);
    later(60_000).await;
    let other = stage.enter(5).unwrap();
    assert!(gave_way(&taken));
    assert_eq!(stage.enter(6).unwrap_err(), Full::Service);
    drop((running, newcomer, other));
    assert_eq!(stage.metrics.load.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_client_that_holds_most_gives_way_first_and_none_to_a_client_of_more() {
    let most = Most {
        gathers: 6,
        of_client: 9,
    };
    let stage = stage(most, 100);
    let slow = stage.answered(1, 10);
    later(1).await;
    let oldest = stage.answered(2, 10);
    later(1).await;
    let newer = [stage.answered(2, 10), stage.answered(2, 10)];
    later(2000).await;
    let _running = [stage.enter(3).unwrap(), stage.enter(4).unwrap()];
    let _one = stage.enter(5).unwrap();
    assert!(gave_way(&oldest) && !newer.iter().any(gave_way));
    drop(oldest);
    let _two = stage.enter(5).unwrap();
    assert!(newer.iter().any(gave_way));
    later(60_000).await;
    // The first client has one, and this would be its third.
    assert_eq!(stage.enter(5).unwrap_err(), Full::Service);
    assert!(!gave_way(&slow));
}

#[tokio::test(start_paused = true)]
async fn bytes_come_from_the_client_that_holds_most_of_them() {
    let stage = stage(MANY, 100);
    let small = [stage.answered(1, 10), stage.answered(1, 10)];
    let large = [stage.answered(2, 30), stage.answered(2, 20)];
    let places = stage.enter(3).unwrap();
    let mut reservation = Reservation::new(&stage.buffers, places.client.share());
    assert!(reservation.grow(30));
    assert!(!reservation.grow(1));
    later(1000).await;
    assert!(reservation.grow(35));
    assert!(large.iter().all(gave_way) && !small.iter().any(gave_way));
    // It has not taken any of its own, but is not answered either.
    later(1000).await;
    assert!(!reservation.grow(50));
    assert!(small.iter().all(gave_way));
    assert_eq!(stage.buffers.held(), 65);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_answer_unless_others_have_answers_there() {
    let most = Most {
        gathers: 1,
        of_client: 9,
    };
    let stage = stage(most, 100);
    let cut = Arc::new(Cut::default());
    let own = stage.enter_over(1, Some(cut.clone())).unwrap();
    answer(&own, 10, Vec::new());
    later(1000).await;
    let shared = stage.enter_over(2, None).unwrap();
    assert!(cut.is_cut());
    answer(&shared, 10, Vec::new());
    later(1000).await;
    let client = None;
    let cut = Some(Arc::new(Cut::default()));
    // A client that no limit of one client holds for.
    let free = stage.enter_as(Newcomer { client, cut }).unwrap();
    assert!(gave_way(&own) && gave_way(&shared));
    drop(free);
}
