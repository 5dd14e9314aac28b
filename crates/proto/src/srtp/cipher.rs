//! The two transforms, on session keys.

use super::derivation::{Label, derive};
use super::{RTCP_HEADER_LEN, Rejected};
use crate::crypto::{AesCtr, AesGcm, AuthenticationFailed, HmacSha1};
use crate::keying::SrtpProfile;

/// HMAC-SHA1 is cut to 80 bits (RFC 3711 §5.2).
const TAG_80_LEN: usize = 10;

/// SRTCP's word of encryption flag and index.
const INDEX_LEN: usize = 4;

/// Set in SRTCP's index word when the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// Keys of one direction, for RTP and RTCP.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) rtp: Cipher,
    pub(super) rtcp: Cipher,
}

impl Keys {
    pub(super) fn derive(
        profile: SrtpProfile,
        master_key: &[u8],
        master_salt: &[u8],
    ) -> Result<Self, AuthenticationFailed> {
        let lengths_fit =
            master_key.len() == profile.key_len() && master_salt.len() == profile.salt_len();
        if !lengths_fit {
            return Err(AuthenticationFailed);
        }
        let cipher = |labels: [Label; 3]| -> Result<Cipher, AuthenticationFailed> {
            let mut key = vec![0; profile.key_len()];
            let mut authentication = [0; 20];
            let mut salt = vec![0; profile.salt_len()];
            derive(master_key, master_salt, labels[0], &mut key)?;
            derive(master_key, master_salt, labels[1], &mut authentication)?;
            derive(master_key, master_salt, labels[2], &mut salt)?;
            Cipher::new(profile, &key, &authentication, &salt)
        };
        Ok(Self {
            rtp: cipher([
                Label::RtpEncryption,
                Label::RtpAuthentication,
                Label::RtpSalt,
            ])?,
            rtcp: cipher([
                Label::RtcpEncryption,
                Label::RtcpAuthentication,
                Label::RtcpSalt,
            ])?,
        })
    }
}

/// Expanded session keys of one transform.
#[derive(Debug)]
pub(super) enum Cipher {
    /// AES-CM and HMAC-SHA1-80.
    Cm {
        encryption: Box<AesCtr>,
        authentication: Box<HmacSha1>,
        /// The 112 bits of salt, and the 16 of the block counter.
        salt: [u8; 16],
    },
    /// AES-GCM.
    Gcm {
        encryption: Box<AesGcm>,
        salt: [u8; 12],
    },
}

impl Cipher {
    pub(super) fn new(
        profile: SrtpProfile,
        key: &[u8],
        authentication: &[u8],
        session_salt: &[u8],
    ) -> Result<Self, AuthenticationFailed> {
        match profile {
            SrtpProfile::Aes128CmSha1_80 => {
                let mut salt = [0; 16];
                for (byte, value) in salt.iter_mut().zip(session_salt) {
                    *byte = *value;
                }
                Ok(Self::Cm {
                    encryption: Box::new(AesCtr::new(key)?),
                    authentication: Box::new(HmacSha1::new(authentication)),
                    salt,
                })
            }
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => Ok(Self::Gcm {
                encryption: Box::new(AesGcm::new(key)?),
                salt: session_salt.try_into().map_err(|_| AuthenticationFailed)?,
            }),
        }
    }

