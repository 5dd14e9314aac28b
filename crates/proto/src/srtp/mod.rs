//! SRTP and SRTCP (RFC 3711) with AES-CM and HMAC-SHA1-80, and with AES-GCM (RFC 7714).
//!
//! A [`Sender`] and a [`Receiver`] hold the keys of one direction each. Packets are protected
//! and unprotected in place, without allocation; keys are expanded once.
//!
//! Order on receipt: length, stream, replay window, authentication, and only then any change of
//! state. The roll-over counter (RFC 3711 §3.3.1) follows authenticated packets alone.

mod cipher;
mod derivation;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use receiver::Receiver;
pub use sender::Sender;

use crate::keying::SrtpProfile;

/// Length of the RTP header without CSRCs and extensions.
const RTP_HEADER_LEN: usize = 12;

/// What stays in the clear of an SRTCP packet: the first header and its SSRC.
const RTCP_HEADER_LEN: usize = 8;

/// Longest tail that protection adds to a packet of either kind, in bytes.
pub const OVERHEAD_MAX: usize = 16 + 4;

/// Streams (SSRCs) per direction. A peer with keys can name 2³² for free; further ones are
/// refused. 1024 is a screen full of participants with simulcast and retransmission each.
const STREAMS_MAX: usize = 1024;

/// Why a packet was not protected or unprotected. A reason to count, never to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejected {
    /// Shorter than its header, or than a header and a tag.
    #[error("too short")]
    TooShort,
    /// Version is not 2.
    #[error("not RTP version 2")]
    BadVersion,
    /// Received before, or older than the replay window.
    #[error("replayed or too old")]
    Replayed,
    /// The tag does not match.
    #[error("authentication failed")]
    BadTag,
    /// SRTCP without encryption, which WebRTC forbids (RFC 8827 §6.5).
    #[error("not encrypted")]
    NotEncrypted,
    /// More than 1024 streams.
    #[error("too many streams")]
    TooManyStreams,
    /// All 2³¹ SRTCP packets or 2⁴⁸ SRTP packets of a key have been sent (RFC 3711 §9.2).
    #[error("the key is used up")]
    KeyExhausted,
}

impl Rejected {
    /// The name under which it is counted.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooShort => "srtp.too_short",
            Self::BadVersion => "srtp.bad_version",
            Self::Replayed => "srtp.replayed",
            Self::BadTag => "srtp.bad_tag",
            Self::NotEncrypted => "srtp.not_encrypted",
            Self::TooManyStreams => "srtp.too_many_streams",
            Self::KeyExhausted => "srtp.key_exhausted",
        }
    }
}

/// Fixed fields of an RTP packet.
#[derive(Debug, Clone, Copy)]
struct RtpFields {
    header_len: usize,
    ssrc: u32,
    seq: u16,
}

/// Finds where the payload begins: after CSRCs and the header extension (RFC 3550 §5.1).
#[inline]
fn rtp_fields(packet: &[u8]) -> Result<RtpFields, Rejected> {
    let Some((fixed, _)) = packet.split_first_chunk::<RTP_HEADER_LEN>() else {
        return Err(Rejected::TooShort);
    };
    if fixed[0] >> 6 != 2 {
        return Err(Rejected::BadVersion);
    }
    let mut header_len = RTP_HEADER_LEN + 4 * usize::from(fixed[0] & 0x0f);
    if fixed[0] & 0x10 != 0 {
        let words = packet
            .get(header_len + 2..header_len + 4)
            .ok_or(Rejected::TooShort)?;
        header_len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if header_len > packet.len() {
        return Err(Rejected::TooShort);
    }
    Ok(RtpFields {
        header_len,
        ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        seq: u16::from_be_bytes([fixed[2], fixed[3]]),
    })
}

#[inline]
fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Rejected> {
    let Some((fixed, _)) = packet.split_first_chunk::<RTCP_HEADER_LEN>() else {
        return Err(Rejected::TooShort);
    };
    if fixed[0] >> 6 != 2 {
        return Err(Rejected::BadVersion);
    }
    Ok(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]))
}

/// The 48-bit index of `seq` nearest to `highest` (RFC 3711 §3.3.1, appendix A); never below 0.
#[inline]
fn estimate_index(highest: Option<u64>, seq: u16) -> u64 {
    let Some(highest) = highest else {
        return u64::from(seq);
    };
    let step = seq.wrapping_sub(highest as u16) as i16;
    highest
        .checked_add_signed(i64::from(step))
        .unwrap_or(u64::from(seq))
}
