use super::*;
use crate::turn::server::{CHANNELS_MAX, LISTENERS_MAX, Quotas};
use twocan_wire::turn::{ChannelData, channel_data_header};

const PEER: &str = "203.0.113.9:7000";

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(number).unwrap();
    let mut out = channel_data_header(number, data.len() as u16).to_vec();
    out.extend_from_slice(data);
    out
}

fn binds(lab: &Lab) -> Vec<SocketAddr> {
    let each = lab.events.iter().filter_map(|event| match event {
        Event::Bind { address, .. } => Some(*address),
        _ => None,
    });
    each.collect()
}

#[test]
fn data_goes_both_ways_by_indications_once_permitted() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    let peer = address(PEER);
    assert_eq!(lab.exchange(ann.at, &send_indication(peer, b"early")), None);
    assert_eq!(ann.permit(&mut lab, peer), None);
    assert_eq!(binds(&lab), [relayed]);
    lab.datagram(0, ann.at, &send_indication(peer, b"hello"));
    assert_eq!(
        lab.sent,
        [(SocketId(LISTENERS_MAX), peer, b"hello".to_vec())]
    );
    lab.sent.clear();
    // Another port of the same host is permitted, another host is not.
    for (from, arrives) in [
        (PEER, true),
        ("203.0.113.9:1", true),
        ("203.0.113.8:7000", false),
    ] {
        lab.sent.clear();
        lab.datagram(LISTENERS_MAX, address(from), b"answer");
        assert_eq!(lab.sent.len(), usize::from(arrives), "{from}");
        for (socket, to, bytes) in &lab.sent {
            assert_eq!((*socket, *to), (SocketId(0), ann.at));
            assert_eq!(data_indication(bytes), (address(from), b"answer".to_vec()));
        }
    }
    assert_eq!(lab.server.traffic().unwanted, 2);
    assert_eq!(lab.server.traffic().bytes_to_peers, 5);
    assert_eq!(lab.server.traffic().packets_to_clients, 2);
}

#[test]
fn channels_stand_for_one_peer_each() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let peer = address(PEER);
    let other = address("203.0.113.9:7001");
    assert_eq!(ann.bind(&mut lab, 0x4001, peer), None);
    assert_eq!(ann.bind(&mut lab, 0x4001, peer), None);
    assert_eq!(ann.bind(&mut lab, 0x4001, other), Some(400));
    assert_eq!(ann.bind(&mut lab, 0x4002, peer), Some(400));
    assert_eq!(ann.bind(&mut lab, 0x4002, other), None);
    assert_eq!(
        ann.bind(&mut lab, 0x4003, address("203.0.113.9:0")),
        Some(400)
    );
    lab.datagram(0, ann.at, &channel_data(0x4001, b"one"));
    lab.datagram(0, ann.at, &channel_data(0x4002, b"two"));
    lab.datagram(0, ann.at, &channel_data(0x4003, b"none"));
    let socket = SocketId(LISTENERS_MAX);
    assert_eq!(
        lab.sent,
        [
            (socket, peer, b"one".to_vec()),
            (socket, other, b"two".to_vec())
        ]
    );
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, other, b"back");
    let [(_, to, bytes)] = &lab.sent[..] else {
        panic!("{:?}", lab.sent)
    };
    assert_eq!(*to, ann.at);
    let read = ChannelData::parse(bytes).unwrap();
    assert_eq!((read.channel.number(), read.data), (0x4002, &b"back"[..]));
}

#[test]
fn permissions_end_after_five_minutes_and_channels_after_ten() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.ask(
        &mut lab,
        Method::ALLOCATE,
        &[UDP, Attribute::Lifetime(3600)],
    );
    let peer = address(PEER);
    assert_eq!(ann.bind(&mut lab, 0x4001, peer), None);
    let relays = |lab: &mut Lab| {
        lab.sent.clear();
        lab.datagram(0, address("192.0.2.1:5000"), &channel_data(0x4001, b"x"));
        !lab.sent.is_empty()
    };
    lab.wait(299);
    assert!(relays(&mut lab));
    lab.wait(1);
    assert!(!relays(&mut lab));
    assert_eq!(ann.permit(&mut lab, peer), None);
    assert!(relays(&mut lab));
    lab.wait(299);
    assert!(relays(&mut lab));
    ann.nonce.clear();
    assert_eq!(ann.permit(&mut lab, peer), None);
    lab.wait(1);
    assert!(!relays(&mut lab));
    // The number is free for another peer now.
    assert_eq!(ann.bind(&mut lab, 0x4001, address("203.0.113.9:1")), None);
}

