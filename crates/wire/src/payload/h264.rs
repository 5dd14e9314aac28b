//! H.264 (RFC 6184), packetization modes 0 and 1.
//!
//! Frames are access units in Annex B form: NAL units, each after a start code of three or four
//! bytes. In payloads, small parameter sets travel together (STAP-A), large units in fragments
//! (FU-A), others alone.

pub use super::annex_b::nal_units;
use super::annex_b::push_unit;
use super::{Chunk, Inspection, PayloadError, Prefix, even_pieces};
use crate::reader::Reader;

const TYPE_MASK: u8 = 0x1f;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// How NAL units may travel (RFC 6184 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketizationMode {
    /// One unit a packet, mode 0.
    SingleNalUnit,
    /// Aggregates and fragments as well, mode 1.
    NonInterleaved,
}

fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & TYPE_MASK)
}

/// Whether an access unit in Annex B form can be decoded without those before it.
pub fn is_key_frame(frame: &[u8]) -> bool {
    nal_units(frame).any(|unit| unit_type(unit) == IDR)
}

/// Whether a payload begins a key frame: with a sequence parameter set, or with the first piece
/// of an IDR picture.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    match payload {
        [head, header, ..] if head & TYPE_MASK == FU_A => {
            header & FU_START != 0 && matches!(header & TYPE_MASK, IDR | SPS)
        }
        [head, _, _, first, ..] if head & TYPE_MASK == STAP_A => {
            matches!(first & TYPE_MASK, IDR | SPS)
        }
        [head, ..] => matches!(head & TYPE_MASK, IDR | SPS),
        [] => false,
    }
}

/// Whether a payload holds nothing of a picture, only what stands before one: an access unit
/// delimiter, supplemental information, parameter sets.
pub fn is_prefix(payload: &[u8]) -> bool {
    // 6 SEI, 9 delimiter, 13 and 15 extended parameter sets.
    let stands_before = |kind: u8| matches!(kind & TYPE_MASK, 6..=9 | 13 | 15);
    match payload {
        [head, fu, ..] if head & TYPE_MASK == FU_A => stands_before(*fu),
        [head, rest @ ..] if head & TYPE_MASK == STAP_A => {
            let mut reader = Reader::new(rest);
            while !reader.is_empty() {
                let unit = reader.u16().and_then(|len| reader.take(usize::from(len)));
                if !unit.is_ok_and(|unit| stands_before(unit_type(unit))) {
                    return false;
                }
            }
            !rest.is_empty()
        }
        [head, ..] => stands_before(*head),
        [] => false,
    }
}

/// Whether a payload begins with a later slice of its picture, by `first_mb_in_slice` (H.264
/// §7.3.3), or goes on with a slice. What holds no slice does neither.
pub fn is_later_slice(payload: &[u8]) -> bool {
    let is_slice = |kind: u8| matches!(kind & TYPE_MASK, 1 | IDR);
    // The number 0 is a single bit that is set.
    match payload {
        [head, fu, ..] if head & TYPE_MASK == FU_A && fu & FU_START == 0 => is_slice(*fu),
        [head, fu, first, ..] if head & TYPE_MASK == FU_A => is_slice(*fu) && first & 0x80 == 0,
        [head, _, _, unit, first, ..] if head & TYPE_MASK == STAP_A => {
            is_slice(*unit) && first & 0x80 == 0
        }
        [head, first, ..] => is_slice(*head) && first & 0x80 == 0,
        _ => false,
    }
}

/// What a payload says of its frame: `discardable` when no unit in it is for reference
/// (`nal_ref_idc`), `key_frame` as [`starts_key_frame`].
///
/// # Errors
/// [`PayloadError::TooShort`] for a payload that ends inside of its header, and
/// [`PayloadError::BadType`] for a type of another mode.
pub fn inspect(payload: &[u8]) -> Result<Inspection, PayloadError> {
    let mut reader = Reader::new(payload);
    let head = reader.u8()?;
    let starts_frame = match head & TYPE_MASK {
        1..=23 => true,
        // The importance of an aggregate is the highest of its units (§5.7).
        STAP_A => reader.array::<3>().map(|_| true)?,
        FU_A => reader.u8()? & FU_START != 0,
        _ => return Err(PayloadError::BadType),
    };
    Ok(Inspection {
        starts_frame,
        key_frame: starts_key_frame(payload),
        discardable: head & 0x60 == 0,
        ..Inspection::default()
    })
}

