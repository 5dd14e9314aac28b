//! Temporal units whose content is hidden, in a form that travels as AV1.
//!
//! Packets are made of OBUs, and every node on the way takes a temporal unit apart into them and puts
//! it together again: sizes come and go, delimiters vanish. So what is hidden, by encryption for
//! example, is the whole temporal unit, and it travels as the body of one OBU, which nobody changes:
//!
//! ```text
//! | sequence headers before its first frame, copied: servers look there for key frames |
//! | OBU header: a frame, of the layers of the first one | size | C | what is hidden    |
//! ```
//!
//! `C` is the first byte of the header of the first frame, of which the upper four bits are kept: what
//! says whether it is a key frame, and shown.

use super::obu::{Obu, obus};
use crate::payload::PayloadError;

/// Of the first byte of a frame header: `show_existing_frame`, `frame_type` and `show_frame`.
const VISIBLE: u8 = 0xf0;

/// The same of a temporal unit without a frame: `frame_type` says that it is none of its own.
const NO_FRAME: u8 = 0x20;

/// What stays visible of a temporal unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    sequence_headers: Vec<Obu<'a>>,
    /// Of the first OBU of a frame that states its layers.
    extension: Option<u8>,
    first: u8,
}

impl<'a> Envelope<'a> {
    /// The envelope for a temporal unit in the low-overhead format.
    ///
    /// # Errors
    /// [`PayloadError`] for a malformed OBU, [`PayloadError::Empty`] where none would travel.
    pub fn of(unit: &'a [u8]) -> Result<Self, PayloadError> {
        let mut own = Self {
            sequence_headers: Vec::new(),
            extension: None,
            first: NO_FRAME,
        };
        let mut travels = false;
        let mut has_frame = false;
        for obu in obus(unit) {
            let obu = obu?;
            travels |= obu.travels();
            if obu.is_sequence_header() && !has_frame {
                own.sequence_headers.push(obu);
            } else if obu.is_frame() && !has_frame {
                has_frame = true;
                own.extension = obu.extension();
                own.first = obu.body.first().map_or(NO_FRAME, |first| first & VISIBLE);
            }
        }
        if !has_frame {
            // A sequence header alone begins nothing.
            own.sequence_headers.clear();
        }
        travels.then_some(own).ok_or(PayloadError::Empty)
    }

    /// The byte in front of what is hidden.
    pub fn visible(&self) -> u8 {
        self.first
    }

    /// Appends the envelope with what is hidden in it.
    pub fn write(&self, hidden: &[u8], out: &mut Vec<u8>) {
        for header in &self.sequence_headers {
            header.write_sized(out);
        }
        let mut body = Vec::with_capacity(hidden.len().saturating_add(1));
        body.push(self.first);
        body.extend_from_slice(hidden);
        Obu::frame(self.extension, &body).write_sized(out);
    }
}

/// What an envelope holds: the byte in front, as a slice, and what is hidden.
///
/// # Errors
/// [`PayloadError`] for a malformed OBU, [`PayloadError::BadHeader`] where the last is no frame.
pub fn open_envelope(unit: &[u8]) -> Result<(&[u8], &[u8]), PayloadError> {
    let mut last = None;
    for obu in obus(unit) {
        last = Some(obu?);
    }
    let last = last.ok_or(PayloadError::Empty)?;
    if !last.is_frame() {
        return Err(PayloadError::BadHeader);
    }
    last.body.split_at_checked(1).ok_or(PayloadError::TooShort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::av1::{assemble, inspect, is_key_frame, packetize};

    /// Temporal delimiter, sequence header, a frame with layers, padding.
    const KEY: [u8; 19] = [
        0x12, 0x00, 0x0a, 0x03, 1, 2, 3, 0x36, 0x28, 0x05, 0x1f, 9, 8, 7, 6, 0x7a, 0x02, 0, 0,
    ];

    fn travelled(unit: &[u8], len_max: usize) -> (Vec<u8>, bool) {
        let mut payloads = Vec::new();
        for chunk in packetize(unit, len_max).unwrap() {
            let mut payload = Vec::new();
            chunk.write(&mut payload);
            payloads.push(payload);
        }
        let starts = inspect(&payloads[0]).unwrap().key_frame;
        let mut out = Vec::new();
        let key = assemble(payloads.iter().map(Vec::as_slice), &mut out).unwrap();
        assert_eq!(key, starts);
        (out, key)
    }

    #[test]
    fn what_is_hidden_arrives_and_key_frames_are_seen() {
        let hidden: Vec<u8> = (0..3000u32).map(|at| (at * 7) as u8).collect();
        let envelope = Envelope::of(&KEY).unwrap();
        assert_eq!(envelope.visible(), 0x10);
        let mut unit = Vec::new();
        envelope.write(&hidden, &mut unit);
        assert_eq!(unit[..7], [0x0a, 3, 1, 2, 3, 0x36, 0x28]);
        assert!(is_key_frame(&unit));
        for len_max in [50, 1000, 9000] {
            let (arrived, key) = travelled(&unit, len_max);
            assert!(key);
            assert_eq!(open_envelope(&arrived), Ok((&[0x10][..], &hidden[..])));
        }
        // An inter frame that is shown, its size left out.
        let delta = [0x30, 0x3f, 1, 2, 3];
        let envelope = Envelope::of(&delta).unwrap();
        let mut unit = Vec::new();
        envelope.write(&hidden, &mut unit);
        let (arrived, key) = travelled(&unit, 1000);
        assert!(!key);
        assert_eq!(open_envelope(&arrived), Ok((&[0x30][..], &hidden[..])));
    }

    #[test]
    fn what_is_no_temporal_unit_and_no_envelope_is_refused() {
        assert_eq!(Envelope::of(&[]), Err(PayloadError::Empty));
        assert_eq!(Envelope::of(&[0x12, 0]), Err(PayloadError::Empty));
        assert!(Envelope::of(&[0x80]).is_err());
        assert_eq!(open_envelope(&[]), Err(PayloadError::Empty));
        assert_eq!(open_envelope(&[0x0a, 1, 0]), Err(PayloadError::BadHeader));
        assert_eq!(open_envelope(&[0x32, 0]), Err(PayloadError::TooShort));
        let metadata = [0x2a, 1, 5];
        assert_eq!(Envelope::of(&metadata).unwrap().visible(), NO_FRAME);
    }
}
