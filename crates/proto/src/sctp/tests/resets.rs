//! Stream resets and the peer's restart.

use super::*;

const LONG: Duration = Duration::from_secs(100);

fn resets(pair: &Pair, side: Side) -> Vec<Event> {
    pair.events[side as usize]
        .iter()
        .filter(|event| {
            matches!(
                event,
                Event::IncomingReset(_) | Event::OutgoingReset(_) | Event::OutgoingResetDenied(_)
            )
        })
        .cloned()
        .collect()
}

#[test]
fn a_reset_follows_the_data_and_numbers_start_over() {
    for seed in seeds(40) {
        for interleaving in [false, true] {
            let config = Config {
                interleaving,
                ..Config::default()
            };
            let link = LinkConfig::delay(20 * MS).jitter(10 * MS).loss(100);
            let mut pair = Pair::connected(seed, &config, link);
            for round in 0..3 {
                pair.events.iter_mut().for_each(Vec::clear);
                for index in 0..5 {
                    pair.send(A, 3, SendOptions::default(), payload(index, 3000));
                }
                pair.end(A).reset_stream(StreamId(3));
                let now = pair.now;
                assert_eq!(
                    pair.end(A).send(
                        now,
                        StreamId(3),
                        Ppid::BINARY,
                        SendOptions::default(),
                        vec![1]
                    ),
                    Err(SendError::Resetting(StreamId(3)))
                );
                pair.run_until(LONG, |pair| !resets(pair, A).is_empty());
                assert_eq!(pair.received(B), 5, "seed {seed} round {round}");
                assert_eq!(
                    pair.events[1].last(),
                    Some(&Event::IncomingReset(vec![StreamId(3)]))
                );
                assert_eq!(resets(&pair, A), [Event::OutgoingReset(vec![StreamId(3)])]);
            }
        }
    }
}

#[test]
fn many_streams_are_reset_together_while_others_go_on() {
    let link = LinkConfig::delay(20 * MS).loss(50);
    let mut pair = Pair::connected(5, &Config::default(), link);
    for stream in 0..500 {
        pair.send(A, stream, SendOptions::default(), payload(1, 100));
    }
    for stream in 0..499 {
        pair.end(A).reset_stream(StreamId(stream));
    }
    pair.run_until(LONG, |pair| {
        let done: usize = resets(pair, A)
            .iter()
            .map(|event| match event {
                Event::OutgoingReset(streams) => streams.len(),
                _ => 0,
            })
            .sum();
        done == 499
    });
    pair.send(A, 499, SendOptions::default(), payload(2, 100));
    pair.run_until(LONG, |pair| pair.received(B) == 501);
}

#[test]
fn a_restarted_peer_is_taken_in() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::delay(10 * MS));
    pair.send(A, 0, SendOptions::default(), payload(1, 100));
    pair.run_for(100 * MS);
    pair.events.iter_mut().for_each(Vec::clear);
    pair.ends[1] = Association::new(Config::default(), Random::new([99; 32]));
    let now = pair.now;
    pair.end(B).connect(now);
    pair.run_until(LONG, |pair| pair.ends[1].is_established());
    pair.run_for(100 * MS);
    assert_eq!(pair.events[0], [Event::Restarted]);
    pair.events.iter_mut().for_each(Vec::clear);
    pair.send(A, 0, SendOptions::default(), payload(2, 5000));
    pair.send(B, 0, SendOptions::default(), payload(3, 5000));
    pair.run_until(LONG, |pair| pair.received(A) + pair.received(B) == 2);
}
