//! VP9 (RFC 9628).
//!
//! ```text
//! |I|P|L|F|B|E|V|Z|   P: predicted from other pictures, B/E: begins/ends a frame,
//! |M| PICTURE ID  |   I  Z: no reference for upper spatial layers; M: 15 bits
//! |   PICTURE ID  |   M
//! | TID |U| SID |D|   L: layers; U: switching up, D: depends on the layer below
//! |   TL0PICIDX   |   L, unless F
//! | P_DIFF      |N|   P and F, up to three times; N: another one follows
//! | SS ..         |   V: scalability structure
//! ```

use super::{
    Chunk, Counters, Inspection, PayloadError, Prefix, even_pieces, picture_id_len,
    replace_picture_id,
};
use crate::reader::Reader;

const PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const END: u8 = 0x04;
const STRUCTURE: u8 = 0x02;
const NOT_REFERENCE: u8 = 0x01;

/// Length of the descriptor that [`packetize`] writes, in bytes: of the first payload of a key
/// frame, and of all others.
const KEY_DESCRIPTOR_LEN: usize = 7;
const DESCRIPTOR_LEN: usize = 3;

/// The descriptor in front of each payload (RFC 9628 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Counts pictures in 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether other pictures are needed to decode this one.
    pub inter_picture_predicted: bool,
    /// The place in the layers.
    pub layers: Option<Layers>,
    /// Whether references are listed here, and not given by a [`Structure`].
    pub flexible_mode: bool,
    /// Whether the payload begins a frame of its layer.
    pub frame_start: bool,
    /// Whether it ends one.
    pub frame_end: bool,
    /// Whether no frame of an upper spatial layer of the same picture refers to this one.
    pub not_inter_layer_reference: bool,
    /// In flexible mode, the pictures referred to.
    pub references: References,
    /// How the layers depend on each other.
    pub structure: Option<Structure>,
}

/// Where a frame stands in the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// Whether decoding may go up to this temporal layer here.
    pub switching_up_point: bool,
    /// The spatial layer, 0 to 7.
    pub spatial: u8,
    /// Whether the spatial layer below is needed to decode this one.
    pub inter_layer_dependency: bool,
    /// Counts pictures of the lowest temporal layer; absent in flexible mode.
    pub tl0_picture_index: Option<u8>,
}

/// Up to three references, each as the number of pictures to go back, 1 to 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct References {
    differences: [u8; 3],
    count: u8,
}

impl References {
    /// The differences of picture ids.
    pub fn as_slice(&self) -> &[u8] {
        let count = usize::from(self.count);
        self.differences.get(..count).unwrap_or_default()
    }

    /// `false` when there are three already.
    fn push(&mut self, difference: u8) -> bool {
        let seat = self.differences.get_mut(usize::from(self.count));
        let has_seat = seat.map(|seat| *seat = difference).is_some();
        self.count = self.count.saturating_add(u8::from(has_seat));
        has_seat
    }
}

/// The scalability structure (RFC 9628 §4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// How many spatial layers, 1 to 8.
    pub spatial_layers: u8,
    /// Width and height of each, in pixels; empty when not stated.
    pub resolutions: Vec<(u16, u16)>,
    /// The pictures of a group, which then repeats; empty when not stated.
    pub group: Vec<GroupPicture>,
}

/// One picture of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPicture {
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// Whether decoding may go up to this temporal layer here.
    pub switching_up_point: bool,
    /// The pictures referred to.
    pub references: References,
}

