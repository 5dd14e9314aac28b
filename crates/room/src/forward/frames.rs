//! What was decided of the newest frames of a stream, by the numbers of the dependency descriptor.

/// Frames that are remembered.
pub(super) const REMEMBERED: u16 = 256;

/// What was decided of the newest frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    newest: Option<u16>,
    /// A bit for each, by number: whether it was decided, and whether it went out.
    decided: [u64; 4],
    sent: [u64; 4],
}

impl Frames {
    fn seat(number: u16) -> (usize, u64) {
        let place = number % REMEMBERED;
        (usize::from(place / 64), 1 << (place % 64))
    }

    pub(super) fn is_newer(&self, number: u16) -> bool {
        let since = |newest: u16| number.wrapping_sub(newest) as i16 > 0;
        self.newest.is_none_or(since)
    }

    /// Whether a frame went out; `None` of one that has not come, or is too old.
    pub(super) fn was_sent(&self, number: u16) -> Option<bool> {
        let newest = self.newest?;
        if newest.wrapping_sub(number) >= REMEMBERED {
            return None;
        }
        let (word, bit) = Self::seat(number);
        let has = |own: &[u64; 4]| own.get(word).is_some_and(|own| own & bit != 0);
        has(&self.decided).then(|| has(&self.sent))
    }

    pub(super) fn note(&mut self, number: u16, is_sent: bool) {
        match self.newest {
            Some(newest) if self.is_newer(number) => {
                let skipped = number.wrapping_sub(newest);
                for own in 1..=skipped.min(REMEMBERED) {
                    self.set(newest.wrapping_add(own), false, false);
                }
                self.newest = Some(number);
            }
            Some(newest) if newest.wrapping_sub(number) >= REMEMBERED => return,
            Some(_) => {}
            None => self.newest = Some(number),
        }
        self.set(number, true, is_sent);
    }

    fn set(&mut self, number: u16, is_decided: bool, is_sent: bool) {
        let (word, bit) = Self::seat(number);
        for (own, value) in [(&mut self.decided, is_decided), (&mut self.sent, is_sent)] {
            if let Some(own) = own.get_mut(word) {
                *own = if value { *own | bit } else { *own & !bit };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_forgotten_in_their_order() {
        let mut frames = Frames::default();
        for number in (65_000..=u16::MAX).chain(0..1000) {
            assert_eq!(frames.was_sent(number), None);
            frames.note(number, number % 3 == 0);
        }
        assert_eq!(frames.was_sent(999), Some(true));
        assert_eq!(frames.was_sent(998), Some(false));
        assert_eq!(frames.was_sent(999 - REMEMBERED), None);
        frames.note(5_000, true);
        assert_eq!(frames.was_sent(999), None);
        assert_eq!(frames.was_sent(4_900), None);
        frames.note(4_900, true);
        assert_eq!(frames.was_sent(4_900), Some(true));
        frames.note(1, true);
        assert_eq!(frames.was_sent(1), None);
    }
}
