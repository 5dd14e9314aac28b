//! ICE candidates as text (RFC 8839 §5.1, RFC 6544 §4.5, RFC 8828 for `.local` names).

use core::fmt;
use std::net::IpAddr;

use thiserror::Error;

/// Why a candidate cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CandidateError {
    /// More than [`LEN_MAX`] bytes.
    #[error("longer than 1024 bytes")]
    TooLong,
    /// A field is missing.
    #[error("ends before the type")]
    TooShort,
    /// The foundation is not 1 to 32 ICE characters.
    #[error("bad foundation")]
    BadFoundation,
    /// The component is not 1 to 256.
    #[error("bad component")]
    BadComponent,
    /// The priority is not a number below 2³².
    #[error("bad priority")]
    BadPriority,
    /// The address is neither an IP address nor a host name.
    #[error("bad address")]
    BadAddress,
    /// A port is not a number below 65536.
    #[error("bad port")]
    BadPort,
    /// The word `typ` is missing.
    #[error("expected typ")]
    ExpectedType,
    /// An extension has a name but no value.
    #[error("extension without a value")]
    BadExtension,
    /// `tcptype` is not `active`, `passive` or `so`.
    #[error("bad tcptype")]
    BadTcpType,
}

/// Longest candidate parsed, in bytes; a browser's has about 200.
pub const LEN_MAX: usize = 1024;

/// An address at which a peer may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates that are likely to share their fate.
    pub foundation: String,
    /// 1 for RTP and everything multiplexed with it, 2 for separate RTCP; up to 256.
    pub component: u16,
    /// UDP or TCP.
    pub transport: CandidateTransport,
    /// Higher is tried earlier; RFC 8445 §5.1.2.
    pub priority: u32,
    /// The address.
    pub address: CandidateAddress,
    /// The port; 9 for an active TCP candidate.
    pub port: u16,
    /// How it was found.
    pub kind: CandidateKind,
    /// What a reflexive or relayed candidate is based on, `raddr`.
    pub related_address: Option<CandidateAddress>,
    /// The port of it, `rport`.
    pub related_port: Option<u16>,
    /// Who connects, for TCP.
    pub tcp_type: Option<TcpType>,
    /// Everything else, such as `generation 0`, as name and value in order.
    pub extensions: Vec<(String, String)>,
}

/// The transport protocol of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
    /// Any other, in lower case; a candidate to ignore.
    Other(String),
}

/// The address of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, such as a browser's `….local`.
    Name(String),
}

/// How a candidate was found (RFC 8445 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of the host.
    Host,
    /// The host as a STUN server sees it.
    ServerReflexive,
    /// The host as its peer sees it.
    PeerReflexive,
    /// An address at a TURN server.
    Relay,
    /// Any other; a candidate to ignore.
    Other(String),
}

/// Who connects, for a TCP candidate (RFC 6544 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpType {
    /// The candidate's owner connects.
    Active,
    /// The candidate's owner listens.
    Passive,
    /// Both connect at once.
    SimultaneousOpen,
}

impl Candidate {
    /// Reads a candidate with or without `a=` and `candidate:` before it.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// ```
    /// use twocan_wire::candidate::Candidate;
    /// let text = "candidate:1 1 udp 2122252543 192.0.2.1 50000 typ host generation 0";
    /// let candidate = Candidate::parse(text)?;
    /// assert_eq!(candidate.port, 50000);
    /// assert_eq!(candidate.to_string(), text);
    /// # Ok::<(), twocan_wire::candidate::CandidateError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, CandidateError> {
        use CandidateError as E;
        if text.len() > LEN_MAX {
            return Err(E::TooLong);
        }
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(E::TooShort);
        let foundation = parse_foundation(word()?)?;
        let component = word()?
            .parse()
            .ok()
            .filter(|component| (1..=256).contains(component))
            .ok_or(E::BadComponent)?;
        let transport = CandidateTransport::parse(word()?);
        let priority = word()?.parse().map_err(|_| E::BadPriority)?;
        let address = CandidateAddress::parse(word()?)?;
        let port = word()?.parse().map_err(|_| E::BadPort)?;
        if word()? != "typ" {
            return Err(E::ExpectedType);
        }
        let mut candidate = Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind: CandidateKind::parse(word()?),
            related_address: None,
            related_port: None,
            tcp_type: None,
            extensions: Vec::new(),
        };
        while let Some(name) = words.next() {
            candidate.extend(name, words.next().ok_or(E::BadExtension)?)?;
        }
        Ok(candidate)
    }

    fn extend(&mut self, name: &str, value: &str) -> Result<(), CandidateError> {
        match name {
            "raddr" if self.related_address.is_none() => {
                self.related_address = Some(CandidateAddress::parse(value)?);
            }
            "rport" if self.related_port.is_none() => {
                self.related_port = Some(value.parse().map_err(|_| CandidateError::BadPort)?);
            }
            "tcptype" if self.tcp_type.is_none() => self.tcp_type = Some(TcpType::parse(value)?),
            _ => self.extensions.push((name.into(), value.into())),
        }
        Ok(())
    }

    /// The generation's user name fragment, where the candidate names it.
    pub fn username_fragment(&self) -> Option<&str> {
        self.extensions
            .iter()
            .find(|(name, _)| name == "ufrag")
            .map(|(_, value)| value.as_str())
    }

    /// The text after `candidate:`.
    pub fn value(&self) -> impl fmt::Display + '_ {
        Value(self)
    }
}

