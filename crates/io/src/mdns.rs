//! Names that browsers give to their host candidates, `….local`, resolved by multicast DNS
//! (RFC 6762, draft-ietf-mmusic-mdns-ice-candidates).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{HostnameResolutionEvent, ServiceDaemon};

/// How long an answer is awaited. A browser on the same network answers at once; one elsewhere
/// never does, and is found by its own checks.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks names up. Made once and shared; costs a thread of its own.
#[derive(Clone)]
pub struct Resolver {
    daemon: ServiceDaemon,
}

impl Resolver {
    /// Starts the resolver.
    ///
    /// # Errors
    /// When the multicast sockets cannot be opened.
    pub fn new() -> io::Result<Self> {
        ServiceDaemon::new()
            .map(|daemon| Self { daemon })
            .map_err(io::Error::other)
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

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
