//! Participants without a WebSocket: they come by HTTP, and others see them as anybody.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Hall, Protocol, Refusal, Topology};
use crate::frame;
use crate::limits::{PEER_NAME_CHARS_MAX, TRACKS_MAX};
use crate::session::Session;
use thiserror::Error;

/// A line of a description on which somebody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// The identification of its section.
    pub mid: String,
    /// Whether it carries pictures, and not sound.
    pub is_video: bool,
}

/// Why somebody cannot come by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GuestRefusal {
    /// As for everybody.
    #[error(transparent)]
    Room(#[from] Refusal),
    /// 503: as many as allowed.
    #[error("the room has as many participants as it may")]
    RoomIsFull,
    /// 409: media does not pass the server.
    #[error("media of this server's rooms goes from each to each; start it with --topology sfu")]
    NotForwarded,
}

impl Hall {
    /// Whether somebody can come by HTTP.
    ///
    /// # Errors
    /// The [`GuestRefusal`].
    pub fn admit_guest(&self, room: &str) -> Result<(), GuestRefusal> {
        if self.config.topology != Topology::Sfu {
            return Err(GuestRefusal::NotForwarded);
        }
        self.admit(room)?;
        let present = self.rooms.get(room).map_or(0, Vec::len);
        match present >= self.config.limits.peers_in(self.config.topology) {
            true => Err(GuestRefusal::RoomIsFull),
            false => Ok(()),
        }
    }

    /// Somebody comes who only looks on, and whom nobody is told of; answers an id.
    ///
    /// # Errors
    /// As [`Self::admit_guest`].
    pub fn admit_viewer(&mut self, room: &str) -> Result<String, GuestRefusal> {
        self.admit_guest(room)?;
        Ok(self.uuid())
    }

    /// Who was admitted as a viewer publishes these lines: the others see it from here on, until
    /// [`Self::dismiss`].
    ///
    /// # Errors
    /// As [`Self::admit_guest`]; nobody was told then.
    pub fn welcome_guest(
        &mut self,
        id: &str,
        room: &str,
        name: &str,
        lines: &[GuestLine],
    ) -> Result<(), GuestRefusal> {
        self.admit_guest(room)?;
        let mut session = Session::guest(id.to_owned(), room.to_owned());
        session.name = name.chars().take(PEER_NAME_CHARS_MAX).collect();
        session.tracks = publications(id, lines);
        let present = self.rooms.get(room).cloned().unwrap_or_default();
        self.peers.insert(id.to_owned(), session);
        self.announce(id, &present);
        let room = self.rooms.entry(room.to_owned()).or_default();
        room.push(id.to_owned());
        Ok(())
    }

    /// Somebody that came by HTTP is gone, or is to go.
    pub fn dismiss(&mut self, participant: &str) {
        let is_guest = |session: &Session| session.protocol == Protocol::V1 && session.is_guest;
        if self.peers.get(participant).is_some_and(is_guest) {
            self.leave(participant);
        }
    }
}

/// The lines as others are told of them: first sound, first picture, and a second picture is a
/// screen.
fn publications(id: &str, lines: &[GuestLine]) -> Vec<(String, Box<RawValue>)> {
    let mut seen = [0; 2];
    let tracks = lines.iter().take(TRACKS_MAX).filter_map(|line| {
        let rank = &mut seen[usize::from(line.is_video)];
        *rank += 1;
        let (kind, source) = match (line.is_video, *rank) {
            (false, 1) => ("audio", "microphone"),
            (false, _) => ("audio", "other"),
            (true, 1) => ("video", "camera"),
            (true, 2) => ("video", "screen"),
            (true, _) => ("video", "other"),
        };
        let track = format!("{id}-{}", line.mid);
        let told = json!({
            "id": track, "kind": kind, "source": source, "stream": track, "muted": false,
        });
        Some((track, frame::raw(&told)?))
    });
    tracks.collect()
}
