//! A connection and its channels, as JavaScript holds them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::Buffer;
use napi::{Error, Result, Status};
use napi_derive::napi;
use twocan::{
    Configuration, DataChannel, DataChannelInit, IceCandidate, IceRole, IceServer,
    IceTransportPolicy, PeerConnection, PeerConnectionEvent, Reliability, RtpTransceiver,
    SessionDescription, TransceiverInit,
};

use crate::certificate::NativeCertificate;
use crate::dictionaries::{
    CandidateInit, CandidateState, ChannelInfo, ChannelInit, ConnectionInit, ConnectionState,
    EncodingState, IceParametersState, IceServerInit, NativeDescription, SctpState,
    TransceiverState, from_candidate, from_channel_priority, from_description, from_direction,
    to_channel_priority, to_direction, to_kind, to_sdp_type,
};
use crate::events::{self, Inbox, NativeEvent, Outbox, Waker};
use crate::{media, refused, runtime, statistics};

/// Channels by our own names for them.
#[derive(Default)]
struct Channels {
    next: u32,
    live: BTreeMap<u32, DataChannel>,
}

type ChannelsLock = Arc<Mutex<Channels>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection. It is closed when JavaScript forgets it.
#[napi]
pub struct NativeConnection {
    pub(crate) peer: PeerConnection,
    channels: ChannelsLock,
    pub(crate) outbox: Outbox,
    inbox: Inbox,
}

impl Drop for NativeConnection {
    fn drop(&mut self) {
        self.peer.close();
    }
}

#[napi]
impl NativeConnection {
    /// A connection that has not begun. `waker` is called when events wait, once until they are
    /// taken.
    #[napi(constructor)]
    pub fn new(
        init: ConnectionInit,
        certificate: Option<&NativeCertificate>,
        waker: Waker,
    ) -> Result<Self> {
        let configuration = to_configuration(init, certificate);
        let _entered = runtime()?.enter();
        let peer = PeerConnection::new(configuration).map_err(|error| refused(&error))?;
        let (outbox, inbox) = events::queue(waker);
        let channels = ChannelsLock::default();
        runtime()?.spawn(watch(peer.clone(), Arc::clone(&channels), outbox.clone()));
        Ok(Self {
            peer,
            channels,
            outbox,
            inbox,
        })
    }

    /// What has happened and was not taken yet; empty when nothing is left.
    #[napi]
    pub fn take_events(&mut self) -> Vec<NativeEvent> {
        self.inbox.take()
    }

    /// `createOffer`.
    #[napi]
    pub fn create_offer(&self, ice_restart: Option<bool>) -> Result<String> {
        let made = match ice_restart {
            Some(true) => self.peer.create_restarting_offer(),
            Some(false) | None => self.peer.create_offer(),
        };
        Ok(made.map_err(|error| refused(&error))?.sdp)
    }

    /// `createAnswer`.
    #[napi]
    pub fn create_answer(&self) -> Result<String> {
        let made = self.peer.create_answer();
        Ok(made.map_err(|error| refused(&error))?.sdp)
    }

    /// `setLocalDescription`.
    #[napi]
    pub fn set_local_description(&self, kind: String, sdp: String) -> Result<()> {
        let kind = to_sdp_type(&kind)?;
        let description = SessionDescription { kind, sdp };
        let done = self.peer.set_local_description(Some(description));
        done.map_err(|error| refused(&error))
    }

    /// `setRemoteDescription`.
    #[napi]
    pub fn set_remote_description(&self, kind: String, sdp: String) -> Result<()> {
        let kind = to_sdp_type(&kind)?;
        let description = SessionDescription { kind, sdp };
        let done = self.peer.set_remote_description(description);
        done.map_err(|error| refused(&error))
    }

    /// `addIceCandidate`.
    #[napi]
    pub fn add_ice_candidate(&self, init: CandidateInit) -> Result<()> {
        let candidate = IceCandidate {
            candidate: init.candidate,
            sdp_mid: init.sdp_mid,
            sdp_m_line_index: init.sdp_m_line_index,
            username_fragment: init.username_fragment,
            ..IceCandidate::default()
        };
        let done = self.peer.add_ice_candidate(candidate);
        done.map_err(|error| refused(&error))
    }

