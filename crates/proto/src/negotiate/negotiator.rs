//! The state of a negotiation, and what the application does to it between descriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use twocan_wire::ids::{Mid, PayloadType, Rid};
use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Description, Direction, Fingerprint, Media};

use super::codec::{Codec, CodecTerms, default_audio_codecs, default_video_codecs};
use super::plan::{DtlsRole, IceRole};
use super::simulcast::check_rids;
use super::terms::{SectionKind, Terms};
use super::transceiver::{
    CodecPreference, ENCODINGS_MAX, Kind, Maker, SendEncoding, Transceiver, TransceiverId,
};
use super::{IceParameters, NegotiateError, SdpType, SignalingState, StateReason, TypeReason};
use crate::random::Random;

/// The extensions of audio packets that are negotiated by default: level, send time, transport
/// sequence, MID, capture time.
pub const AUDIO_EXTENSIONS: [ExtensionKind; 5] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::AbsSendTime,
    ExtensionKind::TransportSequence,
    ExtensionKind::Mid,
    ExtensionKind::AbsCaptureTime,
];

/// The extensions of video packets that are negotiated by default: send time, transport sequence,
/// MID, RID, repaired RID, capture time, dependency descriptor, video layers allocation, playout
/// delay, content type and color space.
pub const VIDEO_EXTENSIONS: [ExtensionKind; 11] = [
    ExtensionKind::AbsSendTime,
    ExtensionKind::TransportSequence,
    ExtensionKind::Mid,
    ExtensionKind::Rid,
    ExtensionKind::RepairedRid,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::DependencyDescriptor,
    ExtensionKind::VideoLayersAllocation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::VideoContentType,
    ExtensionKind::ColorSpace,
];

/// The extensions of audio packets that are known and negotiated only where
/// [`Negotiator::set_header_extensions`] asks for them: the levels of contributing sources.
pub const AUDIO_EXTENSIONS_STOPPED: [ExtensionKind; 1] = [ExtensionKind::CsrcAudioLevel];

/// The same of video packets: the transmission offset, for those who have nothing better to estimate
/// the path by; the orientation, for those who turn pictures; the timing, for those who measure.
pub const VIDEO_EXTENSIONS_STOPPED: [ExtensionKind; 3] = [
    ExtensionKind::TransmissionOffset,
    ExtensionKind::VideoOrientation,
    ExtensionKind::VideoTiming,
];

/// Settings of a [`Negotiator`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Audio codecs, the preferred one first. Default [`default_audio_codecs`].
    pub audio_codecs: Arc<[Codec]>,
    /// Video codecs, the preferred one first. Default [`default_video_codecs`].
    pub video_codecs: Arc<[Codec]>,
    /// Extensions of audio packets. Default [`AUDIO_EXTENSIONS`].
    pub audio_extensions: Vec<ExtensionKind>,
    /// Extensions of video packets. Default [`VIDEO_EXTENSIONS`].
    pub video_extensions: Vec<ExtensionKind>,
    /// Hashes of our certificate; at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// The canonical name of our sources, the same for the life of the connection.
    pub cname: String,
    /// Options we state in `a=ice-options`. Default `ice2`, `trickle` and `renomination`.
    pub ice_options: Vec<String>,
    /// Whether we are an ICE-lite agent (RFC 8839 §5.3). Default no.
    pub ice_lite: bool,
    /// The largest message that we take, in bytes; 0 for no limit. Default 262144, as Chromium.
    pub max_message_size: u64,
    /// Our SCTP port. Default 5000.
    pub sctp_port: u16,
    /// Whether we accept simulcast that a peer offers to send (an SFU does). Default no: the peer
    /// then sends one layer.
    pub receive_simulcast: bool,
    /// `alwaysNegotiateDataChannels` (webrtc-extensions): whether offers have a section for data
    /// channels before there is a channel, in front of all media that was not negotiated before.
    /// Default no.
    pub always_negotiate_data: bool,
    /// Whether we offer FlexFEC; what a peer offers of it is accepted in any case. Default no: it
    /// needs a source of its own, and stacks that do not know `FEC-FR` take that for media.
    pub offer_flexfec: bool,
    /// Whether we offer reports of arrivals as RFC 8888 has them, beside those of the whole
    /// transport; what a peer offers of it is accepted in any case. Default no.
    pub offer_congestion_feedback: bool,
}

