//! Networks that are not one translator of IPv4 each: both ends behind the same one, IPv6, both
//! families, one of them broken, and IPv6 that reaches IPv4 through a translator.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::ice::RelayProtocol;
use twocan_proto::negotiate::Kind;
use twocan_scenarios::{Call, Place, Setting, seeds};
use twocan_sim::{Families, LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

/// Of all links; one way between two sites goes over two of them.
const DELAY: Duration = Duration::from_millis(10);

const BOTH: &[RelayProtocol] = &[RelayProtocol::Udp, RelayProtocol::Tcp];

/// The way that data is to take in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Between addresses that the hosts themselves have, in one network.
    Near,
    OverV4,
    OverV6,
    Relayed,
}

fn way(call: &Call, index: usize) -> Option<Way> {
    let route = call.peer(index).route()?;
    let (local, remote) = (route.path.local.ip(), route.remote.ip());
    let relays: [IpAddr; 3] = [
        "192.0.2.2".parse().unwrap(),
        "2001:db8:ffff::2".parse().unwrap(),
        "64:ff9b::192.0.2.2".parse().unwrap(),
    ];
    let is_translated = |ip: IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.segments().starts_with(&[0x64, 0xff9b]),
    };
    let is_near = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [10, ..] | [100, 64, ..]),
        IpAddr::V6(_) => false,
    };
    Some(if relays.contains(&local) || relays.contains(&remote) {
        Way::Relayed
    } else if is_near(local) && is_near(remote) {
        Way::Near
    } else if remote.is_ipv4() || is_translated(remote) {
        Way::OverV4
    } else {
        Way::OverV6
    })
}

fn with_loss(per_mille: u32) -> LinkConfig {
    LinkConfig {
        delay: DELAY,
        loss: match per_mille {
            0 => Loss::None,
            per_mille => Loss::Independent { per_mille },
        },
        ..LinkConfig::default()
    }
}

/// Losses of one link, which are about 5 % and 20 % one way between two sites, and how long
/// connecting and settling may take then.
const LOSSES: [(u32, Duration); 3] = [
    (0, Duration::from_secs(8)),
    (26, Duration::from_secs(20)),
    (106, Duration::from_secs(35)),
];

/// A tenth of the seeds of a run: there are many rows.
fn seeds_of_a_row() -> Vec<u64> {
    let all = seeds();
    let count = all.len().div_ceil(10);
    all.into_iter().take(count).collect()
}

/// Connects with each loss, and has both sides settle for the way. Without loss both are connected
/// within `bound`.
fn expect(name: &str, setting: &Setting, expected: Way, bound: Duration) {
    for (loss, limit) in LOSSES {
        let setting = Setting {
            link: with_loss(loss),
            ..setting.clone()
        };
        for seed in seeds_of_a_row() {
            let name = format!("{name}, {loss} ‰, seed {seed}");
            let mut call = Call::new(seed, &setting);
            call.with(0, |peer, _| {
                peer.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"])
            })
            .unwrap();
            call.offer(0);
            let connected = call.run_until(limit, Call::is_connected);
            assert!(connected, "{name}: not connected, {}", call.explain());
            let took = call.world.elapsed();
            assert!(loss > 0 || took <= bound, "{name}: {took:?} of {bound:?}");
            // Where checks are lost, the other family may be there first, and is as direct.
            let other = (loss > 0 && expected == Way::OverV6).then_some(Way::OverV4);
            let settled = call.run_until(limit, |call| {
                (0..2).all(|index| {
                    let way = way(call, index);
                    way == Some(expected) || (way.is_some() && way == other)
                })
            });
            let ways = [0, 1].map(|index| way(&call, index));
            assert!(settled, "{name}: {ways:?}, {}", call.explain());
        }
    }
}

/// The offer, the answer, and the callee's candidates as they come: 90 ms. Two round trips to the
/// server, three between the peers and two for DTLS: 280 ms. A check that came before the other
/// side's was sent is repeated after 200 ms at most.
const BOUND: Duration = Duration::from_millis(90 + 280 + 200);

/// The same where each round trip goes over twice the links.
const FAR_BOUND: Duration = Duration::from_millis(90 + 2 * 280 + 200);

