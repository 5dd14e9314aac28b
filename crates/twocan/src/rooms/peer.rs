//! Another participant, as the application sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::messages::{PeerInfo, Publication, Source, TrackChange};
use super::seal::RoomSeal;
use crate::peer_connection::PeerConnection;
use crate::transceiver::RtpTransceiver;

/// How the connection with a participant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// On its way.
    Connecting,
    /// Up.
    Connected,
    /// Nothing is heard for the moment, or ICE is restarted.
    Unstable,
    /// Down for 20 s. It is tried on.
    Failed,
    /// Over: the other side closed it.
    Closed,
}

/// Another participant of the room. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RoomPeer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    protocol: String,
    seal: Option<RoomSeal>,
    connection: PeerConnection,
    told: Mutex<Told>,
    /// The transceivers on which this side sends, or would.
    lines: watch::Sender<BTreeMap<Source, RtpTransceiver>>,
}

/// What the others say about a participant.
#[derive(Debug)]
struct Told {
    name: String,
    publications: Vec<Publication>,
}

impl RoomPeer {
    pub(super) fn new(info: PeerInfo, connection: PeerConnection, seal: Option<RoomSeal>) -> Self {
        Self(Arc::new(Inner {
            protocol: info.protocol,
            id: info.id,
            seal,
            connection,
            told: Mutex::new(Told {
                name: info.name,
                publications: info.tracks,
            }),
            lines: watch::Sender::new(BTreeMap::new()),
        }))
    }

    /// As it would be announced now.
    pub(super) fn info(&self) -> PeerInfo {
        PeerInfo {
            id: self.0.id.clone(),
            name: self.name(),
            tracks: self.publications(),
            protocol: self.0.protocol.clone(),
        }
    }

    /// Its id in the room.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Its name; empty where it gave none.
    pub fn name(&self) -> String {
        self.told(|told| told.name.clone())
    }

    /// What it says it sends; empty for a base client.
    pub fn publications(&self) -> Vec<Publication> {
        self.told(|told| told.publications.clone())
    }

    /// The connection. Its events are taken by the room; descriptions are the room's as well.
    pub fn connection(&self) -> &PeerConnection {
        &self.0.connection
    }

    /// Whether it takes further offers: a base client takes none, so that lines and channels
    /// cannot be added later.
    pub fn takes_offers(&self) -> bool {
        self.0.protocol != "base"
    }

    /// The transceiver on which this side sends `source`, once there is one; `None` when the
    /// connection ends instead.
    pub async fn line(&self, source: Source) -> Option<RtpTransceiver> {
        let mut lines = self.0.lines.subscribe();
        let found = lines.wait_for(|lines| lines.contains_key(&source));
        let closed = self.0.connection.closed();
        tokio::select! {
            found = found => found.ok()?.get(&source).cloned(),
            () = closed => None,
        }
    }

    /// Whether the transceiver is one of [`Self::line`].
    pub fn is_line(&self, transceiver: &RtpTransceiver) -> bool {
        let lines = self.0.lines.borrow();
        lines.values().any(|line| line.is_same(transceiver))
    }

    pub(super) fn set_line(&self, source: Source, transceiver: RtpTransceiver) {
        if let Some(seal) = &self.0.seal {
            let transform = Box::new(seal.sender());
            transceiver.sender().set_transform(Some(transform));
        }
        self.0.lines.send_modify(|lines| {
            lines.insert(source, transceiver);
        });
    }

    /// Decrypts what arrives there, in a room with a secret.
    pub(super) fn decrypt(&self, transceiver: &RtpTransceiver) {
        if let Some(seal) = &self.0.seal {
            let transform = Box::new(seal.receiver());
            transceiver.receiver().set_transform(Some(transform));
        }
    }

    /// Whether sound and pictures are encrypted end to end: only some codecs can be.
    pub fn is_encrypted(&self) -> bool {
        self.0.seal.is_some()
    }

    pub(super) fn seal(&self) -> Option<&RoomSeal> {
        self.0.seal.as_ref()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn has_line(&self, source: Source) -> bool {
        self.0.lines.borrow().contains_key(&source)
    }

    pub(super) fn get_line(&self, source: Source) -> Option<RtpTransceiver> {
        self.0.lines.borrow().get(&source).cloned()
    }

    pub(super) fn rename(&self, name: &str) {
        self.told(|told| name.clone_into(&mut told.name));
    }

    pub(super) fn change(&self, change: &TrackChange) {
        self.told(|told| {
            told.publications.retain(|one| one.id != change.track.id);
            if change.action != "unpublish" {
                told.publications.push(change.track.clone());
            }
        });
    }

    fn told<R>(&self, look: impl FnOnce(&mut Told) -> R) -> R {
        look(&mut self.0.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
