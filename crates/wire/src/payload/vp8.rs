//! VP8 (RFC 7741).
//!
//! ```text
//! |X|R|N|S|R| PID |   X: more follows, S: start of a partition, PID: which
//! |I|L|T|K|  RSV  |   I: picture id, L: TL0PICIDX, T/K: temporal layer, key index
//! |M| PictureID   |   M: 15 bits instead of 7
//! |   PictureID   |
//! |   TL0PICIDX   |
//! |TID|Y| KEYIDX  |
//! ```

use super::{
    Chunk, Counters, Inspection, PayloadError, Prefix, even_pieces, picture_id_len,
    replace_picture_id,
};
use crate::reader::Reader;

/// Length of the descriptor that [`packetize`] writes, in bytes, without and with layers.
const DESCRIPTOR_LEN: usize = 4;
const LAYERED_DESCRIPTOR_LEN: usize = 6;

/// The place of a frame in the temporal layers (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The layer, 0 to 3.
    pub temporal: u8,
    /// Whether the frame refers to the lowest layer alone.
    pub sync: bool,
    /// Counts frames of the lowest layer.
    pub tl0_picture_index: u8,
    /// Counts key frames; 5 bits are written.
    pub key_index: u8,
}

/// The descriptor in front of each payload (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Whether no other frame refers to this one.
    pub non_reference: bool,
    /// Whether the payload begins a partition.
    pub partition_start: bool,
    /// Which partition.
    pub partition: u8,
    /// Counts pictures in 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Counts frames of the lowest temporal layer.
    pub tl0_picture_index: Option<u8>,
    /// The temporal layer, and whether it depends on the lowest alone.
    pub temporal_layer: Option<(u8, bool)>,
    /// Counts key frames in 5 bits: a new one for each frame that depends on none before it.
    pub key_index: Option<u8>,
}

impl Descriptor {
    /// Reads the descriptor; the rest of the payload comes with it.
    ///
    /// # Errors
    /// [`PayloadError::TooShort`], also for a descriptor with nothing after it.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), PayloadError> {
        let mut reader = Reader::new(payload);
        let first = reader.u8()?;
        let more = if first & 0x80 != 0 { reader.u8()? } else { 0 };
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            partition_start: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id: None,
            tl0_picture_index: None,
            temporal_layer: None,
            key_index: None,
        };
        if more & 0x80 != 0 {
            let id = reader.u8()?;
            descriptor.picture_id = Some(if id & 0x80 != 0 {
                u16::from_be_bytes([id & 0x7f, reader.u8()?])
            } else {
                u16::from(id)
            });
        }
        if more & 0x40 != 0 {
            descriptor.tl0_picture_index = Some(reader.u8()?);
        }
        if more & 0x30 != 0 {
            let byte = reader.u8()?;
            if more & 0x20 != 0 {
                descriptor.temporal_layer = Some((byte >> 6, byte & 0x20 != 0));
            }
            if more & 0x10 != 0 {
                descriptor.key_index = Some(byte & 0x1f);
            }
        }
        if reader.is_empty() {
            return Err(PayloadError::TooShort);
        }
        Ok((descriptor, reader.rest()))
    }

    /// Whether the payload begins a frame.
    pub fn is_frame_start(&self) -> bool {
        self.partition_start && self.partition == 0
    }
}

/// Whether a frame is a key frame: the inverse of its first bit (RFC 6386 §9.1).
pub fn is_key_frame(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// Whether a payload begins a key frame.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_ok_and(|(own, rest)| own.is_frame_start() && is_key_frame(rest))
}

/// What a payload says of its frame: everything but whether it is a key frame in every payload.
///
/// # Errors
/// [`PayloadError::TooShort`].
pub fn inspect(payload: &[u8]) -> Result<Inspection, PayloadError> {
    let (descriptor, rest) = Descriptor::parse(payload)?;
    Ok(Inspection {
        starts_frame: descriptor.is_frame_start(),
        key_frame: descriptor.is_frame_start() && is_key_frame(rest),
        discardable: descriptor.non_reference,
        switching_point: descriptor.temporal_layer.is_some_and(|(_, sync)| sync),
        temporal_layer: descriptor.temporal_layer.map(|(layer, _)| layer),
        picture_id: descriptor.picture_id,
        tl0_picture_index: descriptor.tl0_picture_index,
        ..Inspection::default()
    })
}

