//! Every pair of ten kinds of networks, with each kind of server, in each family of addresses, with
//! and without loss: which way wins, how many round trips it takes, and that none hangs.
//!
//! A run takes a twelfth of the cells, with one seed. `TWOCAN_GRID_SEEDS` is how many seeds of every
//! cell are run instead, from 1; `TWOCAN_SEED` takes that seed alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use twocan_proto::ice::RelayProtocol;
use twocan_proto::negotiate::Kind as MediaKind;
use twocan_proto::peer::ConnectionState;
use twocan_scenarios::{Call, Place, Setting, seeds};
use twocan_sim::{Families, LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

/// Of all links; one way between two sites goes over two of them, and over one more for each side
/// that is in another's network.
const DELAY: Duration = Duration::from_millis(10);

/// What is between a peer and the world.
#[derive(Debug, Clone, Copy)]
struct Network {
    name: &'static str,
    nat: Option<NatConfig>,
    /// The translator of the network that it is in.
    carrier: Option<NatConfig>,
    /// Two such are in the network of one carrier.
    is_shared: bool,
}

const fn network(name: &'static str, nat: Option<NatConfig>) -> Network {
    Network {
        name,
        nat,
        carrier: None,
        is_shared: false,
    }
}

/// RFC 6888 §3 has endpoint-independent mapping there; this one does not turn back to its own
/// network what is sent to its public address.
const CARRIER: NatConfig = NatConfig::ADDRESS_RESTRICTED;

const NETWORKS: [Network; 10] = [
    network("open", None),
    network("full cone", Some(NatConfig::FULL_CONE)),
    network("address-restricted", Some(NatConfig::ADDRESS_RESTRICTED)),
    network("port-restricted", Some(NatConfig::PORT_RESTRICTED)),
    network("symmetric", Some(NatConfig::SYMMETRIC)),
    network("symmetric, random ports", Some(NatConfig::SYMMETRIC_RANDOM)),
    network("UDP blocked", Some(NatConfig::BLOCKED)),
    network("TCP to 443 alone", Some(NatConfig::ONLY_TCP_443)),
    Network {
        carrier: Some(CARRIER),
        ..network("double", Some(NatConfig::PORT_RESTRICTED))
    },
    Network {
        carrier: Some(CARRIER),
        is_shared: true,
        ..network("no hairpin", Some(NatConfig::PORT_RESTRICTED))
    },
];

/// Which pairs of [`NETWORKS`] UDP of IPv4 connects once each side knows the other as a server
/// sees it.
const PUNCHED: [&str; 10] = [
    "++++++..++",
    "++++++..++",
    "++++++..++",
    "++++....++",
    "+++.......",
    "+++.......",
    "..........",
    "..........",
    "++++....++",
    "++++....+.",
];

const OPEN: usize = 0;
const FULL_CONE: usize = 1;
const BLOCKED: usize = 6;
const ONLY_443: usize = 7;

/// The one server of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Stun,
    Turn(RelayProtocol),
}

const SERVERS: [Server; 4] = [
    Server::Stun,
    Server::Turn(RelayProtocol::Udp),
    Server::Turn(RelayProtocol::Tcp),
    Server::Turn(RelayProtocol::Tls),
];

impl Server {
    fn protocols(self) -> &'static [RelayProtocol] {
        match self {
            Self::Stun => &[],
            Self::Turn(RelayProtocol::Udp) => &[RelayProtocol::Udp],
            Self::Turn(RelayProtocol::Tcp) => &[RelayProtocol::Tcp],
            Self::Turn(RelayProtocol::Tls) => &[RelayProtocol::Tls],
        }
    }

    /// Whether it tells the addresses from which our datagrams come.
    const fn tells_addresses(self) -> bool {
        matches!(self, Self::Stun | Self::Turn(RelayProtocol::Udp))
    }

    /// Whether it relays for a peer in such a network, by its number.
    const fn relays_for(self, network: usize) -> bool {
        match self {
            Self::Stun => false,
            Self::Turn(RelayProtocol::Udp) => passes_udp(network),
            Self::Turn(RelayProtocol::Tcp) => network != ONLY_443,
            Self::Turn(RelayProtocol::Tls) => true,
        }
    }
}

