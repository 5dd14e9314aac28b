//! One participant, over one WebSocket after another.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::{Outgoing, Recipients};
use crate::hall::{ConnectionId, Protocol};
use crate::limits::Limits;
use crate::permissions::{
    Admission, Allowed, MediaPermissions, PermissionChange, Permissions, Source,
};

/// A track that a participant announced.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) id: String,
    /// The whole announcement.
    pub(crate) told: Box<RawValue>,
    pub(crate) source: Source,
    is_video: bool,
    stream: Option<String>,
    /// Whether somebody who moderates has muted it.
    pub(crate) is_stopped: bool,
}

impl Publication {
    /// Reads an announcement; `None` where it has no id.
    pub(crate) fn read(told: Box<RawValue>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields {
            id: String,
            source: Option<String>,
            kind: Option<String>,
            stream: Option<String>,
        }
        let fields: Fields = serde_json::from_str(told.get()).ok()?;
        let named = fields.source.as_deref().and_then(Source::named);
        let source = named.unwrap_or(Source::Other);
        let is_video = source.is_video();
        Some(Self {
            id: fields.id,
            told,
            source,
            is_video: is_video.unwrap_or(fields.kind.as_deref() == Some("video")),
            stream: fields.stream,
            is_stopped: false,
        })
    }

    /// The announcement as muted or not.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        let parsed = serde_json::from_str::<serde_json::Value>(self.told.get());
        if let Ok(serde_json::Value::Object(mut told)) = parsed {
            told.insert("muted".to_owned(), muted.into());
            if let Ok(told) = serde_json::value::to_raw_value(&told) {
                self.told = told;
            }
        }
    }
}

/// A participant of a room.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) room: String,
    pub(crate) protocol: Protocol,
    pub(crate) name: String,
    pub(crate) metadata: Option<Box<RawValue>>,
    pub(crate) tracks: Vec<Publication>,
    pub(crate) admission: Admission,
    /// What somebody who moderates changed of what its token says.
    pub(crate) change: PermissionChange,
    /// What whoever forwards media was told last.
    pub(crate) media: MediaPermissions,
    /// Whether it waits to be admitted.
    pub(crate) is_waiting: bool,
    /// Time since 1970.
    pub(crate) joined_at: Duration,
    /// When its token ends.
    pub(crate) expires_at: Option<Instant>,
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
            protocol,
            resume_token,
            connection: Some(connection),
            is_guest: false,
            ..Self::guest(id, room)
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
            admission: Admission::default(),
            change: PermissionChange::default(),
            media: MediaPermissions::default(),
            is_waiting: false,
            joined_at: Duration::ZERO,
            expires_at: None,
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

    pub(crate) fn permissions(&self) -> &Permissions {
        &self.admission.permissions
    }

    /// What of its media may be passed on.
    pub(crate) fn media_permissions(&self) -> MediaPermissions {
        MediaPermissions {
            subscribe: self.permissions().subscribe,
            audio: self.allowed(false),
            video: self.allowed(true),
        }
    }

    fn allowed(&self, is_video: bool) -> Allowed {
        let of_kind = |source: &Source| source.is_video().is_none_or(|own| own == is_video);
        let mut sources = Source::ALL.iter().filter(|source| of_kind(source));
        let is_free = sources.all(|source| self.permissions().may_publish(*source));
        let mut own = self.tracks.iter().filter(|own| own.is_video == is_video);
        if is_free && own.clone().all(|own| !own.is_stopped) {
            return Allowed::All;
        }
        let stopped: BTreeSet<&String> = own
            .clone()
            .filter(|own| own.is_stopped)
            .filter_map(|own| own.stream.as_ref())
            .collect();
        let passes = |own: &&Publication| {
            let stream = own.stream.as_ref();
            self.permissions().may_publish(own.source)
                && stream.is_some_and(|stream| !stopped.contains(stream))
        };
        let streams = own.by_ref().filter(passes);
        Allowed::Streams(streams.filter_map(|own| own.stream.clone()).collect())
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
