//! Settings, from a file, the environment and flags; the later of these wins.

mod wrong;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::acme::AcmeSettings;
use super::is_loopback;
use super::listeners::{Listeners, one_or_more};
use super::logs::LogFormat;
use super::media::{self, MediaPlan, MediaSettings};
use super::tls::{self, Tls};
use super::tokens_settings::{self, TokenPlan, TokenSettings, WebhookPlan, WebhookSettings};
use super::turn::{self, TurnPlan};
pub(crate) use wrong::SettingsError;

/// Requests per second and address.
const REQUESTS_PER_SECOND: u32 = 50;

/// Everything that can be set. In a file the names have underscores (`tls_cert = "…"`), in the
/// environment the prefix `TWOCAN_` (`TWOCAN_TLS_CERT`), as flags dashes (`--tls-cert`).
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// TOML file with any of these settings.
    #[arg(long, value_name = "FILE", env = "TWOCAN_CONFIG")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,

    /// Address of the page and of signaling. Default 127.0.0.1:8080, or 0.0.0.0:8080 and [::]:8080
    /// where a secret or keys of tokens are set. May be repeated.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "TWOCAN_HTTP",
        value_delimiter = ','
    )]
    #[serde(
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) http: Vec<SocketAddr>,

    /// Address of the STUN and TURN server, UDP and TCP. Default port 3478 of the same IPs as
    /// --http; where that is 0.0.0.0, of [::] as well. May be repeated.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "TWOCAN_STUN",
        value_delimiter = ','
    )]
    #[serde(
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) stun: Vec<SocketAddr>,

    /// Alternate address of the STUN server, by which clients learn how their address translator
    /// behaves (RFC 5780); another IP and another port than --stun, whose IP has to be named.
    #[arg(long, value_name = "IP:PORT", env = "TWOCAN_STUN_OTHER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stun_other: Option<SocketAddr>,

    /// Run neither a STUN nor a TURN server.
    #[arg(long, env = "TWOCAN_NO_STUN", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_stun: Option<bool>,

    /// What a client must show to join a room, as Authorization: Bearer, ?access_token= or the
    /// credentials cookie's password. Without it every room is open.
    #[arg(
        long,
        value_name = "TEXT",
        env = "TWOCAN_SECRET",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,

    /// Certificate chain for HTTPS, PEM; read again when the file changes.
    #[arg(long, value_name = "FILE", env = "TWOCAN_TLS_CERT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key for HTTPS, PEM; read again when the file changes.
    #[arg(long, value_name = "FILE", env = "TWOCAN_TLS_KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,

    /// HTTPS with a certificate made at the start, which browsers warn of.
    #[arg(long, env = "TWOCAN_TLS_SELF_SIGNED", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_self_signed: Option<bool>,

    /// Certificates by ACME.
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_unset")]
    pub(crate) acme: AcmeSettings,

    /// Address of a proxy whose X-Forwarded-For and X-Forwarded-Host are believed; a loopback
    /// address stands for all of them. May be repeated.
    #[arg(
        long = "trusted-proxy",
        value_name = "IP",
        env = "TWOCAN_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trusted_proxies: Vec<IpAddr>,

    /// Origin of a page on another host that may use signaling, or * for any. May be repeated.
    #[arg(
        long = "allowed-origin",
        value_name = "URL",
        env = "TWOCAN_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_origins: Vec<String>,

    /// STUN URL given to clients besides our own. May be repeated.
    #[arg(
        long = "stun-url",
        value_name = "URL",
        env = "TWOCAN_STUN_URLS",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stun_urls: Vec<String>,

    /// TURN URL given to clients, with credentials made from --turn-secret. May be repeated.
    #[arg(
        long = "turn-url",
        value_name = "URL",
        env = "TWOCAN_TURN_URLS",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) turn_urls: Vec<String>,

    /// Secret from which TURN credentials are made, shared with those TURN servers (coturn's
    /// static-auth-secret). Default: made at the start, for our own server alone.
    #[arg(
        long,
        value_name = "TEXT",
        env = "TWOCAN_TURN_SECRET",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_secret: Option<String>,

    /// Seconds that TURN credentials are valid. Default 86400.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_TURN_TTL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_ttl: Option<u64>,

    /// Answer STUN alone, and relay nothing.
    #[arg(long, env = "TWOCAN_NO_TURN", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_turn: Option<bool>,

    /// TURN over UDP alone, neither TCP nor TLS.
    #[arg(long, env = "TWOCAN_NO_TURN_TCP", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_turn_tcp: Option<bool>,

    /// Address of TURN over TLS, where there is a certificate. Default port 5349 of the same IPs
    /// as --stun. May be repeated.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "TWOCAN_TURN_TLS",
        value_delimiter = ','
    )]
    #[serde(
        deserialize_with = "one_or_more",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) turn_tls: Vec<SocketAddr>,

    /// TURN over DTLS as well (RFC 7350), on the addresses of --turn-tls. Forged senders cost it
    /// memory and time, within bounds.
    #[arg(long, env = "TWOCAN_TURN_DTLS", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_dtls: Option<bool>,

    /// Address on which relayed ports are opened. Default that of --stun, or those by which this
    /// machine reaches the internet. May be repeated.
    #[arg(
        long = "turn-relay-ip",
        value_name = "IP",
        env = "TWOCAN_TURN_RELAY_IPS",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) turn_relay_ips: Vec<IpAddr>,

    /// Public address of each relay address, in their order, behind a static address translator.
    /// May be repeated.
    #[arg(
        long = "turn-external-ip",
        value_name = "IP",
        env = "TWOCAN_TURN_EXTERNAL_IPS",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) turn_external_ips: Vec<IpAddr>,

    /// Relayed ports. Default 49152-65535.
    #[arg(long, value_name = "LOW-HIGH", env = "TWOCAN_TURN_PORTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_ports: Option<String>,

    /// Range of addresses that is relayed to though it is not public. May be repeated.
    #[arg(
        long = "turn-allow",
        value_name = "IP/PREFIX",
        env = "TWOCAN_TURN_ALLOW",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) turn_allow: Vec<String>,

    /// Whether public addresses and other clients' relayed ones are relayed to; if not, only what
    /// --turn-allow names is. Default true.
    #[arg(long, value_name = "BOOL", env = "TWOCAN_TURN_PEER_RELAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_peer_relay: Option<bool>,

    /// User of the TURN server. May be repeated.
    #[arg(
        long = "turn-user",
        value_name = "NAME:PASSWORD",
        env = "TWOCAN_TURN_USERS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) turn_users: Vec<String>,

    /// Realm of TURN credentials, 1 to 32 bytes. Default twocan.
    #[arg(long, value_name = "TEXT", env = "TWOCAN_TURN_REALM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_realm: Option<String>,

    /// Relay TCP as well (RFC 6062), to any port of the addresses that are relayed to.
    #[arg(long, env = "TWOCAN_TURN_TCP_RELAY", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_tcp_relay: Option<bool>,

    /// Refuse to move allocations with clients whose address changes (RFC 8016).
    #[arg(long, env = "TWOCAN_NO_TURN_MOBILITY", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_turn_mobility: Option<bool>,

    /// Allocations of one user. Default 128.
    #[arg(long, value_name = "N", env = "TWOCAN_TURN_PER_USER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_per_user: Option<usize>,

    /// Allocations of one address. Default 1000.
    #[arg(long, value_name = "N", env = "TWOCAN_TURN_PER_ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_per_address: Option<usize>,

    /// Allocations in all. Default 10000.
    #[arg(long, value_name = "N", env = "TWOCAN_TURN_TOTAL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_total: Option<usize>,

    /// Threads of the STUN and TURN server, 64 at most. Default one for each core, and one where the
    /// system is not Linux.
    #[arg(long, value_name = "N", env = "TWOCAN_TURN_THREADS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_threads: Option<usize>,

    /// Bits per second and direction that an allocation may relay; 0 for any. Default 50000000.
    #[arg(long, value_name = "BITS", env = "TWOCAN_TURN_BANDWIDTH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_bandwidth: Option<u64>,

    /// The same of all allocations of a user; 0 for any. Default 100000000.
    #[arg(long, value_name = "BITS", env = "TWOCAN_TURN_BANDWIDTH_PER_USER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_bandwidth_per_user: Option<u64>,

    /// The same of all allocations of all users; 0 for any. Default any where a secret is set,
    /// else 100000000.
    #[arg(long, value_name = "BITS", env = "TWOCAN_TURN_BANDWIDTH_TOTAL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_bandwidth_total: Option<u64>,

    /// Seconds that relayed calls may go on once the server is told to end. Default 0.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_TURN_DRAIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn_drain: Option<u64>,

    /// Who may join and administer.
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_unset")]
    pub(crate) tokens: TokenSettings,

    /// Who is told what happens.
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_unset")]
    pub(crate) webhooks: WebhookSettings,

    /// Who comes into a room waits until somebody lets it in who may moderate. Default false.
    #[arg(long, env = "TWOCAN_LOBBY", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lobby: Option<bool>,

    /// Messages to everybody that a room keeps for those who come later, up to 1000. Default 0: none.
    #[arg(long, value_name = "N", env = "TWOCAN_CHAT_HISTORY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chat_history: Option<usize>,

    /// How media is forwarded.
    #[command(flatten)]
    #[serde(skip_serializing_if = "is_unset")]
    pub(crate) media: MediaSettings,

    /// Participants of a room in which media goes from each to each. Default 16.
    #[arg(long, value_name = "N", env = "TWOCAN_PEERS_PER_ROOM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers_per_room: Option<usize>,

    /// Rooms at a time. Default 10000.
    #[arg(long, value_name = "N", env = "TWOCAN_ROOMS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rooms: Option<usize>,

    /// Longest signaling message in bytes. Default 65536.
    #[arg(long, value_name = "BYTES", env = "TWOCAN_MESSAGE_BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_bytes: Option<usize>,

    /// Signaling messages per second and client; twice as many in a burst. Default 100.
    #[arg(long, value_name = "N", env = "TWOCAN_MESSAGES_PER_SECOND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages_per_second: Option<u32>,

    /// Requests per second and address to join, to WHIP, WHEP and the administration; twice as many
    /// in a burst, 0 for any. Default 50.
    #[arg(long, value_name = "N", env = "TWOCAN_REQUESTS_PER_SECOND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<u32>,

    /// Signaling messages that wait for a slow client. Default 1024; then it is closed.
    #[arg(long, value_name = "N", env = "TWOCAN_QUEUE_PER_PEER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue_per_peer: Option<usize>,

    /// Seconds that a participant with a lost connection stays. Default 30.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_RESUME_GRACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume_grace: Option<u64>,

    /// Seconds after which a silent connection is closed. Default 900.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_SILENCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silence: Option<u64>,

    /// Add from_metadata to what base clients are relayed.
    #[arg(long, env = "TWOCAN_FROM_METADATA", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_metadata: Option<bool>,

    /// What is logged, as in `info` or `twocan=debug,info`. Default info.
    #[arg(long, value_name = "FILTER", env = "TWOCAN_LOG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,

    /// How it is logged. Default text.
    #[arg(long, value_name = "FORMAT", env = "TWOCAN_LOG_FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Whether nothing of it was given, so that a file has the word.
