//! Opus and VP8 in both directions, and what repairs them.

use std::collections::BTreeMap;
use std::time::Duration;

use str0m::Event as TheirEvent;
use str0m::format::Codec;
use str0m::media::{Direction as TheirDirection, Frequency, KeyframeRequestKind, MediaKind};
use str0m::media::{MediaTime, Mid as TheirMid, Pt};
use str0m::stats::{MediaEgressStats, MediaIngressStats};
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::Event;
use twocan_proto::rtp::{Event as RtpEvent, OutgoingFrame, PictureProperties};
use twocan_sim::{LinkConfig, seeds};

use crate::call::{Call, Setting};
use crate::{BAD_LINK, XR, bad_link};

/// Ticks of 20 ms that both send.
const TICKS: u32 = 300;

/// Ticks over a link that loses nothing, so that the last losses are noticed.
const LAST_TICKS: u32 = 50;

/// What a picture that any VP8 depacketizer takes for one looks like (RFC 6386 §9.1), with its
/// number inside.
fn picture(number: u32, key: bool) -> Vec<u8> {
    let len = if key {
        12_000
    } else {
        300 + number as usize * 37 % 3000
    };
    let mut frame = vec![if key { 0x10 } else { 0x11 }, 0, 0];
    if key {
        frame.extend_from_slice(&[0x9d, 0x01, 0x2a, 64, 0, 64, 0]);
    } else {
        frame.extend_from_slice(&[0; 7]);
    }
    frame.extend_from_slice(&number.to_be_bytes());
    let rest = (frame.len()..len).map(|at| ((at as u32 * 7) ^ number) as u8);
    let rest: Vec<u8> = rest.collect();
    frame.extend_from_slice(&rest);
    frame
}

fn sound(number: u32) -> Vec<u8> {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(20 + number as usize % 100, number as u8);
    frame
}

/// What arrived at one end: timestamp and content, in order.
#[derive(Default)]
struct Arrived {
    sounds: Vec<(u32, Vec<u8>)>,
    pictures: Vec<(u32, Vec<u8>)>,
    key_frame_requests: u32,
}

/// A call with sound and pictures both ways.
struct Media {
    call: Call,
    audio: TransceiverId,
    video: TransceiverId,
    their_audio: TheirMid,
    their_video: TheirMid,
    /// At ours, at theirs.
    arrived: [Arrived; 2],
    /// Pictures sent so far, with whether they were key frames.
    sent: [BTreeMap<u32, bool>; 2],
    key_wanted: [bool; 2],
    egress: BTreeMap<TheirMid, MediaEgressStats>,
    ingress: BTreeMap<TheirMid, MediaIngressStats>,
}