#[test]
fn two_clients_meet_inside_without_a_socket() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let mut bob = Client::bob("192.0.2.2:6000");
    let (of_ann, of_bob) = (ann.allocate(&mut lab), bob.allocate(&mut lab));
    assert_eq!(ann.permit(&mut lab, of_bob), None);
    // Bob has not permitted her.
    assert_eq!(lab.exchange(ann.at, &send_indication(of_bob, b"hi")), None);
    assert_eq!(bob.bind(&mut lab, 0x4abc, of_ann), None);
    lab.sent.clear();
    lab.datagram(0, ann.at, &send_indication(of_bob, b"hi"));
    let expected = channel_data(0x4abc, b"hi");
    assert_eq!(lab.sent, [(SocketId(0), bob.at, expected)]);
    lab.sent.clear();
    lab.datagram(0, bob.at, &channel_data(0x4abc, b"ho"));
    let [(_, to, bytes)] = &lab.sent[..] else {
        panic!("{:?}", lab.sent)
    };
    assert_eq!(*to, ann.at);
    assert_eq!(data_indication(bytes), (of_bob, b"ho".to_vec()));
    assert_eq!(binds(&lab), []);
    // A port of ours on which nobody relays is not reached, whatever listens there.
    lab.sent.clear();
    for port in [3478, 8080, 80] {
        let own = SocketAddr::new(of_bob.ip(), port);
        lab.datagram(0, ann.at, &send_indication(own, b"GET /"));
    }
    assert_eq!(lab.sent, []);
}

#[test]
fn behind_an_address_translator_peers_see_the_outer_address() {
    let mut config = config();
    config.relays[0].bind = "10.0.0.5".parse().unwrap();
    let mut lab = Lab::new(config);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(relayed.ip(), address("198.51.100.1:0").ip());
    assert_eq!(ann.permit(&mut lab, address(PEER)), None);
    let bound = SocketAddr::new("10.0.0.5".parse().unwrap(), relayed.port());
    assert_eq!(binds(&lab), [bound]);
}

#[test]
fn a_port_that_cannot_be_bound_is_508_and_asked_for_again() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    lab.binds = false;
    assert_eq!(ann.permit(&mut lab, address(PEER)), Some(508));
    assert_eq!(ann.bind(&mut lab, 0x4000, address(PEER)), Some(508));
    assert_eq!(
        lab.exchange(ann.at, &send_indication(address(PEER), b"x")),
        None
    );
    lab.binds = true;
    assert_eq!(ann.bind(&mut lab, 0x4000, address(PEER)), None);
    // A peer inside needs none.
    assert_eq!(binds(&lab).len(), 3);
}

#[test]
fn what_ends_closes_its_socket_and_late_datagrams_reach_nobody() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(PEER)), None);
    lab.wait(600);
    let socket = SocketId(LISTENERS_MAX);
    assert_eq!(lab.events.last(), Some(&Event::Close { socket }));
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, address(PEER), b"late");
    // An answer about a socket that is gone changes nothing.
    lab.server
        .handle_bound(lab.now, socket, address(PEER), true);
    lab.drain();
    assert_eq!(lab.sent, []);
}

#[test]
fn bandwidth_is_of_each_allocation_and_direction() {
    let quotas = Quotas {
        bytes_per_second: 400_000,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(PEER)), None);
    let burst = |lab: &mut Lab| {
        lab.sent.clear();
        for _ in 0..200 {
            lab.datagram(0, ann.at, &send_indication(address(PEER), &[0; 1000]));
        }
        let there = lab.sent.len();
        lab.sent.clear();
        for _ in 0..200 {
            lab.datagram(LISTENERS_MAX, address(PEER), &[0; 1000]);
        }
        (there, lab.sent.len())
    };
    assert_eq!(burst(&mut lab), (100, 100));
    lab.now.monotonic += Duration::from_millis(100);
    assert_eq!(burst(&mut lab), (40, 40));
    assert_eq!(lab.server.traffic().over_quota, 200 + 320);
}

