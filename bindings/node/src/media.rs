//! Transceivers, their parameters, and encoded frames.

use napi::bindgen_prelude::Buffer;
use napi::{Error, Result, Status};
use napi_derive::napi;
use twocan::{
    AudioLevel, Bitrate, CodecPreference, EncodedFrame, EncodingParameters, EncodingPriority,
    HeaderExtension, OutgoingPacket, RtpCapabilities, RtpSendParameters,
};

use crate::connection::NativeConnection;
use crate::dictionaries::{
    CapabilitiesState, CodecState, EncodingState, ExtensionState, ParametersState, to_direction,
    to_kind,
};
use crate::events::NativeEvent;
use crate::{refused, runtime};

/// `getCapabilities` of senders and receivers.
#[napi]
pub fn capabilities(kind: String) -> Result<CapabilitiesState> {
    let kind = to_kind(&kind)?;
    let own = RtpCapabilities::of(kind);
    let codecs = own.codecs.into_iter();
    let extension = |uri: &str, direction: &str| ExtensionState {
        uri: uri.to_owned(),
        id: None,
        direction: Some(direction.to_owned()),
    };
    let usual = own.header_extensions.iter();
    let usual = usual.map(|uri| extension(uri, "sendrecv"));
    let stopped = own.stopped_header_extensions.iter();
    let stopped = stopped.map(|uri| extension(uri, "stopped"));
    Ok(CapabilitiesState {
        codecs: codecs
            .map(|codec| CodecState {
                mime_type: format!("{kind}/{}", codec.name),
                clock_rate: codec.clock_rate,
                channels: (kind == twocan::Kind::Audio).then_some(codec.channels),
                sdp_fmtp_line: Some(codec.fmtp).filter(|text| !text.is_empty()),
                payload_type: None,
            })
            .collect(),
        header_extensions: usual.chain(stopped).collect(),
    })
}

#[napi]
impl NativeConnection {
    /// Sets `direction`.
    #[napi]
    pub fn set_direction(&self, id: u32, direction: String) -> Result<()> {
        let direction = to_direction(&direction)?;
        let done = self.transceiver(id)?.set_direction(direction);
        done.map_err(|error| refused(&error))
    }

    /// `stop`.
    #[napi]
    pub fn stop_transceiver(&self, id: u32) -> Result<()> {
        let done = self.transceiver(id)?.stop();
        done.map_err(|error| refused(&error))
    }

    /// `removeTrack`.
    #[napi]
    pub fn remove_track(&self, id: u32) -> Result<()> {
        let done = self.transceiver(id)?.remove_track();
        done.map_err(|error| refused(&error))
    }

    /// `replaceTrack`: whether there is a track.
    #[napi]
    pub fn set_has_track(&self, id: u32, has: bool) -> Result<()> {
        let done = self.transceiver(id)?.set_has_track(has);
        done.map_err(|error| refused(&error))
    }

    /// `setStreams`.
    #[napi]
    pub fn set_streams(&self, id: u32, streams: Vec<String>) -> Result<()> {
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let done = self.transceiver(id)?.set_streams(&streams);
        done.map_err(|error| refused(&error))
    }

    /// `setCodecPreferences`.
    #[napi]
    pub fn set_codec_preferences(&self, id: u32, codecs: Vec<CodecState>) -> Result<()> {
        let preferences = codecs.into_iter().map(|codec| {
            let name = codec.mime_type.split('/').next_back().unwrap_or_default();
            CodecPreference {
                name: name.to_owned(),
                clock_rate: codec.clock_rate,
                channels: codec.channels.unwrap_or(1),
                fmtp: codec.sdp_fmtp_line.unwrap_or_default(),
            }
        });
        let done = self
            .transceiver(id)?
            .set_codec_preferences(preferences.collect());
        done.map_err(|error| refused(&error))
    }

    /// `setHeaderExtensionsToNegotiate`: all extensions whose direction is not the usual one.
    #[napi]
    pub fn set_header_extensions(&self, id: u32, stated: Vec<ExtensionState>) -> Result<()> {
        let mut extensions = Vec::new();
        for own in stated {
            let Some(extension) = HeaderExtension::from_uri(&own.uri) else {
                continue;
            };
            let direction = match own.direction.as_deref() {
                None | Some("stopped") => None,
                Some(direction) => Some(to_direction(direction)?),
            };
            extensions.push((extension, direction));
        }
        let done = self.transceiver(id)?.set_header_extensions(extensions);
        done.map_err(|error| refused(&error))
    }

