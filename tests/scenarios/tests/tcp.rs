//! ICE over TCP: it carries calls where no UDP passes, and nothing where UDP does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelInit, Message};
use twocan_proto::contract::{SocketId, StreamEvent};
use twocan_proto::ice::TcpType;
use twocan_proto::negotiate::Kind;
use twocan_proto::peer::{ConnectionState, Event, IceTransports};
use twocan_proto::rtp::{OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss, NatConfig};
use twocan_wire::sdp::Direction;

/// Of all links; one way between two sites goes over two of them.
const DELAY: Duration = Duration::from_millis(10);

fn setting(loss_per_mille: u32, nats: [Option<NatConfig>; 2]) -> Setting {
    let per_mille = loss_per_mille;
    Setting {
        link: LinkConfig {
            delay: DELAY,
            loss: match loss_per_mille {
                0 => Loss::None,
                _ => Loss::Independent { per_mille },
            },
            ..LinkConfig::default()
        },
        nats,
        ..Setting::default()
    }
}

/// Whether the pair in use is one over TCP.
fn is_over_tcp(call: &Call, index: usize) -> Option<bool> {
    let route = call.peer(index).route()?;
    let mut pairs = call.peer(index).candidate_pairs();
    let used = pairs
        .find(|(local, remote, ..)| *local == route.path.local && remote.address == route.remote);
    used.map(|(_, remote, ..)| remote.tcp.is_some())
}

fn both_over_tcp(call: &Call) -> [Option<bool>; 2] {
    [0, 1].map(|index| is_over_tcp(call, index))
}

/// Messages of up to 64 KiB arrive both ways, whole and in order.
fn talk(call: &mut Call, id: twocan_proto::channel::ChannelId, seed: u64) {
    let lens = [1, 1000, 65_536, 7];
    for len in lens {
        let bytes = vec![len as u8; len];
        call.with(0, |peer, now| peer.send_binary(now, id, bytes))
            .unwrap();
    }
    let mut arrived = Vec::new();
    for _ in 0..1000 {
        call.run_for(Duration::from_millis(20));
        arrived.extend(
            call.take_messages(1)
                .into_iter()
                .map(|message| match message {
                    Message::Binary(bytes) => bytes.len(),
                    Message::Text(text) => text.len(),
                }),
        );
        if arrived.len() == lens.len() {
            break;
        }
    }
    assert_eq!(arrived, lens, "seed {seed} {}", call.explain());
}

#[test]
fn a_call_goes_over_tcp_where_udp_is_blocked() {
    for (loss, blocked) in [(0, 0), (0, 1), (50, 0), (50, 1)] {
        for seed in seeds() {
            let mut nats = [None, None];
            nats[blocked] = Some(NatConfig::BLOCKED);
            let setting = setting(loss, nats);
            let (mut call, id) = Call::with_channel(seed, &setting, ChannelInit::default());
            assert_eq!(
                both_over_tcp(&call),
                [Some(true); 2],
                "seed {seed}, {blocked} is blocked {}",
                call.explain()
            );
            if loss == 0 {
                // Half a second for signaling, a quarter of UDP alone, and the way there and back
                // of TCP, of a check, of DTLS and of SCTP.
                let took = call.world.elapsed();
                assert!(took < Duration::from_millis(900), "seed {seed}: {took:?}");
            }
            talk(&mut call, id, seed);
        }
    }
}

#[test]
fn udp_wins_where_it_passes() {
    for (loss, nat) in [
        (0, None),
        (0, Some(NatConfig::PORT_RESTRICTED)),
        // A fifth of what goes one way.
        (106, None),
        (106, Some(NatConfig::FULL_CONE)),
    ] {
        for seed in seeds() {
            let setting = Setting {
                stun: true,
                ..setting(loss, [nat, None])
            };
            let (mut call, _) = Call::with_channel(seed, &setting, ChannelInit::default());
            let won = call.run_until(Duration::from_secs(30), |call| {
                both_over_tcp(call) == [Some(false); 2]
            });
            assert!(won, "seed {seed}, {loss} ‰ {}", call.explain());
            call.run_for(Duration::from_secs(5));
            assert_eq!(both_over_tcp(&call), [Some(false); 2], "seed {seed}");
            assert!(call.is_connected(), "seed {seed} {}", call.explain());
        }
    }
}

#[test]
fn udp_connects_as_soon_with_tcp_candidates_as_without() {
    for seed in seeds() {
        let with = setting(0, [None, None]);
        let without = Setting {
            adjust: |config| config.ice_transports = IceTransports::Udp,
            ..with.clone()
        };
        let took = [with, without].map(|setting| {
            let (call, _) = Call::with_channel(seed, &setting, ChannelInit::default());
            assert_eq!(both_over_tcp(&call), [Some(false); 2], "seed {seed}");
            call.world.elapsed()
        });
        assert!(
            took[0] <= took[1] + Duration::from_millis(1),
            "seed {seed}: {took:?}"
        );
    }
}

