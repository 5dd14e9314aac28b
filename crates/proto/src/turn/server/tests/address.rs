//! The refusals beside an oracle that was written from the registries of special addresses, and
//! does not share a line with the code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::connection::Streaming;
use super::*;
use crate::turn::server::Cidr;
use proptest::prelude::*;

/// RFC 6890 and what followed it: what is not global, as text.
const REFUSED_V4: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    // Metadata of clouds.
    "169.254.169.254/32",
    "100.100.100.200/32",
];

const REFUSED_V6: [&str; 14] = [
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Bits of a range, by arithmetic on text.
fn range(text: &str) -> (u128, u32, u32) {
    let (ip, prefix) = text.split_once('/').unwrap();
    let prefix: u32 = prefix.parse().unwrap();
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), prefix, 32),
        IpAddr::V6(ip) => (u128::from(ip), prefix, 128),
    }
}

fn within(bits: u128, text: &str) -> bool {
    let (base, prefix, width) = range(text);
    let size = 1_u128.checked_shl(width - prefix).unwrap_or(0);
    bits >= base && (size == 0 || bits - base < size)
}

fn oracle_v4(ip: Ipv4Addr) -> bool {
    REFUSED_V4
        .iter()
        .any(|range| within(u128::from(u32::from(ip)), range))
}

