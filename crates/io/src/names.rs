//! Names of servers, looked up by the system's resolver.

use std::io;
use std::net::IpAddr;

/// Most addresses taken from one answer.
const ADDRESSES_MAX: usize = 8;

/// Resolves a name or a literal address.
///
/// # Errors
/// The resolver's.
pub async fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = tokio::net::lookup_host((name, 0)).await?;
    Ok(addresses
        .map(|address| address.ip())
        .take(ADDRESSES_MAX)
        .collect())
}
