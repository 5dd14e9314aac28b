//! Why settings cannot be used.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::super::acme::AcmeSettingsError;
use crate::tokens::KeyError;

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read, or has an unknown name or a value of the wrong kind.
    #[error("settings")]
    File(#[from] Box<config::ConfigError>),
    /// One without the other.
    #[error("--tls-cert and --tls-key belong together: one is missing")]
    HalfTls,
    /// Both.
    #[error("--tls-cert, --tls-self-signed and --acme-domain exclude each other")]
    TwoCertificates,
    /// Certificates by ACME.
    #[error(transparent)]
    Acme(#[from] AcmeSettingsError),
    /// TURN without its secret.
    #[error("--turn-url needs --turn-secret, from which its credentials are made")]
    NoTurnSecret,
    /// Empty.
    #[error("--secret is empty: leave it out to open all rooms")]
    EmptySecret,
    /// Empty.
    #[error("--admin-secret is empty: leave it out for none")]
    EmptyAdminSecret,
    /// All who join would administer.
    #[error("--admin-secret and --secret are the same: who may join would administer")]
    OneSecret,
    /// Not signed.
    #[error("--webhook-url needs --webhook-key, by which webhooks are signed")]
    NoWebhookKey,
    /// No address.
    #[error("--webhook-url {0:?} is no http:// or https:// address")]
    WebhookUrl(String),
    /// A key of tokens or webhooks.
    #[error("--token-key or --webhook-key")]
    TokenKey(#[from] KeyError),
    /// No range.
    #[error("--turn-allow {0:?} is no range of addresses such as 10.0.0.0/8 or fd00::/8")]
    Range(String),
    /// No user; the text may have a password in it.
    #[error("--turn-user is not of the form NAME:PASSWORD")]
    TurnUser,
    /// No ports.
    #[error("--turn-ports {0:?} is no range of ports such as 49152-65535")]
    TurnPorts(String),
    /// Not one for each.
    #[error(
        "--media-external-ip is given once for each --media-ip, or not at all; {externals} for {ips}"
    )]
    MediaExternalIps {
        /// How many external addresses there are.
        externals: usize,
        /// How many of our own.
        ips: usize,
    },
    /// Not of one family.
    #[error(
        "--media-external-ip {external} cannot stand for --media-ip {ip}: one is IPv4, one IPv6"
    )]
    MediaFamilies {
        /// Ours.
        ip: IpAddr,
        /// The other.
        external: IpAddr,
    },
    /// No ports.
    #[error("--media-ports {0:?} is no range of ports such as 50000-50100")]
    MediaPorts(String),
    /// TURN over DTLS without a certificate.
    #[error(
        "--turn-dtls needs a certificate: --tls-cert and --tls-key, --acme-domain or \
         --tls-self-signed"
    )]
    NoTurnDtlsCertificate,
    /// A certificate that the engine of DTLS cannot prove to have.
    #[error(
        "--turn-dtls needs a certificate with an ECDSA key on P-256 or P-384: the key of this one \
         is {0}; have another certificate made, or leave --turn-dtls out"
    )]
    TurnDtlsKey(&'static str),
    /// Too long for a challenge.
    #[error("--turn-realm has 1 to 32 bytes")]
    TurnRealm,
    /// Not two of each.
    #[error(
        "--stun-other {other} and --stun {stun} need two IP addresses of one family, neither of \
         them 0.0.0.0 or ::, and two ports"
    )]
    StunOther {
        /// The alternate address.
        other: SocketAddr,
        /// The others.
        stun: String,
    },
    /// Not one for each.
    #[error(
        "--turn-external-ip is given once for each relay address of its family, or not at all; \
         {family}: {externals} for {relays}; name relay addresses by --turn-relay-ip"
    )]
    ExternalIps {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// How many external addresses there are.
        externals: usize,
        /// How many relay addresses.
        relays: usize,
    },
}
