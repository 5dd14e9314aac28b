use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::turn::server::Quotas;
use crate::turn::{rest_password, userhash};

const ALLOCATE: Method = Method::ALLOCATE;
const REFRESH: Method = Method::REFRESH;

fn lifetime(answer: &[u8]) -> u32 {
    Message::parse(answer).unwrap().lifetime().unwrap()
}

#[test]
fn one_without_credentials_gets_401_and_all_that_it_needs() {
    let mut lab = Lab::new(config());
    let from = address("192.0.2.1:5000");
    for attributes in [&[UDP][..], &[]] {
        let id = lab.id();
        let request = plain(ALLOCATE, id, attributes);
        let answer = lab.exchange(from, &request).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.error_code(), Some(401));
        assert_eq!(message.transaction, id);
        // IP and UDP headers counted.
        assert!(
            answer.len() + 28 <= 3 * (request.len() + 28),
            "{}",
            answer.len()
        );
        let has = |wanted: fn(&Attribute<'_>) -> bool| message.attributes().any(|a| wanted(&a));
        assert!(has(|a| matches!(a, Attribute::Realm("twocan"))));
        assert!(has(|a| matches!(a, Attribute::PasswordAlgorithms(_))));
        assert!(!has(|a| matches!(a, Attribute::Software(_))));
        assert!(nonce_of(&answer).len() < 128);
    }
    assert_eq!(lab.server.allocation_count(), 0);
}

#[test]
fn every_way_to_sign_is_taken_and_answered_in_the_same_way() {
    for kind in [Kind::Md5, Kind::Md5Sha256, Kind::Sha256] {
        let mut lab = Lab::new(config());
        let mut ann = Client::ann("192.0.2.1:5000");
        ann.kind = kind;
        let relayed = ann.allocate(&mut lab);
        assert_eq!(relayed.ip(), address("198.51.100.1:0").ip());
        assert!(relayed.port() >= 49152);
        // No socket is asked for before there is a peer that needs one.
        assert_eq!(lab.events, []);
    }
}

#[test]
fn the_hash_of_a_name_stands_for_it() {
    let mut lab = Lab::new(config());
    let ann = Client::ann("192.0.2.1:5000");
    let id = lab.id();
    let challenge = lab.exchange(ann.at, &plain(ALLOCATE, id, &[UDP])).unwrap();
    let nonce = nonce_of(&challenge);
    let hash = userhash("ann", "twocan");
    let mut offered = Vec::new();
    PasswordAlgorithm::SHA256.write(&mut offered);
    PasswordAlgorithm::MD5.write(&mut offered);
    let mut out = Vec::new();
    let mut builder = Builder::new(&mut out, Class::Request, ALLOCATE, id);
    for attribute in [
        UDP,
        Attribute::Userhash(&hash),
        Attribute::Realm("twocan"),
        Attribute::Nonce(&nonce),
        Attribute::PasswordAlgorithms(&offered),
        Attribute::PasswordAlgorithm(PasswordAlgorithm::SHA256),
    ] {
        builder.attribute(attribute);
    }
    let key = LongTermKey::sha256("ann", "twocan", "secret");
    key.finish(builder);
    let answer = lab.exchange(ann.at, &out).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.class, Class::Success);
    assert!(key.verify(&message).is_ok());
}

#[test]
fn an_offer_that_somebody_has_cut_is_refused() {
    let mut lab = Lab::new(config());
    let ann = Client::ann("192.0.2.1:5000");
    let id = lab.id();
    let challenge = lab.exchange(ann.at, &plain(ALLOCATE, id, &[UDP])).unwrap();
    let nonce = nonce_of(&challenge);
    let mut cut = Vec::new();
    PasswordAlgorithm::MD5.write(&mut cut);
    let mut out = Vec::new();
    let mut builder = Builder::new(&mut out, Class::Request, ALLOCATE, id);
    for attribute in [
        UDP,
        Attribute::Username("ann"),
        Attribute::Realm("twocan"),
        Attribute::Nonce(&nonce),
        Attribute::PasswordAlgorithms(&cut),
        Attribute::PasswordAlgorithm(PasswordAlgorithm::MD5),
    ] {
        builder.attribute(attribute);
    }
    LongTermKey::md5_with_sha256("ann", "twocan", "secret").finish(builder);
    let answer = lab.exchange(ann.at, &out).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(400));
}

