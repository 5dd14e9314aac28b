//! One participant, over one WebSocket after another.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::value::RawValue;

use crate::frame::{Outgoing, Recipients};
use crate::hall::{ConnectionId, Protocol};
use crate::limits::Limits;

/// A participant of a room.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) room: String,
    pub(crate) protocol: Protocol,
    pub(crate) name: String,
    pub(crate) metadata: Option<Box<RawValue>>,
    /// Published tracks: id and the whole announcement.
    pub(crate) tracks: Vec<(String, Box<RawValue>)>,
    pub(crate) resume_token: String,
    /// The highest `seq` of the client's that was acted on.
    pub(crate) received: u64,
    pub(crate) connection: Option<ConnectionId>,
    /// Whether it came by HTTP, and has no connection.
    pub(crate) is_guest: bool,
    /// When it leaves, unless it comes back.
    pub(crate) leaves_at: Option<Instant>,
    sent: u64,
    replay: VecDeque<(u64, String)>,
    replay_len: usize,
}

impl Session {
    pub(crate) fn new(
        id: String,
        room: String,
        protocol: Protocol,
        connection: ConnectionId,
        resume_token: String,
    ) -> Self {
        Self {
            id,
            room,
            protocol,
            name: String::new(),
            metadata: None,
            tracks: Vec::new(),
            resume_token,
            received: 0,
            connection: Some(connection),
            is_guest: false,
            leaves_at: None,
            sent: 0,
            replay: VecDeque::new(),
            replay_len: 0,
        }
    }

    /// Somebody without a connection, whom nothing can be told.
    pub(crate) fn guest(id: String, room: String) -> Self {
        Self {
            id,
            room,
            protocol: Protocol::V1,
            name: String::new(),
            metadata: None,
            tracks: Vec::new(),
            resume_token: String::new(),
            received: 0,
            connection: None,
            is_guest: true,
            leaves_at: None,
            sent: 0,
            replay: VecDeque::new(),
            replay_len: 0,
        }
    }

    /// The text of a frame for this participant; kept for a resumption in `twocan.v1`.
    pub(crate) fn write(&mut self, limits: &Limits, frame: &Frame<'_>) -> String {
        let own = Recipients::Some(vec![self.id.clone()]);
        let (seq, id) = match self.protocol {
            Protocol::Base => (None, None),
            Protocol::V1 => {
                self.sent += 1;
                (Some(self.sent), frame.id)
            }
        };
        let text = Outgoing {
            data: frame.data,
            event: frame.event,
            from: frame.from,
            to: Some(frame.to.unwrap_or(&own)),
            id,
            seq,
            from_metadata: frame.from_metadata,
        }
        .to_text();
        if let Some(seq) = seq {
            self.replay_len += text.len();
            self.replay.push_back((seq, text.clone()));
            while self.replay.len() > limits.replay_frames || self.replay_len > limits.replay_bytes
            {
                let Some((_, dropped)) = self.replay.pop_front() else {
                    break;
                };
                self.replay_len -= dropped.len();
            }
        }
        text
    }

    /// The frames after `seq`; `None` when some of them are no longer kept.
    pub(crate) fn missed(&self, seq: u64) -> Option<Vec<String>> {
        let oldest = self.replay.front().map_or(self.sent + 1, |(seq, _)| *seq);
        (seq <= self.sent && oldest <= seq + 1).then(|| {
            let missed = self.replay.iter().filter(|(kept, _)| *kept > seq);
            missed.map(|(_, text)| text.clone()).collect()
        })
    }
}

/// What is to be sent, before it is numbered for its recipient.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frame<'a> {
    pub(crate) event: &'a str,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) from: Option<&'a str>,
    /// `None` is the recipient alone.
    pub(crate) to: Option<&'a Recipients>,
    pub(crate) id: Option<&'a RawValue>,
    /// What the sender gave when it joined, where that is configured.
    pub(crate) from_metadata: Option<&'a RawValue>,
}
