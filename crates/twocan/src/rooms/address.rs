//! From the address that a person opens to that of the WebSocket.

use tokio_tungstenite::tungstenite::http::Uri;

use super::error::JoinError;

/// The WebSocket of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `ws://…` or `wss://…`.
    pub(super) url: String,
    pub(super) is_tls: bool,
    /// Whether the host is this machine by its name or address.
    pub(super) is_loopback: bool,
}

impl Address {
    /// `https://host/blue-otter` becomes `wss://host/webrtc/blue-otter`; a path that names
    /// `/webrtc/` or `/socket/` is kept. `token` is sent as `access_token`.
    pub(super) fn of(text: &str, token: Option<&str>) -> Result<Self, JoinError> {
        let wrong = |reason: &'static str| JoinError::BadAddress {
            address: text.to_owned(),
            reason,
        };
        let escaped = escape(text.split('#').next().unwrap_or_default());
        if !escaped.contains("://") {
            return Err(wrong("it does not begin with http:// or https://"));
        }
        let uri: Uri = escaped.parse().map_err(|_| wrong("it is not a URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            Some(_) => return Err(wrong("it begins neither with http(s):// nor with ws(s)://")),
            None => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or(wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user name; use a token"));
        }
        let path = uri.path().trim_end_matches('/');
        let (before, room) = path.rsplit_once('/').unwrap_or_default();
        if room.is_empty() {
            return Err(wrong(
                "it names no room, as in http://localhost:8080/my-room",
            ));
        }
        let path = if before.ends_with("/webrtc") || before.ends_with("/socket") {
            path.to_owned()
        } else {
            format!("/webrtc/{room}")
        };
        let token = token.map(|token| format!("access_token={}", escape_all(token)));
        let query = [uri.query().map(str::to_owned), token];
        let query: Vec<String> = query.into_iter().flatten().collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let scheme = if is_tls { "wss" } else { "ws" };
        let query = query.join("&");
        Ok(Self {
            url: format!("{scheme}://{authority}{path}{mark}{query}"),
            is_tls,
            is_loopback: is_loopback(authority.host()),
        })
    }
    /// The name of the room, as it stands in the link.
    pub(super) fn room(&self) -> String {
        let path = self.url.split('?').next().unwrap_or_default();
        unescape(path.rsplit('/').next().unwrap_or_default())
    }
}

/// Reads percent-encoded bytes; what is none, and what is no UTF-8 then, is kept as near as can be.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| first == b'%');
        let digit = |at: u8| char::from(at).to_digit(16);
        let value = digits.and_then(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.is_loopback());
    is_address || bare == "localhost" || bare.ends_with(".localhost")
}

/// Percent-encodes what a URL may not have at all: spaces, controls, and whatever is not ASCII.
fn escape(text: &str) -> String {
    escape_unless(text, |byte| byte.is_ascii_graphic())
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn escape_all(text: &str) -> String {
    escape_unless(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
    })
}

fn escape_unless(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pages_become_those_of_sessions() {
        let cases = [
            (
                "http://localhost:8080/my-room",
                "ws://localhost:8080/webrtc/my-room",
            ),
            ("https://example.org/a/", "wss://example.org/webrtc/a"),
            (
                "https://example.org/room/a?x=1#top",
                "wss://example.org/webrtc/a?x=1",
            ),
            ("ws://[::1]:9/socket/a", "ws://[::1]:9/socket/a"),
            ("wss://h/base/webrtc/a", "wss://h/base/webrtc/a"),
            ("http://h/blå otter", "ws://h/webrtc/bl%C3%A5%20otter"),
        ];
        for (page, session) in cases {
            assert_eq!(Address::of(page, None).unwrap().url, session);
        }
        for (page, room) in [
            ("http://h/blå otter/?x=/y", "blå otter"),
            ("http://h/50%25%20off#key=x", "50% off"),
            ("ws://h/webrtc/a%2Fb%zz%4", "a/b%zz%4"),
        ] {
            assert_eq!(Address::of(page, None).unwrap().room(), room);
        }
        let with_token = Address::of("http://h/a?x=1", Some("a b&c")).unwrap();
        assert_eq!(with_token.url, "ws://h/webrtc/a?x=1&access_token=a%20b%26c");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is_loopback = |page| Address::of(page, None).unwrap().is_loopback;
        assert!(is_loopback("https://localhost:8443/a"));
        assert!(is_loopback("https://127.0.0.1/a"));
        assert!(is_loopback("https://[::1]/a"));
        assert!(!is_loopback("https://localhost.example.org/a"));
        assert!(!is_loopback("https://192.0.2.1/a"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "room",
            "localhost/a",
            "ftp://h/a",
            "http://h",
            "http://h/",
            "http://u:p@h/a",
        ] {
            assert!(Address::of(wrong, None).is_err(), "{wrong}");
        }
    }
}
