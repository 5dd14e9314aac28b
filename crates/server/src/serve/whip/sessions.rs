//! The sessions of WHIP and WHEP, by names that their owners alone know.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use twocan_io::clock;

/// Sessions at a time, publishing and playing; further ones are refused.
const SESSIONS_MAX: usize = 10_000;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// WHIP.
    Publish,
    /// WHEP.
    Play,
}

impl Role {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Publish => "whip",
            Self::Play => "whep",
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) role: Role,
    pub(super) room: String,
    /// As what it is known in the room, where its own name would let everybody end it.
    pub(super) participant: String,
    /// Counts ICE generations: part of the entity tag.
    pub(super) generation: u64,
}

/// Sessions remembered whose connection ended before they were: ffmpeg says goodbye by DTLS first,
/// and then deletes.
const ENDED_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct All {
    /// By names that nobody can guess.
    open: BTreeMap<String, Session>,
    names: BTreeMap<String, String>,
    /// Those that are being made.
    coming: usize,
    /// Whose connection is over, and that nobody has deleted.
    ended: VecDeque<(String, Session)>,
}

impl All {
    fn insert(&mut self, id: String, session: Session) {
        self.names.insert(session.participant.clone(), id.clone());
        self.open.insert(id, session);
    }

    fn remove(&mut self, id: &str) -> Option<Session> {
        let session = self.open.remove(id)?;
        self.names.remove(&session.participant);
        Some(session)
    }
}

/// A place for a session that is being made.
pub(super) struct Seat(Sessions);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.with(|all| all.coming -= 1);
    }
}

/// The sessions that there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<All>>);

impl Sessions {
    /// The connection of a participant is over, if it has a session.
    pub(crate) fn end(&self, participant: &str) {
        self.with(|all| {
            let Some(id) = all.names.get(participant).cloned() else {
                return;
            };
            if let Some(session) = all.remove(&id) {
                if all.ended.len() >= ENDED_MAX {
                    all.ended.pop_front();
                }
                all.ended.push_back((id, session));
            }
        });
    }

    /// A session is made; its connection has not ended yet.
    pub(super) fn insert(&self, id: String, session: Session) {
        self.with(|all| all.insert(id, session));
    }

    /// Its ICE is restarted; its entity tag from here on.
    pub(super) fn restarted(&self, id: &str) -> String {
        let generation = self.with(|all| {
            let own = all.open.get_mut(id)?;
            own.generation += 1;
            Some(own.generation)
        });
        tag(id, generation.unwrap_or(0))
    }

    /// Keeps a place for a session that is being made; `None` where there are as many as may be,
    /// in all or of those who play the room.
    pub(super) fn reserve(&self, role: Role, room: &str, viewers_max: usize) -> Option<Seat> {
        self.with(|all| {
            let plays = |own: &&Session| own.role == Role::Play && own.room == room;
            let viewers = all.open.values().filter(plays).count();
            let is_full = role == Role::Play && viewers + all.coming >= viewers_max;
            if is_full || all.open.len() + all.coming >= SESSIONS_MAX {
                return None;
            }
            all.coming += 1;
            Some(Seat(self.clone()))
        })
    }

    /// Takes a session of that kind in that room away, also one whose connection had ended by itself;
    /// answers whose it was.
    pub(super) fn delete(&self, role: Role, room: &str, id: &str) -> Option<String> {
        self.with(|all| {
            let is_meant = |own: &Session| own.role == role && own.room == room;
            let mut ended = all.ended.iter();
            if let Some(index) = ended.position(|(own, session)| own == id && is_meant(session)) {
                return all.ended.remove(index).map(|(_, own)| own.participant);
            }
            all.open.get(id).filter(|own| is_meant(own))?;
            all.remove(id).map(|own| own.participant)
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut All) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose a session of that kind in that room is, and its entity tag.
    pub(super) fn find(&self, role: Role, room: &str, id: &str) -> Option<(String, String)> {
        self.with(|all| {
            let own = all.open.get(id)?;
            let is_meant = own.role == role && own.room == room;
            is_meant.then(|| (own.participant.clone(), tag(id, own.generation)))
        })
    }
}

/// The name of a session, in hexadecimal.
pub(super) fn unguessable() -> String {
    let bytes = clock::seed();
    let bytes = bytes.iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn tag(id: &str, generation: u64) -> String {
    format!("\"{}-{generation}\"", id.get(..8).unwrap_or(id))
}
