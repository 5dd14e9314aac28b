//! What whoever watches over the rooms is told.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::permissions::Permissions;
use crate::session::{Session, cut};

use super::Protocol;
use super::guest::Viewer;

/// Something that happened in a room.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Somebody came into a room in which nobody was, or it was made.
    RoomStarted {
        /// The room.
        room: String,
    },
    /// Nobody is in it any more.
    RoomFinished {
        /// The room.
        room: String,
    },
    /// Somebody is in.
    ParticipantJoined {
        /// The room.
        room: String,
        /// Who.
        participant: Box<ParticipantInfo>,
    },
    /// Somebody is out.
    ParticipantLeft {
        /// The room.
        room: String,
        /// Who.
        participant: Box<ParticipantInfo>,
        /// Why: `left`, `connection_lost`, or what `kicked` said.
        reason: String,
    },
    /// Somebody sends something.
    TrackPublished {
        /// The room.
        room: String,
        /// The id of who.
        participant: String,
        /// The announcement.
        track: Box<RawValue>,
    },
    /// Somebody sends something no more.
    TrackUnpublished {
        /// The room.
        room: String,
        /// The id of who.
        participant: String,
        /// The announcement.
        track: Box<RawValue>,
    },
}

/// Somebody moderated a room by signaling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moderated {
    /// The room.
    pub room: String,
    /// The id of who did.
    pub by: String,
    /// Its identity.
    pub identity: Option<String>,
    /// What was done.
    pub action: String,
    /// To whom.
    pub participant: Option<String>,
}

/// A participant, as administration sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ParticipantInfo {
    /// Its id.
    pub id: String,
    /// As its token has it.
    pub identity: Option<String>,
    /// What the others call it.
    pub name: String,
    /// What it, or its token, says of it.
    pub metadata: Option<Box<RawValue>>,
    /// `joined`, or `waiting` to be admitted.
    pub state: &'static str,
    /// `base`, `twocan.v1`, or `http`.
    pub protocol: &'static str,
    /// What it may do.
    pub permissions: PermissionsInfo,
    /// What it announced to send.
    pub tracks: Vec<Box<RawValue>>,
    /// Milliseconds since 1970.
    pub joined_at: u64,
}

/// [`Permissions`] in JSON.
#[derive(Debug, Clone, Serialize)]
pub struct PermissionsInfo {
    /// Whether it may send anything.
    pub publish: bool,
    /// What it may send.
    pub publish_sources: Vec<&'static str>,
    /// Whether it gets what others send.
    pub subscribe: bool,
    /// Whether it may say something.
    pub data: bool,
    /// Whether it may change its own name and metadata.
    pub metadata: bool,
    /// Whether it may moderate.
    pub moderate: bool,
    /// Whether it may record.
    pub record: bool,
    /// Whether others are not told of it.
    pub hidden: bool,
}

impl From<&Permissions> for PermissionsInfo {
    fn from(own: &Permissions) -> Self {
        let sources = own
            .publish
            .iter()
            .filter(|source| own.may_publish(**source));
        Self {
            publish: own.may_publish_anything(),
            publish_sources: sources.map(|source| source.as_str()).collect(),
            subscribe: own.subscribe,
            data: own.may_talk(),
            metadata: own.may_change_metadata(),
            moderate: own.moderate,
            record: own.record,
            hidden: own.hidden,
        }
    }
}

impl ParticipantInfo {
    /// Of one who looks on by HTTP: nobody in the room is told of it.
    pub(super) fn of_viewer(id: &str, viewer: &Viewer) -> Self {
        let admission = &viewer.admission;
        let permissions = Permissions {
            moderate: false,
            hidden: true,
            ..admission.permissions.clone()
        };
        let since = viewer.looks_on_since.unwrap_or_default();
        Self {
            id: id.to_owned(),
            identity: admission.identity.clone(),
            name: admission.name.as_deref().map(cut).unwrap_or_default(),
            metadata: admission.metadata.clone(),
            state: "joined",
            protocol: "http",
            permissions: (&permissions).into(),
            tracks: Vec::new(),
            joined_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn of(session: &Session) -> Self {
        Self {
            id: session.id.clone(),
            identity: session.admission.identity.clone(),
            name: session.name.clone(),
            metadata: session.metadata.clone(),
            state: match session.is_waiting {
                true => "waiting",
                false => "joined",
            },
            protocol: match (session.is_guest, session.protocol) {
                (true, _) => "http",
                (false, Protocol::Base) => "base",
                (false, Protocol::V1) => "twocan.v1",
            },
            permissions: (&session.admission.permissions).into(),
            tracks: session.tracks.iter().map(|own| own.told.clone()).collect(),
            joined_at: u64::try_from(session.joined_at.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
