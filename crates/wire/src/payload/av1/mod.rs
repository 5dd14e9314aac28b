//! AV1 (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media).
//!
//! ```text
//! |Z|Y| W |N|0 0 0|  Z/Y: the first/last element goes on from/in another packet,
//! | size (LEB128) |  W: count of elements, 0 for any; N: begins a coded video sequence
//! | OBU element   |  an OBU without its size, or a part of one; with W the last
//! | ...           |  element has no size
//! ```
//!
//! Frames are temporal units in the low-overhead format, as encoders make them. Temporal
//! delimiters do not travel; which OBUs there are, and their bytes, stay the same otherwise.

mod envelope;
mod obu;

#[cfg(test)]
mod tests;

pub use envelope::{Envelope, open_envelope};
pub use obu::{Obu, is_key_frame, obus};

use super::{Chunk, Inspection, PayloadError, Prefix};
use crate::bits::{leb128, write_leb128};
use crate::reader::Reader;
use obu::{is_sequence_header, size_len};

const CONTINUES: u8 = 0x80;
const CONTINUED: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;

/// Elements whose number the aggregation header can tell.
const COUNTED_MAX: usize = 3;

/// The least that is put at the end of a packet: below this a part of an OBU is mostly overhead.
const PART_LEN_MIN: usize = 16;

/// The least room in a packet for which [`packetize`] splits a frame, in bytes.
pub const PAYLOAD_LEN_MIN: usize = 8;

/// An OBU in a payload, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The header, where the OBU begins here.
    header: Prefix,
    body: &'a [u8],
}

impl Element<'_> {
    fn len(&self) -> usize {
        let header_len = self.header.as_slice().len();
        header_len.saturating_add(self.body.len())
    }
}

/// Appends a payload of `elements`.
pub(super) fn write_elements(header: u8, elements: &[Element<'_>], out: &mut Vec<u8>) {
    let count = u8::try_from(elements.len()).unwrap_or(0);
    let counted = if elements.len() > COUNTED_MAX {
        0
    } else {
        count
    };
    out.push(header | counted << 4);
    let last = elements.len().saturating_sub(1);
    for (index, element) in elements.iter().enumerate() {
        if counted == 0 || index != last {
            write_leb128(u32::try_from(element.len()).unwrap_or(u32::MAX), out);
        }
        out.extend_from_slice(element.header.as_slice());
        out.extend_from_slice(element.body);
    }
}

/// The aggregation header and the elements of a payload.
struct Payload<'a> {
    continues: bool,
    continued: bool,
    new_sequence: bool,
    elements: Vec<&'a [u8]>,
}

impl<'a> Payload<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(payload);
        let header = reader.u8()?;
        let (continues, new_sequence) = (header & CONTINUES != 0, header & NEW_SEQUENCE != 0);
        if continues && new_sequence {
            return Err(PayloadError::BadHeader);
        }
        let count = usize::from(header >> 4 & 3);
        let mut elements = Vec::new();
        let mut take = |reader: &mut Reader<'a>| {
            let len = leb128(reader)?.ok_or(PayloadError::BadHeader)?;
            elements.push(reader.take(len as usize)?);
            Ok::<(), PayloadError>(())
        };
        if count == 0 {
            while !reader.is_empty() {
                take(&mut reader)?;
            }
        } else {
            for _ in 1..count {
                take(&mut reader)?;
            }
            elements.push(reader.rest());
        }
        Ok(Self {
            continues,
            continued: header & CONTINUED != 0,
            new_sequence,
            elements,
        })
    }
}

/// Whether a payload begins a coded video sequence, and so a key frame: by its own word, or with a
/// sequence header, for senders that do not set that bit.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    inspect(payload).is_ok_and(|own| own.key_frame)
}

/// What a payload says of its frame: its layers, where its first OBU states them. What the rest of
/// the frame depends on is in the dependency descriptor of the packet's header
/// ([`DependencyDescriptor`](crate::rtp::DependencyDescriptor)).
///
/// # Errors
/// As for [`assemble`], of this payload alone.
pub fn inspect(payload: &[u8]) -> Result<Inspection, PayloadError> {
    let parsed = Payload::parse(payload)?;
    let mut inspection = Inspection {
        starts_frame: !parsed.continues,
        key_frame: parsed.new_sequence,
        ..Inspection::default()
    };
    if let (false, Some([first, rest @ ..])) = (parsed.continues, parsed.elements.first()) {
        inspection.key_frame |= is_sequence_header(*first);
        let begins_with_layers = first & 0x04 != 0;
        if let (true, Some(extension)) = (begins_with_layers, rest.first()) {
            inspection.temporal_layer = Some(extension >> 5);
            inspection.spatial_layer = Some(extension >> 3 & 3);
        }
    }
    Ok(inspection)
}

