//! How long sound and pictures are away while a call moves: ICE restarts, addresses that go and
//! come, families that die, translators that forget.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "figures are there to be read")]

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::{Config, ConnectionState, IceTransportPolicy, Interfaces};
use twocan_scenarios::media::{Plan, Scene};
use twocan_scenarios::{Setting, seeds};
use twocan_sim::{Families, LinkConfig, Loss, NatConfig};
use twocan_wire::units::Bitrate;

/// So long neither sound nor pictures may be away, at either receiver.
const LIMIT: Duration = Duration::from_secs(1);

/// Of all links: a round trip between two sites takes 60 ms.
const DELAY: Duration = ms(15);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A twentieth of the seeds of a run: each is seconds of media in many settings.
fn some_seeds() -> Vec<u64> {
    let all = seeds();
    let count = all.len().div_ceil(20);
    all.into_iter().take(count).collect()
}

/// What is done in the middle of a call, to the one side or to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// That side offers with an ICE restart.
    Restart,
    /// Its address becomes another at once.
    OtherAddress,
    /// Its address goes, and another comes so much later.
    AddressAfter(Duration),
    /// The one of its two addresses that is in use goes.
    InterfaceLost,
    /// Nothing passes over IPv6 any more, of which nobody is told.
    FamilyDies,
    /// Its translator forgets all mappings.
    Rebinding,
}

/// Another address of the same network.
fn beside(ip: IpAddr, last: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, last])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, _] = ip.segments();
            Ipv6Addr::new(a, b, c, d, e, f, g, last.into()).into()
        }
    }
}

fn set_addresses(scene: &mut Scene, who: usize, added: &[IpAddr], removed: &[IpAddr]) {
    let interfaces = Interfaces {
        added: added.to_vec(),
        removed: removed.to_vec(),
    };
    let call = &mut scene.call;
    call.with(who, |peer, now| peer.handle_interfaces(now, &interfaces));
}

impl Change {
    /// Does it, and answers from when on media could flow without a pause.
    fn make(self, scene: &mut Scene, who: usize) -> Duration {
        // Media arrives until this moment, and what was sent before it may still be lost.
        let mut from = scene.call.world.elapsed() - ms(100);
        let site = scene.call.sites[who];
        let old = scene.call.world.ip(scene.call.hosts[who]);
        match self {
            Self::Restart => {
                scene.call.with(who, |peer, _| peer.restart_ice());
                scene.call.offer(who);
            }
            Self::OtherAddress => set_addresses(scene, who, &[beside(old, 200)], &[old]),
            Self::AddressAfter(time) => {
                set_addresses(scene, who, &[], &[old]);
                scene.run(time);
                from = scene.call.world.elapsed();
                set_addresses(scene, who, &[beside(old, 200)], &[]);
            }
            Self::InterfaceLost => {
                let used = scene.call.peer(who).route().unwrap().path.local.ip();
                // The address below a relay is the first.
                let own = scene.call.world.ips(scene.call.hosts[who]).contains(&used);
                let lost = if own || used == beside(old, 201) {
                    used
                } else {
                    old
                };
                set_addresses(scene, who, &[], &[lost]);
            }
            Self::FamilyDies => scene.call.world.set_families(site, Families::DualBroken),
            Self::Rebinding => scene.call.world.site(site).nat.as_mut().unwrap().forget(),
        }
        from
    }
}

/// Sound and pictures both ways, and after some seconds the change; answers the longest time for
/// which a receiver had no sound, and the longest for which one had no picture.
fn interruption(
    name: &str,
    setting: &Setting,
    seed: u64,
    change: Change,
    who: usize,
) -> [Duration; 2] {
    let plan = Plan {
        both_ways: true,
        rate_max: Some(Bitrate::kbps(500)),
        ..Plan::new(name, seed, DELAY * 4)
    };
    let mut scene = Scene::within(&plan, setting);
    scene.run(ms(1500));
    if change == Change::InterfaceLost && setting.families[who] == Families::V4 {
        let old = scene.call.world.ip(scene.call.hosts[who]);
        set_addresses(&mut scene, who, &[beside(old, 201)], &[]);
    }
    scene.run(ms(1500));
    let from = change.make(&mut scene, who);
    scene.run(ms(4000));
    let to = scene.call.world.elapsed();
    for index in 0..2 {
        let state = scene.call.peer(index).connection_state();
        let (name, counters) = (&scene.name, scene.call.explain());
        assert_eq!(state, ConnectionState::Connected, "{name} {counters}");
    }
    let each = scene.flows.iter().map(|own| own.interruptions(from, to));
    let longest = each.reduce(|[a, b], [c, d]| [a.max(c), b.max(d)]).unwrap();
    if longest.iter().any(|own| *own >= LIMIT) {
        println!(
            "{name}, seed {seed}, {change:?} of {who}: {longest:?} {}",
            scene.call.explain()
        );
    }
    longest
}