#[test]
fn behind_one_translator_the_addresses_of_the_hosts_win() {
    for nat in [
        NatConfig::FULL_CONE,
        NatConfig::PORT_RESTRICTED,
        NatConfig::SYMMETRIC,
        NatConfig::BLOCKED,
        NatConfig::ONLY_TCP_443,
    ] {
        let setting = Setting {
            nats: [Some(nat), None],
            place: Place::OneSite,
            stun: true,
            turn: BOTH,
            ..Setting::default()
        };
        // Nothing between the peers but 0.2 ms each way; signaling is what takes time.
        let bound = Duration::from_millis(90 + 60);
        expect(&format!("{nat:?}"), &setting, Way::Near, bound);
    }
}

#[test]
fn homes_behind_one_carrier_meet_where_it_lets_them() {
    let carrier = NatConfig::ADDRESS_RESTRICTED;
    let turns_back = NatConfig {
        hairpin: true,
        ..carrier
    };
    let homes = [Some(NatConfig::PORT_RESTRICTED); 2];
    for (name, nats, carrier, expected) in [
        ("routed", [None, None], carrier, Way::Near),
        ("homes, no hairpin", homes, carrier, Way::Relayed),
        ("homes, hairpin", homes, turns_back, Way::OverV4),
    ] {
        let setting = Setting {
            nats,
            place: Place::WithinOne(carrier),
            stun: true,
            turn: BOTH,
            ..Setting::default()
        };
        expect(name, &setting, expected, FAR_BOUND);
    }
}

/// What the two sides have, whether the servers have IPv6, and what comes of it.
const FAMILIES: [(Families, Families, bool, Way); 12] = {
    use Families::{Dual, DualBroken, Nat64, V4, V6};
    [
        (V6, V6, true, Way::OverV6),
        (V6, Dual, true, Way::OverV6),
        (Dual, Dual, true, Way::OverV6),
        (Dual, V4, true, Way::OverV4),
        // No address of one family on both sides: the relay has both (RFC 8656 §7.2).
        (V6, V4, true, Way::Relayed),
        (V4, V6, true, Way::Relayed),
        (V6, DualBroken, true, Way::Relayed),
        // Servers of IPv4 alone, and the other side, reached through the translator.
        (Nat64, V4, false, Way::OverV4),
        (V4, Nat64, false, Way::OverV4),
        (Nat64, Nat64, false, Way::OverV6),
        (Nat64, Dual, false, Way::OverV6),
        (Nat64, DualBroken, false, Way::OverV4),
    ]
};

#[test]
fn families_that_both_sides_have_are_used_and_a_relay_joins_others() {
    for (caller, callee, servers_have_v6, expected) in FAMILIES {
        let nats = [caller, callee].map(|own| match own {
            Families::V4 | Families::Dual | Families::DualBroken => {
                Some(NatConfig::PORT_RESTRICTED)
            }
            Families::V6 | Families::Nat64 => None,
        });
        let setting = Setting {
            nats,
            families: [caller, callee],
            servers_have_v6,
            stun: true,
            turn: BOTH,
            ..Setting::default()
        };
        let name = format!("{caller:?} and {callee:?}");
        expect(&name, &setting, expected, BOUND);
    }
}

/// RFC 7050: what has an address of IPv4 and no name is reached from a network with IPv6 alone.
#[test]
fn servers_that_are_given_by_an_address_are_reached_through_a_nat64() {
    let direct = [Some(NatConfig::PORT_RESTRICTED); 2];
    let relayed = [Some(NatConfig::SYMMETRIC_RANDOM); 2];
    for families in [
        [Families::Nat64, Families::V4],
        [Families::V4, Families::Nat64],
    ] {
        for (nats, expected) in [(direct, Way::OverV4), (relayed, Way::Relayed)] {
            let setting = Setting {
                nats,
                families,
                servers_by_address: true,
                stun: true,
                turn: BOTH,
                ..Setting::default()
            };
            expect(&format!("{families:?}"), &setting, expected, BOUND);
        }
    }
}

/// RFC 8421: addresses of a family over which nothing passes must not hold up the other. Each pair
/// of them costs one check of the 20 ms between two, and nothing is waited for.
#[test]
fn a_broken_family_holds_nothing_up() {
    for families in [
        [Families::Dual, Families::DualBroken],
        [Families::DualBroken, Families::Dual],
        [Families::DualBroken; 2],
    ] {
        for nats in [[None, None], [Some(NatConfig::PORT_RESTRICTED); 2]] {
            let setting = Setting {
                nats,
                families,
                servers_have_v6: true,
                stun: true,
                turn: BOTH,
                ..Setting::default()
            };
            let name = format!("{families:?}, {}", nats[0].is_some());
            expect(&name, &setting, Way::OverV4, BOUND);
        }
    }
}
