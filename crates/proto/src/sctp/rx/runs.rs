//! Fragments on their way to become messages.
//!
//! Fragments that follow each other are kept as one run, so that a message which arrives in order
//! is written once into one buffer, and any other is put together from few pieces.

use std::collections::{BTreeMap, VecDeque};

use twocan_wire::sctp::Ppid;

/// What a run costs beside its bytes: the map entry and the allocations.
pub(super) const OVERHEAD: usize = 64;

/// Which message a fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) stream: u16,
    pub(super) is_unordered: bool,
    /// Stream sequence number or message identifier.
    pub(super) number: u32,
}

/// One fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    /// Place among the fragments: TSN or fragment number.
    pub(super) key: u64,
    pub(super) label: Label,
    /// Meaningful in the first fragment.
    pub(super) ppid: Ppid,
    pub(super) is_begin: bool,
    pub(super) is_end: bool,
    pub(super) payload: &'a [u8],
}

/// A message with all its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assembled {
    pub(super) label: Label,
    pub(super) ppid: Ppid,
    pub(super) payload: Vec<u8>,
}

/// What came of a fragment.
#[derive(Debug)]
pub(super) enum Joined {
    /// The message has gaps.
    Incomplete,
    /// The message is complete.
    Complete(Assembled),
    /// The message is longer than allowed.
    TooLarge,
}

#[derive(Debug)]
struct Run {
    /// Key behind the last fragment.
    next: u64,
    label: Label,
    ppid: Ppid,
    is_begin: bool,
    is_end: bool,
    pieces: VecDeque<Vec<u8>>,
    len: usize,
}

/// Runs by the key of their first fragment.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: BTreeMap<u64, Run>,
}

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a fragment that is not there yet. `len_hint` is what its message may come to.
    pub(super) fn insert(
        &mut self,
        fragment: &Fragment<'_>,
        len_max: usize,
        len_hint: usize,
        held: &mut usize,
    ) -> Joined {
        let key = fragment.key;
        let before = self
            .runs
            .range_mut(..key)
            .next_back()
            .filter(|(_, run)| run.next == key && !run.is_end && !fragment.is_begin)
            .filter(|(_, run)| run.label == fragment.label);
        let start = match before {
            Some((start, run)) => {
                run.append(fragment);
                *start
            }
            None => {
                // Space ahead only for one message at a time: a peer could begin many.
                let hint = if self.runs.is_empty() && fragment.is_begin {
                    len_hint
                } else {
                    0
                };
                *held += OVERHEAD;
                if let Some(replaced) = self.runs.insert(key, Run::new(fragment, hint)) {
                    // Only I-DATA with a fragment number used twice comes here.
                    *held = held.saturating_sub(replaced.len + OVERHEAD);
                }
                key
            }
        };
        *held += fragment.payload.len();
        let Some(next) = self
            .runs
            .get(&start)
            .filter(|run| !run.is_end)
            .map(|run| run.next)
        else {
            return self.finish(start, len_max, held);
        };
        let is_adjacent = self
            .runs
            .get(&next)
            .is_some_and(|after| !after.is_begin && after.label == fragment.label);
        if is_adjacent
            && let Some(after) = self.runs.remove(&next)
            && let Some(run) = self.runs.get_mut(&start)
        {
            run.absorb(after);
            *held = held.saturating_sub(OVERHEAD);
        }
        self.finish(start, len_max, held)
    }

    /// Drops the runs that start at or before `key`.
    pub(super) fn drop_up_to(&mut self, key: u64, held: &mut usize) {
        while let Some(entry) = self.runs.first_entry() {
            if *entry.key() > key {
                return;
            }
            *held = held.saturating_sub(entry.remove().len + OVERHEAD);
        }
    }

    fn finish(&mut self, start: u64, len_max: usize, held: &mut usize) -> Joined {
        let Some(run) = self.runs.get(&start) else {
            return Joined::Incomplete;
        };
        if run.len > len_max {
            return Joined::TooLarge;
        }
        if !(run.is_begin && run.is_end) {
            return Joined::Incomplete;
        }
        let Some(run) = self.runs.remove(&start) else {
            return Joined::Incomplete;
        };
        *held = held.saturating_sub(run.len + OVERHEAD);
        Joined::Complete(Assembled {
            label: run.label,
            ppid: run.ppid,
            payload: run.into_payload(),
        })
    }
}

impl Run {
    fn new(fragment: &Fragment<'_>, hint: usize) -> Self {
        let mut piece = Vec::with_capacity(hint.max(fragment.payload.len()));
        piece.extend_from_slice(fragment.payload);
        Self {
            next: fragment.key + 1,
            label: fragment.label,
            ppid: fragment.ppid,
            is_begin: fragment.is_begin,
            is_end: fragment.is_end,
            pieces: VecDeque::from([piece]),
            len: fragment.payload.len(),
        }
    }

    #[inline]
    fn append(&mut self, fragment: &Fragment<'_>) {
        match self.pieces.back_mut() {
            Some(piece) => piece.extend_from_slice(fragment.payload),
            None => self.pieces.push_back(fragment.payload.to_vec()),
        }
        self.len += fragment.payload.len();
        self.next = fragment.key + 1;
        self.is_end = fragment.is_end;
    }

    /// Takes the fragments of the run that follows; moves the fewer pieces.
    fn absorb(&mut self, mut after: Self) {
        if self.pieces.len() >= after.pieces.len() {
            self.pieces.append(&mut after.pieces);
        } else {
            while let Some(piece) = self.pieces.pop_back() {
                after.pieces.push_front(piece);
            }
            self.pieces = after.pieces;
        }
        self.len += after.len;
        self.next = after.next;
        self.is_end = after.is_end;
    }

    fn into_payload(mut self) -> Vec<u8> {
        if self.pieces.len() == 1
            && let Some(mut piece) = self.pieces.pop_front()
        {
            // The space ahead may have been for a longer one, and nobody counts it.
            if piece.capacity() > 2 * piece.len() {
                piece.shrink_to_fit();
            }
            return piece;
        }
        let mut payload = Vec::with_capacity(self.len);
        for piece in &self.pieces {
            payload.extend_from_slice(piece);
        }
        payload
    }
}
