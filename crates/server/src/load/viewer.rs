//! A client that takes what comes, and how long it took.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use twocan_proto::peer::{ConnectionState, Event};
use twocan_proto::rtp::{self, IncomingPacket};
use twocan_proto::wire::ids::Ssrc;

use super::Shared;
use super::client::Client;
use super::report::Phase;

/// Takes what comes, for good.
pub(super) async fn run(shared: Rc<Shared>, mut client: Client) {
    let mut expected = BTreeMap::new();
    loop {
        if shared.tally.borrow().phase == Phase::Over {
            return client.close();
        }
        match client.next(None).await {
            Ok(Some(Event::Rtp(rtp::Event::Packet(packet)))) => {
                note(&shared, &mut expected, &packet);
            }
            Ok(Some(Event::ConnectionState(ConnectionState::Failed | ConnectionState::Closed))) => {
                shared.tally.borrow_mut().connections_lost += 1;
                return;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a viewer has ended");
                shared.tally.borrow_mut().connections_lost += 1;
                return;
            }
        }
    }
}

fn note(shared: &Shared, expected: &mut BTreeMap<Ssrc, u64>, packet: &IncomingPacket) {
    let mut tally = shared.tally.borrow_mut();
    let next = expected.entry(packet.ssrc).or_insert(packet.number);
    let missing = packet.number.saturating_sub(*next);
    *next = (*next).max(packet.number + 1);
    if tally.phase != Phase::Measured {
        return;
    }
    tally.note_missing(missing);
    let stated = packet.payload.last_chunk().copied().map(u64::from_be_bytes);
    let Some(sent) =
        stated.and_then(|nanos| shared.origin.checked_add(Duration::from_nanos(nanos)))
    else {
        return;
    };
    // Until it is on this machine: what this process takes to come to it is not the server's.
    let delay = packet.received_at.saturating_duration_since(sent);
    tally.note_packet(packet.payload.len(), delay, packet.is_retransmission);
}
