//! The simulator's links for peers that know nothing of the simulator: packets of one network
//! interface come out of another as late, as few and as disordered as the link has it.
#![forbid(unsafe_code)]

pub mod conditions;
#[cfg(target_os = "linux")]
pub mod wire;
