//! Servers that help to connect, as they are named on the command line.

use clap::Args;
use twocan::{Configuration, IceServer, IceTransportPolicy, IceTransports};

/// How to reach the other side.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IceArguments {
    /// STUN or TURN server; may be repeated. stun:HOST, turn:USER:PASSWORD@HOST,
    /// turn:USER:PASSWORD@HOST:PORT?transport=tcp, turns:USER:PASSWORD@HOST; other characters
    /// than letters, digits and -._~ in user and password as %XX
    #[arg(long = "ice-server", value_name = "URL", value_parser = parse)]
    servers: Vec<IceServer>,
    /// Connect by TURN servers alone, so that the other side learns none of our addresses
    #[arg(long)]
    relay_only: bool,
    /// Connect over TCP alone, without STUN and TURN servers
    #[arg(long, conflicts_with_all = ["relay_only", "no_tcp"])]
    no_udp: bool,
    /// Be an ICE-lite agent: the other side checks
    #[arg(long, conflicts_with = "relay_only")]
    ice_lite: bool,
    /// Tell names in place of our addresses, which multicast DNS resolves on our own network alone
    #[arg(long)]
    hide_addresses: bool,
    /// Connect over UDP alone, or through relays
    #[arg(long)]
    no_tcp: bool,
}

impl IceArguments {
    /// Writes them into a configuration.
    pub(crate) fn apply(&self, configuration: &mut Configuration) {
        configuration.ice_servers.extend_from_slice(&self.servers);
        if self.relay_only {
            configuration.ice_transport_policy = IceTransportPolicy::Relay;
        }
        configuration.ice_lite |= self.ice_lite;
        configuration.hide_host_addresses |= self.hide_addresses;
        configuration.ice_transports = match (self.no_udp, self.no_tcp) {
            (true, _) => IceTransports::Tcp,
            (false, true) => IceTransports::Udp,
            (false, false) => configuration.ice_transports,
        };
    }
}

/// RFC 7065 has no place for a user; this is the form that GStreamer has.
fn parse(text: &str) -> Result<IceServer, String> {
    let plain = IceServer {
        urls: vec![text.to_owned()],
        ..IceServer::default()
    };
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err("no stun:, turn: or turns: in front".to_owned());
    };
    let Some((user, host)) = rest.rsplit_once('@') else {
        return Ok(plain);
    };
    let (name, password) = user
        .split_once(':')
        .ok_or("USER:PASSWORD expected before @")?;
    Ok(IceServer {
        urls: vec![format!("{scheme}:{host}")],
        username: Some(decode(name)?),
        credential: Some(decode(password)?),
    })
}

/// RFC 3986 §2.1.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|own| char::from(own).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err("% without two hexadecimal digits".to_owned());
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "user or password is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_may_stand_before_the_host() {
        let server = parse("turn:17:ann:s3cret@example.org:99?transport=tcp").unwrap();
        assert_eq!(server.urls, ["turn:example.org:99?transport=tcp"]);
        assert_eq!(server.username.as_deref(), Some("17"));
        assert_eq!(server.credential.as_deref(), Some("ann:s3cret"));
        let server = parse("turns:17%3Aann:p%40ss%2F@[2001:db8::1]").unwrap();
        assert_eq!(server.urls, ["turns:[2001:db8::1]"]);
        assert_eq!(server.username.as_deref(), Some("17:ann"));
        assert_eq!(server.credential.as_deref(), Some("p@ss/"));
        assert_eq!(
            parse("stun:example.org").unwrap().urls,
            ["stun:example.org"]
        );
        for wrong in [
            "example",
            "turn:ann@example.org",
            "turn:a%4:b@h",
            "turn:a:%ff@h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
