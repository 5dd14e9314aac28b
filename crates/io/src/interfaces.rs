//! The addresses of this machine.

use std::io;
use std::net::IpAddr;

/// Which addresses to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Also loopback addresses. Default `false`: browsers ignore or refuse them as candidates.
    pub loopback: bool,
}

/// Lists addresses in the system's order of interfaces, each once.
///
/// Link-local IPv6 addresses are left out: they need a scope, which candidates cannot carry, and
/// browsers leave them out as well.
///
/// # Errors
/// The system's, when it does not tell its interfaces.
pub fn list(filter: Filter) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in if_addrs::get_if_addrs()? {
        let ip = interface.ip();
        let usable = match ip {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
        };
        if usable && (filter.loopback || !ip.is_loopback()) && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    Ok(addresses)
}
