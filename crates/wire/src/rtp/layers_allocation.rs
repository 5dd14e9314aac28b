//! Which layers a sender has, and the rate that each needs
//! (<http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00>).
//!
//! ```text
//! |RID| NS| sl_bm |  the stream of this packet, streams less 1, spatial layers of all streams
//! |sl0_bm |sl1_bm |  of each stream, if not the same for all; two bytes for three and more
//! |#tl|#tl|#tl|#tl|  temporal layers less 1, of each spatial layer of each stream
//! | target bitrate  of each temporal layer in kbit/s, in LEB128
//! | width - 1, height - 1 (16 bits each), frames/s (8 bits), of each spatial layer, or of none
//! ```

use thiserror::Error;

use crate::bits::{BitReader, BitWriter, leb128, write_leb128};
use crate::reader::{Reader, TooShort};
use crate::units::Bitrate;

/// Most streams, spatial layers of a stream, and temporal layers of a spatial one.
pub const LAYERS_MAX: usize = 4;

/// Why an allocation cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AllocationError {
    /// It ends inside of a field.
    #[error("allocation ends inside of a field")]
    TooShort,
    /// Bytes are left over that are not the resolutions of all layers.
    #[error("allocation has resolutions of some of its layers only")]
    BadResolutions,
    /// Streams or layers beyond the range of their fields, layers not in order, or rates beyond
    /// 32 bits of kbit/s.
    #[error("allocation of layers that cannot be described")]
    BadLayers,
}

impl From<TooShort> for AllocationError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// All layers that are sent at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoLayersAllocation {
    /// Which simulcast stream carries this, from 0 and below `stream_count`.
    pub stream: u8,
    /// How many streams, 1 to 4.
    pub stream_count: u8,
    /// The layers, by stream and then by spatial layer.
    pub layers: Vec<SpatialLayer>,
}

/// One spatial layer of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpatialLayer {
    /// The stream, from 0.
    pub stream: u8,
    /// The spatial layer, 0 to 3.
    pub spatial: u8,
    /// The rate that each temporal layer needs, those below included: 1 to 4 of them. Written in
    /// whole kbit/s.
    pub bitrates: Vec<Bitrate>,
    /// Size and frame rate; of all layers or of none.
    pub resolution: Option<LayerResolution>,
}

/// Size and frame rate of a spatial layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerResolution {
    /// In pixels, 1 to 65536.
    pub width: u32,
    /// In pixels, 1 to 65536.
    pub height: u32,
    /// At most so many frames a second.
    pub frame_rate: u8,
}

impl VideoLayersAllocation {
    /// Reads the value of the extension.
    ///
    /// # Errors
    /// [`AllocationError`].
    pub fn parse(value: &[u8]) -> Result<Self, AllocationError> {
        let mut reader = Reader::new(value);
        let head = reader.u8()?;
        let stream_count = (head >> 4 & 3).saturating_add(1);
        let mut own = Self {
            stream: head >> 6,
            stream_count,
            layers: Vec::new(),
        };
        if own.stream >= stream_count {
            return Err(AllocationError::BadLayers);
        }
        if value == [0] {
            return Ok(own);
        }
        let masks = match head & 0x0f {
            0 => {
                let [a, b] = [
                    reader.u8()?,
                    if stream_count > 2 { reader.u8()? } else { 0 },
                ];
                [a >> 4, a & 0x0f, b >> 4, b & 0x0f]
            }
            same => [same; LAYERS_MAX],
        };
        for (stream, mask) in (0..stream_count).zip(masks) {
            let layers = (0..4u8).filter(|spatial| mask >> spatial & 1 == 1);
            own.layers.extend(layers.map(|spatial| SpatialLayer {
                stream,
                spatial,
                bitrates: Vec::new(),
                resolution: None,
            }));
        }
        let mut counts = BitReader::new(reader.take(own.layers.len().div_ceil(4))?);
        for layer in &mut own.layers {
            for _ in 0..=counts.bits(2)? {
                let kbps = leb128(&mut reader)?.ok_or(AllocationError::BadLayers)?;
                layer.bitrates.push(Bitrate::kbps(u64::from(kbps)));
            }
        }
        if reader.is_empty() {
            return Ok(own);
        }
        if reader.len() != own.layers.len().saturating_mul(5) {
            return Err(AllocationError::BadResolutions);
        }
        for layer in &mut own.layers {
            layer.resolution = Some(LayerResolution {
                width: u32::from(reader.u16()?).saturating_add(1),
                height: u32::from(reader.u16()?).saturating_add(1),
                frame_rate: reader.u8()?,
            });
        }
        Ok(own)
    }

