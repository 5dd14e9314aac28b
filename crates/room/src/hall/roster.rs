//! What those in a room are told of each other.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Hall, Protocol};
use crate::frame::{self, All, Recipients};
use crate::session::{Frame, Session};

/// Bytes of JSON about others in the first frame of one whose frames are messages of a data channel: a
/// message has 64 KiB where the other side does not say what it takes (RFC 8841 §6.1). Of those who
/// find no place it is told afterwards, one by one.
const ROSTER_LEN_MAX: usize = 32 * 1024;

#[derive(Serialize)]
struct PeerInfo<'a> {
    #[serde(flatten)]
    named: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    tracks: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hand: Option<u64>,
    protocol: &'static str,
}

/// `joined` says `peer_id`, the roster says `id`.
#[derive(Serialize)]
enum Named<'a> {
    #[serde(rename = "peer_id")]
    PeerId(&'a str),
    #[serde(rename = "id")]
    Id(&'a str),
}

impl Hall {
    /// Tells those who are there, but for one who is hidden.
    pub(super) fn announce(&mut self, id: &str, present: &[String]) {
        let Some(session) = self.peers.get(id).filter(|own| !own.permissions().hidden) else {
            return;
        };
        let plain = frame::raw(&json!({"peer_id": id}));
        let full = frame::raw(&info(session, Named::PeerId(id)));
        let metadata = session
            .metadata
            .clone()
            .filter(|_| self.config.from_metadata);
        let to = Recipients::All(All::All);
        for peer in present {
            let is_base = self.is_base(peer);
            let data = if is_base {
                plain.as_deref()
            } else {
                full.as_deref()
            };
            let frame = Frame {
                event: "joined",
                data,
                from: Some(id),
                to: Some(&to),
                id: None,
                from_metadata: metadata.as_deref(),
            };
            self.send(peer, &frame);
        }
    }

    /// Those of `present` whom somebody is told of, but for itself.
    pub(super) fn roster(&self, id: &str, present: &[String]) -> serde_json::Value {
        let told = self.shown(id, present);
        let told: Vec<_> = told.map(|peer| info(peer, Named::Id(&peer.id))).collect();
        json!(told)
    }

    fn shown<'a>(
        &'a self,
        id: &'a str,
        present: &'a [String],
    ) -> impl Iterator<Item = &'a Session> {
        let others = present.iter().filter(move |peer| *peer != id);
        let others = others.filter_map(|peer| self.peers.get(peer));
        others.filter(|peer| !peer.permissions().hidden)
    }

    /// How many of `present` the first frame of somebody has place for.
    pub(super) fn within_a_message(&self, id: &str, present: &[String]) -> usize {
        let mut left = ROSTER_LEN_MAX;
        let fits = |peer: &&String| {
            let mut own = self.shown(id, std::slice::from_ref(*peer));
            let told = own.next().map(|peer| info(peer, Named::Id(&peer.id)));
            let len = told.and_then(|own| Some(frame::raw(&own)?.get().len()));
            let taken = left.checked_sub(len.unwrap_or(0));
            left = taken.unwrap_or(0);
            taken.is_some()
        };
        present.iter().take_while(fits).count()
    }

    /// Tells somebody of one who is there, and what that sends in frames of their own: all in one may
    /// be too long.
    pub(super) fn tell_of(&mut self, id: &str, peer: &str) {
        let Some(session) = self.peers.get(peer).filter(|own| !own.permissions().hidden) else {
            return;
        };
        let named = PeerInfo {
            tracks: Vec::new(),
            ..info(session, Named::PeerId(peer))
        };
        let mut told = vec![("joined", frame::raw(&named))];
        for track in &session.tracks {
            let data = json!({"action": "publish", "track": track.told});
            told.push(("track", frame::raw(&data)));
        }
        let to = Recipients::All(All::All);
        for (event, data) in told {
            let frame = Frame {
                event,
                data: data.as_deref(),
                from: Some(peer),
                to: Some(&to),
                ..Frame::default()
            };
            self.send(id, &frame);
        }
    }
}

fn info<'a>(session: &'a Session, named: Named<'a>) -> PeerInfo<'a> {
    PeerInfo {
        named,
        identity: session.admission.identity.as_deref(),
        name: &session.name,
        metadata: session.metadata.as_deref(),
        tracks: session.tracks.iter().map(|track| &*track.told).collect(),
        hand: session.hand,
        protocol: match session.protocol {
            _ if session.is_guest => "http",
            Protocol::Base => "base",
            Protocol::V1 => "twocan.v1",
        },
    }
}
