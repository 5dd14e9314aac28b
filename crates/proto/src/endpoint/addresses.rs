//! Which peer an address belongs to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PeerId;
use crate::contract::SocketId;

/// Addresses of one peer; the one that was heard of the longest ago goes for another one.
const ADDRESSES_MAX: usize = 16;

/// A peer that is alive checks at least every 6 s (RFC 7675 §5.1), so that an address of which
/// none came for this long may be another's by now: two checks were lost.
const CLAIM_FOR: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
struct Claim {
    peer: PeerId,
    heard_at: Instant,
}

/// Addresses that proved whose they are, by the socket on which they did.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    claims: BTreeMap<(SocketAddr, SocketId), Claim>,
    of_peers: BTreeMap<PeerId, Vec<(SocketAddr, SocketId)>>,
}

impl Addresses {
    /// Whose an address is.
    pub(super) fn get(&self, socket: SocketId, remote: SocketAddr) -> Option<PeerId> {
        self.claims.get(&(remote, socket)).map(|claim| claim.peer)
    }

    /// A peer found a check from an address authentic. Answers whether the address is its own: one
    /// that another peer is heard from stays that peer's, so that nobody who forges the source of
    /// his own checks takes a stranger's packets away.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: SocketAddr,
        peer: PeerId,
    ) -> bool {
        let key = (remote, socket);
        let claim = Claim {
            peer,
            heard_at: now,
        };
        match self.claims.get_mut(&key) {
            Some(own) if own.peer == peer => {
                own.heard_at = now;
                return true;
            }
            Some(other) if now.saturating_duration_since(other.heard_at) < CLAIM_FOR => {
                return false;
            }
            Some(other) => {
                let before = std::mem::replace(other, claim).peer;
                if let Some(keys) = self.of_peers.get_mut(&before) {
                    keys.retain(|own| *own != key);
                }
            }
            None => {
                self.claims.insert(key, claim);
            }
        }
        let keys = self.of_peers.entry(peer).or_default();
        if keys.len() >= ADDRESSES_MAX {
            let heard = |key: &(SocketAddr, SocketId)| self.claims.get(key).map(|own| own.heard_at);
            let oldest = keys.iter().copied().min_by_key(heard);
            if let Some(oldest) = oldest {
                keys.retain(|own| *own != oldest);
                self.claims.remove(&oldest);
            }
        }
        keys.push(key);
        true
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: PeerId) {
        for key in self.of_peers.remove(&peer).unwrap_or_default() {
            self.claims.remove(&key);
        }
    }

    /// A socket is gone.
    pub(super) fn forget_socket(&mut self, socket: SocketId) {
        self.claims.retain(|(_, own), _| *own != socket);
        for keys in self.of_peers.values_mut() {
            keys.retain(|(_, own)| *own != socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: SocketId = SocketId(0);

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn instant() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_address_stays_whose_it_is_while_that_peer_is_heard_from() {
        let start = instant();
        let mut addresses = Addresses::default();
        assert!(addresses.claim(start, SOCKET, remote(1), PeerId(1)));
        let soon = start + CLAIM_FOR / 2;
        assert!(!addresses.claim(soon, SOCKET, remote(1), PeerId(2)));
        assert!(addresses.claim(soon, SOCKET, remote(1), PeerId(1)));
        let later = start + CLAIM_FOR;
        assert!(!addresses.claim(later, SOCKET, remote(1), PeerId(2)));
        let silent = soon + CLAIM_FOR;
        assert!(addresses.claim(silent, SOCKET, remote(1), PeerId(2)));
        assert_eq!(addresses.get(SOCKET, remote(1)), Some(PeerId(2)));
        // The former owner takes nothing with it.
        addresses.forget(PeerId(1));
        assert_eq!(addresses.get(SOCKET, remote(1)), Some(PeerId(2)));
        addresses.forget(PeerId(2));
        assert_eq!(addresses.get(SOCKET, remote(1)), None);
    }

    #[test]
    fn a_peer_has_so_many_addresses_and_no_more() {
        let start = instant();
        let mut addresses = Addresses::default();
        for port in 0..=ADDRESSES_MAX as u16 {
            let at = start + Duration::from_millis(port.into());
            assert!(addresses.claim(at, SOCKET, remote(port), PeerId(1)));
        }
        assert_eq!(addresses.get(SOCKET, remote(0)), None, "the oldest");
        assert_eq!(addresses.get(SOCKET, remote(1)), Some(PeerId(1)));
        assert_eq!(addresses.claims.len(), ADDRESSES_MAX);
        addresses.forget_socket(SOCKET);
        assert!(addresses.claims.is_empty());
    }
}
