//! SRTP and RTP.

use twocan_proto::keying::SrtpProfile;
use twocan_proto::random::Random;
use twocan_proto::rtp::{
    Class, Codec, Delivery, Encoding, Format, FrameLayer, Media, OutgoingFrame, PictureProperties,
    Repair, Session,
};
use twocan_proto::srtp::{OVERHEAD_MAX, Receiver, Sender};
use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::rtp::{ExtensionKind, ExtensionMap};

use super::{OPERATIONS_MAX, PACKETS_MAX, begin, step};
use crate::Script;

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::Aes128CmSha1_80,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
];

fn keys(profile: SrtpProfile) -> (Vec<u8>, Vec<u8>) {
    (vec![1; profile.key_len()], vec![2; profile.salt_len()])
}

/// Bytes of somebody without keys: nothing of it is ever accepted.
pub fn srtp_receiver(data: &[u8]) {
    for profile in PROFILES {
        let (key, salt) = keys(profile);
        let mut receiver = Receiver::new(profile, &key, &salt).unwrap();
        let mut script = Script::new(data);
        while let Some(packet) = script.piece() {
            // A MAC of all zeros and the like is found only with the key.
            assert!(receiver.unprotect_rtp(&mut packet.to_vec()).is_err());
            assert!(receiver.unprotect_rtcp(&mut packet.to_vec()).is_err());
            if packet.is_empty() {
                break;
            }
        }
    }
}

/// Packets of somebody with keys, damaged, repeated and out of order: what is accepted is what was
/// sent, once.
pub fn srtp_streams(data: &[u8]) {
    let Some((choice, script)) = data.split_first() else {
        return;
    };
    let profile = PROFILES[usize::from(choice % 3)];
    let (key, salt) = keys(profile);
    let mut sender = Sender::new(profile, &key, &salt).unwrap();
    let mut receiver = Receiver::new(profile, &key, &salt).unwrap();
    let mut script = Script::new(script);
    for _ in 0..OPERATIONS_MAX {
        let (Some(operation), Some(plain)) = (script.byte(), script.piece()) else {
            return;
        };
        let mut packet = plain.to_vec();
        let is_rtcp = operation & 1 == 1;
        let made = if is_rtcp {
            sender.protect_rtcp(&mut packet, 0)
        } else {
            sender.protect_rtp(&mut packet, 0)
        };
        if made.is_err() {
            assert_eq!(packet, plain);
            continue;
        }
        assert!(packet.len() <= plain.len() + OVERHEAD_MAX);
        let mut sent = packet.clone();
        if operation & 2 == 2 && script.mutate(&mut sent).is_none() {
            return;
        }
        let is_damaged = sent != packet;
        let mut open = |bytes: &mut [u8]| {
            if is_rtcp {
                receiver.unprotect_rtcp(bytes)
            } else {
                receiver.unprotect_rtp(bytes)
            }
        };
        let mut first = sent.clone();
        if let Ok(len) = open(&mut first) {
            assert!(!is_damaged, "a damaged packet was accepted");
            assert_eq!(first.get(..len), Some(plain));
        }
        assert!(open(&mut sent).is_err(), "accepted twice");
    }
}

