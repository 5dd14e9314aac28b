//! Three qualities of a picture, from each side to the other.

use std::collections::BTreeMap;
use std::time::Duration;

use str0m::Event as TheirEvent;
use str0m::format::Codec;
use str0m::media::Rid as TheirRid;
use str0m::media::{
    Direction as TheirDirection, Frequency, KeyframeRequestKind, MediaKind, MediaTime,
};
use str0m::media::{Mid as TheirMid, Simulcast, SimulcastLayer};
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::{EncodingParameters, Event, TransceiverInit};
use twocan_proto::rtp::{Event as RtpEvent, OutgoingFrame, PictureProperties};
use twocan_sim::{LinkConfig, seeds};
use twocan_wire::sdp::Direction;

use crate::call::{Call, Offerer, Setting};
use crate::{BAD_LINK, XR, bad_link};

const RIDS: [&str; 3] = ["q", "h", "f"];

/// What a picture that any VP8 depacketizer takes for one looks like (RFC 6386 §9.1): its number,
/// and the quality that it is of.
fn picture(number: u32, quality: usize, key: bool) -> Vec<u8> {
    let mut frame = match key {
        true => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0],
        false => vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    frame.extend_from_slice(&number.to_be_bytes());
    frame.push(quality as u8);
    let scale = if key { 4 } else { 1 };
    frame.resize(400 * (1 + quality * quality) * scale, number as u8);
    frame
}

/// Pictures by the quality that they came as.
type Arrived = BTreeMap<String, Vec<Vec<u8>>>;

/// The numbers of the pictures of a quality, all of which must be of it.
#[track_caller]
fn numbers(arrived: &Arrived, quality: usize) -> Vec<u32> {
    let pictures = arrived.get(RIDS[quality]).cloned().unwrap_or_default();
    pictures
        .iter()
        .map(|data| {
            assert_eq!(usize::from(data[14]), quality);
            let number = u32::from_be_bytes(data[10..14].try_into().unwrap());
            let key = data[0] == 0x10;
            assert_eq!(*data, picture(number, quality, key));
            number
        })
        .collect()
}

fn settings_of(offerer: Offerer, link: LinkConfig) -> impl Iterator<Item = Setting> {
    seeds().into_iter().filter_map(move |seed| {
        let all: Vec<_> = Setting::all(seed, link)
            .filter(|own| own.offerer == offerer)
            .collect();
        all.get(seed as usize % all.len()).copied()
    })
}

/// Ours sends to them.
struct Ours {
    call: Call,
    video: TransceiverId,
    arrived: Arrived,
    key_wanted: [bool; 3],
    asked: Vec<Option<String>>,
}

impl Ours {
    fn new(setting: Setting) -> Self {
        let mut call = Call::new(setting);
        let encodings = RIDS.map(|rid| EncodingParameters {
            rid: Some(rid.to_owned()),
            ..EncodingParameters::default()
        });
        let init = TransceiverInit {
            direction: Direction::SendOnly,
            streams: vec!["ours".to_owned()],
            send_encodings: encodings.to_vec(),
        };
        let video = call.us(|peer, _| peer.add_transceiver_with(Kind::Video, &init));
        call.offer_from_us();
        call.connect();
        Self {
            call,
            video: video.unwrap(),
            arrived: Arrived::new(),
            key_wanted: [true; 3],
            asked: Vec::new(),
        }
    }

    fn run(&mut self, ticks: std::ops::Range<u32>) {
        for tick in ticks {
            for (quality, rid) in RIDS.into_iter().enumerate() {
                let key = std::mem::take(&mut self.key_wanted[quality]);
                let data = picture(tick, quality, key);
                let agreed = self.call.peer().negotiated(self.video).unwrap();
                let frame = OutgoingFrame {
                    rid: Some(rid),
                    payload_type: agreed.codec("VP8").unwrap().payload_type_send,
                    timestamp: tick * 3600,
                    marker: false,
                    data: &data,
                    audio_level: None,
                    layer: None,
                    resolution: None,
                    picture: PictureProperties::default(),
                    times: twocan_proto::rtp::FrameTimes::default(),
                    contributing: &[],
                };
                let video = self.video;
                self.call
                    .us(|peer, now| peer.send_frame(now, video, &frame))
                    .unwrap();
            }
            self.call.run_for(Duration::from_millis(40));
            for event in self.call.our_events.drain(..) {
                if let Event::Rtp(RtpEvent::KeyFrameRequested { rid, .. }) = event {
                    let rid = rid.map(|rid| rid.to_string());
                    let index = RIDS.iter().position(|own| rid.as_deref() == Some(own));
                    self.key_wanted[index.unwrap()] = true;
                    self.asked.push(rid);
                }
            }
            for event in self.call.their_events.drain(..) {
                if let TheirEvent::MediaData(data) = event {
                    let rid = data.rid.unwrap().to_string();
                    self.arrived
                        .entry(rid)
                        .or_default()
                        .push(data.data.to_vec());
                }
            }
        }
    }
}

