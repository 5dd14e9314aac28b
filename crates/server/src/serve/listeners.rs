//! Where the server listens: which addresses, and how they are bound.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use socket2::{Domain, Socket, Type};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listeners {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Nobody named `[::]`: a machine without IPv6 starts all the same.
    any_v6_is_optional: bool,
}

impl Listeners {
    /// What is named, else `port` of `ips`, and of all addresses of IPv6 where all of IPv4 are among
    /// these.
    pub(super) fn named_or(named: &[SocketAddr], ips: &[IpAddr], port: u16) -> Self {
        if !named.is_empty() {
            return Self::named(named.iter().copied());
        }
        let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let has_any_v4 = ips.iter().any(|ip| ip.is_ipv4() && ip.is_unspecified());
        let both = has_any_v4 && !ips.contains(&any_v6);
        let ips = ips.iter().copied().chain(both.then_some(any_v6));
        Self {
            any_v6_is_optional: both,
            ..Self::named(ips.map(|ip| SocketAddr::new(ip, port)))
        }
    }

    /// Each once.
    fn named(named: impl Iterator<Item = SocketAddr>) -> Self {
        let mut addresses = Vec::new();
        for address in named {
            // Of port 0 everybody gets another one.
            if address.port() == 0 || !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Self {
            addresses,
            any_v6_is_optional: false,
        }
    }

    /// The same addresses with another port.
    pub(super) fn with_port(&self, port: u16) -> Self {
        let same = self.addresses.iter();
        Self {
            any_v6_is_optional: self.any_v6_is_optional,
            ..Self::named(same.map(|own| SocketAddr::new(own.ip(), port)))
        }
    }

    /// Has `address` be the first.
    pub(super) fn put_first(&mut self, address: SocketAddr) {
        if let Some(place) = self.addresses.iter().position(|own| *own == address) {
            self.addresses.swap(0, place);
        }
    }

    /// The first, by which the others are called.
    pub(super) fn first(&self) -> SocketAddr {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        self.addresses.first().copied().unwrap_or(any)
    }

    /// Listens for TCP on all of them.
    ///
    /// # Errors
    /// The system's, with the address.
    pub(super) fn listen(&self) -> Result<Vec<std::net::TcpListener>, (SocketAddr, io::Error)> {
        let mut all = Vec::new();
        for address in self.addresses.iter().copied() {
            match listen_tcp(address, self.is_v6_alone(address)) {
                Ok(listener) => all.push(listener),
                Err(error) if self.goes_without(address, &error) => {}
                Err(error) => return Err((address, error)),
            }
        }
        Ok(all)
    }

    /// Binds sockets of UDP to all of them.
    ///
    /// # Errors
    /// The system's, with the address.
    pub(super) fn bind(&self) -> Result<Vec<std::net::UdpSocket>, (SocketAddr, io::Error)> {
        let mut all = Vec::new();
        for address in self.addresses.iter().copied() {
            match bind_udp(address, self.is_v6_alone(address)) {
                Ok(socket) => all.push(socket),
                Err(error) if self.goes_without(address, &error) => {}
                Err(error) => return Err((address, error)),
            }
        }
        Ok(all)
    }

    /// Whether an address of IPv6 is left to those: IPv4 has another listener with that port.
    pub(super) fn is_v6_alone(&self, address: SocketAddr) -> bool {
        let mut all = self.addresses.iter();
        address.is_ipv6() && all.any(|own| own.is_ipv4() && own.port() == address.port())
    }

    /// Whether to do without this one, which could not be bound: nobody asked for it. Where that is
    /// no lack of IPv6, it is told.
    pub(super) fn goes_without(&self, address: SocketAddr, error: &io::Error) -> bool {
        use rustix::io::Errno;
        if !self.any_v6_is_optional || !address.is_ipv6() {
            return false;
        }
        match Errno::from_io_error(error) {
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                tracing::debug!(%error, %address, "no IPv6");
                true
            }
            Some(Errno::ADDRINUSE | Errno::ACCESS) => {
                tracing::warn!(%error, %address, "not listening for IPv6");
                true
            }
            _ => false,
        }
    }
}

