//! A server in parts: what they share, and what they pass to each other.

use super::mobility::ticket_of;
use super::*;
use crate::turn::server::{AddressPolicy, LISTENERS_MAX, PART_SOCKET, Quotas};

const PEER: &str = "203.0.113.9:7000";

fn wide() -> Config {
    Config {
        ports: 50_000..=59_999,
        ..config()
    }
}

/// What a part has for others goes there, until nobody has anything.
fn pass(labs: &mut [Lab]) {
    loop {
        let mut passed = Vec::new();
        for lab in labs.iter_mut() {
            let ports = lab.server.relayed_ports().clone();
            lab.events.retain(|event| match event {
                Event::PassOn {
                    part,
                    path,
                    remote,
                    bytes,
                    ..
                } => {
                    passed.push((*part, *path, *remote, bytes.clone()));
                    false
                }
                _ => true,
            });
            lab.sent.retain(|(socket, to, bytes)| {
                let is_for_part = *socket == PART_SOCKET;
                if is_for_part {
                    let from = lab.sent_by.unwrap().local;
                    let path = Path {
                        socket: PART_SOCKET,
                        local: *to,
                    };
                    let part = ports.part_of(*to).expect("somebody relays there");
                    passed.push((part, path, from, bytes.clone()));
                }
                !is_for_part
            });
        }
        if passed.is_empty() {
            return;
        }
        for (part, path, remote, mut bytes) in passed {
            let lab = &mut labs[part];
            let datagram = Datagram {
                path,
                remote,
                ecn: Ecn::NotEct,
                waited: Duration::ZERO,
                bytes: &mut bytes,
            };
            match path.socket == PART_SOCKET {
                true => lab.server.handle_datagram(lab.now, datagram),
                false => lab.server.handle_passed_on(lab.now, datagram),
            }
            lab.drain();
        }
    }
}

