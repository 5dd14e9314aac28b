//! DTLS 1.2 and 1.3 (RFC 6347, RFC 9147) with SRTP keys (RFC 5764) and fingerprints (RFC 8122).
//!
//! 1. Either side starts as client or server, as the descriptions say.
//! 2. Datagrams go in record by record; application data comes out while they do.
//! 3. When the handshake is complete, the certificate that the peer has proved to own is held
//!    against the fingerprints of its description. Only then is the connection
//!    [`Event::Connected`], and only then is anything delivered.
//! 4. What arrives in the clear can be anybody's: an alert or an impossible message is a hint at
//!    a reason, and ends the handshake only if nothing better follows ([`GRACE`]).
//! 5. A hello can be anybody's as well, and so can damage have changed it. Every ClientHello that
//!    differs is answered by an engine of its own, and a client whose handshake fails or stalls
//!    after a ServerHello sends a new ClientHello beside it. The first attempt that is complete
//!    is the connection.
//!
//! A server of clients that nobody has described is [`Associations`].
//!
//! The records and handshakes are `dimpl`'s; none of its types leave this module (but for one
//! constructor of [`Settings`] that the simulator enables), so that another engine replaces
//! [`Connection`]'s inside alone.

mod associations;
mod attempt;
mod attempts;
mod certificate;
mod connection;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

pub use associations::{Associations, Bounds, FiveTuple};
pub use certificate::{Certificate, CertificateError, Fingerprint};
pub use connection::Connection;

use crate::keying::SrtpKeys;

/// How long a handshake goes on after a message that, were it the peer's, would end it.
pub const GRACE: Duration = Duration::from_secs(2);

/// First retransmission of a flight: between the 200 and 400 ms that suit real-time paths
/// (RFC 9147 §5.8.2 allows it where the application knows its latency).
const RETRANSMIT_AFTER: Duration = Duration::from_millis(250);

/// Longest time between two transmissions of a flight.
const RETRANSMIT_MAX: Duration = Duration::from_secs(1);

/// Retransmissions of one flight, those included that the peer's own retransmissions ask for. The
/// limit of time decides, not this.
const RETRANSMISSIONS_MAX: usize = 64;

/// The most that an engine lets its handshake take by its own clock, which runs ahead of ours;
/// [`HANDSHAKE_TIME_MAX`] is what counts.
const ENGINE_TIME_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The whole handshake.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);

/// How long after a ServerHello the client goes on alone with that handshake, before it sends
/// another ClientHello: whoever answered may not have been the server.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How long after a message that makes no sense a handshake waits for an attempt that does.
const RESTART_GRACE: Duration = Duration::from_secs(8);

/// Attempts under way at a time; an older one makes way for a new one.
const ATTEMPTS_LIVE_MAX: usize = 8;

/// The same of a handshake whose client has proved nothing, not even its address.
const UNPROVEN_ATTEMPTS_LIVE_MAX: usize = 2;

/// ClientHellos of a client. The time limit comes first.
const CLIENT_ATTEMPTS_MAX: u32 = 32;

/// Different ClientHellos that a server answers; each costs a key exchange and a signature.
const SERVER_ATTEMPTS_MAX: u32 = 64;

/// Settings shared by any number of connections; making it costs a self-test of the ciphers.
#[derive(Clone)]
pub struct Settings(Arc<dimpl::Config>);

impl Settings {
    /// Settings for UDP payloads of up to `datagram_len_max` bytes.
    ///
    /// # Errors
    /// [`SettingsError`] when `datagram_len_max` is too small for a handshake (below 576), or
    /// when the self-test of a cipher fails.
    pub fn new(datagram_len_max: usize) -> Result<Self, SettingsError> {
        Self::build(datagram_len_max, |builder| builder)
    }

