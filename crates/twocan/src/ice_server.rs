//! `RTCIceServer` and its URLs (RFC 7064, RFC 7065).

use twocan_proto::ice::RelayProtocol;
use twocan_proto::locate::{Kind, Service, Transport};
use twocan_proto::peer::{StunServer, TurnServer};
use twocan_proto::turn::client::Account;

use crate::error::Error;

/// Longest user name, in bytes (RFC 8489 §14.3).
const USERNAME_LEN_MAX: usize = 508;

/// Servers that help to connect (W3C webrtc-pc §4.2.4).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IceServer {
    /// `urls`: `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]`, and `turns:` for TLS. A
    /// name without a port is looked for by NAPTR and SRV records first (RFC 5928 §3, RFC 8489 §8.1).
    pub urls: Vec<String>,
    /// `username`, which TURN needs; at most 508 bytes.
    pub username: Option<String>,
    /// `credential`: the password, which TURN needs.
    pub credential: Option<String>,
}

/// Without the credential, which never reaches a log.
impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What the URLs of all servers name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Servers {
    pub(crate) stun: Vec<StunServer>,
    pub(crate) turn: Vec<TurnServer>,
}

impl Servers {
    /// Reads them, as W3C webrtc-pc §4.4.1.1 validates a configuration.
    ///
    /// # Errors
    /// `SyntaxError` for a server without URLs and for a URL that is none of RFC 7064 or 7065;
    /// `InvalidAccessError` for a TURN server without username or credential.
    pub(crate) fn of(servers: &[IceServer]) -> Result<Self, Error> {
        let mut all = Self::default();
        for server in servers {
            if server.urls.is_empty() {
                return Err(Error::Syntax("ICE server without URLs".to_owned()));
            }
            for url in &server.urls {
                all.add(server, url)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, server: &IceServer, url: &str) -> Result<(), Error> {
        let Some((scheme, rest)) = url.split_once(':') else {
            let text = format!("ICE server URL without a scheme: {url}");
            return Err(Error::Syntax(text));
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "stun" | "stuns" => {
                let (host, port) = parse_host(url, rest)?;
                if scheme == "stuns" {
                    // TLS to a STUN server tells the address of the stream, which nobody can use.
                    tracing::debug!(url, "STUN over TLS is not used");
                    return Ok(());
                }
                self.stun.push(StunServer {
                    service: service(&host, port, Kind::Stun),
                    host,
                    port: port.unwrap_or(3478),
                    url: url.to_owned(),
                });
                Ok(())
            }
            "turn" | "turns" => self.add_turn(server, url, rest, scheme == "turns"),
            _ => Err(Error::Syntax(format!(
                "unknown scheme in ICE server URL: {url}"
            ))),
        }
    }

    fn add_turn(
        &mut self,
        server: &IceServer,
        url: &str,
        rest: &str,
        is_secure: bool,
    ) -> Result<(), Error> {
        let (rest, transport) = match rest.split_once('?') {
            None => (rest, None),
            Some((rest, query)) => {
                let transport = query.strip_prefix("transport=").ok_or_else(|| wrong(url))?;
                (rest, Some(transport.to_ascii_lowercase()))
            }
        };
        let (host, port) = parse_host(url, rest)?;
        let (Some(username), Some(password)) = (&server.username, &server.credential) else {
            let text = format!("TURN server without username or credential: {url}");
            return Err(Error::InvalidAccess(text));
        };
        if username.len() > USERNAME_LEN_MAX {
            let text = format!("username of more than {USERNAME_LEN_MAX} bytes: {url}");
            return Err(Error::InvalidAccess(text));
        }
        let protocol = match (is_secure, transport.as_deref()) {
            (false, None | Some("udp")) => RelayProtocol::Udp,
            (false, Some("tcp")) => RelayProtocol::Tcp,
            (true, None | Some("tcp")) => RelayProtocol::Tls,
            (true, Some("udp")) => {
                tracing::debug!(url, "TURN over DTLS is not used");
                return Ok(());
            }
            // RFC 7065 §3.1 leaves room for transports that nobody knows.
            (_, Some(_)) => return Err(wrong(url)),
        };
        let kind = Kind::Turn {
            is_secure,
            transport: match transport.as_deref() {
                None => None,
                Some("tcp") => Some(Transport::Tcp),
                Some(_) => Some(Transport::Udp),
            },
        };
        self.turn.push(TurnServer {
            service: service(&host, port, kind),
            host,
            port: port.unwrap_or(if is_secure { 5349 } else { 3478 }),
            protocol,
            account: Account {
                username: username.clone(),
                password: password.clone(),
            },
            url: url.to_owned(),
        });
        Ok(())
    }
}

/// What is to be looked for: a port that is stated, and an address, are all there is to know (RFC
/// 5928 §3, RFC 8489 §8.1).
fn service(host: &str, port: Option<u16>, kind: Kind) -> Option<Service> {
    let is_open = port.is_none() && host.parse::<std::net::IpAddr>().is_err();
    is_open.then(|| Service {
        host: host.to_owned(),
        kind,
    })
}

fn wrong(url: &str) -> Error {
    Error::Syntax(format!(
        "ICE server URL is not scheme:host[:port], or for TURN with ?transport=udp or tcp: {url}"
    ))
}

/// RFC 7064 §3.1, RFC 7065 §3.1: `host` or `host:port`, an IPv6 address in brackets.
fn parse_host(url: &str, rest: &str) -> Result<(String, Option<u16>), Error> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| wrong(url))?;
            let literal = host.parse::<std::net::Ipv6Addr>().is_ok();
            match (literal, after.strip_prefix(':'), after) {
                (true, Some(port), _) => (host, Some(port)),
                (true, None, "") => (host, None),
                _ => return Err(wrong(url)),
            }
        }
        None => match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let strange = |char: char| char.is_whitespace() || "/?@#[]".contains(char);
    if host.is_empty() || host.contains(strange) {
        return Err(wrong(url));
    }
    let port = port.map(str::parse).transpose().map_err(|_| wrong(url))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Result<Servers, Error> {
        Servers::of(&[IceServer {
            urls: vec![url.to_owned()],
            username: Some("ann".to_owned()),
            credential: Some("secret".to_owned()),
        }])
    }

    #[test]
    fn stun_urls_are_read_as_rfc_7064_has_them() {
        for (url, host, port) in [
            ("stun:example.org", "example.org", 3478),
            ("STUN:192.0.2.1:19302", "192.0.2.1", 19302),
            ("stun:[2001:db8::1]:7", "2001:db8::1", 7),
        ] {
            let read = servers(url).unwrap().stun;
            let is_open = url == "stun:example.org";
            let own = StunServer {
                service: is_open.then(|| Service {
                    host: host.to_owned(),
                    kind: Kind::Stun,
                }),
                host: host.to_owned(),
                port,
                url: url.to_owned(),
            };
            assert_eq!(read, [own]);
        }
        for wrong in [
            "",
            "stun",
            "stun:",
            "http://a",
            "stun://a",
            "stun:a:b",
            "stun:[::1",
            "stun:[a]",
            "stun:a?transport=udp",
        ] {
            assert!(matches!(servers(wrong), Err(Error::Syntax(_))), "{wrong}");
        }
    }

    #[test]
    fn turn_urls_are_read_as_rfc_7065_has_them() {
        use RelayProtocol::{Tcp, Tls, Udp};
        for (url, host, port, protocol) in [
            ("turn:example.org", "example.org", 3478, Udp),
            ("turn:192.0.2.1:99?transport=udp", "192.0.2.1", 99, Udp),
            ("turn:example.org?transport=tcp", "example.org", 3478, Tcp),
            ("TURNS:[2001:db8::1]", "2001:db8::1", 5349, Tls),
            (
                "turns:example.org:443?transport=tcp",
                "example.org",
                443,
                Tls,
            ),
        ] {
            let read = servers(url).unwrap().turn;
            assert_eq!(read.len(), 1, "{url}");
            let own = &read[0];
            assert_eq!(
                (own.host.as_str(), own.port, own.protocol),
                (host, port, protocol)
            );
            let sought = own.service.as_ref().map(ToString::to_string);
            let is_open = url.starts_with("turn:example.org");
            assert_eq!(sought, is_open.then(|| url.to_owned()), "{url}");
            assert_eq!(
                (own.account.username.as_str(), own.url.as_str()),
                ("ann", url)
            );
        }
        for wrong in ["turn:", "turn:a?transport=sctp", "turn:a?x=1", "turns://a"] {
            assert!(matches!(servers(wrong), Err(Error::Syntax(_))), "{wrong}");
        }
    }

    #[test]
    fn what_w3c_refuses_is_refused_by_its_name() {
        let server = |url: &str, username: Option<&str>, credential: Option<&str>| {
            let server = IceServer {
                urls: vec![url.to_owned()],
                username: username.map(str::to_owned),
                credential: credential.map(str::to_owned),
            };
            Servers::of(&[server]).map_err(|error| error.name())
        };
        let refused = Some("InvalidAccessError");
        assert_eq!(server("turn:a", None, None).err(), refused);
        assert_eq!(server("turn:a", Some("ann"), None).err(), refused);
        assert_eq!(server("turns:a", None, Some("secret")).err(), refused);
        assert_eq!(
            server("turn:a", Some(&"x".repeat(509)), Some("y")).err(),
            refused
        );
        assert_eq!(server("stun:a", None, None).err(), None);
        let none = Servers::of(&[IceServer::default()]);
        assert_eq!(none.unwrap_err().name(), "SyntaxError");
    }

    #[test]
    fn a_credential_is_never_shown() {
        let server = IceServer {
            urls: vec!["turn:a".to_owned()],
            username: Some("ann".to_owned()),
            credential: Some("hunter2".to_owned()),
        };
        let read = Servers::of(std::slice::from_ref(&server)).unwrap();
        assert!(!format!("{server:?} {read:?}").contains("hunter2"));
    }
}