    /// Signaling state, descriptions and transceivers.
    #[napi]
    pub fn state(&self) -> ConnectionState {
        let transceivers = self.peer.transceivers();
        ConnectionState {
            signaling_state: self.peer.signaling_state().as_str().to_owned(),
            current_local: self.peer.current_local_description().map(from_description),
            pending_local: self.peer.pending_local_description().map(from_description),
            current_remote: self.peer.current_remote_description().map(from_description),
            pending_remote: self.peer.pending_remote_description().map(from_description),
            can_trickle: self.peer.can_trickle_ice_candidates(),
            transceivers: transceivers.iter().filter_map(transceiver_state).collect(),
        }
    }

    /// The local descriptions, current and pending, with the candidates gathered so far.
    #[napi]
    pub fn local_descriptions(&self) -> Vec<Option<NativeDescription>> {
        vec![
            self.peer.current_local_description().map(from_description),
            self.peer.pending_local_description().map(from_description),
        ]
    }

    /// Whether a `negotiationneeded` is due.
    #[napi]
    pub fn is_negotiation_needed(&self) -> bool {
        self.peer.is_negotiation_needed()
    }

    /// `restartIce`.
    #[napi]
    pub fn restart_ice(&self) {
        self.peer.restart_ice();
    }

    /// `setConfiguration`.
    #[napi]
    pub fn set_servers(&self, servers: Vec<IceServerInit>, relay_only: bool) -> Result<()> {
        let servers: Vec<IceServer> = servers.into_iter().map(to_server).collect();
        let done = self.peer.set_servers(&servers, to_policy(relay_only));
        done.map_err(|error| refused(&error))
    }

    /// `addTransceiver`, with the names of its streams and its encodings.
    #[napi]
    pub fn add_transceiver(
        &self,
        kind: String,
        direction: String,
        streams: Vec<String>,
        encodings: Vec<EncodingState>,
        has_track: bool,
    ) -> Result<u32> {
        let mut send_encodings = Vec::new();
        for encoding in encodings {
            send_encodings.push(media::to_encoding(encoding)?);
        }
        let init = TransceiverInit {
            direction: to_direction(&direction)?,
            streams,
            send_encodings,
        };
        let made = self.peer.add_transceiver_with(to_kind(&kind)?, &init);
        let made = made.map_err(|error| refused(&error))?;
        made.set_has_track(has_track)
            .map_err(|error| refused(&error))?;
        Ok(made.id().0)
    }

    /// `addTrack`: on the transceiver that JavaScript found, or on a new one.
    #[napi]
    pub fn add_track(
        &self,
        kind: String,
        transceiver: Option<u32>,
        streams: Vec<String>,
    ) -> Result<u32> {
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let Some(id) = transceiver else {
            let made = self.peer.add_track(to_kind(&kind)?, &streams);
            return Ok(made.map_err(|error| refused(&error))?.id().0);
        };
        let done = self.transceiver(id)?.attach_track(&streams);
        done.map_err(|error| refused(&error))?;
        Ok(id)
    }

    /// `sctp`.
    #[napi]
    pub fn sctp(&self) -> Option<SctpState> {
        let sctp = self.peer.sctp_transport()?;
        Some(SctpState {
            state: sctp.state.as_str().to_owned(),
            max_message_size: sctp.max_message_size.map(|size| size as f64),
            max_channels: sctp.max_channels,
        })
    }

    /// `state` of the `RTCDtlsTransport`.
    #[napi]
    pub fn dtls_state(&self) -> String {
        self.peer.dtls_transport_state().as_str().to_owned()
    }

    /// `getRemoteCertificates` of the `RTCDtlsTransport`: DER, none before it is connected.
    #[napi]
    pub fn remote_certificate(&self) -> Option<Buffer> {
        self.peer.remote_certificate().map(Into::into)
    }

    /// `role` of the `RTCIceTransport`.
    #[napi]
    pub fn ice_role(&self) -> String {
        let role = self.peer.ice_transport().role();
        role.map_or("unknown", IceRole::as_str).to_owned()
    }

    /// `getLocalCandidates` of the `RTCIceTransport`.
    #[napi]
    pub fn local_candidates(&self) -> Vec<CandidateState> {
        let all = self.peer.ice_transport().local_candidates().into_iter();
        all.map(from_candidate).collect()
    }

