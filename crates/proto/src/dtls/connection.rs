//! One connection.

use std::collections::VecDeque;
use std::time::Instant;

use dimpl::{Dtls, Output};

use super::record::{ACK, CHANGE_CIPHER_SPEC, HANDSHAKE, Record, records};
use super::{
    Certificate, Event, Failure, Fingerprint, GRACE, RETRANSMIT_AFTER, Role, Settings, Version,
};
use crate::counters::Counters;
use crate::keying::{SrtpKeys, SrtpProfile};
use crate::time::Deadline;

/// Datagrams of handshake flights waiting to be polled. A flight is at most ten.
const QUEUE_MAX: usize = 32;

/// The object identifier rsaEncryption, 1.2.840.113549.1.1.1, in DER.
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not started.
    Idle,
    /// Flights are exchanged.
    Handshake,
    /// Data flows.
    Connected,
    /// Closed by either side, or failed.
    Over,
}

/// A DTLS connection.
pub struct Connection {
    engine: Dtls,
    state: State,
    /// What the peer's certificate must match; `None` until its description is known.
    expected: Option<Vec<Fingerprint>>,
    peer_certificate: Option<Vec<u8>>,
    srtp: Option<(Vec<u8>, SrtpProfile)>,
    /// The engine is done, but the peer is not yet compared with its description.
    complete: bool,
    role: Role,
    /// What ends the handshake at that time if nothing better arrives.
    suspicion: Option<(Instant, Failure)>,
    timeout: Option<Instant>,
    queue: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    scratch: Vec<u8>,
    counters: Counters,
}

impl Connection {
    /// A connection that waits for [`Self::start`].
    pub fn new(settings: &Settings, certificate: &Certificate, now: Instant) -> Self {
        Self {
            engine: Dtls::new_auto(settings.0.clone(), certificate.to_engine(), now),
            state: State::Idle,
            expected: None,
            peer_certificate: None,
            srtp: None,
            complete: false,
            role: Role::Server,
            suspicion: None,
            timeout: None,
            queue: VecDeque::new(),
            events: VecDeque::new(),
            scratch: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Begins: a client sends its ClientHello, a server waits for one. Once only; later calls do
    /// nothing.
    pub fn start(&mut self, now: Instant, role: Role) {
        if self.state != State::Idle {
            return;
        }
        self.state = State::Handshake;
        self.role = role;
        if role == Role::Client {
            self.engine.set_active(true);
        }
        self.handle_timeout(now);
    }

    /// Says which certificates the peer may have: any one of `fingerprints` whose hash function
    /// is usable must match.
    pub fn expect(&mut self, now: Instant, fingerprints: Vec<Fingerprint>) {
        self.expected = Some(fingerprints);
        self.conclude(now);
    }

    /// Takes a datagram; `deliver` is called with application data, never before
    /// [`Event::Connected`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        if matches!(self.state, State::Idle | State::Over) {
            return self.counters.count("dtls.not_expected");
        }
        // The engine stamps its timers with the last time it was told.
        if self.engine.handle_timeout(now).is_err() {
            self.suspect(now, Failure::Timeout);
        }
        for record in records(datagram) {
            if self.admits(now, record) {
                // Record by record: the engine drops the rest of a datagram whose first message
                // it has already processed.
                if let Err(error) = self.engine.handle_packet(record.bytes) {
                    self.complain(now, &error);
                }
                self.drain(now, None, deliver);
            }
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Idle | State::Over) {
            return;
        }
        if let Some((at, failure)) = self.suspicion
            && at <= now
            && self.state == State::Handshake
        {
            return self.fail(failure);
        }
        if self.timeout.is_none_or(|at| at <= now) {
            if self.engine.handle_timeout(now).is_err() && self.state == State::Handshake {
                let failure = self
                    .suspicion
                    .map_or(Failure::Timeout, |(_, failure)| failure);
                return self.fail(failure);
            }
            self.drain(now, None, &mut |_| {});
        }
    }

