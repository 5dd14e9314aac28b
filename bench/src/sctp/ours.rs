//! Our association.

use std::time::Instant;

use bytes::Bytes;
use twocan_proto::random::Random;
use twocan_proto::sctp::{Association, Config, Event, SendOptions};
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::QUEUED;

const STREAM: StreamId = StreamId(0);

pub(super) fn transfer(len: usize, count: usize) {
    run(len, count, Config::default());
}

pub(super) fn transfer_with_checksum(len: usize, count: usize) {
    let config = Config {
        zero_checksum: false,
        ..Config::default()
    };
    run(len, count, config);
}

fn run(len: usize, count: usize, mut config: Config) {
    config.remote_max_message_size = 262_144;
    let mut now = Instant::now();
    let mut a = Association::new(config.clone(), Random::new([1; 32]));
    let mut b = Association::new(config, Random::new([2; 32]));
    a.connect(now);
    b.connect(now);
    let message = Bytes::from(vec![0x5a; len]);
    let mut packet = Vec::new();
    let (mut sent, mut received) = (0, 0);
    while received < count {
        while sent < count && a.buffered_amount(STREAM) < QUEUED {
            a.send(
                now,
                STREAM,
                Ppid::BINARY,
                SendOptions::default(),
                message.clone(),
            )
            .expect("the queue has room");
            sent += 1;
        }
        let moved = pass(now, &mut a, &mut b, &mut packet) | pass(now, &mut b, &mut a, &mut packet);
        while let Some(event) = b.poll_event() {
            if let Event::Message(message) = event {
                assert_eq!(std::hint::black_box(&message.payload).len(), len);
                received += 1;
            }
        }
        while a.poll_event().is_some() {}
        if !moved {
            let deadlines = [a.poll_timeout(), b.poll_timeout()];
            let next = deadlines.iter().flatten().map(|deadline| deadline.at).min();
            now = next.expect("something is always due").max(now);
            a.handle_timeout(now);
            b.handle_timeout(now);
        }
    }
}

fn pass(now: Instant, from: &mut Association, to: &mut Association, packet: &mut Vec<u8>) -> bool {
    let mut moved = false;
    packet.clear();
    while from.poll_transmit(now, packet) {
        to.handle_packet(now, packet);
        packet.clear();
        moved = true;
    }
    moved
}
