//! The addresses of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which addresses to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Also loopback addresses. Default `false`: browsers ignore or refuse them as candidates.
    pub loopback: bool,
    /// Interfaces by name, such as `eth0`. Default all.
    pub names: Option<Vec<String>>,
}

/// An address, and the interface that it belongs to.
type Found = (String, IpAddr);

/// What was found last, for all connections of the process.
static LATEST: Mutex<Option<(Instant, Vec<Found>)>> = Mutex::new(None);

/// The address of this machine by which the system would send to `remote`. Nothing is sent.
///
/// # Errors
/// The system's, where there is no way to `remote`.
pub fn towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// Lists addresses in the system's order of interfaces, each once.
///
/// Link-local IPv6 addresses are left out: they need a scope, which candidates cannot carry, and
/// browsers leave them out as well.
///
/// # Errors
/// The system's, when it does not tell its interfaces.
pub fn list(filter: &Filter) -> io::Result<Vec<IpAddr>> {
    list_of(filter, Duration::ZERO)
}

/// As [`list`], or what any connection was told less than `age` ago.
///
/// # Errors
/// As [`list`].
pub fn list_of(filter: &Filter, age: Duration) -> io::Result<Vec<IpAddr>> {
    let now = Instant::now();
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = latest
        .take()
        .filter(|(at, _)| now.saturating_duration_since(*at) < age);
    let (at, found) = match fresh {
        Some(fresh) => fresh,
        None => (now, find()?),
    };
    let addresses = select(filter, &found);
    *latest = Some((at, found));
    Ok(addresses)
}

/// What was found is not true any more.
#[cfg(target_os = "linux")]
pub(crate) fn forget() {
    *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn find() -> io::Result<Vec<Found>> {
    let found = if_addrs::get_if_addrs()?.into_iter();
    Ok(found.map(|own| (own.name.clone(), own.ip())).collect())
}

fn select(filter: &Filter, found: &[Found]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (name, ip) in found {
        let usable = match ip {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
        };
        let named = filter.names.as_ref().is_none_or(|all| all.contains(name));
        let wanted = named && (filter.loopback || !ip.is_loopback());
        if usable && wanted && !addresses.contains(ip) {
            addresses.push(*ip);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_chosen_by_interface_and_kind() {
        let found = [
            ("lo", "127.0.0.1"),
            ("eth0", "192.0.2.7"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::7"),
            ("wg0", "10.9.0.2"),
            ("wg1", "10.9.0.2"),
        ];
        let found = found.map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        let chosen = |loopback, names: Option<&[&str]>| {
            let names = names.map(|all| all.iter().map(|own| (*own).to_owned()).collect());
            let all = select(&Filter { loopback, names }, &found);
            all.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            chosen(false, None),
            ["192.0.2.7", "2001:db8::7", "10.9.0.2"]
        );
        assert_eq!(chosen(true, Some(&["lo"])), ["127.0.0.1"]);
        assert_eq!(chosen(false, Some(&["wg1"])), ["10.9.0.2"]);
    }
}
