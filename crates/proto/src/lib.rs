//! The protocols of WebRTC as machines without I/O.
//!
//! Time is an argument ([`time::Now`]), randomness is a seed ([`random::Random`]), and what a
//! machine wants sent comes out of a poll ([`contract`]). The parts do not know each other;
//! only `peer` knows the order of the stack.
#![forbid(unsafe_code)]

pub mod channel;
pub mod contract;
pub mod counters;
pub mod random;
pub mod sctp;
pub mod time;