const fn passes_udp(network: usize) -> bool {
    network != BLOCKED && network != ONLY_443
}

/// What addresses there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    V4,
    V6,
    Dual,
    /// One side has IPv6 and a NAT64, the other IPv4; servers have IPv4 alone.
    Nat64,
}

/// The way that data is to take in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    OverV4,
    OverV6,
    Relayed,
    /// There is none.
    Nowhere,
}

/// In thousandths, one way between two sites, and how long connecting and settling may take then.
const LOSSES: [(u32, Duration); 3] = [
    (0, Duration::from_secs(8)),
    (50, Duration::from_secs(20)),
    (200, Duration::from_secs(35)),
];

/// Whoever has no way gives up this long after the descriptions were exchanged (the default of ICE's
/// patience); signaling is quicker than the rest.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(41);

/// One of those of the grid.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Numbers of [`NETWORKS`].
    pair: [usize; 2],
    server: Server,
    addresses: Addresses,
    loss: usize,
    /// The side with the NAT64, where there is one.
    translated: usize,
}

impl Cell {
    fn name(&self) -> String {
        let [one, other] = self.pair.map(|own| NETWORKS[own].name);
        let (server, addresses, loss) = (self.server, self.addresses, LOSSES[self.loss].0);
        let translated = match addresses {
            Addresses::Nat64 => format!(" at {}", self.translated),
            _ => String::new(),
        };
        format!("{one} and {other}, {server:?}, {addresses:?}{translated}, {loss} ‰")
    }

    fn expected(&self) -> Way {
        let both = |holds: fn(usize) -> bool| self.pair.into_iter().all(holds);
        let has_udp = both(passes_udp);
        // A host in the open takes streams on any port.
        let has_tcp = self.pair.contains(&OPEN) && self.pair.contains(&BLOCKED);
        // Without translation each knows its own address, and both send.
        let over_v6 = has_udp || has_tcp;
        let over_v4 = match self.server.tells_addresses() {
            true => PUNCHED[self.pair[0]].as_bytes()[self.pair[1]] == b'+',
            // Who is in the open is reached, and so learns of the other.
            false => has_udp && self.pair.contains(&OPEN),
        };
        // The side with IPv6 reaches addresses of IPv4 that it is told by its NAT64, which is a
        // translator like others; one that keeps nobody out where that network has none.
        let through_nat64 = {
            let mut pair = self.pair;
            let own = &mut pair[self.translated];
            *own = if *own == OPEN { FULL_CONE } else { *own };
            let punched = PUNCHED[pair[0]].as_bytes()[pair[1]] == b'+';
            match self.server.tells_addresses() {
                true => punched,
                // Who is in the open is reached, and so learns of the other. Streams between hosts do
                // not go through a NAT64 in this world.
                false => has_udp && self.pair[1 - self.translated] == OPEN,
            }
        };
        let direct = match self.addresses {
            Addresses::V4 => (over_v4 || has_tcp).then_some(Way::OverV4),
            Addresses::V6 | Addresses::Dual => over_v6.then_some(Way::OverV6),
            Addresses::Nat64 => through_nat64.then_some(Way::OverV4),
        };
        let mut pair = self.pair.into_iter();
        let relayed = pair.all(|own| self.server.relays_for(own));
        direct.unwrap_or(match relayed {
            true => Way::Relayed,
            false => Way::Nowhere,
        })
    }

