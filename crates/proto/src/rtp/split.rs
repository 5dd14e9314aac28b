//! Frames become packets that wait to be sent.

use std::time::Instant;

use twocan_wire::payload::{Chunk, PayloadError, av1, h264, h265, vp8, vp9};
use twocan_wire::rtp::ExtensionKind;

use super::layers::Marks;
use super::outbox::Stored;
use super::send::{SendStream, WHOLE_LEN_MAX};
use super::{Format, Media, OutgoingFrame, PAYLOAD_LEN_MAX, SendError};

/// What [`PAYLOAD_LEN_MAX`] leaves for the extensions that tell of layers, in bytes; a packet with
/// longer ones has less payload.
const LAYER_EXTENSIONS_LEN: usize = 6;

impl SendStream {
    /// Splits a frame into packets that wait for [`Self::poll_packet`]. `allocation` is what the
    /// first one tells of all layers of the section; empty for nothing.
    pub(super) fn push_frame(
        &mut self,
        now: Instant,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        allocation: &[u8],
    ) -> Result<(), SendError> {
        let codec = self.admit(media, frame.payload_type, frame.data.len())?;
        if let Some(layer) = &frame.layer
            && !(layer.is_sound() && layer.mode.is_possible_with(codec.format))
        {
            return Err(SendError::BadLayer);
        }
        let before = frame.layer.map(|_| (self.layers.clone(), self.picture_id));
        let pushed = self.push_payloads(media, frame, codec.format, allocation);
        if let (Err(_), Some((layers, picture_id))) = (&pushed, before) {
            // What was not sent is nothing to refer to.
            self.layers = layers;
            self.picture_id = picture_id;
        }
        let begins_picture = pushed?;
        self.outbox.mark_queued(now);
        self.clock = Some((frame.timestamp, codec.clock_rate, now));
        self.stats.frames_sent += u64::from(begins_picture);
        Ok(())
    }

    /// Answers whether the frame is the first of its picture.
    fn push_payloads(
        &mut self,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        format: Format,
        allocation: &[u8],
    ) -> Result<bool, SendError> {
        let begins = frame.layer.is_none() || self.layers.begins_picture(frame.timestamp);
        if begins {
            self.picture_id = self.picture_id.wrapping_add(1) & 0x7fff;
        }
        let layer = frame.layer.as_ref();
        let marks = layer.and_then(|own| self.layers.push(frame.timestamp, own, frame.resolution));
        let mut marks = marks.unwrap_or_default();
        let extensions = &media.extensions_send;
        if extensions.id(ExtensionKind::DependencyDescriptor).is_none() {
            marks.forget_descriptors();
        }
        let told = marks.descriptor_len() + allocation.len();
        let len_max = PAYLOAD_LEN_MAX - told.saturating_sub(LAYER_EXTENSIONS_LEN).min(500);
        let (data, id) = (frame.data, self.picture_id);
        let mut push = |chunks: &mut dyn Iterator<Item = Chunk<'_>>| {
            self.push_chunks(frame, &marks, allocation, chunks);
        };
        match format {
            Format::Whole => {
                if data.is_empty() {
                    return Err(SendError::BadFrame(PayloadError::Empty));
                }
                if data.len() > WHOLE_LEN_MAX {
                    return Err(SendError::BadFrame(PayloadError::TooLong));
                }
                let mut payload = self.outbox.buffer();
                payload.extend_from_slice(data);
                self.push(frame, frame.marker, payload, &[], &[]);
            }
            Format::Vp8 => push(&mut vp8::packetize(data, id, marks.vp8, len_max)?),
            Format::Vp9 => match &marks.vp9 {
                Some(placement) => push(&mut vp9::packetize_layer(data, id, placement, len_max)?),
                None => push(&mut vp9::packetize(data, id, len_max)?),
            },
            Format::Av1 => push(&mut av1::packetize(data, len_max)?.into_iter()),
            Format::H264(mode) => push(&mut h264::packetize(data, mode, len_max)?.into_iter()),
            Format::H265 => push(&mut h265::packetize(data, len_max)?.into_iter()),
        }
        Ok(begins)
    }

    /// The payloads of a frame of video; the last of a picture has the marker.
    fn push_chunks(
        &mut self,
        frame: &OutgoingFrame<'_>,
        marks: &Marks,
        allocation: &[u8],
        chunks: &mut dyn Iterator<Item = Chunk<'_>>,
    ) {
        let ends_picture = frame.layer.is_none_or(|layer| layer.last_of_picture);
        let mut chunks = chunks.peekable();
        let mut is_first = true;
        while let Some(chunk) = chunks.next() {
            let mut payload = self.outbox.buffer();
            chunk.write(&mut payload);
            let is_last = chunks.peek().is_none();
            let descriptor = marks.descriptor(is_first, is_last);
            let allocation = if is_first { allocation } else { &[] };
            self.push(
                frame,
                is_last && ends_picture,
                payload,
                descriptor,
                allocation,
            );
            is_first = false;
        }
    }

    fn push(
        &mut self,
        frame: &OutgoingFrame<'_>,
        marker: bool,
        payload: Vec<u8>,
        descriptor: &[u8],
        allocation: &[u8],
    ) {
        self.outbox.push(Stored {
            number: self.numbers.take_next(self.first_sequence),
            timestamp: frame.timestamp,
            marker,
            payload_type: frame.payload_type,
            audio_level: frame.audio_level,
            dependency_descriptor: descriptor.to_vec(),
            layers_allocation: allocation.to_vec(),
            payload,
        });
    }
}
