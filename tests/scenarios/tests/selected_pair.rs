//! What a connection says of the pair that its data takes, as `RTCIceTransport` does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::channel::ChannelInit;
use twocan_proto::ice::{Kind, RelayProtocol};
use twocan_proto::peer::{Event, IceTransportState, Interfaces};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::NatConfig;
use twocan_wire::candidate::{Candidate, CandidateKind};

fn behind_translators(kinds: [Option<NatConfig>; 2]) -> Setting {
    Setting {
        nats: kinds,
        stun: true,
        ..Setting::default()
    }
}

/// Both candidates of a side's pair.
fn pair(call: &Call, index: usize) -> Option<[Candidate; 2]> {
    let pair = call.peer(index).selected_candidate_pair()?;
    let parsed = |line: &str| Candidate::parse(line).unwrap();
    Some([
        parsed(&pair.local.candidate),
        parsed(&pair.remote.candidate),
    ])
}

fn is_at(one: &Candidate, other: &Candidate) -> bool {
    (&one.address, one.port) == (&other.address, other.port)
}

/// How often a side was told of another pair.
fn told(call: &Call, index: usize) -> usize {
    let events = call.events[index].iter();
    let own = events.filter(|event| matches!(event, Event::SelectedCandidatePair));
    own.count()
}

fn connected(seed: u64, setting: &Setting) -> Call {
    let (mut call, _) = Call::with_channel(seed, setting, ChannelInit::default());
    let is_connected = call.run_until(Duration::from_secs(10), Call::is_connected);
    assert!(is_connected, "seed {seed}: {}", call.explain());
    call.run_for(Duration::from_secs(1));
    call
}

#[test]
fn what_one_side_has_as_local_the_other_has_as_remote() {
    let nat = Some(NatConfig::PORT_RESTRICTED);
    for seed in seeds() {
        for nats in [[None, None], [nat, None], [nat, nat]] {
            let call = connected(seed, &behind_translators(nats));
            let both = [0, 1].map(|index| pair(&call, index).unwrap());
            for (index, [local, remote]) in both.iter().enumerate() {
                let [theirs, ours] = &both[1 - index];
                assert!(is_at(local, ours), "seed {seed}: {local} {ours}");
                assert!(is_at(remote, theirs), "seed {seed}: {remote} {theirs}");
                // Nobody sees the address that a host has behind its translator.
                let is_host = local.kind == CandidateKind::Host;
                assert_eq!(is_host, nats[index].is_none(), "seed {seed}: {local}");
                let changes = call.peer(index).selected_candidate_pair_changes();
                assert!(changes > 0 && changes == told(&call, index) as u64);
            }
        }
    }
}

#[test]
fn no_pair_is_told_of_before_there_is_one_and_after_all_are_lost() {
    let mut call = Call::new(1, &Setting::default());
    call.with(0, |peer, _| {
        peer.create_data_channel(ChannelInit::default())
    })
    .unwrap();
    assert_eq!((pair(&call, 0), told(&call, 0)), (None, 0));
    call.offer(0);
    assert!(call.run_until(Duration::from_secs(10), Call::is_connected));
    call.run_for(Duration::from_secs(1));
    let before = told(&call, 0);
    let gone = vec![call.world.ip(call.hosts[1])];
    call.with(1, |peer, now| {
        peer.handle_interfaces(
            now,
            &Interfaces {
                added: Vec::new(),
                removed: gone,
            },
        );
    });
    let is_failed = |call: &Call| call.peer(0).ice_transport_state() == IceTransportState::Failed;
    assert!(call.run_until(Duration::from_secs(60), is_failed));
    assert_eq!((pair(&call, 0), told(&call, 0)), (None, before + 1));
    call.with(0, |peer, now| peer.close(now));
    assert_eq!(
        call.peer(0).ice_transport_state(),
        IceTransportState::Closed
    );
}

#[test]
fn a_restart_keeps_the_pair_until_there_is_another() {
    for seed in seeds() {
        let mut call = connected(seed, &Setting::default());
        let (before, told_before) = (pair(&call, 0).unwrap(), told(&call, 0));
        let fragment = call
            .peer(0)
            .local_ice_parameters()
            .unwrap()
            .username_fragment;
        call.with(0, |peer, _| peer.restart_ice());
        call.offer(0);
        let is_told = |call: &Call| told(call, 0) > told_before;
        let mut rounds = 0;
        while !is_told(&call) {
            assert_eq!(pair(&call, 0).as_ref(), Some(&before), "seed {seed}");
            call.run_for(Duration::from_millis(1));
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: {}", call.explain());
        }
        let pair = call.peer(0).selected_candidate_pair().unwrap();
        assert_ne!(pair.local.username_fragment, fragment, "seed {seed}");
        let theirs = call.peer(1).local_ice_parameters().unwrap();
        assert_eq!(
            pair.remote.username_fragment,
            Some(theirs.username_fragment)
        );
    }
}

#[test]
fn a_host_that_moves_has_another_pair() {
    for seed in seeds() {
        let mut call = connected(seed, &Setting::default());
        let before = pair(&call, 0).unwrap();
        let told_before = told(&call, 0);
        let old = call.world.ip(call.hosts[0]);
        let IpAddr::V4(v4) = old else {
            unreachable!("the world has IPv4")
        };
        let [a, b, c, _] = v4.octets();
        let change = Interfaces {
            added: vec![IpAddr::from([a, b, c, 200])],
            removed: vec![old],
        };
        call.with(0, |peer, now| peer.handle_interfaces(now, &change));
        let has_moved =
            |call: &Call| pair(call, 0).is_some_and(|[local, _]| !is_at(&local, &before[0]));
        let moved = call.run_until(Duration::from_secs(10), has_moved);
        assert!(moved, "seed {seed}: {}", call.explain());
        assert!(told(&call, 0) > told_before, "seed {seed}");
    }
}

#[test]
fn a_relayed_candidate_says_by_which_server() {
    let setting = Setting {
        nats: [Some(NatConfig::SYMMETRIC), Some(NatConfig::SYMMETRIC)],
        stun: true,
        turn: &[RelayProtocol::Udp],
        ..Setting::default()
    };
    let call = connected(1, &setting);
    let pairs = [0, 1].map(|index| call.peer(index).selected_candidate_pair().unwrap());
    let is_relayed = |line: &str| Candidate::parse(line).unwrap().kind == CandidateKind::Relay;
    let own = pairs.iter().filter(|own| is_relayed(&own.local.candidate));
    let own: Vec<_> = own.collect();
    assert!(!own.is_empty(), "{pairs:?}");
    for pair in own {
        assert_eq!(pair.local.relay_protocol, Some(RelayProtocol::Udp));
        assert!(
            pair.local
                .url
                .as_ref()
                .is_some_and(|url| url.starts_with("turn:"))
        );
    }
    for index in 0..2 {
        let told = call.peer(index).told_candidates();
        let listed = call.peer(1 - index).remote_candidates();
        let lines = |all: Vec<String>| {
            let mut all = all;
            all.sort();
            all
        };
        let told = lines(told.into_iter().map(|own| own.candidate).collect());
        let listed = lines(listed.into_iter().map(|own| own.candidate).collect());
        assert_eq!(told, listed);
        let gathered = call.peer(index).local_candidates();
        assert!(gathered.iter().any(|own| own.kind == Kind::Relayed));
    }
}