impl Descriptor {
    /// Reads the descriptor; the rest of the payload comes with it.
    ///
    /// # Errors
    /// [`PayloadError::TooShort`], also for a descriptor with nothing after it, and
    /// [`PayloadError::BadHeader`] for more than three references, or any without a picture id
    /// to count from.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), PayloadError> {
        let mut reader = Reader::new(payload);
        let flags = reader.u8()?;
        let has = |flag| flags & flag != 0;
        let mut picture_id = None;
        if has(PICTURE_ID) {
            let id = reader.u8()?;
            picture_id = Some(if id & 0x80 != 0 {
                u16::from_be_bytes([id & 0x7f, reader.u8()?])
            } else {
                u16::from(id)
            });
        }
        let mut layers = None;
        if has(LAYERS) {
            let byte = reader.u8()?;
            let tl0_picture_index = if has(FLEXIBLE) {
                None
            } else {
                Some(reader.u8()?)
            };
            layers = Some(Layers {
                temporal: byte >> 5,
                switching_up_point: byte & 0x10 != 0,
                spatial: byte >> 1 & 7,
                inter_layer_dependency: byte & 1 != 0,
                tl0_picture_index,
            });
        }
        let mut references = References::default();
        if has(PREDICTED) && has(FLEXIBLE) {
            if picture_id.is_none() {
                return Err(PayloadError::BadHeader);
            }
            loop {
                let byte = reader.u8()?;
                if !references.push(byte >> 1) {
                    return Err(PayloadError::BadHeader);
                }
                if byte & 1 == 0 {
                    break;
                }
            }
        }
        let structure = if has(STRUCTURE) {
            Some(Structure::parse(&mut reader)?)
        } else {
            None
        };
        if reader.is_empty() {
            return Err(PayloadError::TooShort);
        }
        let descriptor = Self {
            picture_id,
            inter_picture_predicted: has(PREDICTED),
            layers,
            flexible_mode: has(FLEXIBLE),
            frame_start: has(BEGIN),
            frame_end: has(END),
            not_inter_layer_reference: has(NOT_REFERENCE),
            references,
            structure,
        };
        Ok((descriptor, reader.rest()))
    }

    /// Whether the frame refers to no other, neither in time nor in the layer below.
    pub fn is_key_frame(&self) -> bool {
        let depends = self.layers.is_some_and(|own| own.inter_layer_dependency);
        !self.inter_picture_predicted && !depends
    }
}

impl Structure {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, PayloadError> {
        let head = reader.u8()?;
        let spatial_layers = (head >> 5).saturating_add(1);
        let mut resolutions = Vec::new();
        if head & 0x10 != 0 {
            for _ in 0..spatial_layers {
                resolutions.push((reader.u16()?, reader.u16()?));
            }
        }
        let mut group = Vec::new();
        if head & 0x08 != 0 {
            for _ in 0..reader.u8()? {
                let byte = reader.u8()?;
                let mut references = References::default();
                for _ in 0..byte >> 2 & 3 {
                    references.push(reader.u8()?);
                }
                group.push(GroupPicture {
                    temporal: byte >> 5,
                    switching_up_point: byte & 0x10 != 0,
                    references,
                });
            }
        }
        Ok(Self {
            spatial_layers,
            resolutions,
            group,
        })
    }
}

/// Whether a frame is a key frame, by the first bits of its uncompressed header (VP9 bitstream
/// specification §6.2).
pub fn is_key_frame(frame: &[u8]) -> bool {
    let Some(first) = frame.first() else {
        return false;
    };
    // Two bits of marker, two of profile, a reserved one in profile 3; then `show_existing_frame`
    // and `frame_type`, both 0.
    let show_and_type = match first >> 4 & 3 {
        3 => first >> 1 & 3,
        _ => first >> 2 & 3,
    };
    first >> 6 == 2 && show_and_type == 0
}

/// Whether a payload begins a key frame, by its descriptor.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_ok_and(|(own, _)| own.frame_start && own.is_key_frame())
}

/// What a payload says of its frame, in every payload the same.
///
/// # Errors
/// As for [`Descriptor::parse`].
pub fn inspect(payload: &[u8]) -> Result<Inspection, PayloadError> {
    let (descriptor, _) = Descriptor::parse(payload)?;
    let layers = descriptor.layers;
    Ok(Inspection {
        starts_frame: descriptor.frame_start,
        key_frame: descriptor.is_key_frame(),
        discardable: false,
        switching_point: layers.is_some_and(|own| own.switching_up_point),
        temporal_layer: layers.map(|own| own.temporal),
        spatial_layer: layers.map(|own| own.spatial),
        picture_id: descriptor.picture_id,
        tl0_picture_index: layers.and_then(|own| own.tl0_picture_index),
    })
}

