//! The sessions of WHIP, WHEP and joining, by names that their owners alone know.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use twocan_io::clock;

use super::extensions::Wanted;

/// Sessions at a time, of all kinds; further ones are refused.
const SESSIONS_MAX: usize = 10_000;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// WHIP.
    Publish,
    /// WHEP.
    Play,
    /// Takes part, with its signaling on a data channel.
    Join,
}

impl Role {
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Publish => "whip",
            Self::Play => "whep",
            Self::Join => "join",
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
    /// The lines of its offer on which pictures can come: the place in the description, and the name.
    pub(super) lines: Vec<(usize, String)>,
    /// Its streams of events, the oldest first.
    pub(super) streams: Vec<EventStream>,
}

/// Where a player hears what happens.
#[derive(Debug)]
pub(super) struct EventStream {
    pub(super) name: String,
    pub(super) wanted: Wanted,
    /// Counts those who came to read it: the newest does.
    pub(super) reader: u64,
}

/// A stream of events, and what its reader needs to know.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) participant: String,
    pub(super) wanted: Wanted,
    pub(super) reader: u64,
    pub(super) lines: Vec<(usize, String)>,
}

/// Streams of events of a session; a further one takes the place of the oldest.
const STREAMS_MAX: usize = 4;

/// Sessions remembered whose connection ended before they were: ffmpeg says goodbye by DTLS first,
/// and then deletes.
const ENDED_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct All {
    /// By names that nobody can guess.
    open: BTreeMap<String, Session>,
    names: BTreeMap<String, String>,
    /// How many play each room.
    viewers: BTreeMap<String, usize>,
    /// Those that are being made.
    coming: usize,
    /// Those of them that are to play, by their rooms.
    coming_viewers: BTreeMap<String, usize>,
    /// Whose connection is over, and that nobody has deleted.
    ended: VecDeque<(String, Session)>,
}

impl All {
    fn insert(&mut self, id: String, session: Session) {
        self.names.insert(session.participant.clone(), id.clone());
        if session.role == Role::Play {
            *self.viewers.entry(session.room.clone()).or_default() += 1;
        }
        self.open.insert(id, session);
    }

    fn remove(&mut self, id: &str) -> Option<Session> {
        let session = self.open.remove(id)?;
        self.names.remove(&session.participant);
        if session.role == Role::Play {
            one_less(&mut self.viewers, &session.room);
        }
        Some(session)
    }

    fn player(&mut self, room: &str, id: &str) -> Option<&mut Session> {
        let own = self.open.get_mut(id)?;
        (own.role == Role::Play && own.room == room).then_some(own)
    }
}

/// A place for a session that is being made.
pub(super) struct Seat {
    sessions: Sessions,
    /// Where it is to play.
    room: Option<String>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { sessions, room } = self;
        sessions.with(|all| {
            all.coming -= 1;
            if let Some(room) = room {
                one_less(&mut all.coming_viewers, room);
            }
        });
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
            let viewers = all.viewers.get(room).copied().unwrap_or(0);
            let coming = all.coming_viewers.get(room).copied().unwrap_or(0);
            let is_full = role == Role::Play && viewers + coming >= viewers_max;
            if is_full || all.open.len() + all.coming >= SESSIONS_MAX {
                return None;
            }
            all.coming += 1;
            let room = (role == Role::Play).then(|| room.to_owned());
            if let Some(room) = &room {
                *all.coming_viewers.entry(room.clone()).or_default() += 1;
            }
            Some(Seat {
                sessions: self.clone(),
                room,
            })
        })
    }

    /// How many play a room.
    pub(super) fn viewers(&self, room: &str) -> usize {
        self.with(|all| all.viewers.get(room).copied().unwrap_or(0))
    }

    /// Whose a session that plays is, and its lines for pictures.
    pub(super) fn player(&self, room: &str, id: &str) -> Option<(String, Vec<(usize, String)>)> {
        self.with(|all| {
            let own = all.player(room, id)?;
            Some((own.participant.clone(), own.lines.clone()))
        })
    }

    /// Makes a stream of events; its name, which nobody can guess.
    pub(super) fn open_stream(&self, room: &str, id: &str, wanted: Wanted) -> Option<String> {
        let name = unguessable();
        self.with(|all| {
            let own = all.player(room, id)?;
            if own.streams.len() >= STREAMS_MAX {
                own.streams.remove(0);
            }
            own.streams.push(EventStream {
                name: name.clone(),
                wanted,
                reader: 0,
            });
            Some(name)
        })
    }

    /// Ends a stream of events; answers whether there was one.
    pub(super) fn close_stream(&self, room: &str, id: &str, stream: &str) -> bool {
        self.with(|all| {
            let own = all.player(room, id)?;
            let index = own.streams.iter().position(|own| own.name == stream)?;
            Some(own.streams.remove(index))
        })
        .is_some()
    }

    /// Somebody comes to read a stream of events: who did before does so no more.
    pub(super) fn read_stream(&self, room: &str, id: &str, stream: &str) -> Option<Reading> {
        self.with(|all| {
            let own = all.player(room, id)?;
            let stream = own.streams.iter_mut().find(|own| own.name == stream)?;
            stream.reader += 1;
            Some(Reading {
                participant: own.participant.clone(),
                wanted: stream.wanted,
                reader: stream.reader,
                lines: own.lines.clone(),
            })
        })
    }

    /// Whether somebody who reads a stream of events still does.
    pub(super) fn reads(&self, room: &str, id: &str, stream: &str, reader: u64) -> bool {
        self.with(|all| {
            let own = all.player(room, id)?;
            let mut streams = own.streams.iter();
            streams.find(|own| own.name == stream && own.reader == reader)?;
            Some(())
        })
        .is_some()
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

fn one_less(counts: &mut BTreeMap<String, usize>, room: &str) {
    if let Some(count) = counts.get_mut(room) {
        *count -= 1;
        if *count == 0 {
            counts.remove(room);
        }
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
