//! Packets that arrive in RED, and those that FEC makes again.
//!
//! What is made again goes to the stream that it was lost from, and nowhere else: it opens no
//! stream, changes nothing of what SRTP knows, and what had arrived already is dropped. What comes
//! out as no packet of the section's is counted by reason.

use twocan_wire::ids::{Mid, PayloadType, Ssrc};
use twocan_wire::payload::red::Red;
use twocan_wire::rtcp::Ecn;
use twocan_wire::rtp::{ExtensionValues, Header, VideoLayersAllocation};
use twocan_wire::seq::SeqNo16;

use super::assemble::Piece;
use super::fec::recover::Parity;
use super::picture::PictureProperties;
use super::provenance::{ContributingSource, Provenance};
use super::receive::{Arrival, Moment, Origin};
use super::redundant::Place;
use super::session::Session;
use super::{Codec, Format, Media};

/// A packet whose stream is known.
pub(super) struct Received<'a> {
    /// As it came, in the clear.
    pub(super) packet: &'a [u8],
    pub(super) header_len: usize,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) values: &'a ExtensionValues<'a>,
    /// The stream.
    pub(super) ssrc: Ssrc,
    /// Its number there.
    pub(super) sequence_number: SeqNo16,
    pub(super) origin: Origin,
    /// How it was marked on its way.
    pub(super) ecn: Ecn,
}

impl Session {
    /// Takes a packet of media, and what it makes possible to repair.
    pub(super) fn handle_media(
        &mut self,
        moment: Moment,
        received: &Received<'_>,
        codec: Codec,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        let number = self.insert(moment, received, codec, payload)?;
        if received.origin == Origin::Network {
            self.protect_from(moment, received.ssrc, number, received.packet);
        }
        Ok(())
    }