    /// Encrypts `data` as one record and appends the datagram to `out`. Answers `false`, and
    /// appends nothing, when not connected.
    pub fn send(&mut self, now: Instant, data: &[u8], out: &mut Vec<u8>) -> bool {
        if self.state != State::Connected {
            return false;
        }
        if !matches!(self.engine.send_application_data(data), Ok(len) if len == data.len()) {
            self.counters.count("dtls.send_refused");
            return false;
        }
        self.drain(now, Some(out), &mut |_| {});
        true
    }

    /// Closes with `close_notify`.
    pub fn close(&mut self, now: Instant) {
        if self.state == State::Connected && self.engine.close().is_ok() {
            self.drain(now, None, &mut |_| {});
        }
        self.state = State::Over;
        self.timeout = None;
    }

    /// Appends the next datagram of the handshake to `out`.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(datagram) = self.queue.pop_front() else {
            return false;
        };
        out.extend_from_slice(&datagram);
        true
    }

    /// Whether [`Self::poll_transmit`] has something.
    pub fn has_transmit(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether [`Self::poll_event`] has something.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if matches!(self.state, State::Idle | State::Over) {
            return None;
        }
        let suspicion = self.suspicion.filter(|_| self.state == State::Handshake);
        Deadline::earlier(
            self.timeout.map(|at| Deadline::new(at, "dtls.retransmit")),
            suspicion.map(|(at, _)| Deadline::new(at, "dtls.suspicion")),
        )
    }

    /// Whether data can be sent.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// What was dropped or refused, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the engine may see a record. What is in the clear may be anybody's: an alert is
    /// remembered in the handshake and ignored after it.
    fn admits(&mut self, now: Instant, record: Record<'_>) -> bool {
        if let Some((level, description)) = record.plain_alert() {
            self.counters.count("dtls.alert_in_the_clear");
            let fatal = level == 2 && self.state == State::Handshake;
            match description {
                40 | 71 if fatal => self.suspect(now, Failure::NothingInCommon(description)),
                _ if fatal => self.suspect(now, Failure::Alert(description)),
                _ => {}
            }
            return false;
        }
        match record.plain_type() {
            Some(HANDSHAKE) if !record.is_sound_handshake() => {
                self.counters.count("dtls.malformed_handshake");
                false
            }
            None | Some(HANDSHAKE | CHANGE_CIPHER_SPEC | ACK) => true,
            Some(_) => {
                self.counters.count("dtls.data_in_the_clear");
                false
            }
        }
    }

    fn complain(&mut self, now: Instant, error: &dimpl::Error) {
        use dimpl::{Error, UnexpectedMessageError};
        self.counters.count("dtls.engine_refused");
        if self.state != State::Handshake {
            return;
        }
        match error {
            // Anyone can send a first datagram that is no ServerHello; the engine is unharmed.
            Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)
            | Error::ReceiveQueueFull
            | Error::TransmitQueueFull
            | Error::TooManyClientHelloFragments => {}
            Error::CertificateError(_) => self.suspect(now, self.certificate_failure()),
            Error::SecurityError(_) | Error::CryptoError(_) if self.presented_rsa() => {
                self.suspect(now, Failure::RsaCertificate);
            }
            Error::SecurityError(
                dimpl::SecurityError::NoMutuallyAcceptableCipherSuite
                | dimpl::SecurityError::NoCommonCipherSuite,
            ) => self.suspect(now, Failure::NothingInCommon(40)),
            Error::SecurityError(dimpl::SecurityError::FatalAlert { description }) => {
                self.suspect(now, Failure::Alert(*description));
            }
            _ => self.suspect(now, Failure::Protocol),
        }
    }

    fn certificate_failure(&self) -> Failure {
        if self.peer_certificate.is_none() || self.presented_rsa() {
            Failure::RsaCertificate
        } else {
            Failure::UnusableCertificate
        }
    }

    fn presented_rsa(&self) -> bool {
        self.peer_certificate.as_ref().is_some_and(|der| {
            der.windows(RSA_ENCRYPTION.len())
                .any(|window| window == RSA_ENCRYPTION)
        })
    }

    /// Remembers the first thing that would end the handshake, were it the peer's.
    fn suspect(&mut self, now: Instant, failure: Failure) {
        self.suspicion.get_or_insert((now + GRACE, failure));
    }

    /// Takes out of the engine all that it has: the first datagram to `out` if given, further
    /// ones to the queue.
    fn drain(
        &mut self,
        now: Instant,
        mut out: Option<&mut Vec<u8>>,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.is_empty() {
            scratch.resize(2048, 0);
        }
        loop {
            match self.engine.poll_output(&mut scratch) {
                Output::Packet(packet) => match out.take() {
                    Some(out) => out.extend_from_slice(packet),
                    None if self.queue.len() < QUEUE_MAX => self.queue.push_back(packet.to_vec()),
                    None => self.counters.count("dtls.queue_full"),
                },
                Output::BufferTooSmall { needed } => scratch.resize(needed, 0),
                Output::Timeout(at) => {
                    // The engine has just been told the time: a deadline that is not ahead is one
                    // on which it does not act (it has given up on a flight). Do not spin on it.
                    self.timeout = Some(if at > now { at } else { now + RETRANSMIT_AFTER });
                    break;
                }
                // The keys follow it.
                Output::Connected => self.complete = true,
                Output::PeerCert(der) => self.peer_certificate = Some(der.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    if let Some(profile) = srtp_profile(profile) {
                        self.srtp = Some((material.to_vec(), profile));
                    }
                }
                Output::ApplicationData(data) => {
                    self.conclude(now);
                    if self.state == State::Connected {
                        deliver(data);
                    } else {
                        self.counters.count("dtls.data_before_connected");
                    }
                }
                Output::CloseNotify => {
                    self.state = State::Over;
                    self.events.push_back(Event::Closed);
                }
                other => {
                    // The enumeration of the engine may grow; what is unknown is not needed.
                    tracing::trace!(?other, "unknown output of the DTLS engine");
                }
            }
        }
        self.scratch = scratch;
        self.conclude(now);
    }

    /// Connected only when the engine is done and the peer is who its description says.
    fn conclude(&mut self, now: Instant) {
        if !self.complete || self.state != State::Handshake {
            return;
        }
        let (Some(expected), Some(certificate)) = (&self.expected, &self.peer_certificate) else {
            return;
        };
        if !expected.iter().any(Fingerprint::is_usable) {
            return self.fail(Failure::NoUsableFingerprint);
        }
        let known = expected
            .iter()
            .filter(|fingerprint| fingerprint.is_usable())
            .any(|fingerprint| fingerprint.matches(certificate));
        if !known {
            let _ = self.engine.close();
            return self.fail(Failure::FingerprintMismatch);
        }
        let Some(version) = self.engine.protocol_version().and_then(version) else {
            return self.suspect(now, Failure::Protocol);
        };
        self.state = State::Connected;
        self.suspicion = None;
        let srtp = self
            .srtp
            .take()
            .and_then(|(material, profile)| split_keys(&material, profile, self.role));
        self.events.push_back(Event::Connected { version, srtp });
    }

    fn fail(&mut self, failure: Failure) {
        self.state = State::Over;
        self.timeout = None;
        self.events.push_back(Event::Failed(failure));
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

fn version(version: dimpl::ProtocolVersion) -> Option<Version> {
    match version {
        dimpl::ProtocolVersion::DTLS1_2 => Some(Version::Dtls12),
        dimpl::ProtocolVersion::DTLS1_3 => Some(Version::Dtls13),
        _ => None,
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