    /// Settings of a server to which anybody may come ([`Associations`]): a client shows by a cookie
    /// that it is where it says (RFC 6347 §4.2.1, RFC 9147 §5.1), and is not asked for a certificate.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_server(datagram_len_max: usize) -> Result<Self, SettingsError> {
        Self::build(datagram_len_max, |builder| {
            builder
                .use_server_cookie(true)
                .require_client_certificate(false)
        })
    }

    /// Whether the engine can prove to have this certificate: it knows ECDSA keys on P-256 and
    /// P-384, in PKCS #8 or SEC 1.
    pub fn can_prove(&self, certificate: &Certificate) -> bool {
        let keys = self.0.crypto_provider().key_provider;
        keys.load_private_key(certificate.private_key()).is_ok()
    }

    /// Attempts under way at a time.
    fn attempts_live_max(&self) -> usize {
        match self.0.use_server_cookie() {
            true => UNPROVEN_ATTEMPTS_LIVE_MAX,
            false => ATTEMPTS_LIVE_MAX,
        }
    }

    /// Settings whose protocol randomness follows from `seed`: for simulations alone. Ephemeral
    /// keys and signatures do not.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn repeatable(datagram_len_max: usize, seed: u64) -> Result<Self, SettingsError> {
        Self::build(datagram_len_max, |builder| {
            builder.dangerously_set_rng_seed(seed)
        })
    }

    /// Settings whose protocol randomness follows from `seed` and whose cryptography is
    /// `provider`'s: for simulations alone.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[cfg(feature = "simulation")]
    pub fn simulated(
        datagram_len_max: usize,
        seed: u64,
        provider: dimpl::crypto::CryptoProvider,
    ) -> Result<Self, SettingsError> {
        Self::build(datagram_len_max, |builder| {
            builder
                .dangerously_set_rng_seed(seed)
                .with_crypto_provider(provider)
        })
    }

    fn build(
        datagram_len_max: usize,
        adapt: impl FnOnce(dimpl::ConfigBuilder) -> dimpl::ConfigBuilder,
    ) -> Result<Self, SettingsError> {
        if datagram_len_max < 576 {
            return Err(SettingsError::DatagramTooSmall);
        }
        let builder = dimpl::Config::builder()
            .mtu(datagram_len_max)
            .flight_start_rto(RETRANSMIT_AFTER)
            .flight_retries(RETRANSMISSIONS_MAX)
            .handshake_timeout(ENGINE_TIME_MAX)
            // The path is proven by ICE before a ClientHello is read: a cookie would prove it a
            // second time, for a round trip.
            .use_server_cookie(false);
        adapt(builder)
            .build()
            .map(|config| Self(Arc::new(config)))
            .map_err(|_| SettingsError::SelfTest)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

/// Why there are no [`Settings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Less than 576 bytes.
    #[error("datagrams of less than 576 bytes cannot carry a handshake")]
    DatagramTooSmall,
    /// The cryptographic provider does not compute what it should.
    #[error("the cryptographic provider failed its self-test")]
    SelfTest,
}

/// Who sends the ClientHello (`a=setup`, RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `active`.
    Client,
    /// `passive`.
    Server,
}

/// The version agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 6347.
    Dtls12,
    /// RFC 9147.
    Dtls13,
}

impl Version {
    /// As `RTCTransportStats.tlsVersion` has it: `FEFD` or `FEFC`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dtls12 => "FEFD",
            Self::Dtls13 => "FEFC",
        }
    }
}

/// What a connection reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is complete and the peer is who its description says.
    Connected {
        /// The version agreed on.
        version: Version,
        /// Keys for SRTP, where a profile was agreed on.
        srtp: Option<SrtpKeys>,
    },
    /// The peer closed the connection (`close_notify`).
    Closed,
    /// The connection is over.
    Failed(Failure),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// The peer proved to own a certificate, but not one that its description names.
    #[error("the peer's certificate does not match the fingerprint in its description")]
    FingerprintMismatch,
    /// The description names only hash functions that RFC 8122 forbids, or unknown ones.
    #[error("the peer's description has no fingerprint with SHA-256, SHA-384 or SHA-512")]
    NoUsableFingerprint,
    /// The peer presented an RSA certificate.
    #[error(
        "the peer presented an RSA certificate, which is not supported: it must use ECDSA P-256 \
         or P-384"
    )]
    RsaCertificate,
    /// The peer presented a certificate that cannot be used.
    #[error("the peer's certificate cannot be used: it must be ECDSA P-256 or P-384")]
    UnusableCertificate,
    /// The peer refused the handshake with alert 40 or 71, having nothing in common with us.
    #[error(
        "the peer refused the handshake (alert {0}): nothing in common with our ECDSA cipher \
         suites; an RSA certificate at the peer is the usual cause and is not supported"
    )]
    NothingInCommon(u8),
    /// The peer ended the handshake with another alert.
    #[error("the peer ended the handshake with alert {0}")]
    Alert(u8),
    /// The peer's messages make no sense for this handshake.
    #[error("the peer's handshake messages are not acceptable")]
    Protocol,
    /// No complete handshake in 30 s.
    #[error("the handshake was not complete in time")]
    Timeout,
}
