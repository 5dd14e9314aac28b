//! Forwarding media of rooms: one thread for each shard, which has the sockets and the rooms that
//! are its own. Decisions are `room::forward`'s.

mod figures;
mod relayed;
mod settings;
mod shard;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use twocan_proto::crypto::Hash;
use twocan_proto::turn::server::MediaAddress;
use twocan_room::MediaEvent;
use twocan_room::forward::{Choice, ChoiceRefused, Fragment, Playing};

use super::hatch::{Hatch, ToTurn};
pub(crate) use figures::Figures;
pub(super) use settings::{MediaPlan, plan};
pub(crate) use settings::{MediaSettings, TopologyName, VideoCodec};
pub(super) use shard::Command;

/// Commands on their way to a shard.
const COMMANDS_MAX: usize = 4096;

/// Commands that wait for a shard whose queue is full; what participants say beyond is dropped, and
/// who came and went, and what is permitted, is not.
const WAITING_MAX: usize = 4096;

/// What a shard says.
#[derive(Debug)]
pub(super) enum Told {
    /// To a participant.
    Said {
        participant: String,
        event: &'static str,
        data: Box<RawValue>,
    },
    /// The connection of one who came by HTTP is over, by its own wish or not.
    Ended { participant: String, is_lost: bool },
    /// A frame came from one who has its signaling on a data channel.
    Text { participant: String, text: String },
    /// For such a one more waits than may.
    Behind { participant: String },
}

/// Where an answer is waited for.
pub(super) type Answer<T> = oneshot::Sender<Result<T, String>>;

/// The ways to all shards.
pub(super) struct Media {
    shards: Vec<Shard>,
    /// Where each participant is.
    places: BTreeMap<String, usize>,
}

struct Shard {
    to: mpsc::Sender<Command>,
    waiting: VecDeque<Command>,
    /// Where it is reached.
    addresses: Vec<SocketAddr>,
    /// The same without a socket.
    hatch: Arc<Hatch>,
}

/// Where a media thread is reached.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// By its sockets.
    pub(super) addresses: Vec<MediaAddress>,
    /// By the TURN server of this machine.
    pub(super) hatch: Arc<Hatch>,
}

impl Shard {
    /// Whether what participants say has a place among what waits.
    fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }
}

impl Media {
    /// Binds the sockets and starts the threads. What shards say comes through `told`, and what
    /// they send to relayed addresses of our own through `to_turn`.
    ///
    /// # Errors
    /// The system's, where no socket can be bound or no thread started.
    pub(super) fn start(
        plan: &MediaPlan,
        told: &mpsc::Sender<Told>,
        to_turn: Option<ToTurn>,
    ) -> io::Result<Self> {
        let mut shards = Vec::new();
        for index in 0..plan.shards {
            let (to, commands) = mpsc::channel(COMMANDS_MAX);
            let hatch = Arc::<Hatch>::default();
            let hatches = shard::Hatches::new(hatch.clone(), to_turn.clone());
            let addresses = shard::start(index, plan, commands, told.clone(), hatches)?;
            let bound: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
            tracing::info!(
                shard = index,
                addresses = bound.join(", "),
                "forwarding media"
            );
            shards.push(Shard {
                to,
                waiting: VecDeque::new(),
                addresses,
                hatch,
            });
        }
        Ok(Self {
            shards,
            places: BTreeMap::new(),
        })
    }

    /// Where all shards are reached.
    pub(super) fn reached(&self, plan: &MediaPlan) -> impl Iterator<Item = Reached> {
        self.shards.iter().map(|shard| Reached {
            addresses: plan.media_addresses(&shard.addresses),
            hatch: shard.hatch.clone(),
        })
    }

