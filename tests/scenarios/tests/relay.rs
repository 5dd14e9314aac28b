//! Two peers with a TURN server between them: who needs it uses it, and nobody else.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelInit, Message};
use twocan_proto::ice::RelayProtocol;
use twocan_proto::negotiate::Kind;
use twocan_proto::peer::{Event, IceTransportPolicy};
use twocan_scenarios::{Call, Place, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

/// Of all links; one way between two sites goes over two of them.
const DELAY: Duration = Duration::from_millis(10);

/// A server that is reached by datagrams, and by a stream where those are blocked.
const BOTH: &[RelayProtocol] = &[RelayProtocol::Udp, RelayProtocol::Tcp];

/// The way that data is to take in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relayed,
}

/// What is between a peer and the world.
struct Site {
    name: &'static str,
    nat: Option<NatConfig>,
    /// The translator of the network that the site is in.
    outer: Option<NatConfig>,
}

const fn site(name: &'static str, nat: Option<NatConfig>) -> Site {
    Site {
        name,
        nat,
        outer: None,
    }
}

const KINDS: [Site; 9] = [
    site("open", None),
    site("full cone", Some(NatConfig::FULL_CONE)),
    site("address-restricted", Some(NatConfig::ADDRESS_RESTRICTED)),
    site("port-restricted", Some(NatConfig::PORT_RESTRICTED)),
    // A home in the network of a carrier (RFC 6888 has endpoint-independent mapping there).
    Site {
        outer: Some(NatConfig::ADDRESS_RESTRICTED),
        ..site("double", Some(NatConfig::PORT_RESTRICTED))
    },
    site("symmetric", Some(NatConfig::SYMMETRIC)),
    site("symmetric, random ports", Some(NatConfig::SYMMETRIC_RANDOM)),
    site("UDP blocked", Some(NatConfig::BLOCKED)),
    site("TCP to 443 alone", Some(NatConfig::ONLY_TCP_443)),
];

/// Row: the caller's translator, column: the callee's, in the order of [`KINDS`].
const EXPECTED: [[Way; 9]; 9] = {
    use Way::{Direct as D, Relayed as R};
    [
        // To a host in the open, TCP goes directly, but not to any port.
        [D, D, D, D, D, D, D, D, R],
        [D, D, D, D, D, D, D, R, R],
        [D, D, D, D, D, D, D, R, R],
        [D, D, D, D, D, R, R, R, R],
        [D, D, D, D, D, R, R, R, R],
        [D, D, D, R, R, R, R, R, R],
        [D, D, D, R, R, R, R, R, R],
        [D, R, R, R, R, R, R, R, R],
        [R, R, R, R, R, R, R, R, R],
    ]
};

/// As [`BOTH`], and by a stream to port 443.
const ALL: &[RelayProtocol] = &[RelayProtocol::Udp, RelayProtocol::Tcp, RelayProtocol::Tls];

fn way(call: &Call, index: usize) -> Option<Way> {
    let route = call.peer(index).route()?;
    let relay = |ip: std::net::IpAddr| ip == std::net::IpAddr::from([192, 0, 2, 2]);
    let relayed = relay(route.path.local.ip()) || relay(route.remote.ip());
    Some(if relayed { Way::Relayed } else { Way::Direct })
}

/// A tenth of the seeds of a run: there are many cells.
fn seeds_of_a_cell() -> Vec<u64> {
    let all = seeds();
    let count = all.len().div_ceil(10);
    all.into_iter().take(count).collect()
}

/// `loss_per_mille` is of one link: one way between two sites loses nearly twice as much.
fn matrix(loss_per_mille: u32, limit: Duration) {
    let link = LinkConfig {
        delay: DELAY,
        loss: match loss_per_mille {
            0 => Loss::None,
            per_mille => Loss::Independent { per_mille },
        },
        ..LinkConfig::default()
    };
    for (caller, row) in KINDS.iter().zip(EXPECTED) {
        for (callee, expected) in KINDS.iter().zip(row) {
            let sites = [caller, callee];
            let is_for_web = |own: &Site| own.nat == Some(NatConfig::ONLY_TCP_443);
            let is_double = sites.iter().any(|own| own.outer.is_some());
            let setting = Setting {
                nats: sites.map(|own| own.nat),
                place: match is_double {
                    false => Place::Apart,
                    true => Place::Within(sites.map(|own| own.outer)),
                },
                link,
                turn: match sites.into_iter().any(is_for_web) {
                    false => BOTH,
                    true => ALL,
                },
                ..Setting::default()
            };
            let mut slowest = Duration::ZERO;
            for seed in seeds_of_a_cell() {
                let name = format!("{} and {}, seed {seed}", caller.name, callee.name);
                let mut call = Call::new(seed, &setting);
                call.with(0, |peer, _| {
                    peer.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"])
                })
                .unwrap();
                call.offer(0);
                let connected = call.run_until(limit, Call::is_connected);
                assert!(connected, "{name}: not connected, {}", call.explain());
                slowest = slowest.max(call.world.elapsed());
                // A relay may be first; the better way is found and taken.
                // Where a third is lost of all that passes two translators at each end, checks of
                // the better way may be given up before one comes through.
                let may_stay = is_double && loss_per_mille > 50;
                let settled = call.run_until(limit, |call| {
                    (0..2).all(|index| {
                        let way = way(call, index);
                        way == Some(expected) || (may_stay && way == Some(Way::Relayed))
                    })
                });
                let ways = [0, 1].map(|index| way(&call, index));
                assert!(settled, "{name}: {ways:?}, {}", call.explain());
            }
            if loss_per_mille == 0 {
                // The offer, the answer, and the callee's candidates as they come: 90 ms. Two round
                // trips to the server, three between the peers and two for DTLS: 280 ms. A check that
                // came before the other side's was sent is repeated after 50 ms or 200 ms.
                // Two more links double each round trip.
                let round_trips = if is_double { 2 * 280 } else { 280 };
                let most = Duration::from_millis(90 + round_trips + 200);
                let (one, other) = (caller.name, callee.name);
                assert!(slowest <= most, "{one} and {other}: {slowest:?}");
            }
        }
    }
}

