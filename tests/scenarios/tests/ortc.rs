//! Connections whose parameters are set by hand, without descriptions.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelId, ChannelInit, Message, ReadyState};
use twocan_proto::ice::Role;
use twocan_proto::negotiate::{Kind, SctpPlan, TransceiverId};
use twocan_proto::peer::ortc::{
    DtlsParameters, DtlsRole, IceParameters, RtpCapabilities, RtpEncodingParameters, RtpParameters,
};
use twocan_proto::peer::{DtlsTransportState, EncodingParameters, Event};
use twocan_proto::rtp::{self, OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::ids::PayloadType;

const LIMIT: Duration = Duration::from_secs(30);

/// One packet in ten is lost each way, some come late or twice.
fn bad() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(10),
        loss: Loss::Independent { per_mille: 100 },
        duplicate_per_mille: 20,
        reorder_per_mille: 20,
        ..LinkConfig::default()
    }
}

fn by_hand(seed: u64, link: LinkConfig) -> Call {
    let setting = Setting {
        link,
        adjust: |config| config.by_hand = true,
        ..Setting::default()
    };
    Call::new(seed, &setting)
}

fn ice_of(call: &Call, index: usize) -> IceParameters {
    call.peer(index).gatherer_parameters()
}

/// Tells both sides what the other side has, with these roles.
fn start(call: &mut Call, ice: [Role; 2], dtls: [DtlsRole; 2]) {
    for index in 0..2 {
        let remote = ice_of(call, index ^ 1);
        let told = DtlsParameters {
            role: dtls[index ^ 1],
            ..call.peer(index ^ 1).local_dtls_parameters()
        };
        call.with(index, |peer, now| {
            peer.gather_candidates(now).unwrap();
            peer.start_dtls(now, &told).unwrap();
            peer.start_ice(now, &remote, ice[index]).unwrap();
        });
    }
}

const ROLES: [Role; 2] = [Role::Controlling, Role::Controlled];
const AUTO: [DtlsRole; 2] = [DtlsRole::Auto, DtlsRole::Auto];

fn sctp(call: &mut Call) {
    let plan = SctpPlan {
        local_port: 5000,
        remote_port: 5000,
        max_message_size: 65_536,
    };
    for index in 0..2 {
        call.with(index, |peer, now| peer.start_sctp(now, plan))
            .unwrap();
    }
}

fn channel(call: &mut Call, index: usize, init: ChannelInit) -> ChannelId {
    let made = call.with(index, |peer, _| peer.create_data_channel(init));
    made.unwrap()
}

#[test]
fn messages_arrive_over_a_bad_link_on_channels_of_both_kinds() {
    for seed in seeds() {
        let mut call = by_hand(seed, bad());
        let told = ChannelInit {
            label: "told".to_owned(),
            ..ChannelInit::default()
        };
        let agreed = ChannelInit {
            negotiated: true,
            id: Some(7),
            ..ChannelInit::default()
        };
        let first = channel(&mut call, 0, told);
        let pair = [0, 1].map(|index| channel(&mut call, index, agreed.clone()));
        start(&mut call, ROLES, AUTO);
        sctp(&mut call);
        let open = |call: &Call, index: usize, id| {
            call.peer(index).channel_state(id) == Some(ReadyState::Open)
        };
        let all = call.run_until(LIMIT, |call| {
            open(call, 0, first) && open(call, 0, pair[0]) && open(call, 1, pair[1])
        });
        assert!(all, "seed {seed}: {}", call.explain());
        assert_eq!(call.peer(0).max_message_size(), Some(65_536), "seed {seed}");
        for number in 0..50 {
            call.with(0, |peer, now| {
                peer.send_text(now, first, format!("{number}"))
            })
            .unwrap();
            call.with(1, |peer, now| {
                peer.send_binary(now, pair[1], vec![number; 3000])
            })
            .unwrap();
        }
        let (mut texts, mut bytes) = (0, 0);
        for _ in 0..400 {
            call.run_for(Duration::from_millis(50));
            for message in call.take_messages(1) {
                assert_eq!(message, Message::Text(texts.to_string()), "seed {seed}");
                texts += 1;
            }
            for message in call.take_messages(0) {
                assert_eq!(message, Message::Binary(vec![bytes; 3000]), "seed {seed}");
                bytes += 1;
            }
        }
        assert_eq!((texts, bytes), (50, 50), "seed {seed}: {}", call.explain());
        let events = call.events.iter().flatten();
        let negotiates = |event: &&Event| matches!(event, Event::NegotiationNeeded);
        assert_eq!(
            events.filter(negotiates).count(),
            0,
            "nothing is negotiated"
        );
    }
}

