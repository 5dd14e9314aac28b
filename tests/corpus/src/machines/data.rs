//! SCTP and data channels: two ends, and a hostile network between them that knows the tags.

use std::time::Instant;

use twocan_proto::channel::{ChannelId, ChannelInit, Channels, Role};
use twocan_proto::random::Random;
use twocan_proto::sctp::{Association, Config, Order, Reliability, SendOptions};
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::{Ppid, crc32c};

use super::{OPERATIONS_MAX, PACKETS_MAX, begin, step};
use crate::Script;

/// What both kinds of end have in common.
trait End {
    fn receive(&mut self, now: Instant, packet: &[u8]);
    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool;
    fn expire(&mut self, now: Instant);
    fn poll(&mut self) -> bool;
    fn act(&mut self, now: Instant, operation: u8, script: &mut Script<'_>) -> Option<()>;
}

/// Two ends and what is on its way from each.
struct Pair<E> {
    now: Instant,
    ends: [E; 2],
    wire: [Vec<Vec<u8>>; 2],
    /// The last header that each end sent: ports and tag of an authentic packet.
    headers: [Vec<u8>; 2],
}

impl<E: End> Pair<E> {
    fn collect(&mut self) {
        for index in 0..2 {
            while self.ends[index].poll() {}
            for _ in 0..PACKETS_MAX {
                let mut packet = Vec::new();
                if !self.ends[index].transmit(self.now, &mut packet) {
                    break;
                }
                self.headers[index] = packet.iter().take(12).copied().collect();
                self.wire[index].push(packet);
            }
        }
    }

    fn deliver(&mut self, from: usize, packet: &[u8]) {
        self.ends[1 - from].receive(self.now, packet);
        self.collect();
    }

    fn exchange(&mut self) {
        for _ in 0..PACKETS_MAX {
            for from in 0..2 {
                if !self.wire[from].is_empty() {
                    let packet = self.wire[from].remove(0);
                    self.deliver(from, &packet);
                }
            }
        }
    }

    fn run(&mut self, data: &[u8]) {
        let mut script = Script::new(data);
        self.collect();
        for _ in 0..OPERATIONS_MAX {
            if self.operation(&mut script).is_none() {
                break;
            }
            self.collect();
        }
        self.exchange();
    }

    fn operation(&mut self, script: &mut Script<'_>) -> Option<()> {
        let byte = script.byte()?;
        let from = usize::from(byte >> 7);
        match byte & 0x7f {
            0 => self.exchange(),
            1 => {
                self.wire[from].pop();
            }
            2 => {
                if let Some(mut packet) = self.wire[from].pop() {
                    script.mutate(&mut packet)?;
                    seal(&mut packet);
                    self.deliver(from, &packet);
                }
            }
            3 => {
                let mut packet = self.headers[from].clone();
                packet.extend_from_slice(script.piece()?);
                seal(&mut packet);
                self.deliver(from, &packet);
            }
            4 => {
                let packet = script.piece()?.to_vec();
                self.deliver(from, &packet);
            }
            5 => {
                if let Some(packet) = self.wire[from].last().cloned() {
                    self.deliver(from, &packet);
                }
            }
            6..=9 => {
                self.now += step(script.byte()?);
                for end in &mut self.ends {
                    end.expire(self.now);
                }
            }
            operation => self.ends[from].act(self.now, operation, script)?,
        }
        Some(())
    }
}

/// Makes the checksum right.
fn seal(packet: &mut [u8]) {
    if let Some(field) = packet.get_mut(8..12) {
        field.fill(0);
        let sum = crc32c(packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
    }
}

impl End for Association {
    fn receive(&mut self, now: Instant, packet: &[u8]) {
        self.handle_packet(now, packet);
    }

    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.poll_transmit(now, out)
    }

    fn expire(&mut self, now: Instant) {
        if self
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= now)
        {
            self.handle_timeout(now);
        }
    }

    fn poll(&mut self) -> bool {
        self.poll_event().is_some()
    }

