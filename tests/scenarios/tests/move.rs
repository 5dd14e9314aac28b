//! A host gets another address in the middle of a call.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::channel::{ChannelInit, ReadyState};
use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::{ConnectionState, Interfaces};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};

/// Between two messages, each way.
const INTERVAL: Duration = Duration::from_millis(20);

/// Moves one side, and answers the longest time in which either heard nothing.
fn move_during_a_call(setting: &Setting, seed: u64, who: usize) -> Duration {
    let (mut call, channel) = Call::with_channel(seed, setting, ChannelInit::default());
    let open = |call: &Call| call.peer(1).channel_state(channel) == Some(ReadyState::Open);
    assert!(call.run_until(Duration::from_secs(5), open));
    let mut last = [call.world.elapsed(); 2];
    let mut longest = Duration::ZERO;
    for round in 0..300 {
        if round == 100 {
            let old = call.world.ip(call.hosts[who]);
            let IpAddr::V4(old) = old else {
                unreachable!("the world has IPv4")
            };
            let [a, b, c, _] = old.octets();
            let interfaces = Interfaces {
                added: vec![IpAddr::from([a, b, c, 200])],
                removed: vec![old.into()],
            };
            call.with(who, |peer, now| peer.handle_interfaces(now, &interfaces));
        }
        for index in 0..2 {
            call.with(index, |peer, now| peer.send_text(now, channel, "tick"))
                .unwrap();
        }
        call.run_for(INTERVAL);
        for (index, last) in last.iter_mut().enumerate() {
            let now = call.world.elapsed();
            longest = longest.max(now - *last);
            if !call.take_messages(index).is_empty() {
                *last = now;
            }
        }
    }
    for index in 0..2 {
        let state = call.peer(index).connection_state();
        assert_eq!(state, ConnectionState::Connected, "{}", call.explain());
        let (ice, counters) = (call.peer(index).ice_connection_state(), call.explain());
        assert_ne!(ice, twocan_proto::ice::State::Failed, "{counters}");
    }
    longest
}

#[test]
fn a_call_follows_within_a_second() {
    for nats in [
        [Some(NatConfig::PORT_RESTRICTED), None],
        [Some(NatConfig::SYMMETRIC), None],
        [Some(NatConfig::PORT_RESTRICTED); 2],
    ] {
        let setting = Setting {
            nats,
            turn: &[RelayProtocol::Udp],
            ..Setting::default()
        };
        for seed in seeds() {
            for who in (0..2).filter(|who| nats[*who].is_some()) {
                let longest = move_during_a_call(&setting, seed, who);
                let limit = Duration::from_secs(1);
                assert!(
                    longest < limit,
                    "{nats:?}, side {who}, seed {seed}: {longest:?}"
                );
            }
        }
    }
}

#[test]
fn a_call_follows_under_loss() {
    let setting = Setting {
        nats: [Some(NatConfig::PORT_RESTRICTED), None],
        link: LinkConfig {
            loss: Loss::Independent { per_mille: 26 },
            ..LinkConfig::default()
        },
        turn: &[RelayProtocol::Udp],
        ..Setting::default()
    };
    for seed in seeds() {
        // What is lost of the channel's own is repeated after up to half a second.
        let longest = move_during_a_call(&setting, seed, 0);
        assert!(
            longest < Duration::from_millis(2_500),
            "seed {seed}: {longest:?}"
        );
    }
}