impl Config {
    /// The defaults, with what has none.
    pub fn new(fingerprints: Vec<Fingerprint>, cname: String) -> Self {
        Self {
            audio_codecs: default_audio_codecs(),
            video_codecs: default_video_codecs(),
            audio_extensions: AUDIO_EXTENSIONS.to_vec(),
            video_extensions: VIDEO_EXTENSIONS.to_vec(),
            fingerprints,
            cname,
            ice_options: vec!["ice2".into(), "trickle".into(), "renomination".into()],
            ice_lite: false,
            max_message_size: 262_144,
            sctp_port: 5000,
            receive_simulcast: false,
            always_negotiate_data: false,
            offer_flexfec: false,
            offer_congestion_feedback: false,
        }
    }

    pub(super) fn codecs(&self, kind: Kind) -> impl Iterator<Item = CodecTerms> + '_ {
        let codecs = match kind {
            Kind::Audio => &self.audio_codecs,
            Kind::Video => &self.video_codecs,
        };
        codecs.iter().map(CodecTerms::from)
    }

    /// The extensions that are negotiated where nobody says otherwise, and those that are beside.
    pub(super) fn extensions(&self, kind: Kind) -> (&[ExtensionKind], &[ExtensionKind]) {
        match kind {
            Kind::Audio => (&self.audio_extensions, &AUDIO_EXTENSIONS_STOPPED),
            Kind::Video => (&self.video_extensions, &VIDEO_EXTENSIONS_STOPPED),
        }
    }
}

/// A negotiation between two peers.
#[derive(Debug, Clone)]
pub struct Negotiator {
    pub(super) config: Arc<Config>,
    pub(super) random: Random,
    pub(super) session_id: u64,
    /// Version of the newest description that we wrote.
    pub(super) session_version: u64,
    pub(super) signaling_state: SignalingState,
    pub(super) transceivers: Vec<Transceiver>,
    next_transceiver: u32,
    pub(super) wants_data: bool,
    /// While an offer takes the place of a pending one of the other side: the transceivers that had
    /// sections in that one.
    pub(super) replaced: BTreeMap<Mid, Transceiver>,
    /// Name fragments of credentials of ours that are to be replaced.
    pub(super) to_replace: Vec<String>,
    pub(super) agreed: Agreed,
    /// What a rollback returns to; `Some` outside of [`SignalingState::Stable`].
    pub(super) stable: Option<Box<Agreed>>,
    pub(super) created: Option<Created>,
}

/// What descriptions have settled, the pending one included.
#[derive(Debug, Clone, Default)]
pub(super) struct Agreed {
    pub(super) slots: Vec<Slot>,
    pub(super) current_local: Option<Arc<Applied>>,
    pub(super) current_remote: Option<Arc<Applied>>,
    pub(super) pending_local: Option<Arc<Applied>>,
    pub(super) pending_remote: Option<Arc<Applied>>,
    /// Numbers of extensions; one number means the same in every section of a bundle.
    pub(super) extension_ids: BTreeMap<String, u8>,
    /// What payload types mean, for the same reason; those of retransmissions are kept beside.
    pub(super) payload_types: BTreeMap<PayloadType, CodecTerms>,
    pub(super) rtx_payload_types: BTreeMap<PayloadType, PayloadType>,
    pub(super) ice_role: Option<IceRole>,
    pub(super) dtls_role: Option<DtlsRole>,
    /// What the remote side sends, by transceiver.
    pub(super) receiving: BTreeMap<TransceiverId, Received>,
}

/// A media section and whom it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) mid: Mid,
    pub(super) kind: SectionKind,
    /// Whether an answer or both sides put it to rest; it may be recycled then.
    pub(super) rejected: bool,
    pub(super) transceiver: Option<TransceiverId>,
}

/// The track that arrives on a transceiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) streams: Vec<String>,
    pub(super) track: Option<String>,
}

/// A description that was set.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) kind: SdpType,
    /// The description as text: the typed form takes six times as much, for as long as the
    /// connection lives.
    pub(super) sdp: Box<str>,
    pub(super) terms: Terms,
}

impl Applied {
    /// The description again; empty if its text could not be read, which nothing that was set is.
    pub(super) fn media(&self) -> Vec<Media> {
        let description: Result<Description, _> = self.sdp.parse();
        description.map(|own| own.media).unwrap_or_default()
    }
}

