//! The task of one connection: perfect negotiation (W3C webrtc-pc §10.7) and ICE restarts.
//!
//! 1. Who was there makes the first offer: a line for sound, one for the picture, and a channel
//!    for chat. Who joined answers on those lines; where no offer comes in time, it makes its own.
//! 2. An offer that crosses ours is ignored by the impolite side, and takes the place of ours at
//!    the polite side.
//! 3. An offer whose answer is refused is taken back, and made again after a while.
//! 4. A connection that is down gets new ICE credentials ([`super::watch`]).

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use twocan_proto::negotiate::{SdpType, SignalingState};
use twocan_proto::wire::sdp::Direction;

use super::data;
use super::messages::{CandidateJson, DescriptionJson, SERVER_ID, Source};
use super::peer::{PeerState, RoomPeer};
use super::room::RoomEvent;
use super::task::{Command, Lines};
use super::watch::Watch;
use crate::data_channel::DataChannelInit;
use crate::error::Error;
use crate::peer_connection::{IceCandidate, PeerConnectionEvent, SessionDescription};

/// Who joins waits this long for the offer of those who were there, then makes its own.
const OFFER_WITHIN: Duration = Duration::from_secs(6);

/// After a refused answer, the next offer waits this long; twice as long after each further one.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(60);

/// Candidates kept while their description is on its way; further ones are dropped.
const EARLY_CANDIDATES_MAX: usize = 100;

/// Sources with a line in every first offer, so that beginning to send needs no new one.
const BASE_SOURCES: [Source; 2] = [Source::Microphone, Source::Camera];

/// The label of the channel for chat.
pub(super) const CHAT: &str = "chat";

/// What the room tells the task.
#[derive(Debug)]
pub(super) enum Signal {
    /// `offer`, `answer` or `candidate` of the other side.
    Remote { event: String, data: Value },
    /// What this side sends has changed.
    Lines(Lines),
}

pub(super) struct Negotiation {
    pub(super) peer: RoomPeer,
    pub(super) is_polite: bool,
    /// Whether this side was there first.
    pub(super) offers: bool,
    pub(super) lines: Lines,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Sender<RoomEvent>,
}

struct Running {
    of: Negotiation,
    /// Whether the first description was made or taken.
    negotiated: bool,
    ignores_offer: bool,
    early: Vec<IceCandidate>,
    watch: Watch,
    state: Option<PeerState>,
    offer_at: Option<Instant>,
    /// Until when offers wait, after a refused answer.
    again_at: Option<Instant>,
    /// Answers refused since the last that was taken.
    refused: u32,
    look_at: Option<Instant>,
}

impl Negotiation {
    /// Runs until the room lets go of the participant, or the connection is closed.
    pub(super) async fn run(self, mut signals: mpsc::Receiver<Signal>) {
        let watch = Watch::new(self.is_polite, self.peer.takes_offers());
        let mut running = Running {
            negotiated: false,
            ignores_offer: false,
            early: Vec::new(),
            watch,
            state: None,
            offer_at: Some(Instant::now() + OFFER_WITHIN),
            again_at: None,
            refused: 0,
            look_at: None,
            of: self,
        };
        if running.of.offers {
            running.begin().await;
        }
        loop {
            let deadline = [running.offer_at, running.again_at, running.look_at];
            let deadline = deadline.into_iter().flatten().min();
            let connection = running.of.peer.connection().clone();
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(Signal::Remote { event, data }) => running.remote(&event, data).await,
                    Some(Signal::Lines(lines)) => running.change_lines(lines),
                    None => break,
                },
                event = connection.next_event() => match event {
                    Some(event) => running.local(event).await,
                    None => break,
                },
                () = until(deadline) => running.timeout().await,
            }
        }
        running.of.peer.connection().close();
    }
}