#[test]
fn every_pair_of_translators_finds_its_way_without_loss() {
    matrix(0, Duration::from_secs(8));
}

#[test]
fn every_pair_of_translators_finds_its_way_at_five_percent_loss() {
    matrix(26, Duration::from_secs(20));
}

#[test]
fn every_pair_of_translators_finds_its_way_at_twenty_percent_loss() {
    matrix(106, Duration::from_secs(35));
}

fn relay_only() -> Setting {
    Setting {
        turn: &[RelayProtocol::Udp],
        adjust: |config| config.ice_transport_policy = IceTransportPolicy::Relay,
        ..Setting::default()
    }
}

#[test]
fn the_relay_policy_tells_no_address_of_our_own() {
    for seed in seeds() {
        let mut call = Call::new(seed, &relay_only());
        let made = call.with(0, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        });
        made.unwrap();
        call.offer(0);
        assert!(call.run_until(Duration::from_secs(8), Call::is_connected));
        for index in 0..2 {
            assert_eq!(way(&call, index), Some(Way::Relayed));
            let own = call.world.ip(call.hosts[index]).to_string();
            let description = call.peer(index).local_description().unwrap();
            assert!(!description.sdp.contains(&own), "{}", description.sdp);
            for event in &call.events[index] {
                if let Event::IceCandidate(candidate) = event {
                    assert!(!candidate.candidate.contains(&own));
                    let of_relay = candidate.candidate.is_empty()
                        || candidate.url.as_deref() == Some("turn:192.0.2.2:3478?udp");
                    assert!(of_relay, "{candidate:?}");
                }
            }
        }
    }
}

#[test]
fn a_long_call_through_a_relay_keeps_its_allocation_and_gives_it_back() {
    let (mut call, channel) = Call::with_channel(1, &relay_only(), ChannelInit::default());
    assert_eq!(call.world.turn_server().unwrap().allocation_count(), 2);
    // Three lifetimes of an allocation, six of a permission.
    for round in 0..30_u32 {
        call.run_for(Duration::from_secs(60));
        let text = round.to_string();
        call.with(0, |peer, now| peer.send_text(now, channel, text.as_str()))
            .unwrap();
        call.run_for(Duration::from_secs(1));
        assert_eq!(
            call.take_messages(1),
            [Message::Text(text)],
            "{}",
            call.explain()
        );
    }
    for index in 0..2 {
        call.with(index, |peer, now| peer.close(now));
    }
    call.run_for(Duration::from_secs(1));
    let server = call.world.turn_server().unwrap();
    assert_eq!(server.allocation_count(), 0, "{:?}", server.counters());
}

#[test]
fn a_server_that_does_not_answer_is_named_and_the_call_goes_on_without_it() {
    let setting = Setting {
        adjust: |config| {
            let servers = &mut config.turn_servers;
            servers.push(twocan_proto::peer::TurnServer {
                host: "192.0.2.99".to_owned(),
                port: 3478,
                service: None,
                protocol: RelayProtocol::Udp,
                account: twocan_proto::turn::client::Account {
                    username: "user".to_owned(),
                    password: "secret".to_owned(),
                },
                url: "turn:192.0.2.99".to_owned(),
            });
        },
        ..Setting::default()
    };
    let mut call = Call::new(1, &setting);
    call.with(0, |peer, _| {
        peer.create_data_channel(ChannelInit::default())
    })
    .unwrap();
    call.offer(0);
    assert!(call.run_until(Duration::from_secs(1), Call::is_connected));
    call.run_for(Duration::from_secs(15));
    let errors = call.events[0].iter().filter_map(|event| match event {
        Event::IceCandidateError(error) => Some((error.error_code, error.url.as_str())),
        _ => None,
    });
    assert_eq!(errors.collect::<Vec<_>>(), [(701, "turn:192.0.2.99")]);
}

