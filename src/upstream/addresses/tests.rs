//! Which address is chosen, with the clock in hand.

use std::collections::HashSet;

use tokio::time::advance;

use super::*;

fn addresses(sockets: &[&str]) -> Addresses {
    let mut addresses = Addresses::default();
    let found: Vec<_> = sockets.iter().map(|it| (0, it.parse().unwrap())).collect();
    addresses.update(&found);
    addresses
}

/// Those that calls go to, among many.
fn chosen(addresses: &Addresses, avoid: Option<&Arc<Address>>) -> HashSet<SocketAddr> {
    let one = |_| addresses.choose(avoid).unwrap().socket;
    (0..200).map(one).collect()
}

fn sockets(addresses: &[Arc<Address>]) -> Vec<String> {
    addresses.iter().map(|it| it.socket.to_string()).collect()
}

#[test]
fn calls_are_spread_and_go_where_fewer_are_in_flight() {
    let addresses = addresses(&["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]);
    assert_eq!(chosen(&addresses, None).len(), 3);
    let mut calls = Vec::new();
    for _ in 0..300 {
        calls.push(CallOn::new(&addresses.choose(None).unwrap()));
    }
    let most = addresses.all().iter().map(|it| it.calls()).max().unwrap();
    let fewest = addresses.all().iter().map(|it| it.calls()).min().unwrap();
    assert!(most - fewest < 20, "{fewest} to {most}");
    // One of two that has fewer: never the one that has the most of all.
    let busiest = addresses.all()[0].clone();
    calls.extend((0..100).map(|_| CallOn::new(&busiest)));
    assert!(!chosen(&addresses, None).contains(&busiest.socket));
    drop(calls);
    assert_eq!(busiest.calls(), 0);
}

#[test]
fn an_address_is_avoided_only_when_there_is_another() {
    let two = addresses(&["192.0.2.1:80", "192.0.2.2:80"]);
    let first = two.all()[0].clone();
    assert_eq!(
        chosen(&two, Some(&first)),
        HashSet::from([two.all()[1].socket])
    );
    let one = addresses(&["192.0.2.1:80"]);
    let only = one.all()[0].clone();
    assert_eq!(chosen(&one, Some(&only)), HashSet::from([only.socket]));
    assert!(addresses(&[]).choose(None).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_connected_to_rests_ever_longer_and_is_tried_with_one_call() {
    let addresses = addresses(&["192.0.2.1:80", "192.0.2.2:80"]);
    let [bad, good] = addresses.all() else {
        panic!("there are two");
    };
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        addresses.cannot_connect(bad);
        // Others that were under way change nothing.
        addresses.cannot_connect(bad);
        advance(Duration::from_millis(pause * 1000 - 1)).await;
        assert_eq!(
            chosen(&addresses, None),
            HashSet::from([good.socket]),
            "{pause}"
        );
        advance(Duration::from_millis(1)).await;
        assert!(chosen(&addresses, None).contains(&bad.socket), "{pause}");
        let trial = CallOn::new(bad);
        assert_eq!(
            chosen(&addresses, None),
            HashSet::from([good.socket]),
            "{pause}"
        );
        drop(trial);
    }
    advance(LONGEST_PAUSE).await;
    bad.succeeded();
    let _calls = [CallOn::new(bad), CallOn::new(good)];
    assert_eq!(chosen(&addresses, None).len(), 2);
    addresses.cannot_connect(bad);
    advance(SHORTEST_PAUSE - Duration::from_millis(1)).await;
    assert!(
        !bad.is_usable(Instant::now()),
        "the pause begins anew at its shortest"
    );
}

#[tokio::test(start_paused = true)]
async fn three_broken_calls_in_a_row_set_an_address_aside_and_a_good_one_between_does_not() {
    let addresses = addresses(&["192.0.2.1:80", "192.0.2.2:80"]);
    let bad = &addresses.all()[0];
    addresses.broke(bad);
    addresses.broke(bad);
    bad.succeeded();
    addresses.broke(bad);
    addresses.broke(bad);
    assert!(bad.is_usable(Instant::now()));
    addresses.broke(bad);
    assert!(!bad.is_usable(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn the_last_address_is_never_set_aside() {
    let addresses = addresses(&["192.0.2.1:80", "192.0.2.2:80"]);
    let [first, last] = addresses.all() else {
        panic!("there are two");
    };
    addresses.cannot_connect(first);
    for _ in 0..10 {
        addresses.cannot_connect(last);
        addresses.broke(last);
    }
    assert_eq!(chosen(&addresses, None), HashSet::from([last.socket]));
}

#[tokio::test(start_paused = true)]
async fn connecting_takes_the_families_in_turn_and_what_is_set_aside_last() {
    let all = [
        "192.0.2.1:80",
        "192.0.2.2:80",
        "[2001:db8::1]:80",
        "[2001:db8::2]:80",
        "192.0.2.3:80",
    ];
    let addresses = addresses(&all);
    let known = addresses.all().to_vec();
    addresses.cannot_connect(&known[2]);
    let order = addresses.in_order(Some(&known[1]));
    let expected = [
        "192.0.2.2:80",
        "[2001:db8::2]:80",
        "192.0.2.1:80",
        "192.0.2.3:80",
        "[2001:db8::1]:80",
    ];
    assert_eq!(sockets(&order), expected);
    // One that is gone is not tried.
    let gone = Address::new("192.0.2.9:80".parse().unwrap(), 0);
    assert!(!sockets(&addresses.in_order(Some(&gone))).contains(&gone.socket.to_string()));
}

#[test]
fn what_is_known_of_an_address_outlasts_a_new_look_up() {
    let mut addresses = addresses(&["192.0.2.1:80", "192.0.2.2:80"]);
    let first = addresses.all()[0].clone();
    let _call = CallOn::new(&first);
    addresses.update(&[(0, "192.0.2.3:80".parse().unwrap()), (0, first.socket)]);
    assert_eq!(sockets(addresses.all()), ["192.0.2.3:80", "192.0.2.1:80"]);
    assert_eq!(addresses.all()[1].calls(), 1);
}