#[test]
fn media_goes_over_tcp() {
    for seed in seeds().into_iter().take(10) {
        let mut call = Call::new(seed, &setting(10, [Some(NatConfig::BLOCKED), None]));
        let sender = call.with(0, |peer, _| {
            peer.add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
                .unwrap()
        });
        call.offer(0);
        assert!(
            call.run_until(Duration::from_secs(10), Call::is_connected),
            "seed {seed} {}",
            call.explain()
        );
        for number in 0..50u32 {
            let agreed = call.peer(0).negotiated(sender).unwrap();
            let payload_type = agreed.codec("opus").unwrap().payload_type_send;
            let frame = OutgoingFrame {
                rid: None,
                payload_type,
                timestamp: number * 960,
                marker: false,
                data: &[number as u8; 60],
                audio_level: None,
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            call.with(0, |peer, now| peer.send_frame(now, sender, &frame))
                .unwrap();
            call.run_for(Duration::from_millis(20));
        }
        call.run_for(Duration::from_secs(1));
        let frames = call.events[1]
            .iter()
            .filter(|event| matches!(event, Event::Rtp(_)));
        assert!(frames.count() >= 50, "seed {seed} {}", call.explain());
    }
}

#[test]
fn a_stream_that_is_cut_is_opened_again() {
    for blocked in [0, 1] {
        for seed in seeds() {
            let mut nats = [None, None];
            nats[blocked] = Some(NatConfig::BLOCKED);
            let (mut call, id) =
                Call::with_channel(seed, &setting(0, nats), ChannelInit::default());
            call.run_for(Duration::from_secs(2));
            call.world.cut_streams();
            let failed = |call: &Call| {
                [0, 1].map(|own| call.peer(own).connection_state() == ConnectionState::Failed)
            };
            let back = call.run_until(Duration::from_secs(2), |call| {
                both_over_tcp(call) == [Some(true); 2] && call.is_connected()
            });
            assert!(back, "seed {seed} {}", call.explain());
            assert_eq!(failed(&call), [false; 2]);
            talk(&mut call, id, seed);
        }
    }
}

#[test]
fn a_stream_that_cannot_be_opened_again_at_once_is_opened_later() {
    for blocked in [0, 1] {
        for seed in seeds() {
            let mut nats = [None, None];
            nats[blocked] = Some(NatConfig::BLOCKED);
            let (mut call, id) =
                Call::with_channel(seed, &setting(0, nats), ChannelInit::default());
            call.run_for(Duration::from_secs(2));
            call.world.refuses_streams = true;
            call.world.cut_streams();
            call.run_for(Duration::from_secs(5));
            assert_eq!(both_over_tcp(&call), [None; 2], "seed {seed}");
            call.world.refuses_streams = false;
            let back = call.run_until(Duration::from_secs(4), |call| {
                both_over_tcp(call) == [Some(true); 2] && call.is_connected()
            });
            assert!(back, "seed {seed} {}", call.explain());
            talk(&mut call, id, seed);
        }
    }
}

/// What a translator has forgotten no end hears of: after a restart of ICE another stream is
/// opened, at once where the old one has been silent for 8 s or has ceased to bring data, else after
/// 1.4 s without an answer on it.
#[test]
fn a_restart_of_ice_leaves_a_dead_stream() {
    for (talks, silent_for, limit) in [(false, 0, 2_500), (true, 1, 1_000), (false, 9, 1_000)] {
        for seed in seeds() {
            let nats = [Some(NatConfig::BLOCKED), None];
            let (mut call, id) =
                Call::with_channel(seed, &setting(0, nats), ChannelInit::default());
            call.run_for(Duration::from_millis(200));
            for _ in 0..100 {
                for index in (0..2).filter(|_| talks) {
                    call.with(index, |peer, now| peer.send_text(now, id, "tick"))
                        .unwrap();
                }
                call.run_for(Duration::from_millis(20));
            }
            let before = call.peer(0).route();
            call.world.silence_streams();
            call.run_for(Duration::from_secs(silent_for));
            let begun = call.world.elapsed();
            call.with(0, |peer, _| peer.restart_ice());
            call.offer(0);
            let moved = call.run_until(Duration::from_secs(30), |call| {
                let route = call.peer(0).route();
                route.is_some() && route != before && both_over_tcp(call) == [Some(true); 2]
            });
            let took = call.world.elapsed() - begun;
            let limit = Duration::from_millis(limit);
            let counters = call.explain();
            assert!(moved && took < limit, "seed {seed}: {took:?} {counters}");
            call.run_for(Duration::from_secs(2));
            assert!(call.is_connected(), "seed {seed} {}", call.explain());
            call.take_messages(1);
            talk(&mut call, id, seed);
        }
    }
}

#[test]
fn a_restart_of_ice_keeps_the_stream() {
    for seed in seeds() {
        let nats = [Some(NatConfig::BLOCKED), None];
        let (mut call, id) = Call::with_channel(seed, &setting(0, nats), ChannelInit::default());
        call.run_for(Duration::from_secs(1));
        let before = call.peer(0).route();
        call.with(0, |peer, _| peer.restart_ice());
        call.offer(0);
        call.run_for(Duration::from_secs(3));
        assert_eq!(
            call.peer(0).route(),
            before,
            "seed {seed} {}",
            call.explain()
        );
        assert!(call.is_connected());
        talk(&mut call, id, seed);
    }
}

/// A peer that listens, with its listener and the address.
fn listening(seed: u64) -> (Call, SocketId, std::net::SocketAddr) {
    let call = {
        let mut call = Call::new(seed, &setting(0, [Some(NatConfig::BLOCKED), None]));
        call.with(0, |peer, _| {
            peer.create_data_channel(ChannelInit::default())
        })
        .unwrap();
        call.offer(0);
        call.run_for(Duration::from_millis(50));
        call
    };
    let locals = call.peer(1).local_candidates();
    let passive = locals.iter().find(|own| own.tcp == Some(TcpType::Passive));
    let local = passive.unwrap().address;
    // The names of sockets are given in order: the second of a peer with one address listens.
    (call, SocketId(1), local)
}

#[test]
fn strangers_on_streams_are_shown_the_door() {
    let (mut call, listener, local) = listening(1);
    let stranger = "203.0.113.5:700".parse().unwrap();
    let accept = |call: &mut Call| {
        call.with(1, |peer, now| {
            peer.handle_accepted(now, listener, local, stranger)
        })
    };
    // What is no check ends a stream, and so does a check that does not know our password.
    let forged = twocan_wire::stun::TransactionId([7; 12]);
    let mut check = Vec::new();
    twocan_wire::framing::push(&mut check, |out| {
        use twocan_wire::stun::{Attribute, Builder, Class, Method};
        let mut builder = Builder::new(out, Class::Request, Method::BINDING, forged);
        builder.attribute(Attribute::Username("some:body"));
        builder.finish();
    });
    for (bytes, reason) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "peer.tcp_frame_too_long",
        ),
        (vec![0, 3, 22, 254, 253], "peer.tcp_without_check"),
        (check, "peer.tcp_without_check"),
    ] {
        let before = call.peer(1).counters().get(reason);
        let socket = accept(&mut call).unwrap();
        // Cut anywhere.
        for byte in &bytes {
            call.with(1, |peer, now| {
                peer.handle_stream(now, socket, StreamEvent::Bytes(&mut [*byte]));
            });
        }
        assert_eq!(call.peer(1).counters().get(reason), before + 1, "{bytes:?}");
    }
    // One that says nothing is ended in time.
    accept(&mut call).unwrap();
    call.run_for(Duration::from_millis(9_900));
    assert_eq!(call.peer(1).counters().get("peer.tcp_silent"), 0);
    call.run_for(Duration::from_millis(200));
    assert_eq!(call.peer(1).counters().get("peer.tcp_silent"), 1);
}

