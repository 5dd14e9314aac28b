//! FEC packets for what was sent.
//!
//! A group is the packets of a frame, or of several small ones, with consecutive numbers. Its FEC
//! packets protect every `n`th packet each: with two of them the even and the odd ones, so that a
//! burst of two is repaired. They follow the last packet of the group.

use std::collections::VecDeque;

use twocan_wire::fec::flexfec::Flexfec;
use twocan_wire::fec::ulpfec::{self, Ulpfec};

use super::Scheme;

/// Packets of a group; of a longer frame the first are protected.
pub(crate) const GROUP_MAX: usize = 192;

/// Packets that the FEC packets of one part of a group are for: what ULPFEC can name.
const PART_MAX: usize = ulpfec::SPAN_MAX as usize;

/// What a FEC packet has beyond the payload of those it protects, in bytes: the longest header of
/// FlexFEC (32), or of ULPFEC in RED (19), and the extensions of the packets (32).
pub(crate) const OVERHEAD: usize = 64;

/// The open group of a stream, and FEC packets to be sent.
#[derive(Debug, Default)]
pub(crate) struct Protector {
    /// As they left, in the clear and without RED.
    group: Vec<Vec<u8>>,
    made: VecDeque<Vec<u8>>,
}

impl Protector {
    /// Adds a packet of the group. In RED, that is one byte behind the header, which says the
    /// payload type; both are undone.
    pub(crate) fn add(&mut self, packet: &[u8], red: Option<(usize, u8)>) {
        if self.group.len() >= GROUP_MAX {
            return;
        }
        let mut packet = packet.to_vec();
        if let Some((at, payload_type)) = red
            && at < packet.len()
        {
            packet.remove(at);
            if let Some(second) = packet.get_mut(1) {
                *second = *second & 0x80 | payload_type;
            }
        }
        self.group.push(packet);
    }

    /// Ends the group with `count` FEC packets.
    pub(crate) fn finish(&mut self, scheme: Scheme, count: usize) {
        self.made.clear();
        let parts = self.group.len().div_ceil(PART_MAX).max(1);
        let part_len = self.group.len().div_ceil(parts).max(1);
        for (index, part) in self.group.chunks(part_len).enumerate() {
            // As even as whole packets allow.
            let share = count * (index + 1) / parts - count * index / parts;
            for step in 0..share {
                let chosen = part.iter().skip(step).step_by(share);
                let chosen: Vec<&[u8]> = chosen.map(Vec::as_slice).collect();
                let mut payload = Vec::new();
                let made = match scheme {
                    Scheme::Ulpfec { fec, .. } => Ulpfec::protect(&chosen).map(|parity| {
                        payload.push(fec.0 & 0x7f);
                        parity.write(&mut payload);
                    }),
                    Scheme::Flexfec { .. } => {
                        Flexfec::protect(&chosen).map(|parity| parity.write(&mut payload))
                    }
                };
                if made.is_ok() {
                    self.made.push_back(payload);
                }
            }
        }
        self.group.clear();
    }

    /// The payload of the next FEC packet.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        self.made.pop_front()
    }

    /// Forgets the open group: nothing of it is to be protected.
    pub(crate) fn clear(&mut self) {
        self.group.clear();
        self.made.clear();
    }
}
