//! Addresses that servers and settings tell.

use super::*;

#[test]
fn a_server_reflexive_address_becomes_a_candidate_and_a_silent_server_ends_gathering() {
    use twocan_wire::stun::{Attribute, Builder, Class, Message, Method};
    let mut net = Net::new(9, [Role::Controlling, Role::Controlled]);
    let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
    let silent: SocketAddr = "192.0.2.2:3478".parse().unwrap();
    let agent = &mut net.agents[0];
    agent.add_stun_server(net.now, server);
    agent.add_stun_server(net.now, silent);
    agent.add_base(net.now, path(0, 0));
    agent.end_of_bases(net.now);
    assert_eq!(agent.gathering_state(), GatheringState::Gathering);
    let request = std::iter::from_fn(|| agent.poll_transmit())
        .find(|transmit| transmit.route.remote == server)
        .unwrap();
    let transaction = Message::parse(&request.bytes).unwrap().transaction;
    let mapped: SocketAddr = "198.51.100.7:61000".parse().unwrap();
    let mut answer = Vec::new();
    let mut builder = Builder::new(&mut answer, Class::Success, Method::BINDING, transaction);
    builder.attribute(Attribute::XorMappedAddress(mapped));
    builder.finish();
    agent.handle_stun(net.now, path(0, 0), silent, &answer);
    assert_eq!(agent.counters().get("ice.response_from_elsewhere"), 1);
    agent.handle_stun(net.now, path(0, 0), server, &answer);
    let candidate = agent.local_candidates().last().unwrap().clone();
    assert_eq!(
        (candidate.kind, candidate.address),
        (Kind::ServerReflexive, mapped)
    );
    assert_eq!(candidate.related, Some(path(0, 0).local));
    assert_eq!(candidate.server, Some(server));
    net.run_until(Duration::from_secs(60), |agents| {
        agents[0].gathering_state() == GatheringState::Complete
    });
    assert_eq!(net.agents[0].gathering_state(), GatheringState::Complete);
    assert_eq!(net.agents[0].counters().get("ice.stun_server_silent"), 1);
    assert!(net.events[0].contains(&Event::ServerFailed {
        local: path(0, 0).local,
        server: silent,
        refusal: None,
    }));
}

#[test]
fn a_host_behind_a_static_translator_tells_its_other_address() {
    let now = start();
    let (local, server) = (path(0, 0), "192.0.2.1:3478".parse().unwrap());
    let other: SocketAddr = "203.0.113.7:4000".parse().unwrap();
    let config = Config {
        external_addresses: vec![(local.local.ip(), other.ip())],
        ..Config::default()
    };
    let mut agent = Agent::new(config, Role::Controlled, Random::new([1; 32]));
    agent.add_base(now, local);
    // What a STUN server sees is nothing new then.
    agent.add_reflexive(now, local, other, server);
    let told = |agent: &Agent| -> Vec<(Kind, SocketAddr)> {
        let locals = agent.local_candidates().iter();
        locals.map(|own| (own.kind, own.address)).collect()
    };
    assert_eq!(told(&agent), [(Kind::Host, other)]);
    agent.remove_base(now, local);
    assert_eq!(told(&agent), []);
}
