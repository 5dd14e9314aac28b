//! The parsers of `wire`: what can be read can be walked, written and read again.

use twocan_wire::candidate::Candidate;
use twocan_wire::dcep::Message as Dcep;
use twocan_wire::demux::{Protocol, classify};
use twocan_wire::framing;
use twocan_wire::ids::{PayloadType, Ssrc};
use twocan_wire::room_data::RoomData;
use twocan_wire::rtcp::{Packet as Rtcp, packets};
use twocan_wire::rtp::{
    DependencyDescriptor, DependencyStructure, ExtensionKind, ExtensionMap, ExtensionValues,
    Header, HeaderFields, VideoLayersAllocation,
};
use twocan_wire::sctp::{Chunk, Packet, Parameter, RawChunk, ReconfigParameter, WriteChunk};
use twocan_wire::sdp::{
    Attribute, Description, H264Parameters, H265Parameters, RidRestrictions, fmtp_parameters,
};
use twocan_wire::seq::SeqNo16;
use twocan_wire::sframe::Header as Sframe;
use twocan_wire::stun::{Attribute as Stun, Builder, Message};
use twocan_wire::turn::{ChannelData, channel_data_header, frame_len, padding};

use crate::Script;

/// STUN messages; the attributes survive being written.
pub fn stun(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    let _ = (message.integrity(), message.integrity_sha256());
    let _ = (message.username(), message.mapped_address());
    let _ = (message.error_code(), message.unknown_required().count());
    let attributes: Vec<Stun<'_>> = message
        .attributes()
        .filter(|attribute| !matches!(attribute, Stun::Fingerprint(_)))
        .collect();
    let mut out = Vec::new();
    let mut builder = Builder::new(&mut out, message.class, message.method, message.transaction);
    for attribute in &attributes {
        builder.attribute(*attribute);
    }
    builder.finish();
    if out.len() < 60_000 {
        let again = Message::parse(&out).unwrap();
        let written: Vec<Stun<'_>> = again
            .attributes()
            .filter(|attribute| !matches!(attribute, Stun::Fingerprint(_)))
            .collect();
        assert_eq!(attributes, written);
    }
}

/// A stream of ICE's over TCP: frames that are split are the same when pushed again.
pub fn framing(data: &[u8]) {
    let (mut bytes, mut again, mut taken) = (data.to_vec(), Vec::new(), 0);
    let mut rest = &mut bytes[..];
    while let Some(len) = framing::frame_len(rest) {
        assert!((2..=65_537).contains(&len));
        let before = rest.len();
        let Some((datagram, more)) = framing::split(rest) else {
            assert!(len > before, "a whole frame is split");
            break;
        };
        assert_eq!((datagram.len() + 2, more.len() + len), (len, before));
        let start = again.len();
        framing::push(&mut again, |out| out.extend_from_slice(datagram));
        // Frames of nothing are read and never written.
        if !datagram.is_empty() {
            assert_eq!(again.get(start..), data.get(taken..taken + len));
        }
        taken += len;
        rest = more;
    }
}

/// A stream of TURN's: STUN messages and ChannelData, one after the other.
pub fn turn_stream(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(len)) = frame_len(rest) {
        assert!((4..=65_552).contains(&len));
        let Some((frame, more)) = rest.split_at_checked(len) else {
            break;
        };
        if let Ok(read) = ChannelData::parse(frame) {
            let len = u16::try_from(read.data.len()).unwrap();
            let header = channel_data_header(read.channel, len);
            assert_eq!(frame.first_chunk(), Some(&header));
            assert_eq!(frame.len(), 4 + read.data.len() + padding(read.data.len()));
            assert_eq!(classify(frame), Some(Protocol::TurnChannel));
        } else {
            stun(frame);
        }
        rest = more;
    }
    let _ = ChannelData::parse(data);
}

/// The header of an encrypted frame: what is read is what is written.
pub fn sframe(data: &[u8]) {
    let Ok((header, len)) = Sframe::parse(data) else {
        return;
    };
    let mut written = Vec::new();
    header.write(&mut written);
    assert_eq!(data.get(..len), Some(written.as_slice()));
}

/// Session descriptions; a printed one is read as the same.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(description) = text.parse::<Description>() {
        let printed = description.to_string();
        assert_eq!(printed.parse::<Description>(), Ok(description), "{printed}");
    }
}

