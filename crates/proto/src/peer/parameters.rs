//! `getParameters` and `setParameters` of a sender (W3C webrtc-pc §5.2, webrtc-svc §5).

use thiserror::Error;
use twocan_wire::ids::Rid;
use twocan_wire::rtp::PlayoutDelay;
use twocan_wire::sdp::Direction;
use twocan_wire::units::Bitrate;

use super::machine::Peer;
use super::media::format_of;
use crate::negotiate::{Kind, MediaPlan, NegotiateError, SendEncoding, StateReason, TransceiverId};
use crate::rtp::ScalabilityMode;

/// `RTCPriorityType` (W3C webrtc-priority §4): each gets twice as much as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// `very-low`.
    VeryLow,
    /// `low`, the default.
    #[default]
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
}

/// `RTCRtpEncodingParameters` (W3C webrtc-pc §5.2.5): one of the streams of a sender.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodingParameters {
    /// `rid`: its name. Every one of several needs one; it never changes.
    pub rid: Option<String>,
    /// `active`: whether it is sent, and takes part in the sharing. Default true.
    pub active: bool,
    /// `maxBitrate` of its payloads. Default 64 kbit/s for sound and no limit for video; of several
    /// encodings all but the last are taken to need what their size suggests.
    pub max_bitrate: Option<Bitrate>,
    /// The only encoding, or the lowest, is given this before anything else is shared out; each of
    /// the others pauses while there is less for it. Not in the standard. Default 16 kbit/s for
    /// sound, 0 for the lowest of video, a quarter of the most that it can use for the others.
    pub min_bitrate: Option<Bitrate>,
    /// `maxFramerate` in frames a second, not negative. The application's encoder keeps to it.
    pub max_framerate: Option<f64>,
    /// `scaleResolutionDownBy`, at least 1: by how much the picture is narrower and lower than the
    /// source. The application's encoder keeps to it. Default of video 1, and where none of several
    /// encodings has one, 4, 2, 1 for three and so on.
    pub scale_resolution_down_by: Option<f64>,
    /// `scalabilityMode`: the layers that its frames are of, which
    /// [`FrameLayer`](crate::rtp::FrameLayer) names.
    pub scalability_mode: Option<ScalabilityMode>,
    /// Between which delays, from capture to display, the other side is to play this, as it is told
    /// with the header extension `playout-delay` where that is agreed on: 0 and 0 for at once. Not in
    /// the standard. Default `None`, which leaves it to the other side.
    pub playout_delay: Option<PlayoutDelay>,
    /// `priority`. Default low, as in the standard. The highest of a sender's active encodings
    /// counts among the senders.
    pub priority: Priority,
    /// `networkPriority` (W3C webrtc-priority §4): how its packets are marked for routers, where
    /// [`Config::dscp`](super::Config::dscp) asks for that. Default `None`, as `priority`.
    pub network_priority: Option<Priority>,
}

impl Default for EncodingParameters {
    fn default() -> Self {
        Self {
            rid: None,
            active: true,
            max_bitrate: None,
            min_bitrate: None,
            max_framerate: None,
            scale_resolution_down_by: None,
            scalability_mode: None,
            playout_delay: None,
            priority: Priority::Low,
            network_priority: None,
        }
    }
}

/// `RTCRtpTransceiverInit`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransceiverInit {
    /// `direction`. Default `sendrecv`.
    pub direction: Direction,
    /// `streams`: the ids of those that our track is part of. Default none.
    pub streams: Vec<String>,
    /// `sendEncodings`, the lowest quality first; at most
    /// [`ENCODINGS_MAX`](crate::negotiate::ENCODINGS_MAX), of sound one, more are cut off. Default:
    /// one without a RID.
    pub send_encodings: Vec<EncodingParameters>,
}

impl Default for TransceiverInit {
    fn default() -> Self {
        Self {
            direction: Direction::SendRecv,
            streams: Vec::new(),
            send_encodings: Vec::new(),
        }
    }
}

/// `RTCRtpSendParameters`. All but the encodings is read-only: it must be handed back as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct RtpSendParameters {
    /// `transactionId`: which [`Peer::parameters`] this is from.
    pub transaction_id: String,
    /// `encodings`.
    pub encodings: Vec<EncodingParameters>,
    /// `headerExtensions` that were agreed on for what we send.
    pub header_extensions: Vec<HeaderExtensionParameters>,
    /// `rtcp`.
    pub rtcp: RtcpParameters,
    /// `codecs` that were agreed on, the preferred one first.
    pub codecs: Vec<CodecParameters>,
}

/// `RTCRtpHeaderExtensionParameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderExtensionParameters {
    /// `uri`.
    pub uri: String,
    /// `id`: 1 to 255.
    pub id: u8,
}