#[test]
fn all_qualities_of_ours_arrive_by_their_names() {
    for setting in settings_of(Offerer::Us, LinkConfig::default()) {
        let mut ours = Ours::new(setting);
        ours.run(0..50);
        for quality in 0..3 {
            let numbers = numbers(&ours.arrived, quality);
            let expected: Vec<u32> = (0..50).collect();
            assert_eq!(numbers, expected, "{}", ours.call.explain());
        }
        ours.call.check_counters(&[XR]);
    }
}

#[test]
fn lost_packets_of_each_quality_are_sent_again() {
    for setting in settings_of(Offerer::Us, bad_link()) {
        let mut ours = Ours::new(setting);
        ours.run(0..100);
        ours.call.repair_links();
        ours.run(100..150);
        for quality in 0..3 {
            let numbers = numbers(&ours.arrived, quality);
            let explain = ours.call.explain();
            assert!(numbers.is_sorted(), "{explain}");
            // A picture that is given up takes those with it that need it, until a key frame comes.
            assert!(numbers.len() > 110, "{}: {explain}", numbers.len());
            assert!(numbers.ends_with(&[147, 148]) || numbers.ends_with(&[148, 149]));
        }
        let stats = ours.call.peer().outbound_stats();
        assert_eq!(stats.len(), 3);
        for own in stats {
            assert!(own.retransmitted_packets_sent > 0, "{own:?}");
        }
        ours.call.check_counters(BAD_LINK);
    }
}

#[test]
fn they_ask_for_a_key_frame_of_one_quality() {
    for setting in settings_of(Offerer::Us, LinkConfig::default()) {
        let mut ours = Ours::new(setting);
        ours.run(0..20);
        ours.asked.clear();
        let mid: Option<TheirMid> = ours.call.peer().negotiated(ours.video).map(|own| {
            let mid: &str = own.mid.as_str();
            mid.into()
        });
        ours.call.them(|rtc, _| {
            let mut writer = rtc.writer(mid.unwrap()).unwrap();
            let rid = Some(TheirRid::from("h"));
            writer
                .request_keyframe(rid, KeyframeRequestKind::Pli)
                .unwrap();
        });
        ours.run(20..40);
        assert_eq!(ours.asked, [Some("h".to_owned())]);
    }
}

#[test]
fn all_qualities_of_theirs_arrive_by_their_names() {
    for setting in settings_of(Offerer::Them, LinkConfig::default()) {
        let mut call = Call::new(setting);
        let mut simulcast = Simulcast::new();
        for rid in RIDS {
            simulcast.add_send_layer(SimulcastLayer::new(rid));
        }
        let mut mid = None;
        call.offer_from_them(|api| {
            let stream = Some("theirs".into());
            let direction = TheirDirection::SendOnly;
            let added = api.add_media(MediaKind::Video, direction, stream, None, Some(simulcast));
            mid = Some(added);
        });
        call.connect();
        let mut arrived = Arrived::new();
        for tick in 0..50u32 {
            for (quality, rid) in RIDS.into_iter().enumerate() {
                let data = picture(tick, quality, tick == 0);
                call.them(|rtc, now| {
                    let writer = rtc.writer(mid.unwrap()).unwrap();
                    let found = writer.payload_params();
                    let pt = found
                        .into_iter()
                        .find(|own| own.spec().codec == Codec::Vp8)
                        .map(|own| own.pt());
                    let time = MediaTime::new(u64::from(tick) * 3600, Frequency::NINETY_KHZ);
                    let writer = writer.rid(TheirRid::from(rid));
                    let written = writer.write(pt.unwrap(), now.monotonic, time, data);
                    written.unwrap();
                });
            }
            call.run_for(Duration::from_millis(40));
            for event in call.our_events.drain(..) {
                if let Event::Rtp(RtpEvent::Frame(frame)) = event {
                    let rid = frame.rid.unwrap().to_string();
                    arrived.entry(rid).or_default().push(frame.data);
                }
            }
        }
        for quality in 0..3 {
            let expected: Vec<u32> = (0..50).collect();
            assert_eq!(numbers(&arrived, quality), expected, "{}", call.explain());
        }
        call.check_counters(&[XR]);
    }
}
