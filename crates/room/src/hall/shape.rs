//! Which shape a room has: media from each to each, or through the server; and how it changes
//! from one to the other while people talk.
//!
//! 1. Everybody is told `topology`, and makes the new connections beside those that there are.
//! 2. Who gets from everybody by the new ones says `settled`. When all have, or it takes too long,
//!    everybody is told so, and lets go of the old ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use twocan_proto::time::Now;

use super::{Event, Hall, MediaEvent, Protocol, SERVER_ID, Topology};
use crate::frame::{self, Incoming};
use crate::permissions::{MediaPermissions, Permissions, Source};
use crate::session::Session;

/// How long the old connections are kept for those who have no new ones yet.
const MOVE_WITHIN: Duration = Duration::from_secs(20);

/// The shape of a room.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Whether media goes through the server.
    pub(super) is_forwarded: bool,
    /// On the way from the other shape.
    moving: Option<Moving>,
    /// When media is to go from each to each again.
    mesh_at: Option<Instant>,
}

#[derive(Debug)]
struct Moving {
    settled: BTreeSet<String>,
    ends_at: Instant,
}

#[derive(Deserialize)]
struct Settled {
    topology: String,
}

impl Shape {
    pub(super) fn new(policy: Topology) -> Self {
        Self {
            is_forwarded: policy == Topology::Sfu,
            ..Self::default()
        }
    }

    pub(super) fn next_change(&self) -> Option<Instant> {
        let moving = self.moving.as_ref().map(|moving| moving.ends_at);
        [moving, self.mesh_at].into_iter().flatten().min()
    }

    pub(super) fn name(&self) -> &'static str {
        match self.is_forwarded {
            true => Topology::Sfu.as_str(),
            false => Topology::Mesh.as_str(),
        }
    }

    /// Whether the server takes part, be it on the way.
    pub(super) fn takes_server(&self) -> bool {
        self.is_forwarded || self.moving.is_some()
    }
}

impl Hall {
    /// What is decided of a room's shape.
    fn policy(&self, room: &str) -> Topology {
        if self.config.topology == Topology::Mesh {
            // Nobody forwards.
            return Topology::Mesh;
        }
        let own = self.rooms.get(room).and_then(|own| own.topology);
        own.unwrap_or(self.config.topology)
    }

    /// The shape in which a room begins.
    pub(super) fn first_shape(&self) -> Shape {
        Shape::new(self.config.topology)
    }

    /// Whether the media of a room goes through the server, or would.
    pub(super) fn is_forwarded(&self, room: &str) -> bool {
        match self.rooms.get(room) {
            Some(own) => own.shape.is_forwarded,
            None => self.config.topology == Topology::Sfu,
        }
    }

    /// Whether the media of a room can go through the server: a base client negotiates once with
    /// each, and never with somebody new in their place.
    pub(super) fn can_forward(&self, room: &str) -> bool {
        self.policy(room) != Topology::Mesh && !self.has_base(room)
    }

    /// Whether a base client with these permissions can come into a room: it would keep the room a
    /// mesh, in which nobody holds it to them.
    pub(super) fn takes_base(&self, room: &str, permissions: &Permissions) -> bool {
        let own = self.rooms.get(room);
        let forwards = self.is_forwarded(room) || own.is_some_and(|own| own.shape.takes_server());
        let is_held_to = self.policy(room) != Topology::Mesh && is_restricted(permissions);
        !forwards && !is_held_to
    }

    pub(super) fn has_base(&self, room: &str) -> bool {
        let is_base = |own: &Session| own.protocol == Protocol::Base;
        self.members(room).any(is_base)
    }

    fn members(&self, room: &str) -> impl Iterator<Item = &Session> {
        let members = self.rooms.get(room).map(|own| &own.members);
        let members = members.into_iter().flatten();
        members.filter_map(|member| self.peers.get(member))
    }

