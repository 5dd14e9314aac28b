//! Which sequence numbers of a stream are taken.

use twocan_wire::seq::SeqNo16;

/// How far below the highest number a free one is still known to be free: a second of video at
/// 10 Mbit/s.
const WINDOW: u64 = 1024;

/// Numbers as counts that never wrap, each taken at most once.
#[derive(Debug)]
pub(super) struct Numbers {
    highest: Option<u64>,
    /// Bit `n % 1024` stands for the number `n` of the window.
    taken: [u64; (WINDOW / 64) as usize],
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            highest: None,
            taken: [0; (WINDOW / 64) as usize],
        }
    }

    /// Takes `number` unless it is taken already, or so old that nobody knows.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let highest = self.highest.unwrap_or(number);
        if number > highest {
            // What was there is a round of the window older.
            let fresh = (highest + 1).max(number.saturating_sub(WINDOW - 1));
            for skipped in fresh..=number {
                let (word, bit) = seat(skipped);
                self.taken[word] &= !bit;
            }
            self.highest = Some(number);
        } else if highest - number >= WINDOW {
            return false;
        }
        self.highest.get_or_insert(number);
        let (word, bit) = seat(number);
        let free = self.taken[word] & bit == 0;
        self.taken[word] |= bit;
        free
    }

    /// Takes the number after the highest.
    pub(super) fn take_next(&mut self, first: SeqNo16) -> u64 {
        let next = self.next(first);
        self.take(next);
        next
    }

    /// Takes a number of the application's choice, counted from the highest.
    pub(super) fn take_chosen(&mut self, chosen: SeqNo16) -> Option<u64> {
        let number = match self.highest {
            Some(highest) => chosen.extend(highest),
            None => start(chosen),
        };
        self.take(number).then_some(number)
    }

    pub(super) fn next(&self, first: SeqNo16) -> u64 {
        self.highest
            .map_or_else(|| start(first), |highest| highest + 1)
    }
}

/// The first number of a stream. One round up, so that numbers just below the first are no negative ones.
pub(super) fn start(first: SeqNo16) -> u64 {
    0x1_0000 + u64::from(first.0)
}

fn seat(number: u64) -> (usize, u64) {
    let index = number % WINDOW;
    ((index / 64) as usize, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_taken_once(steps in prop::collection::vec(-1500i64..1500, 1..400)) {
            let mut numbers = Numbers::new();
            let mut model = BTreeSet::new();
            let mut at = 100_000i64;
            for step in steps {
                at = (at + step).max(0);
                let number = at.cast_unsigned();
                let highest = model.last().copied();
                let too_old = highest.is_some_and(|own: u64| own >= number + WINDOW);
                let free = !too_old && model.insert(number);
                prop_assert_eq!(numbers.take(number), free);
            }
        }
    }

    #[test]
    fn chosen_numbers_wrap_and_may_come_late() {
        let mut numbers = Numbers::new();
        assert_eq!(numbers.take_chosen(SeqNo16(2)), Some(0x1_0002));
        assert_eq!(numbers.take_chosen(SeqNo16(65_535)), Some(0xffff));
        assert_eq!(numbers.take_chosen(SeqNo16(2)), None);
        assert_eq!(numbers.take_next(SeqNo16(9)), 0x1_0003);
        assert_eq!(numbers.take_chosen(SeqNo16(3)), None);
    }
}
