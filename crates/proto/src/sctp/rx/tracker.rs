//! Which TSNs have arrived, and what a SACK says of them.

use twocan_wire::sctp::{GapBlock, ListBuf};
use twocan_wire::seq::SeqNo32;

/// How far beyond the cumulative TSN one may arrive: what a gap block can express. Later ones are
/// dropped, and the sender repeats them.
const WINDOW: u64 = u16::MAX as u64;
/// Separate runs of TSNs beyond the cumulative one. A SACK of one packet names about 280; a TSN
/// that would make one more is dropped, and the sender repeats it.
const RUNS_MAX: usize = 1024;
/// Duplicates that a SACK names; more are only not named.
const DUPLICATES_MAX: usize = 16;

/// What is known of a TSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is new and directly behind the cumulative one.
    Next(u64),
    /// It is new and there is a gap before it.
    Beyond(u64),
    /// It has arrived before.
    Duplicate,
    /// It is too far ahead to be noted.
    OutOfWindow,
}

/// The received TSNs, extended to 64 bits.
#[derive(Debug)]
pub(super) struct Tracker {
    cumulative: u64,
    /// Inclusive runs beyond the cumulative TSN, ascending, never adjacent.
    runs: Vec<(u64, u64)>,
    duplicates: Vec<SeqNo32>,
}

