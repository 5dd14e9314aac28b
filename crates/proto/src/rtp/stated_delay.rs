//! Between which delays a receiver is to play, as the packets of a stream state it (the header
//! extension `playout-delay`), and how long they go on stating it.

use twocan_wire::rtp::PlayoutDelay;
use twocan_wire::seq::SeqNo16;

/// Anything a receiver finds right, for one that was told otherwise.
const ANY: PlayoutDelay = PlayoutDelay {
    min: 0,
    max: PlayoutDelay::MAX,
};

/// What a stream states.
#[derive(Debug, Default)]
pub(super) struct StatedDelay {
    bounds: Option<PlayoutDelay>,
    /// The number of the first packet that stated them.
    from: Option<u64>,
    known: bool,
}

impl StatedDelay {
    /// What is stated from here on. What was stated before must be taken back in words: a receiver
    /// keeps to it until it hears something else.
    pub(super) fn set(&mut self, bounds: Option<PlayoutDelay>) {
        let bounds = bounds.or(self.bounds.map(|_| ANY));
        if self.bounds != bounds {
            self.bounds = bounds;
            self.say_again();
        }
    }

    /// There is a new agreement: nobody need know any more.
    pub(super) fn say_again(&mut self) {
        self.from = None;
        self.known = false;
    }

    /// What the packet of that number states: each does until the other side has reported on one of
    /// them, and later those that begin a key frame, for whoever joins then.
    pub(super) fn value(
        &mut self,
        number: u64,
        begins_key_frame: impl FnOnce() -> bool,
    ) -> Option<PlayoutDelay> {
        let bounds = self.bounds?;
        if self.known && !begins_key_frame() {
            return None;
        }
        self.from.get_or_insert(number);
        Some(bounds)
    }

    /// The other side reports on packets up to a number near `newest`.
    pub(super) fn handle_report(&mut self, highest: SeqNo16, newest: u64) {
        let heard = self.from.is_some_and(|from| highest.extend(newest) >= from);
        self.known |= heard;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: PlayoutDelay = PlayoutDelay { min: 0, max: 0 };

    #[test]
    fn bounds_are_stated_until_they_are_known_and_with_key_frames() {
        let mut stated = StatedDelay::default();
        assert_eq!(stated.value(65_600, || true), None);
        stated.set(Some(AT_ONCE));
        assert_eq!(stated.value(65_601, || false), Some(AT_ONCE));
        // The report is on a packet before.
        stated.handle_report(SeqNo16(64), 65_601);
        assert_eq!(stated.value(65_602, || false), Some(AT_ONCE));
        stated.handle_report(SeqNo16(65), 65_602);
        assert_eq!(stated.value(65_603, || false), None);
        assert_eq!(stated.value(65_604, || true), Some(AT_ONCE));
        // The same once more is no news; another agreement is.
        stated.set(Some(AT_ONCE));
        assert_eq!(stated.value(65_605, || false), None);
        stated.say_again();
        assert_eq!(stated.value(65_606, || false), Some(AT_ONCE));
    }

    #[test]
    fn bounds_are_taken_back_by_wide_ones() {
        let mut stated = StatedDelay::default();
        stated.set(Some(AT_ONCE));
        stated.set(None);
        assert_eq!(stated.value(65_601, || false), Some(ANY));
        let mut never = StatedDelay::default();
        never.set(None);
        assert_eq!(never.value(65_601, || true), None);
    }
}
