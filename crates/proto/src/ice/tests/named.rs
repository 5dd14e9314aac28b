use super::*;

const RELAYED: &str = "192.0.2.2:50000";

fn host(address: &str) -> Candidate {
    Candidate {
        kind: Kind::Host,
        address: address.parse().unwrap(),
        tcp: None,
        related: None,
        priority: 2_122_262_783,
        foundation: "1".to_owned(),
        server: None,
    }
}

/// An agent with a socket and a relay that has credentials of a peer.
fn agent(config: Config) -> Agent {
    let now = start();
    let mut agent = Agent::new(config, Role::Controlling, Random::new([1; 32]));
    agent.add_base(now, path(0, 0));
    let relayed = RELAYED.parse().unwrap();
    let lent = Path {
        socket: SocketId(9),
        local: relayed,
    };
    let server = "192.0.2.2:3478".parse().unwrap();
    agent.add_relay(now, lent, None, RelayProtocol::Udp, server);
    let peer = Credentials::random(&mut Random::new([2; 32]));
    agent.set_remote(now, peer, false);
    agent
}

/// From where candidates of the peer's are checked.
fn bases(agent: &Agent, remote: &str) -> Vec<String> {
    let remote: SocketAddr = remote.parse().unwrap();
    let pairs = agent.pairs();
    let from = pairs.filter(|(_, candidate, ..)| candidate.address == remote);
    let mut from: Vec<String> = from.map(|(local, ..)| local.to_string()).collect();
    from.sort();
    from
}

#[test]
fn a_relay_is_asked_for_no_address_that_the_peer_hides_until_it_tells_it() {
    let mut agent = agent(Config::default());
    let (ours, theirs) = (path(0, 0).local.to_string(), "10.0.1.1:4000");
    agent.add_named_candidate(start(), host(theirs));
    assert_eq!(bases(&agent, theirs), [ours.as_str()]);
    // A relay that comes later hears of it no more.
    let later = Path {
        socket: SocketId(10),
        local: "192.0.2.2:50001".parse().unwrap(),
    };
    let server = "192.0.2.2:3478".parse().unwrap();
    agent.add_relay(start(), later, None, RelayProtocol::Udp, server);
    assert_eq!(bases(&agent, theirs), [ours.as_str()]);
    agent.add_remote_candidate(start(), host("10.0.1.1:4001"));
    let all = [&ours, RELAYED, "192.0.2.2:50001"];
    assert_eq!(bases(&agent, "10.0.1.1:4001"), all, "another port is told");
    agent.add_remote_candidate(start(), host(theirs));
    assert_eq!(bases(&agent, theirs), all);
    // What was told stays told.
    agent.add_named_candidate(start(), host("10.0.1.1:4001"));
    assert_eq!(bases(&agent, "10.0.1.1:4001"), all);
}

#[test]
fn what_a_server_sees_is_told_even_if_it_is_the_address_that_is_hidden() {
    for hide_host_addresses in [false, true] {
        let config = Config {
            hide_host_addresses,
            ..Config::default()
        };
        let mut agent = agent(config);
        let local = path(0, 0).local;
        let server = "192.0.2.1:3478".parse().unwrap();
        for _ in 0..2 {
            agent.add_reflexive(start(), path(0, 0), local, server);
        }
        let kinds = agent.local_candidates().iter();
        let there = kinds.filter(|own| own.address == local);
        let kinds: Vec<Kind> = there.map(|own| own.kind).collect();
        let expected: &[Kind] = match hide_host_addresses {
            false => &[Kind::Host],
            true => &[Kind::Host, Kind::ServerReflexive],
        };
        assert_eq!(kinds, expected);
    }
}
