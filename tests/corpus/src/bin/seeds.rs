//! Writes the seeds anew: `cargo run -p twocan-corpus --bin seeds`.
//!
//! They come from the captured descriptions in `tests/vectors` and from what our own machines send.
//! What a fuzzer has found is added by hand, named `found-…`; this leaves it alone.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a tool for developers"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use twocan_proto::crypto::HmacSha1;
use twocan_proto::dtls::{Certificate, Connection, Role, Settings};
use twocan_proto::keying::SrtpProfile;
use twocan_proto::random::Random;
use twocan_proto::sctp::{Association, Config, SendOptions};
use twocan_proto::srtp::Sender;
use twocan_wire::dcep::{Message, Open, Reliability};
use twocan_wire::fec::flexfec::Flexfec;
use twocan_wire::fec::ulpfec::Ulpfec;
use twocan_wire::ids::{PayloadType, Ssrc, StreamId};
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::payload::red::{Red, Redundant};
use twocan_wire::payload::{Chunk, av1, h264, h265, vp8, vp9};
use twocan_wire::rtcp::{Bye, Fir, FirEntry, Nack, NackEntry, Pli, ReceiverReport};
use twocan_wire::rtp::{
    AbsCaptureTime, AudioLevel, ColorSpace, ExtensionKind, ExtensionMap, ExtensionValues,
    HdrMetadata, HeaderFields, PlayoutDelay, VideoContentType, VideoOrientation, VideoTiming,
};
use twocan_wire::sctp::{Packet, Ppid};
use twocan_wire::seq::SeqNo16;
use twocan_wire::stun::{
    AddressFamily, Attribute, Builder, ChannelNumber, Class, ErrorCode, Method, PasswordAlgorithm,
    TransactionId,
};

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Seeds {
        root: root.join("seeds"),
        len: 0,
    };
    seeds.texts(&root.join("../vectors/sdp"));
    seeds.stun();
    seeds.rtp();
    seeds.rtcp();
    seeds.payloads();
    seeds.protection();
    seeds.layers();
    seeds.sctp();
    seeds.dtls();
    seeds.scripts();
    println!("{} bytes", seeds.len);
}

struct Seeds {
    root: PathBuf,
    len: usize,
}