/// Splits an access unit in Annex B form into payloads of at most `payload_len_max` bytes.
///
/// # Errors
/// [`PayloadError::Empty`] when there is no NAL unit, [`PayloadError::TooLong`] when one does not
/// fit a packet in mode 0.
pub fn packetize(
    frame: &[u8],
    mode: PacketizationMode,
    payload_len_max: usize,
) -> Result<Vec<Chunk<'_>>, PayloadError> {
    let mut chunks = Vec::new();
    let mut sets: Vec<&[u8]> = Vec::new();
    // 9 is the access unit delimiter: it says nothing that the timestamp does not.
    for unit in nal_units(frame).filter(|unit| unit_type(unit) != 9) {
        let fits = unit.len() <= payload_len_max;
        match mode {
            PacketizationMode::SingleNalUnit if !fits => return Err(PayloadError::TooLong),
            PacketizationMode::SingleNalUnit => chunks.push(alone(unit)),
            PacketizationMode::NonInterleaved => {
                if matches!(unit_type(unit), SPS | PPS)
                    && aggregate_len(&sets, unit) <= payload_len_max
                {
                    sets.push(unit);
                    continue;
                }
                flush(&mut sets, &mut chunks);
                if fits {
                    chunks.push(alone(unit));
                } else {
                    fragment(unit, payload_len_max, &mut chunks);
                }
            }
        }
    }
    flush(&mut sets, &mut chunks);
    if chunks.is_empty() {
        return Err(PayloadError::Empty);
    }
    Ok(chunks)
}

fn alone(unit: &[u8]) -> Chunk<'_> {
    Chunk::Piece {
        prefix: Prefix::NONE,
        body: unit,
    }
}

fn aggregate_len(units: &[&[u8]], more: &[u8]) -> usize {
    let all = units.iter().chain(core::iter::once(&more));
    all.fold(1, |len: usize, unit| {
        len.saturating_add(2).saturating_add(unit.len())
    })
}

fn flush<'a>(sets: &mut Vec<&'a [u8]>, chunks: &mut Vec<Chunk<'a>>) {
    match **sets {
        [] => {}
        [unit] => {
            chunks.push(alone(unit));
            sets.clear();
        }
        _ => {
            // RFC 6184 §5.7: the highest importance, and the error bit if any unit has it.
            let nri = sets.iter().filter_map(|unit| unit.first());
            let nri = nri.map(|head| head & 0x60).max().unwrap_or(0);
            let units = core::mem::take(sets);
            chunks.push(Chunk::Aggregate {
                header: Prefix::new(&[nri | STAP_A]),
                units,
            });
        }
    }
}

/// RFC 6184 §5.8.
fn fragment<'a>(unit: &'a [u8], payload_len_max: usize, chunks: &mut Vec<Chunk<'a>>) {
    let Some((head, body)) = unit.split_first() else {
        return;
    };
    let first = chunks.len();
    for piece in even_pieces(body, payload_len_max.saturating_sub(2)) {
        let start = if chunks.len() == first { FU_START } else { 0 };
        let indicator = (head & !TYPE_MASK) | FU_A;
        chunks.push(Chunk::Piece {
            prefix: Prefix::new(&[indicator, start | (head & TYPE_MASK)]),
            body: piece,
        });
    }
    if let Some(Chunk::Piece { prefix, .. }) = chunks.last_mut() {
        prefix.set_bits(1, FU_END);
    }
}

