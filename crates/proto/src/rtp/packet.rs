//! Packets of the application's making, on their way out.
//!
//! Its numbers are kept where it states them, so that only FlexFEC protects such packets: ULPFEC
//! would take numbers of the same sequence.

use std::time::{Duration, Instant};

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::PayloadError;
use twocan_wire::seq::SeqNo32;

use crate::time::Now;

use super::fec::{Scheme, protect};
use super::outbox::{Cover, Stored, ToldOnce};
use super::payload::Kept;
use super::protection::{PathQuality, Protection};
use super::provenance::ToldProvenance;
use super::send::{SendStream, WHOLE_LEN_MAX};
use super::{Codec, Format, Media, OutgoingPacket, SendError};

/// The longest value of a header extension, in bytes (RFC 8285 §4.3).
const EXTENSION_LEN_MAX: usize = 255;

/// A stream that packets are sent on, see [`Session::packet_sender`](super::Session::packet_sender).
#[derive(Debug)]
pub struct PacketSender<'a> {
    pub(super) media: &'a Media,
    pub(super) stream: &'a mut SendStream,
    pub(super) rtt: Duration,
    pub(super) repeats_sound: bool,
}

impl PacketSender<'_> {
    /// Lets sound go with that of the one or two packets before it (RED, RFC 2198) while the other
    /// side reports losses, where RED was agreed on, whether or not that was preferred. Without this,
    /// packets go as they are. Not for sound that was encrypted after it was encoded: those who
    /// decrypt may expect no RED around it.
    #[must_use]
    pub fn repeating_sound(mut self) -> Self {
        self.repeats_sound = true;
        self
    }

    /// [`Session::send_packet`](super::Session::send_packet) on this stream, whichever [`OutgoingPacket::rid`] names.
    ///
    /// # Errors
    /// The same.
    pub fn send(&mut self, now: Now, packet: &OutgoingPacket<'_>) -> Result<(), SendError> {
        self.stream.push_packet(
            now.monotonic,
            self.media,
            packet,
            (self.rtt, self.repeats_sound),
        )
    }
}

impl SendStream {
    /// Takes a packet of the application's making, which waits for [`Self::poll_packet`].
    pub(super) fn push_packet(
        &mut self,
        now: Instant,
        media: &Media,
        packet: &OutgoingPacket<'_>,
        (rtt, repeats_sound): (Duration, bool),
    ) -> Result<(), SendError> {
        let codec = self.admit(media, packet.payload_type, packet.payload.len())?;
        let allocation = check(packet)?;
        let number = match packet.sequence_number {
            Some(chosen) => self.numbers.take_chosen(chosen),
            None => Some(self.numbers.take_next(self.first_sequence)),
        };
        let number = number.ok_or(SendError::SequenceNumberUsed)?;
        self.chooses_numbers |= packet.sequence_number.is_some();
        let begins_key_frame =
            codec.format.is_video() && codec.format.inspect(packet.payload.shared()).key_frame;
        let path = PathQuality {
            loss: self.loss.get().unwrap_or(0.0),
            rtt,
        };
        let scheme = self.scheme_of_packets(media, &codec, path.loss);
        // One that comes late belongs to a frame that is over.
        let ascends = self.protection.last_number() < number;
        if ascends && self.protection.frame_of_packets() != Some(packet.timestamp) {
            self.end_frame_of_packets(&codec, path);
        }
        if scheme.is_none() {
            self.protection.abandon();
        }
        let is_short = packet.payload.len() + protect::OVERHEAD <= WHOLE_LEN_MAX;
        let cover = match scheme.filter(|_| ascends) {
            Some(scheme) if is_short => {
                let frame = (packet.timestamp, packet.payload_type);
                self.protection
                    .take_packet(scheme, number, frame, begins_key_frame)
            }
            _ => Cover::None,
        };
        let stated = self.stated_delay.value(number, || begins_key_frame);
        // Makes room in the cache in any case.
        let buffer = self.outbox.buffer();
        let is_plain = packet.payload.is_plain() && !packet.payload.is_empty();
        let may_repeat = repeats_sound && ascends && is_plain && codec.format == Format::Whole;
        let red = media.repair.red.filter(|_| may_repeat);
        let (payload_type, payload) = match red {
            Some(red) => self.with_those_before(red.send, path.loss, packet, buffer),
            None => (packet.payload_type, packet.payload.keep(|| buffer)),
        };
        let descriptor = packet.dependency_descriptor.map(<[u8]>::to_vec);
        let told = ToldOnce {
            playout_delay: packet.playout_delay.or(stated),
            picture: packet.picture.boxed(),
            dependency_descriptor: descriptor.unwrap_or_default(),
            layers_allocation: allocation,
            provenance: packet.provenance.and_then(ToldProvenance::of),
            transmission_offset: None,
        };
        self.outbox.push(Stored {
            number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload_type,
            audio_level: packet.audio_level,
            payload,
            cover,
            told: told.boxed(),
        });
        if ascends && packet.marker {
            self.end_frame_of_packets(&codec, path);
        }
        self.outbox.mark_queued(now);
        let newest = self.clock.map(|(timestamp, _, _)| SeqNo32(timestamp));
        if newest.is_none_or(|newest| SeqNo32(packet.timestamp).is_after(newest)) {
            let sampled_at = packet.sampled_at.unwrap_or(now);
            self.clock = Some((packet.timestamp, codec.clock_rate, sampled_at));
            self.stats.frames_sent += 1;
        }
        // Several packets of H.264 may each look like the beginning of one.
        let counted = self.key_timestamp == Some(packet.timestamp);
        if begins_key_frame && !counted {
            self.key_timestamp = Some(packet.timestamp);
            self.stats.key_frames_sent += 1;
        }
        Ok(())
    }

