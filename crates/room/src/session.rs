//! One participant, over one WebSocket after another.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::{Outgoing, Recipients};
use crate::hall::{ConnectionId, Protocol};
use crate::limits::{
    CHANGES_PER_SECOND, Limits, PEER_NAME_CHARS_MAX, REACTIONS_PER_SECOND, TOKENS_PER_SECOND,
};
use crate::permissions::{
    Admission, Allowed, MediaPermissions, PermissionChange, Permissions, Source,
};
use crate::rate::Rate;

/// A track that a participant announced.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) id: String,
    /// The whole announcement.
    pub(crate) told: Box<RawValue>,
    pub(crate) source: Source,
    pub(crate) is_video: bool,
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
    /// Its raised hand, by the number of those that were raised in the room.
    pub(crate) hand: Option<u64>,
    pub(crate) admission: Admission,
    /// What its token says that it may do.
    pub(crate) granted: Permissions,
    /// What somebody who moderates changed of that.
    pub(crate) change: PermissionChange,
    /// Whether sound, and whether pictures, that it never announced are passed on no more: somebody
    /// who moderates has muted it.
    pub(crate) is_silenced: [bool; 2],
    /// What whoever forwards media was told last.
    pub(crate) media: MediaPermissions,
    /// Whether it waits to be admitted.
    pub(crate) is_waiting: bool,
    /// Time since 1970.
    pub(crate) joined_at: Duration,
    /// When its token ends.
    pub(crate) expires_at: Option<Instant>,
    /// Of the tokens that it shows, once it has shown one.
    pub(crate) token_rate: Option<Rate>,
    /// Of the changes that it tells of itself, once there was one.
    pub(crate) change_rate: Option<Rate>,
    /// Of its reactions, once there was one.
    pub(crate) reaction_rate: Option<Rate>,
    pub(crate) resume_token: String,
    /// The highest `seq` of the client's that was acted on.
    pub(crate) received: u64,
    pub(crate) connection: Option<ConnectionId>,
    /// Whether it came by HTTP, and has no connection.
    pub(crate) is_guest: bool,
    /// Whether it came by HTTP and is told everything over a data channel of its connection with the
    /// server: with that it comes and goes.
    pub(crate) by_channel: bool,
    /// Whether whoever forwards media knows of it.
    pub(crate) is_forwarded: bool,
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
            hand: None,
            admission: Admission::default(),
            granted: Permissions::default(),
            change: PermissionChange::default(),
            is_silenced: [false; 2],
            media: MediaPermissions::default(),
            is_waiting: false,
            joined_at: Duration::ZERO,
            expires_at: None,
            token_rate: None,
            change_rate: None,
            reaction_rate: None,
            resume_token: String::new(),
            received: 0,
            connection: None,
            is_guest: true,
            by_channel: false,
            is_forwarded: false,
            leaves_at: None,
            sent: 0,
            replay: VecDeque::new(),
            replay_len: 0,
        }
    }

    /// Goes on under another token; answers whether others are to be told another name, or other
    /// metadata.
    pub(crate) fn renew(&mut self, fresh: Admission) -> bool {
        self.change = self.change.over(&self.granted, &fresh.permissions);
        self.granted = fresh.permissions.clone();
        self.admission = fresh;
        self.admission.permissions = self.change.applied(&self.granted);
        let name = self.admission.name.as_ref().map(|own| cut(own));
        let name = name.filter(|own| *own != self.name);
        let metadata = self.admission.metadata.clone();
        let told = |own: &Option<Box<RawValue>>| own.as_ref().map(|own| own.get().to_owned());
        let metadata = metadata.filter(|_| told(&self.admission.metadata) != told(&self.metadata));
        let is_renamed = name.is_some() || metadata.is_some();
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        self.metadata = metadata.or_else(|| self.metadata.take());
        is_renamed
    }

    /// Whether it may show a token now.
    pub(crate) fn may_show_token(&mut self, now: Instant) -> bool {
        let rate = &mut self.token_rate;
        let rate = rate.get_or_insert_with(|| Rate::new(TOKENS_PER_SECOND, now));
        rate.admits(now)
    }

    /// Whether it may change what the others are told of it now.
    pub(crate) fn may_change(&mut self, now: Instant) -> bool {
        let rate = &mut self.change_rate;
        let rate = rate.get_or_insert_with(|| Rate::new(CHANGES_PER_SECOND, now));
        rate.admits(now)
    }

    /// Whether it may react now.
    pub(crate) fn may_react(&mut self, now: Instant) -> bool {
        let rate = &mut self.reaction_rate;
        let rate = rate.get_or_insert_with(|| Rate::new(REACTIONS_PER_SECOND, now));
        rate.admits(now)
    }

    pub(crate) fn permissions(&self) -> &Permissions {
        &self.admission.permissions
    }

    /// What of its media may be passed on.
    pub(crate) fn media_permissions(&self) -> MediaPermissions {
        if self.is_waiting {
            return MediaPermissions::before_entry();
        }
        MediaPermissions {
            subscribe: self.permissions().subscribe,
            audio: self.allowed(false),
            video: self.allowed(true),
            data: self.permissions().may_talk(),
            hidden: self.permissions().hidden,
            waits: false,
        }
    }

    /// Whether it may send anything of a kind, announced or not.
    pub(crate) fn is_free(&self, is_video: bool) -> bool {
        let of_kind = |source: &Source| source.is_video().is_none_or(|own| own == is_video);
        let mut sources = Source::ALL.iter().filter(|source| of_kind(source));
        sources.all(|source| self.permissions().may_publish(*source))
    }

    fn allowed(&self, is_video: bool) -> Allowed {
        let is_free = self.is_free(is_video) && !self.is_silenced[usize::from(is_video)];
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
        // Who cannot come back misses nothing.
        if let Some(seq) = seq.filter(|_| !self.by_channel) {
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

/// A name as others are told it.
pub(crate) fn cut(name: &str) -> String {
    name.chars().take(PEER_NAME_CHARS_MAX).collect()
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