/// Every way to write an IPv4 address as an IPv6 one that something on the way may take apart.
fn encodings(ip: Ipv4Addr) -> Vec<(&'static str, Ipv6Addr)> {
    let [a, b, c, d] = ip.octets();
    let text = |text: String| text.parse::<Ipv6Addr>().unwrap();
    let not = |byte: u8| 255 - byte;
    vec![
        ("mapped", text(format!("::ffff:{ip}"))),
        ("compatible", text(format!("::{ip}"))),
        ("translated", text(format!("::ffff:0:{ip}"))),
        ("NAT64", text(format!("64:ff9b::{ip}"))),
        ("local NAT64", text(format!("64:ff9b:1::{ip}"))),
        (
            "6to4",
            text(format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")),
        ),
        (
            "Teredo client",
            text(format!(
                "2001:0:808:808::{:02x}{:02x}:{:02x}{:02x}",
                not(a),
                not(b),
                not(c),
                not(d)
            )),
        ),
        (
            "Teredo server",
            text(format!(
                "2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}:0:0:f7f7:f7f7"
            )),
        ),
        ("ISATAP", text(format!("2001:db8:5:6:0:5efe:{ip}"))),
        (
            "ISATAP, global",
            text(format!("2001:db8:5:6:200:5efe:{ip}")),
        ),
        (
            "ISATAP in 6to4",
            text(format!("2002:808:808:0:0:5efe:{ip}")),
        ),
    ]
}

/// What becomes of a peer by CreatePermission, ChannelBind, Send and Connect.
fn outcome(peer: IpAddr) -> (bool, bool, bool, bool) {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let both = Attribute::AdditionalAddressFamily(AddressFamily::IPV6);
    ann.ask(&mut lab, Method::ALLOCATE, &[UDP, both]);
    let peer = SocketAddr::new(peer, 53);
    lab.sent.clear();
    lab.datagram(0, ann.at, &send_indication(peer, b"before"));
    assert_eq!(lab.sent, [], "sent without a permission");
    let permitted = ann.permit(&mut lab, peer);
    lab.sent.clear();
    lab.datagram(0, ann.at, &send_indication(peer, b"x"));
    let sent = !lab.sent.is_empty();
    let bound = ann.bind(&mut lab, 0x4000, peer);
    for code in [permitted, bound] {
        assert!(code.is_none() || code == Some(403), "{code:?}");
    }
    let mut over_tcp = Streaming::of_both_families(&mut lab, Client::ann("192.0.2.1:5001"));
    let opened = over_tcp.opens(&mut lab, peer);
    assert!(matches!(opened, Ok(()) | Err(Some(403))), "{opened:?}");
    (permitted.is_none(), bound.is_none(), sent, opened.is_ok())
}

const ALL: (bool, bool, bool, bool) = (true, true, true, true);
const NONE: (bool, bool, bool, bool) = (false, false, false, false);

#[test]
fn both_ends_of_every_refused_range_are_refused_in_every_form_and_their_neighbours_are_not() {
    let mut tried = 0;
    for text in REFUSED_V4 {
        let (base, prefix, _) = range(text);
        let base = base as u32;
        let last = base + (u32::MAX.checked_shr(prefix).unwrap_or(0));
        for edge in [base, last] {
            let ip = Ipv4Addr::from(edge);
            assert_eq!(outcome(ip.into()), NONE, "{ip}");
            for (name, ip) in encodings(ip) {
                assert_eq!(outcome(ip.into()), NONE, "{name} {ip}");
                tried += 1;
            }
        }
        for beside in [base.checked_sub(1), last.checked_add(1)]
            .into_iter()
            .flatten()
        {
            let ip = Ipv4Addr::from(beside);
            let expected = if oracle_v4(ip) { NONE } else { ALL };
            assert_eq!(outcome(ip.into()), expected, "{ip}");
        }
    }
    for text in REFUSED_V6 {
        let (base, prefix, _) = range(text);
        let last = base | u128::MAX.checked_shr(prefix).unwrap_or(0);
        for edge in [base, last] {
            let ip = Ipv6Addr::from(edge);
            assert_eq!(outcome(ip.into()), NONE, "{ip}");
            tried += 1;
        }
    }
    assert!(tried >= 200, "{tried}");
}

#[test]
fn public_addresses_are_relayed_to_and_public_ipv4_behind_translators() {
    for ip in [
        "8.8.8.8",
        "1.1.1.1",
        "203.0.113.9",
        "99.255.255.255",
        "172.32.0.1",
    ] {
        assert_eq!(outcome(ip.parse().unwrap()), ALL, "{ip}");
    }
    for ip in [
        "2606:4700::1111",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2001:db8::9",
    ] {
        assert_eq!(outcome(ip.parse().unwrap()), ALL, "{ip}");
    }
}

#[test]
fn the_machine_itself_is_refused_and_what_is_named_is_allowed() {
    let mut config = config();
    config.policy.own = vec![
        "203.0.113.50".parse().unwrap(),
        "2001:db8::50".parse().unwrap(),
    ];
    config.policy.allow = vec!["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()];
    let mut lab = Lab::new(config.clone());
    let mut ann = Client::ann("192.0.2.1:5000");
    let both = Attribute::AdditionalAddressFamily(AddressFamily::IPV6);
    ann.ask(&mut lab, Method::ALLOCATE, &[UDP, both]);
    let cases = [
        ("203.0.113.50", false),
        ("2001:db8::50", false),
        ("64:ff9b::203.0.113.50", false),
        ("2002:cb00:7132::1", false),
        ("203.0.113.51", true),
        ("10.1.2.3", true),
        ("10.2.2.3", false),
        // Named in the form in which it is meant, and in no other.
        ("::ffff:10.1.2.3", false),
        ("64:ff9b::10.1.2.3", false),
        ("fd00::1", true),
        ("fd00:0:0:1::1", false),
    ];
    for (ip, allowed) in cases {
        let peer = SocketAddr::new(ip.parse().unwrap(), 1);
        let expected = if allowed { None } else { Some(403) };
        assert_eq!(ann.permit(&mut lab, peer), expected, "{ip}");
    }
    let peer = address("203.0.113.51:1");
    lab.server.set_own_addresses(vec![peer.ip()]);
    assert_eq!(ann.permit(&mut lab, peer), Some(403));
    assert_eq!(ann.permit(&mut lab, address("203.0.113.50:1")), None);
    config.policy.allowed_only = true;
    let mut lab = Lab::new(config);
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, relayed), Some(403));
    assert_eq!(ann.permit(&mut lab, address("8.8.8.8:1")), Some(403));
    assert_eq!(ann.permit(&mut lab, address("10.1.2.3:1")), None);
}

#[test]
fn one_refused_peer_refuses_the_request_and_nothing_is_permitted() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let good = address("203.0.113.9:1");
    let attributes = [good, address("127.0.0.1:1")].map(Attribute::XorPeerAddress);
    let code = ann.code(&mut lab, Method::CREATE_PERMISSION, &attributes);
    assert_eq!(code, Some(403));
    assert_eq!(lab.exchange(ann.at, &send_indication(good, b"x")), None);
    let other = [good, address("[2001:db8::9]:1")].map(Attribute::XorPeerAddress);
    assert_eq!(
        ann.code(&mut lab, Method::CREATE_PERMISSION, &other),
        Some(443)
    );
    assert_eq!(
        ann.code(&mut lab, Method::CREATE_PERMISSION, &[]),
        Some(400)
    );
    let many: Vec<_> = (0..129_u8)
        .map(|last| Attribute::XorPeerAddress(SocketAddr::new([203, 0, 113, last].into(), 1)))
        .collect();
    assert_eq!(
        ann.code(&mut lab, Method::CREATE_PERMISSION, &many),
        Some(508)
    );
    assert_eq!(
        ann.code(&mut lab, Method::CREATE_PERMISSION, &many[..128]),
        None
    );
}

