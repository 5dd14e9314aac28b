use super::*;
use crate::turn::server::{LISTENERS_MAX, Quotas, StreamId};

const PEER: &str = "203.0.113.9:7000";
const MOBILE: Attribute<'static> = Attribute::MobilityTicket(&[]);

pub(super) fn ticket_of(answer: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(answer).unwrap();
    assert_eq!(message.error_code(), None);
    find(&message, |attribute| match attribute {
        Attribute::MobilityTicket(ticket) => Some(ticket.to_vec()),
        _ => None,
    })
}

/// Allocates with a ticket.
fn mobile(lab: &mut Lab, client: &mut Client) -> Vec<u8> {
    ticket_of(&client.ask(lab, Method::ALLOCATE, &[UDP, MOBILE])).unwrap()
}

/// Shows a ticket from where the client is now; answers the next.
fn show(lab: &mut Lab, client: &mut Client, ticket: &[u8]) -> Result<Vec<u8>, Option<u16>> {
    // A nonce is of one address.
    client.nonce.clear();
    let attributes = [Attribute::MobilityTicket(ticket)];
    let answer = client.ask(lab, Method::REFRESH, &attributes);
    let message = Message::parse(&answer).unwrap();
    match message.class {
        Class::Success => Ok(ticket_of(&answer).unwrap()),
        _ => Err(message.error_code()),
    }
}

#[test]
fn an_allocation_goes_with_its_client() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let first = mobile(&mut lab, &mut ann);
    assert_eq!(ann.permit(&mut lab, address(PEER)), None);
    let old = ann.at;
    ann.at = address("192.0.2.77:6000");
    let second = show(&mut lab, &mut ann, &first).unwrap();
    assert_ne!(first, second);
    // The same relayed address, the same permission, at the new address.
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, address(PEER), b"hello");
    let [(_, to, bytes)] = &lab.sent[..] else {
        panic!("{:?}", lab.sent)
    };
    assert_eq!(*to, ann.at);
    assert_eq!(data_indication(bytes), (address(PEER), b"hello".to_vec()));
    lab.sent.clear();
    lab.datagram(0, old, &send_indication(address(PEER), b"late"));
    assert_eq!(lab.sent, []);
    lab.datagram(0, ann.at, &send_indication(address(PEER), b"on"));
    assert_eq!(lab.sent.len(), 1);
    // The request once more, as its answer was lost.
    assert_eq!(show(&mut lab, &mut ann, &first), Ok(second.clone()));
    // The address changes again before any answer arrives: the ticket that was used is good, and
    // one before it is not.
    ann.at = address("192.0.2.78:6000");
    let third = show(&mut lab, &mut ann, &first).unwrap();
    ann.at = address("192.0.2.79:6000");
    assert_eq!(show(&mut lab, &mut ann, &second), Err(Some(400)));
    let _fourth = show(&mut lab, &mut ann, &third).unwrap();
    ann.at = address("192.0.2.80:6000");
    assert_eq!(show(&mut lab, &mut ann, &first), Err(Some(400)));
    assert_eq!(lab.server.counters().get("turn.moved"), 3);
    assert_eq!(lab.server.allocation_count(), 1);
}

#[test]
fn nobody_else_moves_it_and_nothing_moves_that_did_not_ask_to() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let ticket = mobile(&mut lab, &mut ann);
    let mut bob = Client::bob("192.0.2.2:5000");
    assert_eq!(show(&mut lab, &mut bob, &ticket), Err(Some(441)));
    // By the size, the place, and any bit of what is drawn.
    let mut wrong = vec![
        Vec::new(),
        ticket[..39].to_vec(),
        vec![0; 40],
        vec![0xff; 40],
    ];
    for bit in 0..ticket.len() * 8 {
        let mut other = ticket.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        wrong.push(other);
    }
    let mut elsewhere = Client::ann("192.0.2.3:5000");
    for other in wrong {
        assert_eq!(show(&mut lab, &mut elsewhere, &other), Err(Some(400)));
    }
    let code = |lab: &mut Lab, client: &mut Client, method, attributes: &[Attribute<'_>]| {
        client.nonce.clear();
        client.code(lab, method, attributes)
    };
    // Nothing but a Refresh moves it, and nothing but an empty ticket asks for one.
    let shown = Attribute::MobilityTicket(&ticket);
    let to = [Attribute::XorPeerAddress(address(PEER)), shown];
    let permit = Method::CREATE_PERMISSION;
    assert_eq!(code(&mut lab, &mut elsewhere, permit, &to), Some(437));
    let allocate = Method::ALLOCATE;
    assert_eq!(
        code(&mut lab, &mut elsewhere, allocate, &[UDP, shown]),
        Some(400)
    );
    // One that has its own does not get a second.
    let answer = elsewhere.ask(&mut lab, Method::ALLOCATE, &[UDP]);
    assert_eq!(ticket_of(&answer), None);
    elsewhere.nonce.clear();
    let answer = elsewhere.ask(&mut lab, Method::REFRESH, &[shown]);
    assert_eq!(ticket_of(&answer), None);
    assert_eq!(lab.server.counters().get("turn.moved"), 0);
    assert_eq!(lab.server.allocation_count(), 2);
}

