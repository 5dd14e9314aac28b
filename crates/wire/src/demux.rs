//! Which protocol a datagram belongs to, by its first byte (RFC 7983 §7, RFC 9443 §4).

/// The protocols that share a WebRTC socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// First byte 0 to 3.
    Stun,
    /// First byte 20 to 63.
    Dtls,
    /// First byte 64 to 79: TURN ChannelData.
    TurnChannel,
    /// First byte 128 to 191, second byte not in RTCP's range.
    Rtp,
    /// First byte 128 to 191, second byte 192 to 223 (RFC 5761 §4).
    Rtcp,
}

/// Classifies a datagram; `None` for anything that WebRTC does not carry, and for fewer than
/// two bytes.
///
/// ```
/// use twocan_wire::demux::{Protocol, classify};
/// assert_eq!(classify(&[22, 254]), Some(Protocol::Dtls));
/// assert_eq!(classify(&[0x80, 200]), Some(Protocol::Rtcp));
/// assert_eq!(classify(&[0x80, 96 | 0x80]), Some(Protocol::Rtp));
/// assert_eq!(classify(&[255, 0]), None);
/// ```
#[inline]
pub fn classify(datagram: &[u8]) -> Option<Protocol> {
    let [first, second, ..] = datagram else {
        return None;
    };
    match first {
        0..=3 => Some(Protocol::Stun),
        20..=63 => Some(Protocol::Dtls),
        64..=79 => Some(Protocol::TurnChannel),
        128..=191 if (192..=223).contains(second) => Some(Protocol::Rtcp),
        128..=191 => Some(Protocol::Rtp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_256_first_bytes_have_the_answer_of_rfc_9443() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => Some(Protocol::Stun),
                20..=63 => Some(Protocol::Dtls),
                64..=79 => Some(Protocol::TurnChannel),
                128..=191 => Some(Protocol::Rtp),
                4..=19 | 80..=127 | 192..=255 => None,
            };
            assert_eq!(classify(&[first, 0]), expected, "first byte {first}");
        }
    }
}
