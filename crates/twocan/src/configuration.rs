//! `RTCConfiguration`, `RTCIceServer`, `RTCCertificate`.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::dtls;
use twocan_proto::peer::StunServer;

use crate::environment::Environment;
use crate::error::Error;

/// Settings of a connection (W3C webrtc-pc §4.2.1).
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// STUN servers. TURN URLs are accepted and not used: there is no TURN client yet.
    pub ice_servers: Vec<IceServer>,
    /// Our certificate. Default: a fresh one, valid for 30 days.
    pub certificate: Option<Certificate>,
    /// Also gather loopback addresses. Default no: browsers ignore them.
    pub loopback_candidates: bool,
    /// Largest data channel message that we take, in bytes; 0 is no limit of ours. Default
    /// 262,144.
    pub max_message_size: Option<u64>,
    /// Whether frames of Opus are to be sent twice or three times where packets are lost (RED, RFC
    /// 2198), both ways: the order of codecs in our descriptions says that we want it. It costs as
    /// many times the rate of sound. Default no: it is sent only to a side that prefers it.
    pub audio_redundancy: bool,
    /// Whether a simulcast that the other side offers is accepted: each of its streams then arrives
    /// on its own, with its [`rid`](crate::Frame::rid), as a forwarder wants it. Default no: the other
    /// side then sends one stream. Not in the standard.
    pub receive_simulcast: bool,
    /// Whether FlexFEC is offered for video, beside ULPFEC: it protects every codec, ULPFEC only VP8
    /// and VP9. What the other side offers of it is accepted in any case. Default no: stacks that do
    /// not know it take its source for one more of media.
    pub offer_flexfec: bool,
    /// What is shared with other connections. Default: with all of the process.
    pub environment: Option<Environment>,
}

/// Servers that help to connect (W3C webrtc-pc §4.2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IceServer {
    /// `stun:host:port` (RFC 7064), `turn:…`, `turns:…` (RFC 7065).
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

impl Configuration {
    /// The STUN servers of all URLs.
    ///
    /// # Errors
    /// `SyntaxError` for a URL that is neither `stun`, `stuns`, `turn` nor `turns`, or has no host.
    pub(crate) fn stun_servers(&self) -> Result<Vec<StunServer>, Error> {
        let mut servers = Vec::new();
        for url in self.ice_servers.iter().flat_map(|server| &server.urls) {
            let Some((scheme, rest)) = url.split_once(':') else {
                return Err(Error::Syntax(format!(
                    "ICE server URL without a scheme: {url}"
                )));
            };
            match scheme.to_ascii_lowercase().as_str() {
                "stun" => servers.push(parse_host(url, rest)?),
                "stuns" | "turn" | "turns" => {
                    tracing::debug!(scheme, "ICE server of a kind that is not used yet");
                }
                _ => {
                    return Err(Error::Syntax(format!(
                        "unknown scheme in ICE server URL: {url}"
                    )));
                }
            }
        }
        Ok(servers)
    }
}

/// RFC 7064 §3.1: `host` or `host:port`, an IPv6 address in brackets.
fn parse_host(url: &str, rest: &str) -> Result<StunServer, Error> {
    let wrong = || Error::Syntax(format!("ICE server URL is not stun:host[:port]: {url}"));
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':'))
        }
        None => match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || host.contains(['/', '?', '@']) {
        return Err(wrong());
    }
    let port = match port {
        Some(text) => text.parse().map_err(|_| wrong())?,
        None => 3478,
    };
    Ok(StunServer {
        host: host.to_owned(),
        port,
    })
}

/// A certificate with its key (W3C webrtc-pc §4.9). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate(pub(crate) Arc<dtls::Certificate>);

impl Certificate {
    /// `RTCPeerConnection.generateCertificate`: ECDSA P-256, valid for 30 days.
    ///
    /// # Errors
    /// `OperationError` when the provider refuses.
    pub fn generate() -> Result<Self, Error> {
        dtls::Certificate::generate(clock::now().wallclock)
            .map(|made| Self(Arc::new(made)))
            .map_err(|_| Error::Operation("no certificate could be made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Result<Vec<StunServer>, Error> {
        let server = IceServer {
            urls: vec![url.to_owned()],
            ..IceServer::default()
        };
        Configuration {
            ice_servers: vec![server],
            ..Configuration::default()
        }
        .stun_servers()
    }

    #[test]
    fn stun_urls_are_read_as_rfc_7064_has_them() {
        let host = |host: &str, port| {
            vec![StunServer {
                host: host.to_owned(),
                port,
            }]
        };
        assert_eq!(
            servers("stun:example.org").unwrap(),
            host("example.org", 3478)
        );
        assert_eq!(
            servers("STUN:192.0.2.1:19302").unwrap(),
            host("192.0.2.1", 19302)
        );
        assert_eq!(
            servers("stun:[2001:db8::1]:7").unwrap(),
            host("2001:db8::1", 7)
        );
        assert_eq!(servers("turn:t.example.org?transport=tcp").unwrap(), []);
        for wrong in [
            "",
            "stun",
            "stun:",
            "http://a",
            "stun://a",
            "stun:a:b",
            "stun:[::1",
        ] {
            assert!(matches!(servers(wrong), Err(Error::Syntax(_))), "{wrong}");
        }
    }
}
