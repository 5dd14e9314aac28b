//! `RTCPeerConnection` (W3C webrtc-pc §4.4).

use std::sync::Arc;

use twocan_io::clock;
use twocan_io::interfaces::Filter;
use twocan_proto::congestion::Marking;
use twocan_proto::ice::{self, RelayProtocol};
use twocan_proto::negotiate::{Codec, Kind, SdpType, SignalingState, audio_codecs_on_request};
use twocan_proto::peer::{
    self, ConnectionState, Description, IceCandidateError, LocalCandidate, LogEntry, Peer,
    PeerFailure, RemoteCandidateInit, SctpTransportState, TransceiverInit,
};
use twocan_proto::random::Random;
use twocan_proto::wire::sdp::Direction;

use crate::configuration::{Certificate, Configuration};
use crate::data_channel::{DataChannel, DataChannelInit};
use crate::driver::Driver;
use crate::environment::Environment;
use crate::error::Error;
use crate::ice_server::Servers;
use crate::ice_transport::IceCandidatePair;
use crate::state::{Pending, Shared, State};
use crate::stats::StatsReport;
use crate::transceiver::{RtpTransceiver, TrackEvent};

/// `RTCSessionDescription`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// `type`.
    pub kind: SdpType,
    /// `sdp`.
    pub sdp: String,
}

/// `RTCIceCandidateInit`. An empty `candidate` ends the candidates of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IceCandidate {
    /// `candidate:…`.
    pub candidate: String,
    /// `sdpMid`.
    pub sdp_mid: Option<String>,
    /// `sdpMLineIndex`.
    pub sdp_m_line_index: Option<u16>,
    /// `usernameFragment`.
    pub username_fragment: Option<String>,
    /// `url` of our own candidates: the server that told us the address.
    pub url: Option<String>,
    /// `relayProtocol` of our own relayed candidates.
    pub relay_protocol: Option<RelayProtocol>,
}

/// What happens to a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerConnectionEvent {
    /// `negotiationneeded`.
    NegotiationNeeded,
    /// `signalingstatechange`.
    SignalingStateChange(SignalingState),
    /// `iceconnectionstatechange`.
    IceConnectionStateChange(ice::State),
    /// `icegatheringstatechange`.
    IceGatheringStateChange(ice::GatheringState),
    /// `selectedcandidatepairchange` of the `RTCIceTransport`: data goes over another pair, or has no
    /// way any more.
    SelectedCandidatePairChange(Option<IceCandidatePair>),
    /// `icecandidate`.
    IceCandidate(IceCandidate),
    /// `icecandidateerror`: a STUN or TURN server did not help.
    IceCandidateError(IceCandidateError),
    /// `connectionstatechange`.
    ConnectionStateChange(ConnectionState),
    /// Why the connection failed; the state follows.
    Failed(PeerFailure),
    /// `statechange` of the `RTCSctpTransport`.
    SctpTransportStateChange(SctpTransportState),
    /// `datachannel`: the other side made a channel, which is open.
    DataChannel(DataChannel),
    /// `track`: the other side sends.
    Track(TrackEvent),
}

/// The last handle closes the connection.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
}

