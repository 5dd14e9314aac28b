//! Two peers find each other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::ChannelInit;
use twocan_proto::ice::GatheringState;
use twocan_proto::negotiate::Kind;
use twocan_proto::peer::Event;
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

fn connects(name: &str, setting: &Setting, limit: Duration) {
    for seed in seeds() {
        let mut call = Call::new(seed, setting);
        call.with(0, |peer, _| {
            peer.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"])
        })
        .unwrap();
        call.offer(0);
        let connected = call.run_until(limit, Call::is_connected);
        assert!(connected, "{name}, seed {seed}, {}", call.explain());
    }
}

#[test]
fn a_lite_agent_in_the_open_is_reached_by_everybody_whoever_offers() {
    let nats = [
        None,
        Some(NatConfig::FULL_CONE),
        Some(NatConfig::PORT_RESTRICTED),
        Some(NatConfig::SYMMETRIC),
        // By TCP, on which it listens.
        Some(NatConfig::BLOCKED),
    ];
    for nat in nats {
        for offerer in [0, 1] {
            for seed in seeds() {
                let setting = Setting {
                    nats: [nat, None],
                    adjust_callee: |config| config.ice.lite = true,
                    ..Setting::default()
                };
                let mut call = Call::new(seed, &setting);
                call.with(offerer, |peer, _| {
                    peer.create_data_channel(ChannelInit::default())
                })
                .unwrap();
                call.offer(offerer);
                let connected = call.run_until(Duration::from_secs(10), Call::is_connected);
                assert!(connected, "seed {seed}, {nat:?}: {}", call.explain());
                // Longer than consent lasts without the other side's checks.
                call.run_for(Duration::from_secs(40));
                assert!(
                    call.is_connected(),
                    "seed {seed}, {nat:?}: {}",
                    call.explain()
                );
            }
        }
    }
}

#[test]
fn over_a_clean_link_within_six_one_way_delays_and_the_signaling() {
    connects(
        "clean",
        &Setting::default(),
        Duration::from_millis(60 + 6 * 20 + 40),
    );
}

#[test]
fn over_a_bad_link() {
    let link = LinkConfig {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(20),
        loss: Loss::Independent { per_mille: 100 },
        duplicate_per_mille: 20,
        reorder_per_mille: 50,
        ..LinkConfig::default()
    };
    connects(
        "bad",
        &Setting {
            link,
            ..Setting::default()
        },
        Duration::from_secs(15),
    );
}

#[test]
fn through_every_pair_of_translators_that_allows_it() {
    let kinds = [
        None,
        Some(NatConfig::FULL_CONE),
        Some(NatConfig::ADDRESS_RESTRICTED),
        Some(NatConfig::PORT_RESTRICTED),
        Some(NatConfig::SYMMETRIC),
    ];
    for caller in kinds {
        for callee in kinds {
            let hard = |kind| kind == Some(NatConfig::SYMMETRIC);
            let restricted = |kind| kind == Some(NatConfig::PORT_RESTRICTED) || hard(kind);
            // Only a relay helps these.
            if (hard(caller) && restricted(callee)) || (hard(callee) && restricted(caller)) {
                continue;
            }
            let setting = Setting {
                nats: [caller, callee],
                stun: true,
                ..Setting::default()
            };
            let name = format!("{caller:?} and {callee:?}");
            connects(&name, &setting, Duration::from_secs(8));
        }
    }
}

#[test]
fn a_pool_has_candidates_ready_and_tells_them_with_the_description() {
    for (size, expected) in [(0, false), (3, true)] {
        let setting = Setting {
            nats: [Some(NatConfig::PORT_RESTRICTED), None],
            stun: true,
            adjust: match size {
                0 => |_| {},
                _ => |config| config.ice_candidate_pool_size = 3,
            },
            ..Setting::default()
        };
        let mut call = Call::new(1, &setting);
        call.with(0, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        })
        .unwrap();
        call.run_for(Duration::from_secs(1));
        let told = |call: &Call| {
            let mut events = call.events[0].iter();
            events
                .any(|event| matches!(event, Event::IceCandidate(_) | Event::IceGatheringState(_)))
        };
        assert!(!told(&call));
        assert_eq!(call.peer(0).ice_gathering_state(), GatheringState::New);
        call.offer(0);
        let offer = call.peer(0).local_description().unwrap().sdp;
        let has = ["typ host", "typ srflx", "a=end-of-candidates"].map(|own| offer.contains(own));
        // A host has its own addresses as soon as it asks for them.
        assert_eq!(has, [true, expected, expected], "{offer}");
        assert!(told(&call));
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "{}", call.explain());
        let states = call.events[0].iter().filter_map(|event| match event {
            Event::IceGatheringState(state) => Some(*state),
            _ => None,
        });
        let all = [GatheringState::Gathering, GatheringState::Complete];
        assert_eq!(states.collect::<Vec<_>>(), all);
    }
}