    /// Whether a room needs the server for its media.
    fn needs_server(&self, room: &str) -> bool {
        let Some(own) = self.rooms.get(room) else {
            return false;
        };
        match self.policy(room) {
            _ if self.has_base(room) => false,
            // What came by HTTP stays until it goes.
            Topology::Mesh => !own.viewers.is_empty() || self.members(room).any(came_by_http),
            Topology::Sfu => true,
            Topology::Auto => {
                own.members.len() > self.config.limits.peers_per_mesh
                    || !own.viewers.is_empty()
                    || self.members(room).any(needs_server)
                    || self
                        .viewers
                        .values()
                        .any(|own| own.room == room && !own.knocks)
            }
        }
    }

    /// Gives a room the shape that it needs now. A `newcomer` is told when it is welcomed.
    pub(super) fn settle_shape(&mut self, now: Now, room: &str, newcomer: Option<&str>) {
        let needs_server = self.needs_server(room);
        let Some(own) = self.rooms.get_mut(room) else {
            return;
        };
        let shape = &mut own.shape;
        // Who comes finds the new shape, and has no other one to let go of.
        if let (Some(moving), Some(newcomer)) = (&mut shape.moving, newcomer) {
            moving.settled.insert(newcomer.to_owned());
        }
        if needs_server == shape.is_forwarded {
            shape.mesh_at = None;
            return self.settle_move(now, room, newcomer);
        }
        if needs_server {
            return self.begin_move(now, room, true, newcomer);
        }
        // What an operator decides holds at once.
        let waits = match self.policy(room) {
            Topology::Auto => self.config.limits.mesh_after,
            Topology::Mesh | Topology::Sfu => Duration::ZERO,
        };
        if let Some(own) = self.rooms.get_mut(room) {
            own.shape.mesh_at.get_or_insert(now.monotonic + waits);
        }
        self.settle_move(now, room, newcomer);
    }

    fn begin_move(&mut self, now: Now, room: &str, forwards: bool, newcomer: Option<&str>) {
        let Some(own) = self.rooms.get_mut(room) else {
            return;
        };
        own.shape = Shape {
            is_forwarded: forwards,
            moving: Some(Moving {
                settled: newcomer.map(str::to_owned).into_iter().collect(),
                ends_at: now.monotonic + MOVE_WITHIN,
            }),
            mesh_at: None,
        };
        let members = own.members.clone();
        self.counters.count(match forwards {
            true => "hall.moved_to_sfu",
            false => "hall.moved_to_mesh",
        });
        let others = |id: &&String| Some(id.as_str()) != newcomer;
        for member in members.iter().filter(others) {
            if forwards {
                self.bring_in(member);
            }
            let present: Vec<String> = members.iter().filter(others).cloned().collect();
            let mut data = self.change_for(room, member, false);
            data["peers"] = self.roster(member, &present);
            let data = frame::raw(&data);
            self.tell_own(member, "topology", data.as_deref());
        }
        self.settle_move(now, room, newcomer);
    }

    /// Somebody says that it has the connections of a shape.
    pub(super) fn change_settled(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let data = incoming.data.as_ref();
        let of = data.and_then(|data| serde_json::from_str::<Settled>(data.get()).ok());
        let room = self.peers.get(peer).map(|own| own.room.clone());
        let (Some(Settled { topology }), Some(room)) = (of, room) else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        // It may have been on its way when the room turned round.
        let own = self.rooms.get_mut(&room);
        let own = own.filter(|own| own.shape.name() == topology);
        if let Some(moving) = own.and_then(|own| own.shape.moving.as_mut()) {
            moving.settled.insert(peer.to_owned());
            self.settle_move(now, &room, None);
        }
        self.reply(peer, incoming);
    }