    /// The payload of a packet of sound: with those before it, in RED, where the loss asks for that.
    fn with_those_before(
        &mut self,
        red: PayloadType,
        loss: f64,
        packet: &OutgoingPacket<'_>,
        mut buffer: Vec<u8>,
    ) -> (PayloadType, Kept) {
        let newest = (
            packet.payload_type,
            packet.timestamp,
            packet.payload.shared(),
        );
        match self.red.write_if_lossy(loss, newest, &mut buffer) {
            Some(repeated) => {
                self.stats.fec_bytes_sent += repeated as u64;
                (red, Kept::Own(buffer))
            }
            None => (packet.payload_type, packet.payload.keep(|| buffer)),
        }
    }

    /// How packets are protected at that loss: never in a way that takes numbers which may be those
    /// of packets to come.
    fn scheme_of_packets(&self, media: &Media, codec: &Codec, loss: f64) -> Option<Scheme> {
        let scheme = Protection::scheme(media, codec, self.ssrc, loss)?;
        match scheme {
            Scheme::Flexfec { .. } => Some(scheme),
            Scheme::Ulpfec { .. } => (!self.chooses_numbers).then_some(scheme),
        }
    }

    /// Places for the FEC packets of the frame whose packets came one by one.
    fn end_frame_of_packets(&mut self, codec: &Codec, path: PathQuality) {
        if let Some(end) = self.protection.end_frame_of_packets(codec, path) {
            let (timestamp, payload_type): (u32, PayloadType) = end.frame;
            self.push_parity(timestamp, payload_type, end.scheme, end.count);
        }
    }
}

/// Whether a packet is one that can travel; the value of its layers allocation.
fn check(packet: &OutgoingPacket<'_>) -> Result<Vec<u8>, SendError> {
    let holds_number = packet.sequence_number.is_some();
    if packet.payload.is_empty() && !holds_number || !packet.payload.is_sound() {
        return Err(SendError::BadFrame(PayloadError::Empty));
    }
    let mut allocation = Vec::new();
    if let Some(own) = packet.layers_allocation {
        own.write(&mut allocation)?;
    }
    let extensions = [
        packet.dependency_descriptor.map_or(0, <[u8]>::len),
        allocation.len(),
    ];
    let is_long = extensions.iter().any(|len| *len > EXTENSION_LEN_MAX);
    if is_long || packet.payload.len() > WHOLE_LEN_MAX {
        return Err(SendError::BadFrame(PayloadError::TooLong));
    }
    Ok(allocation)
}
