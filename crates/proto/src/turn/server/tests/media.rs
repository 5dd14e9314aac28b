use super::connection::Streaming;
use super::*;
use crate::turn::server::{LISTENERS_MAX, MEDIA_SOCKET, MediaAddress, StreamId};

const RELAYED: SocketId = SocketId(LISTENERS_MAX);

fn media(told: &str, bound: &str) -> MediaAddress {
    MediaAddress {
        told: address(told),
        bound: address(bound),
    }
}

fn binds(lab: &Lab) -> usize {
    let bind = |event: &&Event| matches!(event, Event::Bind { .. });
    lab.events.iter().filter(bind).count()
}

/// Where on a relayed socket what a client sends to a peer goes.
fn sends(lab: &mut Lab, ann: &Client, peer: &str) -> Option<SocketAddr> {
    let (socket, to) = sends_by(lab, ann, peer)?;
    assert_eq!(socket, RELAYED);
    Some(to)
}

/// The same without a socket; the media knows the client by `relayed`.
fn hands_over(lab: &mut Lab, ann: &Client, relayed: SocketAddr, peer: &str) -> Option<SocketAddr> {
    let (socket, to) = sends_by(lab, ann, peer)?;
    assert_eq!(socket, MEDIA_SOCKET);
    assert_eq!(lab.sent_by.unwrap().local, relayed);
    Some(to)
}

fn sends_by(lab: &mut Lab, ann: &Client, peer: &str) -> Option<(SocketId, SocketAddr)> {
    lab.sent.clear();
    lab.datagram(0, ann.at, &send_indication(address(peer), b"media"));
    let mut sent = lab.sent.iter().map(|(socket, to, bytes)| {
        assert_eq!(&bytes[..], b"media");
        (*socket, *to)
    });
    sent.next_back()
}

/// As whom a client gets what a peer has sent to a relayed socket.
fn gets(lab: &mut Lab, from: &str) -> Option<SocketAddr> {
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, address(from), b"media");
    lab.sent
        .first()
        .map(|(_, _, bytes)| data_indication(bytes).0)
}

/// Who gets, and as coming from whom, what media that is bound to `bound` sends to a relayed address
/// without a socket.
fn is_handed(lab: &mut Lab, bound: &str, to: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
    lab.sent.clear();
    let path = Path {
        socket: MEDIA_SOCKET,
        local: to,
    };
    lab.datagram_by(path, address(bound), b"media");
    lab.sent
        .first()
        .map(|(_, client, bytes)| (*client, data_indication(bytes).0))
}

#[test]
fn of_an_address_that_is_refused_the_media_ports_alone_are_reached_and_nothing_is_bound() {
    for allowed_only in [false, true] {
        let mut config = config();
        config.policy.allowed_only = allowed_only;
        let mut lab = Lab::new(config.clone());
        let mut ann = Client::ann("192.0.2.1:5000");
        let relayed = ann.allocate(&mut lab);
        let inside = "10.0.0.9:4000";
        assert_eq!(ann.permit(&mut lab, address(inside)), Some(403));
        lab.server.set_media_addresses(vec![
            media(inside, inside),
            media("10.0.0.9:4001", "10.0.0.9:4001"),
        ]);
        let handed = Some((ann.at, address(inside)));
        assert_eq!(is_handed(&mut lab, inside, relayed), None, "not permitted");
        assert_eq!(ann.permit(&mut lab, address("10.0.0.9:80")), None);
        for inside in [inside, "10.0.0.9:4001"] {
            let reached = hands_over(&mut lab, &ann, relayed, inside);
            assert_eq!(reached, Some(address(inside)));
        }
        for port in [80, 3478, 3999, 4002] {
            let other = format!("10.0.0.9:{port}");
            assert_eq!(sends(&mut lab, &ann, &other), None);
            assert_eq!(gets(&mut lab, &other), None);
            assert_eq!(is_handed(&mut lab, &other, relayed), None);
        }
        assert_eq!(is_handed(&mut lab, inside, relayed), handed);
        let nobody = SocketAddr::new(relayed.ip(), relayed.port() ^ 1);
        assert_eq!(is_handed(&mut lab, inside, nobody), None);
        assert_eq!(ann.permit(&mut lab, address("10.0.0.8:4000")), Some(403));
        let traffic = lab.server.traffic();
        assert_eq!(
            (traffic.packets_to_media, traffic.packets_from_media),
            (2, 2)
        );
        // A reload keeps what it does not know of.
        lab.server.reconfigure(&config);
        assert!(hands_over(&mut lab, &ann, relayed, inside).is_some());
        lab.server.set_media_addresses(Vec::new());
        assert_eq!(sends(&mut lab, &ann, inside), None);
        assert_eq!(is_handed(&mut lab, inside, relayed), None);
        assert_eq!(binds(&lab), 0);
    }
}

