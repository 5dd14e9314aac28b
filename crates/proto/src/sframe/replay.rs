//! Which counters of a key were received (RFC 9605 §9.3).

/// Counters below the highest that are remembered. Frames of several streams may share a key: the
/// slowest may be ten seconds behind at 100 frames a second.
pub(super) const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// Which counters of one key came: the highest, and those among the 1,024 up to it (RFC 9605 §9.3).
#[derive(Debug, Default)]
pub struct ReplayWindow {
    highest: Option<u64>,
    /// The bit of a counter is at its number modulo [`WINDOW`].
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether `counter` is new.
    pub fn admits(&self, counter: u64) -> bool {
        match self.highest {
            None => true,
            Some(highest) if counter > highest => true,
            Some(highest) => highest - counter < WINDOW && !self.has(counter),
        }
    }

    /// Marks an authenticated `counter`.
    pub fn mark(&mut self, counter: u64) {
        match self.highest {
            Some(highest) if counter <= highest => {}
            highest => {
                // Those between were not received, whatever stood at their places.
                let ahead = highest.map_or(WINDOW, |highest| counter - highest);
                for step in 0..ahead.min(WINDOW) {
                    let (word, bit) = place(counter - step.min(counter));
                    self.seen[word] &= !bit;
                }
                self.highest = Some(counter);
            }
        }
        let (word, bit) = place(counter);
        self.seen[word] |= bit;
    }

    fn has(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        self.seen[word] & bit != 0
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}
