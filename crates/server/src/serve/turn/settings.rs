//! Settings of the TURN server, checked.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

use twocan_io::interfaces;
use twocan_proto::stun_server::Discovery;
use twocan_proto::turn::server::{AddressPolicy, Cidr, Config, PARTS_MAX, Quotas, RelayAddress};

use super::super::ServeError;
use super::super::listeners::Listeners;
use super::super::settings::{Settings, SettingsError};
use super::super::tls::Tls;

/// Port of STUN and TURN (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;

/// Port of TURN over TLS (RFC 8656 §20).
const TLS_PORT: u16 = 5349;

/// What all together may relay, in bytes per second and direction, where no secret is set: then
/// everybody has a relay, under as many names as it likes.
const OPEN_BYTES_PER_SECOND: u64 = 12_500_000;

/// What the server is to do, once its socket is bound.
#[derive(Debug, Clone)]
pub(crate) struct TurnPlan {
    /// UDP, and TCP on the same ports. The first is that of behaviour discovery.
    pub(crate) listen: Listeners,
    /// The alternate address of behaviour discovery.
    pub(super) other: Option<SocketAddr>,
    pub(super) tcp: bool,
    pub(super) tls: Option<Listeners>,
    pub(super) dtls: Option<Listeners>,
    relays: bool,
    relay_ips: Vec<IpAddr>,
    external_ips: Vec<IpAddr>,
    pub(super) threads: usize,
    config: Config,
}

/// Checks the settings; `None` where no STUN server is to run. Where nobody says on which addresses,
/// it listens on `ips`.
pub(crate) fn plan(
    settings: &Settings,
    ips: &[IpAddr],
    tls: &Tls,
) -> Result<Option<TurnPlan>, SettingsError> {
    let range = |text: &String| text.parse().map_err(|_| SettingsError::Range(text.clone()));
    let allow: Vec<Cidr> = settings
        .turn_allow
        .iter()
        .map(range)
        .collect::<Result<_, _>>()?;
    let users = settings
        .turn_users
        .iter()
        .map(|user| match user.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                Ok((name.to_owned(), password.to_owned()))
            }
            _ => Err(SettingsError::TurnUser),
        })
        .collect::<Result<_, _>>()?;
    let (relay_ips, external_ips) = (&settings.turn_relay_ips, &settings.turn_external_ips);
    if !relay_ips.is_empty() {
        relay_addresses(relay_ips, external_ips)?;
    }
    let realm = settings
        .turn_realm
        .clone()
        .unwrap_or_else(|| "twocan".to_owned());
    if !(1..=32).contains(&realm.len()) {
        return Err(SettingsError::TurnRealm);
    }
    let mut listen = Listeners::named_or(&settings.stun, ips, STUN_PORT);
    if let Some(other) = settings.stun_other {
        let mut all = listen.addresses.iter().copied();
        match all.find(|own| is_alternate(*own, other)) {
            Some(primary) => listen.put_first(primary),
            None => {
                let all: Vec<_> = listen.addresses.iter().map(SocketAddr::to_string).collect();
                let stun = all.join(", ");
                return Err(SettingsError::StunOther { other, stun });
            }
        }
    }
    let config = Config {
        realm,
        users,
        ports: match &settings.turn_ports {
            None => Config::default().ports,
            Some(text) => ports(text).ok_or_else(|| SettingsError::TurnPorts(text.clone()))?,
        },
        policy: AddressPolicy {
            allow,
            own: Vec::new(),
            allowed_only: !settings.turn_peer_relay.unwrap_or(true),
        },
        quotas: quotas(settings),
        mobility: !settings.no_turn_mobility.unwrap_or(false),
        tcp_relay: settings.turn_tcp_relay.unwrap_or(false),
        ..Config::default()
    };
    let relays = !settings.no_turn.unwrap_or(false);
    let streams = relays && !settings.no_turn_tcp.unwrap_or(false);
    let tls_listen = match &settings.turn_tls[..] {
        [] => listen.with_port(TLS_PORT),
        named => Listeners::named_or(named, ips, TLS_PORT),
    };
    let over_dtls = settings.turn_dtls.unwrap_or(false);
    if over_dtls && *tls == Tls::Off {
        return Err(SettingsError::NoTurnDtlsCertificate);
    }
    Ok((!settings.no_stun.unwrap_or(false)).then_some(TurnPlan {
        listen,
        other: settings.stun_other,
        tcp: streams,
        dtls: over_dtls.then(|| tls_listen.clone()),
        tls: (streams && *tls != Tls::Off).then_some(tls_listen),
        relays,
        relay_ips: relay_ips.clone(),
        external_ips: external_ips.clone(),
        threads: threads(settings.turn_threads),
        config,
    }))
}