    /// Appends the value of the extension: at most 3 bytes, 1 more for every four layers, 5 for
    /// every rate and 5 for every resolution, and often more than a one-byte element can hold.
    ///
    /// # Errors
    /// [`AllocationError::BadLayers`], and [`AllocationError::BadResolutions`] when some layers have
    /// one and others have not; nothing is written then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), AllocationError> {
        let masks = self.masks()?;
        let last = self.stream_count.saturating_sub(1);
        let head = self.stream << 6 | last << 4;
        if self.layers.is_empty() && head == 0 {
            out.push(0);
            return Ok(());
        }
        let [first, second, third, fourth] = masks;
        let mut used = masks.iter().take(usize::from(self.stream_count));
        if first != 0 && used.all(|mask| *mask == first) {
            out.push(head | first);
        } else {
            out.extend([head, first << 4 | second]);
            if self.stream_count > 2 {
                out.push(third << 4 | fourth);
            }
        }
        let mut counts = BitWriter::new(out);
        for layer in &self.layers {
            let count = u32::try_from(layer.bitrates.len()).unwrap_or(1);
            counts.bits(count.saturating_sub(1), 2);
        }
        for bitrate in self.layers.iter().flat_map(|layer| &layer.bitrates) {
            write_leb128(kbps(*bitrate).unwrap_or(u32::MAX), out);
        }
        for resolution in self.layers.iter().filter_map(|layer| layer.resolution) {
            for size in [resolution.width, resolution.height] {
                let size = u16::try_from(size.saturating_sub(1)).unwrap_or(u16::MAX);
                out.extend(size.to_be_bytes());
            }
            out.push(resolution.frame_rate);
        }
        Ok(())
    }

    /// The spatial layers of each stream as bits, once everything is known to fit its field.
    fn masks(&self) -> Result<[u8; LAYERS_MAX], AllocationError> {
        let is_sound = |layer: &SpatialLayer| {
            layer.stream < self.stream_count
                && layer.spatial < 4
                && (1..=LAYERS_MAX).contains(&layer.bitrates.len())
                && layer.bitrates.iter().all(|rate| kbps(*rate).is_some())
        };
        let places = self.layers.iter().map(|own| (own.stream, own.spatial));
        if !(1..=4).contains(&self.stream_count)
            || self.stream >= self.stream_count
            || !self.layers.iter().all(is_sound)
            || !places.is_sorted_by(|one, next| one < next)
        {
            return Err(AllocationError::BadLayers);
        }
        let sizes = 1..=0x1_0000;
        let fits =
            |own: &LayerResolution| sizes.contains(&own.width) && sizes.contains(&own.height);
        let resolutions = self.layers.iter().filter_map(|layer| layer.resolution);
        let count = resolutions.clone().count();
        if (count != 0 && count != self.layers.len()) || !resolutions.clone().all(|own| fits(&own))
        {
            return Err(AllocationError::BadResolutions);
        }
        let mut masks = [0; LAYERS_MAX];
        for layer in &self.layers {
            if let Some(mask) = masks.get_mut(usize::from(layer.stream)) {
                *mask |= 1u8 << (layer.spatial & 3);
            }
        }
        Ok(masks)
    }
}

