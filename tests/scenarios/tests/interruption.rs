//! What is between the peers changes in the middle of a call: a translator forgets its mappings,
//! a host sleeps.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelId, ChannelInit, ReadyState, Reliability};
use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::{ConnectionState, IceTransportPolicy};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};

/// Between two messages, each way: the pace of sound.
const INTERVAL: Duration = Duration::from_millis(20);

/// What is lost stays lost, as with media.
fn like_media() -> ChannelInit {
    ChannelInit {
        ordered: false,
        reliability: Reliability::MaxRetransmits(0),
        ..ChannelInit::default()
    }
}

fn connected(seed: u64, setting: &Setting) -> (Call, ChannelId) {
    let (mut call, channel) = Call::with_channel(seed, setting, like_media());
    let open = |call: &Call| call.peer(1).channel_state(channel) == Some(ReadyState::Open);
    assert!(call.run_until(Duration::from_secs(5), open));
    (call, channel)
}

/// A fifth of the seeds of a run: there are many translators.
fn some_seeds() -> Vec<u64> {
    let all = seeds();
    let count = all.len().div_ceil(5);
    all.into_iter().take(count).collect()
}

/// Both sides send for a while; answers the longest time in which either heard nothing.
fn talk(call: &mut Call, channel: ChannelId, time: Duration) -> Duration {
    let mut last = [call.world.elapsed(); 2];
    let mut longest = Duration::ZERO;
    let end = call.world.elapsed() + time;
    while call.world.elapsed() < end {
        for index in 0..2 {
            let sent = call.with(index, |peer, now| peer.send_text(now, channel, "tick"));
            sent.unwrap();
        }
        call.run_for(INTERVAL);
        let now = call.world.elapsed();
        for (index, last) in last.iter_mut().enumerate() {
            if !call.take_messages(index).is_empty() {
                *last = now;
            }
            longest = longest.max(now - *last);
        }
    }
    longest
}

/// The translator of one side is restarted: its ports are others now.
fn rebind(call: &mut Call, who: usize) {
    let site = call.sites[who];
    call.world.site(site).nat.as_mut().unwrap().forget();
}

fn rebind_during_a_call(setting: &Setting, seed: u64, who: usize) -> (Duration, Call) {
    let (mut call, channel) = connected(seed, setting);
    talk(&mut call, channel, Duration::from_secs(3));
    rebind(&mut call, who);
    let longest = talk(&mut call, channel, Duration::from_secs(5));
    for index in 0..2 {
        let state = call.peer(index).connection_state();
        assert_eq!(state, ConnectionState::Connected, "{}", call.explain());
    }
    (longest, call)
}

/// The pairs of translators, by what a rebinding takes: checks alone, another reflexive address,
/// another allocation.
const NATS: [[Option<NatConfig>; 2]; 5] = [
    [Some(NatConfig::PORT_RESTRICTED), None],
    [Some(NatConfig::SYMMETRIC), None],
    [Some(NatConfig::FULL_CONE), Some(NatConfig::SYMMETRIC)],
    [Some(NatConfig::PORT_RESTRICTED); 2],
    [Some(NatConfig::SYMMETRIC); 2],
];

fn behind(nats: [Option<NatConfig>; 2]) -> Setting {
    Setting {
        nats,
        stun: true,
        turn: &[RelayProtocol::Udp],
        ..Setting::default()
    }
}

/// Quiet is noticed after 200 ms, and 200 ms later the reflexive address and the allocation are
/// asked for anew; then come signaling, and up to four round trips to the relay and the peer.
#[test]
fn a_call_survives_a_translator_that_forgets_it() {
    let mut slowest = Vec::new();
    for nats in NATS {
        for seed in some_seeds() {
            for who in (0..2).filter(|who| nats[*who].is_some()) {
                let (longest, call) = rebind_during_a_call(&behind(nats), seed, who);
                slowest.push((longest, format!("{nats:?}, side {who}, seed {seed}")));
                let last = slowest.last().unwrap();
                let limit = Duration::from_secs(1);
                assert!(longest < limit, "{last:?} {}", call.explain());
            }
        }
    }
}

#[test]
fn a_call_through_relays_alone_gets_others() {
    for policy in [
        [IceTransportPolicy::Relay, IceTransportPolicy::All],
        [IceTransportPolicy::Relay; 2],
    ] {
        let relay = |config: &mut twocan_proto::peer::Config| {
            config.ice_transport_policy = IceTransportPolicy::Relay;
        };
        let setting = Setting {
            adjust: if policy[1] == IceTransportPolicy::Relay {
                relay
            } else {
                |_| {}
            },
            adjust_callee: if policy[0] == IceTransportPolicy::Relay {
                relay
            } else {
                |_| {}
            },
            ..behind([Some(NatConfig::PORT_RESTRICTED); 2])
        };
        for seed in some_seeds() {
            for who in 0..2 {
                let (longest, call) = rebind_during_a_call(&setting, seed, who);
                let limit = Duration::from_secs(1);
                let counters = call.explain();
                assert!(
                    longest < limit,
                    "{who}, seed {seed}: {longest:?} {counters}"
                );
            }
        }
    }
}

