//! The machines of `proto` and `room`: datagrams and texts of anybody, in any order, at any time.

mod data;
mod media;
mod relay;
mod repair;
mod secure;
mod signaling;
mod streams;

pub use data::{channels, sctp_association};
pub use media::{rtp_session, srtp_receiver, srtp_streams};
pub use relay::turn_server;
pub use repair::rtp_repair;
pub use secure::{dtls_datagrams, dtls_handshake, ice_agent, peer, stun_server};
pub use signaling::{negotiate_answer, negotiate_offer, room_hall};
pub use streams::ice_tcp;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use twocan_proto::time::Now;

/// Operations acted on per input: enough for every state, and an input stays quick.
const OPERATIONS_MAX: usize = 300;

/// Packets carried per operation, so that two machines that answer each other end.
const PACKETS_MAX: usize = 64;

/// Where virtual time begins; the same for all inputs of a process.
fn begin() -> Now {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    Now {
        monotonic: *BEGIN.get_or_init(Instant::now),
        wallclock: Duration::from_secs(1_800_000_000),
    }
}

/// A step of time from one byte: 1 ms to about a minute.
fn step(byte: u8) -> Duration {
    Duration::from_millis(1 << (byte % 17))
}