fn is_unset(table: &impl Serialize) -> bool {
    serde_json::to_value(table).is_ok_and(|own| own.as_object().is_none_or(|own| own.is_empty()))
}

/// Settings with their defaults, checked.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) http: Listeners,
    pub(crate) turn: Option<TurnPlan>,
    pub(crate) turn_drain: Duration,
    pub(crate) secret: Option<String>,
    pub(crate) tokens: TokenPlan,
    pub(crate) webhooks: Option<WebhookPlan>,
    pub(crate) tls: Tls,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) queue_per_peer: usize,
    pub(crate) requests_per_second: u32,
    pub(crate) hall: twocan_room::Config,
    pub(crate) media: MediaPlan,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Settings {
    /// Merges file and flags (which clap has merged with the environment) and checks them.
    pub(crate) fn plan(&self) -> Result<Plan, SettingsError> {
        self.merged()?.checked()
    }

    /// File and flags.
    pub(crate) fn merged(&self) -> Result<Self, SettingsError> {
        let Some(file) = &self.config else {
            return Ok(self.clone());
        };
        let given = config::Config::try_from(self).map_err(Box::new)?;
        let merged = config::Config::builder()
            .add_source(config::File::from(file.clone()).format(config::FileFormat::Toml))
            .add_source(given)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(Box::new)?;
        Ok(merged)
    }

    /// Whether nobody joins who shows nothing.
    pub(crate) fn is_closed(&self) -> bool {
        let tokens = &self.tokens;
        let by_tokens = !tokens.token_keys.is_empty() && !tokens.open_rooms.unwrap_or(false);
        self.secret.is_some() || by_tokens
    }

    /// The settings with their defaults, if they make sense.
    pub(crate) fn checked(self) -> Result<Plan, SettingsError> {
        if self.secret.as_ref().is_some_and(String::is_empty) {
            return Err(SettingsError::EmptySecret);
        }
        if !self.turn_urls.is_empty() && self.turn_secret.is_none() {
            return Err(SettingsError::NoTurnSecret);
        }
        let tls = tls::plan(&self)?;
        let open = self.is_closed();
        let ip = IpAddr::V4(if open {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        });
        let http = Listeners::named_or(&self.http, &[ip], 8080);
        let ips = http.addresses.iter().map(SocketAddr::ip);
        let mut stun_ips: Vec<_> = ips.filter(|ip| !is_loopback(*ip)).collect();
        if stun_ips.is_empty() {
            stun_ips.push(ip);
        }
        let turn = turn::plan(&self, &stun_ips, &tls)?;
        let media = media::plan(&self)?;
        let tokens = tokens_settings::plan(&self)?;
        let webhooks = tokens_settings::webhooks(&self)?;
        let defaults = twocan_room::Limits::default();
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        let limits = twocan_room::Limits {
            message_bytes: self.message_bytes.unwrap_or(defaults.message_bytes),
            messages_per_second: self
                .messages_per_second
                .unwrap_or(defaults.messages_per_second),
            peers_per_room: self.peers_per_room.unwrap_or(defaults.peers_per_room),
            peers_per_forwarded_room: media
                .peers_per_room
                .unwrap_or(defaults.peers_per_forwarded_room),
            peers_per_mesh: media.peers_per_mesh.unwrap_or(defaults.peers_per_mesh),
            mesh_after: seconds(media.mesh_after, defaults.mesh_after),
            rooms: self.rooms.unwrap_or(defaults.rooms),
            chat_history: self.chat_history.unwrap_or(defaults.chat_history),
            resume_grace: seconds(self.resume_grace, defaults.resume_grace),
            silence: seconds(self.silence, defaults.silence),
            ..defaults
        };
        let ice_servers = twocan_room::IceServers {
            stun: self.stun_urls,
            turn: self.turn_urls,
            turn_secret: self.turn_secret,
            time_to_live: seconds(self.turn_ttl, Duration::from_secs(86_400)),
        };
        let hall = twocan_room::Config {
            limits,
            topology: media.topology,
            ice_servers,
            from_metadata: self.from_metadata.unwrap_or(false),
            lobby: self.lobby.unwrap_or(false),
        };
        Ok(Plan {
            http,
            turn,
            turn_drain: seconds(self.turn_drain, Duration::ZERO),
            secret: self.secret,
            tokens,
            webhooks,
            tls,
            trusted_proxies: self.trusted_proxies,
            allowed_origins: self.allowed_origins,
            queue_per_peer: self.queue_per_peer.unwrap_or(1024).max(16),
            requests_per_second: self.requests_per_second.unwrap_or(REQUESTS_PER_SECOND),
            hall,
            media,
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