#[test]
fn ranges_read_and_hold_what_they_say() {
    let range = |text: &str| text.parse::<Cidr>();
    for bad in [
        "",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "ten",
        "10.0.0.0/",
        "10.0.0.0/-1",
    ] {
        assert!(range(bad).is_err(), "{bad}");
    }
    assert!(
        range("0.0.0.0/0")
            .unwrap()
            .contains("9.9.9.9".parse().unwrap())
    );
    assert!(range("::/0").unwrap().contains("ff::".parse().unwrap()));
    assert!(!range("::/0").unwrap().contains("9.9.9.9".parse().unwrap()));
    assert!(
        range("10.0.0.1")
            .unwrap()
            .contains("10.0.0.1".parse().unwrap())
    );
    assert!(
        !range("10.0.0.1")
            .unwrap()
            .contains("10.0.0.2".parse().unwrap())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_ipv4_address_and_all_its_forms_are_judged_alike(bits in any::<u32>()) {
        let ip = Ipv4Addr::from(bits);
        let refused = oracle_v4(ip);
        // 203.0.113.50 and the relay's own address have rules of their own.
        prop_assume!(ip != Ipv4Addr::new(198, 51, 100, 1));
        prop_assert_eq!(outcome(ip.into()), if refused { NONE } else { ALL });
        for (name, form) in encodings(ip) {
            let never = matches!(name, "mapped" | "compatible" | "translated" | "local NAT64");
            let expected = if refused || never { NONE } else { ALL };
            prop_assert_eq!(outcome(form.into()), expected, "{} {}", name, form);
        }
    }

    #[test]
    fn nothing_outside_the_global_range_is_relayed_to(bits in any::<u128>()) {
        let ip = Ipv6Addr::from(bits);
        let global = within(bits, "2000::/3") || within(bits, "64:ff9b::/96");
        if !global || REFUSED_V6.iter().any(|range| within(bits, range)) {
            prop_assert_eq!(outcome(ip.into()), NONE, "{}", ip);
        }
    }
}

/// Beside the four addresses of behaviour discovery a server has others, which do all but that.
#[test]
fn a_listener_beside_those_of_behaviour_discovery_relays_and_knows_no_other_address() {
    let (primary, other) = (address("198.51.100.1:3478"), address("198.51.100.2:3479"));
    let mut lab = Lab::new(Config {
        discovery: crate::stun_server::Discovery::new(primary, other),
        ..config()
    });
    let binding = plain(Method::BINDING, TransactionId([1; 12]), &[]);
    let at = address("[2001:db8:9::1]:5000");
    let is_told = |lab: &mut Lab, socket: u32| {
        lab.sent.clear();
        lab.datagram(socket, at, &binding);
        let (from, to, answer) = lab.sent.first().unwrap();
        assert_eq!((*from, *to), (SocketId(socket), at));
        let message = Message::parse(answer).unwrap();
        assert_eq!(message.mapped_address(), Some(at));
        find(&message, |attribute| match attribute {
            Attribute::OtherAddress(other) => Some(other),
            _ => None,
        })
    };
    assert_eq!(is_told(&mut lab, 0), Some(other));
    assert_eq!(is_told(&mut lab, 3), Some(primary));
    assert_eq!(is_told(&mut lab, 4), None);
    let change = Attribute::ChangeRequest {
        ip: true,
        port: true,
    };
    let allocate = plain(Method::ALLOCATE, TransactionId([2; 12]), &[UDP]);
    let changed = plain(Method::BINDING, TransactionId([3; 12]), &[change]);
    for (socket, bytes, code) in [(4, &allocate, Some(401)), (4, &changed, Some(420))] {
        lab.sent.clear();
        lab.datagram(socket, at, bytes);
        let (from, _, answer) = lab.sent.first().unwrap();
        assert_eq!(*from, SocketId(socket));
        assert_eq!(Message::parse(answer).unwrap().error_code(), code);
    }
    lab.sent.clear();
    lab.datagram(3, at, &allocate);
    assert_eq!(lab.sent, [], "nothing but discovery");
    // Without it, every listener relays.
    let mut lab = Lab::new(config());
    lab.datagram(1, at, &allocate);
    assert_eq!(lab.sent.len(), 1);
}