    /// `getParameters` of the sender.
    #[napi]
    pub fn parameters(&self, id: u32) -> Result<ParametersState> {
        let got = self.transceiver(id)?.sender().get_parameters();
        Ok(from_parameters(got.map_err(|error| refused(&error))?))
    }

    /// `setParameters` of the sender: what `parameters` gave, with other values in its encodings.
    #[napi]
    pub fn set_parameters(
        &self,
        id: u32,
        transaction: String,
        encodings: Vec<EncodingState>,
    ) -> Result<()> {
        let sender = self.transceiver(id)?.sender();
        let got = sender.get_parameters().map_err(|error| refused(&error))?;
        if got.transaction_id != transaction {
            let text = "InvalidModificationError||the transactionId is not that of getParameters";
            return Err(Error::new(Status::GenericFailure, text));
        }
        let mut own = Vec::new();
        for encoding in encodings {
            own.push(to_encoding(encoding)?);
        }
        let parameters = RtpSendParameters {
            encodings: own,
            ..got
        };
        let done = sender.set_parameters(&parameters);
        done.map_err(|error| refused(&error))
    }

    /// The codecs agreed on for a transceiver.
    #[napi]
    pub fn codecs(&self, id: u32) -> Result<Vec<CodecState>> {
        let transceiver = self.transceiver(id)?;
        let Some(kind) = transceiver.kind() else {
            return Ok(Vec::new());
        };
        let codecs = transceiver.codecs().into_iter();
        Ok(codecs
            .map(|codec| CodecState {
                mime_type: format!("{kind}/{}", codec.name),
                clock_rate: codec.clock_rate,
                channels: (kind == twocan::Kind::Audio).then_some(codec.channels),
                sdp_fmtp_line: Some(codec.fmtp).filter(|text| !text.is_empty()),
                payload_type: None,
            })
            .collect())
    }

    /// Sends an encoded frame.
    #[napi]
    pub fn send_frame(
        &self,
        id: u32,
        codec: String,
        timestamp: u32,
        data: Buffer,
        rid: Option<String>,
        audio_level: Option<u8>,
    ) -> Result<()> {
        let frame = EncodedFrame {
            audio_level: audio_level.map(|level| AudioLevel {
                voice: false,
                level: level.min(127),
            }),
            rid: rid.as_deref(),
            codec: &codec,
            timestamp,
            data: &data,
            ..EncodedFrame::default()
        };
        let done = self.transceiver(id)?.sender().send_frame(frame);
        done.map_err(|error| refused(&error))
    }

    /// Lets the encoded frames that arrive come as events, until the other side stops sending.
    #[napi]
    pub fn read_frames(&self, id: u32) -> Result<()> {
        let receiver = self.transceiver(id)?.receiver();
        let outbox = self.outbox.clone();
        runtime()?.spawn(async move {
            while let Some(frame) = receiver.next_frame().await {
                let contributing = frame.contributing.iter();
                let contributing = contributing.map(|own| own.ssrc.0).collect::<Vec<u32>>();
                let levels = frame.contributing.iter().map(|own| own.level);
                let levels: Option<Vec<u8>> = levels.collect();
                let levels = levels.unwrap_or_default();
                let event = NativeEvent {
                    kind: "frame".to_owned(),
                    handle: Some(id),
                    codec: Some(frame.codec),
                    timestamp: Some(frame.timestamp),
                    sequence_number: Some(frame.sequence_number),
                    key_frame: Some(frame.key_frame),
                    text: frame.rid,
                    ssrc: Some(frame.ssrc),
                    clock_rate: Some(frame.clock_rate),
                    contributing: Some(contributing).filter(|own| !own.is_empty()),
                    contributing_levels: Some(levels).filter(|own| !own.is_empty()),
                    audio_level: frame.audio_level.map(|own| own.level),
                    captured_at: frame.captured_at.map(|own| own.as_secs_f64() * 1000.0),
                    waited: Some(frame.received_at.elapsed().as_secs_f64() * 1000.0),
                    data: Some(frame.data.into()),
                    ..NativeEvent::default()
                };
                if !outbox.put(event).await {
                    return;
                }
            }
            let end = NativeEvent {
                kind: "frames-end".to_owned(),
                handle: Some(id),
                ..NativeEvent::default()
            };
            outbox.put(end).await;
        });
        Ok(())
    }

