//! Several streams of one section, and the layers of one stream.

use std::collections::BTreeMap;
use std::time::Duration;

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::rtp::{
    DependencyDescriptor, ExtensionKind, ExtensionMap, ExtensionValues, Header, Resolution,
    VideoLayersAllocation,
};

use super::tests::{Call, media, vp8_frame};
use super::*;

const RIDS: [&str; 3] = ["q", "h", "f"];

fn extensions() -> ExtensionMap {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in [
        (1, ExtensionKind::Mid),
        (2, ExtensionKind::Rid),
        (3, ExtensionKind::RepairedRid),
        (4, ExtensionKind::TransportSequence),
        (5, ExtensionKind::DependencyDescriptor),
        (6, ExtensionKind::AbsSendTime),
        (7, ExtensionKind::VideoLayersAllocation),
    ] {
        extensions.insert(kind, id);
    }
    extensions
}

fn simulcast(format: Format) -> Media {
    let mut media = media("v", format, 10);
    media.extensions_send = extensions();
    media.extensions_receive = extensions();
    media.encodings = (0u32..)
        .zip(RIDS)
        .map(|(index, rid)| Encoding {
            rid: Some(Rid::from(rid)),
            ssrc: Ssrc(10 + 2 * index),
            rtx_ssrc: Ssrc(11 + 2 * index),
        })
        .collect();
    media
}

fn frame<'a>(rid: &'a str, timestamp: u32, data: &'a [u8]) -> OutgoingFrame<'a> {
    OutgoingFrame {
        rid: Some(rid),
        payload_type: PayloadType(96),
        timestamp,
        marker: false,
        data,
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: crate::rtp::FrameTimes::default(),
        contributing: &[],
    }
}

/// Sends a frame in each quality.
fn send_all(call: &mut Call, number: u32, key: bool) {
    for (index, rid) in (1usize..).zip(RIDS) {
        let data = vp8_frame(number, key, 900 * index * index);
        let frame = frame(rid, number * 3000, &data);
        let now = call.now;
        let sent = call.sides[0].send_frame(now, &Mid::from("v"), &frame);
        sent.unwrap();
    }
    call.flush();
}

fn values(packet: &[u8]) -> (Header<'_>, ExtensionValues<'_>) {
    let header = Header::parse(packet).unwrap();
    let values = ExtensionValues::read(&header.extensions, &extensions());
    (header, values)
}

#[test]
fn every_quality_is_a_stream_of_its_own_in_spite_of_losses() {
    for seed in 1..=4 {
        let mut call = Call::new(seed, &[simulcast(Format::Vp8)]);
        call.jitter_ms = 3;
        for number in 0..90 {
            // A key frame that was lost would be asked for again, a last frame by nobody.
            call.loss_percent = if [0, 89].contains(&number) { 0 } else { 5 };
            send_all(&mut call, number, number == 0);
            call.run(Duration::from_millis(33));
        }
        call.loss_percent = 0;
        call.run(Duration::from_secs(1));
        let mut frames: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for event in call.take_events(1) {
            if let Event::Frame(frame) = event {
                let rid = frame.rid.unwrap().to_string();
                frames.entry(rid).or_default().push(frame.timestamp / 3000);
            }
        }
        assert_eq!(frames.len(), 3);
        for (rid, numbers) in frames {
            assert_eq!(numbers, (0..90).collect::<Vec<_>>(), "{seed} {rid}");
        }
        let outbound: Vec<_> = call.sides[0].outbound_stats().collect();
        let rids: Vec<&str> = outbound
            .iter()
            .map(|own| own.rid.as_ref().unwrap().as_str())
            .collect();
        assert_eq!(rids, RIDS);
        assert!(
            outbound
                .iter()
                .all(|own| own.retransmitted_packets_sent > 0)
        );
        for inbound in call.sides[1].inbound_stats() {
            assert!(inbound.rid.is_some() && inbound.retransmitted_packets_received > 0);
        }
    }
}

