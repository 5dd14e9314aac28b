//! Sockets, clock, names and interfaces: what the machines of `proto` ask their driver for.
//!
//! Nothing here decides anything about a protocol.
#![forbid(unsafe_code)]

pub mod changes;
pub mod clock;
pub mod dial;
pub mod icmp;
pub mod interfaces;
pub mod locate;
mod marked;
pub mod mdns;
pub mod names;
pub mod stream;
pub mod udp;
