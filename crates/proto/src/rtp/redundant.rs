//! Sound that carries the frames before it along (RED, RFC 2198), in both directions.
//!
//! Out: each frame goes with none, one or two of those before it, by the loss that the receiver
//! reports. In: a frame that is missing is taken from the packet that repeats it. RED gives older
//! frames a time and no number; here each gets the number that it must have had, by its place among
//! the packets that arrived, or is left out where that cannot be told.

use std::collections::{BTreeMap, VecDeque};

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::red::{OFFSET_MAX, REDUNDANT_LEN_MAX, Red, Redundant};
use twocan_wire::seq::SeqNo32;

/// From this loss on a frame is sent twice: below, what is lost is concealed unheard.
const LOSS_TWICE: f64 = 0.01;

/// From this loss on a frame is sent three times: sent twice, one in 400 would still be lost.
const LOSS_THRICE: f64 = 0.05;

/// Older frames in one packet that we send.
const LEVELS_MAX: usize = 2;

/// The longest RED payload that we send, in bytes, as of any payload.
const PAYLOAD_LEN_MAX: usize = super::PAYLOAD_LEN_MAX;

/// Arrived packets that are remembered, with which older frames are compared: more than a payload
/// can reach back by its 341 ms, at 10 ms a packet.
pub(super) const SEEN_MAX: usize = 64;

#[derive(Debug)]
struct Sent {
    payload_type: PayloadType,
    timestamp: u32,
    data: Vec<u8>,
}

/// The frames that went before.
#[derive(Debug, Default)]
pub(super) struct RedSender {
    sent: VecDeque<Sent>,
}

impl RedSender {
    /// Writes a frame with the older ones that a loss of so much asks for. Answers how many bytes
    /// are repeated; `None`, with nothing written, where the frame is better sent alone.
    pub(super) fn write(
        &mut self,
        loss: f64,
        (payload_type, timestamp, data): (PayloadType, u32, &[u8]),
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let levels = match loss {
            loss if loss >= LOSS_THRICE => 2,
            loss if loss >= LOSS_TWICE => 1,
            _ => 0,
        };
        let written = self.write_with(levels, (payload_type, timestamp, data), out);
        while self.sent.len() >= LEVELS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            payload_type,
            timestamp,
            data: data.to_vec(),
        });
        written
    }

    /// The same, and nothing is kept while no loss asks for it: of many who get the same sound, few
    /// lose any.
    pub(super) fn write_if_lossy(
        &mut self,
        loss: f64,
        newest: (PayloadType, u32, &[u8]),
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        if loss < LOSS_TWICE {
            self.sent.clear();
            return None;
        }
        self.write(loss, newest, out)
    }

    fn write_with(
        &self,
        levels: usize,
        (payload_type, timestamp, data): (PayloadType, u32, &[u8]),
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let mut redundant = VecDeque::new();
        let mut len = 1 + data.len();
        let mut repeated = 0;
        for sent in self.sent.iter().rev().take(levels) {
            let offset = timestamp.wrapping_sub(sent.timestamp);
            let offset = u16::try_from(offset).ok();
            let offset = offset.filter(|offset| (1..=OFFSET_MAX).contains(offset));
            len += 4 + sent.data.len();
            // What is further back is no nearer, and no shorter a way to the same end.
            let (Some(timestamp_offset), true, true) = (
                offset,
                sent.data.len() <= REDUNDANT_LEN_MAX,
                len <= PAYLOAD_LEN_MAX,
            ) else {
                break;
            };
            repeated += 4 + sent.data.len();
            redundant.push_front(Redundant {
                payload_type: sent.payload_type,
                timestamp_offset,
                data: &sent.data,
            });
        }
        if redundant.is_empty() {
            return None;
        }
        let red = Red {
            redundant: redundant.into(),
            payload_type,
            data,
        };
        red.write(out).ok().map(|()| repeated)
    }
}

/// Where an older frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It was missing.
    Missing(u64),
    /// It arrived.
    Known,
    /// It cannot be told.
    Unknown,
}

