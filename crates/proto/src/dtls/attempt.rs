//! One attempt at a handshake: an engine, and which hellos it was made for.

use std::time::{Duration, Instant};

use dimpl::{Dtls, Output};

use super::record::Hello;
use super::{Certificate, RETRANSMIT_AFTER, RETRANSMIT_MAX, Role, Settings, Version};
use crate::keying::{SrtpKeys, SrtpProfile};

/// The object identifier rsaEncryption, 1.2.840.113549.1.1.1, in DER.
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// A wait that is none for an answer: an engine without a flight under way gives a date in ten
/// years.
const IDLE_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// An engine.
pub(super) struct Attempt {
    /// Counted from zero; later attempts have higher numbers.
    pub(super) number: u32,
    pub(super) engine: Dtls,
    pub(super) made_at: Instant,
    /// First fragments of the peer's hellos that the engine took: a second one follows a request
    /// to retry.
    hellos: Vec<Hello>,
    /// When the peer's last hello of this attempt arrived.
    pub(super) hello_at: Option<Instant>,
    pub(super) peer_certificate: Option<Vec<u8>>,
    srtp: Option<(Vec<u8>, SrtpProfile)>,
    /// The engine is done, but the peer is not yet compared with its description.
    pub(super) is_complete: bool,
    /// The engine has complained of something that ends a handshake. It may have been anybody's,
    /// so the engine is still told what arrives, but not of time.
    pub(super) has_failed: bool,
    pub(super) timeout: Option<Instant>,
    /// How far the engine's clock is ahead of ours. The engine doubles its timeout without end; on
    /// a path that loses much, [`RETRANSMIT_MAX`] is as long as anybody wants to wait.
    ahead: Duration,
    /// The timeout that the engine waits for, by its clock.
    engine_timeout: Option<Instant>,
}

/// What a hello is to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It came before.
    Same,
    /// The next one after a request to retry.
    Next,
    /// The engine was given another in its place.
    Other,
}

