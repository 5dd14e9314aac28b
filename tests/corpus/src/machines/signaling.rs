//! Descriptions and the room's texts.

use twocan_proto::contract::Output;
use twocan_proto::negotiate::{Config, IceParameters, Kind, Negotiator, SdpType};
use twocan_proto::random::Random;
use twocan_room::{Admission, ConnectionId, Hall, OwnUrls, Permissions, Protocol};
use twocan_wire::sdp::{Description, Direction, Fingerprint};

use super::{OPERATIONS_MAX, begin, step};
use crate::Script;

fn negotiator(seed: u8) -> Negotiator {
    let fingerprint = Fingerprint {
        hash: "sha-256".into(),
        bytes: vec![seed; 32],
    };
    let config = Config::new(vec![fingerprint], "cname".into());
    Negotiator::new(config, Random::new([seed; 32]))
}

fn ice() -> IceParameters {
    IceParameters {
        username_fragment: "abcd".into(),
        password: "0123456789012345678901".into(),
    }
}

/// The text as a remote offer: refused, or answered with something that can be read and set.
pub fn negotiate_offer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut negotiator = negotiator(1);
    let _ = negotiator.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"]);
    let _ = negotiator.add_transceiver(Kind::Video, Direction::SendOnly, &[]);
    if negotiator
        .set_remote_description(SdpType::Offer, text)
        .is_err()
    {
        return;
    }
    let answer = negotiator.create_answer(&ice()).unwrap();
    let read: Description = answer.parse().unwrap();
    let offer: Description = text.parse().unwrap();
    assert_eq!(read.media.len(), offer.media.len());
    negotiator
        .set_local_description(SdpType::Answer, &answer)
        .unwrap();
    // The other way round as well: our next offer, and the same text as an offer again.
    if negotiator.create_offer(&ice()).is_ok() {
        let _ = negotiator.set_remote_description(SdpType::Offer, text);
        let _ = negotiator.set_remote_description(SdpType::Rollback, "");
    }
}

/// The text as the answer to our offer, and as a candidate.
pub fn negotiate_answer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (answer, candidate) = text.split_once('\0').unwrap_or((text, text));
    let mut negotiator = negotiator(2);
    let _ = negotiator.add_transceiver(Kind::Audio, Direction::SendRecv, &["s"]);
    let _ = negotiator.add_transceiver(Kind::Video, Direction::SendRecv, &["s"]);
    negotiator.want_data();
    let offer = negotiator.create_offer(&ice()).unwrap();
    negotiator
        .set_local_description(SdpType::Offer, &offer)
        .unwrap();
    let _ = negotiator.set_remote_description(SdpType::Pranswer, answer);
    let _ = negotiator.set_remote_description(SdpType::Answer, answer);
    let _ = negotiator.remote_candidate(candidate, Some("0"), None, None);
    let _ = negotiator.remote_candidate(candidate, None, Some(1), Some("abcd"));
    let _ = negotiator.create_offer(&ice());
}

/// Participants of a room who come, say anything, and go.
pub fn room_hall(data: &[u8]) {
    let mut hall = Hall::new(twocan_room::Config::default(), Random::new([4; 32]));
    let mut now = begin();
    let mut script = Script::new(data);
    let mut last = String::new();
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = script.byte() else {
            return;
        };
        let connection = ConnectionId(u64::from(operation & 3));
        match operation >> 2 & 7 {
            0 => {
                let protocol = if operation & 0x20 == 0 {
                    Protocol::Base
                } else {
                    Protocol::V1
                };
                hall.disconnected(now, connection);
                let room = if operation & 0x40 == 0 { "den" } else { "lab" };
                // Some may moderate, and some have a token that ends.
                let permissions = Permissions {
                    moderate: operation & 0x40 != 0,
                    ..Permissions::default()
                };
                let admission = Admission {
                    permissions,
                    expires_at: (operation & 0x80 != 0)
                        .then(|| now.wallclock + std::time::Duration::from_secs(20)),
                    ..Admission::default()
                };
                if hall.admit(room).is_ok() {
                    let own = OwnUrls::default();
                    hall.connected(now, connection, room, protocol, own, admission);
                }
            }
            1 => hall.disconnected(now, connection),
            2 => {
                let Some(byte) = script.byte() else { return };
                now = now.at(now.monotonic + step(byte));
                hall.handle_timeout(now);
            }
            3 => hall.handle_other(now, connection),
            4 if operation & 0x20 != 0 => hall.too_slow(now, connection),
            // What the hall itself said last, with its ids and tokens, damaged.
            4 | 5 => {
                let mut text = std::mem::take(&mut last).into_bytes();
                if script.mutate(&mut text).is_none() {
                    return;
                }
                hall.handle_text(now, connection, &String::from_utf8_lossy(&text));
            }
            _ => {
                let Some(text) = script.piece() else { return };
                hall.handle_text(now, connection, &String::from_utf8_lossy(text));
            }
        }
        while let Output::Event(event) = hall.poll_output() {
            match event {
                twocan_room::Event::Send { text, .. } => last = text,
                twocan_room::Event::Token(shown) => {
                    let looked = match shown.token.len() % 2 {
                        0 => Ok(Admission::default()),
                        _ => Err("odd".to_owned()),
                    };
                    hall.renew(now, &shown, looked);
                }
                _ => {}
            }
        }
        assert!(hall.peer_count() <= 64);
    }
}
