//! Bounds on what clients may do.

use std::time::Duration;

/// Every bound of a [`crate::Hall`]; each is reported by its name when it is hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame a client may send, in bytes. Default 65,536.
    pub message_bytes: usize,
    /// Frames per second and client, with a burst of twice as many. Default 100.
    pub messages_per_second: u32,
    /// Participants of a room whose media the server does not forward. Default 16: a mesh grows
    /// with the square.
    pub peers_per_room: usize,
    /// Participants up to which media goes from each to each where either is possible
    /// ([`crate::Topology::Auto`]). Default 3.
    pub peers_per_mesh: usize,
    /// How long such a room has to need the server no more before it does without: somebody may
    /// come back. Default 30 s.
    pub mesh_after: Duration,
    /// Participants of a room whose media the server forwards. Default 500.
    pub peers_per_forwarded_room: usize,
    /// Rooms. Default 10,000.
    pub rooms: usize,
    /// Messages to everybody that a room keeps for those who come later, the last ones, of up to
    /// 256 KiB together. Default 0: none.
    pub chat_history: usize,
    /// How long a participant stays whose connection is lost. Default 30 s.
    pub resume_grace: Duration,
    /// Frames kept for a participant whose connection is lost. Default 1,000; beyond it the
    /// participant cannot resume.
    pub replay_frames: usize,
    /// Bytes kept for the same. Default 1 MiB.
    pub replay_bytes: usize,
    /// How long a connection may be silent, `ping` included. Default 15 min.
    pub silence: Duration,
    /// How long a `twocan.v1` connection may wait before it says `join` or `resume`. Default 10 s;
    /// then it joins without a name.
    pub greeting: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 * 1024,
            messages_per_second: 100,
            peers_per_room: 16,
            peers_per_mesh: 3,
            mesh_after: Duration::from_secs(30),
            peers_per_forwarded_room: 500,
            rooms: 10_000,
            chat_history: 0,
            resume_grace: Duration::from_secs(30),
            replay_frames: 1_000,
            replay_bytes: 1 << 20,
            silence: Duration::from_secs(15 * 60),
            greeting: Duration::from_secs(10),
        }
    }
}

/// Longest name of a room, in bytes. It is part of a URL.
pub(crate) const ROOM_NAME_LEN_MAX: usize = 128;

/// Longest name of a participant, in characters; the rest is cut.
pub(crate) const PEER_NAME_CHARS_MAX: usize = 100;

/// Tokens that a participant may show in a second, and twice as many at once; further ones are
/// refused, as looking at one costs more than passing a frame on.
pub(crate) const TOKENS_PER_SECOND: u32 = 2;

/// Longest metadata that a participant may give of itself, in bytes of JSON; longer ones are
/// refused, and left out of `join`.
pub(crate) const METADATA_LEN_MAX: usize = 8 * 1024;

/// Longest announcement of a track, in bytes of JSON; longer ones are refused.
pub(crate) const TRACK_LEN_MAX: usize = 4 * 1024;

/// Reactions of a participant in a second, and twice as many at once; further ones are refused.
pub(crate) const REACTIONS_PER_SECOND: u32 = 2;

/// Changes of tracks, names, metadata and raised hands in a second that the others are told of one
/// participant, and twice as many at once; further ones are refused.
pub(crate) const CHANGES_PER_SECOND: u32 = 10;

/// Bytes of the messages that a room keeps, with names and ids; the oldest go.
pub(crate) const CHAT_HISTORY_LEN_MAX: usize = 256 * 1024;

/// Messages that a room keeps, whatever is asked for.
pub(crate) const CHAT_HISTORY_MAX: usize = 1_000;

/// Published tracks that a participant may announce; further ones are refused.
pub(crate) const TRACKS_MAX: usize = 32;

/// Those who wait for being let into a room; further ones are refused.
pub(crate) const WAITING_MAX: usize = 100;

/// Longest reason that somebody who moderates gives, in characters; the rest is cut.
pub(crate) const REASON_CHARS_MAX: usize = 200;