/// `RTCRtcpParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RtcpParameters {
    /// `cname`.
    pub cname: String,
    /// `reducedSize`: whether feedback travels without reports (RFC 5506).
    pub reduced_size: bool,
}

/// `RTCRtpCodecParameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecParameters {
    /// `payloadType` of what we send.
    pub payload_type: u8,
    /// `mimeType`, such as `video/VP8`.
    pub mime_type: String,
    /// `clockRate`: ticks of the RTP timestamp a second.
    pub clock_rate: u32,
    /// `channels`, of sound.
    pub channels: Option<u8>,
    /// `sdpFmtpLine`: what the other side states; empty for nothing.
    pub sdp_fmtp_line: String,
}

/// Why parameters are not taken. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParametersError {
    /// The connection or the transceiver does not allow it.
    #[error(transparent)]
    Negotiation(#[from] NegotiateError),
    /// `setParameters` takes what `getParameters` gave since the last change.
    #[error("InvalidStateError: getParameters was not called since the parameters last changed")]
    NotReturned,
    /// Something was changed that is read-only.
    #[error("InvalidModificationError: {0} of the parameters cannot be changed")]
    ReadOnly(&'static str),
    /// `scaleResolutionDownBy` is below 1, or no number.
    #[error("RangeError: scaleResolutionDownBy must be 1 or more")]
    ScaleResolutionDownBy,
    /// `maxFramerate` is negative, or no number.
    #[error("RangeError: maxFramerate must be 0 or more")]
    MaxFramerate,
    /// The least rate is above the most.
    #[error("RangeError: the least bitrate is above maxBitrate")]
    Bitrates,
    /// The bounds of the playout delay contradict each other, or are beyond what can be told.
    #[error("RangeError: the least playout delay is above the most, or one is above 40.95 s")]
    PlayoutDelay,
    /// None of the codecs has such layers.
    #[error("OperationError: no codec of the sender has this scalabilityMode")]
    ScalabilityMode,
}

impl ParametersError {
    /// The name of the W3C exception.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Negotiation(error) => error.name(),
            Self::NotReturned => "InvalidStateError",
            Self::ReadOnly(_) => "InvalidModificationError",
            Self::ScaleResolutionDownBy
            | Self::MaxFramerate
            | Self::Bitrates
            | Self::PlayoutDelay => "RangeError",
            Self::ScalabilityMode => "OperationError",
        }
    }
}

/// What a transceiver sends, as the application has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sender {
    pub(super) encodings: Vec<EncodingParameters>,
    /// What the other side's description restricts the rate of each encoding to.
    pub(super) restricted: Vec<Option<Bitrate>>,
    /// Which encodings had a share when the target was last told.
    pub(super) running: Vec<bool>,
    /// `[[LastReturnedParameters]]`.
    returned: Option<RtpSendParameters>,
}

impl Sender {
    pub(super) fn of(encodings: Vec<EncodingParameters>) -> Self {
        Self {
            encodings,
            ..Self::default()
        }
    }
}

impl Peer {
    /// `addTransceiver` with its dictionary.
    ///
    /// # Errors
    /// `InvalidStateError` when closed; `TypeError` for a malformed stream id, and for RIDs that are
    /// malformed, missing or repeated; `RangeError` and `OperationError` for what no encoder does.
    pub fn add_transceiver_with(
        &mut self,
        kind: Kind,
        init: &TransceiverInit,
    ) -> Result<TransceiverId, ParametersError> {
        self.open()?;
        let mut encodings = init.send_encodings.clone();
        if kind == Kind::Audio {
            for encoding in &mut encodings {
                encoding.scale_resolution_down_by = None;
                encoding.max_framerate = None;
            }
        }
        check_ranges(&encodings)?;
        let formats = self.offered_formats(kind);
        check_modes(&encodings, &formats)?;
        let rids: Vec<Option<Rid>> = encodings
            .iter()
            .map(|own| own.rid.as_deref().map(Rid::from))
            .collect();
        let streams: Vec<&str> = init.streams.iter().map(String::as_str).collect();
        // Sound has one quality, whatever is asked for (W3C webrtc-pc §5.1).
        let shown = match kind {
            Kind::Audio => rids.get(..1).unwrap_or_default(),
            Kind::Video => &rids,
        };
        crate::negotiate::check_rids(&rids)?;
        let id =
            self.negotiator
                .add_simulcast_transceiver(kind, init.direction, &streams, shown)?;
        let active: Vec<bool> = encodings.iter().map(|own| own.active).collect();
        self.negotiator.set_active(id, &active);
        let count = self.send_encodings(id).len();
        encodings.truncate(count);
        if encodings.is_empty() {
            encodings.push(EncodingParameters::default());
        }
        set_scales(kind, &mut encodings);
        self.senders.insert(id, Sender::of(encodings));
        self.check_negotiation_needed();
        Ok(id)
    }