/// The packets of sound that arrived last: their numbers and times.
#[derive(Debug, Default)]
pub(super) struct RedReceiver {
    seen: BTreeMap<u64, SeqNo32>,
}

impl RedReceiver {
    /// Notes a packet that arrived, or a frame that was put in its place.
    pub(super) fn note(&mut self, number: u64, timestamp: u32) {
        self.seen.insert(number, SeqNo32(timestamp));
        while self.seen.len() > SEEN_MAX {
            self.seen.pop_first();
        }
    }

    /// The place of a frame of that time, which is the `back`th before that of packet `number`.
    pub(super) fn place(&self, number: u64, back: usize, timestamp: u32) -> Place {
        let time = SeqNo32(timestamp);
        if self.seen.values().any(|own| *own == time) {
            return Place::Known;
        }
        // Its neighbours by time, among the packets up to the one that repeats it.
        let mut before = None;
        let mut after = None;
        for (seen, own) in self.seen.range(..=number).rev() {
            if time.is_after(*own) {
                before = Some((*seen, *own));
                break;
            }
            after = Some((*seen, *own));
        }
        // What is older than all that arrived was missed before we listened.
        let (Some(before), Some(after)) = (before, after) else {
            return Place::Unknown;
        };
        let between = before.0 + 1..after.0;
        // Senders repeat the packets just before; else only a single gap tells the number.
        let usual = number.checked_sub(back as u64);
        let usual = usual.filter(|usual| between.contains(usual));
        let single = (after.0 - before.0 == 2).then_some(before.0 + 1);
        match self.without_pause(before, after, time).or(usual).or(single) {
            Some(number) => Place::Missing(number),
            None => Place::Unknown,
        }
    }