/// Writes `counters` over those that the descriptor has; nothing moves and all else stays.
///
/// # Errors
/// [`PayloadError::TooShort`] as for [`Descriptor::parse`]; nothing is changed then.
pub fn set_counters(payload: &mut [u8], counters: &Counters) -> Result<(), PayloadError> {
    let (descriptor, _) = Descriptor::parse(payload)?;
    let mut at: usize = 2;
    if descriptor.picture_id.is_some() {
        let field = payload.get_mut(at..).unwrap_or_default();
        at = at.saturating_add(picture_id_len(field));
        if let Some(id) = counters.picture_id {
            replace_picture_id(field, id);
        }
    }
    if descriptor.tl0_picture_index.is_some() {
        if let (Some(byte), Some(index)) = (payload.get_mut(at), counters.tl0_picture_index) {
            *byte = index;
        }
        at = at.saturating_add(1);
    }
    if descriptor.key_index.is_some()
        && let (Some(byte), Some(index)) = (payload.get_mut(at), counters.key_index)
    {
        *byte = (*byte & 0xe0) | (index & 0x1f);
    }
    Ok(())
}

/// Splits a frame into payloads of at most `payload_len_max` bytes. `picture_id` counts frames
/// and is written in 15 bits. `layer` is stated where there are temporal layers.
///
/// # Errors
/// [`PayloadError::Empty`] for an empty frame.
pub fn packetize(
    frame: &[u8],
    picture_id: u16,
    layer: Option<Layer>,
    payload_len_max: usize,
) -> Result<impl Iterator<Item = Chunk<'_>>, PayloadError> {
    if frame.is_empty() {
        return Err(PayloadError::Empty);
    }
    let [high, low] = picture_id.to_be_bytes();
    let high = 0x80 | high;
    let descriptor_len = match layer {
        None => DESCRIPTOR_LEN,
        Some(_) => LAYERED_DESCRIPTOR_LEN,
    };
    let pieces = even_pieces(frame, payload_len_max.saturating_sub(descriptor_len));
    Ok(pieces.enumerate().map(move |(index, body)| {
        let first = if index == 0 { 0x90 } else { 0x80 };
        let prefix = match layer {
            None => Prefix::new(&[first, 0x80, high, low]),
            Some(own) => {
                let sync = if own.sync { 0x20 } else { 0 };
                let place = (own.temporal & 3) << 6 | sync | (own.key_index & 0x1f);
                Prefix::new(&[first, 0xf0, high, low, own.tl0_picture_index, place])
            }
        };
        Chunk::Piece { prefix, body }
    }))
}

