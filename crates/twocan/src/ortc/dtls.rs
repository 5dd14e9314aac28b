//! `RTCDtlsTransport`.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::peer::ortc::{self, DtlsRole};
use twocan_proto::peer::{DtlsTransportState, PeerFailure};
use twocan_proto::wire::sdp::Fingerprint;

use super::IceTransport;
use crate::error::Error;
use crate::peer_connection::{Owner, PeerConnectionEvent as E};
use crate::state::Pending;

/// `RTCDtlsParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DtlsParameters {
    /// `role` of the side that these are of. Default `auto`. What `a=setup` calls active is the
    /// client, passive the server.
    pub role: DtlsRole,
    /// `fingerprints`: its certificate matches one of them. Those by other hashes than SHA-256,
    /// SHA-384 and SHA-512 are passed over (RFC 8122 §5).
    pub fingerprints: Vec<DtlsFingerprint>,
}

/// `RTCDtlsFingerprint` (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DtlsFingerprint {
    /// `algorithm`, such as `sha-256`.
    pub algorithm: String,
    /// `value`: the bytes in hexadecimal, with colons between.
    pub value: String,
}

impl DtlsFingerprint {
    fn of(own: Fingerprint) -> Self {
        let bytes: Vec<String> = own.bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            algorithm: own.hash,
            value: bytes.join(":"),
        }
    }

    fn to_wire(&self) -> Result<Fingerprint, Error> {
        let bad = || Error::Syntax("a fingerprint is hexadecimal bytes with colons".to_owned());
        let is_byte = |own: &str| own.len() == 2 && own.bytes().all(|own| own.is_ascii_hexdigit());
        let bytes = self.value.trim().split(':').map(|own| {
            let byte = u8::from_str_radix(own, 16).ok();
            byte.filter(|_| is_byte(own)).ok_or_else(bad)
        });
        Ok(Fingerprint {
            hash: self.algorithm.to_ascii_lowercase(),
            bytes: bytes.collect::<Result<_, _>>()?,
        })
    }
}

/// `RTCDtlsTransport`: who the other side is, and the keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DtlsTransport {
    pub(super) owner: Arc<Owner>,
}

impl DtlsTransport {
    /// The transport on an ICE transport. Each has one: two of these are the same.
    pub fn new(ice: &IceTransport) -> Self {
        let owner = Arc::clone(&ice.owner);
        Self { owner }
    }

    /// `getLocalParameters`: what the other side's `start` is to be given. The role is `auto`.
    pub fn local_parameters(&self) -> DtlsParameters {
        let own = self.owner.shared.lock().peer.local_dtls_parameters();
        let fingerprints = own.fingerprints.into_iter();
        DtlsParameters {
            role: own.role,
            fingerprints: fingerprints.map(DtlsFingerprint::of).collect(),
        }
    }

    /// `start`: the handshake begins as soon as there is a way. We take the role that the other side
    /// does not have; where it says `auto`, who is controlled by ICE is the client.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or started before; `SyntaxError` for a fingerprint that is
    /// none; `InvalidAccessError` without one that can be relied on.
    pub fn start(&self, remote: &DtlsParameters) -> Result<(), Error> {
        let fingerprints = remote.fingerprints.iter().map(DtlsFingerprint::to_wire);
        let remote = ortc::DtlsParameters {
            role: remote.role,
            fingerprints: fingerprints.collect::<Result<_, _>>()?,
        };
        let now = clock::now();
        Ok(self
            .owner
            .act(|state| state.peer.start_dtls(now, &remote))?)
    }

    /// `state`.
    pub fn state(&self) -> DtlsTransportState {
        self.owner.shared.lock().peer.dtls_transport_state()
    }

    /// `onstatechange`: waits until [`Self::state`] is another than `known`; `None` when the
    /// connection ends instead.
    pub async fn state_other_than(&self, known: DtlsTransportState) -> Option<DtlsTransportState> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                if state.finished {
                    return Some(None);
                }
                let own = state.peer.dtls_transport_state();
                (own != known).then_some(Some(own))
            })
            .await
    }

    /// `onerror`: why the connection failed, by ICE or DTLS; `None` when it ends instead.
    pub async fn next_failure(&self) -> Option<PeerFailure> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                let is_one = |own: &Pending| matches!(own, Pending::Event(E::Failed(_)));
                match super::ice::take(state, is_one) {
                    Some(Pending::Event(E::Failed(failure))) => Some(Some(failure)),
                    _ => state.finished.then_some(None),
                }
            })
            .await
    }

    /// `getRemoteCertificates`: the other side's certificate in DER, once connected.
    pub fn remote_certificate(&self) -> Option<Vec<u8>> {
        let state = self.owner.shared.lock();
        state.peer.remote_certificate().map(<[u8]>::to_vec)
    }
}
