//! `RTCIceCandidate` of ORTC: the fields of a candidate, without a line of text around them.

use std::fmt;
use std::str::FromStr;

use twocan_proto::ice::{Kind, TcpType};
use twocan_proto::wire::candidate::{
    Candidate, CandidateAddress, CandidateKind, CandidateTransport,
};

use crate::error::Error;

/// `RTCIceProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceProtocol {
    /// `udp`.
    Udp,
    /// `tcp` (RFC 6544).
    Tcp,
}

/// `RTCIceCandidate`: where a side may be reached. As text, `candidate:…` as in descriptions
/// (RFC 8839 §5.1), and read from it.
///
/// ```
/// use twocan::ortc::IceCandidate;
///
/// let candidate: IceCandidate = "candidate:1 1 udp 2122252543 192.0.2.1 50000 typ host".parse()?;
/// assert_eq!((candidate.ip.as_str(), candidate.port), ("192.0.2.1", 50000));
/// # Ok::<(), twocan::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCandidate {
    /// `foundation`: 1 to 32 letters, digits, `+` and `/`; equal for candidates that are likely to
    /// share their fate.
    pub foundation: String,
    /// `priority`: higher is tried earlier (RFC 8445 §5.1.2).
    pub priority: u32,
    /// `ip`: an address, or a name of multicast DNS (`….local`).
    pub ip: String,
    /// `protocol`.
    pub protocol: IceProtocol,
    /// `port`; 9 for an active TCP candidate.
    pub port: u16,
    /// `type`.
    pub kind: Kind,
    /// `tcpType`, over TCP.
    pub tcp_type: Option<TcpType>,
    /// `relatedAddress`: what a reflexive or relayed candidate is based on.
    pub related_address: Option<String>,
    /// `relatedPort`.
    pub related_port: Option<u16>,
}

impl IceCandidate {
    /// `None` for one of a protocol or kind that nobody uses, or of RTCP apart from RTP.
    pub(super) fn of(candidate: Candidate) -> Option<Self> {
        if candidate.component != 1 {
            return None;
        }
        Some(Self {
            foundation: candidate.foundation,
            priority: candidate.priority,
            ip: text(candidate.address),
            protocol: match candidate.transport {
                CandidateTransport::Udp => IceProtocol::Udp,
                CandidateTransport::Tcp => IceProtocol::Tcp,
                CandidateTransport::Other(_) => return None,
            },
            port: candidate.port,
            kind: match candidate.kind {
                CandidateKind::Host => Kind::Host,
                CandidateKind::ServerReflexive => Kind::ServerReflexive,
                CandidateKind::PeerReflexive => Kind::PeerReflexive,
                CandidateKind::Relay => Kind::Relayed,
                CandidateKind::Other(_) => return None,
            },
            tcp_type: candidate.tcp_type,
            related_address: candidate.related_address.map(text),
            related_port: candidate.related_port,
        })
    }

    pub(super) fn to_wire(&self) -> Candidate {
        Candidate {
            foundation: self.foundation.clone(),
            component: 1,
            transport: match self.protocol {
                IceProtocol::Udp => CandidateTransport::Udp,
                IceProtocol::Tcp => CandidateTransport::Tcp,
            },
            priority: self.priority,
            address: address(&self.ip),
            port: self.port,
            kind: match self.kind {
                Kind::Host => CandidateKind::Host,
                Kind::ServerReflexive => CandidateKind::ServerReflexive,
                Kind::PeerReflexive => CandidateKind::PeerReflexive,
                Kind::Relayed => CandidateKind::Relay,
            },
            related_address: self.related_address.as_deref().map(address),
            related_port: self.related_port,
            tcp_type: self.tcp_type,
            extensions: Vec::new(),
        }
    }
}

impl fmt::Display for IceCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_wire().fmt(f)
    }
}

impl FromStr for IceCandidate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let candidate = Candidate::parse(text).map_err(|error| Error::Syntax(error.to_string()))?;
        let unknown = || Error::Syntax("a protocol, type or component that is not used".to_owned());
        Self::of(candidate).ok_or_else(unknown)
    }
}

fn text(address: CandidateAddress) -> String {
    match address {
        CandidateAddress::Ip(ip) => ip.to_string(),
        CandidateAddress::Name(name) => name,
    }
}

fn address(text: &str) -> CandidateAddress {
    match text.parse() {
        Ok(ip) => CandidateAddress::Ip(ip),
        Err(_) => CandidateAddress::Name(text.to_owned()),
    }
}