    /// `getParameters`. Until something changes them, the same ones come again.
    ///
    /// # Errors
    /// `InvalidStateError` when the transceiver is stopped.
    pub fn parameters(&mut self, id: TransceiverId) -> Result<RtpSendParameters, ParametersError> {
        let stopped = || NegotiateError::InvalidState(StateReason::TransceiverStopped);
        let kind = self.negotiator.transceiver(id).ok_or_else(stopped)?.kind();
        let returned = self.senders.get(&id).and_then(|own| own.returned.clone());
        if let Some(returned) = returned {
            return Ok(returned);
        }
        let media = self.negotiated(id);
        let codecs = media.map(|media| &media.codecs[..]).unwrap_or_default();
        let parameters = RtpSendParameters {
            encodings: self.encodings(id),
            header_extensions: media.map(|own| own.header_extensions()).unwrap_or_default(),
            rtcp: RtcpParameters {
                cname: self.cname(id),
                reduced_size: media.is_some_and(|own| own.rtcp_rsize),
            },
            codecs: codecs
                .iter()
                .map(|codec| CodecParameters {
                    payload_type: codec.payload_type_send.0,
                    mime_type: format!("{kind}/{}", codec.name),
                    clock_rate: codec.clock_rate,
                    channels: (kind == Kind::Audio).then_some(codec.channels),
                    sdp_fmtp_line: codec.fmtp_remote.clone(),
                })
                .collect(),
            transaction_id: self.random.ice_chars(16),
        };
        let encodings = parameters.encodings.clone();
        let sender = self.senders.entry(id).or_default();
        sender.encodings = encodings;
        sender.returned = Some(parameters.clone());
        Ok(parameters)
    }

    /// `setParameters`: what [`Self::parameters`] gave, with other values in its encodings.
    ///
    /// # Errors
    /// [`ParametersError`]; nothing has changed then.
    pub fn set_parameters(
        &mut self,
        id: TransceiverId,
        parameters: &RtpSendParameters,
    ) -> Result<(), ParametersError> {
        if self.is_closed() {
            return Err(NegotiateError::InvalidState(StateReason::Closed).into());
        }
        let transceiver = self.negotiator.transceiver(id);
        let live = transceiver.filter(|own| !own.is_stopping());
        let stopped = || NegotiateError::InvalidState(StateReason::TransceiverStopped);
        let kind = live.ok_or_else(stopped)?.kind();
        let returned = self.senders.get(&id).and_then(|own| own.returned.as_ref());
        let returned = returned.ok_or(ParametersError::NotReturned)?;
        check_read_only(returned, parameters)?;
        check_ranges(&parameters.encodings)?;
        let formats = match self.negotiated(id) {
            Some(media) => media.codecs.iter().map(format_of).collect(),
            None => self.offered_formats(kind),
        };
        check_modes(&parameters.encodings, &formats)?;
        let mut encodings = parameters.encodings.clone();
        set_scales(kind, &mut encodings);
        let active: Vec<bool> = encodings.iter().map(|own| own.active).collect();
        self.negotiator.set_active(id, &active);
        if let Some(sender) = self.senders.get_mut(&id) {
            sender.encodings = encodings;
            sender.returned = None;
        }
        self.tell_playout_delays(id);
        self.tell_codepoints();
        self.target_news = true;
        Ok(())
    }

    /// The encodings of a sender as they are: as the application set them, as far as the other side
    /// takes them.
    pub fn encodings(&self, id: TransceiverId) -> Vec<EncodingParameters> {
        let kind = self.negotiator.transceiver(id).map(|own| own.kind());
        let agreed = self.send_encodings(id);
        let stated = self.senders.get(&id).map(|own| &own.encodings[..]);
        fit(stated.unwrap_or_default(), agreed, kind)
    }

    /// Lets the streams of a sender state what the application set.
    fn tell_playout_delays(&mut self, id: TransceiverId) {
        let Some(mid) = self.negotiator.mid(id).cloned() else {
            return;
        };
        for own in self.encodings(id) {
            let rid = own.rid.as_deref();
            self.transport
                .rtp
                .set_playout_delay(&mid, rid, own.playout_delay);
        }
    }

    fn send_encodings(&self, id: TransceiverId) -> &[SendEncoding] {
        let transceiver = self.negotiator.transceiver(id);
        transceiver.map(|own| own.encodings()).unwrap_or_default()
    }

    fn offered_formats(&self, kind: Kind) -> Vec<crate::rtp::Format> {
        let config = self.negotiator.config();
        let codecs = match kind {
            Kind::Audio => &config.audio_codecs,
            Kind::Video => &config.video_codecs,
        };
        let names = codecs.iter().map(|codec| codec.name.as_str());
        names.map(super::media::format_named).collect()
    }