/// One attribute; a printed one is read as the same.
pub fn sdp_attribute(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.contains(['\r', '\n', '\0']) {
        return;
    }
    if let Ok(attribute) = Attribute::parse(text) {
        let printed = attribute.to_string();
        if let Attribute::Rid(line) = &attribute {
            let _ = RidRestrictions::parse(line.restrictions.as_deref().unwrap_or(""));
        }
        assert_eq!(Attribute::parse(&printed), Ok(attribute), "{printed}");
    }
}

/// Format parameters.
pub fn fmtp(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = fmtp_parameters(text).count();
        let _ = H264Parameters::parse(text);
        if let Some(parameters) = H265Parameters::parse(text) {
            let printed = parameters.to_string();
            assert_eq!(H265Parameters::parse(&printed), Some(parameters));
        }
    }
}

/// Candidates; a printed one is read as the same.
pub fn candidate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(candidate) = Candidate::parse(text) {
        let printed = candidate.to_string();
        assert_eq!(Candidate::parse(&printed), Ok(candidate), "{printed}");
    }
}

/// RTP headers.
pub fn rtp_header(data: &[u8]) {
    let Ok(header) = Header::parse(data) else {
        return;
    };
    assert!(header.len <= data.len());
    assert!(header.csrcs().count() <= 15);
    for (_, value) in header.extensions.iter() {
        assert!(value.len() <= 255);
    }
    if let Ok(payload) = header.payload(data) {
        assert!(payload.len() <= data.len() - header.len);
    }
}

/// Header extensions: a number for each, then a packet; what is read survives being written.
pub fn rtp_extensions(data: &[u8]) {
    let mut script = Script::new(data);
    let mut map = ExtensionMap::default();
    for kind in ExtensionKind::ALL {
        let Some(id) = script.byte() else { return };
        if map.kind(id).is_none() {
            map.insert(kind, id);
        }
    }
    let Ok(header) = Header::parse(script.rest()) else {
        return;
    };
    let values = ExtensionValues::read(&header.extensions, &map);
    let fields = HeaderFields {
        marker: header.marker,
        payload_type: PayloadType(header.payload_type.0),
        sequence_number: SeqNo16(header.sequence_number.0),
        timestamp: header.timestamp,
        ssrc: Ssrc(header.ssrc.0),
    };
    let mut out = Vec::new();
    fields.write(&mut out, &map, &values);
    let again = Header::parse(&out).unwrap();
    assert_eq!(again.len, out.len());
    assert_eq!(ExtensionValues::read(&again.extensions, &map), values);
}

/// Dependency descriptors of one stream; what is read survives being written.
pub fn dependency_descriptor(data: &[u8]) {
    let mut script = Script::new(data);
    let mut last: Option<DependencyStructure> = None;
    while let Some(value) = script.piece() {
        let Ok(descriptor) = DependencyDescriptor::parse(value, last.as_ref()) else {
            continue;
        };
        let mut out = Vec::new();
        descriptor.write(last.as_ref(), &mut out).unwrap();
        let again = DependencyDescriptor::parse(&out, last.as_ref());
        assert_eq!(again.as_ref(), Ok(&descriptor));
        if let Some(structure) = descriptor.structure.as_ref().or(last.as_ref()) {
            let frame = descriptor.frame(structure).unwrap();
            assert_eq!(
                frame.indications.len(),
                usize::from(structure.decode_targets)
            );
        }
        last = descriptor.structure.or(last);
    }
}

/// Allocations of layers; what is read survives being written.
pub fn layers_allocation(data: &[u8]) {
    if let Ok(allocation) = VideoLayersAllocation::parse(data) {
        let mut out = Vec::new();
        allocation.write(&mut out).unwrap();
        assert_eq!(VideoLayersAllocation::parse(&out), Ok(allocation));
    }
}

/// Compound RTCP packets; what is read survives being written.
pub fn rtcp(data: &[u8]) {
    for packet in packets(data).flatten() {
        let mut out = Vec::new();
        match &packet {
            Rtcp::SenderReport(report) => report.write(&mut out),
            Rtcp::ReceiverReport(report) => report.write(&mut out),
            Rtcp::Sdes(sdes) => sdes.write(&mut out),
            Rtcp::Bye(bye) => bye.write(&mut out),
            Rtcp::Nack(nack) => nack.write(&mut out),
            Rtcp::Pli(pli) => pli.write(&mut out),
            Rtcp::Fir(fir) => fir.write(&mut out),
            Rtcp::Remb(remb) => remb.write(&mut out),
            Rtcp::TransportFeedback(feedback) => feedback.write(&mut out),
            Rtcp::CongestionFeedback(feedback) => feedback.write(&mut out),
            Rtcp::ExtendedReport(report) => report.write(&mut out),
            Rtcp::Unknown { .. } => continue,
        }
        let again: Vec<_> = packets(&out).collect();
        assert_eq!(again, [Ok(packet)]);
    }
}

