//! A client that sends pictures and sound of made-up bytes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use twocan_io::clock;
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::Event;
use twocan_proto::rtp::{self, OutgoingPacket, Payload, PictureProperties};
use twocan_proto::wire::ids::{Mid, PayloadType};
use twocan_proto::wire::rtp::AudioLevel;

use super::client::Client;
use super::report::Phase;
use super::{Arguments, Shared};

/// Of a payload: with headers and tag it stays below what a datagram may have.
const PAYLOAD_LEN: usize = 1_100;

/// Ticks of timestamps in a second: of pictures, and of Opus (RFC 7587 §4.1).
const VIDEO_CLOCK_RATE: u32 = 90_000;
const AUDIO_CLOCK_RATE: u32 = 48_000;

/// Sound has a packet in so long, of 32 kbit/s.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const AUDIO_LEN: usize = 80;

/// Everybody speaks, and nobody louder than others.
const AUDIO_LEVEL: AudioLevel = AudioLevel {
    voice: true,
    level: 40,
};

/// What a key frame has besides (RFC 6386 §9.1): its length, the start code, 1280 by 720.
const KEY_HEADER: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];

/// And what others have: the first bit says that they are none.
const DELTA_HEADER: [u8; 3] = [0x11, 0x02, 0x00];

/// Made-up frames of a line.
#[derive(Debug)]
pub(super) struct Source {
    kind: Kind,
    interval: Duration,
    packets: u32,
    len: usize,
    frame: u32,
    key_wanted: bool,
    due: Instant,
}

impl Source {
    pub(super) fn new(kind: Kind, arguments: &Arguments) -> Self {
        let (interval, packets, len) = match kind {
            Kind::Audio => (AUDIO_INTERVAL, 1, AUDIO_LEN),
            Kind::Video => {
                let bytes = (arguments.bitrate * 125 / arguments.framerate).max(200);
                let packets = bytes.div_ceil(PAYLOAD_LEN as u32);
                let interval = Duration::from_secs(1) / arguments.framerate;
                (interval, packets, (bytes / packets) as usize)
            }
        };
        Self {
            kind,
            interval,
            packets,
            len,
            frame: 0,
            key_wanted: true,
            due: Instant::now(),
        }
    }

    /// A payload: of a picture with its descriptor (RFC 7741 §4.2) and header; then filling, and the
    /// time.
    fn write(&self, index: u32, is_key: bool, time: u64, payload: &mut Vec<u8>) {
        payload.clear();
        if self.kind == Kind::Video {
            let begins = if index == 0 { 0x10 } else { 0 };
            let [.., high, low] = self.frame.to_be_bytes();
            payload.extend_from_slice(&[0x80 | begins, 0x80, 0x80 | high, low]);
            match (index, is_key) {
                (0, true) => payload.extend_from_slice(&KEY_HEADER),
                (0, false) => payload.extend_from_slice(&DELTA_HEADER),
                _ => {}
            }
        }
        payload.resize(self.len.saturating_sub(8).max(payload.len()), 0x5a);
        payload.extend_from_slice(&time.to_be_bytes());
    }

    fn clock_rate(&self) -> u32 {
        match self.kind {
            Kind::Audio => AUDIO_CLOCK_RATE,
            Kind::Video => VIDEO_CLOCK_RATE,
        }
    }
}

/// A line that is sent on.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) transceiver: TransceiverId,
    pub(super) mid: Mid,
    pub(super) payload_type: PayloadType,
    pub(super) source: Source,
}

/// A publisher that is connected.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) lines: Vec<Line>,
}

/// Sends for good.
pub(super) async fn run(shared: Rc<Shared>, mut own: Connected) {
    let mut payload = Vec::new();
    loop {
        if shared.tally.borrow().phase == Phase::Over {
            return own.client.close();
        }
        let due = own.lines.iter().map(|line| line.source.due).min();
        match own.client.next(due).await {
            Ok(Some(Event::Rtp(rtp::Event::KeyFrameRequested { mid, .. }))) => {
                for line in own.lines.iter_mut().filter(|line| line.mid == mid) {
                    line.source.key_wanted = true;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let now = Instant::now();
                for line in own.lines.iter_mut().filter(|line| line.source.due <= now) {
                    send(&shared, &mut own.client, line, &mut payload);
                    line.source.due += line.source.interval;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a publisher has ended");
                return;
            }
        }
    }
}

fn send(shared: &Shared, client: &mut Client, line: &mut Line, payload: &mut Vec<u8>) {
    let source = &mut line.source;
    let is_key = std::mem::take(&mut source.key_wanted);
    source.frame = source.frame.wrapping_add(1) & 0x7fff;
    let now = clock::now();
    let elapsed = now.monotonic.saturating_duration_since(shared.origin);
    let timestamp = (elapsed.as_secs_f64() * f64::from(source.clock_rate())) as u64 as u32;
    let is_video = source.kind == Kind::Video;
    for index in 0..source.packets {
        source.write(index, is_key, elapsed.as_nanos() as u64, payload);
        let packet = OutgoingPacket {
            rid: None,
            payload_type: line.payload_type,
            sequence_number: None,
            timestamp,
            sampled_at: Some(now.monotonic),
            marker: is_video && index + 1 == source.packets,
            payload: Payload::Bytes(payload),
            audio_level: (!is_video).then_some(AUDIO_LEVEL),
            dependency_descriptor: None,
            playout_delay: None,
            layers_allocation: None,
            picture: PictureProperties::default(),
            provenance: None,
        };
        let sent = client.peer.send_packet(now, line.transceiver, &packet);
        shared.tally.borrow_mut().note_sent(sent.is_ok());
    }
}