pub(super) fn section(mid: &str, format: Format, number: u8, ssrc: u32) -> Media {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in (1..).zip(ExtensionKind::ALL) {
        extensions.insert(kind, id);
    }
    let video = format.is_video();
    Media {
        mid: Mid::from(mid),
        remote_mid: None,
        sends: true,
        receives: true,
        codecs: vec![Codec {
            format,
            payload_type: PayloadType(number),
            payload_type_send: PayloadType(number),
            rtx: video.then_some(PayloadType(number + 1)),
            rtx_send: video.then_some(PayloadType(number + 1)),
            clock_rate: 90_000,
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            ack_ccfb: false,
            goog_remb: true,
        }],
        extensions_send: extensions,
        extensions_receive: extensions,
        // Every second section of video is a simulcast.
        encodings: match ssrc % 20 {
            11 => (0u32..)
                .zip(["q", "h", "f"])
                .map(|(index, rid)| Encoding {
                    rid: Some(Rid::from(rid)),
                    ssrc: Ssrc(ssrc + 2 * index),
                    rtx_ssrc: Ssrc(ssrc + 2 * index + 1),
                })
                .collect(),
            _ => vec![Encoding {
                rid: None,
                ssrc: Ssrc(ssrc),
                rtx_ssrc: Ssrc(ssrc + 1),
            }],
        },
        cname: "c".into(),
        remote: vec![(Ssrc(ssrc + 1000), Some(Ssrc(ssrc + 1001)))],
        rtcp_rsize: true,
        delivery: Delivery::Frames,
        repair: Repair::default(),
    }
}

/// A session that sends and receives sound and every format of video, and a peer with keys that says
/// anything.
pub fn rtp_session(data: &[u8]) {
    let mut session = Session::new(Random::new([3; 32]));
    session.configure(vec![
        section("0", Format::Whole, 111, 1),
        section("1", Format::Vp8, 96, 11),
        section("2", Format::H264(PacketizationMode::NonInterleaved), 98, 21),
        section("3", Format::Vp9, 100, 31),
        section("4", Format::Av1, 102, 41),
        section("5", Format::H265, 104, 51),
    ]);
    let mut now = begin();
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.byte() else {
            break;
        };
        match operation % 8 {
            0..=3 => {
                let Some(packet) = script.piece() else { break };
                session.handle_rtp(now, packet);
            }
            4 | 5 => {
                let Some(packet) = script.piece() else { break };
                session.handle_rtcp(now, packet);
            }
            6 => {
                let Some(byte) = script.byte() else { break };
                now = now.at(now.monotonic + step(byte));
                session.handle_timeout(now);
            }
            _ => {
                let (Some(choice), Some(frame)) = (script.byte(), script.piece()) else {
                    break;
                };
                let (mid, number) = [
                    ("0", 111),
                    ("1", 96),
                    ("2", 98),
                    ("3", 100),
                    ("4", 102),
                    ("5", 104),
                ][usize::from(choice % 6)];
                let frame = OutgoingFrame {
                    rid: [None, Some("q"), Some("f"), Some("x")][usize::from(choice >> 6)],
                    payload_type: PayloadType(number),
                    timestamp: u32::from(choice) * 3000,
                    marker: false,
                    data: frame,
                    audio_level: None,
                    layer: "L3T3_KEY"
                        .parse()
                        .ok()
                        .map(|mode| FrameLayer {
                            mode,
                            spatial: choice >> 3 & 3,
                            temporal: choice >> 1 & 3,
                            key_picture: choice & 1 != 0,
                            last_of_picture: choice >> 3 & 3 == 2,
                        })
                        .filter(|_| choice % 6 == 3),
                    resolution: None,
                    picture: PictureProperties::default(),
                    times: twocan_proto::rtp::FrameTimes::default(),
                    contributing: &[],
                };
                let _ = session.send_frame(now, &Mid::from(mid), &frame);
            }
        }
        let mut out = Vec::new();
        for _ in 0..PACKETS_MAX {
            out.clear();
            let classes = [Class::Audio, Class::Retransmission, Class::Video];
            let mut classes = classes.into_iter();
            if !classes.any(|class| session.poll_packet(now, class, &mut out).is_some()) {
                break;
            }
            // The longest Opus frame, which may not be split, with header, extensions and RTX number.
            assert!(out.len() <= 1275 + 12 + 60 + 2);
        }
        out.clear();
        while session.poll_rtcp(now, &mut out) {
            out.clear();
        }
        out.clear();
        let padding = session.poll_packet(now, Class::Padding, &mut out);
        assert_eq!(padding.is_some(), session.backlog().padding);
        while session.poll_feedback().is_some() {}
        while session.poll_event().is_some() {}
    }
}
