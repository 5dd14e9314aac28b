//! One caller's sound and pictures.

use std::collections::BTreeMap;
use std::time::Duration;

use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::rtp::Cadence;
use twocan_wire::sdp::Direction;

use super::encoder::Encoder;
use super::{Plan, SOUND_LEN, ticks};
use crate::Call;

/// What a caller sends, and when it was there, by times of capture.
pub struct Flow {
    /// The sender's place in the call.
    pub caller: usize,
    /// Of the sound.
    pub audio: TransceiverId,
    /// Of the pictures.
    pub video: TransceiverId,
    /// Makes the pictures.
    pub encoder: Encoder,
    /// Pictures, and when each was whole at the callee.
    pub captured: BTreeMap<Duration, Option<Duration>>,
    /// Sounds, and when each was there.
    pub said: BTreeMap<Duration, Option<Duration>>,
    /// Of pictures, at the callee.
    pub bytes: u64,
}

impl Flow {
    pub(super) fn new(call: &mut Call, caller: usize, plan: &Plan) -> Self {
        let mut add = |kind| {
            let added = call.with(caller, |peer, _| {
                peer.add_transceiver(kind, Direction::SendOnly, &["s"])
            });
            added.unwrap_or_else(|error| unreachable!("{error}"))
        };
        Self {
            caller,
            audio: add(Kind::Audio),
            video: add(Kind::Video),
            encoder: Encoder::new(plan.rate_max, plan.key_frame_every),
            captured: BTreeMap::new(),
            said: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The place of who it is sent to.
    pub const fn callee(&self) -> usize {
        self.caller ^ 1
    }

    pub(super) fn take(&mut self, now: Duration, timestamp: u32, len: usize) {
        let (sent, rate) = match len {
            SOUND_LEN => (&mut self.said, 48),
            _ => (&mut self.captured, 90),
        };
        if len != SOUND_LEN {
            self.bytes += len as u64;
        }
        let found = sent
            .iter_mut()
            .rev()
            .find(|(at, _)| ticks(**at, rate) == timestamp);
        let Some((_, arrived)) = found else {
            unreachable!("what nobody sent");
        };
        assert_eq!(arrived.replace(now), None, "handed out twice");
    }

    /// Of the pictures captured in that time, how many there are, and how many were whole within
    /// `limit`.
    pub fn pictures(&self, from: Duration, to: Duration, limit: Duration) -> (usize, usize) {
        let captured = self.captured.range(from..to);
        let in_time = |(at, arrived): &(&Duration, &Option<Duration>)| {
            arrived.is_some_and(|arrived| arrived <= **at + limit)
        };
        (captured.clone().count(), captured.filter(in_time).count())
    }

    /// Of the sounds made in that time, how many there are, and how many arrived.
    pub fn sounds(&self, from: Duration, to: Duration) -> (usize, usize) {
        let said = self.said.range(from..to);
        let arrived = said.clone().filter(|(_, arrived)| arrived.is_some());
        (said.clone().count(), arrived.count())
    }

    /// The longest time without a new sound between those that were made in that time.
    pub fn silence(&self, from: Duration, to: Duration) -> Duration {
        let said = self.said.range(from..to);
        let mut arrived: Vec<Duration> = said.filter_map(|(_, arrived)| *arrived).collect();
        arrived.sort();
        let gaps = arrived.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or(to.saturating_sub(from))
    }

    /// The longest time, of that from `from` to `to`, in which no sound arrived, and the same of
    /// pictures.
    pub fn interruptions(&self, from: Duration, to: Duration) -> [Duration; 2] {
        [&self.said, &self.captured].map(|sent| {
            let arrived = sent.values().filter_map(|arrived| *arrived);
            let mut moments: Vec<Duration> = arrived.filter(|at| (from..to).contains(at)).collect();
            moments.extend([from, to]);
            moments.sort();
            let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
            gaps.max().unwrap_or_default()
        })
    }

    /// Freezes in that time as W3C webrtc-stats counts them (`freezeCount`), of pictures shown as
    /// soon as they are whole.
    pub fn freezes(&self, from: Duration, to: Duration) -> u64 {
        let captured = self.captured.range(from..to);
        let mut cadence = Cadence::default();
        for shown in captured.filter_map(|(_, arrived)| *arrived) {
            cadence.handle_frame(shown);
        }
        cadence.freeze_count()
    }
}
