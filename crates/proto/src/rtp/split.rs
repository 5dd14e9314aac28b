//! Frames become packets that wait to be sent.

use std::time::Duration;

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::{Chunk, PayloadError, av1, h264, h265, l16, vp8, vp9};
use twocan_wire::rtp::{AbsCaptureTime, CSRCS_MAX, ExtensionKind, VideoTiming};

use super::fec::Scheme;
use super::layers::Marks;
use super::outbox::{Cover, Stored, ToldOnce};
use super::payload::Kept;
use super::picture::PictureProperties;
use super::protection::{PathQuality, Protection};
use super::provenance::ToldProvenance;
use super::send::{SendStream, WHOLE_LEN_MAX};
use super::{Codec, Format, Media, OutgoingFrame, SendError};
use crate::time::Now;

/// What [`super::PAYLOAD_LEN_MAX`] leaves for the extensions that tell of layers, in bytes; a packet with
/// longer ones has less payload.
const LAYER_EXTENSIONS_LEN: usize = 6;

/// What the packets of a frame tell of when it came to be: the first and the last of them.
#[derive(Clone, Copy)]
struct ToldTimes {
    capture: Option<AbsCaptureTime>,
    timing: Option<VideoTiming>,
}

impl ToldTimes {
    /// Bytes of extensions, with their headers.
    fn len(&self) -> usize {
        17 * usize::from(self.capture.is_some()) + 14 * usize::from(self.timing.is_some())
    }
}

/// What a packet tells of its frame.
#[derive(Default)]
struct Words<'a> {
    descriptor: &'a [u8],
    allocation: &'a [u8],
    picture: PictureProperties,
    provenance: Option<Box<ToldProvenance>>,
}

impl SendStream {
    /// Splits a frame into packets that wait for [`Self::poll_packet`]. `allocation` is what the
    /// first one tells of all layers of the section; empty for nothing.
    pub(super) fn push_frame(
        &mut self,
        now: Now,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        allocation: &[u8],
        rtt: Duration,
    ) -> Result<(), SendError> {
        let codec = self.admit(media, frame.payload_type, frame.data.len())?;
        if let Some(layer) = &frame.layer
            && !(layer.is_sound() && layer.mode.is_possible_with(codec.format))
        {
            return Err(SendError::BadLayer);
        }
        let loss = self.loss.get().unwrap_or(0.0);
        let scheme = Protection::scheme(media, &codec, self.ssrc, loss);
        let waiting = self.outbox.waiting_count();
        let before = frame.layer.map(|_| (self.layers.clone(), self.picture_id));
        let told = self.told_of(now, media, frame, &codec);
        let pushed = self.push_payloads(media, frame, (&codec, scheme, loss), allocation, told);
        if let (Err(_), Some((layers, picture_id))) = (&pushed, before) {
            // What was not sent is nothing to refer to.
            self.layers = layers;
            self.picture_id = picture_id;
        }
        let begins_picture = pushed?;
        let added = self.outbox.waiting_count() - waiting;
        if begins_picture && codec.format.is_video() {
            let mut payloads = self.outbox.newest().take(added);
            let key_frame =
                payloads.any(|own| codec.format.inspect(own.payload.shared()).key_frame);
            self.stats.key_frames_sent += u64::from(key_frame);
        }
        let path = PathQuality { loss, rtt };
        let protection = &mut self.protection;
        let count = protection.take_frame(&mut self.outbox, added, &codec, scheme, path);
        if let Some(scheme) = scheme {
            self.push_parity(frame.timestamp, frame.payload_type, scheme, count);
        }
        self.outbox.mark_queued(now.monotonic);
        let captured_at = frame.times.captured_at.unwrap_or(now.monotonic);
        self.clock = Some((frame.timestamp, codec.clock_rate, captured_at));
        self.stats.frames_sent += u64::from(begins_picture);
        Ok(())
    }

    /// What the packets of a frame tell of when it came to be.
    fn told_of(
        &mut self,
        now: Now,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        codec: &Codec,
    ) -> ToldTimes {
        let captured_at = frame.times.captured_at.unwrap_or(now.monotonic);
        let clock = (frame.timestamp, codec.clock_rate);
        let stated = &mut self.stated_times;
        let is_video = codec.format.is_video();
        let len = frame.data.len();
        ToldTimes {
            capture: stated.capture_time(now, media, clock, captured_at),
            timing: is_video
                .then(|| stated.timing(now.monotonic, media, frame.times, len))
                .flatten(),
        }
    }