    /// Puts a packet into its stream; answers its number.
    fn insert(
        &mut self,
        moment: Moment,
        received: &Received<'_>,
        codec: Codec,
        payload: &[u8],
    ) -> Result<u64, &'static str> {
        let Some(stream) = self.receive.get_mut(&received.ssrc) else {
            return Err("rtp.unknown_source");
        };
        let values = received.values;
        let allocation = values
            .video_layers_allocation
            .map(VideoLayersAllocation::parse);
        if matches!(allocation, Some(Err(_))) {
            self.counters.count("rtp.bad_layers_allocation");
        }
        let arrival = Arrival {
            sequence_number: received.sequence_number,
            header_len: received.header_len,
            origin: received.origin,
            codec,
            piece: Piece {
                format: codec.format,
                payload_type: codec.payload_type,
                timestamp: received.timestamp,
                marker: received.marker,
                contributing: contributing(received.packet, values.csrc_audio_levels),
                video_timing: values.video_timing,
                audio_level: values.audio_level,
                capture_time: values.abs_capture_time,
                dependency_descriptor: values.dependency_descriptor.map(<[u8]>::to_vec),
                playout_delay: values.playout_delay,
                picture: PictureProperties {
                    video_orientation: values.video_orientation,
                    video_content_type: values.video_content_type,
                    color_space: values.color_space,
                },
                layers_allocation: allocation.and_then(Result::ok),
                payload: payload.to_vec(),
                arrived_at: moment.now.monotonic,
            },
        };
        if received.origin == Origin::Network {
            stream.stats.note_mark(received.ecn);
        }
        let number = stream.handle_packet(moment, arrival, &mut self.arrived);
        if codec.format == Format::Whole {
            stream.red.note(number, received.timestamp);
        }
        Ok(number)
    }

    /// Takes RED: of sound a frame and older ones; of video one block, media or FEC.
    pub(super) fn handle_red(
        &mut self,
        moment: Moment,
        received: &Received<'_>,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        let red = Red::parse(payload).map_err(|_| "rtp.red_malformed")?;
        let Some(media) = self.section_of_stream(received.ssrc) else {
            return Err("rtp.unknown_source");
        };
        let ulpfec = media.repair.ulpfec;
        if ulpfec.is_some_and(|fec| fec.receive == red.payload_type) {
            return self.handle_ulpfec(moment, received, red.data);
        }
        let codec = codec_of(media, red.payload_type).ok_or("rtp.unknown_payload_type")?;
        let blocks: Vec<_> = red
            .redundant
            .iter()
            .map(|block| (*block, codec_of(media, block.payload_type)))
            .collect();
        let number = self.insert(moment, received, codec, red.data)?;
        if codec.format != Format::Whole {
            // What FEC protects is the packet without RED; nobody sends older blocks of video.
            if received.origin == Origin::Network && blocks.is_empty() {
                let plain = without_red(received, red.payload_type);
                self.protect_from(moment, received.ssrc, number, &plain);
            }
            return Ok(());
        }
        let count = blocks.len();
        for (index, (block, codec)) in blocks.into_iter().enumerate() {
            // Nothing was sent then.
            if block.data.is_empty() {
                continue;
            }
            let Some(stream) = self.receive.get_mut(&received.ssrc) else {
                break;
            };
            stream.stats.fec_packets_received += 1;
            stream.stats.fec_bytes_received += block.data.len() as u64;
            let offset = u32::from(block.timestamp_offset);
            let timestamp = received.timestamp.wrapping_sub(offset);
            let codec = codec.filter(|codec| codec.format == Format::Whole);
            let place = stream.red.place(number, count - index, timestamp);
            let (Some(codec), Place::Missing(place)) = (codec, place) else {
                stream.stats.fec_packets_discarded += 1;
                if place == Place::Unknown || codec.is_none() {
                    self.counters.count("rtp.red_without_place");
                }
                continue;
            };
            let older = Received {
                timestamp,
                marker: false,
                values: &ExtensionValues::default(),
                sequence_number: SeqNo16((place & 0xffff) as u16),
                origin: Origin::Recovered,
                ..*received
            };
            self.insert(moment, &older, codec, block.data)?;
        }
        Ok(())
    }

    /// Takes ULPFEC, which has a number among the media's and no media.
    fn handle_ulpfec(
        &mut self,
        moment: Moment,
        received: &Received<'_>,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        let Some(stream) = self.receive.get_mut(&received.ssrc) else {
            return Err("rtp.unknown_source");
        };
        let codec = stream.codec();
        stream.stats.fec_packets_received += 1;
        stream.stats.fec_bytes_received += payload.len() as u64;
        self.insert(moment, received, codec, &[])?;
        let parity = Parity::ulpfec(payload)?;
        self.handle_parity(moment, received.ssrc, parity)
    }

    /// Takes FlexFEC, which comes from a source of its own and names the one it protects.
    pub(super) fn handle_flexfec(
        &mut self,
        moment: Moment,
        mid: &Mid,
        ssrc: Ssrc,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        // A probe for bandwidth: padding alone.
        if payload.is_empty() {
            return Ok(());
        }
        let (parity, protected) = Parity::flexfec(payload)?;
        let stream = self.receive.get_mut(&protected);
        let Some(stream) = stream.filter(|stream| stream.mid == *mid) else {
            return Err("rtp.fec_unknown_source");
        };
        stream.stats.fec_ssrc = Some(ssrc);
        stream.stats.fec_packets_received += 1;
        stream.stats.fec_bytes_received += payload.len() as u64;
        self.handle_parity(moment, protected, parity)
    }

    fn handle_parity(
        &mut self,
        moment: Moment,
        ssrc: Ssrc,
        parity: Parity,
    ) -> Result<(), &'static str> {
        let Some(stream) = self.receive.get_mut(&ssrc) else {
            return Err("rtp.fec_unknown_source");
        };
        let newest = stream.highest().unwrap_or(0);
        let last = stream.recovery.handle_parity(newest, parity)?;
        self.recover(moment, ssrc);
        // The last packet of a picture is missed as soon as what protects it is there.
        if let Some(stream) = self.receive.get_mut(&ssrc) {
            stream.expect_through(moment.now.monotonic, last);
        }
        Ok(())
    }

    /// Keeps a packet that arrived, for those that were lost.
    fn protect_from(&mut self, moment: Moment, ssrc: Ssrc, number: u64, packet: &[u8]) {
        let is_protected = self
            .section_of_stream(ssrc)
            .is_some_and(|media| media.repair.receives_fec());
        if let (true, Some(stream)) = (is_protected, self.receive.get_mut(&ssrc)) {
            stream.recovery.handle_media(number, packet);
            self.recover(moment, ssrc);
        }
    }

    /// Makes what can be made again of a stream.
    fn recover(&mut self, moment: Moment, ssrc: Ssrc) {
        loop {
            let stream = self.receive.get_mut(&ssrc);
            let Some(recovered) = stream.and_then(|stream| stream.recovery.poll()) else {
                return;
            };
            let taken =
                recovered.and_then(|(_, packet)| self.take_recovered(moment, ssrc, &packet));
            if let Err(reason) = taken {
                self.counters.count(reason);
            }
        }
    }

    fn take_recovered(
        &mut self,
        moment: Moment,
        ssrc: Ssrc,
        packet: &[u8],
    ) -> Result<(), &'static str> {
        let header = Header::parse(packet).map_err(|_| "rtp.recovered_malformed")?;
        let payload = header
            .payload(packet)
            .map_err(|_| "rtp.recovered_malformed")?;
        let media = self.section_of_stream(ssrc);
        let codec = media.and_then(|media| codec_of(media, header.payload_type));
        let codec = codec.ok_or("rtp.recovered_payload_type")?;
        let is_near = |own: &super::receive::ReceiveStream| own.is_near(header.timestamp);
        if !self.receive.get(&ssrc).is_some_and(is_near) {
            return Err("rtp.recovered_timestamp");
        }
        // What is said of the way that a packet took is of none that arrived.
        let values = ExtensionValues {
            abs_send_time: None,
            transport_sequence: None,
            transmission_offset: None,
            ..ExtensionValues::read(&header.extensions, &self.extensions)
        };
        let received = Received {
            packet,
            header_len: header.len,
            timestamp: header.timestamp,
            marker: header.marker,
            values: &values,
            ssrc,
            sequence_number: header.sequence_number,
            origin: Origin::Recovered,
            ecn: Ecn::NotCapable,
        };
        self.insert(moment, &received, codec, payload).map(|_| ())
    }

    fn section_of_stream(&self, ssrc: Ssrc) -> Option<&Media> {
        let stream = self.receive.get(&ssrc)?;
        self.media.iter().find(|media| media.mid == stream.mid)
    }
}

/// The sources of which a mixer made the packet (RFC 3550 §5.1), at most 15.
fn contributing(packet: &[u8], levels: Option<&[u8]>) -> Vec<ContributingSource> {
    let csrcs = Header::parse(packet).map_or_else(|_| Vec::new(), |own| own.csrcs().collect());
    Provenance::sources(&csrcs, levels)
}

fn codec_of(media: &Media, payload_type: PayloadType) -> Option<Codec> {
    let mut codecs = media.codecs.iter();
    let found = codecs.find(|codec| codec.payload_type == payload_type);
    found.copied()
}

/// The packet as it was before it was put into RED: another payload type, one byte less.
fn without_red(received: &Received<'_>, payload_type: PayloadType) -> Vec<u8> {
    let mut plain = received.packet.to_vec();
    let at = received.header_len;
    if at < plain.len() {
        plain.remove(at);
    }
    if let Some(second) = plain.get_mut(1) {
        *second = *second & 0x80 | payload_type.0 & 0x7f;
    }
    plain
}
