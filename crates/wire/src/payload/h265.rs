//! H.265 (RFC 7798), without interleaving: `sprop-max-don-diff` is 0, as it is by default.
//!
//! Frames are access units in Annex B form: NAL units, each after a start code of three or four
//! bytes. In payloads, small parameter sets travel together (AP), large units in fragments (FU),
//! others alone.
//!
//! ```text
//! |F|   Type    |  LayerId  | TID |  of every NAL unit, and of every payload
//! |S|E|  FuType   |               FU: the unit's own type, and whether it begins or ends here
//! ```

pub use super::annex_b::nal_units;
use super::annex_b::push_unit;
use super::{Chunk, Inspection, PayloadError, Prefix, even_pieces};
use crate::reader::Reader;

const HEADER_LEN: usize = 2;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const ACCESS_UNIT_DELIMITER: u8 = 35;
const PREFIX_SEI: u8 = 39;
const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const FU_TYPE_MASK: u8 = 0x3f;
const TYPE_BITS: u8 = 0x7e;

/// Whether a type is a slice of a picture at which decoding may begin: BLA, IDR, CRA (H.265, table
/// 7-1).
const fn is_random_access(kind: u8) -> bool {
    matches!(kind, 16..=23)
}

/// Whether a type stands before all slices of a picture at which decoding may begin, or is one.
const fn starts_random_access(kind: u8) -> bool {
    matches!(kind, VPS | SPS) || is_random_access(kind)
}

/// Whether a type is a slice that others of its temporal layer do not refer to.
const fn is_sub_layer_non_reference(kind: u8) -> bool {
    kind < 16 && kind.is_multiple_of(2)
}

fn kind_of(head: u8) -> u8 {
    head >> 1 & FU_TYPE_MASK
}

fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| kind_of(*head))
}

/// Whether an access unit in Annex B form can be decoded without those before it.
pub fn is_key_frame(frame: &[u8]) -> bool {
    nal_units(frame).any(|unit| is_random_access(unit_type(unit)))
}

/// Whether a payload begins a key frame: with a video or sequence parameter set, or with the first
/// piece of a picture at which decoding may begin.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    inspect(payload).is_ok_and(|own| own.key_frame)
}

/// Whether a payload holds nothing of a picture, only what stands before one: an access unit
/// delimiter, supplemental information, parameter sets.
pub fn is_prefix(payload: &[u8]) -> bool {
    let stands_before = |kind: u8| matches!(kind, VPS..=ACCESS_UNIT_DELIMITER | PREFIX_SEI);
    let mut reader = Reader::new(payload);
    let Ok([head, _]) = reader.array() else {
        return false;
    };
    match kind_of(head) {
        AGGREGATE => {
            let mut units = aggregated(reader).peekable();
            units.peek().is_some()
                && units.all(|unit| unit.is_ok_and(|unit| stands_before(unit_type(unit))))
        }
        FRAGMENT => reader.u8().is_ok_and(|fu| stands_before(fu & FU_TYPE_MASK)),
        kind => stands_before(kind),
    }
}

/// Whether a payload begins with a later slice of its picture, by
/// `first_slice_segment_in_pic_flag` (H.265 §7.3.6.1), or goes on with a slice. What holds no slice
/// does neither.
pub fn is_later_slice(payload: &[u8]) -> bool {
    let is_slice = |kind: u8| kind < VPS;
    match payload {
        [head, _, fu, ..] if kind_of(*head) == FRAGMENT && fu & FU_START == 0 => {
            is_slice(fu & FU_TYPE_MASK)
        }
        [head, _, fu, first, ..] if kind_of(*head) == FRAGMENT => {
            is_slice(fu & FU_TYPE_MASK) && first & 0x80 == 0
        }
        [head, _, _, _, unit, _, first, ..] if kind_of(*head) == AGGREGATE => {
            is_slice(kind_of(*unit)) && first & 0x80 == 0
        }
        [head, _, first, ..] => is_slice(kind_of(*head)) && first & 0x80 == 0,
        _ => false,
    }
}

