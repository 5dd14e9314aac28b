//! Records of services, which no system has a call for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use twocan_proto::locate::{Naptr, Srv};

/// For one request to a name server.
const WITHIN: Duration = Duration::from_secs(2);

/// Requests to each.
const ATTEMPTS: usize = 2;

/// Most records that are read of an answer.
const READ_MAX: usize = 64;

/// A resolver.
#[derive(Clone)]
pub(super) struct Records(TokioResolver);

impl Records {
    /// One that asks these, or, without any, those of the system. `None` where the system has none.
    pub(super) fn new(name_servers: &[SocketAddr]) -> Option<Self> {
        let mut builder = if name_servers.is_empty() {
            TokioResolver::builder_tokio().ok()?
        } else {
            let servers = name_servers.iter().map(|at| {
                let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let ways = ways.map(|mut way| {
                    way.port = at.port();
                    way
                });
                NameServerConfig::new(at.ip(), true, ways.to_vec())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = WITHIN;
        options.attempts = ATTEMPTS;
        builder.build().ok().map(Self)
    }

    pub(super) async fn srv(&self, name: &str) -> Vec<Srv> {
        let records = self.of_type(name, RecordType::SRV).await;
        let records = records.into_iter().filter_map(|record| match record {
            RData::SRV(own) => Some(Srv {
                priority: own.priority,
                weight: own.weight,
                port: own.port,
                target: own.target.to_ascii(),
            }),
            _ => None,
        });
        records.collect()
    }

    pub(super) async fn naptr(&self, name: &str) -> Vec<Naptr> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let records = self.of_type(name, RecordType::NAPTR).await;
        let records = records.into_iter().filter_map(|record| match record {
            RData::NAPTR(own) if own.regexp.is_empty() => Some(Naptr {
                order: own.order,
                preference: own.preference,
                flags: text(&own.flags),
                services: text(&own.services),
                replacement: own.replacement.to_ascii(),
            }),
            _ => None,
        });
        records.collect()
    }

    pub(super) async fn aaaa(&self, name: &str) -> Vec<IpAddr> {
        let records = self.of_type(name, RecordType::AAAA).await;
        let records = records.into_iter().filter_map(|record| match record {
            RData::AAAA(own) => Some(own.0.into()),
            _ => None,
        });
        records.collect()
    }

    async fn of_type(&self, name: &str, kind: RecordType) -> Vec<RData> {
        let Ok(mut name) = Name::from_str_relaxed(name) else {
            return Vec::new();
        };
        // The whole name: nothing of this network's is appended.
        name.set_fqdn(true);
        match self.0.lookup(name, kind).await {
            Ok(found) => {
                let answers = found.answers().iter().take(READ_MAX);
                answers.map(|record| record.data.clone()).collect()
            }
            Err(error) => {
                tracing::debug!(%error, "no records");
                Vec::new()
            }
        }
    }
}
