//! Certificates that are the same in every run.

use std::sync::Arc;
use std::time::Duration;

use twocan_proto::dtls::Certificate;

/// They are valid for a hundred years from 2026: time since 1970.
const EXPIRES: Duration = Duration::from_secs(4_900_000_000);

/// The certificate of a caller (0) or a callee (1): ECDSA P-256, with keys that are no secret.
pub fn certificate(index: usize) -> Arc<Certificate> {
    let (certificate, key): (&[u8], &[u8]) = match index {
        0 => (
            include_bytes!("certificates/caller.der"),
            include_bytes!("certificates/caller.p8"),
        ),
        _ => (
            include_bytes!("certificates/callee.der"),
            include_bytes!("certificates/callee.p8"),
        ),
    };
    Arc::new(Certificate::from_der(
        certificate.to_vec(),
        key.to_vec(),
        EXPIRES,
    ))
}