    fn setting(&self) -> Setting {
        let sides = self.pair.map(|own| NETWORKS[own]);
        let families = match self.addresses {
            Addresses::V4 => [Families::V4; 2],
            Addresses::V6 => [Families::V6; 2],
            Addresses::Dual => [Families::Dual; 2],
            Addresses::Nat64 => [0, 1].map(|index| match index == self.translated {
                true => Families::Nat64,
                false => Families::V4,
            }),
        };
        let nats = [0, 1].map(|index: usize| match (families[index], sides[index].nat) {
            // One that keeps nobody out is as open as they come.
            (Families::Nat64, None) => Some(NatConfig::FULL_CONE),
            (_, nat) => nat,
        });
        let place = match sides.map(|own| (own.carrier, own.is_shared)) {
            [(Some(carrier), true), (Some(_), true)] => Place::WithinOne(carrier),
            [(None, _), (None, _)] => Place::Apart,
            [(one, _), (other, _)] => Place::Within([one, other]),
        };
        let plain = LinkConfig {
            delay: DELAY,
            ..LinkConfig::default()
        };
        let loss = match LOSSES[self.loss].0 {
            0 => Loss::None,
            // Of two links one after the other.
            50 => Loss::Independent { per_mille: 26 },
            per_mille => Loss::Independent {
                per_mille: per_mille * 106 / 200,
            },
        };
        Setting {
            link: LinkConfig { loss, ..plain },
            outer_link: Some(plain),
            nats,
            place,
            families,
            servers_have_v6: matches!(self.addresses, Addresses::V6 | Addresses::Dual),
            stun: self.server == Server::Stun,
            turn: self.server.protocols(),
            ..Setting::default()
        }
    }

    /// How many round trips connecting takes at most without loss, DTLS included, in tenths.
    fn trips_max(&self) -> u32 {
        match self.expected() {
            Way::Relayed => 60,
            // A check that came before the other side's was sent is repeated after 200 ms at most, and
            // streams wait for 250 ms, in which UDP may be there first.
            _ => 100,
        }
    }

    /// Between the two, by way of the world's middle.
    fn round_trip(&self) -> Duration {
        let inner = self.pair.into_iter();
        let inner = inner.filter(|own| NETWORKS[*own].carrier.is_some());
        DELAY * 2 * (2 + inner.count() as u32)
    }
}