impl Media {
    fn new(setting: Setting) -> Self {
        let mut call = Call::new(setting);
        let mut add = |kind| call.us(|peer, _| peer.add_track(kind, &["ours"])).unwrap();
        let (audio, video) = (add(Kind::Audio), add(Kind::Video));
        // Sections that their own offer adds are not announced to them.
        let mut added = Vec::new();
        call.offer(|api| {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                let stream = Some("theirs".into());
                let mid = api.add_media(kind, TheirDirection::SendRecv, stream, None, None);
                added.push((kind, mid));
            }
        });
        call.connect();
        for event in call.their_events.drain(..) {
            if let TheirEvent::MediaAdded(media) = event {
                added.push((media.kind, media.mid));
            }
        }
        let mid = |kind| added.iter().find(|(found, _)| *found == kind).unwrap().1;
        let (their_audio, their_video) = (mid(MediaKind::Audio), mid(MediaKind::Video));
        Self {
            call,
            audio,
            video,
            their_audio,
            their_video,
            arrived: Default::default(),
            sent: Default::default(),
            key_wanted: [true; 2],
            egress: BTreeMap::new(),
            ingress: BTreeMap::new(),
        }
    }

    fn send_from_us(&mut self, tick: u32) {
        let audio = sound(tick);
        let mut frames = vec![(self.audio, "opus", tick * 960, audio)];
        if tick.is_multiple_of(2) {
            let key = std::mem::take(&mut self.key_wanted[0]);
            self.sent[0].insert(tick, key);
            frames.push((self.video, "VP8", tick * 1800, picture(tick, key)));
        }
        for (transceiver, codec, timestamp, data) in frames {
            let agreed = self.call.peer().negotiated(transceiver).unwrap();
            let payload_type = agreed.codec(codec).unwrap().payload_type_send;
            let frame = OutgoingFrame {
                rid: None,
                payload_type,
                timestamp,
                marker: false,
                data: &data,
                audio_level: None,
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            self.call
                .us(|peer, now| peer.send_frame(now, transceiver, &frame))
                .unwrap();
        }
    }

    fn send_from_them(&mut self, tick: u32) {
        let audio = (self.their_audio, Codec::Opus, tick * 960, sound(tick));
        let mut frames = vec![audio];
        if tick.is_multiple_of(2) {
            let key = std::mem::take(&mut self.key_wanted[1]);
            self.sent[1].insert(tick, key);
            let picture = picture(tick, key);
            frames.push((self.their_video, Codec::Vp8, tick * 1800, picture));
        }
        for (mid, codec, timestamp, data) in frames {
            self.call.them(|rtc, now| {
                let writer = rtc.writer(mid).unwrap();
                let pt: Pt = writer
                    .payload_params()
                    .find(|params| params.spec().codec == codec)
                    .unwrap()
                    .pt();
                let rate = match codec {
                    Codec::Opus => Frequency::FORTY_EIGHT_KHZ,
                    _ => Frequency::NINETY_KHZ,
                };
                let time = MediaTime::new(timestamp.into(), rate);
                writer.write(pt, now.monotonic, time, data).unwrap();
            });
        }
    }

    fn ticks(&mut self, ticks: std::ops::Range<u32>) {
        for tick in ticks {
            self.send_from_us(tick);
            self.send_from_them(tick);
            self.call.run_for(Duration::from_millis(20));
            self.collect();
        }
    }

    fn collect(&mut self) {
        for event in self.call.our_events.drain(..) {
            match event {
                Event::Rtp(RtpEvent::Frame(frame)) => {
                    let kept = match frame.data.len() {
                        // Sounds are shorter than the shortest picture.
                        0..200 => &mut self.arrived[0].sounds,
                        _ => &mut self.arrived[0].pictures,
                    };
                    kept.push((frame.timestamp, frame.data));
                }
                Event::Rtp(RtpEvent::KeyFrameRequested { .. }) => {
                    self.arrived[0].key_frame_requests += 1;
                    self.key_wanted[0] = true;
                }
                _ => {}
            }
        }
        for event in self.call.their_events.drain(..) {
            match event {
                TheirEvent::MediaData(data) => {
                    let kept = if data.mid == self.their_audio {
                        &mut self.arrived[1].sounds
                    } else {
                        &mut self.arrived[1].pictures
                    };
                    kept.push((data.time.numer() as u32, data.data.to_vec()));
                }
                TheirEvent::KeyframeRequest(request) => {
                    assert_eq!(request.mid, self.their_video);
                    self.arrived[1].key_frame_requests += 1;
                    self.key_wanted[1] = true;
                }
                TheirEvent::MediaEgressStats(stats) => {
                    self.egress.insert(stats.mid, stats);
                }
                TheirEvent::MediaIngressStats(stats) => {
                    self.ingress.insert(stats.mid, stats);
                }
                _ => {}
            }
        }
    }

    /// For a message: what each end misses, and our figures.
    fn explain(&self) -> String {
        let missing = [0, 1].map(|end: usize| {
            let arrived: Vec<u32> = self.arrived[end]
                .pictures
                .iter()
                .map(|(at, _)| at / 1800)
                .collect();
            let sent = self.sent[1 - end].iter();
            let missing = sent.filter(|(tick, _)| !arrived.contains(tick));
            missing
                .map(|(tick, key)| format!("{tick}{}", if *key { "k" } else { "" }))
                .collect::<Vec<_>>()
                .join(" ")
        });
        format!(
            "{}\npictures missing: {missing:?}\n{:#?}",
            self.call.explain(),
            self.call.peer().inbound_stats()
        )
    }

    /// Whatever arrived is what was sent, in order and once; answers how much did.
    fn check_content(&self) -> [[usize; 2]; 2] {
        [0, 1].map(|end: usize| {
            let Arrived {
                sounds, pictures, ..
            } = &self.arrived[end];
            let sent = &self.sent[1 - end];
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            for (kind, frames) in [("sound", sounds), ("picture", pictures)] {
                let ordered = frames.windows(2).all(|two| two[0].0 < two[1].0);
                assert!(ordered, "end {end}, {kind}: {}", self.call.explain());
            }
            for (timestamp, bytes) in sounds {
                let tick = number(&bytes[..4]);
                assert_eq!(*timestamp, tick * 960, "end {end}");
                assert!(*bytes == sound(tick), "end {end}, sound {tick}");
            }
            for (timestamp, bytes) in pictures {
                let tick = number(&bytes[10..14]);
                assert_eq!(*timestamp, tick * 1800, "end {end}");
                assert!(
                    *bytes == picture(tick, sent[&tick]),
                    "end {end}, picture {tick}"
                );
            }
            [sounds.len(), pictures.len()]
        })
    }
}

