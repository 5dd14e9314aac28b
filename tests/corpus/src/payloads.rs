//! The payload formats of media and their error correction.

use twocan_wire::fec::FecError;
use twocan_wire::fec::flexfec::Flexfec;
use twocan_wire::fec::ulpfec::Ulpfec;
use twocan_wire::ids::Ssrc;
use twocan_wire::payload::comfort_noise::ComfortNoise;
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::payload::red::Red;
use twocan_wire::payload::telephone_event::TelephoneEvent;
use twocan_wire::payload::{
    Counters, av1 as av, h264 as avc, h265 as hevc, l16, vp8 as vp, vp9 as vp9s,
};

use crate::Script;

/// What a forwarder might write.
const COUNTERS: Counters = Counters {
    picture_id: Some(0x1234),
    tl0_picture_index: Some(0x56),
    key_index: Some(0x0a),
};

/// VP8 payloads, one or several.
pub fn vp8(data: &[u8]) {
    if let Ok((before, rest)) = vp::Descriptor::parse(data) {
        let mut changed = data.to_vec();
        vp::set_counters(&mut changed, &COUNTERS).unwrap();
        let (after, changed_rest) = vp::Descriptor::parse(&changed).unwrap();
        assert_eq!(rest, changed_rest);
        let expected = vp::Descriptor {
            picture_id: after.picture_id,
            tl0_picture_index: before.tl0_picture_index.and(COUNTERS.tl0_picture_index),
            key_index: before.key_index.and(COUNTERS.key_index),
            ..before
        };
        assert_eq!(after, expected);
    }
    let _ = vp::inspect(data);
    let _ = (vp::is_key_frame(data), vp::starts_key_frame(data));
    let mut out = Vec::new();
    let _ = vp::assemble(pieces(data), &mut out);
    assert!(out.len() <= data.len());
}

/// A VP8 frame comes back from its payloads.
pub fn vp8_packetize(data: &[u8]) {
    let mut script = Script::new(data);
    let (Some(len_max), Some(picture_id)) = (script.short(), script.short()) else {
        return;
    };
    let len_max = usize::from(len_max);
    let frame = script.rest();
    // The bit that no picture id has says whether there are layers.
    let layer = (picture_id & 0x8000 != 0).then_some(vp::Layer {
        temporal: (picture_id & 3) as u8,
        sync: picture_id & 4 != 0,
        tl0_picture_index: (picture_id >> 3 & 0xff) as u8,
        key_index: (picture_id & 0x1f) as u8,
    });
    let Ok(chunks) = vp::packetize(frame, picture_id & 0x7fff, layer, len_max) else {
        return;
    };
    let payloads: Vec<Vec<u8>> = chunks.map(|chunk| written(&chunk)).collect();
    if len_max > 8 {
        assert!(payloads.iter().all(|payload| payload.len() <= len_max));
    }
    let mut out = Vec::new();
    vp::assemble(payloads.iter().map(Vec::as_slice), &mut out).unwrap();
    assert_eq!(out, frame);
}

/// H.264 payloads, one or several.
pub fn h264(data: &[u8]) {
    let _ = avc::nal_units(data).count();
    let _ = (avc::is_key_frame(data), avc::starts_key_frame(data));
    let _ = avc::inspect(data);
    let mut out = Vec::new();
    let _ = avc::assemble(pieces(data), &mut out);
    assert!(out.len() <= data.len() * 4);
}

/// The NAL units of an access unit come back from its payloads.
pub fn h264_packetize(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(len_max) = script.short() else {
        return;
    };
    // Payloads shorter than their own headers are nobody's.
    let len_max = usize::from(len_max).max(16);
    let frame = script.rest();
    for mode in [
        PacketizationMode::SingleNalUnit,
        PacketizationMode::NonInterleaved,
    ] {
        let Ok(chunks) = avc::packetize(frame, mode, len_max) else {
            continue;
        };
        let payloads: Vec<Vec<u8>> = chunks.iter().map(written).collect();
        assert!(payloads.iter().all(|payload| payload.len() <= len_max));
        let mut out = Vec::new();
        if avc::assemble(payloads.iter().map(Vec::as_slice), &mut out).is_err() {
            // Units of types that RTP gives another meaning cannot travel.
            assert!(avc::nal_units(frame).any(|unit| unit[0] & 0x1f == 0 || unit[0] & 0x1f > 23));
        }
    }
}

