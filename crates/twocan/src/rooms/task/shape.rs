//! A room that changes shape: connections with everybody give way to one with the server, or the
//! other way round.

use serde_json::{Value, json};

use super::Task;
use crate::rooms::certificates::names_other_certificate;
use crate::rooms::messages::{PeerInfo, SERVER_ID, TopologyChange};
use crate::rooms::peer::RoomPeer;

/// What a room is called whose media goes through the server.
pub(super) const SFU: &str = "sfu";

impl Task {
    /// Media goes another way: the new connections are made beside the old ones, which are let go
    /// of once everybody has the new ones.
    pub(super) async fn reshape(&mut self, change: TopologyChange) {
        self.is_forwarded = change.topology == SFU;
        self.ways.set_forwarded(self.is_forwarded);
        self.settles = !change.settled;
        if change.settled {
            let forwards = self.is_forwarded;
            let others = self.peers.keys();
            let others = others.filter(|id| forwards != (id.as_str() == SERVER_ID));
            for id in others.cloned().collect::<Vec<_>>() {
                self.forget(&id).await;
            }
            return;
        }
        if self.is_forwarded {
            self.meet(PeerInfo::server(), true).await;
        } else {
            for info in change.peers {
                let offers = self.own_id > info.id;
                self.meet(info, offers).await;
            }
        }
        self.settle().await;
    }

    /// Tells the server once all connections of the room's new shape are up.
    async fn settle(&mut self) {
        let forwards = self.is_forwarded;
        let mut own = self.peers.iter();
        let missing = own.any(|(id, entry)| forwards == (id == SERVER_ID) && !entry.is_up);
        if !self.settles || missing {
            return;
        }
        self.settles = false;
        let topology = if forwards { SFU } else { "mesh" };
        self.send("settled", &json!({ "topology": topology }), None)
            .await;
    }

    /// Where ICE restarts did not help, the other side begins a new connection: its offer names
    /// another certificate, which no connection that exists can take.
    pub(super) async fn let_go_of_former(&mut self, from: &str, data: &Value) {
        let Some(entry) = self.peers.get(from) else {
            return;
        };
        let before = entry.peer.connection().remote_description();
        let before = before.map(|description| description.sdp);
        let now = data.get("sdp").and_then(Value::as_str);
        let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
        if !names_other_certificate(&before, now) {
            return;
        }
        let info = entry.peer.info();
        tracing::info!(peer = from, "a new connection");
        self.forget(from).await;
        self.meet(info, false).await;
    }

    /// A connection is up.
    pub(super) async fn up(&mut self, peer: &RoomPeer) {
        let entry = self.peers.get_mut(peer.id());
        // It may be one that another has taken the place of.
        if let Some(entry) = entry.filter(|own| own.peer.is_same(peer)) {
            entry.is_up = true;
            self.settle().await;
        }
    }
}