/// Writes `counters` over those that the descriptor has; nothing moves and all else stays.
///
/// # Errors
/// As for [`Descriptor::parse`]; nothing is changed then.
pub fn set_counters(payload: &mut [u8], counters: &Counters) -> Result<(), PayloadError> {
    let (descriptor, _) = Descriptor::parse(payload)?;
    let mut at: usize = 1;
    if descriptor.picture_id.is_some() {
        let field = payload.get_mut(at..).unwrap_or_default();
        at = at.saturating_add(picture_id_len(field));
        if let Some(id) = counters.picture_id {
            replace_picture_id(field, id);
        }
    }
    let has_index = descriptor.layers.and_then(|own| own.tl0_picture_index);
    if has_index.is_some()
        && let Some(index) = counters.tl0_picture_index
        && let Some(byte) = payload.get_mut(at.saturating_add(1))
    {
        *byte = index;
    }
    Ok(())
}

/// Splits a frame into payloads of at most `payload_len_max` bytes, in non-flexible mode, as the
/// only layer. `picture_id` counts frames and is written in 15 bits. Key frames carry a
/// scalability structure by which each picture refers to the one before.
///
/// # Errors
/// [`PayloadError::Empty`] for an empty frame.
pub fn packetize(
    frame: &[u8],
    picture_id: u16,
    payload_len_max: usize,
) -> Result<impl Iterator<Item = Chunk<'_>>, PayloadError> {
    if frame.is_empty() {
        return Err(PayloadError::Empty);
    }
    let is_key = is_key_frame(frame);
    let descriptor_len = if is_key {
        KEY_DESCRIPTOR_LEN
    } else {
        DESCRIPTOR_LEN
    };
    let [high, low] = picture_id.to_be_bytes();
    let high = 0x80 | high;
    let flags = PICTURE_ID | if is_key { 0 } else { PREDICTED };
    let mut pieces = even_pieces(frame, payload_len_max.saturating_sub(descriptor_len)).peekable();
    let mut begin = BEGIN;
    Ok(core::iter::from_fn(move || {
        let body = pieces.next()?;
        let end = if pieces.peek().is_none() { END } else { 0 };
        let flags = flags | core::mem::take(&mut begin) | end;
        let prefix = if is_key && flags & BEGIN != 0 {
            // One spatial layer, a group of one picture with one reference, one picture back.
            Prefix::new(&[flags | STRUCTURE, high, low, 0x08, 1, 0x04, 1])
        } else {
            Prefix::new(&[flags, high, low])
        };
        Some(Chunk::Piece { prefix, body })
    }))
}