impl Tracker {
    pub(super) fn new(initial: u32) -> Self {
        Self {
            cumulative: (1 << 32) + u64::from(initial) - 1,
            runs: Vec::new(),
            duplicates: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn cumulative(&self) -> SeqNo32 {
        SeqNo32(self.cumulative as u32)
    }

    /// Whether everything up to the extended form of `tsn` has arrived.
    pub(super) fn has_all_up_to(&self, tsn: SeqNo32) -> bool {
        tsn.extend(self.cumulative) <= self.cumulative
    }

    #[inline]
    pub(super) fn has_gaps(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Looks a TSN up; only a duplicate is noted.
    #[inline]
    pub(super) fn look_up(&mut self, tsn: SeqNo32) -> Seen {
        let extended = tsn.extend(self.cumulative);
        if extended == self.cumulative + 1 {
            return Seen::Next(extended);
        }
        if extended > self.cumulative + WINDOW {
            return Seen::OutOfWindow;
        }
        let index = self.runs.partition_point(|(_, end)| *end < extended);
        let is_in_run = self
            .runs
            .get(index)
            .is_some_and(|(start, _)| *start <= extended);
        if extended <= self.cumulative || is_in_run {
            if self.duplicates.len() < DUPLICATES_MAX {
                self.duplicates.push(tsn);
            }
            return Seen::Duplicate;
        }
        let touches_before = index
            .checked_sub(1)
            .and_then(|before| self.runs.get(before))
            .is_some_and(|(_, end)| end + 1 == extended);
        let touches_after = self
            .runs
            .get(index)
            .is_some_and(|(start, _)| *start == extended + 1);
        if self.runs.len() >= RUNS_MAX && !touches_before && !touches_after {
            return Seen::OutOfWindow;
        }
        Seen::Beyond(extended)
    }

    /// Notes a TSN that [`Self::look_up`] called new.
    #[inline]
    pub(super) fn note(&mut self, tsn: u64) {
        if tsn == self.cumulative + 1 {
            self.cumulative = tsn;
            self.absorb();
            return;
        }
        let index = self.runs.partition_point(|(_, end)| end + 1 < tsn);
        match self.runs.get_mut(index) {
            Some((_, end)) if *end + 1 == tsn => {
                *end = tsn;
                let joined = self
                    .runs
                    .get(index + 1)
                    .filter(|(start, _)| *start == tsn + 1)
                    .map(|(_, end)| *end);
                if let (Some(joined), Some((_, end))) = (joined, self.runs.get_mut(index)) {
                    *end = joined;
                    self.runs.remove(index + 1);
                }
            }
            Some((start, _)) if *start == tsn + 1 => *start = tsn,
            Some(_) | None => self.runs.insert(index, (tsn, tsn)),
        }
    }

    /// Counts everything up to `tsn` as received; answers the extended TSN if that is new.
    pub(super) fn skip_to(&mut self, tsn: SeqNo32) -> Option<u64> {
        let extended = tsn.extend(self.cumulative);
        if extended <= self.cumulative {
            return None;
        }
        self.cumulative = extended;
        self.absorb();
        Some(extended)
    }

    /// Gap blocks, as many as fit `len_max`.
    pub(super) fn gap_blocks(&self, len_max: usize) -> ListBuf<GapBlock> {
        let offset = |tsn: u64| u16::try_from(tsn - self.cumulative).unwrap_or(u16::MAX);
        self.runs
            .iter()
            .take(len_max)
            .map(|(start, end)| GapBlock {
                start: offset(*start),
                end: offset(*end),
            })
            .collect()
    }

    /// Number of gap blocks that there would be.
    pub(super) fn gap_count(&self) -> usize {
        self.runs.len()
    }

    /// The duplicates since the last call.
    pub(super) fn take_duplicates(&mut self) -> ListBuf<SeqNo32> {
        self.duplicates.drain(..).collect()
    }

    pub(super) fn has_duplicates(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// Moves the cumulative TSN over the runs that it reaches.
    #[inline]
    fn absorb(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        let reached = self
            .runs
            .iter()
            .take_while(|(start, _)| *start <= self.cumulative + 1)
            .count();
        // Only the first can reach further, but a skip can pass over many.
        for (_, end) in self.runs.drain(..reached) {
            self.cumulative = self.cumulative.max(end);
        }
        if reached > 0 {
            self.absorb_adjacent();
        }
    }

    fn absorb_adjacent(&mut self) {
        while let Some((start, end)) = self.runs.first().copied() {
            if start > self.cumulative + 1 {
                return;
            }
            self.cumulative = self.cumulative.max(end);
            self.runs.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_in_any_order_across_the_wrap(
            initial: u32, offsets in prop::collection::vec(0u32..60, 0..120), skips: u8,
        ) {
            let mut tracker = Tracker::new(initial);
            let mut model = BTreeSet::new();
            for (step, offset) in offsets.into_iter().enumerate() {
                if step == usize::from(skips) {
                    tracker.skip_to(SeqNo32(initial.wrapping_add(offset)));
                    model.extend(0..=offset);
                }
                let tsn = SeqNo32(initial.wrapping_add(offset));
                match tracker.look_up(tsn) {
                    Seen::Next(extended) | Seen::Beyond(extended) => {
                        prop_assert!(model.insert(offset));
                        tracker.note(extended);
                    }
                    Seen::Duplicate => prop_assert!(model.contains(&offset)),
                    Seen::OutOfWindow => prop_assert!(false, "all are near"),
                }
                let expected = (0..).find(|offset| !model.contains(offset)).unwrap();
                prop_assert_eq!(
                    tracker.cumulative().0, initial.wrapping_add(expected).wrapping_sub(1)
                );
                let blocks = tracker.gap_blocks(1000);
                let covered: usize = blocks
                    .as_list()
                    .iter()
                    .map(|block| usize::from(block.end - block.start) + 1)
                    .sum();
                prop_assert_eq!(covered, model.iter().filter(|o| **o >= expected).count());
            }
        }
    }

    #[test]
    fn a_tsn_beyond_what_a_gap_block_can_say_is_not_noted() {
        let mut tracker = Tracker::new(10);
        assert_eq!(tracker.look_up(SeqNo32(9 + 65_536)), Seen::OutOfWindow);
        assert!(matches!(
            tracker.look_up(SeqNo32(9 + 65_535)),
            Seen::Beyond(_)
        ));
    }

    #[test]
    fn runs_have_a_bound_and_filling_gaps_still_works_at_it() {
        let mut tracker = Tracker::new(0);
        for tsn in (1..).step_by(2).take(RUNS_MAX) {
            let Seen::Beyond(extended) = tracker.look_up(SeqNo32(tsn)) else {
                panic!("below the bound");
            };
            tracker.note(extended);
        }
        let beyond = SeqNo32(2 * RUNS_MAX as u32 + 1);
        assert_eq!(tracker.look_up(beyond), Seen::OutOfWindow);
        assert!(matches!(tracker.look_up(SeqNo32(0)), Seen::Next(_)));
        assert!(matches!(tracker.look_up(SeqNo32(2)), Seen::Beyond(_)));
    }
}
