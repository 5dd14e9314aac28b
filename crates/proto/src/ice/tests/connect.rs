//! Ways to a valid pair, and what must not get in it.

use super::*;

#[test]
fn connects_and_nominates_within_three_round_trips() {
    let mut net = ready(1);
    let took = net.run_until(Duration::from_secs(5), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    assert!(
        took <= 6 * ONE_WAY + Duration::from_millis(100),
        "took {took:?}"
    );
    for index in 0..2 {
        let route = net.agents[index].route().unwrap();
        assert_eq!(route.remote, path(1 - index, 0).local);
        assert!(net.agents[index].is_proven(route));
    }
}

#[test]
fn both_claiming_the_same_role_still_connects() {
    for roles in [[Role::Controlling; 2], [Role::Controlled; 2]] {
        for seed in 0..20 {
            let mut net = Net::new(seed, roles);
            net.bind();
            net.introduce();
            net.trickle();
            net.run_until(Duration::from_secs(5), connected);
            assert_eq!(
                net.states(),
                [State::Completed; 2],
                "seed {seed}, {roles:?}"
            );
            assert_ne!(net.agents[0].role(), net.agents[1].role());
        }
    }
}

#[test]
fn connects_under_loss() {
    for (loss_percent, limit) in [(20, 10), (40, 30)] {
        for seed in 0..100 {
            let mut net = ready(seed);
            net.loss_percent = loss_percent;
            net.run_until(Duration::from_secs(limit), |agents| {
                agents.iter().all(|agent| agent.route().is_some())
            });
            let usable = [State::Connected, State::Completed];
            let states = net.states();
            assert!(
                states.iter().all(|state| usable.contains(state)),
                "seed {seed}, {loss_percent} % loss: {states:?}"
            );
        }
    }
}

#[test]
fn a_peer_without_candidates_is_found_by_its_checks() {
    let mut net = Net::new(3, [Role::Controlling, Role::Controlled]);
    net.bind();
    // The controlled side knows nothing of the other, not even its password, when checks arrive.
    let credentials = net.agents[1].local_credentials().clone();
    net.agents[0].set_remote(net.now, credentials, false);
    let candidate = net.agents[1].local_candidates()[0].clone();
    net.agents[0].add_remote_candidate(net.now, candidate);
    net.run_until(Duration::from_millis(60), |_| false);
    assert_eq!(net.agents[1].state(), State::New);
    let credentials = net.agents[0].local_credentials().clone();
    net.agents[1].set_remote(net.now, credentials, false);
    for agent in &mut net.agents {
        agent.end_of_remote_candidates(net.now);
    }
    net.run_until(Duration::from_secs(2), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    assert_eq!(
        net.agents[1].remote_candidates()[0].kind,
        Kind::PeerReflexive
    );
}

#[test]
fn forged_and_replayed_messages_change_nothing() {
    let mut net = ready(7);
    net.run_until(Duration::from_secs(5), connected);
    let stranger: SocketAddr = "203.0.113.9:9".parse().unwrap();
    let local = path(0, 0);
    let forged = {
        let wrong = Credentials::new("someone".into(), "not the password".into());
        let mut other = Net::new(99, [Role::Controlling, Role::Controlled]);
        other.bind();
        other.agents[1].set_remote(other.now, wrong, false);
        let candidate = other.agents[0].local_candidates()[0].clone();
        other.agents[1].add_remote_candidate(other.now, candidate);
        other.agents[1].poll_transmit().unwrap().bytes
    };
    let before = net.agents[0].pairs().count();
    for _ in 0..1000 {
        net.agents[0].handle_stun(net.now, local, stranger, &forged);
    }
    assert_eq!(
        net.agents[0].counters().get("ice.request_bad_integrity"),
        1000
    );
    assert_eq!(net.agents[0].poll_transmit(), None);
    assert_eq!(net.agents[0].pairs().count(), before);
    assert!(!net.agents[0].is_proven(Route {
        path: local,
        remote: stranger
    }));
}

#[test]
fn remote_candidates_are_bounded() {
    let mut net = Net::new(8, [Role::Controlling, Role::Controlled]);
    net.bind();
    for port in 1..1000u16 {
        let candidate = Candidate {
            kind: Kind::Host,
            address: SocketAddr::new([10, 9, 9, 9].into(), port),
            tcp: None,
            related: None,
            priority: 1,
            foundation: "x".into(),
            server: None,
        };
        net.agents[0].add_remote_candidate(net.now, candidate);
    }
    assert_eq!(net.agents[0].remote_candidates().len(), 64);
    assert_eq!(
        net.agents[0]
            .counters()
            .get("ice.too_many_remote_candidates"),
        999 - 64
    );
}

#[test]
fn the_priorities_are_those_of_the_formula() {
    use super::candidate::{pair_priority, priority};
    assert_eq!(
        priority(Kind::Host, None, 65535),
        (126 << 24) + (65535 << 8) + 255
    );
    assert_eq!(pair_priority(1, 2), (1 << 32) + 4);
    assert_eq!(pair_priority(2, 1), (1 << 32) + 4 + 1);
}

/// RFC 8863 §4: an agent whose pairs have all failed, or that has none, waits for others until its
/// patience of 39.5 s is over, and fails then.
#[test]
fn with_no_pair_left_patience_lasts_and_a_late_candidate_still_connects() {
    let patience = Duration::from_millis(39_500);
    let nobody = |port| Candidate {
        kind: Kind::Host,
        address: SocketAddr::new([10, 9, 9, 9].into(), port),
        tcp: None,
        related: None,
        priority: 1,
        foundation: "x".into(),
        server: None,
    };
    for (pairs, comes_late) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut net = Net::new(9, [Role::Controlling, Role::Controlled]);
        net.bind();
        net.introduce();
        for port in 1..=pairs {
            for agent in &mut net.agents {
                agent.add_remote_candidate(net.now, nobody(port));
            }
        }
        for agent in &mut net.agents {
            agent.end_of_remote_candidates(net.now);
        }
        net.run_until(Duration::from_secs(39), |_| false);
        for agent in &net.agents {
            let states: Vec<_> = agent.pairs.iter().map(|pair| pair.state).collect();
            assert_eq!(states, vec![PairState::Failed; pairs.into()]);
        }
        assert!(!net.states().contains(&State::Failed), "{:?}", net.states());
        if comes_late {
            net.trickle();
            net.run_until(Duration::from_secs(5), connected);
            assert!(connected(&net.agents), "{:?}", net.states());
            continue;
        }
        let failed = |agents: &[Agent; 2]| agents.iter().all(|own| own.state() == State::Failed);
        let lasted = net.run_until(Duration::from_secs(10), failed);
        assert_eq!(lasted, patience);
    }
}

#[test]
fn a_relay_that_a_nat64_shows_by_another_address_is_known_as_one() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (told, seen) = (
        address("192.0.2.9:51000"),
        address("[64:ff9b::c000:209]:51000"),
    );
    let relayed = Candidate {
        kind: Kind::Relayed,
        address: told,
        tcp: None,
        related: None,
        priority: 77,
        foundation: "9".into(),
        server: None,
    };
    for told_first in [true, false] {
        let mut net = Net::new(12, [Role::Controlling, Role::Controlled]);
        let own = Path {
            local: address("[2001:db8::1]:4000"),
            ..path(0, 0)
        };
        net.agents[0].add_base(net.now, own);
        net.agents[1].add_base(net.now, path(1, 0));
        net.introduce();
        // What a server told of our address, which the peer checks.
        let reflexive = Candidate {
            kind: Kind::ServerReflexive,
            address: address("198.51.100.1:20000"),
            ..relayed.clone()
        };
        net.agents[1].add_remote_candidate(net.now, reflexive);
        net.agents[1].handle_timeout(net.now);
        let check = net.agents[1].poll_transmit().unwrap().bytes;
        if told_first {
            net.agents[0].add_remote_candidate(net.now, relayed.clone());
        }
        net.agents[0].handle_stun(net.now, own, seen, &check);
        if !told_first {
            net.agents[0].add_remote_candidate(net.now, relayed.clone());
        }
        let (_, remote, ..) = net.agents[0].pairs().next().unwrap();
        assert_eq!((remote.address, remote.kind), (seen, Kind::Relayed));
        assert_eq!(remote.priority, 77, "{told_first}");
    }
}
