//! What connections of one program share.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use twocan_io::mdns::{Announced, LocalNames};
use twocan_io::stream::Trust;
use twocan_proto::dtls::Settings;
use twocan_proto::peer::DATAGRAM_LEN_MAX;

use crate::error::Error;

/// Shared by all connections made with it: DTLS settings, whose ciphers are tested once, and the
/// thread for `.local` names, which is started when first needed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Environment(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dtls: Settings,
    mdns: OnceLock<Option<LocalNames>>,
    /// Authorities besides the system's, in DER.
    authorities: Vec<Vec<u8>>,
    trust: OnceLock<Trust>,
    /// Who is asked for records of services; without any, whom the system asks.
    name_servers: Vec<SocketAddr>,
}

impl Environment {
    /// A new one.
    ///
    /// # Errors
    /// `OperationError` when a cipher fails its self-test.
    pub fn new() -> Result<Self, Error> {
        Self::with_authorities(Vec::new())
    }

    /// One whose TLS clients (TURN over TLS) trust these certificates, in DER, beside the
    /// authorities of the system.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_authorities(authorities: Vec<Vec<u8>>) -> Result<Self, Error> {
        let dtls = Settings::new(DATAGRAM_LEN_MAX)
            .map_err(|_| Error::Operation("the cryptographic provider failed its self-test"))?;
        Ok(Self(Arc::new(Inner {
            dtls,
            mdns: OnceLock::new(),
            authorities,
            trust: OnceLock::new(),
            name_servers: Vec::new(),
        })))
    }

    /// A new one like this whose connections ask these name servers, in place of those that the
    /// system is configured to ask, for SRV and NAPTR records: by them STUN and TURN servers are found
    /// whose URL has a name and no port (RFC 5928, RFC 8489 §8). They are also asked how IPv4 is reached
    /// from a network with IPv6 alone (RFC 7050). With the feature `services`.
    #[must_use]
    pub fn with_name_servers(&self, name_servers: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Inner {
            dtls: self.0.dtls.clone(),
            mdns: OnceLock::new(),
            authorities: self.0.authorities.clone(),
            trust: OnceLock::new(),
            name_servers,
        }))
    }

    /// The one of this process, made when first asked for.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_process() -> Result<Self, Error> {
        static SHARED: OnceLock<Environment> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(shared.clone());
        }
        let made = Self::new()?;
        Ok(SHARED.get_or_init(|| made).clone())
    }

    pub(crate) fn dtls(&self) -> Settings {
        self.0.dtls.clone()
    }

    /// Whom TLS clients trust; the certificates of the system are read when first needed.
    pub(crate) fn trust(&self) -> io::Result<Trust> {
        if let Some(trust) = self.0.trust.get() {
            return Ok(trust.clone());
        }
        let made = Trust::new(&self.0.authorities)?;
        Ok(self.0.trust.get_or_init(|| made).clone())
    }

    pub(crate) fn name_servers(&self) -> &[SocketAddr] {
        &self.0.name_servers
    }

    pub(crate) async fn resolve_mdns(&self, name: &str) -> Vec<IpAddr> {
        match self.local_names() {
            Some(names) => names.resolve(name).await,
            None => Vec::new(),
        }
    }

    /// Answers for a name, until what this returns is dropped.
    pub(crate) fn announce(&self, name: &str, ip: IpAddr) -> Option<Announced> {
        self.local_names()?
            .announce(name, ip)
            .inspect_err(|error| tracing::debug!(%error, "not announced"))
            .ok()
    }

    fn local_names(&self) -> Option<&LocalNames> {
        let names = self.0.mdns.get_or_init(|| {
            LocalNames::new()
                .inspect_err(|error| tracing::debug!(%error, "no multicast DNS"))
                .ok()
        });
        names.as_ref()
    }
}