/// A piece as [`twocan_corpus::Script::piece`] reads it.
fn piece(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

/// A request with the attributes of TURN.
fn allocate(transaction: TransactionId) -> Vec<u8> {
    let mut request = Vec::new();
    let mut builder = Builder::new(&mut request, Class::Request, Method::ALLOCATE, transaction);
    for attribute in [
        Attribute::RequestedTransport(17),
        Attribute::Lifetime(600),
        Attribute::EvenPort { reserve_next: true },
        Attribute::DontFragment,
        Attribute::RequestedAddressFamily(AddressFamily::IPV4),
        Attribute::AdditionalAddressFamily(AddressFamily::IPV6),
        Attribute::ChannelNumber(ChannelNumber::MIN),
        Attribute::XorPeerAddress(([192, 0, 2, 1], 9).into()),
        Attribute::Data(&[1, 2, 3]),
        Attribute::ReservationToken(&[7; 8]),
        Attribute::PasswordAlgorithms(&[0, 2, 0, 0, 0, 1, 0, 0]),
        Attribute::PasswordAlgorithm(PasswordAlgorithm::SHA256),
        Attribute::ConnectionId(3),
        Attribute::MobilityTicket(&[]),
        Attribute::OtherAddress(([192, 0, 2, 2], 3479).into()),
    ] {
        builder.attribute(attribute);
    }
    builder.finish();
    request
}

impl Seeds {
    fn add(&mut self, target: &str, name: &str, bytes: &[u8]) {
        let mut known = twocan_corpus::TARGETS.iter();
        assert!(known.any(|(known, _)| *known == target));
        let folder = self.root.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
        self.len += bytes.len();
    }

    fn texts(&mut self, vectors: &Path) {
        let mut lines = BTreeSet::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(vectors)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "sdp"))
            .collect();
        files.sort();
        for path in files {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            lines.extend(text.lines().map(str::to_owned));
            // `sdp` and the others replay `tests/vectors` in their own tests; a few are enough here.
            let is_chosen = ["chromium", "firefox.simulcast", "pion3", "gst.offer.media"]
                .iter()
                .any(|wanted| name.starts_with(wanted));
            if !is_chosen {
                continue;
            }
            self.add("sdp", &name, text.as_bytes());
            if name.contains("offer") {
                self.add("negotiate_offer", &name, text.as_bytes());
            } else {
                self.add("negotiate_answer", &name, text.as_bytes());
            }
        }
        let mut seen = BTreeSet::new();
        for line in lines.iter().filter_map(|line| line.strip_prefix("a=")) {
            let key = line.split([':', ' ']).next().unwrap_or(line);
            if let Some((_, parameters)) = line
                .strip_prefix("fmtp:")
                .and_then(|rest| rest.split_once(' '))
                && seen.insert(format!("fmtp-{}", parameters.len()))
            {
                let name = format!("{}", parameters.len());
                self.add("fmtp", &name, parameters.as_bytes());
            }
            if line.starts_with("candidate:") && seen.insert(format!("candidate-{}", line.len())) {
                let name = format!("{}", line.len());
                self.add("candidate", &name, line.as_bytes());
            }
            let name: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
            if seen.insert(name.clone()) {
                self.add("sdp_attribute", &name, line.as_bytes());
            }
        }
        for (name, line) in [
            (
                "mdns",
                "candidate:1 1 udp 2113937151 8a3b.local 5 typ host generation 0 ufrag ab",
            ),
            (
                "tcp",
                "candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active",
            ),
            (
                "srflx",
                "candidate:2 1 UDP 1 192.0.2.1 9 typ srflx raddr 0.0.0.0 rport 0",
            ),
        ] {
            self.add("candidate", name, line.as_bytes());
        }
        let simulcast = "simulcast:send 1;~2;3,~4 recv 5";
        self.add("sdp_attribute", "simulcast-both", simulcast.as_bytes());
        let older = "simulcast: send rid=q;h recv pt=97";
        self.add("sdp_attribute", "simulcast-older", older.as_bytes());
        let rid = "rid:h recv pt=96,97;max-width=640;max-br=500000;max-bpp=0.5;depend=q";
        self.add("sdp_attribute", "rid-restricted", rid.as_bytes());
    }

    fn stun(&mut self) {
        let transaction = TransactionId([9; 12]);
        let key = HmacSha1::new(b"0123456789012345678901");
        let mut request = Vec::new();
        let mut builder = Builder::new(&mut request, Class::Request, Method::BINDING, transaction);
        builder.attribute(Attribute::Username("abcdefgh:ijklmnop"));
        builder.attribute(Attribute::Priority(0x6e7f_1eff));
        builder.attribute(Attribute::IceControlling(77));
        builder.attribute(Attribute::UseCandidate);
        builder.finish_with_integrity(|parts| key.sign(parts));
        let mut success = Vec::new();
        let mut builder = Builder::new(&mut success, Class::Success, Method::BINDING, transaction);
        builder.attribute(Attribute::XorMappedAddress(
            "[2001:db8::7]:4242".parse().unwrap(),
        ));
        builder.attribute(Attribute::MappedAddress("192.0.2.1:9".parse().unwrap()));
        builder.attribute(Attribute::Software("twocan"));
        builder.finish_with_integrity(|parts| key.sign(parts));
        let mut error = Vec::new();
        let mut builder = Builder::new(&mut error, Class::Error, Method::BINDING, transaction);
        builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
        builder.attribute(Attribute::UnknownAttributes(&[0, 0x24, 0, 0x25]));
        builder.attribute(Attribute::Realm("r"));
        builder.attribute(Attribute::Nonce("nonce"));
        builder.attribute(Attribute::MessageIntegritySha256(&[3; 32]));
        builder.finish();
        let mut bare = Vec::new();
        Builder::new(&mut bare, Class::Request, Method::BINDING, transaction).finish();
        for (name, bytes) in [
            ("request", &request),
            ("success", &success),
            ("error", &error),
            ("bare", &bare),
        ] {
            self.add("stun", name, bytes);
            self.add("stun_server", name, bytes);
            self.add("demux", &format!("stun-{name}"), &bytes[..20]);
            let script = [&[5], piece(bytes).as_slice(), &[6, 8, 0, 0x80, 0, 0]].concat();
            self.add("ice_agent", name, &script);
        }
        let channel = [0x40, 0, 0, 3, 1, 2, 3, 0];
        let stream = [&request[..], &channel, &allocate(transaction), &channel].concat();
        self.add("turn_stream", "frames", &stream);
        self.add("turn_stream", "channel", &channel);
        self.add("stun", "allocate", &allocate(transaction));
        self.add("sframe", "short", &[0x25]);
        self.add("sframe", "long", &[0x99, 1, 0, 2, 0]);
        self.add(
            "framing",
            "frames",
            &[0, 3, 1, 2, 3, 0, 0, 0, 1, 9, 0, 4, 0],
        );
        self.add("framing", "long", &[&[0xff, 0xff][..], &[7; 40]].concat());
        // Time and all that waits, until data could flow; then a piece, damage, an end, and again.
        let connects = [14, 8, 12, 14, 8, 12, 12];
        self.add("ice_tcp", "connect", &connects);
        let cut = [
            &connects[..],
            &[3, 1, 5, 0x85, 0, 14, 13, 8, 14, 10, 12, 12],
        ]
        .concat();
        self.add("ice_tcp", "cut", &cut);
        let knock = piece(&[&[0, request.len() as u8][..], &request].concat());
        let strangers = [&[0xf9, 0x80 | 7][..], &knock, &[14, 14, 0x79, 0x9b, 14, 13]].concat();
        self.add("ice_tcp", "strangers", &strangers);
        // Time for the first check, deliver both ways, let consent pass, restart, expire.
        self.add(
            "ice_agent",
            "connect",
            &[6, 6, 0, 0x80, 0, 0x80, 6, 6, 0, 0x80, 6, 13, 0x80, 0],
        );
        self.add(
            "ice_agent",
            "restart",
            &[6, 6, 0, 0x80, 9, 0x8a, 11, 0x8b, 6, 6, 0, 0x80, 6, 16],
        );
        self.add(
            "ice_agent",
            "damage",
            &[6, 6, 4, 2, 0, 30, 1, 0, 9, 5, 0, 0x84, 1, 0, 1, 1, 0],
        );
    }

    fn rtp(&mut self) {
        let mut map = ExtensionMap::default();
        let mut numbers = Vec::new();
        for (id, kind) in (1..).zip(ExtensionKind::ALL) {
            map.insert(kind, id);
            numbers.push(id);
        }
        let values = ExtensionValues {
            mid: Some(b"0"),
            rid: Some(b"hi"),
            repaired_rid: None,
            abs_send_time: Some(0x12_3456),
            transport_sequence: Some(SeqNo16(7)),
            audio_level: Some(AudioLevel {
                voice: true,
                level: 30,
            }),
            ..ExtensionValues::default()
        };
        let fields = |number, sequence| HeaderFields {
            marker: true,
            payload_type: PayloadType(number),
            sequence_number: SeqNo16(sequence),
            timestamp: 90_000,
            ssrc: Ssrc(1011),
        };
        let mut one_byte = Vec::new();
        fields(111, 1).write(&mut one_byte, &map, &values);
        one_byte.extend_from_slice(&[1, 2, 3, 4]);
        let mut two_byte = Vec::new();
        let long = ExtensionValues {
            mid: Some(&[b'm'; 17]),
            ..values
        };
        fields(96, 65_535).write(&mut two_byte, &map, &long);
        two_byte.extend_from_slice(&[0x90, 0x80, 0x80, 1, 0x10, 2, 0, 0x9d, 1, 0x2a]);
        let mut video = Vec::new();
        fields(100, 3).write(&mut video, &map, &video_values());
        video.extend_from_slice(&[0x8c, 0x90, 5, 0x82, 0x49]);
        let mut plain = Vec::new();
        fields(0, 9).write(&mut plain, &ExtensionMap::default(), &values);
        let mut padded = plain.clone();
        padded[0] |= 0x20;
        padded.extend_from_slice(&[1, 2, 0, 2]);
        let mut sources = vec![0x82, 0x60];
        sources.extend_from_slice(&[7; 18]);
        let mut script = Vec::new();
        for (name, bytes) in [
            ("one-byte", &one_byte),
            ("two-byte", &two_byte),
            ("video", &video),
            ("plain", &plain),
            ("padded", &padded),
            ("sources", &sources),
        ] {
            self.add("rtp_header", name, bytes);
            self.add(
                "rtp_extensions",
                name,
                &[numbers.as_slice(), bytes].concat(),
            );
            self.add("demux", &format!("rtp-{name}"), &bytes[..12]);
            self.add(
                "rtp_session",
                name,
                &[&[0], piece(bytes).as_slice()].concat(),
            );
            script.extend_from_slice(&[2]);
            script.extend_from_slice(&piece(bytes));
            script.extend_from_slice(&[0]);
        }
        self.add("srtp_streams", "gcm", &[&[1], script.as_slice()].concat());
        self.add("srtp_streams", "sha1", &[&[0], script.as_slice()].concat());
        for profile in [SrtpProfile::Aes128CmSha1_80, SrtpProfile::AeadAes256Gcm] {
            let key = vec![9; profile.key_len()];
            let mut sender = Sender::new(profile, &key, &vec![9; profile.salt_len()]).unwrap();
            let mut protected = one_byte.clone();
            sender.protect_rtp(&mut protected, 0).unwrap();
            self.add("srtp_receiver", profile.as_str(), &piece(&protected));
        }
        let frames: Vec<u8> = (0..6_u8)
            .flat_map(|choice| {
                let frame = [&[0, 0, 0, 1, 0x65], vec![choice; 1500].as_slice()].concat();
                [&[7, choice], piece(&frame).as_slice()].concat()
            })
            .collect();
        self.add("rtp_session", "frames", &frames);
        self.repair();
    }

    /// Frames of all sections at a loss that is worth protection; of their packets every `n`th is
    /// lost, held back or damaged.
    fn repair(&mut self) {
        for (name, fate) in [("lost", 10), ("late", 13), ("twice", 14), ("damaged", 15)] {
            let mut script = [0, 60].repeat(4);
            for index in 0..60_u8 {
                script.extend([[3, 4, 5][usize::from(index % 3)], index.wrapping_mul(37)]);
                // Fates of a frame's packets; what a frame does not need is read as operations.
                script.extend(match index % 4 {
                    0 if fate == 15 => vec![fate, 1, 0, 20, 1, 0],
                    0 => vec![fate],
                    _ => vec![1, 2],
                });
            }
            self.add("rtp_repair", name, &script);
        }
    }

    fn rtcp(&mut self) {
        let mut packets: Vec<(&str, Vec<u8>)> = Vec::new();
        let mut add = |name, write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            packets.push((name, out));
        };
        add("empty", &|out| {
            ReceiverReport {
                ssrc: Ssrc(1),
                reports: Vec::new(),
            }
            .write(out);
        });
        add("pli", &|out| {
            Pli {
                sender: Ssrc(1),
                media: Ssrc(11),
            }
            .write(out);
        });
        add("nack", &|out| {
            Nack {
                sender: Ssrc(1),
                media: Ssrc(11),
                entries: vec![NackEntry {
                    first: SeqNo16(9),
                    following_mask: 0x8001,
                }],
            }
            .write(out);
        });
        add("fir", &|out| {
            Fir {
                sender: Ssrc(1),
                entries: vec![FirEntry {
                    ssrc: Ssrc(11),
                    sequence: 3,
                }],
            }
            .write(out);
        });
        add("bye", &|out| {
            Bye {
                ssrcs: vec![Ssrc(1), Ssrc(1011)],
            }
            .write(out);
        });
        let fixed: [(&str, &[u8]); 6] = [
            (
                "congestion",
                &[
                    0x8b, 0xcd, 0, 7, 0, 0, 0, 1, 0, 0, 0, 11, 0xff, 0xff, 0, 5, 0xff, 0xf8, 0xbf,
                    0xfe, 0xdf, 0xff, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 7,
                ],
            ),
            (
                "extended",
                &[
                    0x80, 0xcf, 0, 11, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 0, 3,
                    0, 0, 0, 11, 9, 9, 9, 9, 0, 1, 0, 0, 1, 3, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2,
                ],
            ),
            (
                "sender",
                &[
                    0x81, 200, 0, 12, 0, 0, 0, 1, 0xe8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 9, 0, 0, 0,
                    7, 0, 0, 9, 0, 0, 0, 0, 11, 0x20, 0xff, 0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 4, 1,
                    2, 3, 4, 0, 1, 0, 0,
                ],
            ),
            (
                "names",
                &[
                    0x81, 202, 0, 3, 0, 0, 0, 1, 1, 5, b'c', b'n', b'a', b'm', b'e', 0,
                ],
            ),
            (
                "remb",
                &[
                    0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0f, 0xff,
                    0xff, 0, 0, 0, 11,
                ],
            ),
            (
                "feedback",
                &[
                    0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 11, 0, 9, 0, 5, 0, 0, 1, 2, 0x20, 5, 4,
                    8, 4, 8, 4, 0,
                ],
            ),
        ];
        packets.extend(fixed.map(|(name, bytes)| (name, bytes.to_vec())));
        let mut all = Vec::new();
        for (name, bytes) in &packets {
            self.add("rtcp", name, bytes);
            self.add(
                "rtp_session",
                &format!("rtcp-{name}"),
                &[&[4], piece(bytes).as_slice()].concat(),
            );
            all.extend_from_slice(bytes);
        }
        self.add("rtcp", "compound", &all);
        for (name, body) in [
            (
                "runs",
                &[
                    0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 5, 0, 0, 1, 2, 0x20, 5, 4, 8, 4, 8, 4, 0,
                ][..],
            ),
            (
                "vector",
                &[
                    0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0, 7, 0, 0, 1, 2, 0xd5, 0, 1, 2, 3, 4, 5, 6,
                ],
            ),
        ] {
            self.add("transport_feedback", name, body);
        }
    }

    fn payloads(&mut self) {
        let mut key_frame = vec![0x10, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0];
        key_frame.extend((0..600).map(|index| (index * 7) as u8));
        let mut unit = vec![
            0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65,
        ];
        unit.extend((0..600).map(|index| (index * 5 + 1) as u8 | 1));
        let vp9_frame = [&[0x82, 0x49, 0x83, 0x42], key_frame.as_slice()].concat();
        let mut av1_frame = vec![0x12, 0, 0x0a, 4, 0, 0, 0, 4, 0x32, 0xda, 4, 0x10];
        av1_frame.extend((0..601).map(|index| (index * 3) as u8));
        let mut hevc_unit = vec![
            0, 0, 0, 1, 0x40, 1, 0x0c, 0, 0, 1, 0x42, 1, 1, 0, 0, 1, 0x44, 1, 0xc1, 0, 0, 1, 0x26,
            1,
        ];
        hevc_unit.extend((0..600).map(|index| (index * 5 + 1) as u8 | 1));
        let id_and_len: &[u8] = &[1, 0, 0, 5];
        let mode = PacketizationMode::NonInterleaved;
        self.payload(
            "vp8",
            vp8::packetize(&key_frame, 5, None, 300).unwrap().collect(),
            id_and_len,
            &key_frame,
        );
        self.payload(
            "vp9",
            vp9::packetize(&vp9_frame, 5, 300).unwrap().collect(),
            id_and_len,
            &vp9_frame,
        );
        let layers = [
            0xba, 0x81, 2, 0x45, 0x18, 2, 0x80, 1, 0x68, 1, 0x14, 1, 0x82, 0x49,
        ];
        self.add("vp9", "layers", &layers);
        self.add("vp9", "references", &[0xdc, 0x80, 17, 35, 37, 2, 0x86, 1]);
        let chunks = av1::packetize(&av1_frame, 300).unwrap();
        self.payload("av1", chunks, &[1, 0], &av1_frame);
        let layers = [0x20, 4, 0x34, 0x48, 3, 4, 0x34, 0x48, 5, 6];
        self.add("av1", "layers", &layers);
        let chunks = h264::packetize(&unit, mode, 300).unwrap();
        self.payload("h264", chunks, &[1, 0], &unit);
        self.add("h264", "stream", &unit);
        let chunks = h265::packetize(&hevc_unit, 300).unwrap();
        self.payload("h265", chunks, &[1, 0], &hevc_unit);
        self.add("h265", "stream", &hevc_unit);
    }

    /// A first payload, all payloads of a frame, and the frame itself after what its target reads
    /// first.
    fn payload(&mut self, name: &str, chunks: Vec<Chunk<'_>>, head: &[u8], frame: &[u8]) {
        let mut all = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut payload = Vec::new();
            chunk.write(&mut payload);
            if index == 0 {
                self.add(name, "payload", &payload);
            }
            all.extend(piece(&payload));
        }
        self.add(name, "frame", &all);
        let packetize = format!("{name}_packetize");
        self.add(&packetize, "frame", &[head, frame].concat());
    }

    fn protection(&mut self) {
        let packets: Vec<Vec<u8>> = [(5u16, 30usize), (6, 9), (9, 20)]
            .into_iter()
            .map(|(sequence, len)| {
                let [high, low] = sequence.to_be_bytes();
                let mut packet = vec![0x90, 96, high, low, 0, 0, 0, 9, 0, 0, 0, 7];
                packet.extend((0..len).map(|index| (index + len) as u8));
                packet
            })
            .collect();
        let all: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let protected: Vec<u8> = all.iter().flat_map(|packet| piece(packet)).collect();
        self.add("fec_protect", "three", &protected);
        let others: Vec<u8> = all[1..].iter().flat_map(|packet| piece(packet)).collect();
        let mut ulpfec = Vec::new();
        Ulpfec::protect(&all).unwrap().write(&mut ulpfec);
        self.add("fec", "ulpfec", &[piece(&ulpfec), others.clone()].concat());
        let mut flexfec = Vec::new();
        Flexfec::protect(&all).unwrap().write(&mut flexfec);
        self.add("fec", "flexfec", &[piece(&flexfec), others].concat());
        let mut red = Vec::new();
        let older = |timestamp_offset, data| Redundant {
            payload_type: PayloadType(111),
            timestamp_offset,
            data,
        };
        Red {
            redundant: vec![older(1920, &packets[0]), older(960, &packets[1])],
            payload_type: PayloadType(111),
            data: &packets[2],
        }
        .write(&mut red)
        .unwrap();
        self.add("red", "two", &red);
        self.add("comfort_noise", "two", &[62, 191, 95]);
        self.add("telephone_event", "nine", &[9, 0x87, 0x06, 0x40]);
        self.add(
            "telephone_event",
            "two",
            &[1, 0x8a, 1, 0x40, 11, 10, 0, 0xa0],
        );
    }

    fn layers(&mut self) {
        let stream: Vec<u8> = CHROMIUM_DEPENDENCIES
            .into_iter()
            .flat_map(|hex| piece(&from_hex(hex)))
            .collect();
        self.add("dependency_descriptor", "chromium", &stream);
        for (name, hex) in CHROMIUM_ALLOCATIONS {
            self.add("layers_allocation", name, &from_hex(hex));
        }
    }

    fn sctp(&mut self) {
        let mut seen = BTreeSet::new();
        for (number, packet) in sctp_packets().into_iter().enumerate() {
            let mut is_new = false;
            for raw in Packet::parse(&packet).unwrap().chunks().flatten() {
                let bytes = [&[raw.kind, raw.flags], raw.body].concat();
                if seen.insert((raw.kind, raw.body.len())) && raw.body.len() < 600 {
                    is_new = true;
                    let name = format!("{}-{}", raw.kind, raw.body.len());
                    self.add("sctp_chunks", &name, &bytes);
                    let len = u16::try_from(raw.body.len() + 4).unwrap().to_be_bytes();
                    let chunk = [&[raw.kind, raw.flags, len[0], len[1]], raw.body].concat();
                    let script = [&[3], piece(&chunk).as_slice(), &[0]].concat();
                    self.add("channels", &name, &script);
                    let script = [&[0], script.as_slice()].concat();
                    self.add("sctp_association", &name, &script);
                }
            }
            if is_new && packet.len() < 600 {
                self.add("sctp_packet", &format!("{number}"), &packet);
            }
        }
        for (name, body) in [
            ("192-skip", &[0, 0, 0, 9, 0, 1, 0, 2][..]),
            ("194-skip", &[0, 0, 0, 9, 0, 1, 0, 1, 0, 0, 0, 2]),
            (
                "6-causes",
                &[0, 6, 0, 8, 1, 2, 3, 4, 0, 3, 0, 8, 0, 0, 0, 1],
            ),
        ] {
            let kind: u8 = name.split('-').next().unwrap().parse().unwrap();
            self.add("sctp_chunks", name, &[&[kind, 0], body].concat());
        }
        let open = Message::Open(Open {
            is_ordered: false,
            reliability: Reliability::MaxRetransmits(3),
            priority: 256,
            label: "chat",
            protocol: "proto",
        });
        for (name, message) in [("open", open), ("ack", Message::Ack)] {
            let mut out = Vec::new();
            message.write(&mut out);
            self.add("dcep", name, &out);
        }
        self.add("room_data", "all", b"\x01\x01\0\x05boardhello");
        self.add("room_data", "some", b"\x01\0\x02\x03ada\x05grace\0hello");
        self.add("room_data", "gap", b"\x02\0\0\0\x03");
        self.add("room_data", "fence", b"\x03\0\0\0\x01");
    }

    fn dtls(&mut self) {
        for (number, datagram) in dtls_datagrams().into_iter().enumerate() {
            let name = format!("{number}");
            let first = u8::from(number % 2 == 1);
            self.add(
                "dtls_datagrams",
                &name,
                &[&[14 | first], piece(&datagram).as_slice()].concat(),
            );
            self.add("demux", &format!("dtls-{name}"), &datagram[..13]);
        }
        // Carry both ways until connected, say something, close; once with loss and damage.
        let carry: Vec<u8> = [0, 1].repeat(8);
        let talk = [carry.as_slice(), &[8, 9, 0, 1, 0x4a, 0, 1]].concat();
        self.add("dtls_handshake", "talk", &talk);
        let rough = [
            0, 0x81, 2, 0, 20, 9, 0, 40, 1, 0, 6, 9, 0, 1, 12, 13, 6, 10, 0, 1, 0, 1,
        ];
        self.add("dtls_handshake", "rough", &rough);
    }

    /// Scripts for the TURN server: who is asked first gives a nonce, who is asked again an answer.
    fn relays(&mut self) {
        let hi = [0, 2, b'h', b'i'];
        let outside = [
            &[8, 0, 8, 0, 9, 0, 3, 0][..],
            &hi,
            &[4, 0, 0],
            &hi,
            &[10, 0, 1, 3, 2, 0x40, 1],
            &hi,
            &[0, 0, 5, 16, 2, 0x40, 1],
            &hi,
            &[0, 0, 11, 0, 0],
        ];
        self.add("turn_server", "outside", &outside.concat());
        let inside = [
            &[8, 0, 8, 0, 0x18, 0, 0x18, 0, 9, 5, 0x1a, 0, 7, 2, 3, 5][..],
            &hi,
            &[0x12, 0x40, 7],
            &hi,
            &[0, 0],
        ];
        self.add("turn_server", "inside", &inside.concat());
        let stream = [
            &[6, 0x38, 2, 0x38, 2, 0x3a, 0, 0, 0, 0x32, 0x40, 0][..],
            &hi,
            &[0, 0, 7, 8, 3, 8, 7, 5, 16],
        ];
        self.add("turn_server", "stream", &stream.concat());
        let refused = [
            8, 0, 8, 2, 9, 1, 9, 4, 9, 7, 9, 10, 9, 13, 10, 0, 1, 1, 0x29, 0, 0x2c,
        ];
        self.add("turn_server", "refused", &refused);
        let raw = [
            &[0x20, 0, 20][..],
            &[0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42],
            &[1; 12],
        ]
        .concat();
        self.add("turn_server", "stranger", &raw);
        // Connections: 13, then what. A challenge comes before each first answer.
        let allocate = [6, 13, 0, 13, 0];
        let claim = [13, 0x04, 13, 0x05, 13, 0x05];
        let talk = [
            &[13, 0x08][..],
            &hi,
            &[13, 0x0a, 0, 2, 13, 0x09],
            &hi,
            &[13, 0x0d, 13, 0x0d, 5, 16],
        ]
        .concat();
        let opened = [&allocate[..], &[13, 0x01, 0, 13, 0x02], &claim, &talk];
        let opened = opened.concat();
        let ends = [&opened[..], &[13, 0x09], &hi, &[13, 0x07, 13, 0x0d]].concat();
        self.add("turn_server", "connect", &ends);
        let refused = [&opened[..], &[13, 0x1c, 13, 0x01, 3, 13, 0x01, 1]].concat();
        self.add("turn_server", "connect-refused", &refused);
        let slow = [13, 0x01, 0, 5, 15, 13, 0x02, 13, 0x01, 0, 13, 0xf2];
        let late = [&allocate[..], &slow].concat();
        self.add("turn_server", "connect-late", &late);
        let let_in = [0x39, 0, 13, 0x03, 0, 13, 0x03, 1];
        let accepted = [&allocate[..], &let_in, &claim, &talk, &[7]].concat();
        self.add("turn_server", "accepted", &accepted);
        // Two of our own: the second permits the first, which connects to it.
        let second = [13, 0x24, 13, 0x80, 13, 0x80];
        let meet = [
            &allocate[..],
            &second,
            &[0x39, 5, 13, 0x81, 2],
            &claim,
            &[13, 0x08],
            &hi,
            &[13, 0x14, 13, 0x15, 13, 0x15],
            &[13, 0x0d, 13, 0x0d, 13, 0x16],
        ];
        self.add("turn_server", "meet", &meet.concat());
        let icmp = [
            8, 0, 8, 0, 9, 0, 14, 0, 0, 3, 3, 14, 0, 1, 3, 3, 14, 2, 0, 3, 3,
        ];
        self.add("turn_server", "icmp", &icmp);
        // A ticket, shown from elsewhere, and once more; one on a stream.
        let moves = [
            15, 0x80, 15, 0x80, 0x1f, 0, 0x1f, 0, 15, 0, 0x1f, 1, 6, 0x3f, 0, 0x3f, 1, 0x3f, 1, 7,
            6, 0x3f, 2, 0x3f, 2,
        ];
        self.add("turn_server", "move", &moves);
        // One that comes back in time, and then does not.
        let adrift = [
            &[6, 0x3f, 0x80, 0x3f, 0x80, 0x39, 0, 7, 0x04, 2, 0][..],
            &hi,
            &[5, 9, 6, 0x3f, 0, 0x3f, 0, 0x33, 0],
            &hi,
            &[7, 5, 16, 6, 0x3f, 1, 0x3f, 1],
        ];
        self.add("turn_server", "adrift", &adrift.concat());
        let media = [
            &[8, 0, 8, 0, 9, 16, 13, 0x8c, 9, 16, 3, 16][..],
            &hi,
            &[4, 0, 16],
            &hi,
            &[3, 4],
            &hi,
            &allocate,
            &[13, 0x01, 16, 13, 0x03, 16, 13, 0x0c, 3, 16],
            &hi,
        ];
        self.add("turn_server", "media", &media.concat());
    }

    fn scripts(&mut self) {
        self.add(
            "channels",
            "talk",
            &[
                13, 0, 0, 5, b'h', b'e', b'l', b'l', b'o', 0, 12, 0, 0, 6, 9, 0,
            ],
        );
        self.add(
            "channels",
            "open-close",
            &[14, 1, 0, 0x8f, 2, 0, 10, 0, 0, 6, 12, 0],
        );
        let partial = [
            0, 13, 1, 0xc3, 9, 0, 1, 6, 12, 0, 13, 2, 0x80, 31, 0, 1, 6, 14, 0, 6, 16,
        ];
        self.add("sctp_association", "partial", &partial);
        let reset = [2, 13, 1, 0, 0, 9, 0, 17, 1, 0, 6, 8, 0, 18, 0, 0];
        self.add("sctp_association", "reset-shutdown", &reset);
        let collision = [4, 16, 0, 0x90, 0, 0, 5, 0, 6, 10, 0];
        self.add("sctp_association", "collision", &collision);
        self.add(
            "peer",
            "talk",
            &[0, 13, 15, 14, 11, 15, 8, 13, 15, 12, 11, 15, 0x7f],
        );
        self.add(
            "peer",
            "early",
            &[1, 8, 5, 0, 0x80, 0x40, 2, 0, 3, 1, 0, 4, 2, 0, 8, 12, 15],
        );
        self.add(
            "peer",
            "stranger",
            &[0, 0x45, 0, 3, 22, 254, 253, 5, 0, 4, 0x80, 0, 0, 1, 15],
        );
        self.relays();
        let candidate = b"candidate:1 1 udp 1 x.local 9 typ host";
        self.add(
            "peer",
            "candidate",
            &[&[1, 10], piece(candidate).as_slice(), &[15]].concat(),
        );
        let join = |text: &str, first: u8| {
            [
                &[0x20 | first, 0x18 | first],
                piece(text.as_bytes()).as_slice(),
            ]
            .concat()
        };
        let both = [
            join(
                r#"{"event":"join","data":{"name":"a","metadata":{"x":1}},"seq":1}"#,
                0,
            ),
            join(r#"{"event":"join","data":{"name":"b"},"id":7}"#, 1),
            [
                &[0x18],
                piece(br#"{"event":"offer","to":"all","data":{"sdp":"v=0"},"seq":2}"#).as_slice(),
            ]
            .concat(),
            [
                &[0x18],
                piece(br#"{"event":"publish","data":{"id":"t","kind":"video"}}"#).as_slice(),
            ]
            .concat(),
            vec![0x05, 0x08, 12, 0x14, 1, 0, 3, 1, 0, 0x08, 16],
        ];
        self.add("room_hall", "v1", &both.concat());
        let base = [
            &[0x00, 0x01, 0x18][..],
            &piece(br#"{"event":"message","to":["x"],"data":null}"#),
            &[0x18],
            &piece(br#"{"event":"ping"}"#),
            &[0x04],
        ];
        self.add("room_hall", "base", &base.concat());
    }
}

/// What Chromium sent with three spatial and three temporal layers, as LiveKit's tests have it.
const CHROMIUM_DEPENDENCIES: [&str; 4] = [
    "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877530077004200ef008601df010d",
    "86017340fc",
    "860173",
    "8b0174",
];

/// What Chromium sent, as Pion's tests have it.
const CHROMIUM_ALLOCATIONS: [(&str, &str); 4] = [
    ("three", "21149601f0019003d005b009"),
    (
        "sizes",
        "a1149601f0019003d005b009013f00b31e027f01671e04ff02cf1e",
    ),
    ("paused", "601010109601d005b009013f00b31e04ff02cf1e"),
    ("none", "00"),
];

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// One value of every extension that video has.
fn video_values() -> ExtensionValues<'static> {
    ExtensionValues {
        mid: Some(b"1"),
        csrc_audio_levels: Some(&[5, 127]),
        transmission_offset: Some(-3),
        abs_capture_time: Some(AbsCaptureTime {
            timestamp: 0xe800_0000_8000_0000,
            clock_offset: Some(-1),
        }),
        video_orientation: Some(VideoOrientation {
            back_camera: true,
            flipped: false,
            quarter_turns: 1,
        }),
        playout_delay: Some(PlayoutDelay { min: 0, max: 40 }),
        video_content_type: Some(VideoContentType::SCREENSHARE),
        video_timing: Some(VideoTiming {
            flags: 1,
            encode_start: 2,
            encode_finish: 9,
            ..VideoTiming::default()
        }),
        color_space: Some(ColorSpace {
            primaries: 1,
            transfer: 13,
            matrix: 1,
            range: 2,
            hdr: Some(HdrMetadata::default()),
            ..ColorSpace::default()
        }),
        dependency_descriptor: Some(&[0x80, 0x01, 0x02]),
        video_layers_allocation: Some(&[0]),
        ..ExtensionValues::default()
    }
}

fn begin() -> Instant {
    Instant::now()
}

/// All packets of a short association: handshake, messages, a reset, a shutdown.
fn sctp_packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for interleaving in [false, true] {
        let now = begin();
        let config = Config {
            interleaving,
            ..Config::default()
        };
        let mut ends = [1, 2].map(|seed| Association::new(config.clone(), Random::new([seed; 32])));
        ends[0].connect(now);
        let mut carry = |ends: &mut [Association; 2]| {
            for _ in 0..20 {
                for index in 0..2 {
                    let mut packet = Vec::new();
                    while ends[index].poll_transmit(now, &mut packet) {
                        ends[1 - index].handle_packet(now, &packet);
                        packets.push(std::mem::take(&mut packet));
                    }
                    while ends[index].poll_event().is_some() {}
                }
            }
        };
        carry(&mut ends);
        for len in [1, 100, 500] {
            let _ = ends[0].send(
                now,
                StreamId(1),
                Ppid::BINARY,
                SendOptions::default(),
                vec![7; len],
            );
        }
        carry(&mut ends);
        ends[0].reset_stream(StreamId(1));
        carry(&mut ends);
        ends[0].shutdown(now);
        carry(&mut ends);
    }
    packets
}

/// The datagrams of a handshake.
fn dtls_datagrams() -> Vec<Vec<u8>> {
    let now = begin();
    let settings = Settings::repeatable(1200, 5).unwrap();
    let certificate = Certificate::generate(Duration::from_secs(1_800_000_000)).unwrap();
    let mut ends = [0, 1].map(|_| Connection::new(&settings, &certificate, now));
    ends[0].start(now, Role::Client);
    ends[1].start(now, Role::Server);
    let mut datagrams = Vec::new();
    for _ in 0..6 {
        for index in 0..2 {
            let mut datagram = Vec::new();
            while ends[index].poll_transmit(&mut datagram) {
                ends[1 - index].handle_datagram(now, &datagram, &mut |_| {});
                datagrams.push(std::mem::take(&mut datagram));
            }
        }
    }
    datagrams
}
