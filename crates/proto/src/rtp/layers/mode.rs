//! Scalability modes (W3C webrtc-svc §6): which layers a stream has, and what they refer to.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use twocan_wire::rtp::DecodeTargetIndication as Indication;

use super::super::Format;

/// How the spatial layers of a stream depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterLayer {
    /// Every picture of a layer refers to that of the layer below: `L3T3`.
    Always,
    /// Only those of key pictures do: `L3T3_KEY`.
    KeyPictures,
    /// None does: `S3T3`.
    Never,
}

/// A scalability mode, such as `L1T2` or `L3T3_KEY`: `L` or `S` with 1 to 3 spatial layers, `T` with
/// 1 to 3 temporal ones.
///
/// The temporal layers of all modes are the dyadic ones: each picture refers to the newest of its
/// spatial layer that is of a lower temporal layer, those of the lowest to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScalabilityMode {
    spatial: u8,
    temporal: u8,
    /// Whether a spatial layer has 1.5 times the width of the one below, and not twice.
    narrow: bool,
    inter_layer: InterLayer,
}

/// A text is no scalability mode that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "OperationError: not a known scalability mode; L1T1 to L3T3, with h or _KEY, and S modes are"
)]
pub struct UnknownScalabilityMode;

/// Most spatial and temporal layers of a mode.
const LAYERS_MAX: u8 = 3;

impl ScalabilityMode {
    /// How many spatial layers, 1 to 3.
    pub const fn spatial_layers(self) -> u8 {
        self.spatial
    }

    /// How many temporal layers, 1 to 3.
    pub const fn temporal_layers(self) -> u8 {
        self.temporal
    }

    /// How its spatial layers depend on each other.
    pub const fn inter_layer(self) -> InterLayer {
        self.inter_layer
    }

    /// Whether frames of a format can be sent in this mode: those of VP9 and AV1 in any, those of
    /// VP8, H.264 and H.265 where there is one spatial layer, sound in none.
    pub const fn is_possible_with(self, format: Format) -> bool {
        match format {
            Format::Vp9 | Format::Av1 => true,
            Format::Vp8 | Format::H264(_) | Format::H265 => self.spatial == 1,
            Format::Whole | Format::L16(_) => false,
        }
    }

    /// By how much the layer above `spatial` is wider and higher: numerator and denominator.
    pub(in crate::rtp) const fn ratio(self) -> (u32, u32) {
        if self.narrow { (3, 2) } else { (2, 1) }
    }

    /// Whether a frame of layer `spatial` refers to the one below it in the same picture.
    pub(super) fn refers_down(self, spatial: u8, is_key: bool) -> bool {
        spatial > 0
            && match self.inter_layer {
                InterLayer::Always => true,
                InterLayer::KeyPictures => is_key,
                InterLayer::Never => false,
            }
    }

    /// Whether what shows layer `wanted` needs a frame of layer `spatial`.
    fn needs(self, wanted: u8, spatial: u8, is_key: bool) -> bool {
        spatial == wanted
            || spatial < wanted
                && match self.inter_layer {
                    InterLayer::Always => true,
                    InterLayer::KeyPictures => is_key,
                    InterLayer::Never => false,
                }
    }

    /// Whether a frame is part of the chain that protects a spatial layer: a receiver that has all
    /// of a chain can decode its layer.
    pub(super) fn is_in_chain(self, chain: u8, spatial: u8, temporal: u8, is_key: bool) -> bool {
        temporal == 0 && self.needs(chain, spatial, is_key)
    }

    /// What a frame is to each decode target: one for each spatial and temporal layer, by spatial
    /// and then by temporal layer.
    pub(super) fn indications(self, spatial: u8, temporal: u8, is_key: bool) -> Vec<Indication> {
        let targets = (0..self.spatial).flat_map(|s| (0..self.temporal).map(move |t| (s, t)));
        targets
            .map(|(wanted, rate)| {
                if temporal > rate || !self.needs(wanted, spatial, is_key) {
                    Indication::NotPresent
                } else if wanted > spatial {
                    // Later pictures of the upper layer refer to earlier ones of it as well.
                    if is_key {
                        Indication::Switch
                    } else {
                        Indication::Required
                    }
                } else if temporal > 0 && temporal == rate {
                    Indication::Discardable
                } else {
                    Indication::Switch
                }
            })
            .collect()
    }
}

impl FromStr for ScalabilityMode {
    type Err = UnknownScalabilityMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let layer = |byte: u8| {
            let count = byte.wrapping_sub(b'0');
            (1..=LAYERS_MAX).contains(&count).then_some(count)
        };
        let [kind, spatial, b'T', temporal, rest @ ..] = text.as_bytes() else {
            return Err(UnknownScalabilityMode);
        };
        let (narrow, inter_layer) = match (kind, rest) {
            (b'L', b"") => (false, InterLayer::Always),
            (b'L', b"h") => (true, InterLayer::Always),
            (b'L', b"_KEY") => (false, InterLayer::KeyPictures),
            (b'S', b"") => (false, InterLayer::Never),
            (b'S', b"h") => (true, InterLayer::Never),
            _ => return Err(UnknownScalabilityMode),
        };
        let layers = layer(*spatial).zip(layer(*temporal));
        let (spatial, temporal) = layers.ok_or(UnknownScalabilityMode)?;
        let is_plain = !narrow && inter_layer == InterLayer::Always;
        match spatial == 1 && !is_plain {
            true => Err(UnknownScalabilityMode),
            false => Ok(Self {
                spatial,
                temporal,
                narrow,
                inter_layer,
            }),
        }
    }
}

impl fmt::Display for ScalabilityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = match self.inter_layer {
            InterLayer::Always => ('L', ""),
            InterLayer::KeyPictures => ('L', "_KEY"),
            InterLayer::Never => ('S', ""),
        };
        let narrow = if self.narrow { "h" } else { "" };
        write!(f, "{kind}{}T{}{narrow}{key}", self.spatial, self.temporal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_webrtc_svc_are_read_and_written() {
        for text in [
            "L1T1", "L1T2", "L1T3", "L2T1", "L2T1h", "L2T1_KEY", "L2T2", "L2T2_KEY", "L3T3",
            "L3T3h", "L3T3_KEY", "S2T1", "S3T3h",
        ] {
            let mode: ScalabilityMode = text.parse().unwrap();
            assert_eq!(mode.to_string(), text);
        }
        for text in [
            "",
            "L",
            "L1T4",
            "L4T1",
            "L0T1",
            "L1T1h",
            "L1T2_KEY",
            "S1T1",
            "L2T2_KEY_SHIFT",
            "L2T2H",
            "l1t2",
            "L2T2_KEYh",
            "L1T1 ",
        ] {
            let read: Result<ScalabilityMode, _> = text.parse();
            assert_eq!(read, Err(UnknownScalabilityMode), "{text}");
        }
    }

    #[test]
    fn spatial_layers_need_a_format_that_has_them() {
        let one: ScalabilityMode = "L1T3".parse().unwrap();
        let two: ScalabilityMode = "L2T1".parse().unwrap();
        assert!(one.is_possible_with(Format::Vp8) && !two.is_possible_with(Format::Vp8));
        assert!(two.is_possible_with(Format::Vp9) && two.is_possible_with(Format::Av1));
        assert!(!one.is_possible_with(Format::Whole));
    }
}