impl Owner {
    /// A connection that has not begun, and its task.
    pub(crate) fn begin(configuration: Configuration, by_hand: bool) -> Result<Arc<Self>, Error> {
        let servers = Servers::of(&configuration.ice_servers)?;
        let environment = match configuration.environment {
            Some(environment) => environment,
            None => Environment::of_process()?,
        };
        let certificate = match configuration.certificate {
            Some(certificate) => certificate,
            None => Certificate::generate()?,
        };
        let mut config = peer::Config::new(certificate.0, environment.dtls());
        config.stun_servers = servers.stun;
        config.turn_servers = servers.turn;
        config.ice_transport_policy = configuration.ice_transport_policy;
        config.ice_candidate_pool_size = configuration.ice_candidate_pool_size;
        config.ice_transports = configuration.ice_transports;
        config.ice.lite = configuration.ice_lite;
        config.ice.external_addresses = configuration.external_addresses;
        config.ice.hide_host_addresses = configuration.hide_host_addresses;
        config.always_negotiate_data = configuration.always_negotiate_data_channels;
        config.video_orientation = configuration.video_orientation;
        config.offer_flexfec = configuration.offer_flexfec;
        config.congestion.marking = match (configuration.l4s, configuration.ecn) {
            (true, _) => Marking::L4s,
            (false, true) => Marking::Classic,
            (false, false) => Marking::None,
        };
        let marks = config.congestion.marking != Marking::None;
        config.offer_congestion_feedback = configuration.offer_congestion_feedback || marks;
        if !configuration.audio_codecs.is_empty() {
            let known = [&config.audio_codecs[..], &audio_codecs_on_request()[..]].concat();
            let named = named(&known, &configuration.audio_codecs);
            config.audio_codecs = named.unwrap_or(config.audio_codecs);
        }
        if configuration.audio_redundancy {
            // What stands first is preferred: RED, then the Opus that it carries.
            Arc::make_mut(&mut config.audio_codecs).sort_by_key(|codec| codec.name != "red");
        }
        if !configuration.video_codecs.is_empty() {
            let named = named(&config.video_codecs, &configuration.video_codecs);
            config.video_codecs = named.unwrap_or(config.video_codecs);
        }
        config.dscp = configuration.dscp;
        if let Some(max) = configuration.max_message_size {
            config.max_message_size = max;
        }
        config.receive_simulcast = configuration.receive_simulcast;
        config.event_log = configuration.event_log;
        config.interceptor = configuration.interceptor;
        config.by_hand = by_hand;
        let machine = Peer::new(clock::now(), config, Random::new(clock::seed()));
        let shared = Shared::new(machine);
        let filter = Filter {
            loopback: configuration.loopback_candidates,
            names: configuration.interfaces,
        };
        Driver::start(
            Arc::clone(&shared),
            environment,
            filter,
            configuration.ports,
        );
        Ok(Arc::new(Self { shared }))
    }

    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let result = act(&mut self.shared.lock());
        self.shared.wake.notify_one();
        result
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().peer.close(clock::now());
        self.shared.wake.notify_one();
    }
}

/// A connection to one peer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    pub(crate) owner: Arc<Owner>,
}

