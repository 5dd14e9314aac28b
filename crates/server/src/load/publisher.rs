//! A client that sends a picture of made-up bytes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use twocan_io::clock;
use twocan_proto::negotiate::TransceiverId;
use twocan_proto::peer::Event;
use twocan_proto::rtp::{self, OutgoingPacket, Payload};
use twocan_proto::wire::ids::PayloadType;

use super::client::Client;
use super::{Arguments, Shared};

/// Of a payload: with headers and tag it stays below what a datagram may have.
const PAYLOAD_LEN: usize = 1_100;

/// Ticks of a picture's timestamps in a second.
const CLOCK_RATE: u32 = 90_000;

/// What a key frame has besides (RFC 6386 §9.1): its length, the start code, 1280 by 720.
const KEY_HEADER: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];

/// And what others have: the first bit says that they are none.
const DELTA_HEADER: [u8; 3] = [0x11, 0x02, 0x00];

/// Made-up pictures.
#[derive(Debug)]
pub(super) struct Source {
    interval: Duration,
    packets: u32,
    len: usize,
    picture: u32,
    key_wanted: bool,
}

impl Source {
    pub(super) fn new(arguments: &Arguments) -> Self {
        let bytes = (arguments.bitrate * 125 / arguments.framerate).max(200);
        let packets = bytes.div_ceil(PAYLOAD_LEN as u32);
        Self {
            interval: Duration::from_secs(1) / arguments.framerate,
            packets,
            len: (bytes / packets) as usize,
            picture: 0,
            key_wanted: true,
        }
    }

    /// A payload of the picture: descriptor (RFC 7741 §4.2), header, filling, and the time.
    fn write(&self, index: u32, is_key: bool, time: u64, payload: &mut Vec<u8>) {
        payload.clear();
        let begins = if index == 0 { 0x10 } else { 0 };
        let [.., high, low] = self.picture.to_be_bytes();
        payload.extend_from_slice(&[0x80 | begins, 0x80, 0x80 | high, low]);
        match (index, is_key) {
            (0, true) => payload.extend_from_slice(&KEY_HEADER),
            (0, false) => payload.extend_from_slice(&DELTA_HEADER),
            _ => {}
        }
        payload.resize(self.len.saturating_sub(8).max(payload.len()), 0x5a);
        payload.extend_from_slice(&time.to_be_bytes());
    }
}

/// A publisher that is connected.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) transceiver: TransceiverId,
    pub(super) payload_type: PayloadType,
}

/// Sends for good.
pub(super) async fn run(shared: Rc<Shared>, mut own: Connected, mut source: Source) {
    let mut due = Instant::now();
    let mut payload = Vec::new();
    loop {
        match own.client.next(Some(due)).await {
            Ok(Some(Event::Rtp(rtp::Event::KeyFrameRequested { .. }))) => source.key_wanted = true,
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() < due => {}
            Ok(None) => {
                send(&shared, &mut own, &mut source, &mut payload);
                due += source.interval;
            }
            Err(error) => {
                tracing::warn!(%error, "a publisher has ended");
                return;
            }
        }
    }
}

fn send(shared: &Shared, own: &mut Connected, source: &mut Source, payload: &mut Vec<u8>) {
    let is_key = std::mem::take(&mut source.key_wanted);
    source.picture = source.picture.wrapping_add(1) & 0x7fff;
    let now = clock::now();
    let elapsed = now.monotonic.saturating_duration_since(shared.origin);
    let timestamp = (elapsed.as_secs_f64() * f64::from(CLOCK_RATE)) as u64 as u32;
    for index in 0..source.packets {
        source.write(index, is_key, elapsed.as_nanos() as u64, payload);
        let packet = OutgoingPacket {
            rid: None,
            payload_type: own.payload_type,
            sequence_number: None,
            timestamp,
            sampled_at: Some(now.monotonic),
            marker: index + 1 == source.packets,
            payload: Payload::Bytes(payload),
            audio_level: None,
            dependency_descriptor: None,
            playout_delay: None,
            layers_allocation: None,
        };
        let sent = own.client.peer.send_packet(now, own.transceiver, &packet);
        shared.tally.borrow_mut().note_sent(sent.is_ok());
    }
}
