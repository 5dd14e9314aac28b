//! Session keys from master keys (RFC 3711 §4.3, with key derivation rate 0).

use crate::crypto::{AesCtr, AuthenticationFailed};

/// What a derived key is for (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// The first `N` bytes of the key stream for `label`.
///
/// A salt of 96 bits (RFC 7714 §11) stands in the upper bits of the 112 that RFC 3711 has.
pub(super) fn derive(
    master_key: &[u8],
    master_salt: &[u8],
    label: Label,
    out: &mut [u8],
) -> Result<(), AuthenticationFailed> {
    let mut iv = [0; 16];
    for (byte, salt) in iv.iter_mut().zip(master_salt) {
        *byte = *salt;
    }
    iv[7] ^= label as u8;
    out.fill(0);
    AesCtr::new(master_key)?.apply(iv, out)
}