/// The description that was created last.
#[derive(Debug, Clone)]
pub(super) struct Created {
    pub(super) kind: SdpType,
    pub(super) description: Description,
    pub(super) slots: Vec<Slot>,
}

impl Agreed {
    /// `localDescription`.
    pub(super) fn local(&self) -> Option<&Arc<Applied>> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    /// `remoteDescription`.
    pub(super) fn remote(&self) -> Option<&Arc<Applied>> {
        self.pending_remote
            .as_ref()
            .or(self.current_remote.as_ref())
    }

    pub(super) fn slot_of(&self, id: TransceiverId) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.transceiver == Some(id))
    }
}

impl Negotiator {
    /// A negotiation that has not begun. `random` yields SSRCs and ids.
    pub fn new(config: Config, mut random: Random) -> Self {
        // RFC 8829 §5.2.1: 62 random bits, so that the number is positive for everyone.
        let session_id = random.u64() >> 2;
        Self {
            config: Arc::new(config),
            random,
            session_id,
            session_version: 1,
            signaling_state: SignalingState::Stable,
            transceivers: Vec::new(),
            next_transceiver: 0,
            wants_data: false,
            replaced: BTreeMap::new(),
            to_replace: Vec::new(),
            agreed: Agreed::default(),
            stable: None,
            created: None,
        }
    }

    /// `addTransceiver`: a section of its own for `kind`.
    ///
    /// # Errors
    /// `TypeError` for a malformed stream id.
    pub fn add_transceiver(
        &mut self,
        kind: Kind,
        direction: Direction,
        streams: &[&str],
    ) -> Result<TransceiverId, NegotiateError> {
        check_streams(streams)?;
        let id = self.new_transceiver(kind, Maker::Application, direction, streams);
        Ok(id)
    }

    /// `addTransceiver` with `sendEncodings`: as [`Self::add_transceiver`], but with a stream for
    /// each of `rids`, of which there are [`ENCODINGS_MAX`] at most; the rest is left out.
    ///
    /// # Errors
    /// As [`Self::add_transceiver`]; `TypeError` for RIDs that are malformed, missing or repeated.
    pub fn add_simulcast_transceiver(
        &mut self,
        kind: Kind,
        direction: Direction,
        streams: &[&str],
        rids: &[Option<Rid>],
    ) -> Result<TransceiverId, NegotiateError> {
        check_streams(streams)?;
        check_rids(rids)?;
        let id = self.new_transceiver(kind, Maker::Application, direction, streams);
        let mut encodings = Vec::new();
        for rid in rids.iter().take(ENCODINGS_MAX) {
            let taken: Vec<&SendEncoding> = encodings.iter().collect();
            let ssrc = self.new_ssrc(&taken);
            let rtx = self.new_ssrc(&taken);
            encodings.push(SendEncoding::new(rid.clone(), ssrc, rtx));
        }
        let transceiver = self.transceivers.last_mut();
        if let (Some(transceiver), false) = (transceiver, encodings.is_empty()) {
            transceiver.encodings = encodings;
        }
        Ok(id)
    }

    /// `addTrack`: sends on a transceiver of `kind` that has never sent, or on a new one.
    ///
    /// # Errors
    /// `TypeError` for a malformed stream id.
    pub fn add_track(
        &mut self,
        kind: Kind,
        streams: &[&str],
    ) -> Result<TransceiverId, NegotiateError> {
        check_streams(streams)?;
        let free = self.transceivers.iter_mut().find(|transceiver| {
            transceiver.kind == kind
                && !transceiver.has_track
                && !transceiver.ever_sent
                && !transceiver.stopping
                && !transceiver.direction.sends()
        });
        let Some(transceiver) = free else {
            return Ok(self.new_transceiver(kind, Maker::Track, Direction::SendRecv, streams));
        };
        transceiver.direction = Direction::new(true, transceiver.direction.receives());
        transceiver.has_track = true;
        // A rollback leaves what the application has put to use.
        transceiver.maker = Maker::Track;
        transceiver.streams = owned(streams);
        Ok(transceiver.id)
    }