    /// Length of the tag, in bytes.
    #[inline]
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Cm { .. } => TAG_80_LEN,
            Self::Gcm { .. } => AesGcm::TAG_LEN,
        }
    }

    /// Encrypts the packet that starts at `start` of `buffer` and appends the tag.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), AuthenticationFailed> {
        match self {
            Self::Cm {
                encryption,
                authentication,
                salt,
            } => {
                let payload = &mut buffer[start + header_len..];
                encryption.apply(cm_iv(*salt, ssrc, index), payload)?;
                let roc = ((index >> 16) as u32).to_be_bytes();
                let tag = authentication.sign(&[&buffer[start..], &roc]);
                buffer.extend_from_slice(&tag[..TAG_80_LEN]);
            }
            Self::Gcm { encryption, salt } => {
                let (header, payload) = buffer[start..].split_at_mut(header_len);
                let tag = encryption.seal(gcm_rtp_iv(*salt, ssrc, index), header, payload)?;
                buffer.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Authenticates and decrypts; answers the length of header and payload.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, Rejected> {
        match self {
            Self::Cm {
                encryption,
                authentication,
                salt,
            } => {
                let (sealed, tag) = split_tail_mut(packet, TAG_80_LEN, header_len)?;
                let roc = ((index >> 16) as u32).to_be_bytes();
                authentication
                    .verify(&[sealed, &roc], tag)
                    .map_err(|_| Rejected::BadTag)?;
                let len = sealed.len();
                let payload = &mut sealed[header_len..];
                encryption
                    .apply(cm_iv(*salt, ssrc, index), payload)
                    .map_err(|_| Rejected::BadTag)?;
                Ok(len)
            }
            Self::Gcm { encryption, salt } => {
                if packet.len() < header_len + AesGcm::TAG_LEN {
                    return Err(Rejected::TooShort);
                }
                let (header, payload) = packet.split_at_mut(header_len);
                let len = encryption
                    .open(gcm_rtp_iv(*salt, ssrc, index), header, payload)
                    .map_err(|_| Rejected::BadTag)?;
                Ok(header_len + len)
            }
        }
    }

    /// Encrypts the compound packet that starts at `start` of `buffer`; appends index and tag.
    pub(super) fn seal_rtcp(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<(), AuthenticationFailed> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match self {
            Self::Cm {
                encryption,
                authentication,
                salt,
            } => {
                let payload = &mut buffer[start + RTCP_HEADER_LEN..];
                encryption.apply(cm_iv(*salt, ssrc, u64::from(index)), payload)?;
                buffer.extend_from_slice(&word);
                let tag = authentication.sign(&[&buffer[start..]]);
                buffer.extend_from_slice(&tag[..TAG_80_LEN]);
            }
            Self::Gcm { encryption, salt } => {
                let (header, payload) = buffer[start..].split_at_mut(RTCP_HEADER_LEN);
                let aad = rtcp_aad(header, word);
                let tag = encryption.seal(gcm_rtcp_iv(*salt, ssrc, index), &aad, payload)?;
                buffer.extend_from_slice(&tag);
                buffer.extend_from_slice(&word);
            }
        }
        Ok(())
    }

    /// The index that an SRTCP packet claims, to be held against the replay window.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, Rejected> {
        let after = match self {
            Self::Cm { .. } => TAG_80_LEN,
            Self::Gcm { .. } => 0,
        };
        let end = packet.len().checked_sub(after).ok_or(Rejected::TooShort)?;
        let word = packet
            .get(..end)
            .and_then(|head| head.last_chunk::<INDEX_LEN>());
        let word = u32::from_be_bytes(*word.ok_or(Rejected::TooShort)?);
        if word & ENCRYPTED == 0 {
            return Err(Rejected::NotEncrypted);
        }
        Ok(word & !ENCRYPTED)
    }

    /// Authenticates and decrypts; answers the length of the compound packet.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        index: u32,
    ) -> Result<usize, Rejected> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match self {
            Self::Cm {
                encryption,
                authentication,
                salt,
            } => {
                let least = RTCP_HEADER_LEN + INDEX_LEN;
                let (sealed, tag) = split_tail_mut(packet, TAG_80_LEN, least)?;
                authentication
                    .verify(&[sealed], tag)
                    .map_err(|_| Rejected::BadTag)?;
                let len = sealed.len() - INDEX_LEN;
                encryption
                    .apply(
                        cm_iv(*salt, ssrc, u64::from(index)),
                        &mut sealed[RTCP_HEADER_LEN..len],
                    )
                    .map_err(|_| Rejected::BadTag)?;
                Ok(len)
            }
            Self::Gcm { encryption, salt } => {
                let least = RTCP_HEADER_LEN + AesGcm::TAG_LEN;
                let (sealed, _) = split_tail_mut(packet, INDEX_LEN, least)?;
                let (header, payload) = sealed.split_at_mut(RTCP_HEADER_LEN);
                let aad = rtcp_aad(header, word);
                let len = encryption
                    .open(gcm_rtcp_iv(*salt, ssrc, index), &aad, payload)
                    .map_err(|_| Rejected::BadTag)?;
                Ok(RTCP_HEADER_LEN + len)
            }
        }
    }
}

/// Splits `len` bytes off the end, leaving `least` at least.
#[inline]
fn split_tail_mut(
    packet: &mut [u8],
    len: usize,
    least: usize,
) -> Result<(&mut [u8], &mut [u8]), Rejected> {
    let at = packet
        .len()
        .checked_sub(len)
        .filter(|at| *at >= least)
        .ok_or(Rejected::TooShort)?;
    Ok(packet.split_at_mut(at))
}

/// RFC 3711 §4.1.1.
#[inline]
fn cm_iv(salt: [u8; 16], ssrc: u32, index: u64) -> [u8; 16] {
    let value = u128::from_be_bytes(salt) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    value.to_be_bytes()
}

/// RFC 7714 §8.1: two zero bytes, SSRC, roll-over counter and sequence number.
#[inline]
fn gcm_rtp_iv(salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    xor_96((u128::from(ssrc) << 48) | u128::from(index), salt)
}

/// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes, index.
#[inline]
fn gcm_rtcp_iv(salt: [u8; 12], ssrc: u32, index: u32) -> [u8; 12] {
    xor_96((u128::from(ssrc) << 48) | u128::from(index), salt)
}

#[inline]
fn xor_96(value: u128, mut salt: [u8; 12]) -> [u8; 12] {
    let bytes = value.to_be_bytes();
    for (salt, byte) in salt.iter_mut().zip(&bytes[4..]) {
        *salt ^= byte;
    }
    salt
}

/// RFC 7714 §9.2: the clear header and the index word.
#[inline]
fn rtcp_aad(header: &[u8], word: [u8; INDEX_LEN]) -> [u8; RTCP_HEADER_LEN + INDEX_LEN] {
    let mut aad = [0; RTCP_HEADER_LEN + INDEX_LEN];
    aad[..RTCP_HEADER_LEN].copy_from_slice(header);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&word);
    aad
}
