//! Redundant sound (RFC 2198): the newest frame, and older ones again.
//!
//! ```text
//! |1|   block PT  |  timestamp offset         |   block length    |   of each older frame
//! |0|   block PT  |   of the newest, whose data is the last
//! | data of each block, in the same order ...
//! ```

use super::PayloadError;
use crate::ids::PayloadType;
use crate::reader::Reader;

/// How far back a block may lie, in ticks of the RTP clock: 14 bits.
pub const OFFSET_MAX: u16 = 0x3fff;

/// Largest block that is not the newest, in bytes: 10 bits.
pub const REDUNDANT_LEN_MAX: usize = 0x3ff;

/// Older frames in one payload: libwebrtc sends at most 9.
pub const REDUNDANT_MAX: usize = 32;

/// A payload of redundant sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Red<'a> {
    /// Older frames, the oldest first as a rule; at most [`REDUNDANT_MAX`].
    pub redundant: Vec<Redundant<'a>>,
    /// The payload type of the newest frame.
    pub payload_type: PayloadType,
    /// The newest frame, whose timestamp is the packet's.
    pub data: &'a [u8],
}

/// A frame that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redundant<'a> {
    /// How to understand it.
    pub payload_type: PayloadType,
    /// How long before the packet's timestamp it lies, at most [`OFFSET_MAX`].
    pub timestamp_offset: u16,
    /// The frame, at most [`REDUNDANT_LEN_MAX`] bytes. Empty where nothing was to be sent.
    pub data: &'a [u8],
}

impl<'a> Red<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError::TooShort`] for lengths beyond the end, [`PayloadError::TooLong`] for more
    /// than [`REDUNDANT_MAX`] blocks.
    pub fn parse(payload: &'a [u8]) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(payload);
        let mut headers = Vec::new();
        let payload_type = loop {
            let head = reader.u8()?;
            let payload_type = PayloadType(head & 0x7f);
            if head & 0x80 == 0 {
                break payload_type;
            }
            if headers.len() == REDUNDANT_MAX {
                return Err(PayloadError::TooLong);
            }
            let field = reader.u24()?;
            let offset = u16::try_from(field >> 10).unwrap_or(OFFSET_MAX);
            headers.push((payload_type, offset, (field & 0x3ff) as usize));
        };
        let mut redundant = Vec::with_capacity(headers.len());
        for (payload_type, timestamp_offset, len) in headers {
            redundant.push(Redundant {
                payload_type,
                timestamp_offset,
                data: reader.take(len)?,
            });
        }
        Ok(Self {
            redundant,
            payload_type,
            data: reader.rest(),
        })
    }

    /// Appends the payload.
    ///
    /// # Errors
    /// [`PayloadError::TooLong`] for an older frame that is too long or too old to be described,
    /// or for too many of them; nothing is written then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let fits = |block: &Redundant<'_>| {
            block.timestamp_offset <= OFFSET_MAX && block.data.len() <= REDUNDANT_LEN_MAX
        };
        if self.redundant.len() > REDUNDANT_MAX || !self.redundant.iter().all(fits) {
            return Err(PayloadError::TooLong);
        }
        for block in &self.redundant {
            let len = u32::try_from(block.data.len()).unwrap_or(0);
            let [_, field @ ..] = (u32::from(block.timestamp_offset) << 10 | len).to_be_bytes();
            out.push(0x80 | (block.payload_type.0 & 0x7f));
            out.extend(field);
        }
        out.push(self.payload_type.0 & 0x7f);
        for block in &self.redundant {
            out.extend_from_slice(block.data);
        }
        out.extend_from_slice(self.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The layout of RFC 2198 §4: DVI4 (5) now, LPC (7) a frame of 20 ms at 8 kHz before.
    #[test]
    fn the_example_of_the_rfc_is_read() {
        let mut payload = vec![0x80 | 7, 0x02, 0x80, 14, 5];
        payload.extend([0xaa; 14]);
        payload.extend([0xbb; 84]);
        let red = Red::parse(&payload).unwrap();
        let expected = Redundant {
            payload_type: PayloadType(7),
            timestamp_offset: 160,
            data: &[0xaa; 14],
        };
        assert_eq!(red.redundant, [expected]);
        assert_eq!(red.payload_type, PayloadType(5));
        assert_eq!(red.data, [0xbb; 84]);
        let mut again = Vec::new();
        red.write(&mut again).unwrap();
        assert_eq!(again, payload);
    }

    #[test]
    fn torn_payloads_and_blocks_beyond_the_fields_are_refused() {
        for payload in [&[][..], &[0x80], &[0x87, 2, 0x80, 14, 5, 1, 2], &[0x87, 2]] {
            assert_eq!(Red::parse(payload), Err(PayloadError::TooShort));
        }
        let many = [0x87, 0, 0, 0].repeat(REDUNDANT_MAX + 1);
        assert_eq!(Red::parse(&many), Err(PayloadError::TooLong));
        for (timestamp_offset, len) in [(OFFSET_MAX + 1, 0), (0, REDUNDANT_LEN_MAX + 1)] {
            let data = vec![0; len];
            let block = Redundant {
                payload_type: PayloadType(7),
                timestamp_offset,
                data: &data,
            };
            let red = Red {
                redundant: vec![block],
                payload_type: PayloadType(5),
                data: &[],
            };
            let mut out = Vec::new();
            assert_eq!(red.write(&mut out), Err(PayloadError::TooLong));
            assert!(out.is_empty());
        }
    }

    proptest! {
        /// Each packet repeats the two frames before: no two losses in a row lose a frame.
        #[test]
        fn frames_survive_the_loss_of_two_packets_in_three(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 3..30), kept in 0usize..3,
        ) {
            let mut received: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
            for (index, data) in frames.iter().enumerate() {
                let timestamp = index as u32 * 960;
                let before = index.saturating_sub(2)..index;
                let redundant = before.map(|older| Redundant {
                    payload_type: PayloadType(111),
                    timestamp_offset: (index - older) as u16 * 960,
                    data: &frames[older],
                });
                let red = Red { redundant: redundant.collect(), payload_type: PayloadType(111), data };
                let mut payload = Vec::new();
                red.write(&mut payload).unwrap();
                prop_assert_eq!(Red::parse(&payload), Ok(red.clone()));
                if index % 3 != kept && index + 1 != frames.len() {
                    continue;
                }
                let got = Red::parse(&payload).unwrap();
                for block in got.redundant {
                    received.insert(timestamp - u32::from(block.timestamp_offset), block.data.to_vec());
                }
                received.insert(timestamp, got.data.to_vec());
            }
            let received: Vec<Vec<u8>> = received.into_values().collect();
            prop_assert_eq!(received, frames);
        }

        #[test]
        fn arbitrary_bytes_are_read_back_or_refused(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(red) = Red::parse(&payload) {
                let mut again = Vec::new();
                red.write(&mut again).unwrap();
                prop_assert_eq!(again, payload);
            }
        }
    }
}