/// Splits a temporal unit into payloads of at most `payload_len_max` bytes, which is taken for at
/// least [`PAYLOAD_LEN_MIN`].
///
/// # Errors
/// [`PayloadError::Empty`] when there is no OBU that travels, and whatever makes one malformed.
pub fn packetize(frame: &[u8], payload_len_max: usize) -> Result<Vec<Chunk<'_>>, PayloadError> {
    let mut units = Vec::new();
    for unit in obus(frame) {
        let unit = unit?;
        if unit.travels() {
            units.push(unit);
        }
    }
    if units.is_empty() {
        return Err(PayloadError::Empty);
    }
    let room = payload_len_max.max(PAYLOAD_LEN_MIN);
    // As few packets as possible, and those of nearly the same length.
    let total = units.iter().fold(0usize, |sum, unit| {
        let len = unit.len();
        sum.saturating_add(len).saturating_add(size_len(len))
    });
    let count = total.div_ceil(room.saturating_sub(1).max(1)).max(1);
    let even = total.div_ceil(count).saturating_add(2);
    let mut packer = Packer {
        room: even.clamp(PAYLOAD_LEN_MIN, room),
        payloads: Vec::new(),
        elements: Vec::new(),
        len: 1,
        layers: None,
        continues: false,
    };
    for unit in &units {
        packer.push(unit);
    }
    packer.flush(false);
    let mut payloads = packer.payloads;
    if is_key_frame(frame)
        && let Some(Chunk::Obus { header, .. }) = payloads.first_mut()
    {
        *header |= NEW_SEQUENCE;
    }
    Ok(payloads)
}

/// Fills payloads one after the other.
struct Packer<'a> {
    room: usize,
    payloads: Vec<Chunk<'a>>,
    elements: Vec<Element<'a>>,
    /// Length of the payload so far, all elements with their sizes.
    len: usize,
    layers: Option<(u8, u8)>,
    /// Whether the first element of the payload is not the beginning of its OBU.
    continues: bool,
}

impl<'a> Packer<'a> {
    fn push(&mut self, unit: &Obu<'a>) {
        // OBUs of one packet must be of the same layers (payload format §5).
        let layers = unit.layers();
        if layers.is_some() && self.layers.is_some() && layers != self.layers {
            self.flush(false);
        }
        let (header, header_len) = unit.header();
        let mut element = Element {
            header: Prefix::new(header.get(..header_len).unwrap_or_default()),
            body: unit.body,
        };
        let left = self.room.saturating_sub(self.len);
        let with_size = element.len().saturating_add(size_len(element.len()));
        if with_size > left && left < PART_LEN_MIN {
            self.flush(false);
        }
        loop {
            self.layers = self.layers.or(layers);
            let left = self.room.saturating_sub(self.len);
            if element.len().saturating_add(size_len(element.len())) <= left {
                self.add(element);
                return;
            }
            // The last of a few needs no size.
            if self.elements.len() < COUNTED_MAX && element.len() <= left {
                self.add(element);
                self.flush(false);
                return;
            }
            let header_len = element.header.as_slice().len();
            // The part is the last of the packet, but whether it may go without a size depends
            // on how many there are.
            let size_len = if self.elements.len() < COUNTED_MAX {
                0
            } else {
                size_len(left)
            };
            let part_len = left.saturating_sub(header_len).saturating_sub(size_len);
            let (part, rest) = element
                .body
                .split_at_checked(part_len)
                .unwrap_or((element.body, &[]));
            self.add(Element {
                header: element.header,
                body: part,
            });
            self.flush(true);
            element = Element {
                header: Prefix::NONE,
                body: rest,
            };
        }
    }

    fn add(&mut self, element: Element<'a>) {
        let len = element.len();
        self.len = self.len.saturating_add(len).saturating_add(size_len(len));
        self.elements.push(element);
    }

    /// Ends the payload; `continued` when its last element goes on in the next.
    fn flush(&mut self, continued: bool) {
        let elements = core::mem::take(&mut self.elements);
        let continues = core::mem::replace(&mut self.continues, continued);
        self.len = 1;
        self.layers = None;
        if elements.is_empty() {
            return;
        }
        let header = if continues { CONTINUES } else { 0 } | if continued { CONTINUED } else { 0 };
        self.payloads.push(Chunk::Obus { header, elements });
    }
}

/// Puts the payloads of one temporal unit together, in the low-overhead format without a temporal
/// delimiter. Answers whether it begins a coded video sequence.
///
/// # Errors
/// [`PayloadError::TornFragment`] for an OBU without its beginning or its end, and what is wrong
/// with the payloads; `out` may have grown then.
pub fn assemble<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<bool, PayloadError> {
    let start = out.len();
    let mut new_sequence = false;
    // An OBU that has begun; `None` between OBUs.
    let mut open: Option<Vec<u8>> = None;
    for payload in payloads {
        let parsed = Payload::parse(payload)?;
        if parsed.continues != open.is_some() {
            return Err(PayloadError::TornFragment);
        }
        new_sequence |= parsed.new_sequence;
        let mut elements = parsed.elements.into_iter().peekable();
        while let Some(element) = elements.next() {
            let is_part = parsed.continued && elements.peek().is_none();
            match (&mut open, is_part) {
                (Some(begun), true) => begun.extend_from_slice(element),
                (Some(begun), false) => {
                    begun.extend_from_slice(element);
                    push_obu(begun, out)?;
                    open = None;
                }
                (None, true) => open = Some(element.to_vec()),
                (None, false) => push_obu(element, out)?,
            }
        }
    }
    if open.is_some() {
        return Err(PayloadError::TornFragment);
    }
    match out.get(start..) {
        None | Some([]) => Err(PayloadError::Empty),
        Some(frame) => Ok(new_sequence || is_key_frame(frame)),
    }
}

fn push_obu(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let obu = Obu::parse(bytes)?;
    if obu.travels() {
        obu.write_sized(out);
    }
    Ok(())
}