/// Puts the payloads of one access unit together, in Annex B form. Answers whether it is a key
/// frame.
///
/// # Errors
/// What is wrong with the payloads; `out` may have grown then.
pub fn assemble<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> Result<bool, PayloadError> {
    let start = out.len();
    let mut in_fragment = false;
    let mut is_key = false;
    for payload in payloads {
        let mut reader = Reader::new(payload);
        let head = reader.u8()?;
        let kind = head & TYPE_MASK;
        if in_fragment && kind != FU_A {
            return Err(PayloadError::TornFragment);
        }
        match kind {
            1..=23 => {
                is_key |= kind == IDR;
                push_unit(out, payload);
            }
            STAP_A => {
                while !reader.is_empty() {
                    let len = usize::from(reader.u16()?);
                    let unit = reader.take(len)?;
                    is_key |= unit_type(unit) == IDR;
                    push_unit(out, unit);
                }
            }
            FU_A => {
                let header = reader.u8()?;
                if (header & FU_START != 0) == in_fragment {
                    return Err(PayloadError::TornFragment);
                }
                if !in_fragment {
                    is_key |= header & TYPE_MASK == IDR;
                    push_unit(out, &[(head & !TYPE_MASK) | (header & TYPE_MASK)]);
                }
                out.extend_from_slice(reader.rest());
                in_fragment = header & FU_END == 0;
            }
            _ => return Err(PayloadError::BadType),
        }
    }
    if in_fragment {
        return Err(PayloadError::TornFragment);
    }
    if out.len() == start {
        return Err(PayloadError::Empty);
    }
    Ok(is_key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(units: &[Vec<u8>]) -> Vec<u8> {
        units
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat())
            .collect()
    }

    fn payloads(frame: &[u8], mode: PacketizationMode, len: usize) -> Vec<Vec<u8>> {
        let chunks = packetize(frame, mode, len).unwrap();
        let write = |chunk: &Chunk<'_>| {
            let mut out = Vec::new();
            chunk.write(&mut out);
            out
        };
        chunks.iter().map(write).collect()
    }

    #[test]
    fn later_slices_are_told_from_first_ones() {
        let later: [&[u8]; 5] = [
            &[0x65, 0x40],
            &[0x41, 0x00],
            &[0x7c, 0x85, 0x40],
            &[0x7c, 0x05, 0x80],
            &[24, 0, 2, 0x65, 0x20],
        ];
        assert!(later.iter().all(|own| is_later_slice(own)));
        let first: [&[u8]; 7] = [
            &[],
            &[0x65],
            &[0x65, 0x88],
            &[0x67, 0x42],
            &[0x7c, 0x85, 0x88],
            &[24, 0, 2, 0x65, 0x88],
            &[24, 0, 2, 0x67, 0x42],
        ];
        assert!(!first.iter().any(|own| is_later_slice(own)));
    }

    #[test]
    fn what_stands_before_a_picture_is_told_from_the_picture() {
        let sets = [24, 0, 2, 0x67, 1, 0, 1, 0x68];
        let prefixes: [&[u8]; 5] = [&[9, 0xf0], &[6, 5, 1], &[0x67, 1], &sets, &[0x1c, 0x86, 1]];
        assert!(prefixes.iter().all(|own| is_prefix(own)));
        let with_slice = [24, 0, 2, 0x67, 1, 0, 1, 0x65];
        let pictures: [&[u8]; 6] = [
            &[],
            &[0x65, 1],
            &[0x41],
            &with_slice,
            &[0x1c, 0x85, 1],
            &[24],
        ];
        assert!(!pictures.iter().any(|own| is_prefix(own)));
    }

    #[test]
    fn both_start_codes_and_trailing_zeros_are_understood() {
        let stream = [
            9, 0, 0, 1, 0x67, 1, 0, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 3, 0,
        ];
        let units: Vec<_> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(nal_units(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn parameter_sets_travel_together_and_pictures_in_fragments() {
        let picture = [vec![0x65], vec![7; 2500]].concat();
        let frame = frame(&[vec![0x67, 1, 2], vec![0x68, 3], picture]);
        let payloads = payloads(&frame, PacketizationMode::NonInterleaved, 1000);
        assert_eq!(payloads[0], [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3]);
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[1][..2], [0x7c, 0x85]);
        assert_eq!(payloads[2][..2], [0x7c, 0x05]);
        assert_eq!(payloads[3][..2], [0x7c, 0x45]);
        assert!(starts_key_frame(&payloads[0]) && starts_key_frame(&payloads[1]));
        assert!(!starts_key_frame(&payloads[2]));
        let mut out = Vec::new();
        let key = assemble(payloads.iter().map(Vec::as_slice), &mut out);
        assert_eq!((key, out), (Ok(true), frame));
    }

    #[test]
    fn torn_fragments_and_foreign_types_are_refused() {
        let assemble = |payloads: &[&[u8]]| assemble(payloads.iter().copied(), &mut Vec::new());
        let torn = Err(PayloadError::TornFragment);
        assert_eq!(assemble(&[&[0x7c, 0x05, 1]]), torn);
        assert_eq!(assemble(&[&[0x7c, 0x85, 1]]), torn);
        assert_eq!(assemble(&[&[0x7c, 0x85, 1], &[0x41, 1]]), torn);
        assert_eq!(assemble(&[&[0x7c, 0x85, 1], &[0x7c, 0x85, 1]]), torn);
        assert_eq!(assemble(&[&[0x79, 0]]), Err(PayloadError::BadType));
        assert_eq!(assemble(&[&[0x78, 0, 9, 1]]), Err(PayloadError::TooShort));
        assert_eq!(assemble(&[]), Err(PayloadError::Empty));
        let long = frame(&[vec![0x65; 2000]]);
        let mode = PacketizationMode::SingleNalUnit;
        assert_eq!(packetize(&long, mode, 1200), Err(PayloadError::TooLong));
    }

    proptest! {
        #[test]
        fn access_units_survive_the_way(
            units in prop::collection::vec((1u8..24, prop::collection::vec(1u8..=255, 0..4000)), 1..6),
            len in 8usize..1300,
        ) {
            let units: Vec<Vec<u8>> = units.into_iter().filter(|(kind, _)| *kind != 9)
                .map(|(kind, body)| [vec![0x60 | kind], body].concat()).collect();
            prop_assume!(!units.is_empty());
            let frame = frame(&units);
            let payloads = payloads(&frame, PacketizationMode::NonInterleaved, len);
            prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
            let mut out = Vec::new();
            let key = assemble(payloads.iter().map(Vec::as_slice), &mut out);
            prop_assert_eq!(key, Ok(is_key_frame(&frame)));
            prop_assert_eq!(out, frame);
        }

        #[test]
        fn arbitrary_bytes_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6)) {
            let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
            for payload in &payloads {
                let _ = starts_key_frame(payload);
                let _ = packetize(payload, PacketizationMode::NonInterleaved, 9).map(|chunks| chunks.len());
            }
        }
    }
}
