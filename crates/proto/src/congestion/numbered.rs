//! Which packet has which transport-wide number, in little space: the numbers of a transport follow each
//! other, and so do its packets.

use std::collections::VecDeque;

/// Packets and their numbers, both without gaps.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The first unwrapped transport-wide number.
    number: u64,
    /// The packet that has it.
    packet: u64,
    /// How many follow each other; never 0.
    len: u64,
}

/// Unwrapped transport-wide numbers, ascending, each with its packet.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    runs: VecDeque<Run>,
}

impl Numbered {
    /// The highest number.
    pub(super) fn newest(&self) -> Option<u64> {
        self.runs.back().map(|run| run.number + (run.len - 1))
    }

    /// Adds a number higher than all that are there.
    pub(super) fn push(&mut self, number: u64, packet: u64) {
        match self.runs.back_mut() {
            Some(run) if (run.number + run.len, run.packet + run.len) == (number, packet) => {
                run.len += 1;
            }
            _ => self.runs.push_back(Run {
                number,
                packet,
                len: 1,
            }),
        }
    }

    /// Forgets the lowest number.
    pub(super) fn pop(&mut self) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        run.number += 1;
        run.packet += 1;
        run.len -= 1;
        if run.len == 0 {
            self.runs.pop_front();
        }
    }

    /// The packet of a number.
    pub(super) fn packet(&self, number: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.number <= number);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let offset = number - run.number;
        (offset < run.len).then(|| run.packet + offset)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn what_follows_takes_one_entry() {
        let mut numbered = Numbered::default();
        for packet in 0..10_000 {
            numbered.push(packet + 7, packet);
        }
        assert_eq!(numbered.runs.len(), 1);
        assert_eq!(numbered.packet(6), None);
        assert_eq!(numbered.packet(7), Some(0));
        assert_eq!(numbered.packet(10_006), Some(9999));
        assert_eq!(numbered.packet(10_007), None);
    }

    #[test]
    fn it_knows_what_a_map_knows() {
        let mut random = Random::new([3; 32]);
        let (mut numbered, mut map) = (Numbered::default(), BTreeMap::new());
        let (mut number, mut packet) = (0, 0);
        for _ in 0..20_000 {
            if random.below(20) < 9 && !map.is_empty() {
                numbered.pop();
                map.pop_first();
            } else {
                // Gaps in the one, in the other, or in both.
                number += 1 + u64::from(random.below(10) / 9);
                packet += 1 + u64::from(random.below(10) / 9);
                numbered.push(number, packet);
                map.insert(number, packet);
            }
            let asked = number.saturating_sub(u64::from(random.below(300)));
            assert_eq!(numbered.packet(asked), map.get(&asked).copied(), "{asked}");
            assert_eq!(numbered.newest(), map.last_key_value().map(|(key, _)| *key));
            assert_eq!(numbered.len(), map.len() as u64);
        }
    }
}
