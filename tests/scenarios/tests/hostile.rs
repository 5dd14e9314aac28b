//! An attacker who can send from anywhere, and damage what passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::time::Duration;

use twocan_proto::channel::ChannelInit;
use twocan_proto::dtls::{Connection, Role, Settings};
use twocan_proto::peer::ConnectionState;
use twocan_scenarios::{Call, PeerNode, Setting, seeds};
use twocan_sim::{LinkConfig, World, certificate};

/// A datagram of a kind that might do harm, with random content.
fn forged(call: &mut Call) -> Vec<u8> {
    let random = call.world.random();
    let mut bytes = vec![0; 20 + random.below(200) as usize];
    random.fill(&mut bytes);
    match random.below(7) {
        // STUN with a right cookie and length.
        0 => {
            bytes.truncate(bytes.len() & !3);
            let len = (bytes.len() - 20) as u16;
            bytes[..2].copy_from_slice(&[0, 1]);
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        }
        // A ClientHello, an alert, a record of each later epoch.
        1 => bytes[..4].copy_from_slice(&[22, 0xfe, 0xfd, 0]),
        2 => bytes = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
        3 => bytes[0] = 0x2f,
        // RTP, and RTCP that says goodbye.
        4 => bytes[..2].copy_from_slice(&[0x80, 96]),
        5 => bytes[..2].copy_from_slice(&[0x81, 203]),
        _ => {}
    }
    bytes
}

#[test]
fn ten_thousand_forged_datagrams_do_not_disturb_a_call() {
    for seed in seeds() {
        let (mut call, id) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        let victim = call.peer(1).route().unwrap();
        let elsewhere: SocketAddr = "203.0.113.66:6666".parse().unwrap();
        for round in 0..50u32 {
            for shot in 0..20 {
                // In turn from elsewhere, and from the very address of the peer.
                let from = if shot % 2 == 0 {
                    elsewhere
                } else {
                    victim.remote
                };
                let bytes = forged(&mut call);
                call.world.inject(from, victim.path.local, bytes);
            }
            call.with(0, |peer, now| peer.send_text(now, id, format!("{round}")))
                .unwrap();
            let sent_at = call.world.elapsed();
            call.run_for(Duration::from_millis(70));
            assert_eq!(
                call.take_messages(1).len(),
                1,
                "seed {seed}, {}",
                call.explain()
            );
            assert!(call.world.elapsed() - sent_at <= Duration::from_millis(71));
        }
        assert!(call.is_connected(), "seed {seed}, {}", call.explain());
    }
}

#[test]
fn forged_datagrams_during_the_handshake_do_not_stop_it() {
    for seed in seeds() {
        let mut call = Call::new(seed, &Setting::default());
        call.with(0, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        })
        .unwrap();
        call.offer(0);
        let elsewhere: SocketAddr = "203.0.113.66:6666".parse().unwrap();
        for _ in 0..40 {
            call.run_for(Duration::from_millis(10));
            for host in call.hosts.clone() {
                let bytes = forged(&mut call);
                let to = SocketAddr::new(call.world.ip(host), 4000 + 100 * host.0 as u16);
                call.world.inject(elsewhere, to, bytes);
            }
        }
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "seed {seed}, {}", call.explain());
    }
}

#[test]
fn damaged_datagrams_are_dropped_and_their_content_sent_again() {
    for seed in seeds() {
        let (mut call, id) = Call::with_channel(seed, &Setting::default(), ChannelInit::default());
        for site in call.sites {
            let site = call.world.site(site);
            let damaged = LinkConfig {
                damage_per_mille: 100,
                ..site.uplink.config
            };
            site.uplink.config = damaged;
            site.downlink.config = damaged;
        }
        for number in 0..50 {
            let text = format!("{number}").repeat(500);
            call.with(0, |peer, now| peer.send_text(now, id, text))
                .unwrap();
        }
        // Less than consent lasts: of its five or six checks all can be lost.
        call.run_for(Duration::from_secs(25));
        assert_eq!(
            call.take_messages(1).len(),
            50,
            "seed {seed}, {}",
            call.explain()
        );
        // A moment of silence is no failure.
        let failed =
            (0..2).any(|index| call.peer(index).connection_state() == ConnectionState::Failed);
        assert!(!failed, "seed {seed}, {}", call.explain());
    }
}

#[test]
fn damage_from_the_first_datagram_on_only_takes_longer() {
    for seed in seeds() {
        let link = LinkConfig {
            damage_per_mille: 100,
            ..LinkConfig::default()
        };
        let setting = Setting {
            link,
            ..Setting::default()
        };
        let (mut call, id) = Call::with_channel(seed, &setting, ChannelInit::default());
        call.with(0, |peer, now| peer.send_text(now, id, "whole"))
            .unwrap();
        call.run_for(Duration::from_secs(10));
        let messages = call.take_messages(1).len();
        assert_eq!(messages, 1, "seed {seed}, {}", call.explain());
    }
}

/// What a stranger's client and server say first.
fn hellos() -> [Vec<u8>; 2] {
    let settings = Settings::new(1200).unwrap();
    let now = World::<PeerNode>::new(0).now().monotonic;
    let mut ends = [0, 1].map(|index| Connection::new(&settings, &certificate(index), now));
    ends[0].start(now, Role::Client);
    ends[1].start(now, Role::Server);
    let mut client = Vec::new();
    assert!(ends[0].poll_transmit(&mut client));
    ends[1].handle_datagram(now, &client, &mut |_| {});
    let mut server = Vec::new();
    assert!(ends[1].poll_transmit(&mut server));
    [client, server]
}

#[test]
fn forged_hellos_from_the_right_address_do_not_stop_a_handshake() {
    let hellos = hellos();
    for seed in seeds() {
        let mut call = Call::new(seed, &Setting::default());
        call.with(0, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        })
        .unwrap();
        call.offer(0);
        let address = |call: &Call, index: usize| {
            let port = 4000 + 100 * index as u16;
            SocketAddr::new(call.world.ip(call.hosts[index]), port)
        };
        for shot in 0..20 {
            call.run_for(Duration::from_millis(13));
            let to = shot % 2;
            for hello in &hellos {
                let mut bytes = hello.clone();
                // The random, so that no two are the same.
                call.world.random().fill(&mut bytes[27..59]);
                let (from, to) = (address(&call, 1 - to), address(&call, to));
                call.world.inject(from, to, bytes);
            }
        }
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "seed {seed}, {}", call.explain());
    }
}