#[test]
fn wrong_names_and_passwords_are_401_and_other_addresses_nonces_438() {
    let mut lab = Lab::new(config());
    for (name, password) in [
        ("ann", "wrong"),
        ("eve", "secret"),
        ("", ""),
        ("99999999999:x", ""),
    ] {
        let mut client = Client::new("192.0.2.1:5000", name, password);
        assert_eq!(client.code(&mut lab, ALLOCATE, &[UDP]), Some(401), "{name}");
    }
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    for elsewhere in ["192.0.2.1:5001", "192.0.2.2:5000"] {
        let mut other = Client::ann(elsewhere);
        other.nonce = ann.nonce.clone();
        assert_eq!(other.code(&mut lab, ALLOCATE, &[UDP]), Some(438));
    }
    // A forged one and one of the future.
    let forged = ann.nonce.replace("00000000", "00000009");
    for nonce in ["", "obMatJos2", &forged, "\u{fffd}\u{fffd}"] {
        let id = lab.id();
        let mut other = Client::ann("192.0.2.1:5000");
        other.nonce = nonce.to_owned();
        let request = other.signed(REFRESH, id, &[]);
        let answer = lab.exchange(other.at, &request).unwrap();
        assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(438));
    }
}

#[test]
fn a_nonce_ends_after_ten_minutes_and_the_allocation_goes_on_with_a_new_one() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    lab.wait(599);
    assert_eq!(ann.code(&mut lab, REFRESH, &[]), None);
    lab.wait(1);
    let answer = ann.ask(&mut lab, REFRESH, &[]);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(438));
    ann.nonce = nonce_of(&answer);
    assert_eq!(ann.code(&mut lab, REFRESH, &[]), None);
}

#[test]
fn the_same_request_once_more_gets_the_same_answer_and_another_437() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let id = lab.id();
    let challenge = lab.exchange(ann.at, &plain(ALLOCATE, id, &[UDP])).unwrap();
    ann.nonce = nonce_of(&challenge);
    let request = ann.signed(ALLOCATE, id, &[UDP]);
    let first = lab.exchange(ann.at, &request).unwrap();
    lab.wait(2);
    assert_eq!(lab.exchange(ann.at, &request).unwrap(), first);
    assert_eq!(lab.server.allocation_count(), 1);
    assert_eq!(ann.code(&mut lab, ALLOCATE, &[UDP]), Some(437));
}

#[test]
fn what_belongs_to_nobody_or_to_another_is_refused() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let peer = address("203.0.113.9:9");
    assert_eq!(ann.code(&mut lab, REFRESH, &[]), Some(437));
    assert_eq!(ann.permit(&mut lab, peer), Some(437));
    assert_eq!(ann.bind(&mut lab, 0x4000, peer), Some(437));
    ann.allocate(&mut lab);
    let mut bob = Client::bob("192.0.2.1:5000");
    assert_eq!(bob.code(&mut lab, REFRESH, &[]), Some(441));
    assert_eq!(bob.permit(&mut lab, peer), Some(441));
}