/// Puts the payloads of one picture together, all its spatial layers one after the other. Answers
/// whether it is a key frame.
///
/// # Errors
/// [`PayloadError::TornFragment`] when a layer is without its beginning or its end; `out` may
/// have grown then.
pub fn assemble<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<bool, PayloadError> {
    let mut in_frame = false;
    let mut is_key = None;
    for payload in payloads {
        let (descriptor, body) = Descriptor::parse(payload)?;
        if descriptor.frame_start == in_frame {
            return Err(PayloadError::TornFragment);
        }
        is_key = is_key.or(Some(descriptor.is_key_frame()));
        in_frame = !descriptor.frame_end;
        out.extend_from_slice(body);
    }
    if in_frame {
        return Err(PayloadError::TornFragment);
    }
    is_key.ok_or(PayloadError::Empty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(payload: &[u8]) -> Result<Descriptor, PayloadError> {
        // One byte of frame behind the descriptor.
        let payload = [payload, &[0xaa]].concat();
        Descriptor::parse(&payload).map(|(descriptor, rest)| {
            assert_eq!(rest, [0xaa]);
            descriptor
        })
    }

    /// The descriptors of libwebrtc's own tests (`video_rtp_depacketizer_vp9_unittest.cc`).
    #[test]
    fn descriptors_of_libwebrtc_are_read() {
        let basic = parse(&[0x0c]).unwrap();
        assert!(basic.frame_start && basic.frame_end && basic.is_key_frame());
        assert_eq!(parse(&[0x80, 0x7f]).unwrap().picture_id, Some(0x7f));
        let long = parse(&[0x80, 0xff, 0xff]).unwrap();
        assert_eq!(long.picture_id, Some(0x7fff));

        let layers = Layers {
            temporal: 2,
            switching_up_point: true,
            spatial: 1,
            inter_layer_dependency: true,
            tl0_picture_index: Some(17),
        };
        let descriptor = parse(&[0x20, 2 << 5 | 1 << 4 | 1 << 1 | 1, 17]).unwrap();
        assert_eq!(descriptor.layers, Some(layers));
        let flexible = Layers {
            spatial: 0,
            inter_layer_dependency: false,
            tl0_picture_index: None,
            ..layers
        };
        let descriptor = parse(&[0x38, 2 << 5 | 1 << 4]).unwrap();
        assert_eq!(descriptor.layers, Some(flexible));

        let references = [0xd8, 0x80, 17, 17 << 1 | 1, 18 << 1 | 1, 127 << 1];
        let descriptor = parse(&references).unwrap();
        assert_eq!(descriptor.references.as_slice(), [17, 18, 127]);
        assert!(parse(&[0x08]).unwrap().is_key_frame());
        assert!(!parse(&[0x44]).unwrap().is_key_frame());
        // Predicted from the layer below alone: no key frame.
        assert!(!parse(&[0x20, 1, 0]).unwrap().is_key_frame());
        assert!(parse(&[0x05]).unwrap().not_inter_layer_reference);
    }

    #[test]
    fn structures_of_libwebrtc_are_read() {
        let group = parse(&[0x0a, 1 << 5 | 1 << 3, 2, 1 << 4, 2 << 5 | 1 << 2, 33]).unwrap();
        let structure = group.structure.unwrap();
        assert_eq!(structure.spatial_layers, 2);
        let pictures: Vec<_> = structure
            .group
            .iter()
            .map(|own| {
                (
                    own.temporal,
                    own.switching_up_point,
                    own.references.as_slice(),
                )
            })
            .collect();
        assert_eq!(pictures, [(0, true, &[][..]), (2, false, &[33])]);

        let sizes = [0x0a, 1 << 5 | 1 << 4, 2, 0x80, 1, 0x68, 5, 0x00, 2, 0xd0];
        let structure = parse(&sizes).unwrap().structure.unwrap();
        assert_eq!(structure.resolutions, [(640, 360), (1280, 720)]);
    }

    #[test]
    fn contradictions_and_torn_descriptors_are_refused() {
        let bad = Err(PayloadError::BadHeader);
        assert_eq!(parse(&[0x58, 3 << 1]), bad);
        assert_eq!(parse(&[0xd8, 0x7f, 7, 7, 7, 6]), bad);
        let payload = [0xba, 0x81, 2, 0x45, 0x18, 0, 1, 0, 2, 1, 0x04, 1, 0xaa];
        assert!(Descriptor::parse(&payload).is_ok());
        for len in 0..payload.len() {
            assert!(Descriptor::parse(&payload[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn key_frames_are_known_by_their_first_byte() {
        // Profile 0, shown key frame; the same, predicted; profile 3; an existing frame shown.
        for (first, key) in [(0x82, true), (0x86, false), (0xb0, true), (0x88, false)] {
            assert_eq!(is_key_frame(&[first, 0x49]), key, "{first:#x}");
        }
        assert!(!is_key_frame(&[0x02]) && !is_key_frame(&[]));
    }

    #[test]
    fn pictures_of_two_spatial_layers_are_put_together() {
        let payloads: [&[u8]; 4] = [
            &[0xa8, 5, 0x00, 3, 1, 2],
            &[0xa4, 5, 0x00, 3, 3],
            &[0xa8, 5, 0x03, 3, 4],
            &[0xa4, 5, 0x03, 3, 5],
        ];
        let mut out = Vec::new();
        assert_eq!(assemble(payloads, &mut out), Ok(true));
        assert_eq!(out, [1, 2, 3, 4, 5]);
        let torn = Err(PayloadError::TornFragment);
        for missing in 0..4 {
            let left = (0..4)
                .filter(|own| *own != missing)
                .map(|own| payloads[own]);
            assert_eq!(assemble(left, &mut Vec::new()), torn, "{missing}");
        }
        assert_eq!(assemble([], &mut out), Err(PayloadError::Empty));
    }

    #[test]
    fn a_payload_tells_of_its_frame() {
        let inspection = inspect(&[0xe0, 0x92, 0x34, 0x53, 7, 0xaa]).unwrap();
        let expected = Inspection {
            starts_frame: false,
            key_frame: false,
            discardable: false,
            switching_point: true,
            temporal_layer: Some(2),
            spatial_layer: Some(1),
            picture_id: Some(0x1234),
            tl0_picture_index: Some(7),
        };
        assert_eq!(inspection, expected);
    }

    proptest! {
        #[test]
        fn replacing_counters_changes_nothing_else(
            head: u8, tail in prop::collection::vec(any::<u8>(), 5..20), id in 0u16..0x8000, tl0: u8,
        ) {
            let before = [vec![head], tail].concat();
            let mut after = before.clone();
            let counters = Counters { picture_id: Some(id), tl0_picture_index: Some(tl0), key_index: None };
            if set_counters(&mut after, &counters).is_ok() {
                let (old, old_rest) = Descriptor::parse(&before).unwrap();
                let (new, new_rest) = Descriptor::parse(&after).unwrap();
                let width = if before[1] & 0x80 == 0 { 0x7f } else { 0x7fff };
                let layers = old.layers.map(|own| Layers {
                    tl0_picture_index: own.tl0_picture_index.map(|_| tl0), ..own
                });
                let picture_id = old.picture_id.map(|_| id & width);
                prop_assert_eq!(new, Descriptor { picture_id, layers, ..old });
                prop_assert_eq!(old_rest, new_rest);
            }
        }

        #[test]
        fn frames_survive_the_way(
            mut frame in prop::collection::vec(any::<u8>(), 1..5000), id in 0u16..0x8000, len in 8usize..1300, key: bool,
        ) {
            frame[0] = if key { 0x82 } else { 0x86 };
            let payloads: Vec<Vec<u8>> = packetize(&frame, id, len).unwrap().map(|chunk| {
                let mut out = Vec::new();
                chunk.write(&mut out);
                out
            }).collect();
            prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
            let mut out = Vec::new();
            prop_assert_eq!(assemble(payloads.iter().map(Vec::as_slice), &mut out), Ok(key));
            prop_assert_eq!(&out, &frame);
            for (index, payload) in payloads.iter().enumerate() {
                let inspection = inspect(payload).unwrap();
                prop_assert_eq!((inspection.picture_id, inspection.key_frame), (Some(id), key));
                prop_assert_eq!(starts_key_frame(payload), key && index == 0);
            }
            if payloads.len() > 1 {
                let torn = Err(PayloadError::TornFragment);
                prop_assert_eq!(assemble(payloads[1..].iter().map(Vec::as_slice), &mut out), torn);
                let last = payloads.len() - 1;
                prop_assert_eq!(assemble(payloads[..last].iter().map(Vec::as_slice), &mut out), torn);
            }
        }

        #[test]
        fn arbitrary_payloads_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
        }
    }
}