#[test]
fn over_a_clean_link_every_frame_arrives_and_reports_are_counted() {
    for seed in seeds() {
        let all: Vec<_> = Setting::all(seed, LinkConfig::default()).collect();
        let mut media = Media::new(all[seed as usize % all.len()]);
        media.ticks(0..TICKS);
        media.call.run_for(Duration::from_secs(2));
        media.collect();
        let all = [TICKS as usize, TICKS as usize / 2];
        assert_eq!(media.check_content(), [all; 2], "{}", media.call.explain());
        media.call.check_counters(&[XR]);
        for stats in media.call.peer().outbound_stats() {
            let remote = stats.remote.unwrap();
            assert_eq!(remote.packets_lost, 0, "{}", media.call.explain());
            let rtt = remote.round_trip_time.unwrap();
            assert!((15..=60).contains(&rtt.as_millis()), "{rtt:?}");
        }
        for mid in [media.their_audio, media.their_video] {
            let (egress, ingress) = (&media.egress[&mid], &media.ingress[&mid]);
            assert_eq!(egress.remote.as_ref().unwrap().packets_lost, 0);
            assert!(ingress.remote.as_ref().unwrap().packets > 0);
            let ours = media.call.peer().inbound_stats();
            let ours = ours
                .iter()
                .find(|stats| stats.mid.as_str() == &*mid.to_string());
            assert_eq!(ours.unwrap().packets_received, egress.packets);
        }
    }
}

#[test]
fn losses_are_repaired_in_both_directions() {
    for seed in seeds() {
        let all: Vec<_> = Setting::all(seed, bad_link()).collect();
        let mut media = Media::new(all[seed as usize % all.len()]);
        media.ticks(0..TICKS);
        media.call.repair_links();
        media.ticks(TICKS..TICKS + LAST_TICKS);
        media.call.run_for(Duration::from_secs(2));
        media.collect();
        let explain = media.explain();
        let arrived = media.check_content();
        let sent = (TICKS + LAST_TICKS) as usize;
        for (end, [sounds, pictures]) in arrived.into_iter().enumerate() {
            // A datagram crosses an uplink and a downlink: 6 % are lost.
            assert!(sounds > sent * 85 / 100, "end {end}: {sounds}: {explain}");
            assert!(sounds < sent, "end {end}: nothing was lost");
            // A lost key frame takes with it what follows until the next, about 20 pictures.
            // Without repair hardly any would be there.
            let least = sent / 2 * 80 / 100;
            assert!(pictures >= least, "end {end}: {pictures}: {explain}");
        }
        let outbound = media.call.peer().outbound_stats();
        let video = outbound
            .iter()
            .find(|stats| stats.retransmitted_packets_sent > 0);
        assert!(video.unwrap().nack_count > 0, "{explain}");
        let inbound = media.call.peer().inbound_stats();
        let video = inbound
            .iter()
            .find(|stats| stats.retransmitted_packets_received > 0);
        assert!(video.unwrap().nack_count > 0, "{explain}");
        media.call.check_counters(BAD_LINK);
    }
}

#[test]
fn a_key_frame_that_either_asks_for_is_asked_of_the_other() {
    for seed in seeds() {
        let all: Vec<_> = Setting::all(seed, LinkConfig::default()).collect();
        let mut media = Media::new(all[seed as usize % all.len()]);
        media.ticks(0..20);
        let before = [0, 1].map(|end: usize| media.arrived[end].key_frame_requests);
        let video = media.video;
        media.call.us(|peer, _| peer.request_key_frame(video, None));
        let mid = media.their_video;
        media.call.them(|rtc, _| {
            let mut writer = rtc.writer(mid).unwrap();
            writer
                .request_keyframe(None, KeyframeRequestKind::Pli)
                .unwrap();
        });
        media.ticks(20..60);
        for (end, before) in before.into_iter().enumerate() {
            let explain = media.call.explain();
            let after = media.arrived[end].key_frame_requests;
            assert_eq!(after, before + 1, "end {end}: {explain}");
            // The answer was sent as well.
            let keys = media.sent[end].values().filter(|key| **key).count();
            assert!(keys >= 2, "end {end}: {explain}");
        }
        media.check_content();
        media.call.check_counters(&[XR]);
    }
}