    /// `getRemoteCandidates` of the `RTCIceTransport`.
    #[napi]
    pub fn remote_candidates(&self) -> Vec<CandidateState> {
        let all = self.peer.ice_transport().remote_candidates().into_iter();
        all.map(from_candidate).collect()
    }

    /// `getLocalParameters` of the `RTCIceTransport`.
    #[napi]
    pub fn local_ice_parameters(&self) -> Option<IceParametersState> {
        let own = self.peer.ice_transport().local_parameters();
        own.map(to_ice_parameters)
    }

    /// `getRemoteParameters` of the `RTCIceTransport`.
    #[napi]
    pub fn remote_ice_parameters(&self) -> Option<IceParametersState> {
        let own = self.peer.ice_transport().remote_parameters();
        own.map(to_ice_parameters)
    }

    /// `getStats`, as JSON.
    #[napi]
    pub fn stats(&self) -> String {
        statistics::json(&self.peer)
    }

    /// `close`.
    #[napi]
    pub fn close(&self) {
        self.peer.close();
    }

    /// `createDataChannel`; answers our own name for it.
    #[napi]
    pub fn create_data_channel(&self, label: String, init: ChannelInit) -> Result<u32> {
        let init = DataChannelInit {
            ordered: init.ordered,
            max_packet_life_time: init.max_packet_life_time,
            max_retransmits: init.max_retransmits,
            protocol: init.protocol,
            negotiated: init.negotiated,
            id: init.id,
            priority: to_channel_priority(&init.priority),
        };
        let made = self.peer.create_data_channel(&label, init);
        let channel = made.map_err(|error| refused(&error))?;
        let handle = keep(&self.channels, channel);
        self.read_channel(handle)?;
        Ok(handle)
    }

    /// Lets the events of a channel come: after `datachannel` was fired.
    #[napi]
    pub fn read_channel(&self, handle: u32) -> Result<()> {
        if let Some(channel) = self.channel(handle) {
            let channels = Arc::clone(&self.channels);
            runtime()?.spawn(read(handle, channel, channels, self.outbox.clone()));
        }
        Ok(())
    }

    /// `send` of a text.
    #[napi]
    pub fn send_text(&self, handle: u32, text: String) -> Result<()> {
        match self.channel(handle) {
            Some(channel) => channel.send_text(text).map_err(|error| refused(&error)),
            None => Err(not_open()),
        }
    }

    /// `send` of bytes.
    #[napi]
    pub fn send_bytes(&self, handle: u32, bytes: Buffer) -> Result<()> {
        match self.channel(handle) {
            Some(channel) => channel
                .send(Vec::from(bytes))
                .map_err(|error| refused(&error)),
            None => Err(not_open()),
        }
    }

    /// `bufferedAmount`; none once the channel is closed.
    #[napi]
    pub fn buffered_amount(&self, handle: u32) -> Option<f64> {
        let channel = self.channel(handle)?;
        Some(channel.buffered_amount() as f64)
    }

    /// `bufferedAmountLowThreshold`.
    #[napi]
    pub fn set_buffered_amount_low_threshold(&self, handle: u32, threshold: u32) {
        if let Some(channel) = self.channel(handle) {
            channel.set_buffered_amount_low_threshold(threshold as usize);
        }
    }

    /// `id` of a channel, once assigned.
    #[napi]
    pub fn channel_id(&self, handle: u32) -> Option<u16> {
        self.channel(handle)?.id()
    }

    /// `close` of a channel.
    #[napi]
    pub fn close_channel(&self, handle: u32) {
        if let Some(channel) = self.channel(handle) {
            channel.close();
        }
    }

    fn channel(&self, handle: u32) -> Option<DataChannel> {
        lock(&self.channels).live.get(&handle).cloned()
    }

    pub(crate) fn transceiver(&self, id: u32) -> Result<RtpTransceiver> {
        let all = self.peer.transceivers();
        let found = all.into_iter().find(|own| own.id().0 == id);
        found.ok_or_else(|| {
            let text = "InvalidStateError||the transceiver is stopped";
            Error::new(Status::GenericFailure, text)
        })
    }
}