#[test]
fn a_server_that_forbids_it_says_so() {
    let mut lab = Lab::new(Config {
        mobility: false,
        ..config()
    });
    let mut ann = Client::ann("192.0.2.1:5000");
    let attributes = [UDP, MOBILE];
    assert_eq!(ann.code(&mut lab, Method::ALLOCATE, &attributes), Some(405));
    ann.allocate(&mut lab);
    ann.at = address("192.0.2.77:6000");
    assert_eq!(show(&mut lab, &mut ann, &[0; 40]), Err(Some(405)));
    assert_eq!(lab.server.counters().get("turn.refused_405"), 2);
}

#[test]
fn where_it_moves_to_counts_as_where_it_is() {
    let quotas = Quotas {
        per_address: 1,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let mut ann = Client::ann("192.0.2.1:5000");
    let ticket = mobile(&mut lab, &mut ann);
    let mut bob = Client::bob("192.0.2.2:5000");
    bob.allocate(&mut lab);
    ann.at = address("192.0.2.2:6000");
    assert_eq!(show(&mut lab, &mut ann, &ticket), Err(Some(486)));
    ann.at = address("192.0.2.3:6000");
    let ticket = show(&mut lab, &mut ann, &ticket).unwrap();
    let mut bobs = Client::bob("192.0.2.1:5000");
    bobs.allocate(&mut lab);
    // An end from elsewhere gives everything back.
    ann.at = address("192.0.2.4:6000");
    ann.nonce.clear();
    let attributes = [Attribute::Lifetime(0), Attribute::MobilityTicket(&ticket)];
    assert_eq!(ann.code(&mut lab, Method::REFRESH, &attributes), None);
    assert_eq!(lab.server.allocation_count(), 2);
    let mut again = Client::ann("192.0.2.4:1");
    again.allocate(&mut lab);
}

#[test]
fn an_allocation_waits_for_a_client_whose_stream_has_ended_if_it_has_a_ticket() {
    let path = Path {
        socket: SocketId(1),
        local: address("198.51.100.1:3478"),
    };
    let say = |lab: &mut Lab, stream, bytes: &[u8]| {
        lab.events.clear();
        lab.server.handle_stream_bytes(lab.now, stream, bytes);
        lab.drain();
        let sent = lab.events.iter().find_map(|event| match event {
            Event::Send { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        sent.unwrap()
    };
    // A client on a stream, by an Allocate or a Refresh; answers the ticket, if it gets one.
    let ask = |lab: &mut Lab, stream, method, attributes: &[Attribute<'_>]| {
        let from = format!("192.0.2.1:{}", stream + 5000);
        let mut ann = Client::ann(&from);
        let stream = StreamId(stream);
        lab.server
            .handle_stream_connected(lab.now, stream, path, ann.at);
        let id = lab.id();
        ann.nonce = nonce_of(&say(lab, stream, &plain(method, id, attributes)));
        let bytes = ann.signed(method, id, attributes);
        let answer = say(lab, stream, &bytes);
        let message = Message::parse(&answer).unwrap();
        let code = message.error_code();
        code.map_or_else(|| Ok(ticket_of(&answer)), Err)
    };
    let close = |lab: &mut Lab, stream| {
        lab.server.handle_stream_closed(lab.now, StreamId(stream));
        lab.drain();
    };
    let mut lab = Lab::new(config());
    let ticket = ask(&mut lab, 1, Method::ALLOCATE, &[UDP, MOBILE]);
    let first = ticket.unwrap().unwrap();
    close(&mut lab, 1);
    assert_eq!(lab.server.allocation_count(), 1);
    lab.wait(59);
    let shown = [Attribute::MobilityTicket(&first)];
    let second = ask(&mut lab, 2, Method::REFRESH, &shown).unwrap().unwrap();
    assert_ne!(first, second);
    // It has its whole lifetime again, and the stream before means nothing any more.
    lab.wait(300);
    assert_eq!(lab.server.allocation_count(), 1);
    // The old stream may still be there when the client comes on another.
    let shown = [Attribute::MobilityTicket(&second)];
    let third = ask(&mut lab, 3, Method::REFRESH, &shown).unwrap().unwrap();
    close(&mut lab, 2);
    lab.wait(100);
    assert_eq!(lab.server.allocation_count(), 1);
    // Who does not come back in time has nothing.
    close(&mut lab, 3);
    lab.wait(60);
    assert_eq!(lab.server.allocation_count(), 0);
    let shown = [Attribute::MobilityTicket(&third)];
    assert_eq!(ask(&mut lab, 4, Method::REFRESH, &shown), Err(400));
    // Nor has who asked for no ticket.
    ask(&mut lab, 5, Method::ALLOCATE, &[UDP]).unwrap();
    assert_eq!(lab.server.allocation_count(), 1);
    close(&mut lab, 5);
    assert_eq!(lab.server.allocation_count(), 0);
}