fn way(call: &Call, index: usize) -> Option<Way> {
    let route = call.peer(index).route()?;
    let (local, remote) = (route.path.local.ip(), route.remote.ip());
    let is_relay = |ip: IpAddr| {
        ["192.0.2.2", "2001:db8:ffff::2", "64:ff9b::192.0.2.2"]
            .into_iter()
            .any(|own| ip == own.parse::<IpAddr>().unwrap())
    };
    let is_translated = |ip: IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.segments().starts_with(&[0x64, 0xff9b]),
    };
    Some(if is_relay(local) || is_relay(remote) {
        Way::Relayed
    } else if remote.is_ipv4() || is_translated(remote) {
        Way::OverV4
    } else {
        Way::OverV6
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of a cell, by the numbers of its block and of its pair; none where it is left out. Of
/// the twelve blocks of each kind of addresses, every pair is in one.
fn seeds_of(block: usize, pair: usize) -> Vec<u64> {
    match (number("TWOCAN_SEED"), number("TWOCAN_GRID_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1..=count).collect(),
        (None, None) if (pair + 7 * block).is_multiple_of(12) => vec![1],
        (None, None) => Vec::new(),
    }
}

/// Runs one cell with one seed, and answers how many round trips it took to connect, in tenths, or
/// what went wrong.
fn run(cell: &Cell, seed: u64) -> Result<u32, String> {
    let expected = cell.expected();
    let (loss, limit) = LOSSES[cell.loss];
    let mut call = Call::new(seed, &cell.setting());
    call.with(0, |peer, _| {
        peer.add_transceiver(MediaKind::Audio, Direction::SendRecv, &["s"])
    })
    .unwrap();
    call.offer(0);
    let states = |call: &Call| [0, 1].map(|index| call.peer(index).connection_state());
    let wrong = |call: &Call| {
        let ways = [0, 1].map(|index| way(call, index));
        let name = cell.name();
        format!(
            "{name}, seed {seed}: {ways:?}, not {expected:?}, {}",
            call.explain()
        )
    };
    if expected == Way::Nowhere {
        // With a look only now and then, which is most of what such a time costs.
        while call.world.elapsed() < GIVES_UP_WITHIN {
            call.run_for(Duration::from_millis(1));
            call.world.run_for(Duration::from_millis(250));
        }
        call.run_for(Duration::from_millis(1));
        let given_up = states(&call) == [ConnectionState::Failed; 2];
        return given_up.then_some(0).ok_or_else(|| wrong(&call));
    }
    if !call.run_until(limit, Call::is_connected) {
        return Err(wrong(&call));
    }
    // Offer, answer, and the callee's candidates as they come.
    let signaling = 3 * Setting::default().signaling;
    let took = call.world.elapsed().saturating_sub(signaling);
    // Where checks are lost, the other family may be there first, and is as direct.
    let other = (loss > 0 && cell.addresses == Addresses::Dual).then_some(Way::OverV4);
    let settled = call.run_until(limit, |call| {
        (0..2).all(|index| {
            let way = way(call, index);
            way == Some(expected) || (way.is_some() && way == other)
        })
    });
    let trips = (10 * took.as_micros()).div_ceil(cell.round_trip().as_micros()) as u32;
    let in_time = loss > 0 || trips <= cell.trips_max();
    let right = (settled && in_time).then_some(trips);
    right.ok_or_else(|| format!("{trips} tenths of a round trip; {}", wrong(&call)))
}

/// All of the grid with such addresses, of which it prints the slowest.
#[expect(clippy::print_stdout, reason = "a table for whoever asks for it")]
fn grid(addresses: Addresses) {
    let mut slowest: BTreeMap<(String, Way), (u32, String)> = BTreeMap::new();
    let (mut runs, mut failures) = (0, Vec::new());
    let blocks = SERVERS.len() * LOSSES.len();
    for (block, pair) in (0..blocks).flat_map(|block| (0..100).map(move |pair| (block, pair))) {
        for seed in seeds_of(block, pair) {
            let cell = Cell {
                pair: [pair / 10, pair % 10],
                server: SERVERS[block / LOSSES.len()],
                addresses,
                loss: block % LOSSES.len(),
                translated: (seed as usize + pair / 10) % 2,
            };
            runs += 1;
            let took = run(&cell, seed).unwrap_or_else(|why| {
                failures.push(why);
                0
            });
            let row = format!("{:?}, {} ‰", cell.server, LOSSES[cell.loss].0);
            let before = slowest.entry((row, cell.expected())).or_default();
            if took > before.0 {
                *before = (took, cell.name());
            }
        }
    }
    println!("{addresses:?}: {runs} runs");
    for ((row, way), (took, name)) in slowest {
        let trips = f64::from(took) / 10.0;
        println!("{addresses:?}, {row}, {way:?}: at most {trips:.1} round trips ({name})");
    }
    let count = failures.len();
    assert_eq!(count, 0, "of {runs} runs\n{}", failures.join("\n"));
}

#[test]
fn every_pair_of_networks_of_ipv4() {
    grid(Addresses::V4);
}

#[test]
fn every_pair_of_networks_of_ipv6() {
    grid(Addresses::V6);
}

#[test]
fn every_pair_of_networks_of_both_families() {
    grid(Addresses::Dual);
}

#[test]
fn every_pair_of_networks_of_which_one_has_a_nat64() {
    grid(Addresses::Nat64);
}

/// Behind a NAT64 a check through the other side's relay looks like one from an address that nobody
/// told. Where it is there first, the direct way is found and taken all the same.
#[test]
fn a_relay_behind_a_nat64_is_no_direct_way() {
    for (seed, translated) in seeds().into_iter().flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let cell = Cell {
            pair: [OPEN, OPEN],
            server: Server::Turn(RelayProtocol::Udp),
            addresses: Addresses::Nat64,
            loss: 1,
            translated,
        };
        run(&cell, seed).unwrap();
    }
}