impl PeerConnection {
    /// A connection that has not begun. Starts a task on the present tokio runtime.
    ///
    /// # Errors
    /// `SyntaxError` for a malformed ICE server URL, `InvalidAccessError` for a TURN server without
    /// username or credential, `OperationError` when no certificate could
    /// be made or a cipher fails its self-test.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn new(configuration: Configuration) -> Result<Self, Error> {
        let owner = Owner::begin(configuration, false)?;
        Ok(Self { owner })
    }

    /// The next thing that happens; `None` once the connection is closed and all was told.
    pub async fn next_event(&self) -> Option<PeerConnectionEvent> {
        let pending = self.owner.shared.until(|state| {
            let pending = state.events.pop_front();
            if state.events.is_empty() {
                state.events.shrink_to_fit();
            }
            match pending {
                Some(pending) => Some(Some(pending)),
                None => state.finished.then_some(None),
            }
        });
        let pending = pending.await?;
        Some(self.to_event(pending))
    }

    /// The next entry of the event log: what was decided and why, and how things stand, for pictures
    /// of a call. Its `Display` is a line of JSON. `None` unless [`Configuration::event_log`] is
    /// set, and once the connection is closed and all was told. While 4096 entries wait, further
    /// ones are left out and counted.
    pub async fn next_log_entry(&self) -> Option<LogEntry> {
        let entry = self
            .owner
            .shared
            .until(|state| match state.peer.poll_log() {
                Some(entry) => Some(Some(entry)),
                None => (state.finished || !state.peer.keeps_log()).then_some(None),
            });
        entry.await
    }

    /// `createDataChannel`.
    ///
    /// # Errors
    /// `TypeError`, `OperationError` or `InvalidStateError` as the W3C has them, with our reason.
    pub fn create_data_channel(
        &self,
        label: &str,
        init: DataChannelInit,
    ) -> Result<DataChannel, Error> {
        DataChannel::create(&self.owner, label, init)
    }

    /// `addTransceiver`: a section for `kind` that sends and receives as `direction` says; our
    /// track is part of `streams`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, `TypeError` for a malformed stream id.
    pub fn add_transceiver(
        &self,
        kind: Kind,
        direction: Direction,
        streams: &[&str],
    ) -> Result<RtpTransceiver, Error> {
        let id = self.act(|state| state.peer.add_transceiver(kind, direction, streams))?;
        Ok(RtpTransceiver::new(Arc::clone(&self.owner), id))
    }

    /// `addTransceiver` with its dictionary: for simulcast, and for encodings with bounds.
    ///
    /// ```no_run
    /// # fn example(peer: &twocan::PeerConnection) -> Result<(), twocan::Error> {
    /// use twocan::{Bitrate, Direction, EncodingParameters, Kind, TransceiverInit};
    ///
    /// let encoding = |rid: &str, kbps| EncodingParameters {
    ///     rid: Some(rid.to_owned()),
    ///     max_bitrate: Some(Bitrate::kbps(kbps)),
    ///     ..EncodingParameters::default()
    /// };
    /// // A quarter, half and all of the width and height: the default for three encodings.
    /// let camera = peer.add_transceiver_with(Kind::Video, &TransceiverInit {
    ///     direction: Direction::SendOnly,
    ///     streams: vec!["camera".to_owned()],
    ///     send_encodings: vec![encoding("q", 200), encoding("h", 700), encoding("f", 2500)],
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// An answer that takes no simulcast leaves the first encoding.
    ///
    /// # Errors
    /// `InvalidStateError` when closed; `TypeError` for a malformed stream id, and for RIDs that are
    /// malformed, missing or repeated; `RangeError` and `OperationError` as for
    /// [`RtpSender::set_parameters`](crate::RtpSender::set_parameters).
    pub fn add_transceiver_with(
        &self,
        kind: Kind,
        init: &TransceiverInit,
    ) -> Result<RtpTransceiver, Error> {
        let id = self.act(|state| state.peer.add_transceiver_with(kind, init))?;
        Ok(RtpTransceiver::new(Arc::clone(&self.owner), id))
    }

    /// `addTrack`: sends `kind` on a transceiver that is free, or on a new one.
    ///
    /// # Errors
    /// As [`Self::add_transceiver`].
    pub fn add_track(&self, kind: Kind, streams: &[&str]) -> Result<RtpTransceiver, Error> {
        let id = self.act(|state| state.peer.add_track(kind, streams))?;
        Ok(RtpTransceiver::new(Arc::clone(&self.owner), id))
    }

    /// `getTransceivers`.
    pub fn transceivers(&self) -> Vec<RtpTransceiver> {
        let state = self.owner.shared.lock();
        let ids = state
            .peer
            .transceivers()
            .iter()
            .map(|transceiver| transceiver.id());
        ids.map(|id| RtpTransceiver::new(Arc::clone(&self.owner), id))
            .collect()
    }

    /// `createOffer`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or in another signaling state.
    pub fn create_offer(&self) -> Result<SessionDescription, Error> {
        let sdp = self.act(|state| state.peer.create_offer())?;
        Ok(SessionDescription {
            kind: SdpType::Offer,
            sdp,
        })
    }

    /// `createOffer` with `iceRestart`: with new ICE credentials, which take effect if it is set.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or in another signaling state.
    pub fn create_restarting_offer(&self) -> Result<SessionDescription, Error> {
        let sdp = self.act(|state| state.peer.create_restarting_offer())?;
        Ok(SessionDescription {
            kind: SdpType::Offer,
            sdp,
        })
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or without a remote offer.
    pub fn create_answer(&self) -> Result<SessionDescription, Error> {
        let sdp = self.act(|state| state.peer.create_answer())?;
        Ok(SessionDescription {
            kind: SdpType::Answer,
            sdp,
        })
    }

    /// `setLocalDescription`; `None` creates the description that the state asks for.
    ///
    /// # Errors
    /// The W3C exception with our reason; nothing has changed then.
    pub fn set_local_description(
        &self,
        description: Option<SessionDescription>,
    ) -> Result<(), Error> {
        let description = description.map(|given| Description {
            kind: given.kind,
            sdp: given.sdp,
        });
        let now = clock::now();
        Ok(self.act(|state| state.peer.set_local_description(now, description.as_ref()))?)
    }

    /// `setRemoteDescription`. An offer while ours is pending rolls ours back.
    ///
    /// # Errors
    /// The W3C exception with our reason; nothing has changed then.
    pub fn set_remote_description(&self, description: SessionDescription) -> Result<(), Error> {
        let description = Description {
            kind: description.kind,
            sdp: description.sdp,
        };
        let now = clock::now();
        Ok(self.act(|state| state.peer.set_remote_description(now, &description))?)
    }

    /// `addIceCandidate`.
    ///
    /// # Errors
    /// The W3C exception with our reason.
    pub fn add_ice_candidate(&self, candidate: IceCandidate) -> Result<(), Error> {
        let init = RemoteCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_m_line_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
        };
        let now = clock::now();
        Ok(self.act(|state| state.peer.add_ice_candidate(now, &init))?)
    }

    /// `restartIce`.
    pub fn restart_ice(&self) {
        self.act(|state| state.peer.restart_ice());
    }

    /// `localDescription`, with the candidates gathered so far.
    pub fn local_description(&self) -> Option<SessionDescription> {
        let description = self.owner.shared.lock().peer.local_description()?;
        Some(SessionDescription {
            kind: description.kind,
            sdp: description.sdp,
        })
    }

    /// `remoteDescription`.
    pub fn remote_description(&self) -> Option<SessionDescription> {
        let description = self.owner.shared.lock().peer.remote_description()?;
        Some(SessionDescription {
            kind: description.kind,
            sdp: description.sdp,
        })
    }

    /// Waits until all candidates are gathered, then [`Self::local_description`]: for signaling
    /// without trickle.
    pub async fn gathered_description(&self) -> Option<SessionDescription> {
        self.owner
            .shared
            .until(|state| {
                let gathered = state.peer.ice_gathering_state() == ice::GatheringState::Complete;
                (gathered || state.finished).then_some(())
            })
            .await;
        self.local_description()
    }

    /// `signalingState`.
    pub fn signaling_state(&self) -> SignalingState {
        self.owner.shared.lock().peer.signaling_state()
    }

    /// `connectionState`.
    pub fn connection_state(&self) -> ConnectionState {
        self.owner.shared.lock().peer.connection_state()
    }

    /// `iceConnectionState`, but for `closed`.
    pub fn ice_connection_state(&self) -> ice::State {
        self.owner.shared.lock().peer.ice_connection_state()
    }

    /// `iceGatheringState`.
    pub fn ice_gathering_state(&self) -> ice::GatheringState {
        self.owner.shared.lock().peer.ice_gathering_state()
    }

    /// `getStats`.
    pub fn get_stats(&self) -> StatsReport {
        StatsReport::of(&self.owner.shared.lock())
    }

    /// Waits until the connection is closed, by either side.
    pub async fn closed(&self) {
        let shared = &self.owner.shared;
        shared.until(|state| state.finished.then_some(())).await;
    }

    /// Ends everything: channels, tracks, sockets, the task.
    pub fn close(&self) {
        self.act(|state| state.peer.close(clock::now()));
    }

    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        self.owner.act(act)
    }

    fn to_event(&self, pending: Pending) -> PeerConnectionEvent {
        match pending {
            Pending::Channel(id) => {
                PeerConnectionEvent::DataChannel(DataChannel::new(Arc::clone(&self.owner), id))
            }
            Pending::Track {
                transceiver,
                streams,
                track,
            } => {
                let transceiver = RtpTransceiver::new(Arc::clone(&self.owner), transceiver);
                PeerConnectionEvent::Track(TrackEvent {
                    transceiver,
                    streams,
                    track_id: track,
                })
            }
            Pending::Event(event) => event,
        }
    }
}

impl From<LocalCandidate> for IceCandidate {
    fn from(candidate: LocalCandidate) -> Self {
        Self {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_m_line_index: candidate.sdp_m_line_index,
            username_fragment: Some(candidate.username_fragment),
            url: candidate.url,
            relay_protocol: candidate.relay_protocol,
        }
    }
}

/// The codecs of these names in their order, each once, and those that only go with others; `None`
/// where no name is known.
fn named(codecs: &[Codec], names: &[String]) -> Option<Arc<[Codec]>> {
    const BESIDE: [&str; 4] = ["red", "ulpfec", "flexfec-03", "telephone-event"];
    let is_beside = |codec: &&Codec| BESIDE.iter().any(|name| codec.is_called(name));
    let mut chosen: Vec<Codec> = Vec::new();
    for name in names {
        let own = codecs
            .iter()
            .filter(|codec| !is_beside(codec) && codec.is_called(name));
        let own: Vec<Codec> = own
            .filter(|codec| !chosen.contains(codec))
            .cloned()
            .collect();
        chosen.extend(own);
    }
    if chosen.is_empty() {
        return None;
    }
    chosen.extend(codecs.iter().filter(is_beside).cloned());
    Some(chosen.into())
}