    fn act(&mut self, now: Instant, operation: u8, script: &mut Script<'_>) -> Option<()> {
        let stream = StreamId(u16::from(script.byte()?) % 8);
        match operation % 8 {
            0 => self.connect(now),
            1 => self.reset_stream(stream),
            2 => self.shutdown(now),
            3 => self.abort(),
            4 => self.set_buffered_amount_low_threshold(stream, script.short()?.into()),
            _ => {
                let options = script.byte()?;
                let options = SendOptions {
                    order: if options & 1 == 0 {
                        Order::Ordered
                    } else {
                        Order::Unordered
                    },
                    reliability: match options >> 6 {
                        0 | 1 => Reliability::Reliable,
                        2 => Reliability::MaxRetransmits(u16::from(options >> 1 & 7)),
                        _ => Reliability::MaxLifetime(step(options)),
                    },
                };
                let len = usize::from(script.short()? % 8192);
                let _ = self.send(now, stream, Ppid::BINARY, options, vec![7; len]);
            }
        }
        Some(())
    }
}

impl End for Channels {
    fn receive(&mut self, now: Instant, packet: &[u8]) {
        self.handle_packet(now, packet);
    }

    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.poll_transmit(now, out)
    }

    fn expire(&mut self, now: Instant) {
        if self
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= now)
        {
            self.handle_timeout(now);
        }
    }

    fn poll(&mut self) -> bool {
        self.poll_event().is_some()
    }

    fn act(&mut self, now: Instant, operation: u8, script: &mut Script<'_>) -> Option<()> {
        let choice = usize::from(script.byte()?);
        let ids: Vec<ChannelId> = self.iter().collect();
        let id = choice.checked_rem(ids.len()).map(|index| ids[index]);
        match (operation % 8, id) {
            (0, _) => self.shutdown(now),
            (1, _) => self.abort(),
            (2, Some(id)) => self.close(id),
            (3 | 4, Some(id)) => {
                let _ = self.send_binary(now, id, script.piece()?.to_vec());
            }
            (5, Some(id)) => {
                let _ = self.send_text(now, id, "text");
            }
            _ => {
                let init = ChannelInit {
                    label: "label".into(),
                    negotiated: choice & 1 == 1,
                    id: (choice & 2 == 2).then_some(choice as u16),
                    ordered: choice & 4 == 0,
                    ..ChannelInit::default()
                };
                let _ = self.open(init);
            }
        }
        Some(())
    }
}

/// Two associations; the first byte says which extensions they offer and whether they are up.
pub fn sctp_association(data: &[u8]) {
    let Some((settings, script)) = data.split_first() else {
        return;
    };
    let config = Config {
        interleaving: settings & 1 == 0,
        zero_checksum: settings & 2 == 0,
        receive_window: 128 << 10,
        send_buffer_len_max: 1 << 20,
        local_max_message_size: 32 << 10,
        ..Config::default()
    };
    let mut pair = Pair {
        now: begin().monotonic,
        ends: [1, 2].map(|seed| Association::new(config.clone(), Random::new([seed; 32]))),
        wire: Default::default(),
        headers: Default::default(),
    };
    if settings & 4 == 0 {
        pair.ends[0].connect(pair.now);
        pair.collect();
        pair.exchange();
        assert!(pair.ends[0].is_established());
    }
    pair.run(script);
}

/// Two ends of a connection's channels, already up.
pub fn channels(data: &[u8]) {
    let config = Config {
        receive_window: 128 << 10,
        local_max_message_size: 32 << 10,
        ..Config::default()
    };
    let now = begin().monotonic;
    let mut pair = Pair {
        now,
        ends: [1, 2].map(|seed| Channels::new(config.clone(), Random::new([seed; 32]))),
        wire: Default::default(),
        headers: Default::default(),
    };
    pair.ends[0].start(now, Role::Client);
    pair.ends[1].start(now, Role::Server);
    let _ = pair.ends[0].open(ChannelInit::default());
    pair.collect();
    pair.exchange();
    assert!(pair.ends[1].is_connected());
    pair.run(data);
}