#[test]
fn whoever_controls_whoever_is_the_client_they_connect() {
    use DtlsRole::{Auto, Client, Server};
    // Two that both want to control, or neither, are put right by ICE (RFC 8445 §7.3.1.1).
    let roles = [
        [Role::Controlling, Role::Controlled],
        [Role::Controlled, Role::Controlling],
        [Role::Controlling, Role::Controlling],
        [Role::Controlled, Role::Controlled],
    ];
    for seed in seeds().into_iter().take(20) {
        for ice in roles {
            for dtls in [[Auto, Auto], [Client, Server], [Server, Client]] {
                let mut call = by_hand(seed, LinkConfig::default());
                start(&mut call, ice, dtls);
                let connected = call.run_until(LIMIT, Call::is_connected);
                let name = format!("seed {seed}, {ice:?}, {dtls:?}");
                assert!(connected, "{name}: {}", call.explain());
                for index in 0..2 {
                    let state = call.peer(index).dtls_transport_state();
                    assert_eq!(state, DtlsTransportState::Connected, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_certificate_that_nobody_told_of_is_not_taken() {
    let mut call = by_hand(1, LinkConfig::default());
    // Of the first the second is told right, and the first of itself in place of the second.
    let told = call.peer(0).local_dtls_parameters();
    for (index, role) in ROLES.into_iter().enumerate() {
        let remote = ice_of(&call, index ^ 1);
        call.with(index, |peer, now| {
            peer.gather_candidates(now).unwrap();
            peer.start_ice(now, &remote, role).unwrap();
            peer.start_dtls(now, &told).unwrap();
        });
    }
    let failed = call.run_until(LIMIT, |call| {
        call.peer(0).dtls_transport_state() == DtlsTransportState::Failed
    });
    assert!(failed, "{}", call.explain());
}

/// A sender on the caller's side and a receiver on the other.
fn line(
    call: &mut Call,
    from: usize,
    kind: Kind,
    parameters: &RtpParameters,
) -> (TransceiverId, TransceiverId) {
    let sender = call.with(from, |peer, now| {
        let sender = peer.add_rtp_sender(kind).unwrap();
        peer.send_rtp(now, sender, parameters).unwrap();
        sender
    });
    let told = call.peer(from).rtp_parameters(sender).unwrap().clone();
    let receiver = call.with(from ^ 1, |peer, now| {
        let receiver = peer.add_rtp_receiver(kind).unwrap();
        peer.receive_rtp(now, receiver, &told).unwrap();
        receiver
    });
    (sender, receiver)
}

fn send(call: &mut Call, index: usize, id: TransceiverId, number: u8, at: u32, data: &[u8]) {
    let frame = OutgoingFrame {
        rid: None,
        payload_type: PayloadType(number),
        timestamp: at,
        marker: false,
        data,
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: twocan_proto::rtp::FrameTimes::default(),
        contributing: &[],
    };
    call.with(index, |peer, now| peer.send_frame(now, id, &frame))
        .unwrap();
}

/// What came of a receiver so far.
fn frames(call: &Call, index: usize, id: TransceiverId) -> Vec<rtp::Frame> {
    let events = call.events[index].iter().filter_map(|event| match event {
        Event::Rtp(rtp::Event::Frame(frame)) => Some(frame),
        _ => None,
    });
    let own = events.filter(|frame| call.peer(index).transceiver_of(&frame.mid) == Some(id));
    own.cloned().collect()
}

/// A VP8 frame of 1300 bytes, two packets: the first three say whether it is a key frame (RFC 6386 §9.1).
fn picture(number: u8, key: bool) -> Vec<u8> {
    let mut data = vec![number; 1300];
    data[0] = if key { 0x10 } else { 0x11 };
    if key {
        data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 64, 0, 48, 0]);
    }
    data
}

/// How often the other side wanted a key frame.
fn key_frames_wanted(call: &Call, index: usize) -> usize {
    let wanted = |event: &&Event| matches!(event, Event::Rtp(rtp::Event::KeyFrameRequested { .. }));
    call.events[index].iter().filter(wanted).count()
}

#[test]
fn media_arrives_over_a_bad_link_both_ways_under_one_mid() {
    let (mut whole, mut calls) = (0, 0);
    for seed in seeds().into_iter().take(40) {
        let mut call = by_hand(seed, bad());
        start(&mut call, ROLES, AUTO);
        let video = RtpParameters {
            mid: Some("0".to_owned()),
            ..RtpCapabilities::of(Kind::Video).parameters(&["vp8"])
        };
        // Each side calls its pictures "0", as it is where descriptions made the sections.
        let there = line(&mut call, 0, Kind::Video, &video);
        let back = line(&mut call, 1, Kind::Video, &video);
        // Sound without a name is known by its source.
        let mut audio = RtpCapabilities::of(Kind::Audio).parameters(&["opus"]);
        audio.header_extensions.clear();
        audio.encodings = vec![RtpEncodingParameters {
            ssrc: Some(1234),
            ..RtpEncodingParameters::default()
        }];
        audio.rtcp.cname = "hand".to_owned();
        let sound = line(&mut call, 0, Kind::Audio, &audio);
        let connected = call.run_until(LIMIT, Call::is_connected);
        assert!(connected, "seed {seed}: {}", call.explain());
        let mut wanted = [0, 0];
        for number in 0..60 {
            let at = u32::from(number) * 3000;
            for (index, id) in [(0, there.0), (1, back.0)] {
                let now = key_frames_wanted(&call, index);
                let before = std::mem::replace(&mut wanted[index], now);
                let data = picture(number, number == 0 || now > before);
                send(&mut call, index, id, 96, at, &data);
            }
            send(&mut call, 0, sound.0, 111, at, &[number; 40]);
            // Less than the path is thought to carry while it loses the most.
            call.run_for(Duration::from_millis(133));
        }
        call.run_for(Duration::from_secs(2));
        for (index, id) in [(1, there.1), (0, back.1)] {
            let came = frames(&call, index, id);
            whole += came.len();
            assert!(came.len() >= 30, "seed {seed}: {}", call.explain());
            for frame in came {
                let number = u8::try_from(frame.timestamp / 3000).unwrap();
                assert_eq!(frame.data, picture(number, frame.key_frame), "seed {seed}");
            }
        }
        let said = frames(&call, 1, sound.1);
        assert!(said.len() >= 36, "seed {seed}: {} of 60", said.len());
        assert!(said.iter().all(|frame| frame.ssrc.0 == 1234), "seed {seed}");
        // Statistics have the names that the sides know, of which sound has none.
        let sent = call.peer(0).outbound_stats();
        let sent: Vec<&str> = sent.iter().map(|own| own.mid.as_str()).collect();
        assert_eq!(sent, ["0", ""], "seed {seed}");
        let got = call.peer(1).inbound_stats();
        let got = got.iter().filter(|own| own.mid.as_str() == "0");
        assert_eq!(got.count(), 1, "seed {seed}");
        let told = call.peer(0).rtp_parameters(sound.0).unwrap();
        assert_eq!(told.rtcp.cname, "hand");
        // The path is measured as in any call, and what it carries is shared out.
        let target = call.peer(0).target_bitrate(there.0);
        assert!(target.is_some(), "seed {seed}");
        calls += 1;
    }
    // What was lost came again: without it, eight in ten would be whole, and of those all that
    // follow one that is not could not be shown.
    assert!(whole >= calls * 2 * 50, "{whole} of {}", calls * 120);
}

#[test]
fn the_streams_of_a_simulcast_are_told_apart_by_their_names() {
    let mut call = by_hand(3, LinkConfig::default());
    start(&mut call, ROLES, AUTO);
    let encoding = |rid: &str| RtpEncodingParameters {
        encoding: EncodingParameters {
            rid: Some(rid.to_owned()),
            ..EncodingParameters::default()
        },
        ..RtpEncodingParameters::default()
    };
    let video = RtpParameters {
        mid: Some("v".to_owned()),
        encodings: vec![encoding("q"), encoding("f")],
        ..RtpCapabilities::of(Kind::Video).parameters(&["VP8"])
    };
    let (sender, receiver) = line(&mut call, 0, Kind::Video, &video);
    assert!(call.run_until(LIMIT, Call::is_connected));
    for rid in ["q", "f"] {
        call.with(0, |peer, now| {
            let data = picture(0, true);
            let frame = OutgoingFrame {
                rid: Some(rid),
                payload_type: PayloadType(96),
                timestamp: 9000,
                marker: false,
                data: &data,
                audio_level: None,
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            peer.send_frame(now, sender, &frame).unwrap();
        });
    }
    call.run_for(Duration::from_secs(1));
    let rids = frames(&call, 1, receiver).into_iter();
    let mut rids: Vec<String> = rids.map(|frame| frame.rid.unwrap().to_string()).collect();
    rids.sort();
    assert_eq!(rids, ["f", "q"]);
}

#[test]
fn a_sender_that_stops_is_over_and_another_takes_its_name() {
    let mut call = by_hand(4, LinkConfig::default());
    start(&mut call, ROLES, AUTO);
    let video = RtpParameters {
        mid: Some("0".to_owned()),
        ..RtpCapabilities::of(Kind::Video).parameters(&["VP8"])
    };
    let (sender, receiver) = line(&mut call, 0, Kind::Video, &video);
    assert!(call.run_until(LIMIT, Call::is_connected));
    send(&mut call, 0, sender, 96, 0, &picture(0, true));
    call.run_for(Duration::from_secs(1));
    assert_eq!(frames(&call, 1, receiver).len(), 1);
    call.with(0, |peer, now| peer.stop_rtp(now, sender))
        .unwrap();
    call.run_for(Duration::from_secs(1));
    let ended = |event: &&Event| matches!(event, Event::Rtp(rtp::Event::SourceEnded { .. }));
    assert_eq!(
        call.events[1].iter().filter(ended).count(),
        1,
        "a BYE says so"
    );
    let again = call.with(0, |peer, now| peer.send_rtp(now, sender, &video));
    assert_eq!(again.unwrap_err().name(), "InvalidStateError");
    let next = call.with(0, |peer, now| {
        let next = peer.add_rtp_sender(Kind::Video).unwrap();
        peer.send_rtp(now, next, &video).unwrap();
        next
    });
    send(&mut call, 0, next, 96, 3000, &picture(0, true));
    call.run_for(Duration::from_secs(1));
    assert_eq!(frames(&call, 1, receiver).len(), 2);
    call.with(1, |peer, now| peer.stop_rtp(now, receiver))
        .unwrap();
    send(&mut call, 0, next, 96, 6000, &picture(0, true));
    call.run_for(Duration::from_secs(1));
    let frame = |event: &&Event| matches!(event, Event::Rtp(rtp::Event::Frame(_)));
    assert_eq!(call.events[1].iter().filter(frame).count(), 2);
}

#[test]
fn a_restart_by_hand_keeps_what_runs_and_finds_another_way() {
    let mut call = by_hand(5, LinkConfig::default());
    let init = ChannelInit {
        negotiated: true,
        id: Some(0),
        ..ChannelInit::default()
    };
    let pair = [0, 1].map(|index| channel(&mut call, index, init.clone()));
    start(&mut call, ROLES, AUTO);
    sctp(&mut call);
    assert!(call.run_until(LIMIT, Call::is_connected));
    let before = ice_of(&call, 1);
    // Credentials of somebody who restarts alone are refused.
    let stranger = IceParameters {
        username_fragment: "other".to_owned(),
        ..before.clone()
    };
    let alone = call.with(0, |peer, now| peer.start_ice(now, &stranger, ROLES[0]));
    assert_eq!(alone.unwrap_err().name(), "InvalidStateError");
    for index in 0..2 {
        call.with(index, |peer, now| peer.restart_ice_transport(now))
            .unwrap();
    }
    assert_ne!(ice_of(&call, 1), before);
    for (index, role) in ROLES.into_iter().enumerate() {
        let remote = ice_of(&call, index ^ 1);
        call.with(index, |peer, now| peer.start_ice(now, &remote, role))
            .unwrap();
    }
    call.run_for(Duration::from_secs(60));
    assert!(call.is_connected(), "{}", call.explain());
    call.with(0, |peer, now| peer.send_text(now, pair[0], "still here"))
        .unwrap();
    call.run_for(Duration::from_secs(1));
    let came = call.take_messages(1);
    assert_eq!(came, [Message::Text("still here".to_owned())]);
    assert_eq!(call.peer(1).channel_state(pair[1]), Some(ReadyState::Open));
}