    /// Ends a move once all have the new connections, or had time enough. Who may not get everything is
    /// not waited for, lest it gets it for as long as it says nothing.
    fn settle_move(&mut self, now: Now, room: &str, newcomer: Option<&str>) {
        let Some(own) = self.rooms.get(room) else {
            return;
        };
        let Some(moving) = &own.shape.moving else {
            return;
        };
        let mut left = own.members.iter().filter(|member| {
            let session = self.peers.get(*member);
            session.is_some_and(|session| !needs_server(session))
                && !moving.settled.contains(*member)
        });
        if left.next().is_some() && now.monotonic < moving.ends_at {
            return;
        }
        let (is_forwarded, members) = (own.shape.is_forwarded, own.members.clone());
        if let Some(own) = self.rooms.get_mut(room) {
            own.shape.moving = None;
        }
        for member in &members {
            if !is_forwarded {
                self.take_out(member);
            }
            if Some(member.as_str()) == newcomer {
                continue;
            }
            let data = frame::raw(&self.change_for(room, member, true));
            self.tell_own(member, "topology", data.as_deref());
        }
    }

    /// What a member is told of the room's shape.
    fn change_for(&self, room: &str, member: &str, settled: bool) -> serde_json::Value {
        let links: Vec<&str> = match self.is_forwarded(room) {
            true => vec![SERVER_ID],
            false => self
                .members(room)
                .filter(|other| other.id != member && !other.permissions().hidden)
                .map(|other| other.id.as_str())
                .collect(),
        };
        json!({"topology": self.shape_name(room), "settled": settled, "links": links})
    }

    /// Changes the shapes that are due.
    pub(super) fn move_rooms(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.monotonic);
        let rooms = self.rooms.iter();
        let rooms: Vec<String> = rooms
            .filter(|(_, own)| due(own.shape.next_change()))
            .map(|(name, _)| name.clone())
            .collect();
        for room in rooms {
            self.settle_move(now, &room, None);
            let own = self.rooms.get(&room);
            if own.is_some_and(|own| due(own.shape.mesh_at)) {
                match self.needs_server(&room) {
                    true => self.settle_shape(now, &room, None),
                    false => self.begin_move(now, &room, false, None),
                }
            }
        }
    }

    pub(super) fn shape_name(&self, room: &str) -> &'static str {
        match self.rooms.get(room) {
            Some(own) => own.shape.name(),
            None => self.first_shape().name(),
        }
    }

    /// Whether the server takes part in a room's media, or is about to let go of it.
    pub(super) fn takes_server(&self, room: &str) -> bool {
        let own = self.rooms.get(room);
        own.is_some_and(|own| own.shape.takes_server())
    }

    /// Tells whoever forwards of somebody.
    pub(super) fn bring_in(&mut self, id: &str) {
        let Some(session) = self.peers.get_mut(id).filter(|own| !own.is_forwarded) else {
            return;
        };
        session.is_forwarded = true;
        session.media = MediaPermissions::default();
        let (room, participant) = (session.room.clone(), id.to_owned());
        self.events
            .push_back(Event::Media(MediaEvent::Joined { room, participant }));
        self.settle_media(id);
    }

    /// Tells whoever forwards that somebody is forwarded no more.
    pub(super) fn take_out(&mut self, id: &str) {
        let Some(session) = self.peers.get_mut(id).filter(|own| own.is_forwarded) else {
            return;
        };
        session.is_forwarded = false;
        let participant = id.to_owned();
        self.events
            .push_back(Event::Media(MediaEvent::Left { participant }));
    }
}

/// Whether somebody can take part by way of the server alone: it came by HTTP, nobody is told of
/// it, or it may not send or get everything, which the others would have to keep to.
fn needs_server(session: &Session) -> bool {
    came_by_http(session) || is_restricted(session.permissions())
}

/// Whether somebody has one connection, and that with the server.
fn came_by_http(session: &Session) -> bool {
    session.is_guest || session.by_channel
}

/// Whether somebody may not send or get everything, or is hidden.
fn is_restricted(own: &Permissions) -> bool {
    let is_free = own.subscribe && Source::ALL.iter().all(|source| own.may_publish(*source));
    own.hidden || !is_free
}
