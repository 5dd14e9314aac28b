//! Hosts that tell names in place of their addresses, which multicast DNS resolves in their own
//! network (draft-ietf-mmusic-mdns-ice-candidates).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::channel::ChannelInit;
use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::{Config, Event, Interfaces};
use twocan_scenarios::{Call, Place, Setting, seeds};
use twocan_sim::NatConfig;

const UDP: &[RelayProtocol] = &[RelayProtocol::Udp];

fn hide(config: &mut Config) {
    config.ice.hide_host_addresses = true;
}

/// All that a side has told the other, descriptions as they are now.
fn told(call: &Call, index: usize) -> Vec<String> {
    let events = call.events[index].iter();
    let candidates = events.filter_map(|event| match event {
        Event::IceCandidate(candidate) => Some(candidate.candidate.clone()),
        _ => None,
    });
    let description = call.peer(index).local_description().unwrap();
    candidates.chain([description.sdp]).collect()
}

fn tells(call: &Call, index: usize, ip: IpAddr) -> bool {
    let ip = ip.to_string();
    let is_it = |word: &str| word == ip;
    told(call, index)
        .iter()
        .any(|text| text.split([' ', '\r', '\n']).any(is_it))
}

fn show(config: &mut Config) {
    config.ice.hide_host_addresses = false;
}

fn connect(seed: u64, setting: &Setting) -> Call {
    let (mut call, _) = Call::with_channel(seed, setting, ChannelInit::default());
    // The better pairs as well.
    call.run_for(Duration::from_secs(2));
    call
}

fn name_of(call: &Call, index: usize) -> String {
    let names = call.world.announced_by(call.hosts[index]);
    let [(name, ip)] = names[..] else {
        unreachable!("{names:?}")
    };
    assert_eq!(ip, call.world.ip(call.hosts[index]));
    name.to_owned()
}

#[test]
fn in_one_network_they_meet_at_addresses_that_are_not_told() {
    // With both hidden the names alone lead there.
    let ways: [fn(&mut Config); 2] = [show, hide];
    for (caller, callee) in [(1, 1), (1, 0), (0, 1)] {
        let setting = Setting {
            place: Place::OneSite,
            adjust: ways[caller],
            adjust_callee: ways[callee],
            ..Setting::default()
        };
        for seed in seeds() {
            let call = connect(seed, &setting);
            for (index, hides) in [(0, caller == 1), (1, callee == 1)] {
                let host = call.hosts[index];
                let ip = call.world.ip(host);
                let route = call.peer(index).route().unwrap();
                assert_eq!(route.path.local.ip(), ip, "seed {seed}");
                assert_eq!(tells(&call, index, ip), !hides, "seed {seed}");
                if !hides {
                    assert_eq!(call.world.announced_by(host), []);
                    continue;
                }
                let name = name_of(&call, index);
                let told = told(&call, index);
                let count = told.iter().filter(|text| text.contains(&name)).count();
                assert!(count >= 3, "by UDP, by TCP, and described: {told:?}");
            }
        }
    }
}

#[test]
fn far_away_they_meet_at_what_servers_see_of_them() {
    for nat in [None, Some(NatConfig::PORT_RESTRICTED)] {
        let setting = Setting {
            nats: [nat; 2],
            stun: true,
            turn: UDP,
            adjust: hide,
            ..Setting::default()
        };
        for seed in seeds() {
            let call = connect(seed, &setting);
            for index in 0..2 {
                let ip = call.world.ip(call.hosts[index]);
                // Without a translator it is no secret.
                assert_eq!(tells(&call, index, ip), nat.is_none(), "seed {seed}");
                let route = call.peer(index).route().unwrap();
                assert_eq!(route.path.local.ip(), ip, "no relay, seed {seed}");
                let told = told(&call, index);
                let related = told.iter().filter(|text| text.contains(" raddr "));
                let related: Vec<_> = related.collect();
                let mut candidates = related.iter().flat_map(|text| text.lines());
                let untold = " raddr 0.0.0.0 rport 9";
                let is_shown = |line: &str| line.contains(" raddr ") && !line.contains(untold);
                assert!(!candidates.any(is_shown), "{related:?}");
                let is_of = |kind| related.iter().any(|text| text.contains(kind));
                assert!(is_of(" typ srflx ") && is_of(" typ relay "), "{related:?}");
            }
        }
    }
}

#[test]
fn relays_hear_of_no_address_that_is_hidden() {
    for (adjust, is_paired) in [(hide as fn(&mut Config), false), (show, true)] {
        let setting = Setting {
            place: Place::OneSite,
            nats: [Some(NatConfig::PORT_RESTRICTED), None],
            turn: UDP,
            adjust,
            adjust_callee: hide,
            ..Setting::default()
        };
        for seed in seeds() {
            let call = connect(seed, &setting);
            // The callee, to which the caller is told before it checks.
            let own = call.world.ip(call.hosts[1]);
            let other = call.world.ip(call.hosts[0]);
            let to = |ip: IpAddr| {
                let pairs = call.peer(1).candidate_pairs();
                let of_relay = pairs.filter(|(local, ..)| local.ip() != own);
                let there = of_relay.filter(|(_, remote, ..)| remote.address.ip() == ip);
                there.count()
            };
            let relay = "192.0.2.2".parse().unwrap();
            assert!(to(relay) > 0, "seed {seed} {}", call.explain());
            assert_eq!(to(other) > 0, is_paired, "seed {seed} {}", call.explain());
        }
    }
}

#[test]
fn a_name_lasts_as_long_as_the_address() {
    let setting = Setting {
        place: Place::OneSite,
        adjust: hide,
        ..Setting::default()
    };
    for seed in seeds() {
        let mut call = connect(seed, &setting);
        let (name, old) = (name_of(&call, 0), call.world.ip(call.hosts[0]));
        // Another generation has the same.
        call.with(0, |peer, _| peer.restart_ice());
        call.offer(0);
        call.run_for(Duration::from_secs(1));
        assert_eq!(name_of(&call, 0), name, "seed {seed}");
        let other: IpAddr = "10.0.0.200".parse().unwrap();
        let move_to = Interfaces {
            added: vec![other],
            removed: vec![old],
        };
        call.with(0, |peer, now| peer.handle_interfaces(now, &move_to));
        call.run_for(Duration::from_secs(1));
        let names = call.world.announced_by(call.hosts[0]);
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(names[0].0 != name && names[0].1 == other, "{names:?}");
        call.with(0, |peer, now| peer.close(now));
        call.run_for(Duration::from_secs(3));
        assert_eq!(call.world.announced_by(call.hosts[0]), []);
    }
}
