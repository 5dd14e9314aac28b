//! The replay window (RFC 3711 §3.3.2).

/// Remembers which of the last 128 indices were received.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReplayWindow {
    highest: Option<u64>,
    /// Bit `i` stands for `highest - i`.
    seen: u128,
}

/// Indices below the highest that are remembered. RFC 3711 asks for 64 at least; 128 covers
/// retransmissions on the same stream within 100 ms of a 10 Mbit/s video.
const WINDOW: u64 = 128;

impl ReplayWindow {
    /// Whether `index` is new.
    #[inline]
    pub(super) fn admits(&self, index: u64) -> bool {
        match self.highest {
            None => true,
            Some(highest) if index > highest => true,
            Some(highest) => {
                let behind = highest - index;
                behind < WINDOW && self.seen & (1 << behind) == 0
            }
        }
    }

    /// Marks an authenticated `index`.
    #[inline]
    pub(super) fn mark(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if index > highest {
            let ahead = index - highest;
            self.seen = if ahead < WINDOW {
                self.seen << ahead
            } else {
                0
            };
        }
        let highest = highest.max(index);
        self.highest = Some(highest);
        let behind = highest - index;
        if behind < WINDOW {
            self.seen |= 1 << behind;
        }
    }

    #[inline]
    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }
}