    /// Fits what senders were told to what was agreed: refused encodings go, new ones come.
    pub(super) fn apply_senders(&mut self, plans: &[MediaPlan]) {
        for plan in plans {
            let id = plan.transceiver;
            let encodings = self.encodings(id);
            let sender = self.senders.entry(id).or_default();
            let restriction = |own: &SendEncoding| own.restrictions.max_br.map(Bitrate::bps);
            sender.restricted = plan.encodings.iter().map(restriction).collect();
            sender.returned = None;
            sender.running.resize(encodings.len(), false);
            sender.encodings = encodings;
            self.tell_playout_delays(id);
        }
        let negotiator = &self.negotiator;
        self.senders
            .retain(|id, _| negotiator.transceiver(*id).is_some());
    }
}

/// The encodings that were agreed on, with what the application stated of those of the same name.
fn fit(
    stated: &[EncodingParameters],
    agreed: &[SendEncoding],
    kind: Option<Kind>,
) -> Vec<EncodingParameters> {
    let mut unnamed = stated.iter().find(|own| own.rid.is_none());
    let mut encodings: Vec<EncodingParameters> = agreed
        .iter()
        .map(|agreed| {
            let rid = agreed.rid.as_ref().map(Rid::as_str);
            let same = stated.iter().find(|own| own.rid.as_deref() == rid);
            let stated = same.or_else(|| unnamed.take());
            EncodingParameters {
                rid: rid.map(Into::into),
                active: agreed.active,
                ..stated.cloned().unwrap_or_default()
            }
        })
        .collect();
    set_scales(kind.unwrap_or(Kind::Audio), &mut encodings);
    encodings
}

/// W3C webrtc-pc §5.1: where no encoding says how much smaller it is, each is twice as wide as the
/// one before; else those that do not say are of full size.
pub(super) fn set_scales(kind: Kind, encodings: &mut [EncodingParameters]) {
    if kind != Kind::Video {
        return;
    }
    let none = encodings
        .iter()
        .all(|own| own.scale_resolution_down_by.is_none());
    for (above, encoding) in encodings.iter_mut().rev().enumerate() {
        let default = match none {
            true => f64::from(1u32 << above.min(31)),
            false => 1.0,
        };
        encoding.scale_resolution_down_by.get_or_insert(default);
    }
}

pub(super) fn check_ranges(encodings: &[EncodingParameters]) -> Result<(), ParametersError> {
    for own in encodings {
        if own
            .scale_resolution_down_by
            .is_some_and(|scale| scale.is_nan() || scale < 1.0)
        {
            return Err(ParametersError::ScaleResolutionDownBy);
        }
        if own
            .max_framerate
            .is_some_and(|rate| rate.is_nan() || rate < 0.0)
        {
            return Err(ParametersError::MaxFramerate);
        }
        let is_told =
            |bounds: PlayoutDelay| bounds.max <= PlayoutDelay::MAX && bounds.bounds().is_some();
        if own.playout_delay.is_some_and(|bounds| !is_told(bounds)) {
            return Err(ParametersError::PlayoutDelay);
        }
        if let (Some(min), Some(max)) = (own.min_bitrate, own.max_bitrate)
            && min > max
        {
            return Err(ParametersError::Bitrates);
        }
    }
    Ok(())
}

pub(super) fn check_modes(
    encodings: &[EncodingParameters],
    formats: &[crate::rtp::Format],
) -> Result<(), ParametersError> {
    let mut modes = encodings.iter().filter_map(|own| own.scalability_mode);
    let is_possible = |mode: ScalabilityMode| {
        let mut formats = formats.iter();
        formats.any(|format| mode.is_possible_with(*format))
    };
    match modes.all(is_possible) {
        true => Ok(()),
        false => Err(ParametersError::ScalabilityMode),
    }
}

/// W3C webrtc-pc §5.2.8, step 6.
fn check_read_only(
    returned: &RtpSendParameters,
    given: &RtpSendParameters,
) -> Result<(), ParametersError> {
    let rids = |own: &RtpSendParameters| -> Vec<Option<String>> {
        own.encodings.iter().map(|own| own.rid.clone()).collect()
    };
    let changed = if returned.transaction_id != given.transaction_id {
        "transactionId"
    } else if returned.encodings.len() != given.encodings.len() {
        "the number of encodings"
    } else if rids(returned) != rids(given) {
        "rid"
    } else if returned.codecs != given.codecs {
        "codecs"
    } else if returned.header_extensions != given.header_extensions {
        "headerExtensions"
    } else if returned.rtcp != given.rtcp {
        "rtcp"
    } else {
        return Ok(());
    };
    Err(ParametersError::ReadOnly(changed))
}
