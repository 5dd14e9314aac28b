//! What hostile bytes are thrown at: one plain function per parser and per machine.
//!
//! A target may do anything but panic, hang or grow without bound. `tests/replay.rs` runs every
//! file of `seeds/NAME` through the target of that name; `tests/fuzz` has a wrapper around each for
//! `cargo fuzz`, and `cargo run -p twocan-corpus --bin seeds` writes the seeds anew.
#![forbid(unsafe_code)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target reports by panic what it finds"
)]

pub mod formats;
pub mod machines;
pub mod payloads;
mod script;

pub use script::Script;

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("av1", payloads::av1),
    ("av1_packetize", payloads::av1_packetize),
    ("candidate", formats::candidate),
    ("channels", machines::channels),
    ("comfort_noise", payloads::comfort_noise),
    ("dcep", formats::dcep),
    ("demux", formats::demux),
    ("dependency_descriptor", formats::dependency_descriptor),
    ("dtls_datagrams", machines::dtls_datagrams),
    ("dtls_handshake", machines::dtls_handshake),
    ("fec", payloads::fec),
    ("fec_protect", payloads::fec_protect),
    ("fmtp", formats::fmtp),
    ("framing", formats::framing),
    ("h264", payloads::h264),
    ("h264_packetize", payloads::h264_packetize),
    ("h265", payloads::h265),
    ("h265_packetize", payloads::h265_packetize),
    ("ice_agent", machines::ice_agent),
    ("ice_tcp", machines::ice_tcp),
    ("layers_allocation", formats::layers_allocation),
    ("negotiate_answer", machines::negotiate_answer),
    ("negotiate_offer", machines::negotiate_offer),
    ("peer", machines::peer),
    ("red", payloads::red),
    ("room_data", formats::room_data),
    ("room_hall", machines::room_hall),
    ("rtcp", formats::rtcp),
    ("rtp_extensions", formats::rtp_extensions),
    ("rtp_header", formats::rtp_header),
    ("rtp_repair", machines::rtp_repair),
    ("rtp_session", machines::rtp_session),
    ("sctp_association", machines::sctp_association),
    ("sctp_chunks", formats::sctp_chunks),
    ("sctp_packet", formats::sctp_packet),
    ("sdp", formats::sdp),
    ("sdp_attribute", formats::sdp_attribute),
    ("sframe", formats::sframe),
    ("srtp_receiver", machines::srtp_receiver),
    ("srtp_streams", machines::srtp_streams),
    ("stun", formats::stun),
    ("stun_server", machines::stun_server),
    ("telephone_event", payloads::telephone_event),
    ("transport_feedback", formats::transport_feedback),
    ("turn_server", machines::turn_server),
    ("turn_stream", formats::turn_stream),
    ("vp8", payloads::vp8),
    ("vp8_packetize", payloads::vp8_packetize),
    ("vp9", payloads::vp9),
    ("vp9_packetize", payloads::vp9_packetize),
];