/// How many threads there are at most. Systems other than Linux do not deal out datagrams among
/// sockets that share an address.
fn threads(wanted: Option<usize>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match cfg!(target_os = "linux") {
        true => wanted.unwrap_or_else(cores).clamp(1, PARTS_MAX),
        false => 1,
    }
}

/// The bounds of allocations.
fn quotas(settings: &Settings) -> Quotas {
    let defaults = Quotas::default();
    let bytes = |bits: u64| bits.div_ceil(8);
    Quotas {
        per_user: settings.turn_per_user.unwrap_or(defaults.per_user),
        per_address: settings.turn_per_address.unwrap_or(defaults.per_address),
        total: settings.turn_total.unwrap_or(defaults.total),
        bytes_per_second: settings
            .turn_bandwidth
            .map_or(defaults.bytes_per_second, bytes),
        bytes_per_second_of_user: settings
            .turn_bandwidth_per_user
            .map_or(defaults.bytes_per_second_of_user, bytes),
        bytes_per_second_in_all: match (settings.turn_bandwidth_total, settings.is_closed()) {
            (Some(bits), _) => bytes(bits),
            (None, true) => defaults.bytes_per_second_in_all,
            (None, false) => OPEN_BYTES_PER_SECOND,
        },
        ..defaults
    }
}

/// Whether the two make four addresses. A port of 0 becomes one of the system's.
fn is_alternate(listen: SocketAddr, other: SocketAddr) -> bool {
    let mut other = other;
    if other.port() == 0 {
        other.set_port(listen.port() ^ 1);
    }
    Discovery::new(listen, other).is_some()
}

pub(crate) fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-')?;
    let (low, high): (u16, u16) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (low > 0 && low <= high).then_some(low..=high)
}

impl TurnPlan {
    /// Says so where `most` descriptors are fewer than what the quotas promise.
    pub(crate) fn warn_of_few_descriptors(&self, most: u64) {
        let wanted = self.descriptors();
        if most < wanted {
            tracing::warn!(
                most,
                wanted,
                "fewer files may be open than there may be relayed ports and connections: raise \
                 the limit (ulimit -n, LimitNOFILE) or lower --turn-total"
            );
        }
    }

    /// Relayed ports, two for an allocation of both families, and connections, of clients and of peers.
    fn descriptors(&self) -> u64 {
        let Quotas {
            total,
            streams,
            connections,
            ..
        } = self.config.quotas;
        let ports = if self.relays {
            total.saturating_mul(2)
        } else {
            0
        };
        let streams = if self.tcp {
            streams.saturating_add(connections)
        } else {
            0
        };
        ports.saturating_add(streams) as u64
    }

    /// What of the machine's configuration may change while it runs.
    pub(super) fn changed(&self, secrets: Vec<String>) -> Config {
        Config {
            secrets,
            ..self.config.clone()
        }
    }

    /// The machine's configuration for listeners at `listen`, with the secret of time-limited
    /// credentials.
    pub(super) fn config(
        &self,
        listen: &[SocketAddr],
        secret: Option<String>,
    ) -> Result<Config, ServeError> {
        let mut config = self.config.clone();
        config.secrets.extend(secret);
        if !self.relays {
            return Ok(config);
        }
        let mut binds = self.relay_ips.clone();
        if binds.is_empty() {
            let any = listen.iter().any(|own| own.ip().is_unspecified());
            let named = listen.iter().map(|own| own.ip().to_canonical());
            let by_route = any.then(primary_addresses).into_iter().flatten();
            for ip in named.filter(|ip| !ip.is_unspecified()).chain(by_route) {
                if !binds.contains(&ip) {
                    binds.push(ip);
                }
            }
        }
        config.relays = relay_addresses(&binds, &self.external_ips)?;
        config.policy.own = own_addresses()?;
        Ok(config)
    }
}