/// What an engine has next.
pub(super) enum Step<'a> {
    Packet(&'a [u8]),
    Data(&'a [u8]),
    Closed,
    /// The buffer must have this length.
    Grow(usize),
    /// Nothing to pass on, but there may be more.
    Again,
    /// Nothing more.
    Idle,
}

impl Attempt {
    pub(super) fn new(
        number: u32,
        settings: &Settings,
        certificate: &Certificate,
        now: Instant,
    ) -> Self {
        Self {
            number,
            engine: Dtls::new_auto(settings.0.clone(), certificate.to_engine(), now),
            made_at: now,
            hellos: Vec::new(),
            hello_at: None,
            peer_certificate: None,
            srtp: None,
            is_complete: false,
            has_failed: false,
            timeout: None,
            ahead: Duration::ZERO,
            engine_timeout: None,
        }
    }

    /// Tells the engine the time, or that the time has come which it waits for.
    pub(super) fn tell_time(&mut self, now: Instant) -> Result<(), dimpl::Error> {
        if self.is_due(now)
            && let Some(at) = self.engine_timeout
        {
            self.ahead += at.saturating_duration_since(now + self.ahead);
        }
        self.engine.handle_timeout(now + self.ahead)
    }

    /// Whether the peer's hello has arrived.
    pub(super) fn has_hello(&self) -> bool {
        !self.hellos.is_empty()
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.timeout.is_none_or(|at| at <= now)
    }

    /// What a hello is to this attempt.
    pub(super) fn compare(&self, hello: &Hello) -> Match {
        if self.hellos.iter().any(|known| known.is_same(hello)) {
            return Match::Same;
        }
        let taken = |known: &Hello| known.sequence == hello.sequence;
        let follows = match &self.hellos[..] {
            [] => hello.sequence == 0,
            hellos => hellos.iter().any(|known| known.is_followed_by(hello)),
        };
        if follows && !self.hellos.iter().any(taken) {
            Match::Next
        } else {
            Match::Other
        }
    }

    /// Remembers a hello that the engine is given.
    pub(super) fn note_hello(&mut self, now: Instant, hello: Hello) {
        self.hello_at = Some(now);
        if self.compare(&hello) == Match::Next {
            self.hellos.push(hello);
        }
    }

    /// Whether a later fragment of a hello with that number can be of use. The engine keeps one
    /// with a higher number for later, and falls over it once the handshake is complete.
    pub(super) fn awaits_rest(&self, sequence: u16) -> bool {
        match &self.hellos[..] {
            [] => sequence == 0,
            hellos => hellos.iter().any(|hello| hello.sequence == sequence),
        }
    }

    /// The peer's hellos that the engine took.
    pub(super) fn hellos(&self) -> &[Hello] {
        &self.hellos
    }

    pub(super) fn into_hellos(self) -> Vec<Hello> {
        self.hellos
    }

    /// Whether the engine has settled on DTLS 1.3, in which all but the hellos is encrypted.
    pub(super) fn is_dtls_1_3(&self) -> bool {
        self.version() == Some(Version::Dtls13)
    }

    pub(super) fn version(&self) -> Option<Version> {
        match self.engine.protocol_version()? {
            dimpl::ProtocolVersion::DTLS1_2 => Some(Version::Dtls12),
            dimpl::ProtocolVersion::DTLS1_3 => Some(Version::Dtls13),
            _ => None,
        }
    }

    /// Whether the certificate that the peer presented has an RSA key.
    pub(super) fn presented_rsa(&self) -> bool {
        self.peer_certificate.as_ref().is_some_and(|der| {
            der.windows(RSA_ENCRYPTION.len())
                .any(|window| window == RSA_ENCRYPTION)
        })
    }

    /// The keys of SRTP, once.
    pub(super) fn take_srtp(&mut self, role: Role) -> Option<SrtpKeys> {
        let (material, profile) = self.srtp.take()?;
        split_keys(&material, profile, role)
    }

    /// Takes the next thing out of the engine.
    pub(super) fn step<'a>(&mut self, now: Instant, scratch: &'a mut [u8]) -> Step<'a> {
        match self.engine.poll_output(scratch) {
            Output::Packet(packet) => return Step::Packet(packet),
            Output::ApplicationData(data) => return Step::Data(data),
            Output::CloseNotify => return Step::Closed,
            Output::BufferTooSmall { needed } => return Step::Grow(needed),
            Output::Timeout(at) => {
                let wait = at.saturating_duration_since(now + self.ahead);
                if wait.is_zero() {
                    // The engine has just been told the time: a deadline that is not ahead is one
                    // on which it does not act (it has given up on a flight). Do not spin on it.
                    self.engine_timeout = None;
                    self.timeout = Some(now + RETRANSMIT_AFTER);
                } else if wait > IDLE_WAIT {
                    self.engine_timeout = None;
                    self.timeout = Some(now + wait);
                } else if self.engine_timeout != Some(at) {
                    self.engine_timeout = Some(at);
                    self.timeout = Some(now + wait.min(RETRANSMIT_MAX));
                }
                return Step::Idle;
            }
            // The keys follow it.
            Output::Connected => self.is_complete = true,
            Output::PeerCert(der) => self.peer_certificate = Some(der.to_vec()),
            Output::KeyingMaterial(material, profile) => {
                if let Some(profile) = srtp_profile(profile) {
                    self.srtp = Some((material.to_vec(), profile));
                }
            }
            other => {
                // The enumeration of the engine may grow; what is unknown is not needed.
                tracing::trace!(?other, "unknown output of the DTLS engine");
            }
        }
        Step::Again
    }
}

fn srtp_profile(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        _ => None,
    }
}

/// RFC 5764 §4.2: client key, server key, client salt, server salt.
fn split_keys(material: &[u8], profile: SrtpProfile, role: Role) -> Option<SrtpKeys> {
    let (client_key, rest) = material.split_at_checked(profile.key_len())?;
    let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
    let (client_salt, rest) = rest.split_at_checked(profile.salt_len())?;
    let (server_salt, _) = rest.split_at_checked(profile.salt_len())?;
    let client = (client_key.to_vec(), client_salt.to_vec());
    let server = (server_key.to_vec(), server_salt.to_vec());
    Some(match role {
        Role::Client => SrtpKeys {
            profile,
            local: client,
            remote: server,
        },
        Role::Server => SrtpKeys {
            profile,
            local: server,
            remote: client,
        },
    })
}