#[test]
fn requests_that_make_no_sense_are_refused_by_their_codes() {
    let token = [7; 8];
    let family = |number| Attribute::RequestedAddressFamily(AddressFamily(number));
    let additional = |number| Attribute::AdditionalAddressFamily(AddressFamily(number));
    let even = |reserve_next| Attribute::EvenPort { reserve_next };
    let token = Attribute::ReservationToken(&token);
    let unknown = Attribute::Unknown {
        kind: 0x7f00,
        value: &[],
    };
    let cases: [(&[Attribute<'_>], u16); 15] = [
        (&[], 400),
        (&[Attribute::RequestedTransport(132)], 442),
        // Over a stream alone.
        (&[Attribute::RequestedTransport(6)], 400),
        (&[UDP, family(3)], 440),
        (&[UDP, family(0)], 440),
        (&[UDP, additional(1)], 400),
        (&[UDP, additional(3)], 400),
        (&[UDP, family(2), additional(2)], 400),
        (&[UDP, additional(2), even(true)], 400),
        (&[UDP, token, even(false)], 400),
        (&[UDP, token, family(1)], 400),
        (&[UDP, token, additional(2)], 400),
        (&[UDP, token], 508),
        (&[UDP, unknown], 420),
        (
            &[
                UDP,
                Attribute::ChangeRequest {
                    ip: true,
                    port: true,
                },
                token,
            ],
            508,
        ),
    ];
    for (attributes, code) in cases {
        let mut lab = Lab::new(config());
        let mut ann = Client::ann("192.0.2.1:5000");
        assert_eq!(
            ann.code(&mut lab, ALLOCATE, attributes),
            Some(code),
            "{attributes:?}"
        );
        assert_eq!(lab.server.allocation_count(), 0);
    }
}

#[test]
fn lifetimes_are_kept_to_the_second() {
    let mut lab = Lab::new(config());
    for (asked, granted) in [
        (None, 600),
        (Some(1), 600),
        (Some(777), 777),
        (Some(9999), 3600),
    ] {
        let mut ann = Client::ann("192.0.2.1:5000");
        let lifetimes: Vec<_> = asked.map(Attribute::Lifetime).into_iter().collect();
        let attributes = [&[UDP][..], &lifetimes].concat();
        let answer = ann.ask(&mut lab, ALLOCATE, &attributes);
        assert_eq!(lifetime(&answer), granted);
        lab.wait(u64::from(granted) - 1);
        assert_eq!(lab.server.allocation_count(), 1);
        lab.wait(1);
        assert_eq!(lab.server.allocation_count(), 0);
    }
    assert_eq!(lab.server.counters().get("turn.expired"), 4);
}

#[test]
fn a_refresh_makes_it_longer_or_shorter_and_zero_ends_it() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let answer = ann.ask(&mut lab, ALLOCATE, &[UDP, Attribute::Lifetime(3600)]);
    assert_eq!(lifetime(&answer), 3600);
    lab.wait(500);
    assert_eq!(lifetime(&ann.ask(&mut lab, REFRESH, &[])), 600);
    lab.wait(599);
    assert_eq!(lab.server.allocation_count(), 1);
    lab.wait(1);
    assert_eq!(lab.server.allocation_count(), 0);

    let mut ann = Client::ann("192.0.2.1:5000");
    let first = ann.allocate(&mut lab);
    lab.wait(400);
    assert_eq!(ann.code(&mut lab, REFRESH, &[]), None);
    lab.wait(400);
    assert_eq!(lab.server.allocation_count(), 1);
    ann.nonce.clear();
    assert_eq!(
        lifetime(&ann.ask(&mut lab, REFRESH, &[Attribute::Lifetime(0)])),
        0
    );
    assert_eq!(lab.server.allocation_count(), 0);
    let second = ann.allocate(&mut lab);
    assert_ne!(first, second);
}

#[test]
fn a_credential_that_ends_ends_the_allocation_with_it() {
    let secrets = vec!["old".to_owned(), "new".to_owned()];
    let mut lab = Lab::new(Config {
        secrets,
        ..config()
    });
    let ends = WALLCLOCK.as_secs() + 100;
    let username = format!("{ends}:cy");
    let mut cy = Client::new(
        "192.0.2.1:5000",
        &username,
        &rest_password(b"new", &username),
    );
    let answer = cy.ask(&mut lab, ALLOCATE, &[UDP]);
    assert_eq!(lifetime(&answer), 100);
    lab.wait(99);
    assert_eq!(lifetime(&cy.ask(&mut lab, REFRESH, &[])), 1);
    assert_eq!(lab.server.allocation_count(), 1);
    // A credential for the same name that lasts longer goes on with it.
    let longer = format!("{}:cy", ends + 5000);
    let mut again = Client::new("192.0.2.1:5000", &longer, &rest_password(b"old", &longer));
    assert_eq!(lifetime(&again.ask(&mut lab, REFRESH, &[])), 600);
    lab.wait(1);
    assert_eq!(lab.server.allocation_count(), 1);
    assert_eq!(cy.code(&mut lab, REFRESH, &[]), Some(401));
    let other = format!("{}:dot", ends + 5000);
    let mut dot = Client::new("192.0.2.1:5000", &other, &rest_password(b"old", &other));
    assert_eq!(dot.code(&mut lab, REFRESH, &[]), Some(441));
    let mut wrong = Client::new("192.0.2.1:5000", &other, &rest_password(b"odd", &other));
    assert_eq!(wrong.code(&mut lab, REFRESH, &[]), Some(401));
}

#[test]
fn quotas_are_of_users_addresses_and_all() {
    let quotas = Quotas {
        per_user: 2,
        per_address: 3,
        total: 5,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let mut codes = |who: fn(&str) -> Client, ip: &str, ports: std::ops::Range<u16>| {
        let each = ports.map(|port| who(&format!("{ip}:{port}")).code(&mut lab, ALLOCATE, &[UDP]));
        each.collect::<Vec<_>>()
    };
    assert_eq!(
        codes(Client::ann, "192.0.2.1", 1..4),
        [None, None, Some(486)]
    );
    assert_eq!(codes(Client::bob, "192.0.2.1", 5..7), [None, Some(486)]);
    assert_eq!(codes(Client::bob, "192.0.2.2", 1..3), [None, Some(486)]);
    // What ends is free again.
    let mut ann = Client::ann("192.0.2.1:1");
    assert_eq!(ann.code(&mut lab, REFRESH, &[Attribute::Lifetime(0)]), None);
    assert_eq!(
        Client::ann("192.0.2.3:1").code(&mut lab, ALLOCATE, &[UDP]),
        None
    );
    let per_user = Quotas {
        per_user: 9,
        ..lab.server.config.quotas.clone()
    };
    lab.server.config.quotas = per_user;
    assert_eq!(
        Client::ann("192.0.2.4:1").code(&mut lab, ALLOCATE, &[UDP]),
        None
    );
    assert_eq!(
        Client::ann("192.0.2.5:1").code(&mut lab, ALLOCATE, &[UDP]),
        Some(508)
    );
}

#[test]
fn a_port_that_another_program_has_is_not_given_away() {
    let mut lab = Lab::new(Config {
        ports: 50000..=50003,
        ..config()
    });
    lab.server
        .check_ports_with(|_, address| address.port() == 50001);
    let mut ann = Client::ann("192.0.2.1:1");
    assert_eq!(ann.allocate(&mut lab).port(), 50001);
    let mut late = Client::ann("192.0.2.1:2");
    assert_eq!(late.code(&mut lab, ALLOCATE, &[UDP]), Some(508));

    // Where no port can be bound, an allocation does not go through all of them.
    let mut lab = Lab::new(config());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    lab.server.check_ports_with(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        false
    });
    let mut ann = Client::ann("192.0.2.1:1");
    assert_eq!(ann.code(&mut lab, ALLOCATE, &[UDP]), Some(508));
    assert!((1..100).contains(&asked.load(Ordering::Relaxed)));
}

#[test]
fn ports_run_out_by_508_and_come_back() {
    let mut lab = Lab::new(Config {
        ports: 50000..=50002,
        ..config()
    });
    let mut seen = Vec::new();
    for port in 1..4 {
        seen.push(
            Client::ann(&format!("192.0.2.1:{port}"))
                .allocate(&mut lab)
                .port(),
        );
    }
    seen.sort_unstable();
    assert_eq!(seen, [50000, 50001, 50002]);
    let mut late = Client::ann("192.0.2.1:9");
    assert_eq!(late.code(&mut lab, ALLOCATE, &[UDP]), Some(508));
    lab.wait(600);
    late.nonce.clear();
    assert_eq!(late.code(&mut lab, ALLOCATE, &[UDP]), None);
}

#[test]
fn an_even_port_keeps_the_next_for_half_a_minute() {
    let mut lab = Lab::new(Config {
        ports: 50000..=50009,
        ..config()
    });
    let even = [UDP, Attribute::EvenPort { reserve_next: true }];
    let allocate = |lab: &mut Lab, at: &str| {
        let answer = Client::ann(at).ask(lab, ALLOCATE, &even);
        let message = Message::parse(&answer).unwrap();
        let token = find(&message, |attribute| match attribute {
            Attribute::ReservationToken(token) => Some(*token),
            _ => None,
        });
        (message.relayed_address().unwrap(), token.unwrap())
    };
    let (first, token) = allocate(&mut lab, "192.0.2.1:1");
    assert_eq!(first.port() % 2, 0);
    let with = |token| [UDP, Attribute::ReservationToken(token)];
    let answer = Client::bob("192.0.2.1:2").ask(&mut lab, ALLOCATE, &with(&token));
    let second = Message::parse(&answer).unwrap().relayed_address().unwrap();
    assert_eq!(second.port(), first.port() + 1);
    assert_eq!(
        Client::bob("192.0.2.1:3").code(&mut lab, ALLOCATE, &with(&token)),
        Some(508)
    );
    let (_, token) = allocate(&mut lab, "192.0.2.1:4");
    lab.wait(30);
    assert_eq!(
        Client::bob("192.0.2.1:5").code(&mut lab, ALLOCATE, &with(&token)),
        Some(508)
    );
}

#[test]
fn both_families_are_had_together_and_ended_apart() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let both = Attribute::AdditionalAddressFamily(AddressFamily::IPV6);
    let answer = ann.ask(&mut lab, ALLOCATE, &[UDP, both]);
    let message = Message::parse(&answer).unwrap();
    let relayed: Vec<bool> = message
        .attributes()
        .filter_map(|attribute| match attribute {
            Attribute::XorRelayedAddress(relayed) => Some(relayed.is_ipv4()),
            _ => None,
        })
        .collect();
    assert_eq!(relayed, [true, false]);
    assert_eq!(ann.permit(&mut lab, address("[2001:db8:9::1]:1")), None);
    assert_eq!(ann.permit(&mut lab, address("203.0.113.7:1")), None);
    let zero = Attribute::Lifetime(0);
    assert_eq!(ann.code(&mut lab, REFRESH, &[IPV6, zero]), None);
    assert_eq!(
        ann.permit(&mut lab, address("[2001:db8:9::1]:1")),
        Some(443)
    );
    assert_eq!(ann.code(&mut lab, REFRESH, &[IPV6]), Some(443));
    assert_eq!(ann.permit(&mut lab, address("203.0.113.7:1")), None);
    assert_eq!(lab.server.allocation_count(), 1);
}

#[test]
fn one_of_two_families_that_is_missing_is_named() {
    let mut only_v4 = config();
    only_v4.relays.truncate(1);
    let mut lab = Lab::new(only_v4);
    let mut ann = Client::ann("192.0.2.1:5000");
    assert_eq!(ann.code(&mut lab, ALLOCATE, &[UDP, IPV6]), Some(440));
    let both = Attribute::AdditionalAddressFamily(AddressFamily::IPV6);
    let answer = ann.ask(&mut lab, ALLOCATE, &[UDP, both]);
    let message = Message::parse(&answer).unwrap();
    assert!(message.relayed_address().is_some());
    let refused = find(&message, |attribute| match attribute {
        Attribute::AddressErrorCode(error) => Some((error.family, error.error.code)),
        _ => None,
    });
    assert_eq!(refused, Some((AddressFamily::IPV6, 440)));
}

#[test]
fn a_draining_server_keeps_what_it_has_and_takes_no_more() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    lab.server.drain();
    assert_eq!(
        Client::bob("192.0.2.1:5001").code(&mut lab, ALLOCATE, &[UDP]),
        Some(508)
    );
    assert_eq!(ann.code(&mut lab, REFRESH, &[]), None);
}