    /// The number of what was sent at a time between two packets, where there was no pause between
    /// them. Who passes on what another sends repeats the last that it had, and that may not be the one
    /// just before, which it had not.
    fn without_pause(
        &self,
        (before, before_time): (u64, SeqNo32),
        (after, after_time): (u64, SeqNo32),
        time: SeqNo32,
    ) -> Option<u64> {
        let pairs = self.seen.iter().zip(self.seen.iter().skip(1));
        let next = pairs.filter(|((number, _), (next, _))| **next == **number + 1);
        let steps = next.map(|((_, own), (_, next))| next.since(*own));
        let step = i64::from(steps.filter(|step| *step > 0).min()?);
        let count = i64::try_from(after - before).ok()?;
        let is_even = i64::from(after_time.since(before_time)) == step * count;
        let since = i64::from(time.since(before_time));
        let place = (is_even && since % step == 0).then_some(since / step)?;
        (1..count)
            .contains(&place)
            .then(|| before + place.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPUS: PayloadType = PayloadType(111);

    fn write(sender: &mut RedSender, loss: f64, index: u32) -> Option<Vec<u8>> {
        let data = vec![index as u8; 60];
        let mut out = Vec::new();
        sender.write(loss, (OPUS, index.wrapping_mul(960), &data), &mut out)?;
        Some(out)
    }

    #[test]
    fn frames_are_repeated_as_often_as_the_loss_asks() {
        let mut sender = RedSender::default();
        let counts = [
            (0.0, 0),
            (0.005, 0),
            (0.02, 1),
            (0.1, 2),
            (0.4, 2),
            (0.0, 0),
        ];
        for (index, (loss, expected)) in (10..).zip(counts) {
            let count = write(&mut sender, loss, index)
                .map(|payload| Red::parse(&payload).unwrap().redundant.len());
            assert_eq!(count.unwrap_or(0), expected, "{loss}");
        }
    }

    #[test]
    fn what_a_block_cannot_say_is_sent_alone() {
        // A pause longer than 14 bits of ticks, and frames that are too long together.
        let mut sender = RedSender::default();
        write(&mut sender, 0.1, 1);
        assert_eq!(write(&mut sender, 0.1, 30), None);
        let mut out = Vec::new();
        let long = vec![1; 700];
        let first = sender.write(0.1, (OPUS, 960 * 31, &long), &mut out);
        assert!(first.is_some());
        out.clear();
        assert_eq!(sender.write(0.1, (OPUS, 960 * 32, &long), &mut out), None);
        assert!(out.is_empty());
    }

    #[test]
    fn an_older_frame_goes_where_it_was_missing() {
        let mut receiver = RedReceiver::default();
        receiver.note(100, 0u32.wrapping_sub(960));
        receiver.note(103, 1920);
        assert_eq!(receiver.place(103, 2, 0), Place::Missing(101));
        assert_eq!(receiver.place(103, 1, 960), Place::Missing(102));
        receiver.note(102, 960);
        assert_eq!(receiver.place(103, 1, 960), Place::Known);
        // One frame repeated, but not the one just before: a single gap tells.
        assert_eq!(receiver.place(103, 1, 0), Place::Missing(101));
        // Older than all that came, or between two packets with nothing between.
        assert_eq!(
            receiver.place(103, 3, 0u32.wrapping_sub(1920)),
            Place::Unknown
        );
        assert_eq!(receiver.place(103, 1, 1000), Place::Unknown);
    }

    #[test]
    fn what_its_sender_had_not_is_not_taken_for_what_was_before_it() {
        // 103 was lost on its way to who passes it on, 102 on the way from there: 104 repeats it.
        let mut receiver = RedReceiver::default();
        receiver.note(100, 0);
        receiver.note(101, 960);
        receiver.note(104, 3840);
        assert_eq!(receiver.place(104, 1, 1920), Place::Missing(102));
        // Where there was a pause, the packets just before are repeated.
        let mut receiver = RedReceiver::default();
        receiver.note(100, 0);
        receiver.note(101, 960);
        receiver.note(104, 9600);
        assert_eq!(receiver.place(104, 2, 1920), Place::Missing(102));
        assert_eq!(receiver.place(104, 1, 8640), Place::Missing(103));
    }

    proptest! {
        /// Whatever is lost before who repeats it, and after, a place that is told is the right one.
        #[test]
        fn places_are_right_behind_a_forwarder(
            ways in prop::collection::vec((prop::bool::weighted(0.2), prop::bool::weighted(0.3)), 10..200),
            levels in 1usize..3,
        ) {
            let mut receiver = RedReceiver::default();
            receiver.note(998, 0u32.wrapping_sub(1920));
            receiver.note(999, 0u32.wrapping_sub(960));
            let mut passed: Vec<usize> = Vec::new();
            for (index, (lost_before, lost_after)) in ways.into_iter().enumerate() {
                if lost_before {
                    continue;
                }
                if !lost_after {
                    let number = 1000 + index as u64;
                    receiver.note(number, index as u32 * 960);
                    for (back, older) in passed.iter().rev().take(levels).enumerate().rev() {
                        let time = *older as u32 * 960;
                        if let Place::Missing(place) = receiver.place(number, back + 1, time) {
                            prop_assert_eq!(place, 1000 + *older as u64);
                            receiver.note(place, time);
                        }
                    }
                }
                passed.push(index);
            }
        }

        /// Whatever is lost, a place that is told is the right one, and is told once.
        #[test]
        fn places_are_right(lost in prop::collection::vec(prop::bool::weighted(0.3), 10..200), levels in 1usize..3) {
            let mut receiver = RedReceiver::default();
            let mut out = Vec::new();
            for (index, lost) in lost.into_iter().enumerate() {
                if lost {
                    continue;
                }
                let number = 1000 + index as u64;
                receiver.note(number, index as u32 * 960);
                out.push(number);
                for back in (1..=levels.min(index)).rev() {
                    let older = index - back;
                    if let Place::Missing(place) = receiver.place(number, back, older as u32 * 960) {
                        prop_assert_eq!(place, 1000 + older as u64);
                        prop_assert!(!out.contains(&place));
                        out.push(place);
                        receiver.note(place, older as u32 * 960);
                    }
                }
            }
        }
    }
}
