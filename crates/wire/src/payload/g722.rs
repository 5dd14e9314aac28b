//! G.722 (RFC 3551 §4.5.2): a payload is a frame, one byte for two samples.
//!
//! The sound is sampled at 16 kHz, but its RTP clock runs at 8 kHz, as an early error would have
//! it: `a=rtpmap:9 G722/8000`, and a byte of payload is one tick of the timestamp.

/// Ticks of the RTP timestamp in a second: 8000, half the [`SAMPLE_RATE`].
pub const CLOCK_RATE: u32 = 8000;

/// Samples of sound in a second.
pub const SAMPLE_RATE: u32 = 16_000;

/// The static payload type (RFC 3551 §6).
pub const PAYLOAD_TYPE: u8 = 9;