#[test]
fn a_call_survives_it_under_loss() {
    for nats in NATS {
        let setting = Setting {
            link: LinkConfig {
                loss: Loss::Independent { per_mille: 26 },
                ..LinkConfig::default()
            },
            ..behind(nats)
        };
        for seed in some_seeds() {
            let (longest, call) = rebind_during_a_call(&setting, seed, 0);
            // Of a message that is lost, the next question comes after twice the time.
            let limit = Duration::from_secs(3);
            let counters = call.explain();
            assert!(
                longest < limit,
                "{nats:?}, seed {seed}: {longest:?} {counters}"
            );
        }
    }
}

#[test]
fn a_translator_may_forget_again_and_again() {
    for nats in [
        [Some(NatConfig::PORT_RESTRICTED); 2],
        [Some(NatConfig::SYMMETRIC); 2],
    ] {
        let (mut call, channel) = connected(1, &behind(nats));
        let mut candidates = Vec::new();
        for round in 0..12 {
            rebind(&mut call, round % 2);
            let longest = talk(&mut call, channel, Duration::from_secs(15));
            let limit = Duration::from_secs(1);
            let counters = call.explain();
            assert!(longest < limit, "{nats:?}, {round}: {longest:?} {counters}");
            candidates.push(call.peer(0).local_candidates().len());
        }
        // Addresses that are gone are not kept.
        let left = call.peer(0).local_candidates();
        assert!(
            candidates[11] <= candidates[1] + 1,
            "{candidates:?} {left:?}"
        );
    }
}

#[test]
fn quiet_that_is_no_loss_costs_a_check_and_moves_nothing() {
    let (mut call, channel) = connected(1, &behind([Some(NatConfig::PORT_RESTRICTED); 2]));
    talk(&mut call, channel, Duration::from_secs(5));
    let routes = [0, 1].map(|index| call.peer(index).route());
    for _ in 0..20 {
        talk(&mut call, channel, Duration::from_millis(500));
        call.run_for(Duration::from_secs(3));
    }
    assert_eq!([0, 1].map(|index| call.peer(index).route()), routes);
    for index in 0..2 {
        let counters = call.peer(index).counters();
        assert_eq!(counters.get("ice.peer_moved"), 0, "{}", call.explain());
        assert_eq!(counters.get("peer.relay_lost"), 0, "{}", call.explain());
    }
}

/// Shorter than consent (RFC 7675): nobody has to do anything.
#[test]
fn a_host_that_slept_for_twenty_seconds_goes_on() {
    for nats in NATS {
        for seed in some_seeds() {
            let (mut call, channel) = connected(seed, &behind(nats));
            talk(&mut call, channel, Duration::from_secs(1));
            call.world.suspend(call.hosts[0], Duration::from_secs(20));
            call.run_for(Duration::from_secs(20));
            let longest = talk(&mut call, channel, Duration::from_secs(3));
            let limit = Duration::from_secs(1);
            let counters = call.explain();
            assert!(
                longest < limit,
                "{nats:?}, seed {seed}: {longest:?} {counters}"
            );
            assert!(call.is_connected(), "{nats:?}, seed {seed} {counters}");
        }
    }
}

/// Longer than consent: ICE has failed for who was awake, and a restart brings the same connection
/// back, with what was sent meanwhile.
#[test]
fn a_host_that_slept_for_a_minute_goes_on_after_a_restart() {
    for nats in NATS {
        for seed in some_seeds() {
            let name = format!("{nats:?}, seed {seed}");
            let setting = behind(nats);
            let (mut call, channel) = Call::with_channel(seed, &setting, ChannelInit::default());
            call.run_for(Duration::from_secs(1));
            call.world.suspend(call.hosts[0], Duration::from_secs(60));
            let sent = call.with(1, |peer, now| peer.send_text(now, channel, "meanwhile"));
            sent.unwrap();
            call.run_for(Duration::from_secs(59));
            let state = call.peer(1).connection_state();
            assert_eq!(state, ConnectionState::Failed, "{name} {}", call.explain());
            call.run_for(Duration::from_secs(1));
            let woken_at = call.world.elapsed();
            call.with(0, |peer, _| peer.restart_ice());
            call.offer(0);
            // Signaling both ways takes 60 ms; the allocation may have to be made anew.
            let connected = call.run_until(Duration::from_secs(1), Call::is_connected);
            let counters = call.explain();
            assert!(connected, "{name} {counters}");
            while call.take_messages(0).is_empty() {
                call.run_for(INTERVAL);
                let took = call.world.elapsed() - woken_at;
                assert!(took < Duration::from_secs(1), "{name}: {took:?} {counters}");
            }
        }
    }
}