/// VP9 payloads, one or several.
pub fn vp9(data: &[u8]) {
    if let Ok((before, rest)) = vp9s::Descriptor::parse(data) {
        let mut changed = data.to_vec();
        vp9s::set_counters(&mut changed, &COUNTERS).unwrap();
        let (after, changed_rest) = vp9s::Descriptor::parse(&changed).unwrap();
        assert_eq!(rest, changed_rest);
        assert_eq!(before.picture_id.is_some(), after.picture_id.is_some());
        let layers = before.layers.map(|own| vp9s::Layers {
            tl0_picture_index: own.tl0_picture_index.and(COUNTERS.tl0_picture_index),
            ..own
        });
        let expected = vp9s::Descriptor {
            picture_id: after.picture_id,
            layers,
            ..before
        };
        assert_eq!(after, expected);
    }
    let _ = (vp9s::is_key_frame(data), vp9s::starts_key_frame(data));
    let mut out = Vec::new();
    let _ = vp9s::assemble(pieces(data), &mut out);
    assert!(out.len() <= data.len());
}

/// A VP9 frame comes back from its payloads.
pub fn vp9_packetize(data: &[u8]) {
    let mut script = Script::new(data);
    let (Some(len_max), Some(picture_id)) = (script.short(), script.short()) else {
        return;
    };
    let len_max = usize::from(len_max);
    let frame = script.rest();
    let Ok(chunks) = vp9s::packetize(frame, picture_id, len_max) else {
        return;
    };
    let payloads: Vec<Vec<u8>> = chunks.map(|chunk| written(&chunk)).collect();
    if len_max > 8 {
        assert!(payloads.iter().all(|payload| payload.len() <= len_max));
    }
    let mut out = Vec::new();
    let key = vp9s::assemble(payloads.iter().map(Vec::as_slice), &mut out);
    assert_eq!(key, Ok(vp9s::is_key_frame(frame)));
    assert_eq!(out, frame);
}

/// AV1 payloads, one or several.
pub fn av1(data: &[u8]) {
    let _ = (av::obus(data).count(), av::is_key_frame(data));
    let _ = (av::inspect(data), av::open_envelope(data));
    let mut out = Vec::new();
    let _ = av::assemble(pieces(data), &mut out);
    // A size of up to five bytes is added to each unit, which has at least one.
    assert!(out.len() <= data.len() * 6);
}

/// The OBUs of a temporal unit come back from its payloads, and so does what an envelope hides.
pub fn av1_packetize(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(len_max) = script.short() else {
        return;
    };
    let len_max = usize::from(len_max).max(av::PAYLOAD_LEN_MIN);
    let frame = script.rest();
    let Ok(chunks) = av::packetize(frame, len_max) else {
        return;
    };
    let payloads: Vec<Vec<u8>> = chunks.iter().map(written).collect();
    assert!(payloads.iter().all(|payload| payload.len() <= len_max));
    let mut out = Vec::new();
    let key = av::assemble(payloads.iter().map(Vec::as_slice), &mut out);
    assert_eq!(key, Ok(av::is_key_frame(frame)));
    // Temporal delimiters (2), tile lists (8) and padding (15) stay behind.
    let sent = av::obus(frame)
        .map(Result::unwrap)
        .filter(|obu| !matches!(obu.kind(), 2 | 8 | 15));
    assert!(av::obus(&out).map(Result::unwrap).eq(sent));
    let envelope = av::Envelope::of(frame).unwrap();
    let mut unit = Vec::new();
    envelope.write(frame, &mut unit);
    assert_eq!(av::is_key_frame(&unit), av::is_key_frame(frame));
    let visible = [envelope.visible()];
    assert_eq!(av::open_envelope(&unit), Ok((&visible[..], frame)));
}

/// H.265 payloads, one or several.
pub fn h265(data: &[u8]) {
    let _ = (hevc::is_key_frame(data), hevc::starts_key_frame(data));
    let _ = hevc::inspect(data);
    let mut out = Vec::new();
    let _ = hevc::assemble(pieces(data), &mut out);
    assert!(out.len() <= data.len() * 4);
}

