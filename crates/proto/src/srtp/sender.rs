//! The sending direction.

use super::cipher::Keys;
use super::{Rejected, STREAMS_MAX, SrtpProfile, estimate_index, rtcp_ssrc, rtp_fields};
use crate::crypto::AuthenticationFailed;

/// SRTCP indices have 31 bits.
const RTCP_INDEX_MAX: u32 = (1 << 31) - 1;

/// SRTP indices have 48 bits.
const RTP_INDEX_MAX: u64 = (1 << 48) - 1;

/// Protects what we send.
#[derive(Debug)]
pub struct Sender {
    keys: Keys,
    /// In the order of their sources: a few, looked up for each packet.
    streams: Vec<(u32, Stream)>,
}

#[derive(Debug, Default)]
struct Stream {
    highest: Option<u64>,
    rtcp_next: u32,
}

impl Sender {
    /// Expands a master key and salt.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when a length is not the profile's.
    pub fn new(
        profile: SrtpProfile,
        master_key: &[u8],
        master_salt: &[u8],
    ) -> Result<Self, AuthenticationFailed> {
        let keys = Keys::derive(profile, master_key, master_salt)?;
        Ok(Self {
            keys,
            streams: Vec::new(),
        })
    }

    /// Protects the RTP packet from `start` to the end of `buffer`; grows it by the tag.
    ///
    /// # Errors
    /// [`Rejected`] when it is no RTP packet or may not be sent; the buffer is then as it was.
    #[inline]
    pub fn protect_rtp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), Rejected> {
        let fields = rtp_fields(buffer.get(start..).ok_or(Rejected::TooShort)?)?;
        let stream = stream(&mut self.streams, fields.ssrc)?;
        let index = estimate_index(stream.highest, fields.seq);
        if index > RTP_INDEX_MAX {
            return Err(Rejected::KeyExhausted);
        }
        stream.highest = Some(stream.highest.map_or(index, |highest| highest.max(index)));
        self.keys
            .rtp
            .seal_rtp(buffer, start, fields.header_len, fields.ssrc, index)
            .map_err(|_| Rejected::BadTag)
    }

    /// The same for packets whose numbers are not our own to give: none may be at or before the highest
    /// so far of its source, so that nothing is encrypted twice under one number (RFC 3711 §9.1).
    ///
    /// # Errors
    /// As [`Self::protect_rtp`], and [`Rejected::Replayed`].
    pub fn protect_new_rtp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), Rejected> {
        let fields = rtp_fields(buffer.get(start..).ok_or(Rejected::TooShort)?)?;
        let highest = stream(&mut self.streams, fields.ssrc)?.highest;
        if highest.is_some_and(|highest| estimate_index(Some(highest), fields.seq) <= highest) {
            return Err(Rejected::Replayed);
        }
        self.protect_rtp(buffer, start)
    }

    /// Protects the RTCP compound packet from `start` to the end of `buffer`; grows it by index
    /// and tag.
    ///
    /// # Errors
    /// [`Rejected`] when it is no RTCP packet or may not be sent; the buffer is then as it was.
    pub fn protect_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), Rejected> {
        let ssrc = rtcp_ssrc(buffer.get(start..).ok_or(Rejected::TooShort)?)?;
        let stream = stream(&mut self.streams, ssrc)?;
        let index = stream.rtcp_next;
        if index > RTCP_INDEX_MAX {
            return Err(Rejected::KeyExhausted);
        }
        stream.rtcp_next += 1;
        self.keys
            .rtcp
            .seal_rtcp(buffer, start, ssrc, index)
            .map_err(|_| Rejected::BadTag)
    }
}

fn stream(streams: &mut Vec<(u32, Stream)>, ssrc: u32) -> Result<&mut Stream, Rejected> {
    let index = match streams.binary_search_by_key(&ssrc, |(own, _)| *own) {
        Ok(index) => index,
        Err(_) if streams.len() >= STREAMS_MAX => return Err(Rejected::TooManyStreams),
        Err(index) => {
            streams.insert(index, (ssrc, Stream::default()));
            index
        }
    };
    let found = streams.get_mut(index).map(|(_, own)| own);
    found.ok_or(Rejected::TooManyStreams)
}