#[test]
fn by_a_channel_media_is_reached_without_a_socket_too() {
    let mut lab = Lab::new(config());
    let inside = "10.0.0.9:4000";
    lab.server.set_media_addresses(vec![media(inside, inside)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.bind(&mut lab, 0x4001, address(inside)), None);
    lab.sent.clear();
    lab.datagram(0, ann.at, &[0x40, 1, 0, 2, b'h', b'i']);
    let sent = (MEDIA_SOCKET, address(inside), b"hi".to_vec());
    assert_eq!(lab.sent, [sent]);
    assert_eq!(lab.sent_by.unwrap().local, relayed);
    let path = Path {
        socket: MEDIA_SOCKET,
        local: relayed,
    };
    lab.sent.clear();
    lab.datagram_by(path, address(inside), b"ho");
    let got = (SocketId(0), ann.at, vec![0x40, 1, 0, 2, b'h', b'o']);
    assert_eq!(lab.sent, [got]);
    // Another peer needs the socket, which changes nothing for media.
    assert_eq!(ann.permit(&mut lab, address("203.0.113.9:7000")), None);
    assert_eq!(binds(&lab), 1);
    assert!(hands_over(&mut lab, &ann, relayed, inside).is_some());
    assert_eq!(
        gets(&mut lab, "203.0.113.9:7000"),
        Some(address("203.0.113.9:7000"))
    );
    // Nor does it end with one that cannot be had.
    let mut lab = Lab::new(config());
    lab.binds = false;
    lab.server.set_media_addresses(vec![media(inside, inside)]);
    let mut bob = Client::bob("192.0.2.2:5000");
    let relayed = bob.allocate(&mut lab);
    assert_eq!(bob.permit(&mut lab, address(inside)), None);
    assert_eq!(bob.permit(&mut lab, address("203.0.113.9:7000")), Some(508));
    assert!(hands_over(&mut lab, &bob, relayed, inside).is_some());
}

#[test]
fn on_an_address_of_relays_media_is_reached_and_no_other_port() {
    let mut lab = Lab::new(config());
    let own = "198.51.100.1:4000";
    lab.server.set_media_addresses(vec![media(own, own)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    let mut bob = Client::bob("192.0.2.2:5000");
    let of_ann = ann.allocate(&mut lab);
    let of_bob = bob.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, of_bob), None);
    assert_eq!(bob.permit(&mut lab, of_ann), None);
    lab.datagram(0, ann.at, &send_indication(of_bob, b"hi"));
    assert_eq!(lab.sent.last().map(|sent| sent.1), Some(bob.at));
    let reached = hands_over(&mut lab, &ann, of_ann, own);
    assert_eq!(reached, Some(address(own)));
    assert_eq!(
        is_handed(&mut lab, own, of_ann),
        Some((ann.at, address(own)))
    );
    assert_eq!(sends(&mut lab, &ann, "198.51.100.1:8080"), None);
    assert_eq!(binds(&lab), 0);
}

#[test]
fn behind_a_translator_media_is_handed_to_where_it_is_bound() {
    let mut lab = Lab::new(config());
    let (told, bound) = ("203.0.113.50:4000", "10.0.0.9:4000");
    lab.server.set_media_addresses(vec![media(told, bound)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(told)), None);
    let reached = hands_over(&mut lab, &ann, relayed, told);
    assert_eq!(reached, Some(address(bound)));
    let handed = is_handed(&mut lab, bound, relayed);
    assert_eq!(handed, Some((ann.at, address(told))));
    assert_eq!(is_handed(&mut lab, told, relayed), None);
    assert_eq!(binds(&lab), 0);
    // It is a public address otherwise, like any: the first packet asks for the socket.
    let other = "203.0.113.50:9";
    assert_eq!(sends(&mut lab, &ann, other), None, "on its way");
    assert_eq!(binds(&lab), 1);
    assert_eq!(sends(&mut lab, &ann, other), Some(address(other)));
    assert_eq!(gets(&mut lab, bound), Some(address(told)));
    assert_eq!(ann.permit(&mut lab, address(bound)), Some(403));
    // A permission for it asks at once, and so does one that names the address alone.
    for (at, permitted) in [(1, other), (2, "203.0.113.50:0")] {
        let mut bob = Client::bob(&format!("192.0.2.2:{at}"));
        bob.allocate(&mut lab);
        assert_eq!(bob.permit(&mut lab, address(permitted)), None);
        assert_eq!(binds(&lab), at + 1);
        assert_eq!(bob.permit(&mut lab, address(told)), None);
    }
}

#[test]
fn an_address_alone_needs_no_socket_where_media_is_all_that_is_reached_there() {
    let mut lab = Lab::new(config());
    let inside = "10.0.0.9:4000";
    lab.server.set_media_addresses(vec![media(inside, inside)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address("10.0.0.9:0")), None);
    let reached = hands_over(&mut lab, &ann, relayed, inside);
    assert_eq!(reached, Some(address(inside)));
    assert_eq!(binds(&lab), 0);
}

#[test]
fn a_permission_for_media_on_the_address_of_relays_opens_no_way_between_clients() {
    for allowed_only in [false, true] {
        let mut config = config();
        config.policy.allowed_only = allowed_only;
        let mut lab = Lab::new(config);
        let own = "198.51.100.1:4000";
        lab.server.set_media_addresses(vec![media(own, own)]);
        let mut ann = Client::ann("192.0.2.1:5000");
        let mut bob = Client::bob("192.0.2.2:5000");
        let (of_ann, of_bob) = (ann.allocate(&mut lab), bob.allocate(&mut lab));
        assert_eq!(ann.permit(&mut lab, of_bob), None);
        assert_eq!(bob.permit(&mut lab, of_ann), None);
        let before = lab.server.traffic().unwanted;
        lab.sent.clear();
        lab.datagram(0, ann.at, &send_indication(of_bob, b"hi"));
        assert_eq!(lab.sent.is_empty(), allowed_only);
        let unwanted = lab.server.traffic().unwanted - before;
        assert_eq!(unwanted, u64::from(allowed_only));
        let reached = hands_over(&mut lab, &ann, of_ann, own);
        assert_eq!(reached, Some(address(own)));
        assert_eq!(binds(&lab), 0);
    }
}

#[test]
fn a_socket_that_cannot_be_had_is_asked_for_once_a_permission() {
    let mut lab = Lab::new(config());
    lab.binds = false;
    let (told, other) = ("203.0.113.50:4000", "203.0.113.50:9");
    lab.server.set_media_addresses(vec![media(told, told)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    for asked in 1..=2 {
        assert_eq!(ann.permit(&mut lab, address(told)), None);
        for _ in 0..3 {
            assert_eq!(sends(&mut lab, &ann, other), None);
            assert_eq!(binds(&lab), asked);
        }
    }
    // What was never bound is not closed.
    let gone = [Attribute::Lifetime(0)];
    assert_eq!(ann.code(&mut lab, Method::REFRESH, &gone), None);
    let is_close = |event: &Event| matches!(event, Event::Close { .. });
    assert!(!lab.events.iter().any(is_close));
    let mut ann = Client::ann("192.0.2.1:5001");
    ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(told)), None);
    assert_eq!(sends(&mut lab, &ann, other), None);
    lab.binds = true;
    assert_eq!(sends(&mut lab, &ann, other), None);
    assert_eq!(ann.permit(&mut lab, address(other)), None);
    assert_eq!(sends(&mut lab, &ann, other), Some(address(other)));
}

/// Of TCP and UDP each has its own ports.
#[test]
fn a_relayed_port_of_tcp_is_not_taken_for_the_media_port_of_its_number() {
    let mut lab = Lab::new(config());
    let both = Client::bob("192.0.2.2:5000");
    let own = Streaming::of_both_families(&mut lab, both).relayed;
    let media = MediaAddress {
        told: own,
        bound: own,
    };
    lab.server.set_media_addresses(vec![media]);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, own), None);
    let reached = hands_over(&mut lab, &ann, relayed, &own.to_string());
    assert_eq!(reached, Some(own));
}

/// Ports of the same numbers may be anything.
#[test]
fn no_port_of_media_is_reached_by_tcp() {
    let mut lab = Lab::new(config());
    let (of_media, public) = ("10.0.0.9:4000", "203.0.113.9:7000");
    lab.server
        .set_media_addresses(vec![media(of_media, of_media)]);
    let mut ann = Streaming::of_both_families(&mut lab, Client::ann("192.0.2.1:5000"));
    assert_eq!(ann.opens(&mut lab, address(of_media)), Err(Some(403)));
    assert_eq!(ann.opens(&mut lab, address(public)), Ok(()));
    // The first permission that is not for media has it listen.
    ann.permit(&mut lab, of_media);
    assert_eq!(lab.listens_at, None);
    for (stream, peer, is_let_in) in [(9, public, true), (10, of_media, false)] {
        ann.permit(&mut lab, peer);
        lab.accepted(StreamId(stream), peer);
        assert_eq!(lab.is_closed(StreamId(stream)), !is_let_in, "{peer}");
    }
}
