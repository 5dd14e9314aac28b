//! A host gets another address in the middle of a call.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::channel::{ChannelId, ChannelInit, ReadyState};
use twocan_proto::ice::{Kind, RelayProtocol};
use twocan_proto::peer::{ConnectionState, IceTransportPolicy, Interfaces};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};

/// Between two messages, each way.
const INTERVAL: Duration = Duration::from_millis(20);

/// Moves one side, and answers the longest time in which either heard nothing.
fn move_during_a_call(setting: &Setting, seed: u64, who: usize) -> Duration {
    let (mut call, channel) = connected(seed, setting);
    talk_and_move(&mut call, channel, who)
}

fn connected(seed: u64, setting: &Setting) -> (Call, ChannelId) {
    let (mut call, channel) = Call::with_channel(seed, setting, ChannelInit::default());
    let open = |call: &Call| call.peer(1).channel_state(channel) == Some(ReadyState::Open);
    assert!(call.run_until(Duration::from_secs(5), open));
    (call, channel)
}

fn talk_and_move(call: &mut Call, channel: ChannelId, who: usize) -> Duration {
    talk_and(call, channel, |call| {
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
    })
}

/// Does something after two seconds of six.
fn talk_and(call: &mut Call, channel: ChannelId, act: impl Fn(&mut Call)) -> Duration {
    let mut last = [call.world.elapsed(); 2];
    let mut longest = Duration::ZERO;
    for round in 0..300 {
        if round == 100 {
            act(call);
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

/// RFC 8016: the allocation goes along, and the peer has nothing to hear of.
#[test]
fn a_relayed_call_keeps_its_relay() {
    let relay_only = |config: &mut twocan_proto::peer::Config| {
        config.ice_transport_policy = IceTransportPolicy::Relay;
    };
    let ways: [&[RelayProtocol]; 3] = [
        &[RelayProtocol::Udp],
        &[RelayProtocol::Tcp],
        &[RelayProtocol::Tls],
    ];
    let cases = ways.map(|way| [(way, false), (way, true)]);
    for (turn, callee_has_relay) in cases.into_iter().flatten() {
        let setting = Setting {
            nats: [Some(NatConfig::PORT_RESTRICTED); 2],
            turn,
            adjust: relay_only,
            adjust_callee: if callee_has_relay { relay_only } else { |_| {} },
            ..Setting::default()
        };
        for seed in seeds() {
            let (mut call, channel) = connected(seed, &setting);
            let relayed = |call: &Call| {
                let locals = call.peer(0).local_candidates();
                let mut relayed = locals.iter().filter(|own| own.kind == Kind::Relayed);
                relayed.next().map(|own| own.address)
            };
            let (before, route) = (relayed(&call), call.peer(0).route());
            let longest = talk_and_move(&mut call, channel, 0);
            let name = format!(
                "{turn:?}, {callee_has_relay}, seed {seed} {}",
                call.explain()
            );
            assert!(longest < Duration::from_secs(1), "{longest:?} {name}");
            assert!(before.is_some() && relayed(&call) == before, "{name}");
            assert_eq!(call.peer(0).route(), route, "{name}");
            let server = call.world.turn_server().unwrap();
            assert_eq!(server.counters().get("turn.moved"), 1, "{name}");
            assert_eq!(server.counters().get("turn.allocated"), 2, "{name}");
        }
    }
}

/// The allocation waits for its client, which comes back on another stream.
#[test]
fn a_relayed_call_outlives_the_stream_to_its_relay() {
    let relay_only = |config: &mut twocan_proto::peer::Config| {
        config.ice_transport_policy = IceTransportPolicy::Relay;
    };
    for turn in [&[RelayProtocol::Tcp], &[RelayProtocol::Tls]] {
        let setting = Setting {
            nats: [Some(NatConfig::PORT_RESTRICTED); 2],
            turn,
            adjust: relay_only,
            ..Setting::default()
        };
        for seed in seeds() {
            let (mut call, channel) = connected(seed, &setting);
            let route = call.peer(0).route();
            // Further apart than a stream may end again.
            for cuts in 1..=2 {
                let host = call.hosts[0];
                let longest = talk_and(&mut call, channel, |call| {
                    call.world.cut_server_streams(host)
                });
                let name = format!("{turn:?}, seed {seed}, {cuts} {}", call.explain());
                assert!(longest < Duration::from_secs(1), "{longest:?} {name}");
                assert_eq!(call.peer(0).route(), route, "{name}");
                let server = call.world.turn_server().unwrap();
                assert_eq!(server.counters().get("turn.moved"), cuts, "{name}");
                assert_eq!(server.counters().get("turn.allocated"), 2, "{name}");
            }
            // At once again: that relay is given up for another.
            for _ in 0..2 {
                call.world.cut_server_streams(call.hosts[0]);
                call.run_for(Duration::from_secs(3));
            }
            let server = call.world.turn_server().unwrap();
            let counters = call.explain();
            assert_eq!(server.counters().get("turn.moved"), 3, "{counters}");
            assert_eq!(server.counters().get("turn.allocated"), 3, "{counters}");
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

#[test]
fn a_host_that_moves_again_and_again_keeps_its_relays() {
    for policy in [IceTransportPolicy::All, IceTransportPolicy::Relay] {
        let setting = Setting {
            nats: [Some(NatConfig::PORT_RESTRICTED), None],
            turn: &[RelayProtocol::Udp, RelayProtocol::Tcp],
            adjust: match policy {
                IceTransportPolicy::All => |_| {},
                IceTransportPolicy::Relay => {
                    |config| config.ice_transport_policy = IceTransportPolicy::Relay
                }
            },
            ..Setting::default()
        };
        let (mut call, _) = Call::with_channel(1, &setting, ChannelInit::default());
        let mut old = call.world.ip(call.hosts[0]);
        // Two relays each time: many more in all than there may be at a time.
        for last in 100..120 {
            let IpAddr::V4(v4) = old else {
                unreachable!("the world has IPv4")
            };
            let [a, b, c, _] = v4.octets();
            let new = IpAddr::from([a, b, c, last]);
            let interfaces = Interfaces {
                added: vec![new],
                removed: vec![old],
            };
            call.with(0, |peer, now| peer.handle_interfaces(now, &interfaces));
            old = new;
            call.run_for(Duration::from_secs(2));
            let relayed = |own: &twocan_proto::peer::LocalCandidateStats| own.kind == Kind::Relayed;
            let candidates = call.peer(0).local_candidates();
            let relayed = candidates.iter().filter(|own| relayed(own)).count();
            let counters = call.explain();
            assert_eq!(relayed, 2, "{policy:?}, {last}: {candidates:?}, {counters}");
            let state = call.peer(0).connection_state();
            assert_eq!(state, ConnectionState::Connected, "{last}: {counters}");
        }
        assert_eq!(call.peer(0).counters().get("peer.too_many_relays"), 0);
    }
}
