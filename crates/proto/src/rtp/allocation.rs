//! What a sender tells forwarders of all layers of a section: video layers allocation.
//!
//! It travels with key frames, and with the next frame of a stream once shares or sizes have changed.

use twocan_wire::payload::{av1, h264, h265, vp8, vp9};
use twocan_wire::rtp::{ExtensionKind, LayerResolution, Resolution};
use twocan_wire::rtp::{SpatialLayer, VideoLayersAllocation};
use twocan_wire::units::Bitrate;

use super::layers::{self, ScalabilityMode};
use super::{Format, Media, OutgoingFrame};

/// What a stream is to be encoded at, as forwarders are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncodingRate {
    /// Of all its layers; 0 while it rests.
    pub bitrate: Bitrate,
    /// Its layers.
    pub mode: Option<ScalabilityMode>,
    /// At most so many frames a second; `None` where the application does not say.
    pub max_framerate: Option<f64>,
}

/// Taken for the frame rate of an application that does not say.
const FRAME_RATE_DEFAULT: f64 = 30.0;

/// The part of the rate up to each temporal layer, as libwebrtc has it.
const TEMPORAL_PARTS: [&[f64]; 3] = [&[1.0], &[0.6, 1.0], &[0.4, 0.6, 1.0]];

/// How the rate of a spatial layer grows with its width.
const WIDTH_EXPONENT: f64 = 1.8;

/// The rates of a section, and which of them its streams have told.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Allocation {
    rates: Vec<EncodingRate>,
    /// Of each stream, the size that was sent last.
    sizes: Vec<Option<Resolution>>,
    /// Of each stream, whether it has told what is here.
    told: Vec<bool>,
}

impl Allocation {
    /// Takes new rates, one of each stream.
    pub(super) fn set_rates(&mut self, rates: Vec<EncodingRate>) {
        if self.rates != rates {
            self.sizes.resize(rates.len(), None);
            self.told = vec![false; rates.len()];
            self.rates = rates;
        }
    }

    /// The value for the first packet of a frame of the stream at `index`; empty where nothing is to
    /// be told.
    pub(super) fn value(
        &mut self,
        media: &Media,
        index: usize,
        frame: &OutgoingFrame<'_>,
    ) -> Vec<u8> {
        let id = ExtensionKind::VideoLayersAllocation;
        if media.extensions_send.id(id).is_none() || index >= self.rates.len() {
            return Vec::new();
        }
        let size = self.sizes.get_mut(index);
        if let (Some(size), Some(resolution)) = (size, frame.resolution)
            && *size != Some(resolution)
        {
            *size = Some(resolution);
            self.told.fill(false);
        }
        let Some(told) = self.told.get_mut(index) else {
            return Vec::new();
        };
        // Only what begins a picture tells; upper spatial layers travel with it.
        let begins = frame.layer.is_none_or(|layer| layer.spatial == 0);
        if !begins || (std::mem::replace(told, true) && !is_key_frame(media, frame)) {
            return Vec::new();
        }
        let mut value = Vec::new();
        // What cannot be described is left out: forwarders measure.
        let written = self.describe(index).map(|own| own.write(&mut value));
        match written {
            Some(Ok(())) => value,
            Some(Err(_)) | None => Vec::new(),
        }
    }

    fn describe(&self, index: usize) -> Option<VideoLayersAllocation> {
        let mut all = Vec::new();
        for (stream, (rate, size)) in (0u8..).zip(self.rates.iter().zip(&self.sizes)) {
            if rate.bitrate.as_bps() > 0 {
                all.extend(spatial_layers(stream, rate, *size));
            }
        }
        // Of all layers or of none.
        if !all.iter().all(|layer| layer.resolution.is_some()) {
            all.iter_mut().for_each(|layer| layer.resolution = None);
        }
        Some(VideoLayersAllocation {
            stream: u8::try_from(index).ok()?,
            stream_count: u8::try_from(self.rates.len()).ok()?,
            layers: all,
        })
    }
}

fn spatial_layers(
    stream: u8,
    rate: &EncodingRate,
    lowest: Option<Resolution>,
) -> Vec<SpatialLayer> {
    let count = rate.mode.map_or(1, ScalabilityMode::spatial_layers);
    let temporal = rate.mode.map_or(1, ScalabilityMode::temporal_layers);
    let ratio = rate.mode.map_or(1.0, |mode| {
        let (numerator, denominator) = mode.ratio();
        f64::from(numerator) / f64::from(denominator)
    });
    let weights: Vec<f64> = (0..count)
        .map(|spatial| ratio.powf(WIDTH_EXPONENT * f64::from(spatial)))
        .collect();
    let total: f64 = weights.iter().sum();
    let sizes = match (rate.mode, lowest) {
        (Some(mode), Some(lowest)) => layers::resolutions(mode, lowest),
        (None, Some(lowest)) => vec![lowest],
        (_, None) => Vec::new(),
    };
    let frame_rate = rate.max_framerate.unwrap_or(FRAME_RATE_DEFAULT);
    let parts = TEMPORAL_PARTS[usize::from(temporal.clamp(1, 3)) - 1];
    let layers = (0..count).zip(weights).map(|(spatial, weight)| {
        let own = rate.bitrate.as_bps() as f64 * weight / total;
        let resolution = sizes.get(usize::from(spatial)).map(|size| LayerResolution {
            width: size.width.clamp(1, 1 << 16),
            height: size.height.clamp(1, 1 << 16),
            // A count that cannot be told is told as the most or the least that can.
            frame_rate: frame_rate.ceil().clamp(1.0, 255.0) as u8,
        });
        SpatialLayer {
            stream,
            spatial,
            bitrates: parts
                .iter()
                .map(|part| Bitrate::bps((own * part) as u64))
                .collect(),
            resolution,
        }
    });
    layers.collect()
}

/// Whether a frame begins a key picture, as far as that can be told.
fn is_key_frame(media: &Media, frame: &OutgoingFrame<'_>) -> bool {
    if let Some(layer) = frame.layer {
        return layer.key_picture;
    }
    let mut codecs = media.codecs.iter();
    let codec = codecs.find(|codec| codec.payload_type_send == frame.payload_type);
    match codec.map(|codec| codec.format) {
        Some(Format::Vp8) => vp8::is_key_frame(frame.data),
        Some(Format::Vp9) => vp9::is_key_frame(frame.data),
        Some(Format::H264(_)) => h264::is_key_frame(frame.data),
        Some(Format::H265) => h265::is_key_frame(frame.data),
        Some(Format::Av1) => av1::is_key_frame(frame.data),
        Some(Format::Whole | Format::L16(_)) | None => false,
    }
}
