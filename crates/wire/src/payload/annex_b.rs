//! Access units as byte streams (H.264 and H.265, annex B): NAL units, each after a start code.

/// The NAL units of an Annex B byte stream, without start codes and the zeros before them.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream).unwrap_or_default();
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let unit;
            (unit, rest) = match rest.windows(3).position(|three| three == [0, 0, 1]) {
                Some(at) => (
                    rest.get(..at).unwrap_or_default(),
                    rest.get(at.saturating_add(3)..).unwrap_or_default(),
                ),
                None => (rest, &[][..]),
            };
            // Zeros before a start code belong to it, or are padding (H.264 annex B.1).
            let len = unit.iter().rposition(|byte| *byte != 0);
            let len = len.map_or(0, |last| last.saturating_add(1));
            if len > 0 {
                return unit.get(..len);
            }
        }
        None
    })
}

fn after_start_code(stream: &[u8]) -> Option<&[u8]> {
    let at = stream.windows(3).position(|three| three == [0, 0, 1])?;
    stream.get(at.saturating_add(3)..)
}

/// Appends a unit, or the beginning of one, after a start code.
pub(super) fn push_unit(out: &mut Vec<u8>, unit: &[u8]) {
    out.extend([0, 0, 0, 1]);
    out.extend_from_slice(unit);
}
