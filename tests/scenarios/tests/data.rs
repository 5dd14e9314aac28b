//! Data channels between whole peers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelInit, Message, Reliability};
use twocan_proto::peer::ConnectionState;
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::units::Bitrate;

fn bad_link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(10),
        loss: Loss::Burst {
            enter_per_mille: 20,
            leave_per_mille: 400,
        },
        duplicate_per_mille: 10,
        reorder_per_mille: 30,
        ..LinkConfig::default()
    }
}

fn message(number: usize) -> Vec<u8> {
    let len = 1 + number * 997 % 20_000;
    (0..len).map(|index| (index + number) as u8).collect()
}

/// Sends forty messages and waits until all are there.
fn delivers(name: &str, seed: u64, setting: &Setting, limit: Duration) -> Call {
    let (mut call, id) = Call::with_channel(seed, setting, ChannelInit::default());
    for number in 0..40 {
        call.with(0, |peer, now| peer.send_binary(now, id, message(number)))
            .unwrap();
    }
    let mut received = Vec::new();
    let end = call.world.elapsed() + limit;
    while received.len() < 40 && call.world.elapsed() < end {
        call.run_for(Duration::from_millis(50));
        received.extend(call.take_messages(1));
    }
    assert_eq!(
        received.len(),
        40,
        "{name}, seed {seed}, {}",
        call.explain()
    );
    for (number, received) in received.into_iter().enumerate() {
        assert_eq!(
            received,
            Message::Binary(message(number)),
            "{name}, seed {seed}"
        );
    }
    call
}

#[test]
fn every_message_arrives_whole_and_in_order_over_a_bad_link() {
    for seed in seeds() {
        let link = bad_link();
        let setting = Setting {
            link,
            ..Setting::default()
        };
        delivers("bad link", seed, &setting, Duration::from_secs(60));
    }
}

#[test]
fn a_narrow_link_with_a_short_queue_only_takes_longer() {
    for seed in seeds() {
        let link = LinkConfig {
            rate: Some(Bitrate::kbps(1000)),
            queue_len: 20_000,
            ..LinkConfig::default()
        };
        let setting = Setting {
            link,
            ..Setting::default()
        };
        delivers("narrow", seed, &setting, Duration::from_secs(60));
    }
}

#[test]
fn jumps_of_the_wallclock_by_an_hour_change_nothing() {
    for seed in seeds() {
        let (mut call, id) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        for offset in [3_600_000, -3_600_000, 0] {
            call.world.wallclock_offset_ms = offset;
            call.with(0, |peer, now| peer.send_text(now, id, "tick"))
                .unwrap();
            call.run_for(Duration::from_secs(40));
            assert_eq!(
                call.take_messages(1).len(),
                1,
                "seed {seed}, offset {offset}"
            );
            assert!(call.is_connected(), "seed {seed}, {}", call.explain());
        }
    }
}

#[test]
fn a_blackout_of_four_seconds_ends_with_data_within_a_second() {
    for seed in seeds() {
        let (mut call, id) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        for site in call.sites {
            call.world.site(site).uplink.blackout = true;
        }
        call.with(0, |peer, now| peer.send_text(now, id, "through"))
            .unwrap();
        call.run_for(Duration::from_secs(4));
        for site in call.sites {
            call.world.site(site).uplink.blackout = false;
        }
        call.run_for(Duration::from_secs(3));
        assert_eq!(
            call.take_messages(1).len(),
            1,
            "seed {seed}, {}",
            call.explain()
        );
        assert!(call.is_connected());
    }
}

#[test]
fn closing_one_side_closes_the_other() {
    for seed in seeds() {
        let (mut call, _) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        call.with(0, |peer, now| peer.close(now));
        let closed = call.run_until(Duration::from_secs(2), |call| {
            call.peer(1).connection_state() == ConnectionState::Closed
        });
        assert!(closed, "seed {seed}, {}", call.explain());
    }
}

#[test]
fn an_unreliable_channel_goes_on_past_what_is_lost() {
    for seed in seeds() {
        let link = LinkConfig {
            loss: Loss::Independent { per_mille: 150 },
            ..LinkConfig::default()
        };
        let init = ChannelInit {
            ordered: false,
            reliability: Reliability::MaxRetransmits(0),
            ..ChannelInit::default()
        };
        let setting = Setting {
            link,
            ..Setting::default()
        };
        let (mut call, id) = Call::with_channel(seed, &setting, init);
        for _ in 0..200 {
            call.with(0, |peer, now| peer.send_binary(now, id, vec![7; 400]))
                .unwrap();
            call.run_for(Duration::from_millis(20));
        }
        call.run_for(Duration::from_secs(5));
        let arrived = call.take_messages(1).len();
        assert!(
            (80..=200).contains(&arrived),
            "seed {seed}: {arrived} of 200"
        );
        assert!(call.is_connected());
    }
}

#[test]
fn a_restart_of_ice_in_the_middle_loses_nothing() {
    for seed in seeds() {
        let (mut call, id) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        call.with(0, |peer, _| peer.restart_ice());
        call.offer(0);
        for number in 0..20 {
            call.with(0, |peer, now| peer.send_text(now, id, format!("{number}")))
                .unwrap();
            call.run_for(Duration::from_millis(50));
        }
        call.run_for(Duration::from_secs(3));
        let expected: Vec<_> = (0..20)
            .map(|number| Message::Text(format!("{number}")))
            .collect();
        assert_eq!(
            call.take_messages(1),
            expected,
            "seed {seed}, {}",
            call.explain()
        );
        assert!(call.is_connected(), "seed {seed}, {}", call.explain());
    }
}
