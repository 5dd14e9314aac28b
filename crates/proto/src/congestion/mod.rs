//! Congestion control of media: how fast to send, and when each packet may go
//! (draft-ietf-rmcat-gcc-02, and what libwebrtc made of it).
//!
//! 1. [`CongestionControl::turn`] says whose packet may go; [`CongestionControl::handle_sent`]
//!    remembers that it went, and when.
//! 2. Reports say when packets arrived: transport-wide feedback
//!    ([`CongestionControl::handle_transport_feedback`]), or those on streams, which name packets
//!    and their arrival (RFC 8888).
//! 3. The delay of groups of packets tells whether queues grow; loss tells what the path cannot
//!    carry; probes find room. The target is the least of what they, the receiver (REMB) and the
//!    application allow.
//! 4. [`CongestionControl::poll_target`] tells of a new target.
//!
//! Without feedback nothing is known of the path: packets are then not paced, and the target is
//! the receiver's estimate, where it sends one.

mod acknowledged;
mod aimd;
mod alr;
mod arrival;
mod arriving;
mod burst;
mod control;
mod decision;
mod loss;
mod marks;
mod numbered;
mod observed;
mod pacer;
mod probe;
mod sent;
mod share;
mod trendline;

#[cfg(test)]
mod tests;

use std::time::Duration;

use twocan_wire::units::Bitrate;

use crate::contract::Ecn;

pub use arriving::ArrivingEstimate;
pub use control::CongestionControl;
pub use decision::{Bound, Decision};
pub use pacer::{Turn, Waiting};
pub use sent::{PacketKey, PacketResult, RemoteTime, SentPackets};
pub use share::{Claim, Layer, share, stack};
pub use trendline::Usage;

/// Settings of a [`CongestionControl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The target before anything is known. Default 300 kbit/s.
    pub start: Bitrate,
    /// The target never falls below. Default 30 kbit/s.
    pub min: Bitrate,
    /// The target never exceeds this. Default none; probes then go up to 5 Mbit/s.
    pub max: Option<Bitrate>,
    /// What packets of media say of marks of congestion, where the peer reports them (RFC 8888).
    /// Default nothing.
    pub marking: Marking,
    /// How far ahead of its pace video may go at once. More makes longer queues on the path, and fewer
    /// system calls: for those who pass on what its sender has paced. Default 5 ms; at L4S it is 1 ms
    /// in any case.
    pub burst: Duration,
}

/// Whether routers may mark packets in place of dropping them (ECN, RFC 3168), and what a mark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marking {
    /// Packets are not ECN-capable, and are not marked.
    #[default]
    None,
    /// Packets go as ECT(0), and a mark counts as the loss of that packet (RFC 3168 §5).
    Classic,
    /// L4S (RFC 9331): packets go as ECT(1) and evenly, and the rate follows the part that is marked.
    L4s,
}

impl Marking {
    /// How datagrams of media go out, where they say anything.
    pub const fn ecn(self) -> Option<Ecn> {
        match self {
            Self::None => None,
            Self::Classic => Some(Ecn::Ect0),
            // RFC 9331 §4.1.
            Self::L4s => Some(Ecn::Ect1),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: Bitrate::kbps(300),
            min: Bitrate::kbps(30),
            max: None,
            marking: Marking::None,
            burst: pacer::BURST,
        }
    }
}