/// Sends to one part; answers which one has answered, and what.
fn ask_by(
    labs: &mut [Lab],
    at: usize,
    client: &mut Client,
    method: Method,
    attributes: &[Attribute<'_>],
) -> (usize, Vec<u8>) {
    for lab in labs.iter_mut() {
        lab.sent.clear();
    }
    let mut answer = None;
    for is_signed in [false, true] {
        let id = labs[at].id();
        let request = match is_signed {
            false => plain(method, id, attributes),
            true => client.signed(method, id, attributes),
        };
        labs[at].datagram(0, client.at, &request);
        pass(labs);
        let mut all = labs.iter_mut().enumerate().flat_map(|(index, lab)| {
            let sent = lab.sent.drain(..);
            sent.map(move |(_, to, bytes)| (index, to, bytes))
        });
        let (index, to, bytes) = all.next().expect("an answer");
        assert!(to == client.at && all.next().is_none());
        drop(all);
        if !is_signed {
            client.nonce = nonce_of(&bytes);
        }
        answer = Some((index, bytes));
    }
    answer.unwrap()
}

#[test]
fn allocations_of_all_parts_count_together() {
    let limited = Config {
        quotas: Quotas {
            per_user: 3,
            ..Quotas::default()
        },
        ..wide()
    };
    let mut labs = Lab::parts(&limited, 4);
    assert_eq!(labs.len(), 4);
    for (index, lab) in labs.iter_mut().enumerate() {
        let mut ann = Client::ann(&format!("192.0.2.{index}:5000"));
        if index == 3 {
            assert_eq!(ann.code(lab, Method::ALLOCATE, &[UDP]), Some(486));
            break;
        }
        let relayed = ann.allocate(lab);
        assert_eq!(lab.server.relayed_ports().part_of(relayed), Some(index));
    }
    assert_eq!(labs[3].server.allocation_count(), 3);
    let mut bob = Client::bob("192.0.2.50:5000");
    bob.allocate(&mut labs[3]);
    // One that ends anywhere makes room everywhere.
    let mut ann = Client::ann("192.0.2.1:5000");
    let lifetime = Attribute::Lifetime(0);
    assert_eq!(ann.code(&mut labs[1], Method::REFRESH, &[lifetime]), None);
    let mut ann = Client::ann("192.0.2.3:5000");
    ann.allocate(&mut labs[3]);
}

#[test]
fn all_ports_are_there_for_every_part_and_none_is_given_twice() {
    let narrow = Config {
        ports: 50_000..=50_009,
        ..config()
    };
    let mut labs = Lab::parts(&narrow, 2);
    let mut clients = Vec::new();
    for index in 0..10 {
        let mut ann = Client::ann(&format!("192.0.2.1:{}", 5000 + index));
        let part = usize::from(index % 5 == 0);
        let relayed = ann.allocate(&mut labs[part]);
        assert_eq!(labs[0].server.relayed_ports().part_of(relayed), Some(part));
        clients.push((part, ann, relayed));
    }
    let all: std::collections::BTreeSet<_> = clients.iter().map(|(_, _, own)| *own).collect();
    assert_eq!(all.len(), 10);
    for (part, lab) in labs.iter_mut().enumerate() {
        let mut bob = Client::bob(&format!("192.0.2.{}:6000", 7 + part));
        assert_eq!(bob.code(lab, Method::ALLOCATE, &[UDP]), Some(508));
    }
    // What one part gives back the other has.
    let (part, ann, relayed) = &mut clients[3];
    let ended = [Attribute::Lifetime(0)];
    assert_eq!(ann.code(&mut labs[*part], Method::REFRESH, &ended), None);
    let mut bob = Client::bob("192.0.2.9:6000");
    assert_eq!(bob.allocate(&mut labs[1 - *part]), *relayed);
}

#[test]
fn a_port_that_nobody_came_for_is_free_for_the_other_part() {
    let narrow = Config {
        ports: 50_000..=50_001,
        ..config()
    };
    let mut labs = Lab::parts(&narrow, 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    let even = [UDP, Attribute::EvenPort { reserve_next: true }];
    assert_eq!(ann.code(&mut labs[0], Method::ALLOCATE, &even), None);
    let mut bob = Client::bob("192.0.2.2:5000");
    assert_eq!(bob.code(&mut labs[1], Method::ALLOCATE, &[UDP]), Some(508));
    labs[0].wait(31);
    assert_eq!(bob.allocate(&mut labs[1]).port(), 50_001);
}

#[test]
fn a_user_has_one_bandwidth_whatever_the_part() {
    let limited = Config {
        quotas: Quotas {
            bytes_per_second: 0,
            bytes_per_second_of_user: 400_000,
            ..Quotas::default()
        },
        ..wide()
    };
    let mut labs = Lab::parts(&limited, 2);
    let peer = address(PEER);
    let mut relayed = 0;
    for (index, lab) in labs.iter_mut().enumerate() {
        let mut ann = Client::ann(&format!("192.0.2.{index}:5000"));
        ann.allocate(lab);
        assert_eq!(ann.permit(lab, peer), None);
        lab.sent.clear();
        for _ in 0..100 {
            lab.datagram(0, ann.at, &send_indication(peer, &[7; 1000]));
        }
        relayed += lab.sent.len();
    }
    assert_eq!(relayed, 100, "a quarter of a second's");
    assert_eq!(labs[1].server.traffic().over_user_quota, 100);
}

#[test]
fn clients_of_two_parts_meet_without_a_socket() {
    let mut labs = Lab::parts(&wide(), 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    let mut bob = Client::bob("192.0.2.2:5000");
    let of_ann = ann.allocate(&mut labs[0]);
    let of_bob = bob.allocate(&mut labs[1]);
    assert_eq!(ann.permit(&mut labs[0], of_bob), None);
    let send = |labs: &mut [Lab]| {
        labs[1].sent.clear();
        labs[0].datagram(0, ann.at, &send_indication(of_bob, b"hello"));
        pass(labs);
        let sent = labs[1].sent.drain(..).map(|(_, to, bytes)| (to, bytes));
        sent.collect::<Vec<_>>()
    };
    // Bob has not permitted it.
    assert_eq!(send(&mut labs), []);
    assert_eq!(labs[1].server.traffic().unwanted, 1);
    assert_eq!(bob.permit(&mut labs[1], of_ann), None);
    let sent = send(&mut labs);
    let [(to, bytes)] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(*to, bob.at);
    assert_eq!(data_indication(bytes), (of_ann, b"hello".to_vec()));
    let mut events = labs.iter().flat_map(|lab| &lab.events);
    assert!(!events.any(|event| matches!(event, Event::Bind { .. })));
    // A port of the other part on which nobody relays.
    let mut nobody = of_bob;
    nobody.set_port(if of_bob.port() == 59_999 {
        59_998
    } else {
        of_bob.port() + 1
    });
    labs[0].datagram(0, ann.at, &send_indication(nobody, b"hello"));
    pass(&mut labs);
    assert!(labs[1].sent.is_empty());
    assert_eq!(labs[0].server.traffic().unwanted, 1);
    // Bob ends: nobody is there any more.
    let ended = Attribute::Lifetime(0);
    assert_eq!(bob.code(&mut labs[1], Method::REFRESH, &[ended]), None);
    assert_eq!(send(&mut labs), []);
    assert_eq!(labs[0].server.traffic().unwanted, 2);
}

#[test]
fn another_program_on_a_port_of_the_other_part_is_reached_where_the_operator_names_its_address() {
    let config = Config {
        policy: AddressPolicy {
            allow: vec!["198.51.100.0/24".parse().unwrap()],
            ..AddressPolicy::default()
        },
        ..wide()
    };
    let mut labs = Lab::parts(&config, 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    let of_ann = ann.allocate(&mut labs[0]);
    let program = SocketAddr::new(of_ann.ip(), 59_998);
    assert_eq!(ann.permit(&mut labs[0], program), None);
    labs[0].sent.clear();
    labs[0].datagram(0, ann.at, &send_indication(program, b"hello"));
    pass(&mut labs);
    let [(socket, to, bytes)] = &labs[0].sent[..] else {
        panic!("{:?}", labs[0].sent)
    };
    assert!(socket.0 >= LISTENERS_MAX && *socket != PART_SOCKET);
    assert_eq!((*to, &bytes[..]), (program, &b"hello"[..]));
}

#[test]
fn a_client_that_turns_up_at_another_part_stays_with_its_own() {
    let mut labs = Lab::parts(&wide(), 3);
    let mut ann = Client::ann("192.0.2.1:5000");
    let mobile = [UDP, Attribute::MobilityTicket(&[])];
    let (part, answer) = ask_by(&mut labs, 2, &mut ann, Method::ALLOCATE, &mobile);
    assert_eq!(part, 2);
    let ticket = ticket_of(&answer).unwrap();
    let message = Message::parse(&answer).unwrap();
    let relayed = message.relayed_address().unwrap();
    assert_eq!(ann.permit(&mut labs[2], address(PEER)), None);
    // Its new address is dealt out to the first part.
    ann.at = address("192.0.2.99:6000");
    let shown = [Attribute::MobilityTicket(&ticket)];
    let (part, answer) = ask_by(&mut labs, 0, &mut ann, Method::REFRESH, &shown);
    assert_eq!(part, 2);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), None);
    labs[2].sent.clear();
    labs[0].datagram(0, ann.at, &send_indication(address(PEER), b"on"));
    pass(&mut labs);
    assert_eq!(labs[2].sent.len(), 1, "{:?}", labs[2].sent);
    assert!(labs[0].sent.is_empty());
    // Others at the first part are its own.
    let mut bob = Client::bob("192.0.2.98:6000");
    let (part, _) = ask_by(&mut labs, 0, &mut bob, Method::ALLOCATE, &[UDP]);
    assert_eq!(part, 0);
    // It comes back to where it began.
    let ticket = ticket_of(&answer).unwrap();
    ann.at = address("192.0.2.1:5001");
    let shown = [Attribute::MobilityTicket(&ticket)];
    let (part, _) = ask_by(&mut labs, 2, &mut ann, Method::REFRESH, &shown);
    assert_eq!(part, 2);
    labs[0].sent.clear();
    let late = address("192.0.2.99:6000");
    labs[0].datagram(0, late, &send_indication(address(PEER), b"late"));
    pass(&mut labs);
    assert!(labs.iter().all(|lab| lab.sent.is_empty()));
    let ended = [Attribute::Lifetime(0)];
    let (part, _) = ask_by(&mut labs, 2, &mut ann, Method::REFRESH, &ended);
    assert_eq!(part, 2);
    assert_eq!(labs[0].server.allocation_count(), 1);
    assert_eq!(labs[0].server.relayed_ports().part_of(relayed), None);
}

#[test]
fn a_port_that_was_kept_is_had_by_way_of_any_part() {
    let mut labs = Lab::parts(&wide(), 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    let even = [UDP, Attribute::EvenPort { reserve_next: true }];
    let (_, answer) = ask_by(&mut labs, 1, &mut ann, Method::ALLOCATE, &even);
    let message = Message::parse(&answer).unwrap();
    let first = message.relayed_address().unwrap();
    let token = find(&message, |attribute| match attribute {
        Attribute::ReservationToken(token) => Some(*token),
        _ => None,
    });
    ann.at = address("192.0.2.1:5001");
    let reserved = [UDP, Attribute::ReservationToken(&token.unwrap())];
    let (part, answer) = ask_by(&mut labs, 0, &mut ann, Method::ALLOCATE, &reserved);
    assert_eq!(part, 1);
    let second = Message::parse(&answer).unwrap().relayed_address().unwrap();
    assert_eq!(second.port(), first.port() + 1);
    // What it sends by way of the first part is relayed by the second.
    let (part, _) = ask_by(
        &mut labs,
        0,
        &mut ann,
        Method::CREATE_PERMISSION,
        &[Attribute::XorPeerAddress(address(PEER))],
    );
    assert_eq!(part, 1);
}

#[test]
fn parts_that_there_are_not_get_nothing() {
    let mut labs = Lab::parts(&wide(), 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    // 400 for the ticket and 508 for the token, as from a server that knows neither.
    let unknown = [b"ff".as_slice(), &[b'0'; 38]].concat();
    let shown = [Attribute::MobilityTicket(&unknown)];
    let (part, answer) = ask_by(&mut labs, 0, &mut ann, Method::REFRESH, &shown);
    assert_eq!(
        (part, Message::parse(&answer).unwrap().error_code()),
        (0, Some(400))
    );
    let reserved = [UDP, Attribute::ReservationToken(&[0xff; 8])];
    let (part, answer) = ask_by(&mut labs, 0, &mut ann, Method::ALLOCATE, &reserved);
    assert_eq!(
        (part, Message::parse(&answer).unwrap().error_code()),
        (0, Some(508))
    );
    // Of the other part, with nothing behind it: it answers, and nothing is kept.
    let reserved = [UDP, Attribute::ReservationToken(&[1; 8])];
    let (part, answer) = ask_by(&mut labs, 0, &mut ann, Method::ALLOCATE, &reserved);
    assert_eq!(
        (part, Message::parse(&answer).unwrap().error_code()),
        (1, Some(508))
    );
    let (part, _) = ask_by(&mut labs, 0, &mut ann, Method::ALLOCATE, &[UDP]);
    assert_eq!(part, 0);
}
