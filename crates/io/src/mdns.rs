//! Names of host candidates, `….local`, by multicast DNS (RFC 6762,
//! draft-ietf-mmusic-mdns-ice-candidates): others' are resolved, ours answered for.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{HostnameResolutionEvent, ServiceDaemon, ServiceInfo};

/// How long an answer is awaited. A browser on the same network answers at once; one elsewhere
/// never does, and is found by its own checks.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the daemon answers for are services; the address of one is what is asked for.
const SERVICE: &str = "_twocan-ice._udp.local.";

/// RFC 863: nobody is to use the service.
const DISCARD: u16 = 9;

/// Looks names up and answers for others. Made once and shared; costs a thread of its own.
#[derive(Clone)]
pub struct LocalNames {
    daemon: ServiceDaemon,
}

/// A name that is answered for, until this is dropped.
pub struct Announced {
    daemon: ServiceDaemon,
    service: String,
}

impl LocalNames {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the multicast sockets cannot be opened.
    pub fn new() -> io::Result<Self> {
        ServiceDaemon::new()
            .map(|daemon| Self { daemon })
            .map_err(io::Error::other)
    }

    /// Says on the network of `ip`, an address of this host, that `name`, which ends in `.local` and
    /// that nobody else has, is there; and answers who asks.
    ///
    /// # Errors
    /// When the thread is gone or has too much to do, or the name is none.
    pub fn announce(&self, name: &str, ip: IpAddr) -> io::Result<Announced> {
        let name = name.trim_end_matches('.');
        let label = name.strip_suffix(".local").unwrap_or(name);
        let none = &[][..] as &[(&str, &str)];
        let mut service = ServiceInfo::new(SERVICE, label, &format!("{name}."), ip, DISCARD, none)
            .map_err(io::Error::other)?;
        // The names are random (draft §3.1.1).
        service.set_requires_probe(false);
        let announced = Announced {
            daemon: self.daemon.clone(),
            service: service.get_fullname().to_owned(),
        };
        self.daemon.register(service).map_err(io::Error::other)?;
        Ok(announced)
    }

    /// The addresses of `name`, which ends in `.local`; none if nobody answers in time.
    pub async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let full = format!("{}.", name.trim_end_matches('.'));
        let Ok(answers) = self.daemon.resolve_hostname(&full, Some(millis(PATIENCE))) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        while let Ok(Ok(event)) = tokio::time::timeout(PATIENCE, answers.recv_async()).await {
            match event {
                HostnameResolutionEvent::AddressesFound(_, addresses) => {
                    found.extend(addresses.iter().map(|address| address.to_ip_addr()));
                    break;
                }
                HostnameResolutionEvent::SearchTimeout(_)
                | HostnameResolutionEvent::SearchStopped(_) => break,
                _ => {}
            }
        }
        let _ = self.daemon.stop_resolve_hostname(&full);
        found
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.daemon.unregister(&self.service);
    }
}

impl std::fmt::Debug for LocalNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalNames").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Announced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Announced").field(&self.service).finish()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use mdns_sd::IfKind;

    use super::*;

    /// For anything that is waited for.
    const WITHIN: Duration = Duration::from_secs(30);

    /// One that is on the loopback interface alone, at a port that is not that of the system's own.
    fn on_loopback(port: u16) -> LocalNames {
        let daemon = ServiceDaemon::new_with_port(port).unwrap();
        daemon.disable_interface(IfKind::All).unwrap();
        daemon.enable_interface(IfKind::LoopbackV4).unwrap();
        LocalNames { daemon }
    }

    /// What a name is at, once that is something, or nothing.
    async fn settled(names: &LocalNames, name: &str, is_there: bool) -> Vec<IpAddr> {
        let began = std::time::Instant::now();
        loop {
            let found = names.resolve(name).await;
            if found.is_empty() != is_there {
                return found;
            }
            assert!(began.elapsed() < WITHIN, "{name}: {found:?}");
        }
    }

    #[tokio::test]
    async fn names_are_known_to_others_and_to_oneself_until_they_are_dropped() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (ours, theirs) = (on_loopback(port), on_loopback(port));
        let name = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";
        assert_eq!(theirs.resolve(name).await, [] as [IpAddr; 0]);
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let announced = ours.announce(name, ip).unwrap();
        for names in [&theirs, &ours] {
            assert_eq!(settled(names, name, true).await, [ip]);
        }
        drop(announced);
        assert!(settled(&theirs, name, false).await.is_empty());
    }
}
