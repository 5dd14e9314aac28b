//! Which frames of a stream are protected, and by how much.
//!
//! A frame is a group, unless it is so small that a single FEC packet would cost more than it is
//! worth: then it waits for the next one. FEC packets take their places in the queue with the last
//! packet of their group, and are made when their turn comes, because what they protect is the
//! packets as they left.

use std::time::Duration;

use twocan_wire::ids::{PayloadType, Ssrc};
use twocan_wire::seq::SeqNo16;

use super::fec::Scheme;
use super::fec::level::{LOSS_MIN, Need};
use super::fec::protect::{self, Protector};
use super::outbox::{Cover, Outbox, Stored};
use super::{Codec, Media, PAYLOAD_LEN_MAX};

/// The protection of one stream that we send.
#[derive(Debug)]
pub(super) struct Protection {
    protector: Protector,
    /// Of the next packet of FlexFEC.
    pub(super) sequence: SeqNo16,
    /// Packets of the open group, whether it has a key frame, and how it is protected.
    open: usize,
    key_frame: bool,
    scheme: Option<Scheme>,
    /// Of the frame whose packets come one by one: timestamp, payload type.
    frame: Option<(u32, PayloadType)>,
    /// The highest number of such a packet.
    last_number: u64,
}

/// What follows a frame whose packets came one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameEnd {
    pub(super) frame: (u32, PayloadType),
    pub(super) scheme: Scheme,
    /// FEC packets.
    pub(super) count: usize,
}

/// Over what path frames go.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathQuality {
    /// The part of packets that is lost, as far as reports tell.
    pub(super) loss: f64,
    pub(super) rtt: Duration,
}

impl Protection {
    pub(super) fn new(sequence: SeqNo16) -> Self {
        Self {
            protector: Protector::default(),
            sequence,
            open: 0,
            key_frame: false,
            scheme: None,
            frame: None,
            last_number: 0,
        }
    }

    /// How frames of a codec that `source` sends are protected at that loss, if at all.
    pub(super) fn scheme(media: &Media, codec: &Codec, source: Ssrc, loss: f64) -> Option<Scheme> {
        let scheme = media.repair.scheme(codec, source);
        scheme.filter(|_| loss >= LOSS_MIN)
    }

    /// The longest payload of a packet, so that what protects it fits into a packet as well.
    pub(super) fn payload_len_max(scheme: Option<Scheme>) -> usize {
        match scheme {
            Some(_) => PAYLOAD_LEN_MAX - protect::OVERHEAD,
            None => PAYLOAD_LEN_MAX,
        }
    }

    /// Takes the frame that the `added` newest packets make up; answers how many FEC packets are to
    /// follow.
    pub(super) fn take_frame(
        &mut self,
        outbox: &mut Outbox,
        added: usize,
        codec: &Codec,
        scheme: Option<Scheme>,
        path: PathQuality,
    ) -> usize {
        let (Some(scheme), true) = (scheme, added > 0) else {
            self.open = 0;
            return 0;
        };
        self.go_on(scheme);
        let first = outbox.newest().nth(added - 1);
        self.key_frame |=
            first.is_some_and(|own| codec.format.inspect(own.payload.shared()).key_frame);
        let begins_at = added - 1;
        let begins = self.open == 0;
        self.open += added;
        let (count, waits) = self.need(codec, path);
        if count > 0 || waits {
            for (index, packet) in outbox.newest().take(added).enumerate() {
                let begins = begins && index == begins_at;
                packet.cover = Cover::Protected { scheme, begins };
            }
        }
        if !waits {
            self.open = 0;
        }
        count
    }

    /// Goes on with the open group, unless it was protected in another way.
    fn go_on(&mut self, scheme: Scheme) {
        if self.scheme.replace(scheme) != Some(scheme) || self.open == 0 {
            self.open = 0;
            self.key_frame = false;
        }
    }

    /// How many FEC packets the open group needs, and whether it waits for more.
    fn need(&self, codec: &Codec, path: PathQuality) -> (usize, bool) {
        let need = Need {
            // Of a longer frame the first are protected.
            packets: self.open.min(protect::GROUP_MAX),
            key_frame: self.key_frame,
            loss: path.loss,
            rtt: path.rtt,
            retransmits: codec.nack,
        };
        let count = need.parity_count();
        (count, count == 0 && need.is_too_small())
    }

    /// What is open is protected no more.
    pub(super) fn abandon(&mut self) {
        self.open = 0;
        self.frame = None;
    }

    /// The highest number of a packet that came by itself.
    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// The timestamp of the frame whose packets come one by one.
    pub(super) fn frame_of_packets(&self) -> Option<u32> {
        self.frame.map(|(timestamp, _)| timestamp)
    }

    /// Takes a packet that comes by itself, of a higher number than those before it. What its frame
    /// needs is known only at the end, so that all of them are kept until then.
    pub(super) fn take_packet(
        &mut self,
        scheme: Scheme,
        number: u64,
        frame: (u32, PayloadType),
        begins_key_frame: bool,
    ) -> Cover {
        self.go_on(scheme);
        let begins = self.open == 0;
        self.open += 1;
        self.key_frame |= begins_key_frame;
        self.last_number = number;
        self.frame = Some(frame);
        Cover::Protected { scheme, begins }
    }

    /// Ends the frame whose packets came one by one; answers what follows it, if anything does.
    pub(super) fn end_frame_of_packets(
        &mut self,
        codec: &Codec,
        path: PathQuality,
    ) -> Option<FrameEnd> {
        let frame = self.frame.take()?;
        let scheme = self.scheme.filter(|_| self.open > 0)?;
        let (count, waits) = self.need(codec, path);
        if !waits {
            self.open = 0;
        }
        (count > 0).then_some(FrameEnd {
            frame,
            scheme,
            count,
        })
    }

    /// Notes a packet as it left, with the length of its header.
    pub(super) fn handle_sent(&mut self, stored: &Stored, packet: &[u8], header_len: usize) {
        let Cover::Protected { begins, .. } = stored.cover else {
            return;
        };
        if begins {
            self.protector.clear();
        }
        let red = stored.red().map(|_| (header_len, stored.payload_type.0));
        self.protector.add(packet, red);
    }

    /// The payload of the FEC packet whose turn it is.
    pub(super) fn make(&mut self, scheme: Scheme, count: Option<usize>) -> Option<Vec<u8>> {
        if let Some(count) = count {
            self.protector.finish(scheme, count);
        }
        self.protector.pop()
    }
}