fn not_open() -> Error {
    Error::new(
        Status::GenericFailure,
        "InvalidStateError||the channel is not open",
    )
}

fn keep(channels: &ChannelsLock, channel: DataChannel) -> u32 {
    let mut channels = lock(channels);
    let handle = channels.next;
    channels.next = channels.next.wrapping_add(1);
    channels.live.insert(handle, channel);
    handle
}

/// Hands on what happens to a connection, until it is over.
async fn watch(peer: PeerConnection, channels: ChannelsLock, outbox: Outbox) {
    while let Some(event) = peer.next_event().await {
        let event = match event {
            PeerConnectionEvent::DataChannel(channel) => {
                let (max_packet_life_time, max_retransmits) = match channel.reliability() {
                    Reliability::Reliable => (None, None),
                    Reliability::MaxPacketLifeTime(milliseconds) => (Some(milliseconds), None),
                    Reliability::MaxRetransmits(count) => (None, Some(count)),
                };
                let info = ChannelInfo {
                    handle: keep(&channels, channel.clone()),
                    label: channel.label(),
                    protocol: channel.protocol(),
                    ordered: channel.ordered(),
                    max_packet_life_time,
                    max_retransmits,
                    negotiated: channel.negotiated(),
                    priority: from_channel_priority(channel.priority()),
                };
                Some(NativeEvent {
                    kind: "datachannel".to_owned(),
                    channel: Some(info),
                    ..NativeEvent::default()
                })
            }
            other => events::of_connection(other),
        };
        if let Some(event) = event
            && !outbox.put(event).await
        {
            return;
        }
    }
    let end = NativeEvent {
        kind: "end".to_owned(),
        ..NativeEvent::default()
    };
    outbox.put(end).await;
}

/// Hands on what happens on a channel, until it is closed.
async fn read(handle: u32, channel: DataChannel, channels: ChannelsLock, outbox: Outbox) {
    while let Some(event) = channel.next_event().await {
        if !outbox.put(events::of_channel(handle, event)).await {
            break;
        }
    }
    lock(&channels).live.remove(&handle);
}

fn to_configuration(
    init: ConnectionInit,
    certificate: Option<&NativeCertificate>,
) -> Configuration {
    let ports = init.ports.as_deref().and_then(|ports| match ports {
        [first, last] => Some(*first..=*last),
        _ => None,
    });
    Configuration {
        ice_servers: init.ice_servers.into_iter().map(to_server).collect(),
        ice_transport_policy: to_policy(init.relay_only),
        ice_candidate_pool_size: init.ice_candidate_pool_size,
        always_negotiate_data_channels: init.always_negotiate_data_channels,
        certificate: certificate.map(|own| own.inner.clone()),
        loopback_candidates: init.loopback_candidates.unwrap_or(false),
        dscp: init.dscp.unwrap_or(false),
        hide_host_addresses: init.hide_host_addresses.unwrap_or(false),
        max_message_size: init.max_message_size.map(|size| size as u64),
        receive_simulcast: init.receive_simulcast.unwrap_or(false),
        interfaces: init.interfaces,
        ports,
        ..Configuration::default()
    }
}

fn to_server(server: IceServerInit) -> IceServer {
    IceServer {
        urls: server.urls,
        username: server.username,
        credential: server.credential,
    }
}

fn to_policy(relay_only: bool) -> IceTransportPolicy {
    if relay_only {
        IceTransportPolicy::Relay
    } else {
        IceTransportPolicy::All
    }
}

fn to_ice_parameters(own: twocan::IceParameters) -> IceParametersState {
    IceParametersState {
        username_fragment: own.username_fragment,
        password: own.password,
    }
}

fn transceiver_state(own: &RtpTransceiver) -> Option<TransceiverState> {
    let remote = own.remote_media();
    let remote_direction = remote
        .as_ref()
        .map(|remote| from_direction(remote.direction));
    let (remote_streams, remote_track) = remote
        .map(|remote| (remote.streams, remote.track))
        .unwrap_or_default();
    Some(TransceiverState {
        id: own.id().0,
        kind: own.kind()?.to_string(),
        mid: own.mid(),
        direction: from_direction(own.direction()?),
        current_direction: own.current_direction().map(from_direction),
        remote_direction,
        remote_streams,
        remote_track,
    })
}
