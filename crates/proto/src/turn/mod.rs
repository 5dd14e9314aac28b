//! TURN (RFC 8656): reaching a peer through a relay.

pub mod client;
mod credential;
pub mod server;

pub use credential::{LongTermKey, NONCE_COOKIE, SecurityFeatures, rest_password, userhash};