fn kbps(bitrate: Bitrate) -> Option<u32> {
    u32::try_from(bitrate.as_bps() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Layer<'a> = (u8, u8, &'a [u64], Option<(u32, u32, u8)>);

    fn allocation(stream: u8, stream_count: u8, layers: &[Layer<'_>]) -> VideoLayersAllocation {
        let layer = |(stream, spatial, rates, resolution): &Layer<'_>| SpatialLayer {
            stream: *stream,
            spatial: *spatial,
            bitrates: rates.iter().copied().map(Bitrate::kbps).collect(),
            resolution: resolution.map(|(width, height, frame_rate)| LayerResolution {
                width,
                height,
                frame_rate,
            }),
        };
        VideoLayersAllocation {
            stream,
            stream_count,
            layers: layers.iter().map(layer).collect(),
        }
    }

    fn written(allocation: &VideoLayersAllocation) -> Result<Vec<u8>, AllocationError> {
        let mut out = Vec::new();
        allocation.write(&mut out).map(|()| out)
    }

    /// Values that Pion's tests have from Chromium (`vlaextension_test.go`).
    #[test]
    fn values_of_chromium_are_read_and_written() {
        let small = Some((320, 180, 30));
        let large = Some((1280, 720, 30));
        let cases: [(&[u8], VideoLayersAllocation); 6] = [
            (
                &[
                    0x21, 0x14, 0x96, 0x01, 0xf0, 0x01, 0x90, 0x03, 0xd0, 0x05, 0xb0, 0x09,
                ],
                allocation(
                    0,
                    3,
                    &[
                        (0, 0, &[150], None),
                        (1, 0, &[240, 400], None),
                        (2, 0, &[720, 1200], None),
                    ],
                ),
            ),
            (
                &[
                    0xa1, 0x14, 0x96, 0x01, 0xf0, 0x01, 0x90, 0x03, 0xd0, 0x05, 0xb0, 0x09, 0x01,
                    0x3f, 0x00, 0xb3, 0x1e, 0x02, 0x7f, 0x01, 0x67, 0x1e, 0x04, 0xff, 0x02, 0xcf,
                    0x1e,
                ],
                allocation(
                    2,
                    3,
                    &[
                        (0, 0, &[150], small),
                        (1, 0, &[240, 400], Some((640, 360, 30))),
                        (2, 0, &[720, 1200], large),
                    ],
                ),
            ),
            (
                &[0x11, 0x10, 0xc8, 0x01, 0xd0, 0x05, 0xb0, 0x09],
                allocation(0, 2, &[(0, 0, &[200], None), (1, 0, &[720, 1200], None)]),
            ),
            // The second of three is paused.
            (
                &[
                    0x60, 0x10, 0x10, 0x10, 0x96, 0x01, 0xd0, 0x05, 0xb0, 0x09, 0x01, 0x3f, 0x00,
                    0xb3, 0x1e, 0x04, 0xff, 0x02, 0xcf, 0x1e,
                ],
                allocation(1, 3, &[(0, 0, &[150], small), (2, 0, &[720, 1200], large)]),
            ),
            (
                &[0xa0, 0x00, 0x10, 0x40, 0xac, 0x02, 0xf4, 0x03],
                allocation(2, 3, &[(2, 0, &[300, 500], None)]),
            ),
            // Nothing is sent.
            (&[0], allocation(0, 1, &[])),
        ];
        for (bytes, expected) in cases {
            let read = VideoLayersAllocation::parse(bytes);
            assert_eq!(read.as_ref(), Ok(&expected), "{bytes:02x?}");
            assert_eq!(written(&expected).as_deref(), Ok(bytes));
            for len in 0..bytes.len() {
                let torn = VideoLayersAllocation::parse(&bytes[..len]);
                // Without all resolutions it is another one that is whole.
                assert!(torn.is_err() || torn != read, "{len}");
            }
        }
    }

    #[test]
    fn what_cannot_be_described_is_not_written() {
        let bad = Err(AllocationError::BadLayers);
        assert_eq!(written(&allocation(1, 1, &[])), bad);
        assert_eq!(written(&allocation(0, 5, &[])), bad);
        assert_eq!(written(&allocation(0, 1, &[(1, 0, &[1], None)])), bad);
        assert_eq!(written(&allocation(0, 1, &[(0, 4, &[1], None)])), bad);
        assert_eq!(written(&allocation(0, 1, &[(0, 0, &[], None)])), bad);
        assert_eq!(written(&allocation(0, 1, &[(0, 0, &[1 << 32], None)])), bad);
        let twice = [(0, 1, &[1][..], None), (0, 1, &[1], None)];
        assert_eq!(written(&allocation(0, 1, &twice)), bad);
        let some = [(0, 0, &[1][..], Some((1, 1, 1))), (0, 1, &[1], None)];
        let mixed = Err(AllocationError::BadResolutions);
        assert_eq!(written(&allocation(0, 1, &some)), mixed);
        let huge = [(0, 0, &[1][..], Some((0x1_0001, 1, 1)))];
        assert_eq!(written(&allocation(0, 1, &huge)), mixed);
        // Stream 3 of 2.
        assert_eq!(
            VideoLayersAllocation::parse(&[0xd1, 0, 1]).map(|_| vec![]),
            bad
        );
    }

    proptest! {
        #[test]
        fn allocations_are_read_back(
            stream_count in 1u8..=4, stream: u8, with_sizes: bool,
            places in prop::collection::btree_map((0u8..4, 0u8..4), (prop::collection::vec(any::<u32>(), 1..=4), 1u32..=65536, any::<u8>()), 0..16),
        ) {
            let layers = places.into_iter().filter(|((own, _), _)| *own < stream_count);
            let layers = layers.map(|((stream, spatial), (rates, size, frame_rate))| SpatialLayer {
                stream,
                spatial,
                bitrates: rates.into_iter().map(|kbps| Bitrate::kbps(u64::from(kbps))).collect(),
                resolution: with_sizes.then_some(LayerResolution { width: size, height: 65537 - size, frame_rate }),
            });
            let allocation = VideoLayersAllocation { stream: stream % stream_count, stream_count, layers: layers.collect() };
            let bytes = written(&allocation).unwrap();
            prop_assert_eq!(VideoLayersAllocation::parse(&bytes), Ok(allocation));
        }

        #[test]
        fn arbitrary_bytes_are_read_back_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(allocation) = VideoLayersAllocation::parse(&bytes) {
                let again = written(&allocation).unwrap();
                prop_assert_eq!(VideoLayersAllocation::parse(&again), Ok(allocation));
            }
        }
    }
}