    /// Answers whether the frame is the first of its picture.
    fn push_payloads(
        &mut self,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        (codec, scheme, loss): (&Codec, Option<Scheme>, f64),
        allocation: &[u8],
        times: ToldTimes,
    ) -> Result<bool, SendError> {
        let format = codec.format;
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
        let told = marks.descriptor_len() + allocation.len() + frame.picture.len();
        let told = told + times.len() + 4 * frame.contributing.len().min(CSRCS_MAX);
        let more = told.saturating_sub(LAYER_EXTENSIONS_LEN).min(500);
        let len_max = Protection::payload_len_max(scheme) - more;
        let (data, id) = (frame.data, self.picture_id);
        let mut push = |chunks: &mut dyn Iterator<Item = Chunk<'_>>| {
            self.push_chunks((frame, format), &marks, (allocation, times), chunks);
        };
        match format {
            Format::Whole => {
                if data.is_empty() {
                    return Err(SendError::BadFrame(PayloadError::Empty));
                }
                if data.len() > WHOLE_LEN_MAX {
                    return Err(SendError::BadFrame(PayloadError::TooLong));
                }
                self.push_whole(media, frame, loss, times);
            }
            Format::L16(channels) => self.push_samples(frame, channels, len_max, times)?,
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

    /// A frame of sound, with those before it where both sides want that and the loss asks for it.
    fn push_whole(
        &mut self,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        loss: f64,
        times: ToldTimes,
    ) {
        let words = Words {
            provenance: ToldProvenance::new(times.capture, times.timing, frame.contributing),
            ..Words::default()
        };
        let mut payload = self.outbox.buffer();
        let red = media.repair.red.filter(|_| media.repair.red_preferred);
        let newest = (frame.payload_type, frame.timestamp, frame.data);
        let repeated = red.and_then(|_| self.red.write(loss, newest, &mut payload));
        let (Some(red), Some(repeated)) = (red, repeated) else {
            payload.extend_from_slice(frame.data);
            return self.push((frame, Format::Whole), frame.marker, payload, words);
        };
        self.stats.fec_bytes_sent += repeated as u64;
        let frame = OutgoingFrame {
            payload_type: red.send,
            ..*frame
        };
        self.push((&frame, Format::Whole), frame.marker, payload, words);
    }

    /// Samples, in packets that follow each other in time.
    fn push_samples(
        &mut self,
        frame: &OutgoingFrame<'_>,
        channels: u8,
        len_max: usize,
        times: ToldTimes,
    ) -> Result<(), PayloadError> {
        for (place, samples) in l16::packetize(frame.data, channels, len_max)? {
            let is_first = place == 0;
            let capture = times.capture.filter(|_| is_first);
            let words = Words {
                provenance: ToldProvenance::new(capture, times.timing, frame.contributing),
                ..Words::default()
            };
            let mut payload = self.outbox.buffer();
            payload.extend_from_slice(samples);
            let piece = OutgoingFrame {
                timestamp: frame.timestamp.wrapping_add(place),
                ..*frame
            };
            let marker = frame.marker && is_first;
            self.push((&piece, Format::L16(channels)), marker, payload, words);
        }
        Ok(())
    }

    /// Places for the FEC packets of the group that ends here.
    pub(super) fn push_parity(
        &mut self,
        timestamp: u32,
        payload_type: PayloadType,
        scheme: Scheme,
        count: usize,
    ) {
        let last = self.outbox.newest().next().map_or(0, |own| own.number);
        for index in 0..count {
            let number = match scheme {
                Scheme::Ulpfec { .. } => self.numbers.take_next(self.first_sequence),
                // Its own is given when it leaves.
                Scheme::Flexfec { .. } => last,
            };
            let count = (index == 0).then(|| u16::try_from(count).unwrap_or(u16::MAX));
            self.outbox.push(Stored {
                number,
                timestamp,
                marker: false,
                payload_type,
                audio_level: None,
                payload: Kept::Own(Vec::new()),
                cover: Cover::Parity { scheme, count },
                told: None,
            });
        }
    }

    /// The payloads of a frame of video; the last of a picture has the marker.
    fn push_chunks(
        &mut self,
        (frame, format): (&OutgoingFrame<'_>, Format),
        marks: &Marks,
        (allocation, times): (&[u8], ToldTimes),
        chunks: &mut dyn Iterator<Item = Chunk<'_>>,
    ) {
        let ends_picture = frame.layer.is_none_or(|layer| layer.last_of_picture);
        let mut chunks = chunks.peekable();
        let mut key_frame = frame.layer.is_some_and(|layer| layer.key_picture);
        let mut is_first = true;
        while let Some(chunk) = chunks.next() {
            let mut payload = self.outbox.buffer();
            chunk.write(&mut payload);
            let is_last = chunks.peek().is_none();
            key_frame |= format.inspect(&payload).key_frame;
            let picture = match is_last {
                true => {
                    let stated = &mut self.stated_properties;
                    stated.value(frame.timestamp, frame.picture, key_frame)
                }
                false => PictureProperties::default(),
            };
            let descriptor = marks.descriptor(is_first, is_last);
            let words = Words {
                descriptor,
                allocation: if is_first { allocation } else { &[] },
                picture,
                provenance: ToldProvenance::new(
                    times.capture.filter(|_| is_first),
                    times.timing.filter(|_| is_last),
                    frame.contributing,
                ),
            };
            self.push((frame, format), is_last && ends_picture, payload, words);
            is_first = false;
        }
    }

    fn push(
        &mut self,
        (frame, format): (&OutgoingFrame<'_>, Format),
        marker: bool,
        payload: Vec<u8>,
        words: Words<'_>,
    ) {
        let number = self.numbers.take_next(self.first_sequence);
        let begins_key_frame = || format.is_video() && format.inspect(&payload).key_frame;
        let told = ToldOnce {
            playout_delay: self.stated_delay.value(number, begins_key_frame),
            picture: words.picture.boxed(),
            dependency_descriptor: words.descriptor.to_vec(),
            layers_allocation: words.allocation.to_vec(),
            provenance: words.provenance,
            transmission_offset: None,
        };
        self.outbox.push(Stored {
            number,
            timestamp: frame.timestamp,
            marker,
            payload_type: frame.payload_type,
            audio_level: frame.audio_level,
            payload: Kept::Own(payload),
            cover: Cover::None,
            told: told.boxed(),
        });
    }
}
