//! Somebody whose pictures have layers within one stream.

use twocan_proto::negotiate::{CodecPreference, TransceiverId, default_video_codecs};
use twocan_proto::peer::{self, Peer};
use twocan_proto::rtp::{Frame, FrameLayer, OutgoingFrame, PictureProperties, ScalabilityMode};
use twocan_room::forward::VideoCodecs;
use twocan_sim::LinkConfig;
use twocan_wire::rtp::{ExtensionKind, Resolution};

use super::{Conference, QUALITIES, SOUND_LEN, picture};

/// Pictures of one stream with layers.
#[derive(Debug, Clone, Copy)]
pub struct Layered {
    /// The codec that is preferred.
    pub codec: &'static str,
    /// Which layers.
    pub mode: ScalabilityMode,
    /// Whether packets carry the dependency descriptor.
    pub is_described: bool,
}

impl Layered {
    /// Puts its codec before the others of a line.
    pub(super) fn prefer(&self, peer: &mut Peer, line: TransceiverId) {
        let all = default_video_codecs();
        let (mut preferred, others): (Vec<_>, Vec<_>) = all
            .iter()
            .partition(|own| own.name.eq_ignore_ascii_case(self.codec));
        preferred.extend(others);
        let preferences = preferred.into_iter().map(|own| CodecPreference {
            name: own.name.clone(),
            clock_rate: own.clock_rate,
            channels: own.channels,
            fmtp: own.fmtp.clone(),
        });
        let rtx = CodecPreference {
            name: "rtx".into(),
            clock_rate: 90_000,
            channels: 1,
            fmtp: String::new(),
        };
        let preferences = preferences.chain([rtx]).collect();
        let set = peer.set_codec_preferences(line, preferences);
        assert!(set.is_ok(), "{set:?}");
        if !self.is_described {
            let without = vec![(ExtensionKind::DependencyDescriptor, None)];
            let set = peer.set_header_extensions(line, without);
            assert!(set.is_ok(), "{set:?}");
        }
    }
}

impl Conference {
    /// The operator says which codecs for pictures are passed on, the preferred one first.
    pub fn set_video_codecs(&mut self, names: &[&str]) {
        let codecs = VideoCodecs::new(names.iter().copied());
        self.server(|server, _| server.set_video_codecs("room", codecs));
    }

    /// Somebody comes whose pictures have layers within their stream.
    pub fn join_layered(&mut self, link: LinkConfig, layered: Layered) -> usize {
        self.join_as(link, None, true, Some(layered))
    }

    /// Somebody comes who sends, with a peer of its own settings.
    pub fn join_with(&mut self, link: LinkConfig, adjust: impl FnOnce(&mut peer::Config)) -> usize {
        let index = self.arrive_as((link, None), true, None, adjust);
        self.offer(index);
        index
    }

    /// Somebody comes who only looks on, with a peer of its own settings.
    pub fn look_on(&mut self, link: LinkConfig, adjust: impl FnOnce(&mut peer::Config)) -> usize {
        let index = self.arrive_as((link, None), false, None, adjust);
        self.offer(index);
        index
    }

    /// A picture in layers, in the codec that is agreed on.
    pub(super) fn send_layers(
        &mut self,
        index: usize,
        line: TransceiverId,
        number: u32,
        mode: ScalabilityMode,
    ) {
        let [is_key, ..] = self.attendees[index].key_wanted;
        let layers = self.attendees[index].layers.iter();
        let made = layers.take_while(|own| **own).count() as u8;
        let is_sent = self.peer_mut(index, |peer, now| {
            let target = peer.encoding_targets(line).unwrap_or_default();
            let target = target.first().map_or(0, |own| own.bitrate.as_bps());
            let codec = peer.negotiated(line).and_then(|media| media.codecs.first());
            let Some((payload_type, name)) = codec.map(|own| (own.payload_type_send, &own.name))
            else {
                return false;
            };
            let is_av1 = name.eq_ignore_ascii_case("AV1");
            let is_layered = is_av1 || name.eq_ignore_ascii_case("VP9");
            let temporal = match (is_key, number % 4) {
                (true, _) | (_, 0) => 0,
                (_, 2) => 1,
                _ => 2,
            };
            let spatial_layers = if is_layered {
                mode.spatial_layers().min(made)
            } else {
                1
            };
            let mut is_sent = true;
            for spatial in 0..spatial_layers {
                let (_, most) = QUALITIES[usize::from(spatial)];
                let share = most.min(target * most / 2_350_000);
                let len = (share as f64 / 30.0 / 8.0) as usize;
                let len = if is_key { 4 * len } else { len };
                // So that it is not taken for a sound.
                let len = if len < 2 * SOUND_LEN { 30 } else { len };
                let mut data = picture(is_key, usize::from(spatial), index, number, len);
                // Those of one picture come one after another.
                let marks: Vec<u8> = data[10..16].to_vec();
                data.extend(marks);
                let layer = FrameLayer {
                    mode,
                    spatial,
                    temporal: temporal.min(mode.temporal_layers() - 1),
                    key_picture: is_key,
                    last_of_picture: spatial + 1 == spatial_layers,
                };
                if is_av1 {
                    data = temporal_unit(&layer, &data);
                } else if is_layered {
                    // The first bits of a frame of VP9.
                    data[0] = if is_key && spatial == 0 { 0x82 } else { 0x86 };
                }
                let frame = OutgoingFrame {
                    rid: None,
                    payload_type,
                    timestamp: number.wrapping_mul(3000),
                    marker: false,
                    data: &data,
                    audio_level: None,
                    layer: is_layered.then_some(layer),
                    resolution: Some(Resolution {
                        width: 320,
                        height: 180,
                    }),
                    picture: PictureProperties::default(),
                    times: twocan_proto::rtp::FrameTimes::default(),
                    contributing: &[],
                };
                is_sent &= peer.send_frame(now, line, &frame).is_ok();
            }
            is_sent
        });
        self.attendees[index].key_wanted[0] = is_key && !is_sent;
    }
}

/// A picture as a layer of AV1: a sequence header where all begins, else metadata, of as many bytes as
/// stand before the marks of a picture, and which repeat them; then a frame.
fn temporal_unit(layer: &FrameLayer, picture: &[u8]) -> Vec<u8> {
    let begins = layer.key_picture && layer.spatial == 0;
    let layers = layer.temporal << 5 | layer.spatial << 3;
    let mut unit = match begins {
        true => vec![0x0a, 14],
        false => vec![0x2e, layers, 13],
    };
    unit.resize(10, 0);
    unit.extend_from_slice(&picture[10..16]);
    unit.extend([0x36, layers]);
    let mut len = 1 + picture.len();
    while len >= 0x80 {
        unit.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    unit.push(len as u8);
    // `frame_type` and `show_frame`.
    unit.push(if begins { 0x10 } else { 0x30 });
    unit.extend_from_slice(picture);
    unit
}

/// The same of a picture in layers: the quality is the highest spatial layer that came.
pub fn layer_marks(frame: &Frame) -> (usize, u32) {
    let marks: Option<&[u8; 6]> = frame.data.last_chunk();
    marks.map_or((0, 0), |[layer, number @ .., _]| {
        (usize::from(*layer), u32::from_be_bytes(*number))
    })
}
