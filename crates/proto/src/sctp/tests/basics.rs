//! Handshake, delivery, order, end.

use super::*;

#[test]
fn simultaneous_inits_open_one_association() {
    for seed in seeds(100) {
        let link = LinkConfig::delay(20 * MS).jitter(20 * MS).loss(100);
        let mut pair = Pair::new(seed, &Config::default(), link);
        pair.connect();
        pair.send(A, 1, SendOptions::default(), payload(1, 100));
        pair.send(B, 2, SendOptions::default(), payload(2, 100));
        pair.run_until(Duration::from_secs(30), |pair| {
            pair.received(A) == 1 && pair.received(B) == 1
        });
    }
}

#[test]
fn an_association_opens_in_one_and_a_half_round_trips() {
    let mut pair = Pair::new(1, &Config::default(), LinkConfig::delay(50 * MS));
    let now = pair.now;
    for end in &mut pair.ends {
        end.connect(now);
    }
    let took = pair.run_until(Duration::from_secs(3), |pair| {
        pair.ends.iter().all(Association::is_established)
    });
    assert_eq!(took, 150 * MS);
}

#[test]
fn a_peer_that_only_answers_is_enough() {
    let mut pair = Pair::new(1, &Config::default(), LinkConfig::delay(10 * MS));
    let now = pair.now;
    pair.end(A).connect(now);
    pair.run_until(Duration::from_secs(3), |pair| {
        pair.ends.iter().all(Association::is_established)
    });
}

#[test]
fn messages_sent_before_the_handshake_arrive() {
    let mut pair = Pair::new(1, &Config::default(), LinkConfig::FAST);
    pair.send(A, 0, SendOptions::default(), payload(1, 5000));
    pair.connect();
    pair.run_until(Duration::from_secs(3), |pair| pair.received(B) == 1);
    assert_eq!(pair.messages(B)[0].payload, payload(1, 5000));
}

#[test]
fn messages_of_all_sizes_arrive_in_order_and_unchanged() {
    for interleaving in [false, true] {
        let config = Config {
            interleaving,
            remote_max_message_size: 262_144,
            ..Config::default()
        };
        let mut pair = Pair::connected(3, &config, LinkConfig::delay(5 * MS));
        let sizes = [
            1, 2, 3, 4, 255, 1000, 1132, 1133, 1148, 5000, 65_536, 262_144,
        ];
        for (index, len) in sizes.into_iter().enumerate() {
            pair.send(A, 4, SendOptions::default(), payload(index as u64, len));
        }
        pair.run_until(Duration::from_secs(10), |pair| {
            pair.received(B) == sizes.len()
        });
        for (index, message) in pair.messages(B).into_iter().enumerate() {
            assert_eq!(message.payload, payload(index as u64, sizes[index]));
            assert_eq!((message.stream, message.ppid), (StreamId(4), Ppid::BINARY));
        }
        assert_eq!(pair.end(A).stats().retransmissions, 0);
    }
}

#[test]
fn shutdown_delivers_everything_first() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::delay(10 * MS).loss(100));
    for index in 0..50 {
        pair.send(A, 0, SendOptions::default(), payload(index, 3000));
    }
    let now = pair.now;
    pair.end(A).shutdown(now);
    pair.run_until(Duration::from_secs(60), |pair| {
        pair.ends.iter().all(Association::is_ended)
    });
    assert_eq!(pair.received(B), 50);
    for events in &pair.events {
        assert_eq!(events.last(), Some(&Event::Closed(CloseReason::Shutdown)));
    }
}

#[test]
fn an_abort_ends_both_sides_at_once() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::delay(10 * MS));
    pair.end(A).abort();
    let took = pair.run_until(Duration::from_secs(1), |pair| {
        pair.ends.iter().all(Association::is_ended)
    });
    assert_eq!(took, 10 * MS);
    assert_eq!(pair.events[0], [Event::Closed(CloseReason::Aborted)]);
    assert_eq!(
        pair.events[1],
        [Event::Closed(CloseReason::AbortedByPeer(12))]
    );
}

#[test]
fn a_silent_peer_ends_the_association() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::delay(10 * MS));
    pair.links.iter_mut().for_each(|link| link.set_dead(true));
    pair.send(A, 0, SendOptions::default(), payload(1, 10));
    let took = pair.run_until(Duration::from_secs(120), |pair| pair.ends[0].is_ended());
    assert_eq!(
        pair.events[0].last(),
        Some(&Event::Closed(CloseReason::TooManyRetransmissions))
    );
    assert!(took > Duration::from_secs(30), "{took:?}");
}

#[test]
fn an_idle_association_notices_that_the_peer_is_gone() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::delay(10 * MS));
    pair.run_for(Duration::from_secs(300));
    assert!(pair.ends.iter().all(Association::is_established));
    pair.links.iter_mut().for_each(|link| link.set_dead(true));
    pair.run_until(Duration::from_secs(200), |pair| {
        pair.ends.iter().all(Association::is_ended)
    });
}

#[test]
fn a_handshake_without_an_answer_ends() {
    let mut pair = Pair::new(1, &Config::default(), LinkConfig::FAST);
    pair.links.iter_mut().for_each(|link| link.set_dead(true));
    let now = pair.now;
    pair.end(A).connect(now);
    pair.run_until(Duration::from_secs(120), |pair| pair.ends[0].is_ended());
    assert_eq!(
        pair.events[0],
        [Event::Closed(CloseReason::HandshakeTimeout)]
    );
}
