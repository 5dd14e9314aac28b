//! Attributes about the transport: groups, DTLS, SCTP.

use core::fmt;

use super::error::SdpErrorReason;
use crate::ids::Mid;

/// Sections that belong together, `a=group` (RFC 5888, RFC 8843).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS` and so on.
    pub semantics: String,
    /// The sections; the first of a BUNDLE is the tagged one.
    pub mids: Vec<Mid>,
}

impl Group {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let mut words = value.split_ascii_whitespace();
        let semantics = words.next().ok_or(SdpErrorReason::BadGroup)?;
        Ok(Self {
            semantics: semantics.into(),
            mids: words.map(Mid::from).collect(),
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantics)?;
        self.mids.iter().try_for_each(|mid| write!(f, " {mid}"))
    }
}

/// A hash of a certificate, `a=fingerprint` (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function in lower case, for example `sha-256`.
    pub hash: String,
    /// The hash, as many bytes as the function yields.
    pub bytes: Vec<u8>,
}

/// Longest hash kept, in bytes: SHA-512 yields 64, nothing registered yields more.
const HASH_LEN_MAX: usize = 64;

impl Fingerprint {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let (hash, digits) = value
            .trim()
            .split_once(' ')
            .ok_or(SdpErrorReason::BadFingerprint)?;
        if hash.is_empty() || digits.len() > HASH_LEN_MAX.saturating_mul(3) {
            return Err(SdpErrorReason::BadFingerprint);
        }
        let bytes = digits
            .trim()
            .split(':')
            .map(|pair| match pair.as_bytes() {
                [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    u8::from_str_radix(pair, 16).map_err(|_| SdpErrorReason::BadFingerprint)
                }
                _ => Err(SdpErrorReason::BadFingerprint),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            hash: hash.to_ascii_lowercase(),
            bytes,
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

/// Who opens the DTLS connection, `a=setup` (RFC 4145 §4, RFC 8842 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The sender of the line is the DTLS client.
    Active,
    /// The sender of the line is the DTLS server.
    Passive,
    /// The answerer chooses.
    ActPass,
    /// No connection for the moment.
    HoldConn,
}

impl Setup {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        match value.trim() {
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "actpass" => Ok(Self::ActPass),
            "holdconn" => Ok(Self::HoldConn),
            _ => Err(SdpErrorReason::BadSetup),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        })
    }
}

/// The SCTP port in the form before RFC 8841, `a=sctpmap:5000 webrtc-datachannel 1024`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sctpmap {
    /// The SCTP port.
    pub port: u16,
    /// The protocol on it, `webrtc-datachannel`.
    pub app: String,
    /// The number of streams, where given.
    pub streams: Option<u32>,
}

impl Sctpmap {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let mut words = value.split_ascii_whitespace();
        let port = words.next().and_then(|word| word.parse().ok());
        let (Some(port), Some(app)) = (port, words.next()) else {
            return Err(SdpErrorReason::BadSctp);
        };
        let streams = words
            .next()
            .map(|word| word.parse().map_err(|_| SdpErrorReason::BadSctp))
            .transpose()?;
        Ok(Self {
            port,
            app: app.into(),
            streams,
        })
    }
}

impl fmt::Display for Sctpmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.port, self.app)?;
        match self.streams {
            Some(streams) => write!(f, " {streams}"),
            None => Ok(()),
        }
    }
}