/// Transport-wide feedback without the chance to miss its header.
pub fn transport_feedback(data: &[u8]) {
    let words = data.len() / 4;
    let mut packet = vec![0x80 | 15, 205];
    packet.extend(u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend(data.iter().take(words.min(0xffff) * 4));
    rtcp(&packet);
}

/// SCTP packets, the checksum taken as right.
pub fn sctp_packet(data: &[u8]) {
    let _ = Packet::parse(data).map(|packet| packet.chunks().count());
    let mut unchecked = data.to_vec();
    if let Some(checksum) = unchecked.get_mut(8..12) {
        checksum.fill(0);
    }
    if let Ok(packet) = Packet::parse(&unchecked) {
        for raw in packet.chunks().flatten() {
            chunk(raw);
        }
    }
}

/// SCTP chunks: type, flags, body.
pub fn sctp_chunks(data: &[u8]) {
    if let [kind, flags, body @ ..] = data {
        chunk(RawChunk {
            kind: *kind,
            flags: *flags,
            body,
        });
    }
}

/// Messages that open data channels; what is read survives being written.
pub fn dcep(data: &[u8]) {
    let Ok(message) = Dcep::parse(data) else {
        return;
    };
    let mut out = Vec::new();
    message.write(&mut out);
    assert_eq!(Dcep::parse(&out), Ok(message));
}

/// What participants say over data channels; what is read survives being written.
pub fn room_data(data: &[u8]) {
    let Ok(read) = RoomData::parse(data) else {
        return;
    };
    let mut out = Vec::new();
    read.write(&mut out);
    assert_eq!(RoomData::parse(&out), Ok(read));
}

/// What is told apart by the first byte.
pub fn demux(data: &[u8]) {
    assert_eq!(classify(data), classify(data.get(..2).unwrap_or(data)));
}

fn chunk(raw: RawChunk<'_>) {
    let _ = (raw.is_skippable(), raw.wants_report());
    match Chunk::parse(raw) {
        Ok(Chunk::Data(data)) => again(raw, &data),
        Ok(Chunk::IData(data)) => again(raw, &data),
        Ok(Chunk::Sack(sack)) => again(raw, &sack),
        Ok(Chunk::Init(init)) => {
            for parameter in init.parameters.iter() {
                if let Parameter::Unknown { .. } = parameter {
                    continue;
                }
                let _ = parameter.kind();
            }
            again(raw, &init);
        }
        Ok(Chunk::InitAck(init)) => again(raw, &init),
        Ok(Chunk::Heartbeat(heartbeat)) => again(raw, &heartbeat),
        Ok(Chunk::HeartbeatAck(heartbeat)) => {
            let _ = heartbeat.token();
            again(raw, &heartbeat);
        }
        Ok(Chunk::Abort(abort)) => {
            abort.causes.iter().for_each(|cause| _ = cause.code());
            again(raw, &abort);
        }
        Ok(Chunk::Error(error)) => {
            error.causes.iter().for_each(|cause| _ = cause.code());
            again(raw, &error);
        }
        Ok(Chunk::Shutdown(shutdown)) => again(raw, &shutdown),
        Ok(Chunk::CookieEcho(cookie)) => again(raw, &cookie),
        Ok(Chunk::Reconfig(reconfig)) => {
            for parameter in reconfig.parameters.iter() {
                if let ReconfigParameter::OutgoingReset { streams, .. } = parameter {
                    assert_eq!(streams.iter().count(), streams.len());
                }
            }
        }
        Ok(Chunk::ForwardTsn(forward)) => again(raw, &forward),
        Ok(Chunk::IForwardTsn(forward)) => again(raw, &forward),
        Ok(Chunk::ShutdownComplete(complete)) => again(raw, &complete),
        Ok(Chunk::ShutdownAck | Chunk::CookieAck | Chunk::Unknown(_)) | Err(_) => {}
    }
}

/// What was read says the same when it is written and read again.
fn again(raw: RawChunk<'_>, chunk: &impl WriteChunk) {
    let mut body = Vec::new();
    chunk.write_body(&mut body);
    assert_eq!(body.len(), chunk.body_len());
    let written = RawChunk {
        kind: chunk.kind(),
        flags: chunk.flags(),
        body: &body,
    };
    assert_eq!(Chunk::parse(written), Chunk::parse(raw));
}
