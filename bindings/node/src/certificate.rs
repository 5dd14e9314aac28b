//! `RTCCertificate`.

use std::time::Duration;

use napi::Result;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::refused;

/// A certificate with its key.
#[napi]
pub struct NativeCertificate {
    pub(crate) inner: twocan::Certificate,
}

#[napi]
impl NativeCertificate {
    /// ECDSA P-256, valid for so many milliseconds, or for 30 days.
    #[napi(factory)]
    pub fn generate(valid_for: Option<f64>) -> Result<Self> {
        let made = match valid_for {
            Some(milliseconds) => {
                let milliseconds = milliseconds.clamp(0.0, f64::from(u32::MAX) * 16.0);
                twocan::Certificate::generate_for(Duration::from_secs_f64(milliseconds / 1000.0))
            }
            None => twocan::Certificate::generate(),
        };
        let inner = made.map_err(|error| refused(&error))?;
        Ok(Self { inner })
    }

    /// A certificate that was serialized: itself, its key, and its end in milliseconds since 1970.
    #[napi(factory)]
    pub fn restore(der: Buffer, private_key: Buffer, expires: f64) -> Self {
        let expires = Duration::try_from_secs_f64(expires / 1000.0).unwrap_or_default();
        let inner = twocan::Certificate::from_der(der.to_vec(), private_key.to_vec(), expires);
        Self { inner }
    }

    /// The private key in PKCS #8, in DER.
    #[napi]
    pub fn private_key(&self) -> Buffer {
        self.inner.private_key().to_vec().into()
    }

    /// `expires`, in milliseconds since 1970.
    #[napi(getter)]
    pub fn expires(&self) -> f64 {
        (self.inner.expires().as_secs_f64() * 1000.0).round()
    }

    /// The certificate in DER.
    #[napi]
    pub fn der(&self) -> Buffer {
        self.inner.der().to_vec().into()
    }

    /// The name of the hash, and the fingerprint by it.
    #[napi]
    pub fn fingerprint(&self) -> Vec<String> {
        let (hash, value) = self.inner.fingerprint();
        vec![hash.to_owned(), value]
    }
}
