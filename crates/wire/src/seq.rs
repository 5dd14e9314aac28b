//! Numbers that wrap: RTP sequence numbers and SCTP's TSN, SSN, MID and request numbers.
//!
//! Serial number arithmetic (RFC 1982) lives here and nowhere else.

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $signed:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number `count` steps on, wrapping.
            #[inline]
            #[must_use]
            pub const fn add(self, count: $inner) -> Self {
                Self(self.0.wrapping_add(count))
            }

            /// The number `count` steps back, wrapping.
            #[inline]
            #[must_use]
            pub const fn sub(self, count: $inner) -> Self {
                Self(self.0.wrapping_sub(count))
            }

            /// The next number.
            #[inline]
            #[must_use]
            pub const fn next(self) -> Self {
                self.add(1)
            }

            /// Signed steps from `other` to `self` along the shorter way round.
            #[inline]
            #[must_use]
            pub const fn since(self, other: Self) -> $signed {
                self.0.wrapping_sub(other.0) as $signed
            }

            /// Whether `self` comes after `other` (RFC 1982 §3.2).
            #[inline]
            #[must_use]
            pub const fn is_after(self, other: Self) -> bool {
                self.since(other) > 0
            }

            /// The count that never wraps whose low bits are `self`, nearest to `near`.
            #[inline]
            #[must_use]
            pub const fn extend(self, near: u64) -> u64 {
                near.wrapping_add_signed(self.since(Self(near as $inner)) as i64)
            }

            /// Whether `self` is `other` or comes after it.
            #[inline]
            #[must_use]
            pub const fn is_at_or_after(self, other: Self) -> bool {
                self.since(other) >= 0
            }
        }
    };
}

serial! {
    /// A 16-bit sequence number: RTP (RFC 3550 §5.1), SCTP stream sequence (RFC 9260 §3.3.1).
    SeqNo16, u16, i16
}
serial! {
    /// A 32-bit sequence number: SCTP TSN, MID, FSN, re-configuration requests.
    SeqNo32, u32, i32
}

/// Turns wrapping 16-bit sequence numbers into a count that never wraps.
///
/// ```
/// use twocan_wire::seq::{SeqNo16, Unwrapper16};
/// let mut unwrapper = Unwrapper16::default();
/// assert_eq!(unwrapper.unwrap(SeqNo16(65535)), 65535);
/// assert_eq!(unwrapper.unwrap(SeqNo16(0)), 65536);
/// assert_eq!(unwrapper.unwrap(SeqNo16(65534)), 65534);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwrapper16 {
    highest: Option<u64>,
}

impl Unwrapper16 {
    /// The extended number nearest to the highest one seen; advances when it is higher.
    #[inline]
    pub fn unwrap(&mut self, seq: SeqNo16) -> u64 {
        let extended = self.peek(seq);
        self.highest = Some(
            self.highest
                .map_or(extended, |highest| highest.max(extended)),
        );
        extended
    }

    /// As [`Self::unwrap`], but remembers nothing: for packets not yet authenticated.
    #[inline]
    #[must_use]
    pub fn peek(&self, seq: SeqNo16) -> u64 {
        let Some(highest) = self.highest else {
            return u64::from(seq.0);
        };
        let low = SeqNo16((highest & 0xffff) as u16);
        let extended = highest.wrapping_add_signed(i64::from(seq.since(low)));
        // A step below zero can only be a number from before the first: count it in the first round.
        if extended > highest.wrapping_add(0x1_0000) {
            u64::from(seq.0)
        } else {
            extended
        }
    }

    /// The highest extended number so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        assert!(SeqNo16(0).is_after(SeqNo16(65535)));
        assert!(!SeqNo16(65535).is_after(SeqNo16(0)));
        assert_eq!(SeqNo32(3).since(SeqNo32(u32::MAX)), 4);
        assert_eq!(SeqNo32(u32::MAX).since(SeqNo32(3)), -4);
    }

    #[test]
    fn extending_finds_the_nearest_count() {
        assert_eq!(SeqNo32(3).extend(0x1_ffff_fff0), 0x2_0000_0003);
        assert_eq!(SeqNo32(0xffff_fff0).extend(0x2_0000_0003), 0x1_ffff_fff0);
        assert_eq!(SeqNo16(1).extend(0x3_ffff), 0x4_0001);
    }

    #[test]
    fn unwrapping_survives_reordering_at_the_wrap() {
        let mut unwrapper = Unwrapper16::default();
        let got: Vec<u64> = [65533, 65535, 1, 65534, 0, 2]
            .map(|seq| unwrapper.unwrap(SeqNo16(seq)))
            .to_vec();
        assert_eq!(got, [65533, 65535, 65537, 65534, 65536, 65538]);
    }
}
