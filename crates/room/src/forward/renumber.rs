//! Numbers of what is passed on, without gaps where something was left out.

use std::collections::VecDeque;

/// Places where something was left out, that are remembered for what comes late.
const STEPS_MAX: usize = 128;

/// Numbers of one stream after another, joined to one.
///
/// What a source numbers goes out with the same distances, but that what is left out leaves no gap.
/// What was lost on its way does: it may come yet.
#[derive(Debug, Default)]
pub(super) struct Renumber {
    /// The number after the highest that was given.
    next: u64,
    /// From this number of the source on, so much is taken off; in order.
    steps: VecDeque<(u64, u64)>,
    /// The highest of the source so far.
    highest: u64,
}

impl Renumber {
    /// A source begins with `first`, whatever came before.
    pub(super) fn begin(&mut self, first: u64) {
        self.steps.clear();
        self.steps.push_back((first, first.wrapping_sub(self.next)));
        self.highest = first.wrapping_sub(1);
    }

    /// The number under which `number` goes out; `None` for what is before the beginning, or is
    /// older than is remembered.
    pub(super) fn take(&mut self, number: u64) -> Option<u64> {
        let mut steps = self.steps.iter().rev();
        let (_, off) = steps.find(|(from, _)| *from <= number)?;
        let out = number.wrapping_sub(*off);
        self.next = self.next.max(out + 1);
        if self.is_new(number) {
            self.highest = number;
        }
        Some(out)
    }

    /// `number` is left out. Answers whether it leaves no gap: those after one that comes late have
    /// gone.
    pub(super) fn omit(&mut self, number: u64) -> bool {
        let Some((from, off)) = self.steps.back().copied() else {
            return true;
        };
        if !self.is_new(number) {
            return false;
        }
        self.highest = number;
        let step = (number + 1, off.wrapping_add(1));
        if from == number && self.steps.len() > 1 {
            // Next to what was left out before it.
            self.steps.pop_back();
        } else if self.steps.len() >= STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
        true
    }

    fn is_new(&self, number: u64) -> bool {
        // Before the first, the highest is one below it, which may be a wrap below 0.
        number.wrapping_sub(self.highest) as i64 > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_leaves_no_gap() {
        let mut numbers = Renumber::default();
        numbers.begin(100);
        assert_eq!(numbers.take(100), Some(0));
        numbers.omit(101);
        numbers.omit(102);
        assert_eq!(numbers.take(103), Some(1));
        // 104 is on its way.
        assert_eq!(numbers.take(105), Some(3));
        assert!(numbers.omit(106));
        assert_eq!(numbers.take(107), Some(4));
        assert!(!numbers.omit(104), "it came late");
        assert_eq!(numbers.take(104), Some(2));
        assert_eq!(numbers.take(99), None);
    }

    #[test]
    fn another_source_goes_on() {
        let mut numbers = Renumber::default();
        numbers.begin(65_000);
        assert_eq!(numbers.take(65_000), Some(0));
        assert_eq!(numbers.take(65_001), Some(1));
        numbers.begin(7);
        assert_eq!(numbers.take(7), Some(2));
        assert_eq!(numbers.take(6), None);
        numbers.begin(0);
        assert_eq!(numbers.take(0), Some(3));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut numbers = Renumber::default();
        numbers.begin(0);
        for number in (0..4 * STEPS_MAX as u64).step_by(2) {
            assert_eq!(numbers.take(number), Some(number / 2));
            numbers.omit(number + 1);
        }
        assert_eq!(numbers.take(0), None);
    }

    #[test]
    fn the_first_may_be_left_out() {
        let mut numbers = Renumber::default();
        numbers.begin(10);
        numbers.omit(10);
        assert_eq!(numbers.take(11), Some(0));
        assert_eq!(numbers.take(12), Some(1));
    }
}
