//! The list of STUN and TURN servers that participants get.

use std::time::Duration;

use serde::Serialize;
use twocan_proto::turn::rest_password;

/// `RTCIceServer` (W3C webrtc-pc §4.2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The server's own STUN and TURN under the name by which a client reaches it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnUrls {
    /// A `stun:` URL.
    pub stun: Option<String>,
    /// `turn:` and `turns:` URLs; the server takes what `turn_secret` makes.
    pub turn: Vec<String>,
}

/// Makes a list for each participant, with credentials that expire.
#[derive(Clone, Default)]
pub struct IceServers {
    /// `stun:` URLs for all.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` URLs of a server that shares `turn_secret`.
    pub turn: Vec<String>,
    /// The secret of time-limited credentials (coturn's `static-auth-secret`,
    /// draft-uberti-behave-turn-rest).
    pub turn_secret: Option<String>,
    /// How long credentials are valid. Zero means an hour.
    pub time_to_live: Duration,
}

impl IceServers {
    /// The list for `peer`, with credentials that end `time_to_live` after `wallclock` (time since
    /// 1970), and no later than `until`, when whom they are for has to go; what is our own comes
    /// first.
    pub fn list_for(
        &self,
        peer: &str,
        own: &OwnUrls,
        wallclock: Duration,
        until: Option<Duration>,
    ) -> Vec<IceServer> {
        let mut list = Vec::new();
        let stun: Vec<String> = own.stun.iter().chain(&self.stun).cloned().collect();
        if !stun.is_empty() {
            list.push(IceServer {
                urls: stun,
                username: None,
                credential: None,
            });
        }
        let turn: Vec<String> = own.turn.iter().chain(&self.turn).cloned().collect();
        if let Some(secret) = self.turn_secret.as_ref().filter(|_| !turn.is_empty()) {
            let hour = Duration::from_secs(3600);
            let lasts = if self.time_to_live.is_zero() {
                hour
            } else {
                self.time_to_live
            };
            let ends = (wallclock + lasts).min(until.unwrap_or(Duration::MAX));
            let username = format!("{}:{peer}", ends.as_secs());
            let credential = rest_password(secret.as_bytes(), &username);
            list.push(IceServer {
                urls: turn,
                username: Some(username),
                credential: Some(credential),
            });
        }
        list
    }
}

/// Shows no secret.
impl std::fmt::Debug for IceServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServers")
            .field("stun", &self.stun)
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_computes() {
        let servers = IceServers {
            stun: vec![],
            turn: vec!["turn:turn.example.org".into()],
            turn_secret: Some("north".into()),
            time_to_live: Duration::from_secs(60),
        };
        let own = OwnUrls {
            stun: Some("stun:here".into()),
            turn: vec!["turn:here".into()],
        };
        let now = Duration::from_secs(1_700_000_000);
        let list = servers.list_for("me", &own, now, None);
        assert_eq!(list[0].urls, ["stun:here"]);
        assert_eq!(list[1].urls, ["turn:here", "turn:turn.example.org"]);
        assert_eq!(list[1].username.as_deref(), Some("1700000060:me"));
        // printf '1700000060:me' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            list[1].credential.as_deref(),
            Some("QKNKKCjz319n/piWTQFXgut8fy4=")
        );
        assert!(!format!("{servers:?}").contains("north"));
        // They do not outlive the token of whom they are for.
        let ends = |seconds| {
            let until = Some(now + Duration::from_secs(seconds));
            servers.list_for("me", &own, now, until)[1].username.clone()
        };
        assert_eq!(ends(20).as_deref(), Some("1700000020:me"));
        assert_eq!(ends(90).as_deref(), Some("1700000060:me"));
    }
}