#[test]
fn bandwidth_of_a_user_is_shared_by_its_allocations_and_that_of_all_by_all() {
    let quotas = Quotas {
        bytes_per_second: 400_000,
        bytes_per_second_of_user: 600_000,
        bytes_per_second_in_all: 800_000,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let mut clients = [
        Client::ann("192.0.2.1:5000"),
        Client::ann("192.0.2.2:5000"),
        Client::bob("192.0.2.3:5000"),
    ];
    for client in &mut clients {
        client.allocate(&mut lab);
        assert_eq!(client.permit(&mut lab, address(PEER)), None);
    }
    let burst = |lab: &mut Lab, client: usize, from_peer: bool| {
        lab.sent.clear();
        for _ in 0..200 {
            if from_peer {
                let socket = LISTENERS_MAX + 2 * client as u32;
                lab.datagram(socket, address(PEER), &[0; 1000]);
            } else {
                let packet = send_indication(address(PEER), &[0; 1000]);
                lab.datagram(0, clients[client].at, &packet);
            }
        }
        lab.sent.len()
    };
    // A quarter of a second's at once: of each, of both of Ann's, of everybody.
    for from_peer in [false, true] {
        let passed = [0, 1, 2].map(|client| burst(&mut lab, client, from_peer));
        assert_eq!(passed, [100, 50, 50], "{from_peer}");
    }
    let traffic = lab.server.traffic();
    assert_eq!(traffic.over_quota, 2 * 100);
    assert_eq!(traffic.over_user_quota, 2 * 150);
    assert_eq!(traffic.over_total_quota, 2 * 150);
    // What one budget refuses is taken from no other: Bob's own is untouched by the refused.
    lab.now.monotonic += Duration::from_millis(100);
    assert_eq!(burst(&mut lab, 2, false), 80);
    // A new allocation is no new budget.
    lab.now.monotonic += Duration::from_secs(1);
    assert_eq!(burst(&mut lab, 0, false), 100);
    assert_eq!(burst(&mut lab, 1, false), 50);
    for client in &mut clients[..2] {
        let end = [Attribute::Lifetime(0)];
        assert_eq!(client.code(&mut lab, Method::REFRESH, &end), None);
        client.allocate(&mut lab);
        assert_eq!(client.permit(&mut lab, address(PEER)), None);
    }
    let packet = send_indication(address(PEER), &[0; 1000]);
    lab.sent.clear();
    lab.datagram(0, clients[0].at, &packet);
    assert_eq!(lab.sent.len(), 0);
}

#[test]
fn trains_leave_in_one_batch() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    assert_eq!(ann.bind(&mut lab, 0x4000, address(PEER)), None);
    for len in [500, 500, 500, 200, 500] {
        let mut bytes = channel_data(0x4000, &vec![1; len]);
        let datagram = Datagram {
            path: Path {
                socket: SocketId(0),
                local: address("198.51.100.1:3478"),
            },
            remote: ann.at,
            ecn: Ecn::Ect0,
            waited: Duration::ZERO,
            bytes: &mut bytes,
        };
        lab.server.handle_datagram(lab.now, datagram);
    }
    let mut batch = Batch::new();
    let mut sizes = Vec::new();
    while matches!(lab.server.poll_output(&mut batch), Output::Transmit) {
        assert_eq!(batch.destination().unwrap().ecn, Ecn::Ect0);
        sizes.push((batch.segments(), batch.segment_len()));
        batch.clear();
    }
    assert_eq!(sizes, [(4, 500), (1, 500)]);
}

#[test]
fn the_last_channel_that_there_is_room_for_can_be_renewed() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let peer = |index: usize| SocketAddr::from(([203, 0, 113, 9], 1000 + index as u16));
    let number = |index: usize| 0x4000 + index as u16;
    for index in 0..CHANNELS_MAX {
        assert_eq!(ann.bind(&mut lab, number(index), peer(index)), None);
    }
    assert_eq!(ann.bind(&mut lab, number(0), peer(0)), None);
    let more = ann.bind(&mut lab, number(CHANNELS_MAX), peer(CHANNELS_MAX));
    assert_eq!(more, Some(508));
}

#[test]
fn icmp_errors_are_told_to_who_may_send_to_the_peer() {
    use twocan_wire::stun::Icmp;
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let (peer, other) = (address("203.0.113.9:7000"), address("203.0.113.10:7000"));
    assert_eq!(ann.permit(&mut lab, peer), None);
    let told = |lab: &mut Lab, socket, from, kind| {
        lab.sent.clear();
        let icmp = Icmp {
            kind,
            code: 4,
            data: 1400,
        };
        lab.server
            .handle_icmp(lab.now, SocketId(socket), from, icmp);
        lab.drain();
        let sent = lab
            .sent
            .first()
            .map(|(_, to, bytes)| (*to, bytes.clone()))?;
        let message = Message::parse(&sent.1).unwrap();
        assert_eq!(
            (message.class, message.method),
            (Class::Indication, Method::DATA)
        );
        assert_eq!(message.peer_address(), Some(from));
        let found = find(&message, |attribute| match attribute {
            Attribute::Icmp(icmp) => Some(icmp),
            _ => None,
        });
        assert_eq!(found, Some(icmp));
        Some(sent.0)
    };
    let socket = crate::turn::server::LISTENERS_MAX;
    assert_eq!(told(&mut lab, socket, peer, 3), Some(ann.at));
    assert_eq!(told(&mut lab, socket, peer, 11), Some(ann.at));
    // An echo reply, one for another peer, one for a socket of nobody.
    assert_eq!(told(&mut lab, socket, peer, 0), None);
    assert_eq!(told(&mut lab, socket, other, 3), None);
    assert_eq!(told(&mut lab, socket + 4, peer, 3), None);
    assert_eq!(told(&mut lab, 0, peer, 3), None);
    assert_eq!(lab.server.counters().get("turn.icmp"), 2);
}