/// This machine's addresses, loopback included.
pub(super) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    interfaces::list(&interfaces::Filter {
        loopback: true,
        ..interfaces::Filter::default()
    })
}

/// An address of this machine that the operator has named among those that are relayed to.
pub(super) fn opened_by_name(config: &Config) -> Option<IpAddr> {
    let policy = &config.policy;
    let is_named = |ip: &&IpAddr| policy.allow.iter().any(|range| range.contains(**ip));
    policy.own.iter().find(is_named).copied()
}

/// The addresses of relays with what peers see of them: in each family none is translated, or all
/// are, in the order given.
fn relay_addresses(
    binds: &[IpAddr],
    externals: &[IpAddr],
) -> Result<Vec<RelayAddress>, SettingsError> {
    let family = |ips: &[IpAddr], is_ipv4: bool| -> Vec<IpAddr> {
        let of_family = ips.iter().filter(|ip| ip.is_ipv4() == is_ipv4);
        of_family.copied().collect()
    };
    let mut relays = Vec::new();
    for is_ipv4 in [true, false] {
        let (binds, externals) = (family(binds, is_ipv4), family(externals, is_ipv4));
        if !externals.is_empty() && externals.len() != binds.len() {
            return Err(SettingsError::ExternalIps {
                family: if is_ipv4 { "IPv4" } else { "IPv6" },
                externals: externals.len(),
                relays: binds.len(),
            });
        }
        let seen = if externals.is_empty() {
            binds.clone()
        } else {
            externals
        };
        let pairs = binds.into_iter().zip(seen);
        relays.extend(pairs.map(|(bind, external)| RelayAddress { bind, external }));
    }
    Ok(relays)
}