/// What a payload says of its frame: the temporal layer, and of a slice whether others of its
/// temporal layer refer to it.
///
/// # Errors
/// As for [`assemble`], of this payload alone.
pub fn inspect(payload: &[u8]) -> Result<Inspection, PayloadError> {
    let mut reader = Reader::new(payload);
    let [head, tail] = reader.array()?;
    let mut inspection = Inspection {
        starts_frame: true,
        temporal_layer: Some((tail & 7).saturating_sub(1)),
        ..Inspection::default()
    };
    match kind_of(head) {
        AGGREGATE => {
            if reader.is_empty() {
                return Err(PayloadError::TooShort);
            }
            inspection.discardable = true;
            for unit in aggregated(reader) {
                let kind = unit_type(unit?);
                inspection.key_frame |= starts_random_access(kind);
                inspection.discardable &= is_sub_layer_non_reference(kind);
            }
        }
        FRAGMENT => {
            let fu = reader.u8()?;
            let kind = fu & FU_TYPE_MASK;
            inspection.starts_frame = fu & FU_START != 0;
            inspection.key_frame = inspection.starts_frame && starts_random_access(kind);
            inspection.discardable = is_sub_layer_non_reference(kind);
        }
        kind @ 0..AGGREGATE => {
            inspection.key_frame = starts_random_access(kind);
            inspection.discardable = is_sub_layer_non_reference(kind);
        }
        _ => return Err(PayloadError::BadType),
    }
    Ok(inspection)
}

/// The units of an aggregate, each with its header.
fn aggregated(mut reader: Reader<'_>) -> impl Iterator<Item = Result<&[u8], PayloadError>> {
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let unit = reader.u16().and_then(|len| reader.take(usize::from(len)));
        Some(match unit {
            Ok(unit) if unit.len() >= HEADER_LEN => Ok(unit),
            _ => {
                reader.rest();
                Err(PayloadError::TooShort)
            }
        })
    })
}

