//! Tones of senders (W3C webrtc-pc §7): which stream they go in, and when.

use std::time::Duration;

use thiserror::Error;
use twocan_wire::ids::{Mid, PayloadType};

use super::machine::Peer;
use super::{ConnectionState, Event};
use crate::dtmf::{EventPacket, NoTone, Player, RtpClock, Step};
use crate::negotiate::{Kind, TransceiverId};
use crate::rtp::{OutgoingPacket, Payload, PictureProperties};
use crate::time::{Deadline, Now};

/// The encoding name of events (RFC 4733 §7.1).
const TELEPHONE_EVENT: &str = "telephone-event";

/// Why no tones were inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InsertDtmfError {
    /// [`Peer::can_insert_dtmf`] says no.
    #[error(
        "InvalidStateError: tones cannot be sent: no connected sender of sound that agreed on them"
    )]
    CannotInsert,
    /// A character that stands for no tone.
    #[error("InvalidCharacterError: {0}")]
    NoTone(#[from] NoTone),
}

/// Where the tones of a sender go.
struct Line {
    mid: Mid,
    payload_type: PayloadType,
    clock_rate: u32,
}

impl Peer {
    /// `canInsertDTMF` (W3C webrtc-pc §7.2): whether a transceiver is connected, sends sound, and
    /// agreed on events of RFC 4733.
    pub fn can_insert_dtmf(&self, transceiver: TransceiverId) -> bool {
        self.line(transceiver).is_some()
    }

    /// `insertDTMF` (W3C webrtc-pc §7.2): plays these tones in place of those that wait, see
    /// [`Player::insert`]. [`Event::ToneChange`] tells of each.
    ///
    /// # Errors
    /// [`InsertDtmfError`]; nothing has changed then.
    pub fn insert_dtmf(
        &mut self,
        now: Now,
        transceiver: TransceiverId,
        tones: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), InsertDtmfError> {
        if !self.can_insert_dtmf(transceiver) {
            return Err(InsertDtmfError::CannotInsert);
        }
        let player = self.tones.entry(transceiver).or_default();
        Ok(player.insert(now.monotonic, tones, duration, gap)?)
    }

    /// `toneBuffer` (W3C webrtc-pc §7.2): what is still to be played.
    pub fn tone_buffer(&self, transceiver: TransceiverId) -> String {
        let player = self.tones.get(&transceiver);
        player.map(Player::tones).unwrap_or_default()
    }

    /// Sends what is due of all tones.
    pub(super) fn play_tones(&mut self, now: Now) {
        let mut players = std::mem::take(&mut self.tones);
        for (transceiver, player) in &mut players {
            if player.deadline().is_none_or(|due| due > now.monotonic) {
                continue;
            }
            match self.line(*transceiver) {
                Some(line) => self.play(now, *transceiver, &line, player),
                None => player.stop(),
            }
        }
        players.retain(|_, player| !player.is_empty());
        self.tones = players;
    }

    /// When [`Self::play_tones`] has something to do.
    pub(super) fn tones_deadline(&self) -> Option<Deadline> {
        let due = self.tones.values().filter_map(Player::deadline).min()?;
        (!self.closed).then(|| Deadline::new(due, "tones"))
    }

    fn play(&mut self, now: Now, transceiver: TransceiverId, line: &Line, player: &mut Player) {
        let rtp = &mut self.transport.rtp;
        let timestamp = rtp.timestamp_at(now.monotonic, &line.mid, line.clock_rate);
        let clock = RtpClock {
            timestamp: timestamp.unwrap_or_default(),
            rate: line.clock_rate,
        };
        while let Some(step) = player.poll(now.monotonic, clock) {
            match step {
                Step::Packet(packet) => self.send_tone(now, line, &packet),
                Step::ToneChange(tone) => {
                    self.events
                        .push_back(Event::ToneChange { transceiver, tone });
                }
            }
        }
    }

    fn send_tone(&mut self, now: Now, line: &Line, packet: &EventPacket) {
        let mut payload = Vec::new();
        packet.event.write(&mut payload);
        let outgoing = OutgoingPacket {
            rid: None,
            payload_type: line.payload_type,
            sequence_number: None,
            timestamp: packet.timestamp,
            sampled_at: None,
            marker: packet.marker,
            payload: Payload::Bytes(&payload),
            audio_level: None,
            dependency_descriptor: None,
            playout_delay: None,
            picture: PictureProperties::default(),
            layers_allocation: None,
            provenance: None,
        };
        // The queue is full: this packet is lost like others, and those after it say the same.
        if self
            .transport
            .rtp
            .send_packet(now, &line.mid, &outgoing)
            .is_err()
        {
            self.counters.count("peer.tone_not_sent");
        }
    }

    /// Where tones go; `None` where they cannot be sent.
    fn line(&self, transceiver: TransceiverId) -> Option<Line> {
        if self.connection_state() != ConnectionState::Connected {
            return None;
        }
        let own = self.negotiator.transceiver(transceiver);
        let media = self.negotiated(transceiver)?;
        if own.is_some_and(|own| own.is_stopping()) || !media.sends || media.kind != Kind::Audio {
            return None;
        }
        let mid = self.sending_mid(transceiver, None).ok()?;
        let is_event = |name: &str| name.eq_ignore_ascii_case(TELEPHONE_EVENT);
        let (events, sound): (Vec<_>, Vec<_>) =
            media.codecs.iter().partition(|codec| is_event(&codec.name));
        // RFC 4733 §2.1: on the same clock as the sound, where there are events of that.
        let clock_rate = self.transport.rtp.sent_clock_rate(&mid);
        let clock_rate = clock_rate.or_else(|| sound.first().map(|codec| codec.clock_rate));
        let mut same = events.iter();
        let same = same.find(|codec| Some(codec.clock_rate) == clock_rate);
        let codec = same.or(events.first())?;
        Some(Line {
            mid,
            payload_type: codec.payload_type_send,
            clock_rate: codec.clock_rate.max(1),
        })
    }
}
