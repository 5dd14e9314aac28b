//! Telephone events: the keys of a telephone (RFC 4733).
//!
//! ```text
//! |     event     |E|R| volume    |          duration             |
//! ```
//!
//! An event is sent again and again with the same timestamp, that of its beginning, and a growing
//! duration; the packet with which it ends is sent three times (§2.5.1.4).

use super::PayloadError;
use crate::reader::Reader;

/// Most events in a payload of 1200 bytes; RFC 4733 §2.5.1.5 puts as many into a packet as ended in
/// its time, which are few.
const EVENTS_MAX: usize = 300;

/// The keys by their numbers.
const KEYS: &str = "0123456789*#ABCD";

/// What is known of one event when its packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Which: 0 to 9 for the digits, 10 for `*`, 11 for `#`, 12 to 15 for A to D (§3.2).
    pub event: u8,
    /// Whether it is over.
    pub end: bool,
    /// How loud a tone is, 0 to 63 for 0 to -63 dBm0; written with 6 bits.
    pub volume: u8,
    /// How long it has lasted so far, in ticks of the RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads the events of a payload, in the order of their beginning.
    ///
    /// # Errors
    /// [`PayloadError::Empty`], [`PayloadError::TooShort`] for a part of an event, and
    /// [`PayloadError::TooLong`] for more than 300 of them.
    pub fn parse(payload: &[u8]) -> Result<Vec<Self>, PayloadError> {
        let mut reader = Reader::new(payload);
        let mut events = Vec::new();
        while !reader.is_empty() {
            if events.len() == EVENTS_MAX {
                return Err(PayloadError::TooLong);
            }
            let event = reader.u8()?;
            let flags = reader.u8()?;
            events.push(Self {
                event,
                end: flags & 0x80 != 0,
                volume: flags & 0x3f,
                duration: reader.u16()?,
            });
        }
        if events.is_empty() {
            return Err(PayloadError::Empty);
        }
        Ok(events)
    }

    /// Appends the event to a payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        let end = if self.end { 0x80 } else { 0 };
        out.extend([self.event, end | (self.volume & 0x3f)]);
        out.extend(self.duration.to_be_bytes());
    }

    /// The key that it is: a digit, `*`, `#`, or a letter from A to D; `None` for any other event.
    pub fn key(&self) -> Option<char> {
        KEYS.chars().nth(usize::from(self.event))
    }

    /// The event of a key: a digit, `*`, `#`, or a letter from A to D.
    pub fn event_of_key(key: char) -> Option<u8> {
        let index = KEYS.find(key.to_ascii_uppercase())?;
        u8::try_from(index).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4733 §5, the example of the digit 9: volume 7, lasting 200 ms at 8 kHz.
    #[test]
    fn the_example_of_the_rfc_is_read() {
        let payload = [9, 0x80 | 7, 0x06, 0x40];
        let event = TelephoneEvent {
            event: 9,
            end: true,
            volume: 7,
            duration: 1600,
        };
        assert_eq!(TelephoneEvent::parse(&payload), Ok(vec![event]));
        // The reserved bit is ignored.
        let reserved = [9, 0xc0 | 7, 0x06, 0x40];
        assert_eq!(TelephoneEvent::parse(&reserved), Ok(vec![event]));
    }

    #[test]
    fn keys_have_the_numbers_of_the_registry() {
        let numbers = ['0', '9', '*', '#', 'a', 'D', 'x'].map(TelephoneEvent::event_of_key);
        let expected = [0, 9, 10, 11, 12, 15].map(Some);
        assert_eq!((&numbers[..6], numbers[6]), (&expected[..], None));
        let key = |event| {
            let event = TelephoneEvent {
                event,
                end: false,
                volume: 0,
                duration: 0,
            };
            event.key()
        };
        for number in 0..16 {
            let back = key(number).and_then(TelephoneEvent::event_of_key);
            assert_eq!(back, Some(number));
        }
        // A flash of the hook is no key.
        assert_eq!(key(16), None);
    }

    #[test]
    fn parts_of_events_are_refused() {
        assert_eq!(TelephoneEvent::parse(&[]), Err(PayloadError::Empty));
        let torn = TelephoneEvent::parse(&[9, 0, 0, 1, 9]);
        assert_eq!(torn, Err(PayloadError::TooShort));
        let many = TelephoneEvent::parse(&[0; 1204]);
        assert_eq!(many, Err(PayloadError::TooLong));
    }

    proptest! {
        #[test]
        fn events_are_read_back(fields in prop::collection::vec((any::<u8>(), any::<bool>(), 0u8..64, any::<u16>()), 1..300)) {
            let events: Vec<_> = fields.into_iter().map(|(event, end, volume, duration)| TelephoneEvent {
                event, end, volume, duration,
            }).collect();
            let mut payload = Vec::new();
            events.iter().for_each(|event| event.write(&mut payload));
            prop_assert_eq!(TelephoneEvent::parse(&payload), Ok(events));
        }
    }
}