impl fmt::Display for Candidate {
    /// The form that the W3C API exchanges, `candidate:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "candidate:{}", self.value())
    }
}

struct Value<'a>(&'a Candidate);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidate = self.0;
        write!(
            f,
            "{} {} {} {} {} {} typ {}",
            candidate.foundation,
            candidate.component,
            candidate.transport.as_str(),
            candidate.priority,
            candidate.address,
            candidate.port,
            candidate.kind.as_str()
        )?;
        if let Some(address) = &candidate.related_address {
            write!(f, " raddr {address}")?;
        }
        if let Some(port) = candidate.related_port {
            write!(f, " rport {port}")?;
        }
        if let Some(tcp_type) = candidate.tcp_type {
            write!(f, " tcptype {}", tcp_type.as_str())?;
        }
        candidate
            .extensions
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}

fn parse_foundation(word: &str) -> Result<String, CandidateError> {
    // RFC 8839 §5.1: letters, digits, '+' and '/'. Some stacks write '-', '_' or ':' as well; a
    // foundation is only ever compared, so they do no harm.
    let valid = (1..=32).contains(&word.len())
        && word.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b':')
        });
    if valid {
        Ok(word.into())
    } else {
        Err(CandidateError::BadFoundation)
    }
}

impl CandidateTransport {
    fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "udp" => Self::Udp,
            "tcp" => Self::Tcp,
            other => Self::Other(other.into()),
        }
    }

    /// The word in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Other(name) => name,
        }
    }
}

impl CandidateAddress {
    fn parse(word: &str) -> Result<Self, CandidateError> {
        if let Ok(ip) = word.parse() {
            return Ok(Self::Ip(ip));
        }
        // RFC 1123 §2.1 host names; 253 is the longest that DNS carries.
        let valid = (1..=253).contains(&word.len())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if valid {
            Ok(Self::Name(word.into()))
        } else {
            Err(CandidateError::BadAddress)
        }
    }

    /// The IP address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for CandidateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => fmt::Display::fmt(ip, f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl CandidateKind {
    fn parse(word: &str) -> Self {
        match word {
            "host" => Self::Host,
            "srflx" => Self::ServerReflexive,
            "prflx" => Self::PeerReflexive,
            "relay" => Self::Relay,
            other => Self::Other(other.into()),
        }
    }

    /// The word on the line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
            Self::Other(name) => name,
        }
    }
}

impl TcpType {
    fn parse(word: &str) -> Result<Self, CandidateError> {
        match word {
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "so" => Ok(Self::SimultaneousOpen),
            _ => Err(CandidateError::BadTcpType),
        }
    }

    /// The word on the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_candidate_is_read() {
        let text = "candidate:3857187582 1 UDP 1685987071 10.77.10.2 35445 typ srflx \
                    raddr 10.77.1.2 rport 35445 generation 0 ufrag oOT7 network-id 1";
        let candidate = Candidate::parse(text).unwrap();
        assert_eq!(candidate.transport, CandidateTransport::Udp);
        assert_eq!(candidate.kind, CandidateKind::ServerReflexive);
        assert_eq!(candidate.related_port, Some(35445));
        assert_eq!(candidate.username_fragment(), Some("oOT7"));
        assert_eq!(candidate.to_string(), text.replace("UDP", "udp"));
    }

    #[test]
    fn names_and_tcp_types_are_read() {
        let text = "0 1 tcp 2105524479 5f6a1b0e-0c7b-4e55-9d5d-0a2f3a8c6b21.local 9 typ host \
                    tcptype active";
        let candidate = Candidate::parse(text).unwrap();
        assert!(
            matches!(&candidate.address, CandidateAddress::Name(name) if name.ends_with(".local"))
        );
        assert_eq!(candidate.tcp_type, Some(TcpType::Active));
        assert_eq!(candidate.value().to_string(), text);
    }

    #[test]
    fn malformed_candidates_say_what_is_wrong() {
        use CandidateError as E;
        for (text, error) in [
            ("", E::TooShort),
            ("1 1 udp 1 192.0.2.1 1", E::TooShort),
            ("1 0 udp 1 192.0.2.1 1 typ host", E::BadComponent),
            ("1 257 udp 1 192.0.2.1 1 typ host", E::BadComponent),
            ("1 1 udp 4294967296 192.0.2.1 1 typ host", E::BadPriority),
            ("1 1 udp 1 fe80::1%eth0 1 typ host", E::BadAddress),
            ("1 1 udp 1 192.0.2.1 65536 typ host", E::BadPort),
            ("1 1 udp 1 192.0.2.1 1 type host", E::ExpectedType),
            ("1 1 udp 1 192.0.2.1 1 typ host generation", E::BadExtension),
            ("1 1 tcp 1 192.0.2.1 1 typ host tcptype lazy", E::BadTcpType),
            ("& 1 udp 1 192.0.2.1 1 typ host", E::BadFoundation),
        ] {
            assert_eq!(Candidate::parse(text), Err(error), "{text}");
        }
        assert_eq!(Candidate::parse(&"1 ".repeat(600)), Err(E::TooLong));
    }
}