/// The addresses by which this machine reaches the internet, IPv4 first; nothing is sent. Loopback
/// where there is none.
fn primary_addresses() -> Vec<IpAddr> {
    let by_route = |any: IpAddr, far: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(far, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_unspecified()).then_some(ip)
    };
    let v4 = by_route(
        Ipv4Addr::UNSPECIFIED.into(),
        // RFC 5737 and RFC 3849: addresses of nobody.
        Ipv4Addr::new(192, 0, 2, 1).into(),
    );
    let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let v6 = by_route(Ipv6Addr::UNSPECIFIED.into(), documentation.into());
    let found: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    if found.is_empty() {
        vec![Ipv4Addr::LOCALHOST.into()]
    } else {
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(settings: &Settings) -> Result<Option<TurnPlan>, SettingsError> {
        plan(settings, &["0.0.0.0".parse().unwrap()], &Tls::Off)
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refused = |settings: Settings| planned(&settings).err().unwrap().to_string();
        let none = Settings::default;
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let ips = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let wrong = refused(Settings {
            turn_allow: texts(&["10.0.0.0/40"]),
            ..none()
        });
        assert!(wrong.contains("10.0.0.0/40"), "{wrong}");
        let wrong = refused(Settings {
            turn_users: texts(&["ann"]),
            ..none()
        });
        assert!(
            wrong.contains("NAME:PASSWORD") && !wrong.contains("ann"),
            "{wrong}"
        );
        for ports in ["", "5", "9-5", "0-5", "1-70000"] {
            let turn_ports = Some(ports.to_owned());
            assert!(
                refused(Settings {
                    turn_ports,
                    ..none()
                })
                .contains("--turn-ports")
            );
        }
        for other in ["192.0.2.7:3479", "[2001:db8::1]:3479"] {
            // The listener of this test has no IP of its own.
            let stun_other = Some(other.parse().unwrap());
            let wrong = refused(Settings {
                stun_other,
                ..none()
            });
            assert!(wrong.contains("--stun-other") && wrong.contains(other));
        }
        let turn_realm = Some("x".repeat(33));
        assert!(
            refused(Settings {
                turn_realm,
                ..none()
            })
            .contains("--turn-realm")
        );
        for (relay, external) in [
            (&["10.0.0.1", "10.0.0.2"][..], &["192.0.2.1"][..]),
            (&["10.0.0.1"], &["2001:db8::1"]),
            (&["fd00::1"], &["2001:db8::1", "192.0.2.1"]),
        ] {
            let settings = Settings {
                turn_relay_ips: ips(relay),
                turn_external_ips: ips(external),
                ..none()
            };
            assert!(refused(settings).contains("--turn-external-ip"));
        }
    }

    #[test]
    fn external_addresses_are_those_of_their_family() {
        let ips = |list: &[&str]| -> Vec<IpAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let made = |externals: &[&str]| {
            let relays =
                relay_addresses(&ips(&["10.0.0.1", "fd00::1", "10.0.0.2"]), &ips(externals));
            let external = |relay: &RelayAddress| relay.external.to_string();
            relays.map(|relays| relays.iter().map(external).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(made(&[]).unwrap(), "10.0.0.1 10.0.0.2 fd00::1");
        assert_eq!(
            made(&["2001:db8::1"]).unwrap(),
            "10.0.0.1 10.0.0.2 2001:db8::1"
        );
        assert_eq!(
            made(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]).unwrap(),
            "192.0.2.1 192.0.2.2 2001:db8::1"
        );
        assert!(made(&["192.0.2.1"]).is_err());
        // Where no relay is named, as the listener is.
        let settings = Settings {
            turn_external_ips: ips(&["2001:db8::1"]),
            ..Settings::default()
        };
        let plan = planned(&settings).unwrap().unwrap();
        let error = plan.config(&["198.51.100.7:3478".parse().unwrap()], None);
        let said = error.unwrap_err().to_string();
        assert!(said.contains("IPv6: 1 for 0"), "{said}");
    }

    #[test]
    fn relays_are_where_the_listener_is_unless_named() {
        let listen: SocketAddr = "198.51.100.7:3478".parse().unwrap();
        let made = |settings: Settings| {
            let plan = planned(&settings).unwrap().unwrap();
            plan.config(&[listen], Some("s".into())).unwrap()
        };
        let config = made(Settings::default());
        assert_eq!(config.relays.len(), 1);
        assert_eq!(config.relays[0].external, listen.ip());
        assert_eq!(config.secrets, ["s"]);
        let config = made(Settings {
            turn_external_ips: vec!["203.0.113.5".parse().unwrap()],
            turn_bandwidth: Some(8000),
            ..Settings::default()
        });
        assert_eq!(config.relays[0].bind, listen.ip());
        assert_eq!(config.relays[0].external.to_string(), "203.0.113.5");
        assert_eq!(config.quotas.bytes_per_second, 1000);
        assert_eq!(config.quotas.bytes_per_second_of_user, 12_500_000);
        // Everybody has a relay.
        assert_eq!(config.quotas.bytes_per_second_in_all, 12_500_000);
        let config = made(Settings {
            secret: Some("s".into()),
            turn_bandwidth_per_user: Some(16_000),
            ..Settings::default()
        });
        assert_eq!(config.quotas.bytes_per_second_of_user, 2000);
        assert_eq!(config.quotas.bytes_per_second_in_all, 0);
        let config = made(Settings {
            turn_bandwidth_total: Some(24_000),
            ..Settings::default()
        });
        assert_eq!(config.quotas.bytes_per_second_in_all, 3000);
        assert!(config.policy.own.iter().any(IpAddr::is_loopback));
        assert_eq!(opened_by_name(&config), None);
        for (range, opened) in [("127.0.0.0/8", true), ("240.0.0.0/8", false)] {
            let config = made(Settings {
                turn_allow: vec![range.to_owned()],
                ..Settings::default()
            });
            assert_eq!(opened_by_name(&config).is_some(), opened, "{range}");
        }
        let config = made(Settings {
            no_turn: Some(true),
            ..Settings::default()
        });
        assert_eq!(config.relays, []);
        let descriptors = |settings: Settings| planned(&settings).unwrap().unwrap().descriptors();
        assert_eq!(descriptors(Settings::default()), 40_000);
        let no_turn = Some(true);
        let settings = Settings {
            no_turn,
            ..Settings::default()
        };
        assert_eq!(descriptors(settings), 0);
    }
}