#[test]
fn strangers_do_not_keep_the_peer_out() {
    for seed in seeds() {
        let (mut call, listener, local) = listening(seed);
        for port in 1..200 {
            let stranger = std::net::SocketAddr::from(([203, 0, 113, 5], port));
            let taken = call.with(1, |peer, now| {
                peer.handle_accepted(now, listener, local, stranger)
            });
            assert!(taken.is_some());
        }
        let counters = call.peer(1).counters();
        assert_eq!(counters.get("peer.too_many_tcp_streams"), 199 - 16);
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "seed {seed} {}", call.explain());
    }
}

#[test]
fn any_bytes_on_a_stream_that_carries_a_call_end_nothing_but_the_stream() {
    for seed in seeds() {
        let (mut call, _) = Call::with_channel(
            seed,
            &setting(0, [Some(NatConfig::BLOCKED), None]),
            ChannelInit::default(),
        );
        for _ in 0..40 {
            let index = call.world.random().below(2) as usize;
            let len = 1 + call.world.random().below(3000) as usize;
            let mut bytes = vec![0; len];
            call.world.random().fill(&mut bytes);
            let socket = call.peer(index).route().unwrap().path.socket;
            call.with(index, |peer, now| {
                peer.handle_stream(now, socket, StreamEvent::Bytes(&mut bytes));
            });
        }
        // What was injected has put both out of step; a new stream is in step again.
        call.world.cut_streams();
        let back = call.run_until(Duration::from_secs(5), |call| {
            both_over_tcp(call) == [Some(true); 2] && call.is_connected()
        });
        assert!(back, "seed {seed} {}", call.explain());
    }
}
