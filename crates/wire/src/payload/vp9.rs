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

#[cfg(test)]
mod tests;

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
        ends_frame: descriptor.frame_end,
        key_frame: descriptor.is_key_frame(),
        discardable: false,
        switching_point: layers.is_some_and(|own| own.switching_up_point),
        temporal_layer: layers.map(|own| own.temporal),
        spatial_layer: layers.map(|own| own.spatial),
        not_inter_layer_reference: descriptor.not_inter_layer_reference,
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

/// The place of a frame in the layers of its picture, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The temporal layer, 0 to 7.
    pub temporal: u8,
    /// The spatial layer, 0 to 7.
    pub spatial: u8,
    /// Whether what follows in upper temporal layers refers to none before it of those.
    pub switching_up_point: bool,
    /// Whether the frame refers to that of the layer below.
    pub inter_layer_dependency: bool,
    /// Whether the frame of the layer above refers to it.
    pub referred_to_above: bool,
    /// How many pictures back the one is to which it refers, 1 to 127; none for a key frame.
    pub picture_difference: Option<u8>,
    /// How many layers there are and of what size, with a key picture; a group is not written.
    pub structure: Option<Structure>,
}

impl Placement {
    /// The descriptor without the marks of beginning and end.
    fn descriptor(&self, picture_id: u16) -> Vec<u8> {
        let mut flags = PICTURE_ID | LAYERS | FLEXIBLE;
        if !self.referred_to_above {
            flags |= NOT_REFERENCE;
        }
        let [high, low] = picture_id.to_be_bytes();
        let place = (self.temporal & 7) << 5
            | u8::from(self.switching_up_point) << 4
            | (self.spatial & 7) << 1
            | u8::from(self.inter_layer_dependency);
        let mut bytes = vec![0, 0x80 | high, low, place];
        if let Some(difference) = self.picture_difference {
            flags |= PREDICTED;
            bytes.push(difference << 1);
        }
        if let Some(first) = bytes.first_mut() {
            *first = flags;
        }
        bytes
    }
}

impl Structure {
    /// Appends the number and the sizes of the layers.
    fn write_sizes(&self, out: &mut Vec<u8>) {
        let layers = usize::from(self.spatial_layers);
        let has_sizes = layers > 0 && self.resolutions.len() == layers;
        let count = self.spatial_layers.saturating_sub(1) & 7;
        out.push(count << 5 | u8::from(has_sizes) << 4);
        if has_sizes {
            for (width, height) in &self.resolutions {
                out.extend(width.to_be_bytes());
                out.extend(height.to_be_bytes());
            }
        }
    }
}

/// Splits the frame of one layer into payloads of at most `payload_len_max` bytes, in flexible mode.
/// `picture_id` counts pictures, which all layers of one share, and is written in 15 bits.
///
/// # Errors
/// [`PayloadError::Empty`] for an empty frame.
pub fn packetize_layer<'a>(
    frame: &'a [u8],
    picture_id: u16,
    placement: &Placement,
    payload_len_max: usize,
) -> Result<impl Iterator<Item = Chunk<'a>> + use<'a>, PayloadError> {
    if frame.is_empty() {
        return Err(PayloadError::Empty);
    }
    let plain = placement.descriptor(picture_id);
    let mut first = plain.clone();
    if let (Some(structure), Some(flags)) = (&placement.structure, first.first_mut()) {
        *flags |= STRUCTURE;
        structure.write_sizes(&mut first);
    }
    let [mut first, plain] = [Prefix::new(&first), Prefix::new(&plain)];
    let len_max = payload_len_max.saturating_sub(first.as_slice().len());
    first.set_bits(0, BEGIN);
    let mut pieces = even_pieces(frame, len_max).peekable();
    let mut prefixes = core::iter::once(first).chain(core::iter::repeat(plain));
    Ok(core::iter::from_fn(move || {
        let body = pieces.next()?;
        let mut prefix = prefixes.next()?;
        if pieces.peek().is_none() {
            prefix.set_bits(0, END);
        }
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