    /// Lets wishes of the other side for key frames come as events, until the connection ends.
    #[napi]
    pub fn watch_key_frames(&self, id: u32) -> Result<()> {
        let sender = self.transceiver(id)?.sender();
        let outbox = self.outbox.clone();
        runtime()?.spawn(async move {
            while let Some(wanted) = sender.next_key_frame_request().await {
                let event = NativeEvent {
                    kind: "key-frame-wanted".to_owned(),
                    handle: Some(id),
                    text: wanted.rid,
                    ..NativeEvent::default()
                };
                if !outbox.put(event).await {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Sends the payload of one packet, such as a piece of a tone (RFC 4733).
    #[napi]
    pub fn send_packet(
        &self,
        id: u32,
        codec: String,
        timestamp: u32,
        marker: bool,
        payload: Buffer,
    ) -> Result<()> {
        let packet = OutgoingPacket {
            codec: &codec,
            timestamp,
            marker,
            payload: &payload,
            ..OutgoingPacket::default()
        };
        let done = self.transceiver(id)?.sender().send_packet(packet);
        done.map_err(|error| refused(&error))
    }

    /// Asks the other side for a key frame.
    #[napi]
    pub fn request_key_frame(&self, id: u32) -> Result<()> {
        self.transceiver(id)?.receiver().request_key_frame();
        Ok(())
    }
}

pub(crate) fn to_encoding(own: EncodingState) -> Result<EncodingParameters> {
    let scalability_mode = match own.scalability_mode {
        Some(text) => Some(text.parse().map_err(|_| {
            let text = "OperationError||no codec has this scalabilityMode";
            Error::new(Status::GenericFailure, text)
        })?),
        None => None,
    };
    Ok(EncodingParameters {
        rid: own.rid,
        active: own.active,
        max_bitrate: own.max_bitrate.map(|rate| Bitrate::bps(rate as u64)),
        max_framerate: own.max_framerate,
        scale_resolution_down_by: own.scale_resolution_down_by,
        scalability_mode,
        priority: to_priority(&own.priority),
        network_priority: own.network_priority.as_deref().map(to_priority),
        ..EncodingParameters::default()
    })
}

fn from_encoding(own: EncodingParameters) -> EncodingState {
    EncodingState {
        rid: own.rid,
        active: own.active,
        max_bitrate: own.max_bitrate.map(|rate| rate.as_bps() as f64),
        max_framerate: own.max_framerate,
        scale_resolution_down_by: own.scale_resolution_down_by,
        scalability_mode: own.scalability_mode.map(|mode| mode.to_string()),
        priority: from_priority(own.priority).to_owned(),
        network_priority: own
            .network_priority
            .map(|own| from_priority(own).to_owned()),
    }
}

fn to_priority(text: &str) -> EncodingPriority {
    match text {
        "very-low" => EncodingPriority::VeryLow,
        "medium" => EncodingPriority::Medium,
        "high" => EncodingPriority::High,
        _ => EncodingPriority::Low,
    }
}

fn from_priority(own: EncodingPriority) -> &'static str {
    match own {
        EncodingPriority::VeryLow => "very-low",
        EncodingPriority::Low => "low",
        EncodingPriority::Medium => "medium",
        EncodingPriority::High => "high",
    }
}

fn from_parameters(own: RtpSendParameters) -> ParametersState {
    ParametersState {
        transaction_id: own.transaction_id,
        encodings: own.encodings.into_iter().map(from_encoding).collect(),
        header_extensions: own
            .header_extensions
            .into_iter()
            .map(|extension| ExtensionState {
                uri: extension.uri,
                id: Some(extension.id),
                direction: None,
            })
            .collect(),
        cname: own.rtcp.cname,
        reduced_size: own.rtcp.reduced_size,
        codecs: own
            .codecs
            .into_iter()
            .map(|codec| CodecState {
                mime_type: codec.mime_type,
                clock_rate: codec.clock_rate,
                channels: codec.channels,
                sdp_fmtp_line: Some(codec.sdp_fmtp_line).filter(|text| !text.is_empty()),
                payload_type: Some(codec.payload_type),
            })
            .collect(),
    }
}