/// Splits an access unit in Annex B form into payloads of at most `payload_len_max` bytes. Units
/// shorter than their header are left out.
///
/// # Errors
/// [`PayloadError::Empty`] when there is no NAL unit, [`PayloadError::BadType`] for one of a type
/// that payloads give another meaning.
pub fn packetize(frame: &[u8], payload_len_max: usize) -> Result<Vec<Chunk<'_>>, PayloadError> {
    let mut chunks = Vec::new();
    let mut sets: Vec<&[u8]> = Vec::new();
    let travels =
        |unit: &&[u8]| unit.len() >= HEADER_LEN && unit_type(unit) != ACCESS_UNIT_DELIMITER;
    for unit in nal_units(frame).filter(travels) {
        let kind = unit_type(unit);
        if kind >= AGGREGATE {
            return Err(PayloadError::BadType);
        }
        if matches!(kind, VPS..=PPS) && aggregate_len(&sets, unit) <= payload_len_max {
            sets.push(unit);
            continue;
        }
        flush(&mut sets, &mut chunks);
        if unit.len() <= payload_len_max {
            chunks.push(alone(unit));
        } else {
            fragment(unit, payload_len_max, &mut chunks);
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
    all.fold(HEADER_LEN, |len, unit| {
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
            let units = core::mem::take(sets);
            let header = Prefix::new(&aggregate_header(&units));
            chunks.push(Chunk::Aggregate { header, units });
        }
    }
}

/// RFC 7798 §4.4.2: the forbidden bit if any unit has it, the lowest layer and temporal id.
fn aggregate_header(units: &[&[u8]]) -> [u8; 2] {
    let headers = units.iter().filter_map(|unit| unit.first_chunk::<2>());
    let fields = headers.map(|[head, tail]| {
        let layer = (head & 1) << 5 | tail >> 3;
        (head & 0x80, layer, tail & 7)
    });
    let (forbidden, layer, temporal) = fields
        .reduce(|(f1, l1, t1), (f2, l2, t2)| (f1 | f2, l1.min(l2), t1.min(t2)))
        .unwrap_or_default();
    [
        forbidden | AGGREGATE << 1 | layer >> 5,
        (layer & 0x1f) << 3 | temporal,
    ]
}

/// RFC 7798 §4.4.3.
fn fragment<'a>(unit: &'a [u8], payload_len_max: usize, chunks: &mut Vec<Chunk<'a>>) {
    let Some(([head, tail], body)) = unit.split_first_chunk::<2>() else {
        return;
    };
    let first = chunks.len();
    let indicator = (head & !TYPE_BITS) | FRAGMENT << 1;
    for piece in even_pieces(body, payload_len_max.saturating_sub(3)) {
        let start = if chunks.len() == first { FU_START } else { 0 };
        chunks.push(Chunk::Piece {
            prefix: Prefix::new(&[indicator, *tail, start | kind_of(*head)]),
            body: piece,
        });
    }
    if let Some(Chunk::Piece { prefix, .. }) = chunks.last_mut() {
        prefix.set_bits(2, FU_END);
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
        let [head, tail] = reader.array()?;
        let kind = kind_of(head);
        if in_fragment && kind != FRAGMENT {
            return Err(PayloadError::TornFragment);
        }
        match kind {
            0..AGGREGATE => {
                is_key |= is_random_access(kind);
                push_unit(out, payload);
            }
            AGGREGATE => {
                for unit in aggregated(reader) {
                    let unit = unit?;
                    is_key |= is_random_access(unit_type(unit));
                    push_unit(out, unit);
                }
            }
            FRAGMENT => {
                let fu = reader.u8()?;
                if (fu & FU_START != 0) == in_fragment {
                    return Err(PayloadError::TornFragment);
                }
                let kind = fu & FU_TYPE_MASK;
                if !in_fragment {
                    is_key |= is_random_access(kind);
                    push_unit(out, &[(head & !TYPE_BITS) | kind << 1, tail]);
                }
                out.extend_from_slice(reader.rest());
                in_fragment = fu & FU_END == 0;
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
        let with_code = |unit: &Vec<u8>| [&[0, 0, 0, 1][..], unit].concat();
        units.iter().flat_map(with_code).collect()
    }

    fn payloads(frame: &[u8], len: usize) -> Vec<Vec<u8>> {
        let write = |chunk: &Chunk<'_>| {
            let mut out = Vec::new();
            chunk.write(&mut out);
            out
        };
        packetize(frame, len).unwrap().iter().map(write).collect()
    }

    fn joined(payloads: &[&[u8]]) -> Result<(bool, Vec<u8>), PayloadError> {
        let mut out = Vec::new();
        assemble(payloads.iter().copied(), &mut out).map(|key| (key, out))
    }

    /// The payloads of libwebrtc's own tests (`video_rtp_depacketizer_h265_unittest.cc`).
    #[test]
    fn later_slices_are_told_from_first_ones() {
        let later: [&[u8]; 4] = [
            &[0x26, 1, 0x40],
            &[0x62, 1, 0x93, 0x40],
            &[0x62, 1, 0x13, 0x80],
            &[0x60, 1, 0, 3, 0x26, 1, 0x20],
        ];
        assert!(later.iter().all(|own| is_later_slice(own)));
        let first: [&[u8]; 6] = [
            &[],
            &[0x26, 1],
            &[0x26, 1, 0xaf],
            &[0x40, 1, 0x0c],
            &[0x62, 1, 0x93, 0xaf],
            &[0x60, 1, 0, 3, 0x40, 1, 0x0c],
        ];
        assert!(!first.iter().any(|own| is_later_slice(own)));
    }

    #[test]
    fn what_stands_before_a_picture_is_told_from_the_picture() {
        let sets = [0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x42, 1];
        let prefixes: [&[u8]; 4] = [&[0x46, 1, 0x50], &[0x4e, 1, 5], &sets, &[0x62, 1, 0xa7, 1]];
        assert!(prefixes.iter().all(|own| is_prefix(own)));
        let with_slice = [0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x26, 1];
        let pictures: [&[u8]; 5] = [&[], &[0x26, 1], &with_slice, &[0x62, 1, 0x93], &[0x60, 1]];
        assert!(!pictures.iter().any(|own| is_prefix(own)));
    }

    #[test]
    fn payloads_of_libwebrtc_are_read() {
        let single = [0x26, 0x02];
        assert!(starts_key_frame(&single));
        assert_eq!(joined(&[&single]), Ok((true, vec![0, 0, 0, 1, 0x26, 0x02])));

        let slice = [0xaf, 0x08, 0x4a, 0x31, 0x11, 0x15, 0xe5, 0xc0];
        let fragments = [
            [&[0x62, 0x02, 0x93][..], &slice].concat(),
            vec![0x62, 0x02, 0x13, 0x02],
            vec![0x62, 0x02, 0x53, 0x03],
        ];
        let fragments: Vec<&[u8]> = fragments.iter().map(Vec::as_slice).collect();
        let whole = [&[0, 0, 0, 1, 0x26, 0x02][..], &slice, &[0x02, 0x03]].concat();
        assert_eq!(joined(&fragments), Ok((true, whole)));
        assert!(starts_key_frame(fragments[0]) && !starts_key_frame(fragments[1]));

        let trailing = [
            0x60, 0x02, 0, 3, 2, 2, 0xff, 0, 4, 2, 2, 0xff, 0, 0, 5, 2, 2, 0xff, 0, 0x11,
        ];
        let (key, units) = joined(&[&trailing]).unwrap();
        assert!(!key && !starts_key_frame(&trailing));
        let lens: Vec<usize> = nal_units(&units).map(<[u8]>::len).collect();
        // The zero at the end of the second is padding of the byte stream.
        assert_eq!(lens, [3, 3, 5]);

        let sets = [
            &[0x60, 0x02, 0, 3, 0x40, 0x02, 1][..],
            &[0, 3, 0x42, 0x02, 2, 0, 3, 0x44, 0x02, 3],
            &[0, 4, 0x26, 0x02, 0xaf, 8],
        ]
        .concat();
        assert!(starts_key_frame(&sets));
        assert!(joined(&[&sets]).unwrap().0);
    }

    #[test]
    fn torn_and_foreign_payloads_of_libwebrtc_are_refused() {
        let short = Err(PayloadError::TooShort);
        for payload in [
            &[0x62][..],
            &[0x62, 0x02],
            &[0xe0, 0x02, 0x40],
            &[0x60, 0x02, 0xed, 0xdf],
            &[0x60, 0x02, 0x40, 0x40],
            &[0x60, 0x02, 0, 0],
            &[0x60, 0x02, 0, 4, 0x26, 2, 0xff, 0, 0, 0],
            &[],
        ] {
            assert_eq!(joined(&[payload]), short, "{payload:?}");
            assert!(!starts_key_frame(payload) && inspect(payload).is_err());
        }
        // PACI.
        assert_eq!(joined(&[&[0x64, 0x02]]), Err(PayloadError::BadType));
        let torn = Err(PayloadError::TornFragment);
        assert_eq!(joined(&[&[0x62, 2, 0x13, 1]]), torn);
        assert_eq!(joined(&[&[0x62, 2, 0x93, 1]]), torn);
        assert_eq!(joined(&[&[0x62, 2, 0x93, 1], &[0x26, 2]]), torn);
        assert_eq!(joined(&[]), Err(PayloadError::Empty));
        let foreign = [0, 0, 0, 1, 0x62, 0x02, 1];
        assert_eq!(packetize(&foreign, 99), Err(PayloadError::BadType));
    }

    #[test]
    fn parameter_sets_travel_together_and_pictures_in_fragments() {
        let picture = [vec![0x26, 0x01], vec![7; 2500]].concat();
        let units = [
            vec![0x40, 0x01, 1],
            vec![0x42, 0x01, 2],
            vec![0x44, 0x01, 3],
            picture,
        ];
        let delimiter = [0, 0, 0, 1, 0x46, 0x01, 0x10];
        let stream = frame(&units);
        let payloads = payloads(&[&delimiter, stream.as_slice()].concat(), 1000);
        let sets = [
            0x60, 0x01, 0, 3, 0x40, 1, 1, 0, 3, 0x42, 1, 2, 0, 3, 0x44, 1, 3,
        ];
        assert_eq!(payloads[0], sets);
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[1][..3], [0x62, 0x01, 0x93]);
        assert_eq!(payloads[2][..3], [0x62, 0x01, 0x13]);
        assert_eq!(payloads[3][..3], [0x62, 0x01, 0x53]);
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        assert_eq!(joined(&payloads), Ok((true, stream)));
    }

    #[test]
    fn a_payload_tells_of_its_frame() {
        // TRAIL_N of the third temporal layer, TRAIL_R of the first.
        let droppable = inspect(&[0x00, 0x03, 1]).unwrap();
        assert!(droppable.discardable && !droppable.key_frame);
        assert_eq!(droppable.temporal_layer, Some(2));
        assert!(!inspect(&[0x02, 0x01, 1]).unwrap().discardable);
        let inside = inspect(&[0x62, 0x01, 0x13, 1]).unwrap();
        assert!(!inside.starts_frame && !inside.key_frame);
    }

    proptest! {
        #[test]
        fn access_units_survive_the_way(
            units in prop::collection::vec((0u8..48, 1u8..8, prop::collection::vec(1u8..=255, 0..4000)), 1..6),
            len in 8usize..1300,
        ) {
            let units: Vec<Vec<u8>> = units.into_iter().filter(|(kind, ..)| *kind != ACCESS_UNIT_DELIMITER)
                .map(|(kind, tail, body)| [vec![kind << 1, tail], body].concat()).collect();
            prop_assume!(!units.is_empty());
            let frame = frame(&units);
            // Two zeros of a header after each other look like a start code.
            prop_assume!(nal_units(&frame).count() == units.len());
            let payloads = payloads(&frame, len);
            prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
            let all: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let (key, out) = joined(&all).unwrap();
            prop_assert_eq!(key, is_key_frame(&frame));
            prop_assert_eq!(out, frame);
            for missing in 0..all.len() {
                let is_end = all[missing][0] & TYPE_BITS == FRAGMENT << 1 && all[missing][2] & 0xc0 != 0;
                if is_end {
                    let left: Vec<&[u8]> = (0..all.len()).filter(|own| *own != missing).map(|own| all[own]).collect();
                    prop_assert_eq!(joined(&left), Err(PayloadError::TornFragment));
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6)) {
            let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
            for payload in &payloads {
                let _ = inspect(payload);
                let _ = packetize(payload, 9).map(|chunks| chunks.len());
            }
        }
    }
}