#[test]
fn a_key_frame_is_asked_for_of_one_quality_alone() {
    let mut call = Call::new(7, &[simulcast(Format::Vp8)]);
    send_all(&mut call, 0, true);
    call.run(Duration::from_millis(500));
    call.take_events(0);
    call.sides[1].request_key_frame(&Mid::from("v"), Some("h"));
    call.run(Duration::from_millis(500));
    let asked: Vec<_> = call
        .take_events(0)
        .into_iter()
        .filter_map(|event| match event {
            Event::KeyFrameRequested { mid, rid } => Some((mid, rid)),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [(Mid::from("v"), Some(Rid::from("h")))]);
}

#[test]
fn packets_say_where_they_belong_until_the_other_side_reports() {
    let mut call = Call::new(3, &[simulcast(Format::Vp8)]);
    let (now, mid) = (call.now, Mid::from("v"));
    let next = |call: &mut Call, number: u32| {
        let data = vp8_frame(number, number == 0, 100);
        let now = call.now;
        let frame = frame("h", number * 3000, &data);
        call.sides[0].send_frame(now, &mid, &frame).unwrap();
        let mut out = Vec::new();
        call.sides[0].poll_packet(now, Class::Video, &mut out);
        out
    };
    let first = next(&mut call, 0);
    let (header, told) = values(&first);
    assert_eq!(header.ssrc, Ssrc(12));
    assert_eq!((told.mid, told.rid), (Some(&b"v"[..]), Some(&b"h"[..])));
    let mut padding = Vec::new();
    call.sides[0].poll_packet(now, Class::Padding, &mut padding);
    let (header, told) = values(&padding);
    assert_eq!(header.ssrc, Ssrc(13));
    assert_eq!((told.rid, told.repaired_rid), (None, Some(&b"h"[..])));
    // The other side has it, and says so.
    call.sides[1].handle_rtp(now, &first);
    call.run(Duration::from_secs(2));
    assert_eq!(names(&next(&mut call, 1)), [None, None]);
    // A new agreement: once more.
    call.sides[0].configure(vec![simulcast(Format::Vp8)]);
    let told = [Some(b"v".to_vec()), Some(b"h".to_vec())];
    assert_eq!(names(&next(&mut call, 2)), told);
}

/// What a packet says of where it belongs.
fn names(packet: &[u8]) -> [Option<Vec<u8>>; 2] {
    let (_, values) = values(packet);
    [values.mid, values.rid].map(|own| own.map(<[u8]>::to_vec))
}

#[test]
fn a_packet_sent_again_as_it_was_keeps_its_name() {
    let mut section = simulcast(Format::Vp8);
    section.codecs[0].rtx = None;
    section.codecs[0].rtx_send = None;
    let mut call = Call::new(3, &[section]);
    for number in 0..60 {
        call.loss_percent = if number == 0 { 0 } else { 10 };
        send_all(&mut call, number, number == 0);
        call.run(Duration::from_millis(33));
    }
    call.loss_percent = 0;
    call.run(Duration::from_secs(1));
    let frames = call.take_events(1);
    let frames = frames.iter().filter(|own| matches!(own, Event::Frame(_)));
    assert!(frames.count() > 100);
}

#[test]
fn the_lowest_quality_is_sent_first() {
    let mut call = Call::new(5, &[simulcast(Format::Vp8)]);
    let now = call.now;
    for rid in ["f", "h", "q"] {
        let data = vp8_frame(0, true, 3000);
        let frame = frame(rid, 0, &data);
        call.sides[0]
            .send_frame(now, &Mid::from("v"), &frame)
            .unwrap();
    }
    let mut sources = Vec::new();
    loop {
        let mut out = Vec::new();
        if call.sides[0]
            .poll_packet(now, Class::Video, &mut out)
            .is_none()
        {
            break;
        }
        sources.push(values(&out).0.ssrc.0);
    }
    assert_eq!(sources, [10, 10, 10, 12, 12, 12, 14, 14, 14]);
}

#[test]
fn a_stream_that_is_not_sent_is_refused() {
    let mut call = Call::new(5, &[simulcast(Format::Vp8)]);
    let data = vp8_frame(0, true, 300);
    let now = call.now;
    let mut send = |rid| call.sides[0].send_frame(now, &Mid::from("v"), &frame(rid, 0, &data));
    assert_eq!(send("x"), Err(SendError::UnknownRid));
    assert_eq!(send("q"), Ok(()));
}

fn layer(mode: &str, spatial: u8, temporal: u8, key_picture: bool) -> FrameLayer {
    let mode: ScalabilityMode = mode.parse().unwrap();
    FrameLayer {
        mode,
        spatial,
        temporal,
        key_picture,
        last_of_picture: spatial + 1 == mode.spatial_layers(),
    }
}

/// Makes a frame of AV1 of as many bytes, in its layers; a key frame after a sequence header.
fn obu(data: &mut [u8], is_key: bool, layers: u8) {
    let header_len = if is_key { 5 } else { 0 };
    data[..header_len].copy_from_slice(&[0x0a, 3, 0, 0, 0][..header_len]);
    let frame = &mut data[header_len..];
    // The body is of two bytes of length, which come first.
    let len = frame.len() - 4;
    frame[..5].copy_from_slice(&[
        0x36,
        layers,
        (len & 0x7f) as u8 | 0x80,
        (len >> 7) as u8,
        if is_key { 0x10 } else { 0x30 },
    ]);
}

#[test]
fn pictures_of_several_layers_arrive_whole_and_are_described() {
    for (format, mode) in [
        (Format::Vp9, "L2T2_KEY"),
        (Format::Vp9, "L3T3"),
        (Format::Vp8, "L1T3"),
        (Format::Vp9, "L1T2"),
        (Format::Av1, "L1T2"),
        (Format::Av1, "L1T3"),
        (Format::Av1, "L3T3"),
        (Format::Av1, "L3T3_KEY"),
    ] {
        let mut section = simulcast(format);
        section.encodings.truncate(1);
        let mut call = Call::new(9, &[section]);
        let shape: ScalabilityMode = mode.parse().unwrap();
        let pattern: &[u8] = match shape.temporal_layers() {
            2 => &[0, 1],
            _ => &[0, 2, 1, 2],
        };
        for number in 0..40u32 {
            let key = number == 0;
            call.loss_percent = if key { 0 } else { 3 };
            let temporal = pattern[number as usize % pattern.len()];
            for spatial in 0..shape.spatial_layers() {
                let mut data = vp8_frame(number, key, 700 * (1 + usize::from(spatial)));
                if format == Format::Vp9 {
                    data[0] = if key && spatial == 0 { 0x82 } else { 0x86 };
                } else if format == Format::Av1 {
                    let is_key = key && spatial == 0;
                    obu(&mut data, is_key, temporal << 5 | spatial << 3);
                }
                let mut own = frame("q", number * 3000, &data);
                own.layer = Some(layer(mode, spatial, temporal, key));
                own.resolution = Some(Resolution {
                    width: 320,
                    height: 180,
                });
                let now = call.now;
                call.sides[0]
                    .send_frame(now, &Mid::from("v"), &own)
                    .unwrap();
            }
            call.flush();
            call.run(Duration::from_millis(33));
        }
        call.loss_percent = 0;
        call.run(Duration::from_secs(1));
        let frames: BTreeMap<u32, usize> = call
            .take_events(1)
            .into_iter()
            .filter_map(|event| match event {
                Event::Frame(frame) => Some((frame.timestamp / 3000, frame.data.len())),
                _ => None,
            })
            .collect();
        let len = (1..=usize::from(shape.spatial_layers())).sum::<usize>() * 700;
        assert!(frames.values().all(|own| *own == len), "{mode}");
        // Those of upper temporal layers are not waited for as long.
        let base = (0..40).step_by(pattern.len());
        assert!(base.clone().all(|own| frames.contains_key(&own)), "{mode}");
        assert!(frames.len() > base.len() * 3 / 2, "{mode}");
        let stats = call.sides[0].outbound_stats().next().unwrap();
        assert_eq!(stats.frames_sent, 40, "{mode}");
    }
}

#[test]
fn a_frame_that_cannot_be_in_its_layer_is_refused_and_changes_nothing() {
    let mut call = Call::new(5, &[simulcast(Format::Vp8)]);
    let now = call.now;
    let send = |call: &mut Call, own: FrameLayer, data: &[u8]| {
        let mut frame = frame("q", u32::from(own.temporal) * 3000, data);
        frame.layer = Some(own);
        call.sides[0].send_frame(now, &Mid::from("v"), &frame)
    };
    let data = vp8_frame(0, true, 300);
    let bad = Err(SendError::BadLayer);
    assert_eq!(send(&mut call, layer("L2T1", 0, 0, true), &data), bad);
    assert_eq!(send(&mut call, layer("L1T2", 0, 1, true), &data), bad);
    assert_eq!(send(&mut call, layer("L1T2", 0, 2, false), &data), bad);
    assert_eq!(send(&mut call, layer("L1T2", 0, 0, true), &data), Ok(()));
    assert!(send(&mut call, layer("L1T2", 0, 1, false), &[]).is_err());
    assert_eq!(send(&mut call, layer("L1T2", 0, 1, false), &data), Ok(()));
    let mut numbers = Vec::new();
    let mut structure = None;
    loop {
        let mut out = Vec::new();
        if call.sides[0]
            .poll_packet(now, Class::Video, &mut out)
            .is_none()
        {
            break;
        }
        let told = values(&out).1.dependency_descriptor.unwrap().to_vec();
        let own = DependencyDescriptor::parse(&told, structure.as_ref()).unwrap();
        structure = own.structure.clone().or(structure);
        numbers.push(own.frame_number);
    }
    assert_eq!(numbers, [1, 2]);
}

/// What the first packet of the next frame tells of all layers.
fn told(call: &mut Call, frame: &OutgoingFrame<'_>) -> Option<VideoLayersAllocation> {
    let now = call.now;
    call.sides[0]
        .send_frame(now, &Mid::from("v"), frame)
        .unwrap();
    let mut first = None;
    loop {
        let mut out = Vec::new();
        if call.sides[0]
            .poll_packet(now, Class::Video, &mut out)
            .is_none()
        {
            return first;
        }
        assert!(out.len() <= 1200);
        let value = values(&out).1.video_layers_allocation;
        first = first.or(value.map(|own| VideoLayersAllocation::parse(own).unwrap()));
    }
}

#[test]
fn forwarders_are_told_of_layers_with_key_frames_and_changes() {
    let mut call = Call::new(5, &[simulcast(Format::Vp8)]);
    let rate = |kbps, mode: &str| EncodingRate {
        bitrate: Bitrate::kbps(kbps),
        mode: mode.parse().ok(),
        max_framerate: None,
    };
    let rates = |middle| vec![rate(200, "L1T3"), rate(middle, ""), rate(0, "")];
    call.sides[0].set_rates(&Mid::from("v"), rates(700));
    let (key, delta) = (vp8_frame(0, true, 3000), vp8_frame(1, false, 3000));
    let mut q = frame("q", 0, &key);
    q.resolution = Some(Resolution {
        width: 320,
        height: 180,
    });
    let own = told(&mut call, &q).unwrap();
    assert_eq!((own.stream, own.stream_count), (0, 3));
    let kbps: Vec<Vec<u64>> = own
        .layers
        .iter()
        .map(|layer| {
            layer
                .bitrates
                .iter()
                .map(|own| own.as_bps() / 1000)
                .collect()
        })
        .collect();
    assert_eq!(kbps, [vec![80, 120, 200], vec![700]]);
    // Of one stream the size is not known yet, so it is told of none.
    assert!(own.layers.iter().all(|layer| layer.resolution.is_none()));
    let mut h = frame("h", 0, &key);
    h.resolution = Some(Resolution {
        width: 640,
        height: 360,
    });
    let sizes: Vec<_> = told(&mut call, &h)
        .unwrap()
        .layers
        .iter()
        .map(|layer| {
            layer
                .resolution
                .map(|own| (own.width, own.height, own.frame_rate))
        })
        .collect();
    assert_eq!(sizes, [Some((320, 180, 30)), Some((640, 360, 30))]);
    // The other stream tells it too, once; then only key frames and changes do.
    let mut next = frame("q", 3000, &delta);
    assert!(told(&mut call, &next).is_some());
    next.timestamp = 6000;
    assert!(told(&mut call, &next).is_none());
    call.sides[0].set_rates(&Mid::from("v"), rates(700));
    next.timestamp = 9000;
    assert!(told(&mut call, &next).is_none());
    call.sides[0].set_rates(&Mid::from("v"), rates(600));
    next.timestamp = 12_000;
    assert!(told(&mut call, &next).is_some());
    assert!(told(&mut call, &frame("q", 15_000, &key)).is_some());
}
