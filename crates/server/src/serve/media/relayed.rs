//! Clients that come through our own TURN server, without a socket between.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::{Duration, Instant};

use twocan_io::clock;
use twocan_io::udp::Socket;
use twocan_proto::contract::{Batch, Datagram, Destination, Path, SocketId};
use twocan_proto::time::Now;
use twocan_proto::turn::server::MEDIA_SOCKET;

use super::super::hatch::{Between, COLLECTED_LEN, Collected, Hatch, ToTurn};

/// A relayed address from which nothing has come for so long is one like any other again: twice as
/// long as a client may be silent (RFC 7675 §5.1).
const RELAYED_LASTS: Duration = Duration::from_secs(60);

/// What is shown at once of what has come, in bytes; sockets, commands and time have their turn before
/// the rest.
const SHOWN_LEN: usize = 64 << 10;

/// The ways to and from the TURN server's threads.
pub(in super::super) struct Hatches {
    from_turn: Arc<Hatch>,
    to_turn: Option<ToTurn>,
    /// Relayed addresses from which something came, and when the last of it did. The TURN server has
    /// proved who is there, and has no more of them than allocations.
    relayed: HashMap<SocketAddr, Instant>,
    taken: Collected,
    /// For each part of the TURN server.
    sending: Vec<Collected>,
}

impl Hatches {
    pub(in super::super) fn new(from_turn: Arc<Hatch>, to_turn: Option<ToTurn>) -> Self {
        let parts = to_turn.as_ref().map_or(0, |own| own.hatches().len());
        Self {
            from_turn,
            to_turn,
            relayed: HashMap::new(),
            taken: Collected::default(),
            sending: (0..parts).map(|_| Collected::default()).collect(),
        }
    }

    /// Shows some of what has come, as if it had on one of the sockets; answers whether anything has.
    /// Whoever is told so asks again: nothing wakes for what is left.
    pub(super) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        sockets: &[(SocketId, Socket)],
        mut each: impl FnMut(Now, Datagram<'_>),
    ) -> bool {
        if self.taken.is_empty()
            && self
                .from_turn
                .poll_take(context, &mut self.taken)
                .is_pending()
        {
            return false;
        }
        let relayed = &mut self.relayed;
        self.taken.drain_some(SHOWN_LEN, |between, pieces| {
            let Between {
                other: media, ecn, ..
            } = between;
            let mut sockets = sockets.iter();
            let Some((id, _)) = sockets.find(|(_, own)| own.local() == media) else {
                return;
            };
            let path = Path {
                socket: *id,
                local: media,
            };
            let now = clock::now();
            relayed.insert(between.relayed, now.monotonic);
            for bytes in pieces {
                let datagram = Datagram {
                    path,
                    remote: between.relayed,
                    ecn,
                    waited: Duration::ZERO,
                    bytes,
                };
                each(now, datagram);
            }
        });
        true
    }

    /// Whether what is for `remote` goes to the TURN server.
    pub(super) fn takes(&self, remote: SocketAddr) -> bool {
        !self.relayed.is_empty() && self.relayed.contains_key(&remote)
    }

    /// Sends a batch from the socket at `media`; answers how many datagrams were lost.
    pub(super) fn send(&mut self, media: SocketAddr, to: Destination, batch: &Batch) -> u64 {
        let between = Between {
            socket: MEDIA_SOCKET,
            relayed: to.remote,
            other: media,
            ecn: to.ecn,
        };
        let part = self.to_turn.as_ref().and_then(|own| own.part_of(to.remote));
        let Some(sending) = part.and_then(|part| self.sending.get_mut(part)) else {
            return 0;
        };
        sending.push(between, batch);
        match sending.len() > COLLECTED_LEN {
            true => self.flush(),
            false => 0,
        }
    }

    /// Hands over what has been sent; answers how many datagrams were lost.
    pub(super) fn flush(&mut self) -> u64 {
        let to_turn = self.to_turn.iter().flat_map(ToTurn::hatches);
        let parts = to_turn.zip(&mut self.sending);
        parts.map(|(hatch, sending)| hatch.put(sending)).sum()
    }

    /// Forgets those from which nothing has come for long.
    pub(super) fn forget_silent(&mut self, now: Instant) {
        self.relayed
            .retain(|_, last| now.saturating_duration_since(*last) < RELAYED_LASTS);
    }
}
