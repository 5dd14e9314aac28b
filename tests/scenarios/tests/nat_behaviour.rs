//! Every kind of translator is named by what it does (RFC 5780).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use twocan_proto::contract::{Batch, Datagram, Output, SocketId, StreamEvent};
use twocan_proto::nat_behaviour::{self, NatBehaviour, NatDiscovery, Untold};
use twocan_proto::random::Random;
use twocan_proto::stun_server::Discovery;
use twocan_proto::time::Now;
use twocan_scenarios::seeds;
use twocan_sim::{Behaviour, LinkConfig, Loss, NatConfig, Node, World};

/// The machine, once its host's address is known.
#[derive(Default)]
struct Probe(Option<NatDiscovery>);

impl Node for Probe {
    type Event = NatBehaviour;

    fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        if let Some(machine) = &mut self.0 {
            machine.handle_bound(now, socket, local);
        }
    }

    fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        if let Some(machine) = &mut self.0 {
            machine.handle_datagram(now, datagram);
        }
    }

    fn handle_stream(&mut self, _now: Now, _socket: SocketId, _event: StreamEvent<'_>) {}

    fn handle_timeout(&mut self, now: Now) {
        if let Some(machine) = &mut self.0 {
            machine.handle_timeout(now);
        }
    }

    fn handle_resolved(&mut self, _now: Now, _name: &str, _addresses: &[IpAddr]) {}

    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<NatBehaviour> {
        match &mut self.0 {
            Some(machine) => machine.poll_output(now, batch),
            None => Output::Wait(None),
        }
    }
}

const ALL: [Behaviour; 3] = [
    Behaviour::EndpointIndependent,
    Behaviour::AddressDependent,
    Behaviour::AddressAndPortDependent,
];

fn named(behaviour: Behaviour) -> nat_behaviour::Behaviour {
    match behaviour {
        Behaviour::EndpointIndependent => nat_behaviour::Behaviour::EndpointIndependent,
        Behaviour::AddressDependent => nat_behaviour::Behaviour::AddressDependent,
        Behaviour::AddressAndPortDependent => nat_behaviour::Behaviour::AddressAndPortDependent,
    }
}

/// What is found out behind `nat`, with a server of two addresses or one.
fn found(seed: u64, nat: Option<NatConfig>, loss: Loss, has_two: bool) -> NatBehaviour {
    let mut world = World::new(seed);
    let link = LinkConfig {
        delay: Duration::from_millis(20),
        loss,
        ..LinkConfig::default()
    };
    let site = world.add_site(nat, link, link);
    let host = world.add_host(site, Probe::default());
    let server = if has_two {
        let primary = SocketAddr::from(([192, 0, 2, 10], 3478));
        let other = SocketAddr::from(([192, 0, 2, 11], 3479));
        world.add_discovery_server(Discovery::new(primary, other).unwrap())
    } else {
        world.add_stun_server()
    };
    let ip = world.ip(host);
    let mut own = [0; 32];
    own[..8].copy_from_slice(&seed.to_le_bytes());
    world.with(host, |node, _| {
        node.0 = Some(NatDiscovery::new(server, ip, Random::new(own)));
    });
    let is_over = world.run_until(Duration::from_secs(40), |world| world.has_events());
    assert!(is_over, "seed {seed}: no report");
    let (_, report) = world.take_events().remove(0);
    report
}

#[test]
fn each_kind_of_translator_is_named_by_its_mapping_and_its_filtering() {
    for loss in [Loss::None, Loss::Independent { per_mille: 20 }] {
        for mapping in ALL {
            for filtering in ALL {
                let nat = NatConfig {
                    mapping,
                    filtering,
                    ..NatConfig::FULL_CONE
                };
                for seed in seeds() {
                    let report = found(seed, Some(nat), loss, true);
                    let said = format!("seed {seed}, {loss:?}, {nat:?}: {report:?}");
                    assert_eq!(report.is_translated(), Some(true), "{said}");
                    assert_eq!(report.mapping, Ok(named(mapping)), "{said}");
                    assert_eq!(report.filtering, Ok(named(filtering)), "{said}");
                }
            }
        }
    }
}

#[test]
fn without_a_translator_it_says_so_and_where_udp_is_blocked_that_nothing_came_back() {
    for seed in seeds() {
        let open = found(seed, None, Loss::None, true);
        assert_eq!(open.is_translated(), Some(false));
        let nothing = nat_behaviour::Behaviour::EndpointIndependent;
        assert_eq!((open.mapping, open.filtering), (Ok(nothing), Ok(nothing)));
        let blocked = found(seed, Some(NatConfig::BLOCKED), Loss::None, true);
        assert_eq!(blocked.is_translated(), None);
        assert_eq!(blocked.mapping, Err(Untold::NoAnswer));
        let one = found(seed, Some(NatConfig::SYMMETRIC), Loss::None, false);
        assert_eq!(one.is_translated(), Some(true));
        assert_eq!(one.mapping, Err(Untold::NoOtherAddress));
        assert_eq!(one.filtering, Err(Untold::NoOtherAddress));
    }
}
