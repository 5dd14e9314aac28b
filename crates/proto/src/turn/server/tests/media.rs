use super::*;
use crate::turn::server::{LISTENERS_MAX, MediaAddress};

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

/// What went out for a peer.
fn sends(lab: &mut Lab, ann: &Client, peer: &str) -> Option<SocketAddr> {
    lab.sent.clear();
    lab.datagram(0, ann.at, &send_indication(address(peer), b"media"));
    let mut sent = lab.sent.iter().map(|(socket, to, bytes)| {
        assert_eq!((*socket, &bytes[..]), (RELAYED, &b"media"[..]));
        *to
    });
    sent.next_back()
}

/// As whom a client gets what a peer has sent.
fn gets(lab: &mut Lab, from: &str) -> Option<SocketAddr> {
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, address(from), b"media");
    lab.sent
        .first()
        .map(|(_, _, bytes)| data_indication(bytes).0)
}

#[test]
fn of_an_address_that_is_refused_the_media_ports_alone_are_reached() {
    for allowed_only in [false, true] {
        let mut config = config();
        config.policy.allowed_only = allowed_only;
        let mut lab = Lab::new(config.clone());
        let mut ann = Client::ann("192.0.2.1:5000");
        ann.allocate(&mut lab);
        let inside = "10.0.0.9:4000";
        assert_eq!(ann.permit(&mut lab, address(inside)), Some(403));
        lab.server.set_media_addresses(vec![
            media(inside, inside),
            media("10.0.0.9:4001", "10.0.0.9:4001"),
        ]);
        assert_eq!(ann.permit(&mut lab, address(inside)), None);
        assert_eq!(binds(&lab), 1);
        assert_eq!(sends(&mut lab, &ann, inside), Some(address(inside)));
        assert!(sends(&mut lab, &ann, "10.0.0.9:4001").is_some());
        for port in [80, 3478, 3999, 4002] {
            assert_eq!(sends(&mut lab, &ann, &format!("10.0.0.9:{port}")), None);
            assert_eq!(gets(&mut lab, &format!("10.0.0.9:{port}")), None);
        }
        assert_eq!(gets(&mut lab, inside), Some(address(inside)));
        assert_eq!(ann.permit(&mut lab, address("10.0.0.8:4000")), Some(403));
        // A reload keeps what it does not know of.
        lab.server.reconfigure(&config);
        assert!(sends(&mut lab, &ann, inside).is_some());
        lab.server.set_media_addresses(Vec::new());
        assert_eq!(sends(&mut lab, &ann, inside), None);
    }
}

#[test]
fn on_an_address_of_relays_the_first_packet_for_media_asks_for_the_socket() {
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
    assert_eq!(
        (binds(&lab), lab.sent.last().map(|sent| sent.1)),
        (0, Some(bob.at))
    );

    assert_eq!(sends(&mut lab, &ann, own), None, "on its way");
    assert_eq!(binds(&lab), 1);
    assert_eq!(sends(&mut lab, &ann, own), Some(address(own)));
    assert_eq!(sends(&mut lab, &ann, "198.51.100.1:8080"), None);
    assert_eq!(gets(&mut lab, own), Some(address(own)));
    assert_eq!(binds(&lab), 1);
}

#[test]
fn behind_a_translator_media_is_sent_to_where_it_is_bound() {
    let mut lab = Lab::new(config());
    let (told, bound) = ("203.0.113.50:4000", "10.0.0.9:4000");
    lab.server.set_media_addresses(vec![media(told, bound)]);
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(told)), None);
    assert_eq!(sends(&mut lab, &ann, told), Some(address(bound)));
    assert_eq!(gets(&mut lab, bound), Some(address(told)));
    // It is a public address otherwise, like any.
    assert_eq!(
        sends(&mut lab, &ann, "203.0.113.50:9"),
        Some(address("203.0.113.50:9"))
    );
    assert_eq!(ann.permit(&mut lab, address(bound)), Some(403));
}