    /// Passes on what the hall says.
    pub(super) fn pass(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Joined { room, participant } => {
                let place = place(&room, self.shards.len());
                self.places.insert(participant.clone(), place);
                self.send(place, Command::Join { room, participant });
            }
            MediaEvent::Left { participant } => {
                if let Some(place) = self.places.remove(&participant) {
                    self.send(place, Command::Leave { participant });
                }
            }
            MediaEvent::Permitted {
                participant,
                permissions,
            } => {
                if let Some(place) = self.places.get(&participant).copied() {
                    let permit = Command::Permit {
                        participant,
                        permissions,
                    };
                    self.send(place, permit);
                }
            }
            MediaEvent::Codecs { room, video_codecs } => {
                let place = place(&room, self.shards.len());
                self.send(place, Command::Codecs { room, video_codecs });
            }
            MediaEvent::Signal {
                participant,
                event,
                data,
            } => {
                if let Some(place) = self.places.get(&participant).copied() {
                    let signal = Command::Signal {
                        participant,
                        event,
                        data,
                    };
                    self.send(place, signal);
                }
            }
        }
    }

    /// The offer with which somebody came by HTTP: its only one, or (`joins`) one with a data channel
    /// for its signaling.
    pub(super) fn offer(
        &mut self,
        participant: String,
        sdp: String,
        joins: bool,
        answer: Answer<String>,
    ) {
        if let Some(place) = self.places.get(&participant).copied() {
            let offer = Command::Offer {
                participant,
                sdp,
                joins,
                answer,
            };
            self.send(place, offer);
        }
    }

    /// A frame for somebody whose signaling is on a data channel; answers whether there was room for
    /// it: it must not miss one.
    pub(super) fn say(&mut self, participant: &str, text: String) -> bool {
        let Some(place) = self.places.get(participant).copied() else {
            // It has left.
            return true;
        };
        let has_room = self.shards.get(place).is_some_and(Shard::has_room);
        if has_room {
            let participant = participant.to_owned();
            self.send(place, Command::Say { participant, text });
        }
        has_room
    }

    /// A fragment of somebody who came by HTTP.
    pub(super) fn fragment(
        &mut self,
        participant: String,
        fragment: Fragment,
        restarts: bool,
        answer: Answer<Option<String>>,
    ) {
        if let Some(place) = self.places.get(&participant).copied() {
            let fragment = Command::Fragment {
                participant,
                fragment,
                restarts,
                answer,
            };
            self.send(place, fragment);
        }
    }

    /// What somebody could see.
    pub(super) fn playing(
        &mut self,
        participant: String,
        answer: oneshot::Sender<Option<Playing>>,
    ) {
        if let Some(place) = self.places.get(&participant).copied() {
            let playing = Command::Playing {
                participant,
                answer,
            };
            self.send(place, playing);
        }
    }

    /// What somebody wants on a line at most.
    pub(super) fn choose(
        &mut self,
        participant: String,
        mid: String,
        choice: Choice,
        answer: oneshot::Sender<Result<(), ChoiceRefused>>,
    ) {
        if let Some(place) = self.places.get(&participant).copied() {
            let choose = Command::Choose {
                participant,
                mid,
                choice,
                answer,
            };
            self.send(place, choose);
        }
    }

    /// Come to their ends when what was said to those who left before has arrived, or never will.
    pub(super) fn drained(&mut self) -> Vec<oneshot::Receiver<()>> {
        let mut all = Vec::new();
        for place in 0..self.shards.len() {
            let (done, drained) = oneshot::channel();
            self.send(place, Command::Drained(done));
            all.push(drained);
        }
        all
    }

    /// What the connections of a room carry.
    pub(super) fn figures(&mut self, room: String, answer: oneshot::Sender<Vec<Figures>>) {
        let place = place(&room, self.shards.len());
        self.send(place, Command::Figures { room, answer });
    }

    /// Sends what waits; answers whether something still does.
    pub(super) fn flush(&mut self) -> bool {
        let mut waits = false;
        for shard in &mut self.shards {
            while let Some(command) = shard.waiting.pop_front() {
                match shard.to.try_send(command) {
                    Ok(()) => {}
                    Err(TrySendError::Full(command)) => {
                        shard.waiting.push_front(command);
                        waits = true;
                        break;
                    }
                    Err(TrySendError::Closed(_)) => {
                        tracing::error!("a media thread has ended");
                        shard.waiting.clear();
                    }
                }
            }
        }
        waits
    }

    fn send(&mut self, place: usize, command: Command) {
        let Some(shard) = self.shards.get_mut(place) else {
            return;
        };
        let is_said = !matches!(
            command,
            Command::Join { .. } | Command::Leave { .. } | Command::Permit { .. }
        );
        if is_said && !shard.has_room() {
            metrics::counter!("twocan_media_signals_dropped_total").increment(1);
            return;
        }
        shard.waiting.push_back(command);
    }
}

/// The shard of a room: the same for all who join it.
fn place(room: &str, shards: usize) -> usize {
    let digest = Hash::Sha256.digest(room.as_bytes());
    let number = digest
        .iter()
        .take(4)
        .fold(0, |all, byte| all << 8 | usize::from(*byte));
    number % shards.max(1)
}