/// The URL and the protocol of each relayed candidate that a peer told of.
fn relayed(call: &Call, index: usize) -> Vec<(String, Option<RelayProtocol>)> {
    let told = call.events[index].iter().filter_map(|event| match event {
        Event::IceCandidate(own) if own.candidate.contains("typ relay") => {
            Some((own.url.clone()?, own.relay_protocol))
        }
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told
}

fn gathered(setting: &Setting) -> Call {
    let mut call = Call::new(1, setting);
    let made = call.with(0, |peer, _| {
        peer.create_data_channel(ChannelInit::default())
    });
    made.unwrap();
    call.offer(0);
    assert!(call.run_until(Duration::from_secs(3), Call::is_connected));
    call.run_for(Duration::from_secs(1));
    call
}

#[test]
fn relays_of_one_server_over_two_protocols_are_told_apart() {
    const REVERSED: &[RelayProtocol] = &[RelayProtocol::Tcp, RelayProtocol::Udp];
    for turn in [BOTH, REVERSED] {
        let call = gathered(&Setting {
            turn,
            ..Setting::default()
        });
        for index in 0..2 {
            let url = |protocol: &str| format!("turn:192.0.2.2:3478?{protocol}");
            let expected = [
                (url("tcp"), Some(RelayProtocol::Tcp)),
                (url("udp"), Some(RelayProtocol::Udp)),
            ];
            assert_eq!(relayed(&call, index), expected, "{}", call.explain());
            // A client that is not connected yet takes no answer that is another's.
            let counters = call.peer(index).counters();
            assert_eq!(counters.get("turn.answer_without_request"), 0);
        }
    }
}

#[test]
fn two_urls_of_one_server_are_one_relay_and_two_users_are_two() {
    let twice = Setting {
        adjust: |config| {
            let mut again = config.turn_servers[0].clone();
            again.url = "turn:again".to_owned();
            config.turn_servers.push(again);
        },
        turn: &[RelayProtocol::Udp],
        ..Setting::default()
    };
    let call = gathered(&twice);
    assert_eq!(call.world.turn_server().unwrap().allocation_count(), 2);
    for index in 0..2 {
        let url = "turn:192.0.2.2:3478?udp".to_owned();
        let expected = [(url, Some(RelayProtocol::Udp))];
        assert_eq!(relayed(&call, index), expected, "{}", call.explain());
        let counters = call.peer(index).counters();
        assert_eq!(counters.get("peer.relay_asked_already"), 1);
    }
    // Whom the server does not know is not in the way of whom it knows.
    let stranger = Setting {
        adjust: |config| {
            let mut stranger = config.turn_servers[0].clone();
            stranger.url = "turn:stranger".to_owned();
            stranger.account.password = "guess".to_owned();
            config.turn_servers.insert(0, stranger);
        },
        ..twice
    };
    let call = gathered(&stranger);
    for index in 0..2 {
        let url = "turn:192.0.2.2:3478?udp".to_owned();
        let expected = [(url, Some(RelayProtocol::Udp))];
        assert_eq!(relayed(&call, index), expected, "{}", call.explain());
        let errors = call.events[index].iter().filter_map(|event| match event {
            Event::IceCandidateError(error) => Some((error.error_code, error.url.as_str())),
            _ => None,
        });
        assert_eq!(errors.collect::<Vec<_>>(), [(401, "turn:stranger")]);
        let counters = call.peer(index).counters();
        assert_eq!(counters.get("turn.answer_without_request"), 0);
    }
}

/// RFC 8656 §7.4: 508 is no reason to ask again at once, and none to never ask again.
#[test]
fn a_server_that_had_no_room_is_asked_again_after_a_minute() {
    let setting = Setting {
        turn: &[RelayProtocol::Udp],
        turn_total: 3,
        pairs: 2,
        ..Setting::default()
    };
    let mut call = Call::new(1, &setting);
    for index in [0, 2] {
        let made = call.with(index, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        });
        made.unwrap();
        call.offer(index);
    }
    assert!(call.run_until(Duration::from_secs(1), Call::is_connected));
    call.run_for(Duration::from_secs(130));
    let refused = |call: &Call, index: usize| {
        let errors = call.events[index].iter().filter_map(|event| match event {
            Event::IceCandidateError(error) => Some(error.error_code),
            _ => None,
        });
        errors.collect::<Vec<_>>()
    };
    let without: Vec<usize> = (0..4)
        .filter(|own| relayed(&call, *own).is_empty())
        .collect();
    let [last] = without[..] else {
        unreachable!("{without:?}, {}", call.explain());
    };
    // It was asked three times by now, and said so once.
    assert_eq!(refused(&call, last), [508], "{}", call.explain());
    assert_eq!(call.world.turn_server().unwrap().allocation_count(), 3);
    // The other call ends, which makes room.
    for index in [(last + 2) % 4, ((last + 2) % 4) ^ 1] {
        call.with(index, |peer, now| peer.close(now));
    }
    call.run_for(Duration::from_secs(30));
    assert!(relayed(&call, last).is_empty(), "not within a minute");
    call.run_for(Duration::from_secs(31));
    assert_eq!(relayed(&call, last).len(), 1, "{}", call.explain());
}
