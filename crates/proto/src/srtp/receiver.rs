//! The receiving direction.

use std::collections::BTreeMap;

use super::cipher::Keys;
use super::replay::ReplayWindow;
use super::{Rejected, STREAMS_MAX, SrtpProfile, estimate_index, rtcp_ssrc, rtp_fields};
use crate::crypto::AuthenticationFailed;

/// Unprotects what the peer sends.
#[derive(Debug)]
pub struct Receiver {
    keys: Keys,
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    rtp: ReplayWindow,
    rtcp: ReplayWindow,
}

impl Receiver {
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
            streams: BTreeMap::new(),
        })
    }

    /// Authenticates and decrypts an SRTP packet in place; answers the length of the RTP packet.
    ///
    /// # Errors
    /// [`Rejected`] when it is not to be used; its content is then unspecified.
    #[inline]
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let fields = rtp_fields(packet)?;
        if packet.len() < fields.header_len + self.keys.rtp.tag_len() {
            return Err(Rejected::TooShort);
        }
        if let Some(stream) = self.streams.get_mut(&fields.ssrc) {
            let index = estimate_index(stream.rtp.highest(), fields.seq);
            if !stream.rtp.admits(index) {
                return Err(Rejected::Replayed);
            }
            let len = self
                .keys
                .rtp
                .open_rtp(packet, fields.header_len, fields.ssrc, index)?;
            stream.rtp.mark(index);
            return Ok(len);
        }
        let index = u64::from(fields.seq);
        let len = self
            .keys
            .rtp
            .open_rtp(packet, fields.header_len, fields.ssrc, index)?;
        self.admit(fields.ssrc)?.rtp.mark(index);
        Ok(len)
    }

    /// Authenticates and decrypts an SRTCP packet in place; answers the length of the compound
    /// packet.
    ///
    /// # Errors
    /// [`Rejected`] when it is not to be used; its content is then unspecified.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let ssrc = rtcp_ssrc(packet)?;
        let index = self.keys.rtcp.rtcp_index(packet)?;
        let known = self.streams.get(&ssrc);
        if known.is_some_and(|stream| !stream.rtcp.admits(u64::from(index))) {
            return Err(Rejected::Replayed);
        }
        let len = self.keys.rtcp.open_rtcp(packet, ssrc, index)?;
        self.admit(ssrc)?.rtcp.mark(u64::from(index));
        Ok(len)
    }

    /// The state of an authenticated stream.
    fn admit(&mut self, ssrc: u32) -> Result<&mut Stream, Rejected> {
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&ssrc) {
            return Err(Rejected::TooManyStreams);
        }
        Ok(self.streams.entry(ssrc).or_default())
    }
}