/// Waits until then; forever without a deadline.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Running {
    /// Makes the lines of the first offer, which follows by `negotiationneeded`.
    async fn begin(&mut self) {
        self.offer_at = None;
        if std::mem::replace(&mut self.negotiated, true) {
            return;
        }
        let peer = self.of.peer.clone();
        match peer
            .connection()
            .create_data_channel(CHAT, DataChannelInit::default())
        {
            Ok(channel) => {
                let peer = peer.clone();
                self.tell(RoomEvent::DataChannel { peer, channel }).await;
            }
            Err(error) => tracing::warn!(%error, "no channel for chat"),
        }
        for source in self.sources() {
            self.add_line(source);
        }
        self.look().await;
    }

    async fn timeout(&mut self) {
        let now = Instant::now();
        if self.offer_at.is_some_and(|at| at <= now) {
            self.begin().await;
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.offer().await;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look().await;
        }
    }

    async fn local(&mut self, event: PeerConnectionEvent) {
        let peer = self.of.peer.clone();
        match event {
            PeerConnectionEvent::NegotiationNeeded => self.offer().await,
            PeerConnectionEvent::IceCandidate(candidate) => {
                // Browsers do not tell the end of candidates to the other side here either.
                if !candidate.candidate.is_empty() {
                    let data = serde_json::to_value(CandidateJson::from(candidate));
                    self.send("candidate", data).await;
                }
            }
            PeerConnectionEvent::ConnectionStateChange(_)
            | PeerConnectionEvent::IceConnectionStateChange(_) => self.look().await,
            PeerConnectionEvent::Failed(failure) => {
                tracing::info!(peer = peer.id(), %failure, "connection failed");
            }
            PeerConnectionEvent::IceCandidateError(error) => {
                let (code, text) = (error.error_code, error.error_text);
                tracing::info!(peer = peer.id(), url = error.url, code, text, "ICE server");
            }
            PeerConnectionEvent::DataChannel(channel) if data::is_data(&channel) => {
                data::listen(&peer, channel, peer.id() == SERVER_ID, &self.of.events);
            }
            PeerConnectionEvent::DataChannel(channel) => {
                self.tell(RoomEvent::DataChannel { peer, channel }).await;
            }
            PeerConnectionEvent::Track(track) => {
                peer.decrypt(&track.transceiver);
                self.tell(RoomEvent::Track { peer, track }).await;
            }
            PeerConnectionEvent::SignalingStateChange(_)
            | PeerConnectionEvent::SctpTransportStateChange(_)
            | PeerConnectionEvent::SelectedCandidatePairChange(_)
            | PeerConnectionEvent::IceGatheringStateChange(_) => {}
        }
    }

    async fn offer(&mut self) {
        let connection = self.of.peer.connection();
        let is_second = connection.remote_description().is_some();
        // Before the first description, the other side offers.
        if !self.negotiated || (is_second && !self.of.peer.takes_offers()) {
            return;
        }
        if self.again_at.is_some() {
            return;
        }
        if connection.signaling_state() != SignalingState::Stable {
            return;
        }
        match connection.set_local_description(None) {
            Ok(()) => self.send_description("offer").await,
            Err(error) => tracing::warn!(%error, "no offer"),
        }
    }

    async fn remote(&mut self, event: &str, data: Value) {
        // What another participant sends must not end the call with it.
        let outcome = match event {
            "candidate" => match serde_json::from_value::<Option<CandidateJson>>(data) {
                Ok(Some(candidate)) => self.candidate(candidate.into()),
                Ok(None) => Ok(()),
                Err(error) => return tracing::warn!(%error, "malformed candidate"),
            },
            _ => match serde_json::from_value::<DescriptionJson>(data) {
                Ok(json) => match json.into_description() {
                    Some(description) => self.description(description).await,
                    None => Ok(()),
                },
                Err(error) => return tracing::warn!(%error, "malformed description"),
            },
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, event, peer = self.of.peer.id(), "not applied");
        }
    }

    async fn description(&mut self, description: SessionDescription) -> Result<(), Error> {
        let connection = self.of.peer.connection().clone();
        let is_offer = description.kind == SdpType::Offer;
        let collides = is_offer && connection.signaling_state() != SignalingState::Stable;
        self.ignores_offer = collides && !self.of.is_polite;
        if self.ignores_offer {
            return Ok(());
        }
        let kind = description.kind;
        match connection.set_remote_description(description) {
            Ok(()) if is_offer => {}
            Ok(()) => self.refused = 0,
            Err(error) => {
                if kind == SdpType::Answer {
                    self.take_back();
                }
                return Err(error);
            }
        }
        for candidate in std::mem::take(&mut self.early) {
            if let Err(error) = connection.add_ice_candidate(candidate) {
                tracing::debug!(%error, "early candidate");
            }
        }
        if !is_offer {
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut self.negotiated, true);
        self.offer_at = None;
        if is_first {
            self.answer_on_its_lines();
        }
        connection.set_local_description(None)?;
        self.send_description("answer").await;
        self.look().await;
        Ok(())
    }

    /// Takes back the offer whose answer was refused: it would bar the way to any other.
    ///
    /// What it was for is offered again after a while, since the answer may well be the same.
    fn take_back(&mut self) {
        let connection = self.of.peer.connection();
        if connection.signaling_state() != SignalingState::HaveLocalOffer {
            return;
        }
        let wait = REFUSED_WAIT.saturating_mul(2_u32.saturating_pow(self.refused));
        self.again_at = Some(Instant::now() + wait.min(REFUSED_WAIT_MAX));
        self.refused = self.refused.saturating_add(1);
        let rollback = SessionDescription {
            kind: SdpType::Rollback,
            sdp: String::new(),
        };
        if let Err(error) = connection.set_local_description(Some(rollback)) {
            tracing::debug!(%error, "not taken back");
        }
    }

    fn candidate(&mut self, candidate: IceCandidate) -> Result<(), Error> {
        let connection = self.of.peer.connection();
        if connection.remote_description().is_none() {
            if self.early.len() < EARLY_CANDIDATES_MAX {
                self.early.push(candidate);
            }
            return Ok(());
        }
        match connection.add_ice_candidate(candidate) {
            Err(_) if self.ignores_offer => Ok(()),
            outcome => outcome,
        }
    }

    /// Sends on the lines that the first offer brought, instead of adding lines.
    fn answer_on_its_lines(&mut self) {
        let peer = self.of.peer.clone();
        for source in self.sources() {
            let free = peer
                .connection()
                .transceivers()
                .into_iter()
                .find(|line| line.kind() == Some(source.kind()) && !peer.is_line(line));
            let is_base = BASE_SOURCES.contains(&source);
            let publication = self.of.lines.get(&source);
            match (free, publication) {
                (Some(_), Some(_)) if is_base => self.add_track(source),
                (_, Some(_)) if peer.takes_offers() => self.add_line(source),
                _ => {}
            }
        }
    }

    fn change_lines(&mut self, lines: Lines) {
        self.of.lines = lines;
        for source in self.sources() {
            let publishes = self.of.lines.contains_key(&source);
            match self.of.peer.get_line(source) {
                Some(line) => {
                    let receives = line.direction().is_some_and(Direction::receives);
                    let outcome = line.set_direction(Direction::new(publishes, receives));
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a line that is gone");
                    }
                }
                // Before the first description, the lines are made together with it.
                None if publishes && self.negotiated && self.of.peer.takes_offers() => {
                    self.add_track(source);
                }
                None => {}
            }
        }
    }

    /// Sends on the first line that is free, or on a new one.
    fn add_track(&mut self, source: Source) {
        let peer = &self.of.peer;
        let publication = self.of.lines.get(&source);
        let streams: Vec<&str> = publication
            .map(|one| one.stream.as_str())
            .into_iter()
            .collect();
        match peer.connection().add_track(source.kind(), &streams) {
            Ok(line) => peer.set_line(source, line),
            Err(error) => tracing::warn!(%error, "cannot send"),
        }
    }

    fn add_line(&mut self, source: Source) {
        let peer = &self.of.peer;
        let publication = self.of.lines.get(&source);
        if peer.has_line(source) {
            return;
        }
        let direction = Direction::new(publication.is_some(), BASE_SOURCES.contains(&source));
        let streams: Vec<&str> = publication
            .map(|one| one.stream.as_str())
            .into_iter()
            .collect();
        match peer
            .connection()
            .add_transceiver(source.kind(), direction, &streams)
        {
            Ok(line) if publication.is_some() => peer.set_line(source, line),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no line"),
        }
    }

    /// The base sources, and whatever else is published.
    fn sources(&self) -> Vec<Source> {
        let mut sources = BASE_SOURCES.to_vec();
        let others = self
            .of
            .lines
            .keys()
            .filter(|one| !BASE_SOURCES.contains(one));
        sources.extend(others);
        sources
    }

    async fn look(&mut self) {
        let connection = self.of.peer.connection().clone();
        let states = (
            connection.connection_state(),
            connection.ice_connection_state(),
        );
        let look = self.watch.look(Instant::now(), states.0, states.1);
        self.look_at = look.again_at;
        if look.restart {
            tracing::info!(peer = self.of.peer.id(), "restarting ICE");
            connection.restart_ice();
        }
        if self.state.replace(look.state) != Some(look.state) {
            let (peer, state) = (self.of.peer.clone(), look.state);
            if state == PeerState::Connected {
                let _ = self.of.commands.send(Command::Up(peer.clone())).await;
            }
            self.tell(RoomEvent::PeerState { peer, state }).await;
        }
    }

    async fn send_description(&self, event: &'static str) {
        if let Some(description) = self.of.peer.connection().local_description() {
            let data = serde_json::to_value(DescriptionJson::from(description));
            self.send(event, data).await;
        }
    }

    async fn send(&self, event: &'static str, data: serde_json::Result<Value>) {
        let Ok(data) = data else { return };
        let to = self.of.peer.id().to_owned();
        let command = Command::Signal { event, data, to };
        // Refused only when the room is over.
        let _ = self.of.commands.send(command).await;
    }

    async fn tell(&self, event: RoomEvent) {
        let _ = self.of.events.send(event).await;
    }
}
