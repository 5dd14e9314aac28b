//! Partial reliability, and fairness among streams.

use super::*;

const LONG: Duration = Duration::from_secs(600);

fn config(interleaving: bool) -> Config {
    Config {
        interleaving,
        remote_max_message_size: 262_144,
        ..Config::default()
    }
}

fn options(order: Order, reliability: Reliability) -> SendOptions {
    SendOptions { order, reliability }
}

#[test]
fn messages_without_retransmissions_are_lost_and_the_others_arrive_in_order() {
    for seed in seeds(40) {
        for interleaving in [false, true] {
            for order in [Order::Ordered, Order::Unordered] {
                let link = LinkConfig::delay(20 * MS).loss(100);
                let mut pair = Pair::connected(seed, &config(interleaving), link);
                let partial = options(order, Reliability::MaxRetransmits(0));
                for index in 0..200u64 {
                    let len = if index % 5 == 0 { 5000 } else { 200 };
                    let mut payload = payload(index, len);
                    payload[0] = index as u8;
                    pair.send(A, 1, partial, payload);
                    pair.run_for(5 * MS);
                }
                // A reliable message behind them shows that nothing is stuck.
                pair.send(A, 1, SendOptions::default(), vec![255; 300]);
                pair.run_until(LONG, |pair| {
                    let messages = pair.messages(B);
                    messages.last().is_some_and(|last| last.payload[0] == 255)
                });
                pair.run_until(LONG, |pair| pair.ends[0].tx.is_done());
                let got: Vec<u8> = pair.messages(B).iter().map(|m| m.payload[0]).collect();
                let mut unique = got.clone();
                unique.sort_unstable();
                unique.dedup();
                assert_eq!(unique.len(), got.len(), "seed {seed}: twice");
                assert!(
                    got.len() > 120 && got.len() < 200,
                    "seed {seed}: {}",
                    got.len()
                );
                if order == Order::Ordered {
                    assert!(got.is_sorted(), "seed {seed}: order");
                }
                for message in pair.messages(B) {
                    let index = message.payload[0];
                    if index < 255 {
                        let len = if index % 5 == 0 { 5000 } else { 200 };
                        let mut expected = payload(index.into(), len);
                        expected[0] = index;
                        assert!(message.payload == expected, "seed {seed}: mixed up");
                    }
                }
                let stats = pair.end(A).stats();
                // One whose acknowledgement was lost may count as given up and still have arrived.
                assert!(stats.abandoned + got.len() as u64 >= 201, "seed {seed}");
                assert_eq!(stats.in_flight, 0);
            }
        }
    }
}

#[test]
fn a_message_whose_life_is_over_is_not_sent() {
    let mut pair = Pair::connected(1, &config(false), LinkConfig::delay(20 * MS));
    pair.links[0].set_dead(true);
    let mortal = options(Order::Ordered, Reliability::MaxLifetime(300 * MS));
    // More than a window, so that some is never sent and one message is cut in part.
    for index in 0..10 {
        pair.send(A, 1, mortal, payload(index, 10_000));
    }
    pair.run_for(Duration::from_secs(2));
    pair.links[0].set_dead(false);
    pair.send(A, 1, SendOptions::default(), vec![9; 10]);
    pair.run_until(LONG, |pair| pair.received(B) == 1);
    assert_eq!(pair.messages(B)[0].payload, [9; 10]);
    assert_eq!(pair.end(A).buffered_amount(StreamId(1)), 0);
    assert_eq!(pair.end(A).stats().abandoned, 10);
}

#[test]
fn a_message_cut_off_in_the_middle_blocks_nothing_even_if_all_it_sent_arrived() {
    for interleaving in [false, true] {
        let config = config(interleaving);
        let mut pair = Pair::connected(1, &config, LinkConfig::delay(50 * MS));
        let once = options(Order::Ordered, Reliability::MaxLifetime(120 * MS));
        pair.send(A, 1, once, payload(1, 200_000));
        pair.run_for(60 * MS);
        pair.links[0].set_dead(true);
        pair.run_for(100 * MS);
        pair.links[0].set_dead(false);
        pair.send(A, 1, SendOptions::default(), vec![9; 10]);
        pair.run_until(LONG, |pair| pair.received(B) == 1);
        assert_eq!(pair.messages(B)[0].payload, [9; 10]);
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.end(A).stats().in_flight, 0);
    }
}

#[test]
fn interleaving_lets_a_short_message_pass_a_long_one() {
    for (interleaving, expected) in [(true, [2, 1]), (false, [1, 2])] {
        let link = LinkConfig::delay(10 * MS).rate(5_000_000, 100_000);
        let mut pair = Pair::connected(1, &config(interleaving), link);
        pair.send(A, 1, SendOptions::default(), payload(1, 200_000));
        pair.run_for(10 * MS);
        pair.send(A, 2, SendOptions::default(), payload(2, 1000));
        pair.run_until(LONG, |pair| pair.received(B) == 2);
        let order: Vec<u16> = pair.messages(B).iter().map(|m| m.stream.0).collect();
        assert_eq!(order, expected);
    }
}

#[test]
fn streams_share_the_link_evenly() {
    let link = LinkConfig::delay(10 * MS).rate(5_000_000, 100_000);
    let mut pair = Pair::connected(1, &config(true), link);
    for stream in 0..4 {
        for index in 0..20 {
            pair.send(A, stream, SendOptions::default(), payload(index, 50_000));
        }
    }
    pair.run_for(Duration::from_secs(3));
    let mut counts = [0; 4];
    for message in pair.messages(B) {
        counts[message.stream.0 as usize] += 1;
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least > 5 && most - least <= 1, "{counts:?}");
}

#[test]
fn many_long_messages_at_once_do_not_exhaust_the_receiver() {
    for seed in seeds(5) {
        let link = LinkConfig::delay(10 * MS).loss(20);
        let mut pair = Pair::connected(seed, &config(true), link);
        for stream in 0..60 {
            pair.send(A, stream, SendOptions::default(), payload(1, 262_144));
        }
        pair.run_until(LONG, |pair| pair.received(B) == 60);
        assert_eq!(pair.end(B).counters().get("sctp.receive_buffer_full"), 0);
    }
}
