//! The protocols of WebRTC as machines without I/O.
//!
//! Time is an argument ([`time::Now`]), randomness is a seed ([`random::Random`]), and what a
//! machine wants sent comes out of a poll ([`contract`]). The parts do not know each other;
//! only `peer` knows the order of the stack.
#![forbid(unsafe_code)]

pub mod channel;
pub mod congestion;
pub mod contract;
pub mod counters;
pub mod crypto;
pub mod dtls;
pub mod dtmf;
pub mod endpoint;
pub mod ice;
pub mod keying;
pub mod locate;
pub mod nat_behaviour;
pub mod negotiate;
pub mod peer;
pub mod random;
pub mod rtp;
pub mod sctp;
pub mod sframe;
pub mod srtp;
pub mod stun_server;
pub mod t140;
mod tight;
pub mod time;
pub mod turn;

/// The formats that appear in this crate's interfaces.
pub use twocan_wire as wire;
