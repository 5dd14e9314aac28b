//! What the bytes of WebRTC mean.
//!
//! Formats (STUN, RTP, RTCP, SCTP, DCEP, SDP, payload formats), the identifiers and units they
//! carry, and the rule that tells them apart on one socket ([`demux`]). Everything here is a
//! function of its input: no state, no clock, no cryptography, no I/O.
//!
//! Parsers borrow from the datagram where they can, never panic, take time linear in their input
//! and answer malformed input with a small `Copy` error that says what was wrong.
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

mod bits;
pub mod candidate;
pub mod dcep;
pub mod demux;
pub mod fec;
pub mod framing;
pub mod ids;
pub mod nat64;
pub mod payload;
pub mod reader;
pub mod room_data;
pub mod rtcp;
pub mod rtp;
pub mod scope;
pub mod sctp;
pub mod sdp;
pub mod seq;
pub mod sframe;
pub mod stun;
pub mod turn;
pub mod units;