    /// `removeTrack`: stops sending on the transceiver.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn remove_track(&mut self, id: TransceiverId) -> Result<(), NegotiateError> {
        let transceiver = self.live_transceiver(id)?;
        transceiver.has_track = false;
        transceiver.direction = Direction::new(false, transceiver.direction.receives());
        Ok(())
    }

    /// Sets what the application wants of the transceiver.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn set_direction(
        &mut self,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<(), NegotiateError> {
        self.live_transceiver(id)?.direction = direction;
        Ok(())
    }

    /// `RTCRtpSender.setStreams`.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped, `TypeError` for a malformed id.
    pub fn set_streams(
        &mut self,
        id: TransceiverId,
        streams: &[&str],
    ) -> Result<(), NegotiateError> {
        check_streams(streams)?;
        self.live_transceiver(id)?.streams = owned(streams);
        Ok(())
    }

    /// `RTCRtpTransceiver.stop`: the next negotiation gives its section up. A transceiver without
    /// a section goes at once.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn stop(&mut self, id: TransceiverId) -> Result<(), NegotiateError> {
        self.live_transceiver(id)?.stopping = true;
        let is_free = |agreed: &Agreed| agreed.slot_of(id).is_none();
        let is_offered = self.created.as_ref().is_some_and(|created| {
            let mut slots = created.slots.iter();
            slots.any(|slot| slot.transceiver == Some(id))
        });
        if is_free(&self.agreed) && self.stable.as_deref().is_none_or(is_free) && !is_offered {
            self.transceivers.retain(|transceiver| transceiver.id != id);
        }
        Ok(())
    }

    /// `addTrack` with the transceiver that the application found for it: sends on it from the next
    /// negotiation on (W3C webrtc-pc §5.1, `addTrack`, step 8).
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped, `TypeError` for a malformed stream id.
    pub fn attach_track(
        &mut self,
        id: TransceiverId,
        streams: &[&str],
    ) -> Result<(), NegotiateError> {
        check_streams(streams)?;
        let transceiver = self.live_transceiver(id)?;
        transceiver.direction = Direction::new(true, transceiver.direction.receives());
        transceiver.has_track = true;
        transceiver.maker = Maker::Track;
        transceiver.streams = owned(streams);
        Ok(())
    }

    /// `replaceTrack`: whether the sender has a track, which needs no negotiation.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn set_has_track(&mut self, id: TransceiverId, has: bool) -> Result<(), NegotiateError> {
        self.live_transceiver(id)?.has_track = has;
        Ok(())
    }

    /// `setCodecPreferences`: the only codecs that descriptions state for a transceiver from here
    /// on, the preferred one first; empty for all.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn set_codec_preferences(
        &mut self,
        id: TransceiverId,
        preferences: Vec<CodecPreference>,
    ) -> Result<(), NegotiateError> {
        self.live_transceiver(id)?.preferences = preferences;
        Ok(())
    }

    /// `setHeaderExtensionsToNegotiate`: the extensions that descriptions state for one way or for
    /// both from here on, or, with `None`, not at all. Of all others the usual ones are for both, and
    /// [`AUDIO_EXTENSIONS_STOPPED`] and [`VIDEO_EXTENSIONS_STOPPED`] are not stated. An offer numbers
    /// 14 in all (RFC 8285 §4.2) and leaves out what is beyond.
    ///
    /// # Errors
    /// `InvalidStateError` for a transceiver that is stopped.
    pub fn set_header_extensions(
        &mut self,
        id: TransceiverId,
        extensions: Vec<(ExtensionKind, Option<Direction>)>,
    ) -> Result<(), NegotiateError> {
        self.live_transceiver(id)?.extensions = extensions;
        Ok(())
    }

    /// Asks for a section for data channels in the next offer.
    pub fn want_data(&mut self) {
        self.wants_data = true;
    }

    /// `restartIce`: [`Self::wants_ice_restart`] holds until other credentials than those that our
    /// descriptions have now are agreed. Before the first description there are none to replace.
    pub fn restart_ice(&mut self) {
        let stable = self.stable_agreed();
        let ours = [
            &stable.current_local,
            &self.agreed.current_local,
            &self.agreed.pending_local,
        ];
        let sections = ours.into_iter().flatten();
        let sections = sections.flat_map(|applied| &applied.terms.sections);
        let mut fragments: Vec<String> = sections
            .filter_map(|own| Some(own.ice.as_ref()?.username_fragment.clone()))
            .collect();
        fragments.sort();
        fragments.dedup();
        self.to_replace = fragments;
    }

    /// Whether the next description of ours must come with new ICE credentials: the application
    /// asked for a restart, or the pending remote offer is one.
    pub fn wants_ice_restart(&self) -> bool {
        match self.signaling_state {
            SignalingState::Stable | SignalingState::HaveLocalOffer => !self.to_replace.is_empty(),
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer => {
                self.remote_restarts()
            }
            SignalingState::HaveRemotePranswer => false,
        }
    }

    /// `signalingState`.
    pub fn signaling_state(&self) -> SignalingState {
        self.signaling_state
    }

    /// The transceivers, those that are stopped excepted.
    pub fn transceivers(&self) -> &[Transceiver] {
        &self.transceivers
    }

    /// A transceiver by its name.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.transceivers
            .iter()
            .find(|transceiver| transceiver.id == id)
    }

    /// What the remote offer that is pending wants of a transceiver, seen from its side; `None`
    /// without one, and for a transceiver that it does not name.
    pub fn offered_direction(&self, id: TransceiverId) -> Option<Direction> {
        let mid = self.mid(id)?;
        let offer = self.agreed.pending_remote.as_ref()?;
        let mut sections = offer.terms.sections.iter();
        let section = sections.find(|own| own.mid.as_ref() == Some(mid))?;
        Some(section.direction)
    }

    /// The section of a transceiver, once it has one.
    pub fn mid(&self, id: TransceiverId) -> Option<&Mid> {
        let index = self.agreed.slot_of(id)?;
        self.agreed.slots.get(index).map(|slot| &slot.mid)
    }

    /// The section whose transport all share: the first one in use.
    pub fn transport_mid(&self) -> Option<(usize, &Mid)> {
        let mut slots = self.agreed.slots.iter().enumerate();
        slots
            .find(|(_, slot)| !slot.rejected)
            .map(|(index, slot)| (index, &slot.mid))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn new_transceiver(
        &mut self,
        kind: Kind,
        maker: Maker,
        direction: Direction,
        streams: &[&str],
    ) -> TransceiverId {
        let id = TransceiverId(self.next_transceiver);
        self.next_transceiver += 1;
        let ssrc = self.new_ssrc(&[]);
        let rtx = self.new_ssrc(&[]);
        let fec = self.free_ssrc_after(rtx, ssrc);
        let track_id = self.random.ice_chars(22).replace(['+', '/'], "-");
        self.transceivers.push(Transceiver {
            id,
            kind,
            maker,
            direction,
            current_direction: None,
            stopping: false,
            has_track: maker == Maker::Track,
            ever_sent: false,
            streams: owned(streams),
            preferences: Vec::new(),
            extensions: Vec::new(),
            track_id,
            encodings: vec![SendEncoding::new(None, ssrc, rtx)],
            fec,
        });
        id
    }

    fn live_transceiver(&mut self, id: TransceiverId) -> Result<&mut Transceiver, NegotiateError> {
        self.transceivers
            .iter_mut()
            .find(|transceiver| transceiver.id == id && !transceiver.stopping)
            .ok_or(NegotiateError::InvalidState(
                StateReason::TransceiverStopped,
            ))
    }

    /// Whether the pending remote offer has other credentials than the agreed remote description.
    fn remote_restarts(&self) -> bool {
        let ice = |applied: &Arc<Applied>| -> Option<IceParameters> {
            self.transport_section(&applied.terms)
                .and_then(|section| section.ice.clone())
        };
        let before = self.agreed.current_remote.as_ref().and_then(ice);
        let after = self.agreed.pending_remote.as_ref().and_then(ice);
        before.is_some() && after.is_some() && before != after
    }
}

fn owned(streams: &[&str]) -> Vec<String> {
    streams.iter().map(|stream| (*stream).to_owned()).collect()
}

fn check_streams(streams: &[&str]) -> Result<(), NegotiateError> {
    let valid = |stream: &&str| {
        (1..=64).contains(&stream.len())
            && stream
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b':')
    };
    if streams.iter().all(valid) {
        Ok(())
    } else {
        Err(NegotiateError::Type(TypeReason::BadStreamId))
    }
}
