//! Two peers in a simulated world, with signaling between them.
//!
//! A scenario is a [`Call`]: build it, run it until something holds, look at it. The number of
//! seeds per scenario comes from the environment ([`seeds`]); a failing seed is in the message.
#![forbid(unsafe_code)]

mod call;
pub mod conference;
pub mod media;
mod node;

pub use call::{Call, Place, Setting};
pub use node::{Carried, PeerNode};
pub use twocan_sim::seeds;