/// The NAL units of an access unit come back from its payloads.
pub fn h265_packetize(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(len_max) = script.short() else {
        return;
    };
    let len_max = usize::from(len_max).max(16);
    let frame = script.rest();
    let Ok(chunks) = hevc::packetize(frame, len_max) else {
        return;
    };
    let payloads: Vec<Vec<u8>> = chunks.iter().map(written).collect();
    assert!(payloads.iter().all(|payload| payload.len() <= len_max));
    let mut out = Vec::new();
    let key = hevc::assemble(payloads.iter().map(Vec::as_slice), &mut out);
    assert!(key.is_ok(), "{key:?}");
    // Access unit delimiters (35) and units without a whole header stay behind.
    let sent: Vec<&[u8]> = hevc::nal_units(frame)
        .filter(|unit| unit.len() > 1 && unit[0] >> 1 & 0x3f != 35)
        .collect();
    // A header that ends in a zero may be taken for part of a start code.
    if sent.iter().all(|unit| unit[1] != 0) {
        assert!(hevc::nal_units(&out).eq(sent));
    }
}

/// Redundant sound; what is read survives being written.
pub fn red(data: &[u8]) {
    if let Ok(red) = Red::parse(data) {
        let mut out = Vec::new();
        red.write(&mut out).unwrap();
        assert_eq!(out, data);
    }
}

/// Telephone events; what is read survives being written.
pub fn telephone_event(data: &[u8]) {
    if let Ok(events) = TelephoneEvent::parse(data) {
        let mut out = Vec::new();
        events.iter().for_each(|event| event.write(&mut out));
        assert_eq!(TelephoneEvent::parse(&out), Ok(events));
    }
}

/// Comfort noise, and the same bytes as samples; what is read survives being written.
pub fn comfort_noise(data: &[u8]) {
    if let Ok(noise) = ComfortNoise::parse(data) {
        let mut out = Vec::new();
        noise.write(&mut out);
        assert_eq!(ComfortNoise::parse(&out), Ok(noise));
    }
    for channels in [0, 1, 2, 255] {
        if let Ok(samples) = l16::read(data, channels) {
            let mut out = Vec::new();
            l16::write(&samples, &mut out);
            assert_eq!(out, data);
        }
        let pieces = l16::packetize(data, channels, 100).into_iter().flatten();
        let len: usize = pieces.map(|(_, piece)| piece.len()).sum();
        assert!(len == 0 || len == data.len());
    }
}

/// A FEC packet and some others; what is read survives being written.
pub fn fec(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(payload) = script.piece() else {
        return;
    };
    let rest = script.rest();
    let others: Vec<&[u8]> = pieces(rest).collect();
    if let Ok(fec) = Ulpfec::parse(payload) {
        let mut out = Vec::new();
        fec.write(&mut out);
        assert_eq!(Ulpfec::parse(&out).as_ref(), Ok(&fec));
        if let Ok(packet) = fec.recover(Ssrc(7), &others) {
            assert!(packet.len() <= 12 + payload.len());
        }
    }
    if let Ok(fec) = Flexfec::parse(payload) {
        let mut out = Vec::new();
        fec.write(&mut out);
        assert_eq!(Flexfec::parse(&out).as_ref(), Ok(&fec));
        if let Ok(packet) = fec.recover(&others) {
            assert!(packet.len() <= 12 + payload.len());
        }
    }
}

/// Packets that are protected; any one of them can be lost.
pub fn fec_protect(data: &[u8]) {
    let packets: Vec<Vec<u8>> = pieces(data)
        .take(50)
        .map(|piece| {
            // Version 2, of one source.
            let mut packet = piece.to_vec();
            if let [first, _, _, _, _, _, _, _, source @ ..] = packet.as_mut_slice()
                && let Some(source) = source.first_chunk_mut::<4>()
            {
                *first = *first & 0x3f | 0x80;
                *source = 7u32.to_be_bytes();
            }
            packet
        })
        .collect();
    let all: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let ulpfec = Ulpfec::protect(&all);
    let flexfec = Flexfec::protect(&all);
    for (missing, lost) in packets.iter().enumerate() {
        let left: Vec<&[u8]> = (0..all.len())
            .filter(|own| *own != missing)
            .map(|own| all[own])
            .collect();
        if let Ok(fec) = &ulpfec {
            assert_eq!(fec.recover(Ssrc(7), &left), Ok(lost.clone()));
            assert_eq!(fec.recover(Ssrc(7), &all), Err(FecError::NotOneMissing));
        }
        if let Ok(fec) = &flexfec {
            assert_eq!(fec.recover(&left), Ok(lost.clone()));
        }
    }
}

fn written(chunk: &twocan_wire::payload::Chunk<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    chunk.write(&mut out);
    out
}

/// The bytes as a list of payloads.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut script = Script::new(data);
    std::iter::from_fn(move || script.piece()).take(1000)
}
