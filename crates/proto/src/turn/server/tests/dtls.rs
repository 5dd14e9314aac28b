//! Clients on DTLS, as the machine sees them: datagrams on listeners of their own.

use super::mobility::ticket_of;
use super::*;
use crate::turn::server::DTLS_LISTENERS_MIN;

const PEER: &str = "203.0.113.9:7000";
const MOBILE: Attribute<'static> = Attribute::MobilityTicket(&[]);

fn path() -> Path {
    Path {
        socket: SocketId(DTLS_LISTENERS_MIN),
        local: address("198.51.100.1:5349"),
    }
}

/// Asks on DTLS; answers what came back on the same way.
fn ask(
    lab: &mut Lab,
    client: &mut Client,
    method: Method,
    attributes: &[Attribute<'_>],
) -> Vec<u8> {
    let mut answer = Vec::new();
    for is_signed in [false, true] {
        lab.sent.clear();
        let id = lab.id();
        let request = match is_signed {
            false => plain(method, id, attributes),
            true => client.signed(method, id, attributes),
        };
        lab.datagram_by(path(), client.at, &request);
        let (socket, to, bytes) = lab.sent.pop().expect("an answer");
        assert_eq!((socket, to), (path().socket, client.at));
        if !is_signed {
            client.nonce = nonce_of(&bytes);
        }
        answer = bytes;
    }
    answer
}

fn code(answer: &[u8]) -> Option<u16> {
    Message::parse(answer).unwrap().error_code()
}

#[test]
fn a_client_on_dtls_is_one_like_others_and_not_the_one_of_udp() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    assert!(!lab.server.has_client(path(), ann.at));
    assert_eq!(
        code(&ask(&mut lab, &mut ann, Method::ALLOCATE, &[UDP])),
        None
    );
    assert!(lab.server.has_client(path(), ann.at));
    let peer = [Attribute::XorPeerAddress(address(PEER))];
    assert_eq!(
        code(&ask(&mut lab, &mut ann, Method::CREATE_PERMISSION, &peer)),
        None
    );
    lab.sent.clear();
    lab.datagram_by(path(), ann.at, &send_indication(address(PEER), b"out"));
    let [(_, to, bytes)] = &lab.sent[..] else {
        panic!("{:?}", lab.sent)
    };
    assert_eq!((*to, &bytes[..]), (address(PEER), &b"out"[..]));
    // The same address on plain UDP is another client.
    let mut plainly = Client::ann("192.0.2.1:5000");
    assert_eq!(plainly.code(&mut lab, Method::ALLOCATE, &[UDP]), None);
    assert_eq!(lab.server.allocation_count(), 2);
    // The one ends with its association, and the other does not.
    lab.server.handle_client_left(path(), ann.at);
    assert_eq!(lab.server.allocation_count(), 1);
    assert!(!lab.server.has_client(path(), ann.at));
    lab.server.handle_client_left(path(), ann.at);
    assert_eq!(lab.server.allocation_count(), 1);
}

#[test]
fn an_allocation_with_a_ticket_moves_while_its_association_lasts() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let allocated = ask(&mut lab, &mut ann, Method::ALLOCATE, &[UDP, MOBILE]);
    let ticket = ticket_of(&allocated).unwrap();
    let former = std::mem::replace(&mut ann.at, address("192.0.2.77:6000"));
    let shown = [Attribute::MobilityTicket(&ticket)];
    let moved = ask(&mut lab, &mut ann, Method::REFRESH, &shown);
    assert_eq!(code(&moved), None);
    let ticket = ticket_of(&moved).unwrap();
    lab.server.handle_client_left(path(), former);
    assert!(lab.server.has_client(path(), ann.at));
    // Whoever is at that address next is not taken for its client.
    lab.server.handle_client_left(path(), ann.at);
    assert!(!lab.server.has_client(path(), ann.at));
    assert_eq!(lab.server.allocation_count(), 0);
    let shown = [Attribute::MobilityTicket(&ticket)];
    let answer = ask(&mut lab, &mut ann, Method::REFRESH, &shown);
    assert_eq!(code(&answer), Some(400));
}

#[test]
fn clients_on_dtls_belong_to_the_first_part_whatever_they_name() {
    let mut labs = Lab::parts(&config(), 2);
    let mut ann = Client::ann("192.0.2.1:5000");
    let allocated = ann.ask(&mut labs[1], Method::ALLOCATE, &[UDP, MOBILE]);
    let ticket = ticket_of(&allocated).unwrap();
    ann.at = address("192.0.2.77:6000");
    let shown = [Attribute::MobilityTicket(&ticket)];
    let answer = ask(&mut labs[0], &mut ann, Method::REFRESH, &shown);
    assert_eq!(code(&answer), Some(437));
    let is_passed = |event: &Event| matches!(event, Event::PassOn { .. });
    assert!(!labs[0].events.iter().any(is_passed));
}