/// Puts the payloads of one frame together. Answers whether it is a key frame.
///
/// # Errors
/// [`PayloadError::TornFragment`] when the first payload does not begin a frame.
pub fn assemble<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<bool, PayloadError> {
    let start = out.len();
    for (index, payload) in payloads.into_iter().enumerate() {
        let (descriptor, body) = Descriptor::parse(payload)?;
        if (index == 0) != descriptor.is_frame_start() {
            return Err(PayloadError::TornFragment);
        }
        out.extend_from_slice(body);
    }
    match out.get(start..) {
        None | Some([]) => Err(PayloadError::Empty),
        Some(frame) => Ok(is_key_frame(frame)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_field_of_the_descriptor_is_read() {
        let payload = [0xb5, 0xf0, 0x92, 0x34, 7, 0x60, 0xaa];
        let (descriptor, rest) = Descriptor::parse(&payload).unwrap();
        let expected = Descriptor {
            non_reference: true,
            partition_start: true,
            partition: 5,
            picture_id: Some(0x1234),
            tl0_picture_index: Some(7),
            temporal_layer: Some((1, true)),
            key_index: Some(0),
        };
        assert_eq!((descriptor, rest), (expected, &[0xaa][..]));
        let (short, _) = Descriptor::parse(&[0x80, 0x80, 0x11, 0]).unwrap();
        assert_eq!(short.picture_id, Some(0x11));
        for len in 0..payload.len() {
            assert!(Descriptor::parse(&payload[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn counters_are_replaced_in_place_as_wide_as_they_are() {
        let mut long = [0x90, 0xf0, 0x92, 0x34, 7, 0x65, 0xaa, 0xbb];
        let counters = Counters {
            picture_id: Some(0x4567),
            tl0_picture_index: Some(9),
            key_index: Some(0x1f),
        };
        set_counters(&mut long, &counters).unwrap();
        assert_eq!(long, [0x90, 0xf0, 0xc5, 0x67, 9, 0x7f, 0xaa, 0xbb]);
        let mut short = [0x90, 0xb0, 0x12, 0x65, 0xaa];
        set_counters(&mut short, &counters).unwrap();
        assert_eq!(short, [0x90, 0xb0, 0x67, 0x7f, 0xaa]);
        // No KEYIDX here, so the lower bits of that byte are reserved.
        let mut reserved = [0x90, 0xe0, 0x92, 0x34, 7, 0x60, 0xaa];
        set_counters(&mut reserved, &counters).unwrap();
        assert_eq!(reserved, [0x90, 0xe0, 0xc5, 0x67, 9, 0x60, 0xaa]);
        let mut bare = [0x10, 0xaa];
        set_counters(&mut bare, &counters).unwrap();
        assert_eq!(bare, [0x10, 0xaa]);
    }

    #[test]
    fn a_payload_tells_of_its_frame() {
        let inspection = inspect(&[0xb0, 0xf0, 0x92, 0x34, 7, 0x65, 0x10]).unwrap();
        let expected = Inspection {
            starts_frame: true,
            key_frame: true,
            discardable: true,
            switching_point: true,
            temporal_layer: Some(1),
            picture_id: Some(0x1234),
            tl0_picture_index: Some(7),
            ..Inspection::default()
        };
        assert_eq!(inspection, expected);
        // The same byte within the frame says nothing of it.
        assert!(!inspect(&[0x80, 0x00, 0x10]).unwrap().key_frame);
    }

    fn layer() -> impl Strategy<Value = Layer> {
        (0u8..4, any::<bool>(), any::<u8>(), 0u8..32).prop_map(
            |(temporal, sync, tl0_picture_index, key_index)| Layer {
                temporal,
                sync,
                tl0_picture_index,
                key_index,
            },
        )
    }

    proptest! {
        #[test]
        fn replacing_counters_changes_nothing_else(
            head: u8, more: u8, tail in prop::collection::vec(any::<u8>(), 5..9), id in 0u16..0x8000, tl0: u8, key in 0u8..32,
        ) {
            let before = [vec![head | 0x80, more], tail].concat();
            let mut after = before.clone();
            let counters = Counters { picture_id: Some(id), tl0_picture_index: Some(tl0), key_index: Some(key) };
            if set_counters(&mut after, &counters).is_ok() {
                let (old, old_rest) = Descriptor::parse(&before).unwrap();
                let (new, new_rest) = Descriptor::parse(&after).unwrap();
                let width = if more & 0x80 != 0 && before[2] & 0x80 == 0 { 0x7f } else { 0x7fff };
                prop_assert_eq!(new, Descriptor {
                    picture_id: old.picture_id.map(|_| id & width),
                    tl0_picture_index: old.tl0_picture_index.map(|_| tl0),
                    key_index: old.key_index.map(|_| key),
                    ..old
                });
                prop_assert_eq!(old_rest, new_rest);
            }
        }

        #[test]
        fn frames_survive_the_way(frame in prop::collection::vec(any::<u8>(), 1..5000), id in 0u16..0x8000, len in 7usize..1300, layer in prop::option::of(layer())) {
            let payloads: Vec<Vec<u8>> = packetize(&frame, id, layer, len).unwrap().map(|chunk| {
                let mut out = Vec::new();
                chunk.write(&mut out);
                out
            }).collect();
            prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
            let mut out = Vec::new();
            let key = assemble(payloads.iter().map(Vec::as_slice), &mut out);
            prop_assert_eq!(key, Ok(is_key_frame(&frame)));
            prop_assert_eq!(&out, &frame);
            prop_assert_eq!(starts_key_frame(&payloads[0]), is_key_frame(&frame));
            for payload in &payloads {
                let (descriptor, _) = Descriptor::parse(payload).unwrap();
                prop_assert_eq!(descriptor.picture_id, Some(id));
                prop_assert_eq!(descriptor.temporal_layer, layer.map(|own| (own.temporal, own.sync)));
                prop_assert_eq!(descriptor.tl0_picture_index, layer.map(|own| own.tl0_picture_index));
                prop_assert_eq!(descriptor.key_index, layer.map(|own| own.key_index));
            }
            if payloads.len() > 1 {
                let torn = payloads[1..].iter().map(Vec::as_slice);
                prop_assert_eq!(assemble(torn, &mut out), Err(PayloadError::TornFragment));
            }
        }

        #[test]
        fn arbitrary_payloads_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
        }
    }
}
