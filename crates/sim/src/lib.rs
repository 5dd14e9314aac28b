//! A deterministic network and clock that drives the machines (development only).
//!
//! A [`World`] holds [`Node`]s (machines with the contract of `proto::contract`), each on a host
//! of a [`Site`]; sites have an uplink and a downlink ([`Link`]), [`Families`] of addresses, may be
//! behind a [`Nat`], and within one another. The clock jumps from event to event; every choice comes from one seed; the same seed gives the
//! same run, which [`World::trace`] proves.
#![forbid(unsafe_code)]

mod between;
mod certificates;
mod cryptography;
mod link;
mod nat;
mod pipe;
mod place;
mod relay;
mod route;
mod seeds;
mod stun;
mod world;

pub use certificates::certificate;
pub use cryptography::settings;
pub use link::{Link, LinkConfig, LinkStats, Loss};
pub use nat::{Behaviour, Nat, NatConfig};
pub use place::Families;
pub use seeds::seeds;
pub use world::{HostId, Node, Site, SiteId, World};
