//! Peers that nominate in their own way, and lite ones.

use super::*;

#[test]
fn a_peer_that_nominates_with_each_check_ends_on_the_best_valid_pair() {
    for seed in 0..20 {
        let configs = [Config::default(), Config::default()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(seed, configs, roles);
        net.is_aggressive = true;
        // The best pair is late, so that others are nominated first.
        net.blocked = Some(path(1, 0).local);
        net.run_until(Duration::from_secs(1), |_| false);
        let early = net.agents[1].route().unwrap();
        assert_eq!(early.path, path(1, 1), "seed {seed}");
        net.blocked = None;
        net.run_until(Duration::from_secs(1), |_| false);
        let (selected, best) = selected(&net.agents[1]);
        assert!(selected.is_some() && selected == best, "seed {seed}");
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 0));
    }
}

#[test]
fn a_lite_agent_sends_no_checks_and_follows_the_full_one() {
    for seed in 0..20 {
        for roles in [
            [Role::Controlling, Role::Controlled],
            // The full agent errs, and is told.
            [Role::Controlled; 2],
        ] {
            let mut net = with_two_addresses(seed, [Config::default(), lite()], roles);
            net.loss_percent = 20;
            net.run_until(Duration::from_secs(20), connected);
            assert_eq!(net.states(), [State::Completed; 2], "seed {seed}");
            assert_eq!(net.agents[1].role(), Role::Controlled);
            let [theirs, ours] = [0, 1].map(|index| net.agents[index].route().unwrap());
            assert_eq!(
                (theirs.remote, theirs.path.local),
                (ours.path.local, ours.remote)
            );
            // The full agent's checks of consent keep the call alive, and nothing else.
            net.loss_percent = 0;
            net.run_until(Duration::from_secs(10), |_| false);
            net.run_until(Duration::from_secs(90), |_| false);
            assert_eq!(net.states(), [State::Completed; 2], "seed {seed}");
            let sent = net.agents[1].pairs().map(|(.., stats)| stats.requests_sent);
            assert_eq!(sent.sum::<u64>(), 0);
            net.dead = true;
            let silent_at = net.now;
            net.run_until(Duration::from_secs(60), |agents| {
                agents[1].route().is_none()
            });
            let lasted = net.now - silent_at;
            assert!(lasted <= Duration::from_secs(30), "{lasted:?}");
            assert_eq!(net.agents[1].state(), State::Failed);
        }
    }
}

#[test]
fn a_lite_agent_follows_a_peer_that_nominates_with_each_check() {
    for seed in 0..20 {
        let configs = [Config::default(), lite()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(seed, configs, roles);
        net.is_aggressive = true;
        net.blocked = Some(path(1, 0).local);
        net.run_until(Duration::from_secs(1), |_| false);
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 1));
        net.blocked = None;
        net.run_until(Duration::from_secs(1), |_| false);
        let (selected, best) = selected(&net.agents[1]);
        assert!(selected.is_some() && selected == best, "seed {seed}");
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 0));
    }
}

/// A check of the first agent's that nominates, with a number unless that is 0.
fn nomination(net: &Net, id: u8, number: u32) -> Vec<u8> {
    use twocan_wire::stun::{Attribute, Builder, Class, Method, TransactionId};
    let (theirs, ours) = (&net.agents[0].local, &net.agents[1].local);
    let username = format!("{}:{}", ours.username_fragment, theirs.username_fragment);
    let mut bytes = Vec::new();
    let id = TransactionId([id; 12]);
    let mut builder = Builder::new(&mut bytes, Class::Request, Method::BINDING, id);
    builder.attribute(Attribute::Username(&username));
    builder.attribute(Attribute::Priority(1));
    builder.attribute(Attribute::IceControlling(7));
    builder.attribute(Attribute::UseCandidate);
    if number > 0 {
        builder.attribute(Attribute::Nomination(number));
    }
    builder.finish_with_integrity(|parts| ours.key.sign(parts));
    bytes
}

#[test]
fn a_peer_of_this_host_that_checks_from_the_loopback_address_is_followed() {
    let configs = [Config::default(), lite()];
    let roles = [Role::Controlling, Role::Controlled];
    let mut net = with_two_addresses(1, configs, roles);
    let bytes = nomination(&net, 0, 0);
    let from = "127.0.0.1:5000".parse().unwrap();
    net.agents[1].handle_stun(net.now, path(1, 0), from, &bytes);
    let route = net.agents[1].route().unwrap();
    assert_eq!((route.path, route.remote), (path(1, 0), from));
    // Nobody checks such an address unasked.
    let mut full = with_two_addresses(1, [Config::default(), Config::default()], roles);
    let mut candidate = full.agents[0].local_candidates()[0].clone();
    candidate.address = from;
    full.agents[1].add_remote_candidate(full.now, candidate);
    let pairs = full.agents[1].pairs.iter();
    assert!(pairs.clone().count() > 0);
    assert_eq!(pairs.filter(|pair| pair.route.remote == from).count(), 0);
}

#[test]
fn the_last_of_numbered_nominations_counts_and_without_numbers_the_highest_priority() {
    for (numbers, expected) in [
        ([2, 1], 0),
        ([1, 2], 1),
        ([0, 0], 0),
        ([7, 0], 0),
        ([0, 7], 1),
    ] {
        let configs = [Config::default(), Config::default()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(1, configs, roles);
        // Nothing of the first agent's own nomination.
        net.agents[0].role = Role::Controlled;
        for (socket, number) in numbers.into_iter().enumerate() {
            let bytes = nomination(&net, socket as u8, number);
            let at = path(1, socket as u32);
            net.agents[1].handle_stun(net.now, at, path(0, socket as u32).local, &bytes);
        }
        net.run_until(Duration::from_millis(500), |_| false);
        let route = net.agents[1].route().unwrap();
        assert_eq!(route.path, path(1, expected), "{numbers:?}");
    }
}

#[test]
fn nominations_are_numbered_where_the_peer_asks_for_it() {
    for renominates in [false, true] {
        let mut net = Net::new(1, [Role::Controlling, Role::Controlled]);
        net.bind();
        let credentials = net.agents[1].local_credentials().clone();
        net.agents[0].set_remote(net.now, credentials, renominates);
        let credentials = net.agents[0].local_credentials().clone();
        net.agents[1].set_remote(net.now, credentials, false);
        net.trickle();
        net.run_until(Duration::from_secs(2), connected);
        let numbers = &net.numbers;
        assert_eq!(numbers.is_empty(), !renominates, "{numbers:?}");
        assert!(numbers.iter().all(|number| *number == 1), "{numbers:?}");
        assert_eq!(net.states(), [State::Completed; 2]);
    }
}
