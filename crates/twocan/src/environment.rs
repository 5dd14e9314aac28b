//! What connections of one program share.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use twocan_io::mdns::Resolver;
use twocan_proto::dtls::Settings;
use twocan_proto::peer::DATAGRAM_LEN_MAX;

use crate::error::Error;

/// Shared by all connections made with it: DTLS settings, whose ciphers are tested once, and the
/// resolver of `.local` names, which is started when first needed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Environment(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dtls: Settings,
    mdns: OnceLock<Option<Resolver>>,
}

impl Environment {
    /// A new one.
    ///
    /// # Errors
    /// `OperationError` when a cipher fails its self-test.
    pub fn new() -> Result<Self, Error> {
        let dtls = Settings::new(DATAGRAM_LEN_MAX)
            .map_err(|_| Error::Operation("the cryptographic provider failed its self-test"))?;
        Ok(Self(Arc::new(Inner {
            dtls,
            mdns: OnceLock::new(),
        })))
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

    pub(crate) async fn resolve_mdns(&self, name: &str) -> Vec<IpAddr> {
        let resolver = self.0.mdns.get_or_init(|| {
            Resolver::new()
                .inspect_err(|error| tracing::debug!(%error, "no multicast DNS"))
                .ok()
        });
        match resolver {
            Some(resolver) => resolver.resolve(name).await,
            None => Vec::new(),
        }
    }
}