/// Binds a socket of UDP; of IPv6 without IPv4 where that is said.
pub(super) fn bind_udp(address: SocketAddr, is_v6_alone: bool) -> io::Result<std::net::UdpSocket> {
    let socket = socket(address, Type::DGRAM, is_v6_alone)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds one more socket to the address of `first`, so that the system deals out what arrives there
/// among them, by who sent it. Whoever binds it without wishing to share it, as a second server does, is
/// told that it is in use; the system lets programs of the same user join that do wish it.
#[cfg(target_os = "linux")]
pub(super) fn bind_share(first: &std::net::UdpSocket) -> io::Result<std::net::UdpSocket> {
    let first = SockRef::from(first);
    let address = first.local_addr()?;
    first.set_reuse_port(true)?;
    let socket = Socket::new(address.domain(), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(first.only_v6()?)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address)?;
    Ok(socket.into())
}

/// Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
pub(super) fn bind_share(_: &std::net::UdpSocket) -> io::Result<std::net::UdpSocket> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Listens for TCP; as above. The listener does not block.
pub(super) fn listen_tcp(
    address: SocketAddr,
    is_v6_alone: bool,
) -> io::Result<std::net::TcpListener> {
    let socket = socket(address, Type::STREAM, is_v6_alone)?;
    // Connections of a server that has just ended do not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, is_v6_alone: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if is_v6_alone {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// One address, or a list of them.
pub(crate) fn one_or_more<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(SocketAddr),
        More(Vec<SocketAddr>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(address) => vec![address],
        OneOrMore::More(addresses) => addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_all_addresses_both_families_are_listened_on() {
        let listeners = Listeners::named_or(&[], &["0.0.0.0".parse().unwrap()], 3478);
        assert_eq!(
            listeners.addresses,
            addresses(&["0.0.0.0:3478", "[::]:3478"])
        );
        assert!(listeners.is_v6_alone(listeners.addresses[1]));
        assert!(!listeners.is_v6_alone(listeners.addresses[0]));
        let none = io::Error::from(rustix::io::Errno::AFNOSUPPORT);
        let taken = io::Error::from(rustix::io::Errno::ADDRINUSE);
        let barred = io::Error::from(rustix::io::Errno::ACCESS);
        for error in [&none, &taken, &barred] {
            assert!(listeners.goes_without(listeners.addresses[1], error));
            assert!(!listeners.goes_without(listeners.addresses[0], error));
        }
        let full = io::Error::from(rustix::io::Errno::MFILE);
        assert!(!listeners.goes_without(listeners.addresses[1], &full));
        let tls = listeners.with_port(5349);
        assert_eq!(tls.addresses, addresses(&["0.0.0.0:5349", "[::]:5349"]));
        assert!(tls.goes_without(tls.addresses[1], &none));
    }

    #[test]
    fn what_is_named_is_listened_on_and_nothing_else() {
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let named = addresses(&["[::]:3478", "192.0.2.1:443", "[::]:3478"]);
        let mut listeners = Listeners::named_or(&named, &[any], 3478);
        assert_eq!(listeners.addresses, named[..2]);
        // Alone it has both families, as the system gives them.
        assert!(!listeners.is_v6_alone(named[0]));
        let none = io::Error::from(rustix::io::Errno::AFNOSUPPORT);
        let taken = io::Error::from(rustix::io::Errno::ADDRINUSE);
        assert!(!listeners.goes_without(named[0], &none));
        assert!(!listeners.goes_without(named[0], &taken));
        listeners.put_first(named[1]);
        assert_eq!(listeners.addresses[0], named[1]);
        let tls = listeners.with_port(5349);
        assert_eq!(tls.addresses, addresses(&["192.0.2.1:5349", "[::]:5349"]));
        assert!(tls.is_v6_alone(tls.addresses[1]));
        let one = Listeners::named_or(&[], &["::".parse().unwrap()], 3478);
        assert_eq!(one.addresses, addresses(&["[::]:3478"]));
        let two = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let two = Listeners::named_or(&[], &two, 3478);
        let expected = addresses(&["192.0.2.1:3478", "[2001:db8::1]:3478"]);
        assert_eq!(two.addresses, expected);
    }

    #[test]
    fn a_port_that_ipv6_has_not_free_is_listened_on_by_ipv4() {
        let Ok(other) = listen_tcp("[::]:0".parse().unwrap(), true) else {
            return; // No IPv6 here.
        };
        let port = other.local_addr().unwrap().port();
        let any: IpAddr = "0.0.0.0".parse().unwrap();
        let open = Listeners::named_or(&[], &[any], port).listen().unwrap();
        let at: Vec<_> = open.iter().map(|own| own.local_addr().unwrap()).collect();
        assert_eq!(at, [SocketAddr::new(any, port)]);
        let both = [any, "::".parse().unwrap()].map(|ip| SocketAddr::new(ip, port));
        drop(open);
        let named = Listeners::named_or(&both, &[any], port).listen();
        assert_eq!(named.map(|_| ()).unwrap_err().0, both[1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_arrives_is_dealt_out_by_sender_and_another_server_is_told() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(first) = bind_udp(any.parse().unwrap(), false) else {
                continue; // No IPv6 here.
            };
            let at = first.local_addr().unwrap();
            let second = bind_share(&first).unwrap();
            assert_eq!(second.local_addr().unwrap(), at);
            assert!(bind_udp(at, false).is_err(), "another server");
            let own = [&first, &second];
            for socket in own {
                socket.set_nonblocking(true).unwrap();
            }
            let mut taken = [0, 0];
            for _ in 0..64 {
                let client = std::net::UdpSocket::bind(any).unwrap();
                let mut by_client = [0, 0];
                for _ in 0..4 {
                    client.send_to(b"word", at).unwrap();
                }
                for (count, socket) in by_client.iter_mut().zip(own) {
                    while socket.recv(&mut [0; 8]).is_ok() {
                        *count += 1;
                    }
                }
                let one_has_all = by_client.contains(&4) && by_client.contains(&0);
                assert!(one_has_all, "{by_client:?}");
                for (all, count) in taken.iter_mut().zip(by_client) {
                    *all += count;
                }
            }
            assert!(taken.iter().all(|count| *count > 0), "{taken:?}");
        }
    }

    #[test]
    fn a_family_has_its_socket_and_both_the_same_port() {
        let Ok(v6) = bind_udp("[::]:0".parse().unwrap(), true) else {
            return; // No IPv6 here.
        };
        let port = v6.local_addr().unwrap().port();
        let v4 = bind_udp(SocketAddr::new("0.0.0.0".parse().unwrap(), port), false);
        v4.expect("IPv4 is free beside it");
    }
}