/// Does the change to each side of `sides`, and holds the longest interruption against the limit.
fn expect(name: &str, setting: &Setting, change: Change, sides: &[usize], limit: Duration) {
    let mut longest = [Duration::ZERO; 2];
    for seed in some_seeds() {
        for who in sides {
            let [sound, pictures] = interruption(name, setting, seed, change, *who);
            longest = [longest[0].max(sound), longest[1].max(pictures)];
        }
    }
    let [sound, pictures] = longest.map(|own| own.as_millis());
    println!("{name}, {change:?}: sound {sound} ms, pictures {pictures} ms");
    assert!(
        longest.iter().all(|own| *own < limit),
        "{name}, {change:?}: {longest:?}"
    );
}

fn setting(nats: [Option<NatConfig>; 2]) -> Setting {
    Setting {
        link: LinkConfig {
            delay: DELAY,
            ..LinkConfig::default()
        },
        nats,
        stun: true,
        turn: &[RelayProtocol::Udp],
        ..Setting::default()
    }
}

fn relay_alone(config: &mut Config) {
    config.ice_transport_policy = IceTransportPolicy::Relay;
}

/// Directly, directly through translators, and by a relay.
const NATS: [(&str, [Option<NatConfig>; 2]); 4] = [
    ("one translator", [Some(NatConfig::PORT_RESTRICTED), None]),
    ("one symmetric", [Some(NatConfig::SYMMETRIC), None]),
    ("two translators", [Some(NatConfig::PORT_RESTRICTED); 2]),
    ("two symmetric", [Some(NatConfig::SYMMETRIC); 2]),
];

fn behind(nats: [Option<NatConfig>; 2]) -> Vec<usize> {
    (0..2).filter(|who| nats[*who].is_some()).collect()
}

/// RFC 8445 §9: what was agreed on before is used until the new checks have chosen.
#[test]
fn a_restart_costs_no_sound_and_no_picture() {
    expect(
        "open",
        &setting([None; 2]),
        Change::Restart,
        &[0, 1],
        ms(150),
    );
    for (name, nats) in NATS {
        expect(name, &setting(nats), Change::Restart, &[0, 1], ms(150));
    }
    let relayed = Setting {
        adjust: relay_alone,
        ..setting([Some(NatConfig::PORT_RESTRICTED); 2])
    };
    expect("relays alone", &relayed, Change::Restart, &[0, 1], ms(150));
    let dual = Setting {
        families: [Families::Dual; 2],
        ..setting([Some(NatConfig::PORT_RESTRICTED); 2])
    };
    expect("both families", &dual, Change::Restart, &[0, 1], ms(150));
}

#[test]
fn another_address_interrupts_for_less_than_a_second() {
    for (name, nats) in NATS {
        for change in [
            Change::OtherAddress,
            Change::AddressAfter(ms(500)),
            Change::AddressAfter(ms(2000)),
        ] {
            expect(name, &setting(nats), change, &behind(nats), LIMIT);
        }
    }
}

#[test]
fn an_interface_that_is_lost_interrupts_for_less_than_a_second() {
    for (name, nats) in NATS {
        expect(
            name,
            &setting(nats),
            Change::InterfaceLost,
            &behind(nats),
            LIMIT,
        );
    }
    for nats in [
        [None; 2],
        [Some(NatConfig::PORT_RESTRICTED); 2],
        [Some(NatConfig::SYMMETRIC); 2],
    ] {
        let dual = Setting {
            families: [Families::Dual; 2],
            ..setting(nats)
        };
        expect(
            "both families",
            &dual,
            Change::InterfaceLost,
            &[0, 1],
            LIMIT,
        );
        expect("both families", &dual, Change::FamilyDies, &[0, 1], LIMIT);
    }
}

#[test]
fn a_translator_that_forgets_interrupts_for_less_than_a_second() {
    for (name, nats) in NATS {
        expect(
            name,
            &setting(nats),
            Change::Rebinding,
            &behind(nats),
            LIMIT,
        );
    }
}

#[test]
fn who_has_relays_alone_is_back_within_a_second() {
    let ways: [&[RelayProtocol]; 3] = [
        &[RelayProtocol::Udp],
        &[RelayProtocol::Tcp],
        &[RelayProtocol::Tls],
    ];
    for turn in ways {
        let relayed = Setting {
            turn,
            adjust: relay_alone,
            ..setting([Some(NatConfig::PORT_RESTRICTED); 2])
        };
        let name = format!("relays alone, {turn:?}");
        for change in [
            Change::OtherAddress,
            Change::AddressAfter(ms(500)),
            Change::InterfaceLost,
            Change::Rebinding,
        ] {
            expect(&name, &relayed, change, &[0, 1], LIMIT);
        }
    }
}

/// What is lost of the questions, the answers and the candidates is said again later.
#[test]
fn with_loss_as_well_it_takes_little_more() {
    for (name, nats) in NATS {
        let lossy = Setting {
            link: LinkConfig {
                delay: DELAY,
                // About 5 % one way between two sites.
                loss: Loss::Independent { per_mille: 26 },
                ..LinkConfig::default()
            },
            ..setting(nats)
        };
        let name = format!("{name}, 5 % loss");
        for change in [
            Change::Restart,
            Change::OtherAddress,
            Change::InterfaceLost,
            Change::Rebinding,
        ] {
            expect(&name, &lossy, change, &behind(nats), ms(2500));
        }
    }
}
